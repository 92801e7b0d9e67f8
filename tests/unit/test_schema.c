/* The JSON Schema of manifests: as the tables are, and every manifest here is valid by it.  The validator below knows what
 * the schema is made of, and fails on any other keyword. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>
#include <glob.h>
#include <regex.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/json.h"
#include "common/base/mem.h"
#include "drivers/kit/manifest.h"

#define FILE_NAME "drivers/manifest.schema.json"

static cJSON *schema, *committed;

static cJSON *parse_file(const char *path)
{
	char *text = mem_zalloc(1 << 20);
	FILE *f = fopen(path, "r");
	cJSON *tree = NULL;
	size_t n;

	if (!f)
		fail_msg("%s cannot be read", path);
	n = fread(text, 1, (1 << 20) - 1, f);
	fclose(f);
	assert_int_equal(json_parse(text, n, 1 << 20, &tree, NULL), 0);
	free(text);
	return tree;
}

static bool valid(const cJSON *s, const cJSON *v);

static bool is_type(const char *type, const cJSON *v)
{
	if (strcmp(type, "integer") == 0)
		return cJSON_IsNumber(v) && v->valuedouble == (double)(int64_t)v->valuedouble;
	return (strcmp(type, "object") == 0 && cJSON_IsObject(v)) ||
	       (strcmp(type, "array") == 0 && cJSON_IsArray(v)) ||
	       (strcmp(type, "string") == 0 && cJSON_IsString(v)) ||
	       (strcmp(type, "number") == 0 && cJSON_IsNumber(v)) ||
	       (strcmp(type, "boolean") == 0 && cJSON_IsBool(v));
}

static bool k_type(const cJSON *s, const cJSON *k, const cJSON *v)
{
	const cJSON *t;

	if (cJSON_IsString(k))
		return is_type(k->valuestring, v);
	cJSON_ArrayForEach (t, k)
		if (is_type(t->valuestring, v))
			return true;
	return false;
}

static bool k_enum(const cJSON *s, const cJSON *k, const cJSON *v)
{
	const cJSON *e;

	cJSON_ArrayForEach (e, k)
		if (cJSON_Compare(e, v, true))
			return true;
	return false;
}

static bool k_const(const cJSON *s, const cJSON *k, const cJSON *v)
{
	return cJSON_Compare(k, v, true);
}

static bool k_any(const cJSON *s, const cJSON *k, const cJSON *v)
{
	const cJSON *e;

	cJSON_ArrayForEach (e, k)
		if (valid(e, v))
			return true;
	return false;
}

static bool k_minimum(const cJSON *s, const cJSON *k, const cJSON *v)
{
	return !cJSON_IsNumber(v) || v->valuedouble >= k->valuedouble;
}

static bool k_above(const cJSON *s, const cJSON *k, const cJSON *v)
{
	return !cJSON_IsNumber(v) || v->valuedouble > k->valuedouble;
}

static bool k_maximum(const cJSON *s, const cJSON *k, const cJSON *v)
{
	return !cJSON_IsNumber(v) || v->valuedouble <= k->valuedouble;
}

static bool k_length(const cJSON *s, const cJSON *k, const cJSON *v)
{
	return !cJSON_IsString(v) || strlen(v->valuestring) >= (size_t)k->valueint;
}

static bool k_count(const cJSON *s, const cJSON *k, const cJSON *v)
{
	return cJSON_GetArraySize(v) >= k->valueint;
}

static bool k_pattern(const cJSON *s, const cJSON *k, const cJSON *v)
{
	regex_t r;
	bool found;

	if (!cJSON_IsString(v))
		return true;
	assert_int_equal(regcomp(&r, k->valuestring, REG_EXTENDED | REG_NOSUB), 0);
	found = regexec(&r, v->valuestring, 0, NULL, 0) == 0;
	regfree(&r);
	return found;
}

static bool k_items(const cJSON *s, const cJSON *k, const cJSON *v)
{
	const cJSON *e;

	cJSON_ArrayForEach (e, v)
		if (cJSON_IsArray(v) && !valid(k, e))
			return false;
	return true;
}

static bool k_properties(const cJSON *s, const cJSON *k, const cJSON *v)
{
	const cJSON *p;

	cJSON_ArrayForEach (p, k) {
		const cJSON *m = cJSON_GetObjectItemCaseSensitive(v, p->string);

		if (m && !valid(p, m))
			return false;
	}
	return true;
}

static bool k_additional(const cJSON *s, const cJSON *k, const cJSON *v)
{
	const cJSON *known = cJSON_GetObjectItemCaseSensitive(s, "properties"), *m;

	cJSON_ArrayForEach (m, v)
		if (cJSON_IsObject(v) && !cJSON_GetObjectItemCaseSensitive(known, m->string) &&
		    !valid(k, m))
			return false;
	return true;
}

static bool k_required(const cJSON *s, const cJSON *k, const cJSON *v)
{
	const cJSON *name;

	cJSON_ArrayForEach (name, k)
		if (cJSON_IsObject(v) && !cJSON_GetObjectItemCaseSensitive(v, name->valuestring))
			return false;
	return true;
}

static bool k_anything(const cJSON *s, const cJSON *k, const cJSON *v)
{
	return true;
}

static bool valid(const cJSON *s, const cJSON *v)
{
	static const struct {
		const char *name;
		bool (*holds)(const cJSON *s, const cJSON *k, const cJSON *v);
	} keywords[] = {
		{ "type", k_type },
		{ "enum", k_enum },
		{ "const", k_const },
		{ "anyOf", k_any },
		{ "minimum", k_minimum },
		{ "exclusiveMinimum", k_above },
		{ "maximum", k_maximum },
		{ "minLength", k_length },
		{ "minItems", k_count },
		{ "minProperties", k_count },
		{ "pattern", k_pattern },
		{ "items", k_items },
		{ "properties", k_properties },
		{ "additionalProperties", k_additional },
		{ "required", k_required },
		{ "default", k_anything },
		{ "title", k_anything },
		{ "$schema", k_anything },
	};
	const cJSON *k;

	if (cJSON_IsBool(s))
		return cJSON_IsTrue(s);
	cJSON_ArrayForEach (k, s) {
		size_t i = 0;

		while (i < ARRAY_LEN(keywords) && strcmp(keywords[i].name, k->string) != 0)
			i++;
		if (i == ARRAY_LEN(keywords))
			fail_msg("the schema uses \"%s\", which this test does not know",
				 k->string);
		if (!keywords[i].holds(s, k, v))
			return false;
	}
	return true;
}

static void as_committed(void **state)
{
	if (!cJSON_Compare(schema, committed, true))
		fail_msg("the format has changed: longshore driver schema > " FILE_NAME);
}

static void of_manifests(void **state)
{
	static const char *const where[] = { "drivers/*/manifest.json",
					     "tests/bench/drivers/*/manifest.json",
					     "tests/fuzz/corpus/manifest/[ael]*.json" };
	int n = 0;

	for (size_t w = 0; w < ARRAY_LEN(where); w++) {
		glob_t g = { 0 };

		if (glob(where[w], 0, NULL, &g) == 0)
			for (size_t i = 0; i < g.gl_pathc; i++) {
				cJSON *m = parse_file(g.gl_pathv[i]);

				if (!valid(schema, m))
					fail_msg("%s is not valid by the schema", g.gl_pathv[i]);
				cJSON_Delete(m);
				n++;
			}
		globfree(&g);
	}
	assert_true(n >= 5);
}

