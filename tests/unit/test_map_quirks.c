/* What partners really send (the list of quirks in the drivers' pages), one test a quirk: what of it becomes a row. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/clock.h"
#include "common/base/mem.h"
#include "drivers/kit/map.h"
#include "drivers/kit/paginate_parts.h"

/* %s: the members of a collection of resources beside its table. */
#define HOMES                                                                                          \
	"{\"partner\": \"p\", \"manifest\": 1, \"api\": {\"base\": {\"production\": \"https://h\"}}, " \
	"\"collections\": {\"homes\": {\"get\": \"/h\", \"table\": \"resources\", %s}}}"

static struct manifest *manifest;
static struct arena *arena;
static struct page page;
static int unknown;
static char unknown_value[100];

static void see_unknown(const char *column, const char *value, void *arg)
{
	unknown++;
	snprintf(unknown_value, sizeof(unknown_value), "%s=%s", column, value);
}

/* An answer's items become rows; the first one's outcome. */
static int map_first(const char *members, const char *answer, struct row *row, struct err *err)
{
	char *text = mem_printf(HOMES, members);
	struct buf problems = BUF_INIT;
	struct map_context m = { .integration_id = 1, .observed_us = 5, .unknown = see_unknown };

	if (manifest_parse("manifest.json", text, strlen(text), &manifest, &problems) < 0)
		fail_msg("%s", buf_str(&problems));
	free(text);
	arena = arena_new();
	m.manifest = manifest;
	m.collection = &manifest->collections[0];
	m.arena = arena;
	page_init(&page, 1);
	assert_int_equal(json_parse(answer, strlen(answer), 100000, &page.result.json, NULL), 0);
	assert_int_equal(page_records(&page, m.collection, err), 0);
	assert_true(page.n > 0);
	*row = (struct row){ 0 };
	unknown = 0;
	return map_item(&m, page.records[0], row, err);
}

static void done(void)
{
	page_clear(&page);
	manifest_free(manifest);
	arena_free(arena);
}

static const struct row_value *value(const struct row *r, const char *column)
{
	return &r->values[row_column_find(ROW_RESOURCES, column)];
}

/* One item, one column's text (NULL: not set), or why it was set aside ("!…"). */
static void gives(const char *members, const char *answer, const char *column, const char *wanted)
{
	struct row row;
	struct err err = { 0 };
	int rc = map_first(members, answer, &row, &err);

	if (wanted && wanted[0] == '!') {
		assert_int_equal(rc, -EINVAL);
		if (!strstr(err.text, wanted + 1))
			fail_msg("%s: wanted %s, found %s", answer, wanted, err.text);
	} else if (rc < 0) {
		fail_msg("%s: %s", answer, err.text);
	} else if (strcmp(column, "external_id") == 0) {
		assert_string_equal(row.external_id, wanted);
	} else if (!wanted) {
		assert_false(value(&row, column)->set);
	} else {
		assert_true(value(&row, column)->set);
		assert_int_equal(value(&row, column)->v.s.n, strlen(wanted));
		assert_memory_equal(value(&row, column)->v.s.p, wanted, strlen(wanted));
	}
	done();
}

static void gives_int(const char *members, const char *answer, const char *column, int64_t wanted)
{
	struct row row;
	struct err err = { 0 };

	if (map_first(members, answer, &row, &err) < 0)
		fail_msg("%s: %s", answer, err.text);
	assert_true(value(&row, column)->set);
	assert_int_equal(value(&row, column)->v.i, wanted);
	done();
}

#define NAME "\"id\": \"id\", \"map\": {\"name\": \"n\"}"

static void bare_or_wrapped(void **state) /* 6 */
{
	gives("\"records\": \"results|@\", " NAME, "[{\"id\": 1, \"n\": \"a\"}]", "name", "a");
	gives("\"records\": \"results|@\", " NAME, "{\"results\": [{\"id\": 1, \"n\": \"a\"}]}",
	      "name", "a");
}

static void map_for_list(void **state) /* 7 */
{
#define GUESTS \
	"\"records\": \"data.guestList{*}\", \"id\": \"@key\", \"map\": {\"name\": \"n\", \"internal_name\": \"@key\"}"
	static const char answer[] =
		"{\"data\": {\"guestList\": {\"77\": {\"n\": \"Ann\"}, \"78\": {\"n\": \"Bo\"}}}}";

	gives(GUESTS, answer, "external_id", "77");
	gives(GUESTS, answer, "internal_name", "77");
	gives(GUESTS, answer, "name", "Ann");
}

static void ids_as_numbers(void **state) /* 8 */
{
	gives(NAME, "[{\"id\": 42}]", "external_id", "42");
	gives(NAME, "[{\"id\": \"42\"}]", "external_id", "42");
	gives(NAME, "[{\"id\": 42.0}]", "external_id", "42");
	gives(NAME, "[{\"id\": 18446744073709551615}]", "external_id", "18446744073709551615");
	gives(NAME, "[{\"id\": \"a\\ufffdb\"}]", "external_id", "!broken characters");
}

