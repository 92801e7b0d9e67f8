#include "common/store/webhook.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/mem.h"
#include "common/store/query.h"

static const char *const states[] = {
	[WEBHOOK_RECEIVED] = "received",   [WEBHOOK_WAITING] = "waiting",
	[WEBHOOK_UNMATCHED] = "unmatched", [WEBHOOK_DONE] = "done",
	[WEBHOOK_COALESCED] = "coalesced", [WEBHOOK_STALE] = "stale",
	[WEBHOOK_IGNORED] = "ignored",     [WEBHOOK_UNKNOWN] = "unknown",
	[WEBHOOK_FAILED] = "failed",
};

const char *webhook_state_name(enum webhook_state s)
{
	return states[s];
}

int webhook_state_parse(const char *name, enum webhook_state *out)
{
	for (size_t i = 0; i < ARRAY_LEN(states); i++)
		if (strcmp(states[i], name) == 0) {
			*out = (enum webhook_state)i;
			return 0;
		}
	return -EINVAL;
}

/* ---- writing ---- */

/* Of one event the last in a batch; the body is written once, for it does not change. */
static const char upsert_sql[] =
	"INSERT INTO webhook_events AS w (integration_id, event_id, partner, event, action, collection,"
	" row_table, external_id, happened_at, received_at, believed, state, reason, attempts,"
	" processed_at, job_id, generation, body)"
	" SELECT DISTINCT ON (f.integration_id, f.event_id) f.integration_id, f.event_id, f.partner,"
	" f.event, f.action, f.collection, f.row_table, f.external_id, f.happened_at, f.received_at,"
	" f.believed, f.state, f.reason, (f.state <> 'received')::int::int8, f.processed_at, f.job_id,"
	" f.generation, f.body::json"
	" FROM unnest($1::int8[], $2::text[], $3::text[], $4::text[], $5::text[], $6::text[],"
	" $7::text[], $8::text[], $9::timestamptz[], $10::timestamptz[], $11::bool[], $12::text[],"
	" $13::text[], $14::timestamptz[], $15::text[], $16::int8[], $17::text[]) WITH ORDINALITY"
	" AS f (integration_id, event_id, partner, event, action, collection, row_table, external_id,"
	" happened_at, received_at, believed, state, reason, processed_at, job_id, generation, body,"
	" place)"
	" ORDER BY f.integration_id, f.event_id, f.place DESC"
	" ON CONFLICT (integration_id, event_id) DO UPDATE SET event = excluded.event, action ="
	" excluded.action, collection = excluded.collection, row_table = excluded.row_table,"
	" external_id = excluded.external_id, happened_at = excluded.happened_at, received_at ="
	" excluded.received_at, believed = excluded.believed, state = excluded.state, reason ="
	" excluded.reason, attempts = w.attempts + excluded.attempts, processed_at ="
	" excluded.processed_at, job_id = excluded.job_id, generation = excluded.generation,"
	" body = CASE WHEN excluded.received_at > w.received_at OR w.body IS NULL THEN excluded.body"
	" ELSE w.body END"
	" WHERE excluded.received_at > w.received_at OR (excluded.received_at = w.received_at AND"
	" (excluded.state <> 'received' OR w.state IN ('received', 'waiting', 'unmatched')))";

const char *webhook_upsert_sql(void)
{
	return upsert_sql;
}

static void add_time(struct pg_array *a, int64_t us)
{
	if (us)
		pg_array_time_us(a, us);
	else
		pg_array_null(a);
}

enum {
	INTEGRATION,
	EVENT_ID,
	PARTNER,
	EVENT,
	ACTION,
	COLLECTION,
	TABLE,
	EXTERNAL_ID,
	HAPPENED,
	RECEIVED,
	BELIEVED,
	STATE,
	REASON,
	PROCESSED,
	JOB,
	GENERATION,
	BODY,
	COUNT
};

static Oid type_of(int c)
{
	switch (c) {
	case INTEGRATION:
	case GENERATION:
		return PG_INT8;
	case HAPPENED:
	case RECEIVED:
	case PROCESSED:
		return PG_TIMESTAMPTZ;
	case BELIEVED:
		return PG_BOOL;
	default:
		return PG_TEXT;
	}
}

