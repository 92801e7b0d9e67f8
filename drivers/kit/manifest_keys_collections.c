/* Format 1 as tables: what a collection has, and each column of its map (see manifest_keys.c). */
#include <stddef.h>

#include "common/base/mem.h"
#include "common/queue/job.h"
#include "drivers/kit/manifest_read.h"

#define DAY_MS INT64_C(86400000)
#define YEAR_MS (366 * DAY_MS)

#define AT(member) .at = offsetof(struct manifest_column, member)

static const struct key_word as_words[] = {
	{ "text", MAP_TEXT },    { "int", MAP_INT },   { "number", MAP_NUMBER },
	{ "bool", MAP_BOOL },    { "time", MAP_TIME }, { "date", MAP_DATE },
	{ "money", MAP_MONEY },  { "json", MAP_JSON }, { "url", MAP_URL },
	{ NULL, MAP_AS_COLUMN },
};
static const struct manifest_key column_keys[] = {
	{ "path", KEY_PATH, AT(path), .flags = KEY_PLACE },
	{ "as", KEY_WORD, AT(as), .words = as_words },
	{ "default", KEY_JSON, AT(fallback) },
	{ "required", KEY_BOOL, AT(required) },
	{ "enum", KEY_JSON_TEXTS, AT(enums) },
	{ "const", KEY_JSON, AT(constant) },
	{ "hash", KEY_PATH, AT(hash), .flags = KEY_WILD },
	{ "tz", KEY_OWN, .read = read_tz, .print = print_tz,
	  .schema = "{\"type\":\"string\",\"minLength\":1}" },
	{ "currency", KEY_PATH, AT(currency) },
};
const struct key_table manifest_column_table = { TABLE(column_keys),
						 .size = sizeof(struct manifest_column),
						 .name_at = offsetof(struct manifest_column, name),
						 .shorthand = "path" };
#undef AT

#define AT(member) .at = offsetof(struct manifest_collection, member)
#define COUNT(member) .n_at = offsetof(struct manifest_collection, member)

static const struct key_word lane_words[] = {
	{ "high", LANE_HIGH }, { "normal", LANE_NORMAL }, { "low", LANE_LOW }, { NULL, 0 }
};
static const struct key_word deletes_words[] = {
	{ "none", DELETES_NEVER },
	{ "full_scan", DELETES_FULL_SCAN },
	{ "scan_of_parent", DELETES_SCAN_OF_PARENT },
	{ "webhook", DELETES_WEBHOOK },
	{ NULL, DELETES_NEVER },
};
static const struct manifest_key tombstone_keys[] = {
	{ "path", KEY_PATH, AT(deletes.tombstone), .flags = KEY_REQUIRED },
	{ "value", KEY_JSON, AT(deletes.value), .fallback = "true" },
};
static bool tombstone_present(const void *base)
{
	return ((const struct manifest_collection *)base)->deletes.tombstone != NULL;
}
static const struct key_table tombstone_table = { TABLE(tombstone_keys),
						  .present = tombstone_present };
static const struct manifest_key deletes_keys[] = {
	{ "by", KEY_WORD, AT(deletes.by), .words = deletes_words },
	{ "tombstone", KEY_OBJECT, .of = &tombstone_table },
	{ "brake", KEY_SHARE, AT(deletes.brake), .fallback = "0.2" },
	{ "few", KEY_INT, AT(deletes.few), .fallback = "2" },
};
static const struct key_table deletes_table = { TABLE(deletes_keys), .shorthand = "by" };

static const struct manifest_key incremental_keys[] = {
	{ "param", KEY_TEXT, AT(incremental.param), .flags = KEY_REQUIRED },
	{ "value", KEY_TEXT, AT(incremental.value), .fallback = "\"{since}\"" },
	{ "format", KEY_OWN, .fallback = "\"iso8601\"", .read = read_format, .print = print_format,
	  .schema = "{\"type\":\"string\",\"minLength\":1}" },
	{ "overlap", KEY_DURATION, AT(incremental.overlap_ms), .fallback = "\"5m\"",
	  .max = 31 * DAY_MS },
	{ "lookback_first", KEY_DURATION, AT(incremental.lookback_first_ms), .max = 100 * YEAR_MS },
	{ "tz", KEY_OWN, .read = read_incremental_tz, .print = print_incremental_tz,
	  .schema = "{\"type\":\"string\"}" },
	{ "step", KEY_DURATION, AT(incremental.step_ms), .max = 100 * YEAR_MS },
};
static bool incremental_present(const void *base)
{
	return ((const struct manifest_collection *)base)->incremental.on;
}
static void incremental_finish(struct manifest_reader *r, void *base)
{
	((struct manifest_collection *)base)->incremental.on = true;
}
static const struct key_table incremental_table = { TABLE(incremental_keys),
						    .present = incremental_present,
						    .finish = incremental_finish };

