#include "common/store/rows.h"

#include <errno.h>
#include <string.h>

#include "common/base/buf.h"
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
	const char *name;
	const struct row_column *columns;
	int n;
} tables[ROW_TABLES] = {
	[ROW_RESOURCES] = { "resources", resources_columns, ARRAY_LEN(resources_columns) },
	[ROW_TRANSACTIONS] = { "transactions", transactions_columns,
			       ARRAY_LEN(transactions_columns) },
	[ROW_MEDIA] = { "media", media_columns, ARRAY_LEN(media_columns) },
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

/* A date travels as days since 1970 in an int8 array: pg.h has no arrays of dates. */
static const struct {
	const char *array;
	Oid element;
} wire[] = {
	[ROW_TEXT] = { "text[]", PG_TEXT },
	[ROW_INT] = { "int8[]", PG_INT8 },
	[ROW_NUMBER] = { "float8[]", PG_FLOAT8 },
	[ROW_BOOL] = { "bool[]", PG_BOOL },
	[ROW_TIME] = { "timestamptz[]", PG_TIMESTAMPTZ },
	[ROW_DATE] = { "int8[]", PG_INT8 },
	[ROW_JSON] = { "jsonb[]", PG_JSONB },
};

static bool in_set(uint64_t columns, int i)
{
	return columns >> i & 1;
}

static void list_columns(struct buf *b, enum row_table t, uint64_t columns, const char *prefix)
{
	for (int i = 0; i < tables[t].n; i++) {
		if (in_set(columns, i))
			buf_printf(b, ", %s%s", prefix, tables[t].columns[i].name);
	}
}

/* Each array in the select list, not all in one unnest() of FROM: that one is kept in a tuple store
 * an array first, which is a fifth of an insert. */
static void list_arrays(struct buf *b, enum row_table t, uint64_t columns)
{
	int param = 4;

	buf_puts(b,
		 "(SELECT unnest($1::int8[]) AS integration_id, unnest($2::text[]) AS external_id,"
		 " unnest($3::timestamptz[]) AS partner_updated_at,"
		 " unnest($4::timestamptz[]) AS observed_at");
	for (int i = 0; i < tables[t].n; i++) {
		const struct row_column *c = &tables[t].columns[i];

		if (in_set(columns, i))
			buf_printf(b, ", unnest($%d::%s) AS %s", ++param, wire[c->type].array,
				   c->name);
	}
	buf_puts(b, ") AS f");
}

static void list_values(struct buf *b, enum row_table t, uint64_t columns)
{
	for (int i = 0; i < tables[t].n; i++) {
		const struct row_column *c = &tables[t].columns[i];

		if (!in_set(columns, i))
			continue;
		if (c->type == ROW_DATE)
			buf_printf(b, ", date '1970-01-01' + f.%s::int4", c->name);
		else
			buf_printf(b, ", f.%s", c->name);
	}
}

/* True where the content differs from what is held, or the row comes back from deletion. */
static void put_changed(struct buf *b, enum row_table t, uint64_t columns)
{
	buf_puts(b, "(r.deleted_at IS NOT NULL");
	for (int i = 0; i < tables[t].n; i++) {
		const char *name = tables[t].columns[i].name;

		if (in_set(columns, i))
			buf_printf(b, " OR r.%s IS DISTINCT FROM excluded.%s", name, name);
	}
	buf_puts(b, ")");
}

static void put_set(struct buf *b, enum row_table t, uint64_t columns)
{
	/* Content is assigned also where it is equal: Postgres compares indexed columns by
	 * value, so the update stays HOT. */
	buf_puts(b, "partner_updated_at = excluded.partner_updated_at, observed_at ="
		    " excluded.observed_at, deleted_at = NULL");
	for (int i = 0; i < tables[t].n; i++) {
		const char *name = tables[t].columns[i].name;

		if (in_set(columns, i))
			buf_printf(b, ", %s = excluded.%s", name, name);
	}
	buf_puts(b, ", version = CASE WHEN ");
	put_changed(b, t, columns);
	buf_puts(b, " THEN r.version + 1 ELSE r.version END, changed_at = CASE WHEN ");
	put_changed(b, t, columns);
	buf_puts(b, " THEN now() ELSE r.changed_at END");
}

/* A row that was marked deleted comes back only for a later observation, whatever its
 * partner_updated_at. */
static const char guard[] =
	"CASE WHEN r.deleted_at IS NULL AND excluded.partner_updated_at <> r.partner_updated_at"
	" THEN excluded.partner_updated_at > r.partner_updated_at"
	" ELSE excluded.observed_at > r.observed_at END";

/* xmax is 0 on a fresh row only; a changed one has this transaction's time.  The subselect runs
 * for changed rows alone, sees the row as it was when the statement began, and looks into the small
 * index of deleted rows only. */
static void put_outcome(struct buf *b, enum row_table t)
{
	buf_printf(
		b,
		"CASE WHEN r.xmax = 0 THEN %d WHEN r.changed_at <> now() THEN %d"
		" WHEN (SELECT true FROM %s o WHERE o.integration_id = r.integration_id"
		" AND o.external_id = r.external_id AND o.deleted_at IS NOT NULL) THEN %d ELSE %d END",
		ROW_ADDED, ROW_UNCHANGED, tables[t].name, ROW_UNDELETED, ROW_UPDATED);
}

static const char guard_forced[] = "excluded.observed_at > r.observed_at";

static char *build_gone(enum row_table t)
{
	struct buf b = BUF_INIT;

	buf_printf(
		&b,
		"INSERT INTO %s AS r (integration_id, external_id, partner_updated_at, observed_at,"
		" deleted_at) SELECT f.*, now() FROM ",
		tables[t].name);
	list_arrays(&b, t, 0);
	buf_printf(&b,
		   " ON CONFLICT (integration_id, external_id) DO UPDATE SET partner_updated_at ="
		   " excluded.partner_updated_at, observed_at = excluded.observed_at,"
		   " deleted_at = coalesce(r.deleted_at, now()),"
		   " version = r.version + (r.deleted_at IS NULL)::int,"
		   " changed_at = CASE WHEN r.deleted_at IS NULL THEN now() ELSE r.changed_at END"
		   " WHERE %s RETURNING r.integration_id, r.external_id,"
		   " CASE WHEN r.xmax <> 0 AND r.changed_at = now() THEN %d ELSE %d END",
		   guard, ROW_DELETED, ROW_UNCHANGED);
	return buf_detach(&b);
}

static char *build_upsert(enum row_table t, uint64_t columns)
{
	struct buf b = BUF_INIT;

	buf_printf(
		&b,
		"INSERT INTO %s AS r (integration_id, external_id, partner_updated_at, observed_at",
		tables[t].name);
	list_columns(&b, t, columns, "");
	buf_puts(&b,
		 ") SELECT f.integration_id, f.external_id, f.partner_updated_at, f.observed_at");
	list_values(&b, t, columns);
	buf_puts(&b, " FROM ");
	list_arrays(&b, t, columns);
	buf_puts(&b, " ON CONFLICT (integration_id, external_id) DO UPDATE SET ");
	put_set(&b, t, columns);
	buf_printf(&b, " WHERE %s RETURNING r.integration_id, r.external_id, ",
		   columns & ROW_FORCE ? guard_forced : guard);
	put_outcome(&b, t);
	return buf_detach(&b);
}

const char *row_upsert_sql(enum row_table t, uint64_t columns)
{
	static struct cached {
		struct cached *next;
		uint64_t columns;
		char *sql;
	} * cache[ROW_TABLES];
	struct cached *c;

	if (columns != ROW_GONE)
		columns &=
			(((uint64_t)1 << tables[t].n) - 1) | (columns & ROW_GONE ? 0 : ROW_FORCE);
	for (c = cache[t]; c; c = c->next) {
		if (c->columns == columns)
			return c->sql;
	}
	c = mem_new(struct cached);
	c->columns = columns;
	c->sql = columns == ROW_GONE ? build_gone(t) : build_upsert(t, columns);
	c->next = cache[t];
	cache[t] = c;
	return c->sql;
}

static void add_keys(const struct row *const *rows, int n, struct pg_params *out)
{
	struct pg_array id, key;

	pg_array_init(&id, PG_INT8);
	pg_array_init(&key, PG_TEXT);
	for (int i = 0; i < n; i++) {
		pg_array_int8(&id, rows[i]->integration_id);
		pg_array_text(&key, rows[i]->external_id, strlen(rows[i]->external_id));
	}
	pg_array_param(out, &id);
	pg_array_param(out, &key);
}

static void add_times(const struct row *const *rows, int n, struct pg_params *out)
{
	struct pg_array updated, observed;

	pg_array_init(&updated, PG_TIMESTAMPTZ);
	pg_array_init(&observed, PG_TIMESTAMPTZ);
	for (int i = 0; i < n; i++) {
		if (rows[i]->has_partner_updated)
			pg_array_time_us(&updated, rows[i]->partner_updated_us);
		else
			pg_array_null(&updated);
		pg_array_time_us(&observed, rows[i]->observed_us);
	}
	pg_array_param(out, &updated);
	pg_array_param(out, &observed);
}

static void add_value(struct pg_array *a, enum row_type type, const struct row_value *v)
{
	if (!v->set) {
		pg_array_null(a);
		return;
	}
	switch (type) {
	case ROW_TEXT:
	case ROW_JSON:
		pg_array_text(a, v->v.s.p, v->v.s.n);
		break;
	case ROW_INT:
	case ROW_DATE:
		pg_array_int8(a, v->v.i);
		break;
	case ROW_NUMBER:
		pg_array_float8(a, v->v.d);
		break;
	case ROW_BOOL:
		pg_array_bool(a, v->v.b);
		break;
	case ROW_TIME:
		pg_array_time_us(a, v->v.i);
		break;
	}
}

void row_upsert_params(enum row_table t, uint64_t columns, const struct row *const *rows, int n,
		       struct pg_params *out)
{
	add_keys(rows, n, out);
	add_times(rows, n, out);
	for (int c = 0; c < tables[t].n; c++) {
		enum row_type type = tables[t].columns[c].type;
		struct pg_array a;

		if (!in_set(columns, c))
			continue;
		pg_array_init(&a, wire[type].element);
		for (int i = 0; i < n; i++)
			add_value(&a, type, &rows[i]->values[c]);
		pg_array_param(out, &a);
	}
}

static bool is_row(const PGresult *res, int at, const struct row *r)
{
	return pg_get_int(res, at, 0) == r->integration_id &&
	       strcmp(pg_get(res, at, 1), r->external_id) == 0;
}

/* Postgres answers in the order it was given, without those that are stale: one walk along both. */
void row_upsert_outcomes(const PGresult *res, const struct row *const *rows, int n,
			 enum row_outcome *out)
{
	int answers = PQntuples(res), at = 0;

	for (int i = 0; i < n; i++) {
		if (at < answers && is_row(res, at, rows[i]))
			out[i] = (enum row_outcome)pg_get_int(res, at++, 2);
		else
			out[i] = ROW_STALE;
	}
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