static void add_event(struct pg_array a[COUNT], const struct webhook_event *e)
{
	pg_array_int8(&a[INTEGRATION], e->integration_id);
	query_add_text(&a[EVENT_ID], e->event_id);
	query_add_text(&a[PARTNER], e->partner);
	query_add_text(&a[EVENT], e->event);
	query_add_text(&a[ACTION], e->action);
	query_add_text(&a[COLLECTION], e->collection);
	query_add_text(&a[TABLE], e->row_table);
	query_add_text(&a[EXTERNAL_ID], e->external_id);
	add_time(&a[HAPPENED], e->happened_us);
	add_time(&a[RECEIVED], e->received_us);
	pg_array_bool(&a[BELIEVED], e->believed);
	query_add_text(&a[STATE], states[e->state]);
	query_add_text(&a[REASON], e->reason);
	add_time(&a[PROCESSED], e->processed_us);
	query_add_text(&a[JOB], e->job_id);
	pg_array_int8(&a[GENERATION], e->generation);
	query_add_json(&a[BODY], e->body);
}

void webhook_upsert_params(struct pg_params *out, const struct webhook_event *v, int n)
{
	struct pg_array a[COUNT];

	for (int c = 0; c < COUNT; c++)
		pg_array_init(&a[c], type_of(c));
	for (int i = 0; i < n; i++)
		add_event(a, &v[i]);
	for (int c = 0; c < COUNT; c++)
		pg_array_param(out, &a[c]);
}

/* ---- looking ---- */

#define EVENT_COLUMNS                                                                            \
	"w.integration_id, w.event_id, w.partner, w.event, w.action, w.collection, w.row_table," \
	" w.external_id, (extract(epoch FROM w.happened_at) * 1000000)::int8,"                   \
	" (extract(epoch FROM w.received_at) * 1000000)::int8,"                                  \
	" (extract(epoch FROM w.processed_at) * 1000000)::int8, w.believed, w.state, w.reason,"  \
	" w.job_id, w.body::text, w.attempts, w.generation"

static void read_row(const PGresult *r, int row, struct webhook_seen *out)
{
	*out = (struct webhook_seen){
		.e = { .integration_id = pg_get_int(r, row, 0),
		       .event_id = pg_get(r, row, 1),
		       .partner = pg_get(r, row, 2),
		       .event = pg_get(r, row, 3),
		       .action = pg_get(r, row, 4),
		       .collection = pg_get(r, row, 5),
		       .row_table = pg_get(r, row, 6),
		       .external_id = pg_get(r, row, 7),
		       .happened_us = pg_get_int(r, row, 8),
		       .received_us = pg_get_int(r, row, 9),
		       .processed_us = pg_get_int(r, row, 10),
		       .believed = query_bool(r, row, 11),
		       .reason = pg_get(r, row, 13),
		       .job_id = pg_get(r, row, 14),
		       .body = pg_get(r, row, 15),
		       .generation = pg_get_int(r, row, 17) },
		.attempts = pg_get_int(r, row, 16),
	};
}

/* Takes the answer.  there: the column that says whether a row is wanted, -1: all are. */
static void take(PGresult *r, int there, struct webhook_list *out)
{
	int n = PQntuples(r);

	*out = (struct webhook_list){ .v = mem_alloc(sizeof(*out->v) * (size_t)(n ? n : 1)),
				      .rows = r };
	for (int i = 0; i < n; i++) {
		bool is = there < 0 || query_bool(r, i, there);

		read_row(r, i, &out->v[out->n]);
		/* A state that this version does not know is a later one's business. */
		if (is && webhook_state_parse(pg_get(r, i, 12), &out->v[out->n].e.state) == 0)
			out->n++;
	}
}

void webhook_list_clear(struct webhook_list *l)
{
	free(l->v);
	PQclear(l->rows);
	*l = (struct webhook_list){ 0 };
}

static int list(struct pg *p, const char *sql, struct pg_params *params, struct webhook_list *out,
		struct err *err)
{
	PGresult *res = NULL;
	int rc = query(p, sql, params, &res, err);

	if (rc == 0)
		take(res, -1, out);
	return rc;
}

static void put_states(struct pg_params *params, unsigned set)
{
	struct pg_array a;

	pg_array_init(&a, PG_TEXT);
	for (size_t i = 0; i < ARRAY_LEN(states); i++)
		if (!set || (set >> i & 1))
			pg_array_text(&a, states[i], strlen(states[i]));
	pg_array_param(params, &a);
}

int webhook_each(struct pg *p, const struct webhook_filter *f, struct webhook_list *out,
		 struct err *err)
{
	struct pg_params params;