static void refuses(void **state)
{
#define API "\"partner\":\"p\",\"manifest\":1,\"api\":{\"base\":{\"production\":\"https://h\"}}"
	static const char *const wrong[] = {
		"[]",
		"{}",
		"{" API ",\"x\":1}",
		"{" API ",\"critical\":1}",
		"{" API ",\"title\":\"\"}",
		"{" API ",\"limits\":[{\"rate\":1.5,\"window\":\"1s\"}]}",
		"{" API ",\"limits\":[{\"rate\":1,\"window\":\"1x\"}]}",
		"{" API ",\"limits\":[{\"rate\":1,\"window\":1,\"scope\":\"host\"}]}",
		"{" API ",\"limits\":[{\"rate\":1,\"window\":1,\"share\":0}]}",
		"{" API ",\"errors\":[{\"status\":99,\"class\":\"client\"}]}",
		"{" API ",\"errors\":[{\"status\":99}]}",
		"{" API ",\"auth\":{\"kind\":\"bearr\"}}",
		"{" API ",\"settings\":{\"a\":{\"as\":\"txt\"}}}",
		"{" API ",\"collections\":{\"a\":{\"id\":\"i\"}}}",
	};
	cJSON *tree = NULL;

	for (size_t i = 0; i < ARRAY_LEN(wrong); i++) {
		assert_int_equal(json_parse(wrong[i], strlen(wrong[i]), 4096, &tree, NULL), 0);
		if (valid(schema, tree))
			fail_msg("valid: %s", wrong[i]);
		cJSON_Delete(tree);
	}
	assert_int_equal(json_parse("{" API "}", strlen("{" API "}"), 4096, &tree, NULL), 0);
	assert_true(valid(schema, tree));
	cJSON_Delete(tree);
}

static int set_up(void **state)
{
	struct buf text = BUF_INIT;

	manifest_schema(&text);
	assert_int_equal(json_parse(text.data, text.len, text.len, &schema, NULL), 0);
	buf_clear(&text);
	committed = parse_file(FILE_NAME);
	return 0;
}

static int tear_down(void **state)
{
	cJSON_Delete(schema);
	cJSON_Delete(committed);
	return 0;
}

int main(void)
{
	const struct CMUnitTest tests[] = { cmocka_unit_test(as_committed),
					    cmocka_unit_test(of_manifests),
					    cmocka_unit_test(refuses) };

	return cmocka_run_group_tests(tests, set_up, tear_down);
}
