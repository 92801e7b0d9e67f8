/* Items of a partner through a map that has every kind of column; amounts and waits beside it. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/mem.h"
#include "drivers/kit/classify.h"
#include "drivers/kit/map.h"
#include "drivers/kit/map_find.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static const char manifest_text[] =
	"{\"partner\": \"p\", \"manifest\": 1, \"api\": {\"base\": {\"production\": \"https://h\"}}, \"collections\": {"
	"\"a\": {\"get\": \"/a\", \"id\": \"id|code\", \"updated_at\": \"u\", \"merged_into\": \"into\", \"table\": \"resources\", \"id_prefix\": \"a-\", \"map\": {"
	" \"name\": {\"path\": \"n|m\", \"required\": true}, \"status\": {\"path\": \"s\", \"enum\": {\"x\": \"y\", \"*\": \"z\"}},"
	" \"capacity\": \"c\", \"lat\": \"g.lat\", \"country_code\": \"k\", \"currency\": \"cur\","
	" \"price_minor\": {\"path\": \"p\", \"as\": \"money\", \"currency\": \"cur\"}, \"timezone\": {\"path\": \"tz\", \"default\": \"UTC\"},"
	" \"media_hash\": {\"hash\": \"i[*]\"}, \"partner_created_at\": {\"path\": \"t\", \"tz\": \"-05:30\"}}, \"extra\": [\"x\", \"k\"]},"
	"\"b\": {\"each\": \"a\", \"embedded\": \"i\", \"id\": \"id\", \"table\": \"media\", \"map\": {\"url\": {\"path\": \"url|@\", \"as\": \"url\"},"
	" \"position\": \"@index\", \"caption\": \"@key\", \"expires_at\": \"t\"}, \"extra\": [\"*\"]},"
	"\"c\": {\"get\": \"/c\", \"id\": \"id\", \"table\": \"transactions\", \"belongs_to\": {\"collection\": \"a\", \"id\": \"a\"}, \"map\": {"
	" \"starts_on\": \"t\", \"ends_on\": \"u\", \"starts_at\": \"t\", \"ends_at\": \"u\", \"guests\": \"c\"}}}}";

static void need(bool holds)
{
	if (!holds)
		abort();
}

static void check_value(const struct row_value *v, enum row_type type)
{
	cJSON *tree = NULL;

	if (!v->set || (type != ROW_TEXT && type != ROW_JSON))
		return;
	need(utf8_is_valid(v->v.s.p, v->v.s.n) && !memchr(v->v.s.p, 0, v->v.s.n));
	if (type == ROW_TEXT) {
		need(v->v.s.n <= 64 * 1024);
		return;
	}
	need(json_parse(v->v.s.p, v->v.s.n, 1 << 22, &tree, NULL) == 0);
	cJSON_Delete(tree);
}

static void check_row(const struct manifest_collection *c, const struct row *row)
{
	int n;
	const struct row_column *columns = row_columns(c->table, &n);

	need(row->external_id && *row->external_id);
	for (int i = 0; i < n; i++) {
		need((c->columns >> i & 1) || !row->values[i].set);
		check_value(&row->values[i], columns[i].type);
	}
}

static void check_heirs(const struct map_context *x, const cJSON *item, const struct row *row)
{
	const char **ids;
	int n = map_merged(x, item, &ids);

	need(n >= 0 && n <= 100 && (n > 0) == row->gone);
	for (int i = 0; i < n; i++)
		need(*ids[i] && strcmp(ids[i], row->external_id) != 0 && strlen(ids[i]) <= 2 + 512);
}

static void try_item(const struct manifest *m, const cJSON *item)
{
	for (int i = 0; i < m->n_collections; i++) {
		struct map_context x = { .manifest = m,
					 .collection = &m->collections[i],
					 .parent_id = "parent",
					 .arena = arena_new() };
		struct row row = { 0 };
		struct err err = { 0 };

		if (map_item(&x, item, &row, &err) == 0) {
			check_row(x.collection, &row);
			check_heirs(&x, item, &row);
		} else {
			need(err.text[0] && err.where[0] && err.class == ERR_DATA);
		}
		arena_free(x.arena);
	}
}

/* Noted or not, the same is found: by paths of each form, and by what its members are called. */
static void try_members(const cJSON *item)
{
	static const char *const paths[] = { "id",   "id|code", "g.lat", " n | m", "i[0].x", "i[*]",
					     "g{*}", "@",       "@key",  "@index", "g. x",   ".n" };
	struct arena *arena = arena_new();
	struct item_members members;
	struct item noted = { item, 1, arena, &members }, plain = { item, 1, arena, NULL };
	const cJSON *c, *v;

	item_members_init(&members, item);
	for (size_t i = 0; i < ARRAY_LEN(paths); i++) {
		v = item_find(&plain, paths[i]);
		need(item_find(&noted, paths[i]) == v || paths[i][0] == '@');
	}
	cJSON_ArrayForEach (c, item) {
		const char *name = c->string ? c->string : "";

		need(item_find(&noted, name) == item_find(&plain, name) || *name == '@' ||
		     strchr(name, '|'));
		need(item_member(&noted, name) == item_member(&plain, name));
	}
	arena_free(arena);
}

static void try_amount(const char *text)
{
	static const char *const currencies[] = { NULL, "JPY", "KWD", "EUR" };
	int64_t v[4];

	for (int i = 0; i < 4; i++) {
		int rc = map_money(text, currencies[i], &v[i]);

		need(rc == 0 || rc == -EINVAL || rc == -ERANGE);
	}
}

static void try_wait(const struct manifest *m, const char *text)
{
	struct http_response r;
	int64_t ms;

	http_response_init(&r);
	r.status = 429;
	buf_append(&r.headers, "retry-after", 12);
	buf_append(&r.headers, text, strlen(text) + 1);
	ms = retry_after_ms(m, &r, INT64_C(1767323045000));
	need(ms >= 0 && ms <= 86400000);
	http_response_clear(&r);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static struct manifest *m;
	struct buf problems = BUF_INIT;
	char *text = mem_strndup(size ? (const char *)data : "", size);
	cJSON *item = NULL;

	if (!m)
		need(manifest_parse("manifest.json", manifest_text, sizeof(manifest_text) - 1, &m,
				    &problems) == 0);
	try_amount(text);
	try_wait(m, text);
	if (json_parse((const char *)data, size, 1 << 20, &item, NULL) == 0) {
		try_item(m, item);
		try_members(item);
		if (item->child) {
			try_item(m, item->child);
			try_members(item->child);
		}
	}
	cJSON_Delete(item);
	free(text);
	return 0;
}
