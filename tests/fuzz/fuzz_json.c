/* The readers of foreign bytes in common/base: JSON, paths, dates, durations.  Besides not
 * crashing they must keep their promises, which are checked here by abort(). */
#include <stdlib.h>
#include <string.h>

#include "common/base/clock.h"
#include "common/base/json.h"
#include "common/base/mem.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void need(bool holds)
{
	if (!holds)
		abort();
}

static int look(const cJSON *value, const char *key, int index, void *arg)
{
	struct buf *b = arg;

	need(value != NULL && index >= 0);
	buf_reset(b);
	json_scalar_text(value, b);
	return 0;
}

/* Paths come from the input, and some are tried on everything. */
static void try_paths(const cJSON *v, const char *own)
{
	const char *const paths[] = { own,   "a",         "a.b[0].c",  "@",     "[*]",
				      "{*}", "a[-1]|b|@", "a{*}[*].b", "[*][*]" };
	struct buf b = BUF_INIT;
	int64_t i = 0;

	for (size_t p = 0; p < ARRAY_LEN(paths); p++) {
		json_path(v, paths[p]);
		json_path_each(v, paths[p], look, &b);
		json_str(v, paths[p]);
		json_bool(v, paths[p], true);
		if (json_int(v, paths[p], &i))
			need(i >= -(1ll << 53) && i <= 1ll << 53);
	}
	buf_clear(&b);
}

static bool is_word(const char *s)
{
	return *s && s[strspn(s, "abcdefghijklmnopqrstuvwxyz_0123456789")] == '\0';
}

/* Every value under plain names has a line, and json_path finds it. */
static void check_lines(const cJSON *root, const cJSON *v, struct buf *path, const char *text,
			size_t len)
{
	size_t at = path->len, index = 0;

	need(json_line_of(text, len, buf_str(path)) > 0);
	for (const cJSON *c = v->child; c && index < 8; c = c->next, index++) {
		if (cJSON_IsArray(v))
			buf_printf(path, "[%zu]", index);
		else if (is_word(c->string))
			buf_printf(path, "%s%s", at ? "." : "", c->string);
		else
			continue;
		need(json_path(root, path->data) != NULL);
		/* of two members with one name the first is meant */
		if (cJSON_IsArray(v) || cJSON_GetObjectItemCaseSensitive(v, c->string) == c)
			check_lines(root, c, path, text, len);
		path->len = at;
		path->data[at] = '\0';
	}
}

static void try_json(const char *text, size_t len, const char *path)
{
	struct json_error err = { 0 };
	struct buf one = BUF_INIT, two = BUF_INIT;
	cJSON *v = NULL, *again = NULL;
	int rc = json_parse(text, len, 1 << 20, &v, &err);

	json_line_of(text, len, path);
	if (rc < 0) {
		need(v == NULL && err.text[0] && utf8_is_valid(err.text, strlen(err.text)));
		return;
	}
	need(rc == 0 && utf8_is_valid(text, len) && !memchr(text, 0, len));
	json_print(v, &one);
	need(json_parse(one.data, one.len, one.len, &again, NULL) == 0);
	json_print(again, &two);
	need(one.len == two.len && memcmp(one.data, two.data, one.len) == 0);
	try_paths(v, path);
	buf_reset(&two);
	buf_append(&two, "", 0);
	if (!memchr(text, '\\', len))
		check_lines(v, v, &two, text, len);
	buf_clear(&one);
	buf_clear(&two);
	cJSON_Delete(v);
	cJSON_Delete(again);
}

static void try_times(const char *text)
{
	int64_t us = 0, back = 0, ms = 0;
	char iso[CLOCK_ISO_MAX];

	if (clock_parse_time(text, &us, NULL) == 0 && us > -62135596800000000 &&
	    us < 253402300799000000) {
		int64_t floor_ms = us / 1000 - (us % 1000 < 0);

		need(clock_parse_time(clock_iso(floor_ms, iso), &back, NULL) == 0 &&
		     back == floor_ms * 1000);
	}
	if (clock_parse_duration(text, &ms) == 0)
		need(ms >= 0);
}

static void try_utf8(const char *text, size_t len)
{
	struct buf b = BUF_INIT;
	cJSON *v = NULL;

	utf8_append_clean(&b, text, len);
	need(len == 0 || utf8_is_valid(b.data, b.len));
	buf_reset(&b);
	json_quote(&b, text, len);
	need(json_parse(b.data, b.len, b.len, &v, NULL) == 0 && cJSON_IsString(v));
	cJSON_Delete(v);
	buf_clear(&b);
}

/* The first line is a path, if a NUL ends it; else the whole is the text. */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	const char *text = (const char *)data, *nul = size ? memchr(text, 0, size) : NULL;
	char *all = mem_strndup(size ? text : "", size);
	size_t skip = nul ? (size_t)(nul - text) + 1 : 0;

	try_times(all);
	try_utf8(text, size);
	try_json(text, size, all);
	if (skip)
		try_json(text + skip, size - skip, all);
	free(all);
	return 0;
}