	pg_params_init(&params);
	pg_text(&params, f->partner);
	pg_text(&params, f->event_id);
	query_id(&params, f->integration_id);
	pg_int(&params, f->since_us);
	put_states(&params, f->states);
	pg_int(&params, f->after_us);
	pg_int(&params, f->after_integration);
	pg_text(&params, f->after_id);
	pg_int(&params, f->limit ? f->limit : 100);
	return list(
		p,
		"SELECT " EVENT_COLUMNS " FROM webhook_events w"
		" WHERE ($1::text IS NULL OR w.partner = $1) AND ($2::text IS NULL OR w.event_id = $2)"
		" AND ($3::int8 IS NULL OR w.integration_id = $3)"
		" AND w.received_at >= timestamptz 'epoch' + $4::int8 * interval '1 microsecond'"
		" AND w.state = ANY ($5)"
		" AND ($8::text IS NULL OR (w.received_at, w.integration_id, w.event_id) >"
		" (timestamptz 'epoch' + $6::int8 * interval '1 microsecond', $7::int8, $8::text))"
		" ORDER BY w.received_at, w.integration_id, w.event_id LIMIT $9",
		&params, out, err);
}

int webhook_matched(struct pg *p, struct webhook_place *at, int slice, struct webhook_list *out,
		    struct err *err)
{
	struct pg_params params;
	PGresult *res = NULL;
	int rc, n;

	pg_params_init(&params);
	pg_int(&params, at->integration_id);
	pg_text(&params, at->id);
	pg_int(&params, slice);
	/* The last column: whether its record is there. */
	rc = query(
		p,
		"SELECT " EVENT_COLUMNS ", CASE w.row_table"
		" WHEN 'resources' THEN EXISTS (SELECT FROM resources r WHERE r.integration_id ="
		" w.integration_id AND r.external_id = w.external_id)"
		" WHEN 'transactions' THEN EXISTS (SELECT FROM transactions r WHERE r.integration_id ="
		" w.integration_id AND r.external_id = w.external_id)"
		" WHEN 'media' THEN EXISTS (SELECT FROM media r WHERE r.integration_id ="
		" w.integration_id AND r.external_id = w.external_id) END"
		" FROM (SELECT * FROM webhook_events WHERE state = 'unmatched' AND"
		" (integration_id, event_id) > ($1::int8, $2::text)"
		" ORDER BY integration_id, event_id LIMIT $3) w ORDER BY w.integration_id, w.event_id",
		&params, &res, err);
	if (rc < 0)
		return rc;
	n = PQntuples(res);
	at->integration_id = n == slice ? pg_get_int(res, n - 1, 0) : 0;
	snprintf(at->id, sizeof(at->id), "%s", n == slice ? pg_get(res, n - 1, 1) : "");
	take(res, 18, out);
	return 0;
}

int webhook_lost(struct pg *p, int limit, struct webhook_list *out, struct err *err)
{
	struct pg_params params;

	pg_params_init(&params);
	pg_int(&params, limit);
	return list(p,
		    "SELECT " EVENT_COLUMNS " FROM webhook_events w"
		    " JOIN partner_states s ON s.partner = w.partner"
		    " WHERE w.state IN ('received', 'waiting') AND w.generation < s.generation"
		    " ORDER BY w.received_at LIMIT $1",
		    &params, out, err);
}

int webhook_queued_again(struct pg *p, int64_t integration_id, const char *event_id,
			 int64_t attempts, const char *reason, struct err *err)
{
	struct pg_params params;

	pg_params_init(&params);
	pg_int(&params, integration_id);
	pg_text(&params, event_id);
	pg_int(&params, attempts);
	pg_text(&params, reason);
	return query(
		p,
		"UPDATE webhook_events w SET state = 'received', reason = $4, processed_at = NULL,"
		" generation = coalesce((SELECT s.generation FROM partner_states s WHERE s.partner ="
		" w.partner), 0) WHERE w.integration_id = $1 AND w.event_id = $2 AND w.attempts = $3",
		&params, NULL, err);
}

int webhook_expire(struct pg *p, int64_t before_us, int slice, int64_t *gone, struct err *err)
{
	struct pg_params params;
	PGresult *res = NULL;
	int rc;

	pg_params_init(&params);
	pg_int(&params, before_us);
	pg_int(&params, slice);
	rc = query(
		p,
		"WITH old AS (SELECT integration_id, event_id FROM webhook_events WHERE received_at <"
		" timestamptz 'epoch' + $1::int8 * interval '1 microsecond' ORDER BY received_at LIMIT $2"
		" FOR UPDATE SKIP LOCKED), d AS (DELETE FROM webhook_events w USING old WHERE"
		" w.integration_id = old.integration_id AND w.event_id = old.event_id RETURNING 1)"
		" SELECT count(*) FROM d",
		&params, &res, err);
	if (rc == 0)
		*gone = pg_get_int(res, 0, 0);
	PQclear(res);
	return rc;
}

