/* Format 1 as tables: what a lookup has (see manifest_keys.c); and `cache`, which says how long answers are kept. */
#include <stddef.h>
#include <string.h>

#include "common/base/clock.h"
#include "common/base/mem.h"
#include "drivers/kit/manifest_read.h"

#define DAY_MS INT64_C(86400000)
#define YEAR_MS (366 * DAY_MS)

#define AT(member) .at = offsetof(struct manifest_param, member)

static const struct key_word param_words[] = {
	{ "text", PARAM_TEXT }, { "list", PARAM_LIST },     { "number", PARAM_NUMBER },
	{ "int", PARAM_INT },   { "amount", PARAM_AMOUNT }, { "currency", PARAM_CURRENCY },
	{ "bool", PARAM_BOOL }, { "json", PARAM_JSON },     { NULL, PARAM_TEXT }
};
static const struct key_word case_words[] = {
	{ "keep", CASE_KEEP }, { "lower", CASE_LOWER }, { "upper", CASE_UPPER }, { NULL, CASE_KEEP }
};
static const struct manifest_key param_keys[] = {
	{ "as", KEY_WORD, AT(as), .words = param_words },
	{ "digits", KEY_INT, AT(digits), .fallback = "6", .min = 0, .max = 9 },
	{ "min", KEY_JSON, AT(min) },
	{ "max", KEY_JSON, AT(max) },
	{ "case", KEY_WORD, AT(letters), .words = case_words },
	{ "default", KEY_JSON, AT(fallback) },
	{ "optional", KEY_BOOL, AT(optional) },
};

static void param_finish(struct manifest_reader *r, void *base)
{
	const struct manifest_param *p = base;
	bool text = p->as == PARAM_TEXT || p->as == PARAM_LIST || p->as == PARAM_CURRENCY;
	bool other = p->as == PARAM_BOOL || p->as == PARAM_JSON;

	if ((p->min && !cJSON_IsNumber(p->min)) || (p->max && !cJSON_IsNumber(p->max)))
		reader_problem(r, "\"min\" and \"max\" are numbers");
	if ((text || other) && (p->min || p->max))
		reader_problem(r, "\"min\" and \"max\" are for numbers: \"as\" says %s",
			       text ? "text" : "otherwise");
	if (!text && p->letters != CASE_KEEP)
		reader_problem(r, "\"case\" is for texts");
	if (p->fallback && !other && !cJSON_IsString(p->fallback) && !cJSON_IsNumber(p->fallback))
		reader_problem(r, "\"default\" is a text or a number");
	if (p->fallback && p->optional)
		reader_problem(r, "\"default\" and \"optional\" exclude each other");
}
const struct key_table manifest_param_table = { TABLE(param_keys),
						.size = sizeof(struct manifest_param),
						.name_at = offsetof(struct manifest_param, name),
						.finish = param_finish };
#undef AT

#define AT(member) .at = offsetof(struct manifest_field, member)

static const struct key_word field_words[] = { { "text", FIELD_TEXT },
					       { "number", FIELD_NUMBER },
					       { "int", FIELD_INT },
					       { "bool", FIELD_BOOL },
					       { NULL, FIELD_AS_IT_IS } };
static const struct manifest_key field_keys[] = {
	{ "path", KEY_PATH, AT(path), .flags = KEY_REQUIRED },
	{ "as", KEY_WORD, AT(as), .words = field_words },
	{ "required", KEY_BOOL, AT(required) },
};
static const struct key_table field_table = { TABLE(field_keys),
					      .size = sizeof(struct manifest_field),
					      .name_at = offsetof(struct manifest_field, name),
					      .shorthand = "path" };
#undef AT

#define AT(member) .at = offsetof(struct manifest_lookup, member)
#define COUNT(member) .n_at = offsetof(struct manifest_lookup, member)

