/* Items to rows: ids, what is missing, parents, what is embedded, what is kept. */
#include "drivers/kit/map_find.h"
#include "tests/unit/mapped.h"

static void whole(void **state)
{
	struct mapped m = mapped(
		"homes",
		"{\"_id\": \"a1\", \"updated\": \"2026-01-02T03:04:05.678Z\", \"nick\": \"Nest\","
		" \"listed\": true, \"type\": \"Flat\", \"sleeps\": 4, \"geo\": {\"lat\": -38.5},"
		" \"baths\": \"2.5\", \"country\": \"pt\", \"cur\": \"eur\", \"price\": 12.34, \"beds\": \" 2 \","
		" \"pics\": [{\"id\": 1}, {\"id\": \"x\"}], \"made\": \"2026-01-02 03:00:00\", \"tags\": [1, \"é\"]}");
	char hex[65];
	uint8_t sum[SHA256_BYTES];

	assert_string_equal(m.row.external_id, "h-a1");
	assert_int_equal(m.row.integration_id, 7);
	assert_int_equal(m.row.observed_us, 99);
	assert_true(m.row.has_partner_updated);
	assert_true(m.row.partner_updated_us == us("2026-01-02T03:04:05.678Z"));
	has_text(&m, "kind", "home");
	has_text(&m, "name", "Nest");
	has_text(&m, "internal_name", NULL);
	has_text(&m, "status", "active");
	has_text(&m, "type", "apartment");
	has_int(&m, "capacity", 4);
	assert_true(value(&m, "lat")->v.d == -38.5);
	assert_true(value(&m, "bathrooms")->v.d == 2.5);
	has_text(&m, "country_code", "PT");
	has_text(&m, "currency", "EUR");
	has_int(&m, "price_minor", 1234);
	has_text(&m, "timezone", "UTC");
	has_int(&m, "beds", 2);
	has_int(&m, "partner_created_at", us("2026-01-02T01:00:00Z"));
	has_text(&m, "extra", "{\"tags\":[1,\"é\"]}");
	crypto_sha256("[1,\"x\"]", 7, sum);
	crypto_hex(sum, sizeof(sum), hex);
	hex[32] = '\0';
	has_text(&m, "media_hash", hex);
	cJSON_Delete(m.item);
}

static void ids(void **state)
{
	static const char *const cases[][2] = {
		{ "{\"_id\": \"a\", \"title\": \"t\"}", "h-a" },
		{ "{\"id\": 42, \"title\": \"t\"}", "h-42" },
		{ "{\"_id\": null, \"id\": 9007199254740993, \"title\": \"t\"}",
		  "h-9007199254740993" },
		{ "{\"_id\": \"\", \"id\": \"b\", \"title\": \"t\"}", "h-b" },
	};

	for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
		struct mapped m = mapped("homes", cases[i][0]);

		assert_string_equal(m.row.external_id, cases[i][1]);
		assert_false(m.row.has_partner_updated);
		cJSON_Delete(m.item);
	}
	aside("homes", "{\"title\": \"t\"}", "id", "missing");
	aside("homes", "{\"id\": null, \"title\": \"t\"}", "id", "null");
	aside("homes", "{\"id\": \"\", \"title\": \"t\"}", "id", "\"\"");
	aside("homes", "{\"id\": {}, \"title\": \"t\"}", "id", "neither a text nor a number");
	aside("homes", "{\"id\": true, \"title\": \"t\"}", "id", "neither a text nor a number");
	aside("homes", "[1]", "item", "expected an object");
	aside("homes", "null", "item", "expected an object");
}

/* The row of an item that is set aside, as far as that can be told. */
static void keyed(const char *collection, const char *parent, const char *item, const char *wanted)
{
	const struct map_context x = { .manifest = manifest,
				       .collection = manifest_collection(manifest, collection),
				       .parent_id = parent,
				       .arena = arena };
	cJSON *tree = json(item);
	const char *key = map_key(&x, tree);

	if (wanted)
		assert_string_equal(key, wanted);
	else
		assert_null(key);
	cJSON_Delete(tree);
}

static void keys(void **state)
{
	struct mapped pic = mapped("pics", "{\"url\": \"//h/x.jpg\"}");

	/* A name is required, and there is none; the key is there all the same, with its prefix, however it is written. */
	keyed("homes", NULL, "{\"id\": 7}", "h-7");
	keyed("homes", NULL, "{\"_id\": \"a\", \"id\": 7, \"sleeps\": \"many\"}", "h-a");
	keyed("homes", NULL, "{\"_id\": null, \"id\": \"7\"}", "h-7");
	keyed("homes", NULL, "{\"name\": \"x\"}", NULL);
	keyed("homes", NULL, "{\"id\": {}}", NULL);
	keyed("homes", NULL, "{\"id\": \"\"}", NULL);
	keyed("homes", NULL, "[7]", NULL);
	keyed("homes", NULL, "null", NULL);
	/* One that begins as those of another collection of the table do is nobody's. */
	keyed("stays", NULL, "{\"id\": \"f1\"}", NULL);
	keyed("stays", NULL, "{\"id\": \"1f\"}", "1f");
	/* Embedded, its content tells it where it has no id: the same each time. */
	keyed("pics", "p1", "{\"id\": 5}", "5");
	keyed("pics", "p1", "{\"url\": \"//h/x.jpg\"}", pic.row.external_id);
	cJSON_Delete(pic.item);
}

