/* Items mapped by one manifest that has every kind of column, and what tests ask of the rows. */
#ifndef TESTS_UNIT_MAPPED_H
#define TESTS_UNIT_MAPPED_H

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
	"\"homes\": {\"get\": \"/h\", \"id\": \"_id|id\", \"updated_at\": \"updated\", \"table\": \"resources\", \"id_prefix\": \"h-\", \"merged_into\": \"became\","
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

static inline int setup(void **state)
{
	struct buf problems = BUF_INIT;

	arena = arena_new();
	if (manifest_parse("manifest.json", manifest_text, strlen(manifest_text), &manifest,
			   &problems) < 0)
		fail_msg("%s", buf_str(&problems));
	buf_clear(&problems);
	return 0;
}

static inline int teardown(void **state)
{
	manifest_free(manifest);
	arena_free(arena);
	return 0;
}

static inline cJSON *json(const char *text)
{
	cJSON *v = NULL;

	if (json_parse(text, strlen(text), 1 << 20, &v, NULL) < 0)
		fail_msg("not JSON: %s", text);
	return v;
}

static inline int map(const char *collection, const cJSON *item, struct row *row, struct err *err)
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

static inline struct mapped mapped(const char *collection, const char *text)
{
	struct mapped m = { .item = json(text),
			    .table = manifest_collection(manifest, collection)->table };
	struct err err = { 0 };

	if (map(collection, m.item, &m.row, &err) < 0)
		fail_msg("%s: %s", text, err.text);
	return m;
}

static inline const struct row_value *value(const struct mapped *m, const char *column)
{
	int i = row_column_find(m->table, column);

	assert_true(i >= 0);
	return &m->row.values[i];
}

static inline void has_text(const struct mapped *m, const char *column, const char *wanted)
{
	const struct row_value *v = value(m, column);

	assert_int_equal(v->set, wanted != NULL);
	if (!wanted)
		return;
	assert_int_equal(v->v.s.n, strlen(wanted));
	assert_memory_equal(v->v.s.p, wanted, strlen(wanted));
}

static inline void has_int(const struct mapped *m, const char *column, int64_t wanted)
{
	assert_true(value(m, column)->set);
	assert_true(value(m, column)->v.i == wanted);
}

/* Set aside, with the field and the words of the reason. */
static inline void aside(const char *collection, const char *text, const char *field,
			 const char *reason)
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

static inline int64_t us(const char *iso)
{
	int64_t t = 0;

	assert_int_equal(clock_parse_time(iso, &t, NULL), 0);
	return t;
}

#endif