static const struct manifest_key lookup_keys[] = {
	{ "get", KEY_TEXT, AT(get), .flags = KEY_REQUIRED },
	{ "query", KEY_PAIRS, AT(query) },
	{ "params", KEY_NAMED, AT(params), COUNT(n_params), .of = &manifest_param_table },
	{ "result", KEY_PATH, AT(result), .fallback = "\"@\"" },
	{ "found", KEY_PATH, AT(found) },
	{ "map", KEY_NAMED, AT(map), COUNT(n_map), .of = &field_table },
	{ "ttl", KEY_DURATION, AT(ttl_ms), .min = 1, .max = YEAR_MS },
	{ "stale", KEY_DURATION, AT(stale_ms), .fallback = "\"1d\"", .max = YEAR_MS },
	{ "revalidate", KEY_BOOL, AT(revalidate), .fallback = "true" },
	{ "negative", KEY_DURATION, AT(negative_ms), .fallback = "\"1m\"", .min = 1,
	  .max = YEAR_MS },
	{ "placeholder", KEY_JSON, AT(placeholder) },
	{ "example", KEY_JSON, AT(example) },
	{ "group", KEY_TEXT, AT(group) },
};
const struct key_table manifest_lookup_table = { TABLE(lookup_keys),
						 .size = sizeof(struct manifest_lookup),
						 .name_at =
							 offsetof(struct manifest_lookup, name) };
#undef AT
#undef COUNT

/* ---- cache: NAME of a lookup, or COLLECTION.detail, to how long an answer is fresh ---- */

/* Where the ttl of a name stands; NULL: there is no such name. The reader made both, in its arena. */
static int64_t *ttl_of(struct manifest *m, const char *name, bool *detail)
{
	size_t n = strcspn(name, ".");

	*detail = strcmp(name + n, ".detail") == 0;
	for (int i = 0; i < m->n_lookups; i++)
		if (strcmp(m->lookups[i].name, name) == 0)
			return &((struct manifest_lookup *)m->lookups)[i].ttl_ms;
	for (int i = 0; i < m->n_collections; i++) {
		struct manifest_collection *c = (struct manifest_collection *)&m->collections[i];

		if (strlen(c->name) == n && memcmp(c->name, name, n) == 0 && *detail)
			return &c->detail_ttl_ms;
	}
	return NULL;
}

static void unknown_name(struct manifest_reader *r, const char *name)
{
	const struct manifest *m = &r->owner->m;
	int n = 0, most = m->n_lookups + m->n_collections;
	const char **names = arena_alloc(r->arena, sizeof(*names) * (size_t)(most + 1));

	for (int i = 0; i < m->n_lookups; i++)
		names[n++] = m->lookups[i].name;
	for (int i = 0; i < m->n_collections; i++)
		if (m->collections[i].detail)
			names[n++] = arena_printf(r->arena, "%s.detail", m->collections[i].name);
	reader_problem(r, "neither a lookup nor COLLECTION.detail%s",
		       reader_nearest(r, name, names, n));
}

static void read_ttl(struct manifest_reader *r, const cJSON *node)
{
	struct manifest *m = &r->owner->m;
	int64_t *at, ms = 0;
	bool detail = false;

	at = ttl_of(m, node->string, &detail);
	if (!at) {
		unknown_name(r, node->string);
		return;
	}
	if (cJSON_IsNumber(node) && node->valuedouble < 1e9)
		ms = (int64_t)(node->valuedouble * 1000 + 0.5);
	else if (cJSON_IsString(node) && clock_parse_duration(node->valuestring, &ms) < 0)
		ms = 0;
	if (ms <= 0 || ms > YEAR_MS)
		reader_problem(r, "expected a duration such as \"10m\", at most 366d");
	else if (*at && !detail)
		reader_problem(r, "lookups.%s.ttl says how long already", node->string);
	else
		*at = ms;
}

void read_cache(struct manifest_reader *r, const cJSON *node, void *base)
{
	const cJSON *c;

	if (!cJSON_IsObject(node)) {
		reader_expected(r, "an object of names and durations", node);
		return;
	}
	cJSON_ArrayForEach (c, node) {
		size_t mark;

		if (is_comment(c->string))
			continue;
		mark = reader_down(r, c->string, 0);
		read_ttl(r, c);
		reader_up(r, mark);
	}
}

/* Of lookups `ttl` is printed. */
bool print_cache(const void *base, struct buf *out)
{
	const struct manifest *m = base;
	bool any = false;

	for (int i = 0; i < m->n_collections; i++) {
		const struct manifest_collection *c = &m->collections[i];

		if (!c->detail_ttl_ms)
			continue;
		buf_printf(out, "%s\"%s.detail\":", any ? "," : "{", c->name);
		print_ms(c->detail_ttl_ms, out);
		any = true;
	}
	if (any)
		buf_putc(out, '}');
	return any;
}