/* The ids of rows that an item became, with blanks between. */
static void became(const char *item, const char *wanted)
{
	struct mapped m = mapped("homes", item);
	const struct map_context x = { .manifest = manifest,
				       .collection = manifest_collection(manifest, "homes"),
				       .arena = arena };
	const char **ids;
	int n = map_merged(&x, m.item, &ids);
	struct buf out = BUF_INIT;

	for (int i = 0; i < n; i++)
		buf_printf(&out, "%s%s", i ? " " : "", ids[i]);
	assert_string_equal(buf_str(&out), wanted);
	assert_int_equal(m.row.gone, n > 0);
	assert_string_equal(m.row.external_id, "h-7");
	buf_clear(&out);
	cJSON_Delete(m.item);
}

static void merged(void **state)
{
	/* It needs no more than its id. */
	became("{\"id\": 7, \"became\": \"8\"}", "h-8");
	became("{\"id\": \"7\", \"became\": 8}", "h-8");
	became("{\"id\": 7, \"became\": [8, \"\", 7, \"9\", null]}", "h-8 h-9");
	/* How partners say that it was not. */
	became("{\"id\": 7, \"title\": \"t\"}", "");
	became("{\"id\": 7, \"title\": \"t\", \"became\": null}", "");
	became("{\"id\": 7, \"title\": \"t\", \"became\": \"\"}", "");
	became("{\"id\": 7, \"title\": \"t\", \"became\": 0}", "");
	became("{\"id\": 7, \"title\": \"t\", \"became\": false}", "");
	became("{\"id\": 7, \"title\": \"t\", \"became\": \"7\"}", "");
	became("{\"id\": 7, \"title\": \"t\", \"became\": []}", "");
	aside("homes", "{\"id\": 7, \"title\": \"t\", \"became\": {\"id\": 8}}", "merged_into",
	      "an id, or a list of ids, is expected");
	aside("homes", "{\"id\": 7, \"title\": \"t\", \"became\": true}", "merged_into",
	      "an id, or a list of ids, is expected");
}

static void too_many_heirs(void **state)
{
	struct buf item = BUF_INIT;

	buf_puts(&item, "{\"id\": 7, \"became\": [");
	for (int i = 0; i <= 100; i++)
		buf_printf(&item, "%s%d", i ? "," : "", 1000 + i);
	buf_puts(&item, "]}");
	aside("homes", item.data, "merged_into", "more than 100 ids");
	buf_clear(&item);
}

static void missing_null_empty(void **state)
{
	struct mapped m = mapped(
		"homes",
		"{\"id\": 1, \"nick\": \"\", \"title\": \"T\", \"code\": \"\", \"tz\": null, \"sleeps\": \"\"}");

	has_text(&m, "name", "T");
	has_text(&m, "internal_name", "");
	has_text(&m, "timezone", "UTC");
	has_int(&m, "beds", 1);
	assert_false(value(&m, "capacity")->set);
	has_text(&m, "media_hash", NULL);
	has_text(&m, "status", NULL);
	has_text(&m, "extra", NULL);
	cJSON_Delete(m.item);
	aside("homes", "{\"id\": 1}", "name", "required, but missing");
	aside("homes", "{\"id\": 1, \"title\": null}", "name", "required, but null");
	aside("homes", "{\"id\": 1, \"nick\": null, \"title\": \"\"}", "name",
	      "required, but \"\"");
}

static void enums(void **state)
{
	struct mapped m =
		mapped("homes",
		       "{\"id\": 1, \"title\": \"t\", \"listed\": \"maybe\", \"type\": \"\"}");

	has_text(&m, "status", "other");
	has_text(&m, "type", "");
	cJSON_Delete(m.item);
	m = mapped("homes", "{\"id\": 1, \"title\": \"t\", \"listed\": [1]}");
	has_text(&m, "status", "other");
	cJSON_Delete(m.item);
	aside("homes", "{\"id\": 1, \"title\": \"t\", \"type\": \"Boat\"}", "type", "\"Boat\"");
}

static void long_texts(void **state)
{
	char *name = mem_alloc(64 * 1024 + 2), *text;
	struct mapped m;

	memset(name, 'x', 64 * 1024 + 1);
	name[64 * 1024] = '\0';
	text = mem_printf("{\"id\": 1, \"title\": \"%s\"}", name);
	m = mapped("homes", text);
	assert_int_equal(value(&m, "name")->v.s.n, 64 * 1024);
	cJSON_Delete(m.item);
	free(text);
	name[64 * 1024] = 'x';
	name[64 * 1024 + 1] = '\0';
	text = mem_printf("{\"id\": 1, \"title\": \"%s\"}", name);
	aside("homes", text, "name", "text of 65537 bytes, at most 65536 are taken");
	free(text);
	free(name);
}

