#include "common/store/rows.h"

#include <errno.h>
#include <string.h>

#include "common/base/mem.h"

/* Order is the column's number, known to manifests and to sets; sql/0002_rows.sql has the same
 * names. */
static const struct row_column resources_columns[] = {
	{ "kind", ROW_TEXT },          { "name", ROW_TEXT },
	{ "internal_name", ROW_TEXT }, { "description", ROW_TEXT },
	{ "type", ROW_TEXT },          { "status", ROW_TEXT },
	{ "address1", ROW_TEXT },      { "address2", ROW_TEXT },
	{ "city", ROW_TEXT },          { "region", ROW_TEXT },
	{ "postal_code", ROW_TEXT },   { "country_code", ROW_TEXT },
	{ "lat", ROW_NUMBER },         { "lng", ROW_NUMBER },
	{ "timezone", ROW_TEXT },      { "currency", ROW_TEXT },
	{ "price_minor", ROW_INT },    { "cleaning_fee_minor", ROW_INT },
	{ "capacity", ROW_INT },       { "bedrooms", ROW_INT },
	{ "beds", ROW_INT },           { "bathrooms", ROW_NUMBER },
	{ "min_nights", ROW_INT },     { "max_nights", ROW_INT },
	{ "check_in_time", ROW_TEXT }, { "check_out_time", ROW_TEXT },
	{ "media_hash", ROW_TEXT },    { "partner_created_at", ROW_TIME },
	{ "extra", ROW_JSON },
};

static const struct row_column transactions_columns[] = {
	{ "resource_external_id", ROW_TEXT },
	{ "status", ROW_TEXT },
	{ "status_raw", ROW_TEXT },
	{ "source", ROW_TEXT },
	{ "code", ROW_TEXT },
	{ "starts_at", ROW_TIME },
	{ "ends_at", ROW_TIME },
	{ "starts_on", ROW_DATE },
	{ "ends_on", ROW_DATE },
	{ "timezone", ROW_TEXT },
	{ "nights", ROW_INT },
	{ "guests", ROW_INT },
	{ "adults", ROW_INT },
	{ "children", ROW_INT },
	{ "infants", ROW_INT },
	{ "pets", ROW_INT },
	{ "guest_name", ROW_TEXT },
	{ "guest_email", ROW_TEXT },
	{ "guest_phone", ROW_TEXT },
	{ "currency", ROW_TEXT },
	{ "total_minor", ROW_INT },
	{ "paid_minor", ROW_INT },
	{ "balance_minor", ROW_INT },
	{ "cancelled_at", ROW_TIME },
	{ "notes", ROW_TEXT },
	{ "partner_created_at", ROW_TIME },
	{ "extra", ROW_JSON },
};

static const struct row_column media_columns[] = {
	{ "resource_external_id", ROW_TEXT },
	{ "kind", ROW_TEXT },
	{ "url", ROW_TEXT },
	{ "position", ROW_INT },
	{ "caption", ROW_TEXT },
	{ "content_hash", ROW_TEXT },
	{ "expires_at", ROW_TIME },
	{ "extra", ROW_JSON },
};

static const struct {
	const char *name, *changes;
	const struct row_column *columns;
	int n;
} tables[ROW_TABLES] = {
	[ROW_RESOURCES] = { "resources", "resource_changes", resources_columns,
			    ARRAY_LEN(resources_columns) },
	[ROW_TRANSACTIONS] = { "transactions", "transaction_changes", transactions_columns,
			       ARRAY_LEN(transactions_columns) },
	[ROW_MEDIA] = { "media", "media_changes", media_columns, ARRAY_LEN(media_columns) },
};

/* Known to the history: as they stand in its column `source`. */
static const char *const source_names[ROW_SOURCES] = {
	[ROW_FULL] = "full",       [ROW_INCREMENTAL] = "incremental", [ROW_SINGLE] = "single",
	[ROW_WEBHOOK] = "webhook", [ROW_ACTION] = "action",           [ROW_DELETION] = "deletion",
	[ROW_LINK] = "link",
};

const struct row_column *row_columns(enum row_table t, int *n)
{
	*n = tables[t].n;
	return tables[t].columns;
}

const char *row_table_name(enum row_table t)
{
	return tables[t].name;
}

const char *row_changes_name(enum row_table t)
{
	return tables[t].changes;
}

const char *row_source_name(enum row_source s)
{
	return source_names[s];
}

int row_table_parse(const char *name, enum row_table *out)
{
	for (int t = 0; t < ROW_TABLES; t++) {
		if (strcmp(tables[t].name, name) == 0) {
			*out = (enum row_table)t;
			return 0;
		}
	}
	return -EINVAL;
}

int row_column_find(enum row_table t, const char *name)
{
	for (int i = 0; i < tables[t].n; i++) {
		if (strcmp(tables[t].columns[i].name, name) == 0)
			return i;
	}
	return -1;
}

static int compare_int(int64_t a, int64_t b)
{
	return (a > b) - (a < b);
}

int row_compare(const struct row *a, const struct row *b)
{
	int c = compare_int(a->integration_id, b->integration_id);

	if (c == 0)
		c = strcmp(a->external_id, b->external_id);
	if (c == 0 && a->has_partner_updated && b->has_partner_updated)
		c = compare_int(b->partner_updated_us, a->partner_updated_us);
	if (c == 0)
		c = compare_int(b->observed_us, a->observed_us);
	return c;
}
