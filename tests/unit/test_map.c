/* Items to rows: every conversion, and what sets an item aside. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/clock.h"
#include "common/base/crypto.h"
#include "common/base/mem.h"
#include "drivers/kit/map.h"
#include "drivers/kit/map_value.h"

static const char manifest_text[] =
	"{\"partner\": \"p\", \"manifest\": 1, \"api\": {\"base\": {\"production\": \"https://h\"}}, \"collections\": {"
	"\"homes\": {\"get\": \"/h\", \"id\": \"_id|id\", \"updated_at\": \"updated\", \"table\": \"resources\", \"id_prefix\": \"h-\","
	" \"map\": {\"kind\": {\"const\": \"home\"}, \"name\": {\"path\": \"nick|title\", \"required\": true},"
	"  \"internal_name\": \"code\", \"status\": {\"path\": \"listed\", \"enum\": {\"true\": \"active\", \"*\": \"other\"}},"
	"  \"type\": {\"path\": \"type\", \"enum\": {\"Flat\": \"apartment\"}}, \"capacity\": \"sleeps\","
	"  \"lat\": \"geo.lat\", \"bathrooms\": \"baths\", \"country_code\": \"country\", \"currency\": \"cur\","
	"  \"price_minor\": {\"path\": \"price\", \"as\": \"money\", \"currency\": \"cur\"},"
	"  \"timezone\": {\"path\": \"tz\", \"default\": \"UTC\"}, \"beds\": {\"path\": \"beds\", \"required\": true, \"default\": 1},"
	"  \"media_hash\": {\"hash\": \"pics[*].id\"},"
	"  \"partner_created_at\": {\"path\": \"made\", \"tz\": \"+02:00\"}}, \"extra\": [\"tags\", \"gone\"]},"
	"\"pics\": {\"each\": \"homes\", \"embedded\": \"pics\", \"id\": \"id\", \"table\": \"media\","
	" \"map\": {\"url\": {\"path\": \"url|@\", \"as\": \"url\", \"required\": true}, \"position\": \"nr|@index\", \"caption\": \"@key\"},"
	" \"extra\": [\"*\"]},"
	"\"stays\": {\"get\": \"/s\", \"id\": \"id\", \"table\": \"transactions\", \"belongs_to\": {\"collection\": \"homes\", \"id\": \"home\"},"
	" \"map\": {\"starts_at\": \"from\", \"ends_at\": \"to\", \"starts_on\": \"day\", \"ends_on\": \"last_day\", \"guests\": \"guests\"}},"
	"\"flags\": {\"get\": \"/f\", \"id\": \"id\", \"table\": \"transactions\", \"id_prefix\": \"f\", \"map\": {\"notes\": \"note\"}, \"extra\": [\"*\"]}"
	"}}";

static struct manifest *manifest;
static struct arena *arena;

static int setup(void **state)
{
	struct buf problems = BUF_INIT;

	arena = arena_new();
	if (manifest_parse("manifest.json", manifest_text, strlen(manifest_text), &manifest, &problems) < 0)
		fail_msg("%s", buf_str(&problems));
	buf_clear(&problems);
	return 0;
}

static int teardown(void **state)
{
	manifest_free(manifest);
	arena_free(arena);
	return 0;
}

static cJSON *json(const char *text)
{
	cJSON *v = NULL;

	if (json_parse(text, strlen(text), 1 << 20, &v, NULL) < 0)
		fail_msg("not JSON: %s", text);
	return v;
}

static int map(const char *collection, const cJSON *item, struct row *row, struct err *err)
{
	const struct map_context m = { .manifest = manifest,
				       .collection = manifest_collection(manifest, collection),
				       .integration_id = 7,
				       .observed_us = 99,
				       .parent_id = strcmp(collection, "pics") == 0 ? "p1" : NULL,
				       .index = 3,
				       .arena = arena };

	return map_item(&m, item, row, err);
}

/* The row of an item; the item lives as long as the test, since texts in the row are borrowed from it. */
struct mapped {
	cJSON *item;
	struct row row;
	enum row_table table;
};