int webhook_rates(struct pg *p, webhook_rate_fn fn, void *arg, struct err *err)
{
	PGresult *res = NULL;
	int rc = query(p,
		       "SELECT partner, count(*), count(*) FILTER (WHERE state = 'failed')"
		       " FROM webhook_events WHERE received_at > now() - interval '1 hour' AND"
		       " state NOT IN ('received', 'waiting') GROUP BY partner ORDER BY partner",
		       NULL, &res, err);

	for (int i = 0; rc == 0 && i < PQntuples(res); i++)
		fn(pg_get(res, i, 0), pg_get_int(res, i, 1), pg_get_int(res, i, 2), arg);
	PQclear(res);
	return rc;
}

/* ---- one row ---- */

int row_held(struct pg *p, enum row_table t, int64_t integration_id, const char *external_id,
	     struct row_held *out, struct err *err)
{
	struct pg_params params;
	PGresult *res = NULL;
	char *sql = mem_printf(
		"SELECT deleted_at IS NOT NULL, (extract(epoch FROM partner_updated_at) * 1000000)::int8,"
		" (extract(epoch FROM observed_at) * 1000000)::int8 FROM %s"
		" WHERE integration_id = $1 AND external_id = $2",
		row_table_name(t));
	int rc;

	pg_params_init(&params);
	pg_int(&params, integration_id);
	pg_text(&params, external_id);
	rc = query_some(p, sql, &params, &res, err);
	free(sql);
	if (rc < 0)
		return rc;
	*out = (struct row_held){ .deleted = query_bool(res, 0, 0),
				  .has_partner_updated = pg_get(res, 0, 1) != NULL,
				  .partner_updated_us = pg_get_int(res, 0, 1),
				  .observed_us = pg_get_int(res, 0, 2) };
	PQclear(res);
	return 0;
}

/* partner_updated_at takes the time of the deletion: an older event that comes later is known as older by it. */
static char *delete_sql(enum row_table t)
{
	struct buf b = BUF_INIT;
	char *from = mem_printf("w WHERE %s", row_history_on(t));

	buf_printf(
		&b,
		"WITH w AS (UPDATE %s r SET deleted_at = now(), changed_at = now(), version = r.version + 1,"
		" change = jsonb_build_object('deleted_at', jsonb_build_array(NULL, now())),"
		" partner_updated_at = greatest(r.partner_updated_at, n.partner_at),"
		" observed_at = greatest(r.observed_at, n.observed_at)"
		" FROM (SELECT timestamptz 'epoch' + $3::int8 * interval '1 microsecond' AS partner_at,"
		" timestamptz 'epoch' + $4::int8 * interval '1 microsecond' AS observed_at) n"
		" WHERE r.integration_id = $1::int8 AND r.external_id = $2::text AND r.deleted_at IS NULL AND"
		" CASE WHEN n.partner_at <> r.partner_updated_at THEN n.partner_at > r.partner_updated_at"
		" ELSE n.observed_at > r.observed_at END RETURNING r.*)",
		row_table_name(t));
	row_history_put(&b, t, from, "'deleted'", "$5::text", "NULL::int8");
	buf_puts(&b, " SELECT 1 FROM w");
	free(from);
	return buf_detach(&b);
}

int row_delete(struct pg *p, enum row_table t, int64_t integration_id, const char *external_id,
	       int64_t partner_us, int64_t observed_us, struct err *err)
{
	struct pg_params params;
	char *sql = delete_sql(t);
	int rc;

	pg_params_init(&params);
	pg_int(&params, integration_id);
	pg_text(&params, external_id);
	query_id(&params, partner_us);
	pg_int(&params, observed_us);
	pg_text(&params, row_source_name(ROW_WEBHOOK));
	rc = query_some(p, sql, &params, NULL, err);
	free(sql);
	return rc;
}

int credentials_since_us(struct pg *p, int64_t integration_id, int64_t *out, struct err *err)
{
	struct pg_params params;
	PGresult *res = NULL;
	int rc;

	pg_params_init(&params);
	pg_int(&params, integration_id);
	rc = query(
		p,
		"SELECT (extract(epoch FROM greatest((SELECT updated_at FROM credentials WHERE"
		" integration_id = $1), (SELECT granted_at FROM grants WHERE integration_id = $1)))"
		" * 1000000)::int8",
		&params, &res, err);
	if (rc == 0)
		*out = pg_get_int(res, 0, 0);
	PQclear(res);
	return rc;
}
