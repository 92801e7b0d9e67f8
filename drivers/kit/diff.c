#include "drivers/kit/diff.h"

#include <string.h>

#include "common/base/mem.h"

#define SHOWN_BYTES 120

struct diff {
	struct buf path;
	cJSON *problems;
};

static void compare(struct diff *d, const cJSON *expected, const cJSON *found);

static void show(struct buf *out, const cJSON *v)
{
	struct buf text = BUF_INIT;
	size_t n;

	json_print(v, &text);
	n = text.len <= SHOWN_BYTES ? text.len : utf8_valid_prefix(buf_str(&text), SHOWN_BYTES);
	buf_append(out, buf_str(&text), n);
	if (n < text.len)
		buf_puts(out, "…");
	buf_clear(&text);
}

static void differs(struct diff *d, const cJSON *expected, const cJSON *found)
{
	struct buf text = BUF_INIT;
	cJSON *p;

	if (cJSON_GetArraySize(d->problems) >= DIFF_MAX)
		return;
	if (!expected)
		buf_puts(&text, "new: ");
	show(&text, expected ? expected : found);
	if (!found)
		buf_puts(&text, " is missing");
	if (expected && found) {
		buf_puts(&text, " became ");
		show(&text, found);
	}
	p = cJSON_CreateObject();
	cJSON_AddStringToObject(p, "path", d->path.len ? buf_str(&d->path) : "@");
	cJSON_AddStringToObject(p, "text", buf_str(&text));
	if (expected)
		cJSON_AddItemToObject(p, "expected", cJSON_Duplicate(expected, true));
	if (found)
		cJSON_AddItemToObject(p, "found", cJSON_Duplicate(found, true));
	cJSON_AddItemToArray(d->problems, p);
	buf_clear(&text);
}

static void at_key(struct diff *d, const char *key, const cJSON *expected, const cJSON *found)
{
	size_t mark = d->path.len;

	buf_printf(&d->path, "%s%s", mark ? "." : "", key);
	compare(d, expected, found);
	d->path.len = mark;
	d->path.data[mark] = '\0';
}

static void compare_objects(struct diff *d, const cJSON *expected, const cJSON *found)
{
	for (const cJSON *v = expected->child; v; v = v->next)
		at_key(d, v->string, v, cJSON_GetObjectItemCaseSensitive(found, v->string));
	for (const cJSON *v = found->child; v; v = v->next)
		if (!cJSON_GetObjectItemCaseSensitive(expected, v->string))
			at_key(d, v->string, NULL, v);
}

/* Of a row: its table and id. NULL: it is none. */
static const char *id_of(const cJSON *v)
{
	return json_str(v, "external_id");
}

static const cJSON *same_row(const cJSON *rows, const cJSON *row)
{
	const char *id = id_of(row), *from = json_str(row, "collection");

	for (const cJSON *v = rows->child; v; v = v->next) {
		const char *other = id_of(v), *c = json_str(v, "collection");

		if (other && strcmp(id, other) == 0 && (!from || !c || strcmp(from, c) == 0))
			return v;
	}
	return NULL;
}

static void at_element(struct diff *d, const char *id, int i, const cJSON *expected,
		       const cJSON *found)
{
	size_t mark = d->path.len;

	if (id)
		buf_printf(&d->path, "[%s]", id);
	else
		buf_printf(&d->path, "[%d]", i);
	compare(d, expected, found);
	d->path.len = mark;
	d->path.data[mark] = '\0';
}

static void compare_rows(struct diff *d, const cJSON *expected, const cJSON *found)
{
	for (const cJSON *v = expected->child; v; v = v->next)
		at_element(d, id_of(v), 0, v, same_row(found, v));
	for (const cJSON *v = found->child; v; v = v->next)
		if (!same_row(expected, v))
			at_element(d, id_of(v), 0, NULL, v);
}

/* Rows, each once: what comes twice is compared by its place. */
static bool are_rows(const cJSON *list)
{
	for (const cJSON *v = list->child; v; v = v->next)
		if (!id_of(v) || same_row(list, v) != v)
			return false;
	return true;
}

static void compare_arrays(struct diff *d, const cJSON *expected, const cJSON *found)
{
	const cJSON *a = expected->child, *b = found->child;

	if ((a || b) && are_rows(expected) && are_rows(found)) {
		compare_rows(d, expected, found);
		return;
	}
	for (int i = 0; a || b; i++) {
		at_element(d, NULL, i, a, b);
		a = a ? a->next : NULL;
		b = b ? b->next : NULL;
	}
}

static void compare(struct diff *d, const cJSON *expected, const cJSON *found)
{
	if (!expected || !found)
		differs(d, expected, found);
	else if (cJSON_IsObject(expected) && cJSON_IsObject(found))
		compare_objects(d, expected, found);
	else if (cJSON_IsArray(expected) && cJSON_IsArray(found))
		compare_arrays(d, expected, found);
	else if (!cJSON_Compare(expected, found, true))
		differs(d, expected, found);
}

void json_diff(const char *path, const cJSON *expected, const cJSON *found, cJSON *problems)
{
	struct diff d = { .problems = problems };

	buf_puts(&d.path, path);
	compare(&d, expected, found);
	buf_clear(&d.path);
}

void json_diff_line(const cJSON *expected, const cJSON *found, struct buf *out)
{
	cJSON *list = cJSON_CreateArray();
	const cJSON *first;

	json_diff("", expected, found, list);
	first = list->child;
	if (first)
		buf_printf(out, "%s: %s", json_str(first, "path"), json_str(first, "text"));
	cJSON_Delete(list);
}