static void money(void **state) /* 9 */
{
#define PRICE \
	"\"id\": \"id\", \"map\": {\"price_minor\": {\"path\": \"p\", \"as\": \"money\", \"currency\": \"c.code\"}}"
	gives_int(PRICE, "[{\"id\": 1, \"p\": \"12.34\", \"c\": {\"code\": \"EUR\"}}]",
		  "price_minor", 1234);
	gives_int(PRICE, "[{\"id\": 1, \"p\": 12.340000000000002, \"c\": {\"code\": \"EUR\"}}]",
		  "price_minor", 1234);
	gives_int(PRICE, "[{\"id\": 1, \"p\": 1234, \"c\": {\"code\": \"jpy\"}}]", "price_minor",
		  1234);
	gives(PRICE, "[{\"id\": 1, \"p\": 1, \"c\": {\"code\": \"XXQ\"}}]", "price_minor",
	      "!the currency \"XXQ\" is not known");
}

static void times(void **state) /* 10, 11 */
{
#define MADE \
	"\"id\": \"id\", \"map\": {\"partner_created_at\": {\"path\": \"t\", \"tz\": \"+02:00\"}}"
	static const char *const forms[] = {
		"\"2026-01-02 03:04:05\"",
		"\"2026-01-02T01:04:05Z\"",
		"\"2026-01-02T01:04:05+00:00\"",
		"1767315845",
		"1767315845.0",
		"\"1767315845\"",
		"1767315845000",
		"\"Fri, 02 Jan 2026 01:04:05 +0000\"",
		"\"2 Jan 2026 01:04:05 GMT\"",
		"\"20260102T030405\"",
		"\"Fri, 02 Jan 2026 02:04:05 +0100\"",
		"\"2026-01-02T03:04:05\"",
	};

	for (size_t i = 0; i < ARRAY_LEN(forms); i++) {
		char *answer = mem_printf("[{\"id\": 1, \"t\": %s}]", forms[i]);

		gives_int(MADE, answer, "partner_created_at", INT64_C(1767315845) * 1000000);
		free(answer);
	}
	gives_int(MADE, "[{\"id\": 1, \"t\": 1767315845.25}]", "partner_created_at",
		  INT64_C(1767315845250000));
	gives(MADE, "[{\"id\": 1, \"t\": \"02/01/2026\"}]", "partner_created_at", "!is no time");
}

/* A link that is signed anew at each answer is no change of the picture; when it ends is kept. */
static void links_that_expire(void **state) /* 23 */
{
#define PICTURES(column) "\"id\": \"id\", \"map\": {\"media_hash\": {\"hash\": \"" column "\"}}"
#define SIGNED(n)                                                              \
	"[{\"id\": 1, \"p\": [{\"id\": \"a\", \"url\": \"https://h/a?until=" n \
	"\"}, {\"id\": \"b\"}]}]"
	static const char by_id[] = PICTURES("p[*].id");
	char first[33];
	struct row row;
	struct err err = { 0 };

	assert_int_equal(map_first(by_id, SIGNED("100"), &row, &err), 0);
	snprintf(first, sizeof(first), "%.*s", (int)value(&row, "media_hash")->v.s.n,
		 value(&row, "media_hash")->v.s.p);
	done();
	gives(by_id, SIGNED("200"), "media_hash", first);
	assert_int_equal(map_first(PICTURES("p[*].url"), SIGNED("200"), &row, &err), 0);
	assert_memory_not_equal(value(&row, "media_hash")->v.s.p, first, 32);
	done();
	assert_true(row_column_find(ROW_MEDIA, "expires_at") >= 0);
}

/* Each first name of a path is one of the fields that are asked for. */
static void need_field(const char *fields, const char *path)
{
	char name[64], padded[1000];

	snprintf(padded, sizeof(padded), " %s ", fields);
	for (const char *p = path; p && *p; p += strcspn(p, "|"), p += *p == '|') {
		p += strspn(p, " ");
		snprintf(name, sizeof(name), " %.*s ", (int)strcspn(p, "|.[{ "), p);
		if (name[1] != '@' && !strstr(padded, name))
			fail_msg("\"%s\" is mapped and not asked for: %s", path, fields);
	}
}

static const char *asked(const struct manifest_pairs *query, const char *name)
{
	for (int i = 0; i < query->n; i++)
		if (strcmp(query->v[i].name, name) == 0)
			return query->v[i].value;
	return NULL;
}