static void embedded(void **state)
{
	struct mapped m = mapped("pics", "{\"id\": 5, \"url\": \"//h/x.jpg\", \"nr\": \"\"}"),
		      again;

	assert_string_equal(m.row.external_id, "5");
	has_text(&m, "url", "https://h/x.jpg");
	has_int(&m, "position", 3);
	has_text(&m, "caption", NULL);
	has_text(&m, "resource_external_id", "h-p1");
	has_text(&m, "extra", "{\"id\":5,\"url\":\"//h/x.jpg\",\"nr\":\"\"}");
	cJSON_Delete(m.item);

	m = mapped("pics", "{\"url\": \"http://h/y.jpg\"}");
	again = mapped("pics", "{ \"url\" : \"http://h/y.jpg\" }");
	assert_int_equal(strncmp(m.row.external_id, "p1/", 3), 0);
	assert_int_equal(strlen(m.row.external_id), 3 + 32);
	assert_string_equal(m.row.external_id, again.row.external_id);
	cJSON_Delete(m.item);
	cJSON_Delete(again.item);

	m = mapped("pics", "\"http://h/z.jpg\"");
	has_text(&m, "url", "http://h/z.jpg");
	has_text(&m, "extra", "{\"@\":\"http://h/z.jpg\"}");
	cJSON_Delete(m.item);
	aside("pics", "{\"id\": 1, \"url\": \"javascript:alert(1)\"}", "url", "is no http address");
	aside("pics", "{\"id\": 1, \"url\": \"http://h/a b\"}", "url", "blank");
}

static void keys_of_a_map(void **state)
{
	cJSON *all = json("{\"one\": {\"url\": \"http://h/1\"}}");
	struct mapped m = { .table = ROW_MEDIA };
	struct err err = { 0 };

	assert_int_equal(map("pics", all->child, &m.row, &err), 0);
	has_text(&m, "caption", "one");
	cJSON_Delete(all);
}

static void belongs_to(void **state)
{
	struct mapped m = mapped("stays", "{\"id\": 1, \"home\": 77}");

	has_text(&m, "resource_external_id", "h-77");
	cJSON_Delete(m.item);
	m = mapped("stays", "{\"id\": 1, \"home\": null}");
	has_text(&m, "resource_external_id", NULL);
	cJSON_Delete(m.item);
	m = mapped("flags", "{\"id\": 1, \"big\": 12345678901234567890, \"n\": [1.5, null]}");
	has_text(&m, "extra", "{\"id\":1,\"big\":12345678901234567890,\"n\":[1.5,null]}");
	cJSON_Delete(m.item);
}

/* More members than are noted, some of them twice, and names that a path cannot say. */
static void members(void **state)
{
	static const char *const paths[] = { "k0",     "k3.b[1].c", "k3.b[*].c", "k63",
					     "k64",    "k69.b",     "k3 ",       "k3.nope.x",
					     "k3.b.x", "none",      "k",         "",
					     "n | k5", "a b",       "k3[0]",     "x@y" };
	struct buf text = BUF_INIT;
	struct item_members noted;
	cJSON *v = NULL;

	buf_puts(&text, "{\"n\":null,\"k.0\":1,\"a b\":2,\"x@y\":3,\"\":4");
	for (int i = 0; i < 70; i++)
		buf_printf(&text, ",\"k%d\":{\"b\":[{\"c\":null},{\"c\":%d}]},\"k%d\":0", i, i, i);
	buf_putc(&text, '}');
	assert_int_equal(json_parse(text.data, text.len, text.len, &v, NULL), 0);
	item_members_init(&noted, v);
	assert_int_equal(noted.n, ITEM_MEMBERS_MAX);
	for (size_t i = 0; i < ARRAY_LEN(paths); i++) {
		struct item with = { v, 0, arena, &noted }, without = { v, 0, arena, NULL };

		assert_ptr_equal(item_find(&with, paths[i]), item_find(&without, paths[i]));
		assert_ptr_equal(item_member(&with, paths[i]),
				 cJSON_GetObjectItemCaseSensitive(v, paths[i]));
	}
	assert_int_equal(json_path(v, "k69.b[1].c")->valueint, 69);
	item_members_init(&noted, json_path(v, "n"));
	assert_int_equal(noted.n, 0);
	assert_null(noted.rest);
	cJSON_Delete(v);
	buf_clear(&text);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(whole),         cmocka_unit_test(members),
		cmocka_unit_test(ids),           cmocka_unit_test(missing_null_empty),
		cmocka_unit_test(merged),        cmocka_unit_test(too_many_heirs),
		cmocka_unit_test(keys),          cmocka_unit_test(enums),
		cmocka_unit_test(long_texts),    cmocka_unit_test(embedded),
		cmocka_unit_test(keys_of_a_map), cmocka_unit_test(belongs_to),
	};

	return cmocka_run_group_tests(tests, setup, teardown);
}