static const struct manifest_key batch_keys[] = {
	{ "get", KEY_TEXT, AT(batch.get), .flags = KEY_REQUIRED },
	{ "query", KEY_PAIRS, AT(batch.query) },
	{ "join", KEY_TEXT, AT(batch.join), .fallback = "\",\"" },
	{ "max", KEY_INT, AT(batch.max), .fallback = "50", .min = 1, .max = 1000 },
};
static bool batch_present(const void *base)
{
	return ((const struct manifest_collection *)base)->batch.get != NULL;
}
static const struct key_table batch_table = { TABLE(batch_keys), .present = batch_present };

static const struct manifest_key detail_keys[] = {
	{ "get", KEY_TEXT, AT(detail), .flags = KEY_REQUIRED },
	{ "batch", KEY_OBJECT, .of = &batch_table },
	{ "query", KEY_PAIRS, AT(detail_query) },
	{ "records", KEY_PATH, AT(detail_records) },
};
static bool detail_present(const void *base)
{
	return ((const struct manifest_collection *)base)->detail != NULL;
}
static const struct key_table detail_table = { TABLE(detail_keys), .present = detail_present };

static const struct manifest_key belongs_keys[] = {
	{ "collection", KEY_TEXT, AT(belongs_collection), .flags = KEY_REQUIRED },
	{ "id", KEY_PATH, AT(belongs_id), .flags = KEY_REQUIRED },
};
static bool belongs_present(const void *base)
{
	return ((const struct manifest_collection *)base)->belongs_collection != NULL;
}
static const struct key_table belongs_table = { TABLE(belongs_keys), .present = belongs_present };

static const struct manifest_key collection_keys[] = {
	{ "get", KEY_TEXT, AT(get) },
	{ "post", KEY_TEXT, AT(post) },
	{ "json", KEY_JSON, AT(json) },
	{ "query", KEY_PAIRS, AT(query) },
	{ "records", KEY_PATH, AT(records), .flags = KEY_WILD },
	{ "id", KEY_PATH, AT(id), .flags = KEY_REQUIRED | KEY_PLACE },
	{ "id_prefix", KEY_TEXT, AT(id_prefix), .fallback = "\"\"", .flags = KEY_EMPTY },
	{ "updated_at", KEY_PATH, AT(updated_at) },
	{ "incremental", KEY_OBJECT, .of = &incremental_table },
	{ "pagination", KEY_OBJECT, AT(paging), .of = &manifest_pagination,
	  .flags = KEY_INHERITED },
	{ "detail", KEY_OBJECT, .of = &detail_table },
	{ "each", KEY_TEXT, AT(each) },
	{ "embedded", KEY_PATH, AT(embedded) },
	{ "when_changed", KEY_TEXT, AT(when_changed) },
	{ "upcoming", KEY_TEXT, AT(upcoming) },
	{ "parallel", KEY_INT, AT(parallel), .fallback = "4", .min = 1, .max = PARALLEL_MAX },
	{ "group", KEY_TEXT, AT(group) },
	{ "lane", KEY_WORD, AT(lane), .fallback = "\"normal\"", .words = lane_words },
	{ "deletes", KEY_OBJECT, .of = &deletes_table },
	{ "merged_into", KEY_PATH, AT(merged_into) },
	{ "table", KEY_OWN, .flags = KEY_REQUIRED, .read = read_table, .print = print_table,
	  .schema = "{\"enum\":[\"resources\",\"transactions\",\"media\"]}" },
	{ "belongs_to", KEY_OBJECT, .of = &belongs_table },
	{ "map", KEY_NAMED, AT(map), COUNT(n_map), .of = &manifest_column_table,
	  .flags = KEY_REQUIRED },
	{ "extra", KEY_TEXTS, AT(extra), COUNT(n_extra) },
	{ "personal", KEY_TEXTS, AT(personal), COUNT(n_personal) },
};

static void collection_finish(struct manifest_reader *r, void *base)
{
	struct manifest_collection *c = base;

	if (!c->records && !c->embedded)
		c->records = "@";
	if (c->paging.size == 0)
		c->paging = r->owner->m.paging;
}
const struct key_table manifest_collection_table = {
	TABLE(collection_keys), .size = sizeof(struct manifest_collection),
	.name_at = offsetof(struct manifest_collection, name), .finish = collection_finish
};
