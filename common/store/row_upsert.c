/* The guarded upsert: its text, its parameters, and what its answer says. */
#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/mem.h"
#include "common/store/rows.h"

/* `written` holds the outcome, and with history above it the row's place in the batch, from 1: so its
 * origin is found again without a join. */
#define OUTCOME_BITS 3
#define OUTCOME_MASK 7

/* What a statement is made for. */
struct set {
	enum row_table t;
	uint64_t columns;
	unsigned how;
	const struct row_column *c;
	int n;
};

static struct set set_of(enum row_table t, uint64_t columns, unsigned how)
{
	struct set s = { .t = t, .columns = columns, .how = how };

	s.c = row_columns(t, &s.n);
	return s;
}

static bool in_set(const struct set *s, int i)
{
	return s->columns >> i & 1;
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

/* ---- the text ---- */

/* Each array in the select list, not all in one unnest() of FROM: that one is kept in a tuple store
 * an array first, which is a fifth of an insert. */
static void put_arrays(struct buf *b, const struct set *s, int *param)
{
	buf_puts(b,
		 "(SELECT unnest($1::int8[]) AS integration_id, unnest($2::text[]) AS external_id,"
		 " unnest($3::timestamptz[]) AS partner_updated_at,"
		 " unnest($4::timestamptz[]) AS observed_at");
	*param = 4;
	for (int i = 0; i < s->n; i++)
		if (in_set(s, i))
			buf_printf(b, ", unnest($%d::%s) AS %s", ++*param, wire[s->c[i].type].array,
				   s->c[i].name);
	if (s->how & ROW_WITH_HISTORY)
		buf_puts(b, ", generate_subscripts($1::int8[], 1) AS place");
	if (s->how & ROW_EXPECTING)
		buf_printf(b, ", unnest($%d::int8[]) AS expected", ++*param);
	buf_puts(b, ") AS f");
}

static void put_values(struct buf *b, const struct set *s)
{
	for (int i = 0; i < s->n; i++) {
		if (!in_set(s, i))
			continue;
		if (s->c[i].type == ROW_DATE)
			buf_printf(b, ", date '1970-01-01' + f.%s::int4", s->c[i].name);
		else
			buf_printf(b, ", f.%s", s->c[i].name);
	}
}

/* True where the content differs from what is held. */
static void put_differs(struct buf *b, const struct set *s)
{
	buf_puts(b, "(false");
	for (int i = 0; i < s->n; i++)
		if (in_set(s, i))
			buf_printf(b, " OR r.%s IS DISTINCT FROM excluded.%s", s->c[i].name,
				   s->c[i].name);
	buf_puts(b, ")");
}

/* A piece of text for each column that changed, most often one or two: cheaper than an object of all
 * that is stripped afterwards, and it keeps the nulls inside of `extra`. */
static void put_change(struct buf *b, const struct set *s)
{
	static const char *const marks[] = { "deleted_at", "replaced_by" };

	buf_puts(b, "NULLIF('{' || concat_ws(','");
	for (size_t i = 0; i < ARRAY_LEN(marks); i++)
		buf_printf(b,
			   ", CASE WHEN r.%s IS NOT NULL THEN '\"%s\":' ||"
			   " json_build_array(r.%s, NULL) END",
			   marks[i], marks[i], marks[i]);
	for (int i = 0; i < s->n; i++) {
		const char *name = s->c[i].name;

		if (in_set(s, i))
			buf_printf(b,
				   ", CASE WHEN r.%s IS DISTINCT FROM excluded.%s THEN '\"%s\":' ||"
				   " json_build_array(r.%s, excluded.%s) END",
				   name, name, name, name, name);
	}
	buf_puts(b, ") || '}', '{}')::jsonb");
}

/* What hangs on whether the content differs, which is looked at once: OFFSET 0 keeps Postgres from putting the
 * comparison in the place of each `d.new`. */
static void put_news(struct buf *b, const struct set *s)
{
	bool place = s->how & ROW_WITH_HISTORY; /* excluded.written: place and ROW_ADDED */
	int less = place ? ROW_ADDED : 0;

	buf_printf(
		b,
		", (version, changed_at, written, change) = (SELECT r.version + d.new::int, CASE WHEN"
		" d.new THEN now() ELSE r.changed_at END, %sCASE WHEN r.deleted_at IS NOT NULL THEN"
		" %d WHEN d.new THEN %d ELSE %d END, ",
		place ? "excluded.written + " : "", ROW_UNDELETED - less, ROW_UPDATED - less,
		ROW_UNCHANGED - less);
	if (place) {
		buf_puts(b, "CASE WHEN d.new THEN ");
		put_change(b, s);
		buf_puts(b, " END");
	} else {
		buf_puts(b, "NULL::jsonb");
	}
	buf_puts(b, " FROM (SELECT r.deleted_at IS NOT NULL OR ");
	put_differs(b, s);
	buf_puts(b, " AS new OFFSET 0) AS d)");
}

static void put_set(struct buf *b, const struct set *s)
{
	/* Content is assigned also where it is equal: Postgres compares indexed columns by
	 * value, so the update stays HOT. */
	buf_puts(b, "partner_updated_at = excluded.partner_updated_at, observed_at ="
		    " excluded.observed_at, deleted_at = NULL, replaced_by = NULL");
	for (int i = 0; i < s->n; i++)
		if (in_set(s, i))
			buf_printf(b, ", %s = excluded.%s", s->c[i].name, s->c[i].name);
	put_news(b, s);
}

/* A row that was marked deleted comes back only for a later observation, whatever its
 * partner_updated_at. */
static const char guard[] =
	"CASE WHEN r.deleted_at IS NULL AND excluded.partner_updated_at <> r.partner_updated_at"
	" THEN excluded.partner_updated_at > r.partner_updated_at"
	" ELSE excluded.observed_at > r.observed_at END";

static const char guard_forced[] = "excluded.observed_at > r.observed_at";

static bool is_forced(uint64_t columns)
{
	return (columns & (ROW_FORCE | ROW_GONE)) == ROW_FORCE;
}

/* A version that is expected comes to the guard as a negative one.  Only a row that is there may get so
 * far; rows are never removed. */
static void put_expected(struct buf *b, const struct set *s)
{
	buf_printf(b,
		   " WHERE f.expected = 0 OR EXISTS (SELECT FROM %s x WHERE x.integration_id ="
		   " f.integration_id AND x.external_id = f.external_id)",
		   row_table_name(s->t));
}

static void put_insert(struct buf *b, const struct set *s, int *param)
{
	bool expecting = s->how & ROW_EXPECTING;

	buf_printf(
		b,
		"INSERT INTO %s AS r (integration_id, external_id, partner_updated_at, observed_at",
		row_table_name(s->t));
	for (int i = 0; i < s->n; i++)
		if (in_set(s, i))
			buf_printf(b, ", %s", s->c[i].name);
	buf_printf(b, ", written%s", expecting ? ", version" : "");
	buf_puts(b,
		 ") SELECT f.integration_id, f.external_id, f.partner_updated_at, f.observed_at");
	put_values(b, s);
	if (s->how & ROW_WITH_HISTORY)
		buf_printf(b, ", f.place * %d + %d", 1 << OUTCOME_BITS, ROW_ADDED);
	else
		buf_printf(b, ", %d", ROW_ADDED);
	if (expecting)
		buf_puts(b, ", CASE WHEN f.expected = 0 THEN 1 ELSE - f.expected END");
	buf_puts(b, " FROM ");
	put_arrays(b, s, param);
	if (expecting)
		put_expected(b, s);
	buf_puts(b, " ON CONFLICT (integration_id, external_id) DO UPDATE SET ");
	put_set(b, s);
	buf_printf(b, " WHERE %s%s", is_forced(s->columns) ? guard_forced : guard,
		   expecting ? " AND (excluded.version > 0 OR r.version = - excluded.version)"
			     : "");
}

const char *row_history_on(enum row_table t)
{
#define ON(table) "(SELECT enabled FROM history_settings WHERE table_name = '" table "')"
	static const char *const sql[ROW_TABLES] = {
		[ROW_RESOURCES] = ON("resources"),
		[ROW_TRANSACTIONS] = ON("transactions"),
		[ROW_MEDIA] = ON("media"),
	};
#undef ON

	return sql[t];
}

void row_history_put(struct buf *b, enum row_table t, const char *from, const char *what,
		     const char *source, const char *run)
{
	buf_printf(b,
		   ", h AS (INSERT INTO %s (integration_id, external_id, version, changed_at, what,"
		   " source, run_id, changes, partner_updated_at, observed_at) SELECT"
		   " integration_id, external_id, version, changed_at, %s, %s, %s, change,"
		   " partner_updated_at, observed_at FROM %s)",
		   row_changes_name(t), what, source, run, from);
}

/* The names of sources stand in the text; what is sent are their numbers. */
static char *source_sql(int param)
{
	struct buf b = BUF_INIT;

	buf_puts(&b, "('{");
	for (int i = ROW_UNTOLD + 1; i < ROW_SOURCES; i++)
		buf_printf(&b, "%s%s", i > ROW_UNTOLD + 1 ? "," : "",
			   row_source_name((enum row_source)i));
	buf_printf(&b, "}'::text[])[($%d::int8[])[written >> %d]]", param, OUTCOME_BITS);
	return buf_detach(&b);
}

static void put_history(struct buf *b, const struct set *s, int param)
{
	char *from, *what, *source, *run;

	from = mem_printf("w WHERE written & %d <> %d", OUTCOME_MASK, ROW_UNCHANGED);
	what = mem_printf("CASE written & %d WHEN %d THEN 'added' WHEN %d THEN 'undeleted'"
			  " WHEN %d THEN 'deleted' ELSE 'updated' END",
			  OUTCOME_MASK, ROW_ADDED, ROW_UNDELETED, ROW_DELETED);
	source = source_sql(param + 1);
	run = mem_printf("NULLIF(($%d::int8[])[written >> %d], 0)", param + 2, OUTCOME_BITS);
	row_history_put(b, s->t, from, what, source, run);
	free(from);
	free(what);
	free(source);
	free(run);
}

/* A row that is made here was never there: no change that anybody saw. */
static void put_gone(struct buf *b, const struct set *s, int *param)
{
	bool place = s->how & ROW_WITH_HISTORY; /* excluded.written: place and ROW_UNCHANGED */

	buf_printf(
		b,
		"INSERT INTO %s AS r (integration_id, external_id, partner_updated_at, observed_at,"
		" deleted_at, written) SELECT f.integration_id, f.external_id,"
		" f.partner_updated_at, f.observed_at, now(), ",
		row_table_name(s->t));
	if (place)
		buf_printf(b, "f.place * %d + %d", 1 << OUTCOME_BITS, ROW_UNCHANGED);
	else
		buf_printf(b, "%d", ROW_UNCHANGED);
	buf_puts(b, " FROM ");
	put_arrays(b, s, param);
	buf_printf(
		b,
		" ON CONFLICT (integration_id, external_id) DO UPDATE SET partner_updated_at ="
		" excluded.partner_updated_at, observed_at = excluded.observed_at,"
		" deleted_at = coalesce(r.deleted_at, now()),"
		" version = r.version + (r.deleted_at IS NULL)::int,"
		" changed_at = CASE WHEN r.deleted_at IS NULL THEN now() ELSE r.changed_at END,"
		" written = excluded.written + CASE WHEN r.deleted_at IS NULL THEN %d ELSE 0 END,"
		" change = CASE WHEN r.deleted_at IS NULL THEN jsonb_build_object('deleted_at',"
		" jsonb_build_array(NULL, now())) END WHERE %s",
		ROW_DELETED - ROW_UNCHANGED, guard);
}

static char *build_upsert(const struct set *s)
{
	struct buf b = BUF_INIT;
	bool history = s->how & ROW_WITH_HISTORY;
	int param;

	if (history)
		buf_puts(&b, "WITH w AS (");
	if (s->columns == ROW_GONE)
		put_gone(&b, s, &param);
	else
		put_insert(&b, s, &param);
	buf_puts(&b, " RETURNING r.integration_id, r.external_id, r.written");
	if (history) {
		buf_puts(&b, ", r.version, r.changed_at, r.change, r.partner_updated_at,"
			     " r.observed_at)");
		put_history(&b, s, param);
		buf_printf(&b, " SELECT integration_id, external_id, written & %d FROM w",
			   OUTCOME_MASK);
	}
	return buf_detach(&b);
}

const char *row_upsert_sql(enum row_table t, uint64_t columns, unsigned how)
{
	static struct cached {
		struct cached *next;
		uint64_t columns;
		unsigned how;
		char *sql;
	} * cache[ROW_TABLES];
	struct set s = set_of(t, columns, how);
	struct cached *c;

	if (columns != ROW_GONE)
		s.columns &= (((uint64_t)1 << s.n) - 1) | (is_forced(columns) ? ROW_FORCE : 0);
	for (c = cache[t]; c; c = c->next) {
		if (c->columns == s.columns && c->how == how)
			return c->sql;
	}
	c = mem_new(struct cached);
	c->columns = s.columns;
	c->how = how;
	c->sql = build_upsert(&s);
	c->next = cache[t];
	cache[t] = c;
	return c->sql;
}

/* Sorted, then locked: whoever else writes these rows takes them in the same order. */
const char *row_hold_sql(enum row_table t)
{
#define HOLD(table)                                                                           \
	"SELECT r.integration_id, r.external_id, r.version FROM (SELECT unnest($1::int8[])"   \
	" AS integration_id, unnest($2::text[]) AS external_id) f JOIN " table                \
	" r ON r.integration_id = f.integration_id AND r.external_id = f.external_id COLLATE" \
	" \"C\" ORDER BY r.integration_id, r.external_id FOR UPDATE OF r"
	static const char *const sql[ROW_TABLES] = {
		[ROW_RESOURCES] = HOLD("resources"),
		[ROW_TRANSACTIONS] = HOLD("transactions"),
		[ROW_MEDIA] = HOLD("media"),
	};
#undef HOLD

	return sql[t];
}

/* ---- the parameters ---- */

void row_hold_params(const struct row *const *rows, int n, struct pg_params *out)
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

static void add_expected(const struct row *const *rows, int n, struct pg_params *out)
{
	struct pg_array a;

	pg_array_init(&a, PG_INT8);
	for (int i = 0; i < n; i++)
		pg_array_int8(&a, rows[i]->expected_version);
	pg_array_param(out, &a);
}

static void add_origins(const struct row_origin *origins, int n, struct pg_params *out)
{
	struct pg_array source, run;

	pg_array_init(&source, PG_INT8);
	pg_array_init(&run, PG_INT8);
	for (int i = 0; i < n; i++) {
		pg_array_int8(&source, origins[i].source);
		pg_array_int8(&run, origins[i].run_id);
	}
	pg_array_param(out, &source);
	pg_array_param(out, &run);
}

void row_upsert_params(enum row_table t, uint64_t columns, unsigned how,
		       const struct row *const *rows, const struct row_origin *origins, int n,
		       struct pg_params *out)
{
	struct set s = set_of(t, columns, how);

	assert(n <= ROW_BATCH_MAX);
	row_hold_params(rows, n, out); /* the keys */
	add_times(rows, n, out);
	for (int c = 0; c < s.n; c++) {
		struct pg_array a;

		if (!in_set(&s, c))
			continue;
		pg_array_init(&a, wire[s.c[c].type].element);
		for (int i = 0; i < n; i++)
			add_value(&a, s.c[c].type, &rows[i]->values[c]);
		pg_array_param(out, &a);
	}
	if (how & ROW_EXPECTING)
		add_expected(rows, n, out);
	if (how & ROW_WITH_HISTORY)
		add_origins(origins, n, out);
}

/* ---- the answer ---- */

static bool is_row(const PGresult *res, int at, const struct row *r)
{
	return pg_get_int(res, at, 0) == r->integration_id &&
	       strcmp(pg_get(res, at, 1), r->external_id) == 0;
}

/* Postgres answers in the order it was given, without those that were refused: one walk along all. */
void row_upsert_outcomes(const PGresult *res, const PGresult *held, const struct row *const *rows,
			 int n, enum row_outcome *out)
{
	int answers = PQntuples(res), at = 0;
	int holds = held ? PQntuples(held) : 0, hold = 0;

	for (int i = 0; i < n; i++) {
		int64_t version = 0;

		if (hold < holds && is_row(held, hold, rows[i]))
			version = pg_get_int(held, hold++, 2);
		if (at < answers && is_row(res, at, rows[i]))
			out[i] = (enum row_outcome)pg_get_int(res, at++, 2);
		else if (rows[i]->expected_version && rows[i]->expected_version != version)
			out[i] = ROW_MISMATCH;
		else
			out[i] = ROW_STALE;
	}
}
