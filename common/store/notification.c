#include "common/store/notification.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/mem.h"
#include "common/store/query.h"

#define PARTS_MAX_BYTES (1024 * 1024)

/* ---- what a company wants ---- */

int notify_settings_put(struct pg *p, int64_t company_id, const struct notify_settings *s,
			struct err *err)
{
	struct pg_params params;
	struct pg_array channels;
	int rc;

	pg_array_init(&channels, PG_INT8);
	for (int i = 0; i < s->n_channels; i++)
		pg_array_int8(&channels, s->channels[i]);
	pg_params_init(&params);
	pg_int(&params, company_id);
	pg_array_param(&params, &channels);
	pg_int(&params, s->patience_ms);
	pg_text(&params, s->quiet_from);
	pg_text(&params, s->quiet_until);
	pg_text(&params, s->tz ? s->tz : "UTC");
	query_id(&params, s->rate);
	query_id(&params, s->rate_ms);
	/* The zone is tried here: later it would fail where messages are sent. */
	rc = query(
		p,
		"INSERT INTO notify_settings (company_id, channels, patience_ms, quiet_from, quiet_until, tz,"
		" rate, rate_ms) SELECT $1, $2, $3, $4::time, $5::time, $6, $7, $8 WHERE"
		" now() AT TIME ZONE $6 IS NOT NULL ON CONFLICT (company_id) DO UPDATE SET"
		" channels = excluded.channels, patience_ms = excluded.patience_ms,"
		" quiet_from = excluded.quiet_from, quiet_until = excluded.quiet_until, tz = excluded.tz,"
		" rate = excluded.rate, rate_ms = excluded.rate_ms, updated_at = now()",
		&params, NULL, err);
	return rc == -EPROTO && err->class == ERR_DATA ? -EINVAL : rc;
}

int notify_channels(struct pg *p, int64_t company_id, int64_t out[8], int *n, struct err *err)
{
	struct pg_params params;
	PGresult *res = NULL;
	int rc;

	pg_params_init(&params);
	pg_int(&params, company_id);
	rc = query_some(
		p,
		"SELECT c FROM notify_settings, unnest(channels) WITH ORDINALITY AS u (c, n) WHERE company_id = $1"
		" ORDER BY u.n",
		&params, &res, err);
	if (rc < 0)
		return rc;
	*n = 0;
	for (int i = 0; i < PQntuples(res) && *n < 8; i++)
		out[(*n)++] = pg_get_int(res, i, 0);
	PQclear(res);
	return 0;
}

/* ---- templates ---- */

int notify_template_put(struct pg *p, int64_t company_id, const char *name, const char *parts,
			struct err *err)
{
	struct pg_params params;

	pg_params_init(&params);
	query_id(&params, company_id);
	pg_text(&params, name);
	pg_text(&params, parts);
	return query(
		p,
		"INSERT INTO notify_templates (company_id, name, parts) VALUES ($1, $2, $3::jsonb)"
		" ON CONFLICT (coalesce(company_id, 0), name) DO UPDATE SET parts = excluded.parts,"
		" updated_at = now()",
		&params, NULL, err);
}

int notify_template_drop(struct pg *p, int64_t company_id, const char *name, struct err *err)
{
	struct pg_params params;

	pg_params_init(&params);
	pg_int(&params, company_id);
	pg_text(&params, name);
	return query_some(
		p, "DELETE FROM notify_templates WHERE coalesce(company_id, 0) = $1 AND name = $2",
		&params, NULL, err);
}

int notify_template_get(struct pg *p, int64_t company_id, const char *name, cJSON **out,
			struct err *err)
{
	struct pg_params params;
	PGresult *res = NULL;
	const char *text;
	int rc;

	pg_params_init(&params);
	pg_int(&params, company_id);
	pg_text(&params, name);
	rc = query_some(
		p,
		"SELECT parts FROM notify_templates WHERE (company_id = $1 OR company_id IS NULL) AND name = $2"
		" ORDER BY company_id NULLS LAST LIMIT 1",
		&params, &res, err);
	if (rc < 0)
		return rc;
	text = pg_get(res, 0, 0);
	rc = json_parse(text, strlen(text), PARTS_MAX_BYTES, out, NULL);
	PQclear(res);
	return rc < 0 ? err_set(err, -EBADMSG, ERR_INTERNAL, "template",
				"notify_templates: \"%.60s\" does not read", name)
		      : 0;
}

/* ---- one of them ---- */

/* The n-th last one of a full window says when the next fits.  Two statements of one transaction: the second sees what whoever had the
 * lock before has written. */
static const char lock_sql[] =
	"SELECT pg_advisory_xact_lock(hashtextextended('notify ' || $1::text || ' ' || $2::text, 0))";