static struct mapped mapped(const char *collection, const char *text)
{
	struct mapped m = { .item = json(text), .table = manifest_collection(manifest, collection)->table };
	struct err err = { 0 };

	if (map(collection, m.item, &m.row, &err) < 0)
		fail_msg("%s: %s", text, err.text);
	return m;
}

static const struct row_value *value(const struct mapped *m, const char *column)
{
	int i = row_column_find(m->table, column);

	assert_true(i >= 0);
	return &m->row.values[i];
}

static void has_text(const struct mapped *m, const char *column, const char *wanted)
{
	const struct row_value *v = value(m, column);

	assert_int_equal(v->set, wanted != NULL);
	if (!wanted)
		return;
	assert_int_equal(v->v.s.n, strlen(wanted));
	assert_memory_equal(v->v.s.p, wanted, strlen(wanted));
}

static void has_int(const struct mapped *m, const char *column, int64_t wanted)
{
	assert_true(value(m, column)->set);
	assert_true(value(m, column)->v.i == wanted);
}

/* Set aside, with the field and the words of the reason. */
static void aside(const char *collection, const char *text, const char *field, const char *reason)
{
	cJSON *item = json(text);
	struct row row, before;
	struct err err = { 0 };

	memset(&row, 0x5a, sizeof(row));
	before = row;
	if (map(collection, item, &row, &err) != -EINVAL)
		fail_msg("not set aside: %s", text);
	assert_int_equal(err.class, ERR_DATA);
	assert_string_equal(err.where, field);
	if (strncmp(err.text, field, strlen(field)) != 0 || !strstr(err.text, reason))
		fail_msg("%s: wanted %s, said %s", text, reason, err.text);
	assert_memory_equal(&row, &before, sizeof(row));
	cJSON_Delete(item);
}

static int64_t us(const char *iso)
{
	int64_t t = 0;

	assert_int_equal(clock_parse_time(iso, &t, NULL), 0);
	return t;
}

/* ---- a whole item ---- */