static void need_fields(const struct manifest *m, const struct manifest_collection *c,
			const char *fields)
{
	need_field(fields, c->id);
	need_field(fields, c->updated_at);
	need_field(fields, c->belongs_id);
	for (int i = 0; i < c->n_map; i++) {
		need_field(fields, c->map[i].path);
		need_field(fields, c->map[i].hash);
		need_field(fields, c->map[i].currency);
	}
	for (int i = 0; i < c->n_extra; i++)
		need_field(fields, c->extra[i]);
	for (int i = 0; i < m->n_collections; i++)
		if (m->collections[i].embedded && !strcmp(m->collections[i].each, c->name))
			need_field(fields, m->collections[i].embedded);
}

static struct manifest *manifest_at(const char *path)
{
	struct buf problems = BUF_INIT;
	struct manifest *m = NULL;

	if (manifest_load(path, &m, &problems) < 0)
		fail_msg("%s", buf_str(&problems));
	buf_clear(&problems);
	return m;
}

/* Lists that give few fields unless they are asked for: Guesty's by name, Hostaway's by a word. */
static void few_fields(void **state) /* 26 */
{
	struct manifest *m = manifest_at("drivers/guesty/manifest.json");
	int lists = 0;

	for (int i = 0; i < m->n_collections; i++)
		if (asked(&m->collections[i].query, "fields") && ++lists)
			need_fields(m, &m->collections[i],
				    asked(&m->collections[i].query, "fields"));
	assert_int_equal(lists, 2);
	manifest_free(m);
	m = manifest_at("drivers/hostaway/manifest.json");
	for (int i = 0; i < m->n_collections; i++)
		if (m->collections[i].get)
			assert_string_equal(asked(&m->collections[i].query, "includeResources"),
					    "1");
	assert_string_equal(asked(&manifest_collection(m, "listings")->detail_query,
				  "includeResources"),
			    "1");
	manifest_free(m);
}

static void case_of_names(void **state) /* 24 */
{
#define EITHER "\"id\": \"listingId|ListingID\", \"map\": {\"name\": \"displayName|DisplayName\"}"
	gives(EITHER, "[{\"ListingID\": 7, \"DisplayName\": \"a\"}]", "name", "a");
	gives(EITHER, "[{\"listingId\": 7, \"displayName\": \"a\"}]", "external_id", "7");
}

static void missing_null_empty(void **state)
{
#define EACH \
	"\"id\": \"id\", \"map\": {\"name\": \"n\", \"city\": {\"path\": \"c\", \"default\": \"none\"}}"
	gives(EACH, "[{\"id\": 1}]", "name", NULL);
	gives(EACH, "[{\"id\": 1, \"n\": null}]", "name", NULL);
	gives(EACH, "[{\"id\": 1, \"n\": \"\"}]", "name", "");
	gives(EACH, "[{\"id\": 1}]", "city", "none");
	gives(EACH, "[{\"id\": 1, \"c\": \"\"}]", "city", "");
}

static void later_enum_values(void **state) /* 28 */
{
#define STATUS \
	"\"id\": \"id\", \"map\": {\"status\": {\"path\": \"s\", \"enum\": {\"on\": \"active\", \"*\": \"other\"}}}"
	gives(STATUS, "[{\"id\": 1, \"s\": \"on\"}]", "status", "active");
	assert_int_equal(unknown, 0);
	gives(STATUS, "[{\"id\": 1, \"s\": \"archived\"}]", "status", "other");
	assert_int_equal(unknown, 1);
	assert_string_equal(unknown_value, "status=archived");
}

static void domains(void **state)
{
#define PLACE \
	"\"id\": \"id\", \"map\": {\"lat\": \"lat\", \"lng\": \"lng\", \"capacity\": \"c\", \"currency\": \"cur\"}"
	gives_int(PLACE, "[{\"id\": 1, \"lat\": 90, \"lng\": -180, \"c\": 0}]", "capacity", 0);
	gives(PLACE, "[{\"id\": 1, \"lat\": 90.01, \"lng\": 0}]", "lat",
	      "!lat: 90.01 is not within");
	gives(PLACE, "[{\"id\": 1, \"lat\": -91}]", "lat", "!lat: -91 is not within");
	gives(PLACE, "[{\"id\": 1, \"lng\": 181}]", "lng", "!lng: 181 is not within");
	gives(PLACE, "[{\"id\": 1, \"c\": -1}]", "capacity", "!capacity: negative");
	gives(PLACE, "[{\"id\": 1, \"cur\": \"ZZZ\"}]", "currency", "!currency");
	gives(PLACE, "[{\"id\": 1, \"cur\": \"eur\"}]", "currency", "EUR");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(bare_or_wrapped),
		cmocka_unit_test(map_for_list),
		cmocka_unit_test(ids_as_numbers),
		cmocka_unit_test(money),
		cmocka_unit_test(times),
		cmocka_unit_test(links_that_expire),
		cmocka_unit_test(few_fields),
		cmocka_unit_test(case_of_names),
		cmocka_unit_test(missing_null_empty),
		cmocka_unit_test(later_enum_values),
		cmocka_unit_test(domains),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