static const char add_sql[] =
	"WITH s AS (SELECT clock_timestamp() AS at, t.* FROM (SELECT 1) one LEFT JOIN notify_settings t"
	" ON t.company_id = $1), r AS (SELECT CASE WHEN $7 THEN s.at ELSE"
	" notify_after_quiet(greatest(s.at, (SELECT n.send_at + s.rate_ms * interval '1 ms' FROM notifications n"
	" WHERE s.rate IS NOT NULL AND n.company_id = $1 AND n.recipient = $2 ORDER BY n.send_at DESC"
	" OFFSET greatest(s.rate, 1) - 1 LIMIT 1)), s.quiet_from, s.quiet_until, s.tz) END AS at FROM s)"
	" INSERT INTO notifications (company_id, recipient, entry, fingerprint, template, plan, urgent, in_doubt,"
	" job_id, attempts, send_at) SELECT $1, $2, $3, $4, $5, $6::json, $7, $8, $9, $10, r.at FROM r"
	" ON CONFLICT (entry) DO NOTHING";
static const char found_sql[] =
	"SELECT id, fingerprint IN ($2, $3) FROM notifications WHERE entry = $1";

static void add_params(struct pg_params v[3], const struct notification_new *n)
{
	pg_params_init(&v[0]);
	pg_int(&v[0], n->company_id);
	pg_text(&v[0], n->recipient);
	pg_params_init(&v[1]);
	pg_int(&v[1], n->company_id);
	pg_text(&v[1], n->recipient);
	pg_text(&v[1], n->entry);
	pg_text(&v[1], n->fingerprint);
	pg_text(&v[1], n->template);
	pg_text(&v[1], n->plan);
	pg_bool(&v[1], n->urgent);
	pg_bool(&v[1], n->in_doubt);
	pg_text(&v[1], n->job_id);
	pg_int(&v[1], n->attempts);
	pg_params_init(&v[2]);
	pg_text(&v[2], n->entry);
	pg_text(&v[2], n->fingerprint);
	pg_text(&v[2], n->fingerprint_before);
}

int notification_add(struct pg *p, const struct notification_new *n, int64_t *id, bool *same,
		     struct err *err)
{
	struct pg_params *v = mem_alloc(3 * sizeof(*v)); /* too large for a job's stack */
	struct pg_statement all[] = { { lock_sql, &v[0] },
				      { add_sql, &v[1] },
				      { found_sql, &v[2] } };
	PGresult *res[3] = { NULL };
	int rc;

	add_params(v, n);
	rc = pg_exec_all(p, all, 3, res, query_deadline(), err);
	if (rc == 0 && PQntuples(res[2]) == 0)
		rc = err_set(err, -EBADMSG, ERR_INTERNAL, "notification", "it was not written");
	if (rc == 0) {
		*id = pg_get_int(res[2], 0, 0);
		*same = query_bool(res[2], 0, 1);
	}
	for (int i = 0; i < 3; i++) {
		PQclear(res[i]);
		pg_params_clear(&v[i]);
	}
	free(v);
	return rc;
}

int notification_request(struct pg *p, const struct notification_new *n, const char *args,
			 const char *ids, int64_t *id, struct err *err)
{
	struct pg_params params;
	PGresult *res = NULL;
	int rc;

	pg_params_init(&params);
	pg_text(&params, n->entry);
	pg_text(&params, n->fingerprint);
	pg_text(&params, args);
	pg_text(&params, ids);
	/* The update changes nothing: it makes RETURNING tell of a row that is there. */
	rc = query_some(
		p,
		"INSERT INTO outbound_requests AS o (partner, integration_id, action, state, job, kept, entry,"
		" idempotency_key, fingerprint, source, lane, steps, steps_done, deadline_at, finished_at, queued_at)"
		" VALUES ('longshore', 0, 'notify', 'done', json_build_object('task', 'notify', 'args', $3::json),"
		" jsonb_build_object('notifications', $4::jsonb), $1, NULL, $2, 'http', 'normal', 1, 1, now(), now(),"
		" now()) ON CONFLICT (partner, entry) DO UPDATE SET updated_at = o.updated_at"
		" RETURNING id",
		&params, &res, err);
	if (rc == 0)
		*id = pg_get_int(res, 0, 0);
	PQclear(res);
	return rc;
}

/* ---- looking ---- */

int notification_each(struct pg *p, const struct notification_filter *f, notification_fn fn,
		      void *arg, struct err *err)
{
	struct pg_params params;
	PGresult *res = NULL;
	int rc;

	pg_params_init(&params);
	query_id(&params, f->id);
	query_id(&params, f->company_id);
	pg_text(&params, f->state);
	pg_int(&params, f->limit ? f->limit : 50);
	rc = query(
		p,
		"SELECT row_to_json(x) FROM (SELECT * FROM notification_outcomes o WHERE ($1::int8 IS NULL OR o.id = $1)"
		" AND ($2::int8 IS NULL OR o.company_id = $2) AND ($3::text IS NULL OR o.state = $3)"
		" ORDER BY o.id DESC, o.attempt DESC LIMIT $4) x",
		&params, &res, err);
	for (int i = 0; rc == 0 && i < PQntuples(res); i++) {
		const char *text = pg_get(res, i, 0);
		cJSON *row = NULL;

		if (json_parse(text, strlen(text), PARTS_MAX_BYTES, &row, NULL) == 0)
			fn(row, arg);
		cJSON_Delete(row);
	}
	PQclear(res);
	return rc;
}