static void whole(void **state)
{
	struct mapped m = mapped("homes", "{\"_id\": \"a1\", \"updated\": \"2026-01-02T03:04:05.678Z\", \"nick\": \"Nest\","
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
		{ "{\"_id\": null, \"id\": 9007199254740993, \"title\": \"t\"}", "h-9007199254740993" },
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

static void missing_null_empty(void **state)
{
	struct mapped m = mapped("homes", "{\"id\": 1, \"nick\": \"\", \"title\": \"T\", \"code\": \"\", \"tz\": null, \"sleeps\": \"\"}");

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
	aside("homes", "{\"id\": 1, \"nick\": null, \"title\": \"\"}", "name", "required, but \"\"");
}

static void enums(void **state)
{
	struct mapped m = mapped("homes", "{\"id\": 1, \"title\": \"t\", \"listed\": \"maybe\", \"type\": \"\"}");

	has_text(&m, "status", "other");
	has_text(&m, "type", "");
	cJSON_Delete(m.item);
	m = mapped("homes", "{\"id\": 1, \"title\": \"t\", \"listed\": [1]}");
	has_text(&m, "status", "other");
	cJSON_Delete(m.item);
	aside("homes", "{\"id\": 1, \"title\": \"t\", \"type\": \"Boat\"}", "type", "\"Boat\"");
}

static void numbers(void **state)
{
	static const struct {
		const char *json;
		int64_t wanted;
	} good[] = {
		{ "12", 12 },	{ "\"12\"", 12 }, { "\" 12 \"", 12 }, { "12.0", 12 }, { "\"12.00\"", 12 },
		{ "1e3", 1000 }, { "\"+7\"", 7 },  { "0", 0 },	       { "\"007\"", 7 },
	};
	static const char *const bad[] = { "\"12abc\"", "12.5", "\"1.5\"", "\"twelve\"", "true", "[]", "\"0x10\"", "1e30",
					   "\"99999999999999999999\"", "\"12 3\"", "\"-\"", "\"1.\"" };

	for (size_t i = 0; i < ARRAY_LEN(good); i++) {
		char *text = mem_printf("{\"id\": 1, \"title\": \"t\", \"sleeps\": %s}", good[i].json);
		struct mapped m = mapped("homes", text);

		has_int(&m, "capacity", good[i].wanted);
		cJSON_Delete(m.item);
		free(text);
	}
	for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
		char *text = mem_printf("{\"id\": 1, \"title\": \"t\", \"sleeps\": %s}", bad[i]);

		aside("homes", text, "capacity", "is ");
		free(text);
	}
	aside("homes", "{\"id\": 1, \"title\": \"t\", \"sleeps\": -1}", "capacity", "negative");
	aside("homes", "{\"id\": 1, \"title\": \"t\", \"baths\": \"nan\"}", "bathrooms", "is no number");
	aside("homes", "{\"id\": 1, \"title\": \"t\", \"baths\": \"1e999\"}", "bathrooms", "is out of range");
	aside("homes", "{\"id\": 1, \"title\": \"t\", \"baths\": \"1,5\"}", "bathrooms", "is no number");
}

static void booleans(void **state)
{
	static const struct {
		const char *json;
		int wanted; /* -1: no such thing */
	} cases[] = {
		{ "true", 1 },	{ "false", 0 },	   { "1", 1 },	     { "0", 0 },	{ "\"true\"", 1 },
		{ "\"yes\"", 1 }, { "\"No\"", 0 }, { "\"1\"", 1 }, { "2", -1 }, { "\"si\"", -1 },
	};
	struct manifest_column column = { .name = "b", .as = MAP_BOOL };

	for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
		cJSON *v = json(cases[i].json);
		struct row_value out = { 0 };
		const char *why = NULL;
		int rc = map_value(&column, v, NULL, arena, &out, &why);

		assert_int_equal(rc, cases[i].wanted < 0 ? -EINVAL : 0);
		if (rc == 0)
			assert_int_equal(out.v.b, cases[i].wanted);
		else
			assert_non_null(strstr(why, "neither true nor false"));
		cJSON_Delete(v);
	}
}

static void times(void **state)
{
	static const char *const good[][2] = {
		{ "\"2026-01-02T03:04:05Z\"", "2026-01-02T03:04:05Z" },
		{ "\"2026-01-02T03:04:05+05:30\"", "2026-01-01T21:34:05Z" },
		{ "\"2026-01-02 03:04:05\"", "2026-01-02T01:04:05Z" }, /* the column's tz is +02:00 */
		{ "\"2026-01-02\"", "2026-01-01T22:00:00Z" },
		{ "\"20260102\"", "2026-01-01T22:00:00Z" },
		{ "1767323045", "2026-01-02T03:04:05Z" },
		{ "1767323045000", "2026-01-02T03:04:05Z" },
		{ "1767323045.5", "2026-01-02T03:04:05.5Z" },
		{ "\"Fri, 02 Jan 2026 03:04:05 GMT\"", "2026-01-02T03:04:05Z" },
		{ "\"2026-01-02T03:04:05-0300\"", "2026-01-02T06:04:05Z" },
	};
	static const char *const bad[] = { "\"not a date\"", "\"2026-02-31\"", "true", "{}", "\"2026-13-01T00:00:00Z\"" };

	for (size_t i = 0; i < ARRAY_LEN(good); i++) {
		char *text = mem_printf("{\"id\": 1, \"title\": \"t\", \"made\": %s}", good[i][0]);
		struct mapped m = mapped("homes", text);

		if (value(&m, "partner_created_at")->v.i != us(good[i][1]))
			fail_msg("%s is not %s", good[i][0], good[i][1]);
		cJSON_Delete(m.item);
		free(text);
	}
	for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
		char *text = mem_printf("{\"id\": 1, \"title\": \"t\", \"made\": %s}", bad[i]);

		aside("homes", text, "partner_created_at", "is no time");
		free(text);
	}
	aside("homes", "{\"id\": 1, \"title\": \"t\", \"updated\": \"never\"}", "updated_at", "is no time");
}

static void dates_and_order(void **state)
{
	struct mapped m = mapped("stays", "{\"id\": 1, \"day\": \"2026-01-02\", \"last_day\": \"2026-01-05T23:30:00-11:00\"}");

	has_int(&m, "starts_on", us("2026-01-02") / (86400 * INT64_C(1000000)));
	has_int(&m, "ends_on", us("2026-01-05") / (86400 * INT64_C(1000000)));
	cJSON_Delete(m.item);
	m = mapped("stays", "{\"id\": 1, \"day\": \"1969-12-31\"}");
	has_int(&m, "starts_on", -1);
	cJSON_Delete(m.item);
	m = mapped("stays", "{\"id\": 1, \"from\": \"2026-01-02T10:00Z\", \"to\": \"2026-01-02T10:00Z\"}");
	cJSON_Delete(m.item);
	aside("stays", "{\"id\": 1, \"from\": \"2026-01-02T10:00Z\", \"to\": \"2026-01-02T09:59Z\"}", "ends_at", "before starts_at");
	aside("stays", "{\"id\": 1, \"day\": \"2026-01-02\", \"last_day\": \"2026-01-01\"}", "ends_on", "before starts_on");
	aside("stays", "{\"id\": 1, \"day\": \"2026-02-30T10:00:00Z\"}", "starts_on", "is no date");
}

static void countries_and_currencies(void **state)
{
	struct mapped m = mapped("homes", "{\"id\": 1, \"title\": \"t\", \"country\": \"Portugal\", \"cur\": \"\", \"tags\": null}");

	has_text(&m, "country_code", NULL);
	has_text(&m, "currency", NULL);
	has_text(&m, "extra", "{\"tags\":null,\"country_code\":\"Portugal\"}");
	cJSON_Delete(m.item);
	aside("homes", "{\"id\": 1, \"title\": \"t\", \"cur\": \"EURO\"}", "currency", "the currency \"EURO\" is not known");
	aside("homes", "{\"id\": 1, \"title\": \"t\", \"cur\": \"XXY\"}", "currency", "not known");
	aside("homes", "{\"id\": 1, \"title\": \"t\", \"cur\": \"ALL\", \"price\": \"1 000\"}", "price_minor", "is no amount");
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

/* ---- embedded items, parents, extra ---- */

static void embedded(void **state)
{
	struct mapped m = mapped("pics", "{\"id\": 5, \"url\": \"//h/x.jpg\", \"nr\": \"\"}"), again;

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

/* ---- money ---- */

static void money(void **state)
{
	static const struct {
		const char *text, *currency;
		int64_t wanted;
	} good[] = {
		{ "12.34", "EUR", 1234 },
		{ "12.34", NULL, 1234 },
		{ "12", "USD", 1200 },
		{ "1,234.50", "USD", 123450 },
		{ "1,234,567", "USD", 123456700 },
		{ "-0.05", "GBP", -5 },
		{ "+.5", "EUR", 50 },
		{ " 7 ", "EUR", 700 },
		{ "18000", "JPY", 18000 },
		{ "18000.00", "JPY", 18000 },
		{ "1.234", "KWD", 1234 },
		{ "1.2", "kwd", 1200 },
		{ "1.2345", "CLF", 12345 },
		{ "0.30000000000000004", "EUR", 30 },
		{ "19.989999999999998", "EUR", 1999 },
		{ "0.005", "EUR", 1 },
		{ "0.0049", "EUR", 0 },
		{ "-0.005", "EUR", -1 },
		{ "1e3", "EUR", 100000 },
		{ "1.5E-1", "EUR", 15 },
		{ "0", "EUR", 0 },
		{ "0e99999", "EUR", 0 },
		{ "1e-99999", "EUR", 0 },
		{ "92233720368547758.07", "EUR", INT64_MAX },
		{ "000000000000000000000000000000000000000000000000000000000000000000000001", "JPY", 1 },
	};
	static const struct {
		const char *text, *currency;
		int wanted;
	} bad[] = {
		{ "", "EUR", -EINVAL },	     { "abc", "EUR", -EINVAL },	  { "12.34.5", "EUR", -EINVAL },
		{ "1,23", "EUR", -EINVAL },  { "1234,567", "EUR", -EINVAL }, { "1.234,50", "EUR", -EINVAL },
		{ "1,,234", "EUR", -EINVAL }, { ",123", "EUR", -EINVAL },	  { "$5", "EUR", -EINVAL },
		{ "5 EUR", "EUR", -EINVAL }, { "1.", "EUR", -EINVAL },	  { ".", "EUR", -EINVAL },
		{ "1e", "EUR", -EINVAL },    { "--1", "EUR", -EINVAL },	  { "1", "ZZZ", -EINVAL },
		{ "1", "", -EINVAL },	     { "inf", "EUR", -EINVAL },	  { "92233720368547758.08", "EUR", -ERANGE },
		{ "1e30", "EUR", -ERANGE },  { "1e99999", "EUR", -ERANGE },
	};
	int64_t v = 0;

	for (size_t i = 0; i < ARRAY_LEN(good); i++)
		if (map_money(good[i].text, good[i].currency, &v) != 0 || v != good[i].wanted)
			fail_msg("%s is %lld", good[i].text, (long long)v);
	for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
		v = 77;
		if (map_money(bad[i].text, bad[i].currency, &v) != bad[i].wanted || v != 77)
			fail_msg("%s %s", bad[i].text, bad[i].currency);
	}
}

/* Through a double and back: every cent of a range comes out as it went in. */
static void money_round_trip(void **state)
{
	for (int64_t cents = 0; cents < 40000; cents++) {
		char *text = mem_printf("%lld.%02d", (long long)(cents / 100 * 99991), (int)(cents % 100));
		cJSON *v = json(text);
		struct manifest_column column = { .name = "m", .as = MAP_MONEY };
		struct row_value out = { 0 };
		const char *why = NULL;

		assert_int_equal(map_value(&column, v, "EUR", arena, &out, &why), 0);
		assert_true(out.v.i == cents / 100 * 99991 * 100 + cents % 100);
		cJSON_Delete(v);
		free(text);
	}
}

static void currencies(void **state)
{
	char upper[4];

	assert_int_equal(currency_digits("eur", upper), 2);
	assert_string_equal(upper, "EUR");
	assert_int_equal(currency_digits("JPY", NULL), 0);
	assert_int_equal(currency_digits("KWD", NULL), 3);
	assert_int_equal(currency_digits("CLF", NULL), 4);
	assert_int_equal(currency_digits("EU", NULL), -1);
	assert_int_equal(currency_digits("D A", NULL), -1);
	assert_int_equal(currency_digits("LAF", NULL), -1); /* inside "ALL AFN" it is none */
	assert_int_equal(currency_digits("XTS", NULL), -1);
	assert_int_equal(currency_digits("XAU", NULL), -1);
	assert_int_equal(currency_digits(NULL, NULL), -1);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(whole),
		cmocka_unit_test(ids),
		cmocka_unit_test(missing_null_empty),
		cmocka_unit_test(enums),
		cmocka_unit_test(numbers),
		cmocka_unit_test(booleans),
		cmocka_unit_test(times),
		cmocka_unit_test(dates_and_order),
		cmocka_unit_test(countries_and_currencies),
		cmocka_unit_test(long_texts),
		cmocka_unit_test(embedded),
		cmocka_unit_test(keys_of_a_map),
		cmocka_unit_test(belongs_to),
		cmocka_unit_test(money),
		cmocka_unit_test(money_round_trip),
		cmocka_unit_test(currencies),
	};

	return cmocka_run_group_tests(tests, setup, teardown);
}
