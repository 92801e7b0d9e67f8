/* The steps of outbound requests.  Each is written in one statement with its request, under the claim's fence. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/mem.h"
#include "common/store/query.h"
#include "common/store/request.h"

static const char *const names[] = { [STEP_PENDING] = "pending",
				     [STEP_SENT] = "sent",
				     [STEP_DONE] = "done",
				     [STEP_FAILED] = "failed",
				     [STEP_UNKNOWN] = "unknown" };

const char *step_state_name(enum step_state s)
{
	return names[s];
}

static enum step_state state_of(const char *name)
{
	for (size_t i = 0; i < ARRAY_LEN(names); i++)
		if (name && strcmp(name, names[i]) == 0)
			return (enum step_state)i;
	return STEP_UNKNOWN; /* of a newer version: nothing is sent on a guess */
}

int request_steps(struct pg *p, int64_t id, struct request_step **out, int *n, struct err *err)
{
	struct pg_params params;
	PGresult *res = NULL;
	int rc;

	pg_params_init(&params);
	pg_int(&params, id);
	rc = query(p,
		   "SELECT step, kind, state, (extract(epoch FROM sent_at) * 1000)::int8,"
		   " (extract(epoch FROM doubt_since) * 1000)::int8, round, rule = 'replayed',"
		   " state IN ('sent', 'unknown') AND how LIKE 'told%' FROM outbound_steps"
		   " WHERE request_id = $1 ORDER BY kind, step",
		   &params, &res, err);
	if (rc < 0)
		return rc;
	*n = PQntuples(res);
	*out = mem_zalloc(sizeof(**out) * (size_t)(*n + 1));
	for (int i = 0; i < *n; i++)
		(*out)[i] = (struct request_step){ .step = pg_get_int(res, i, 0),
						   .undo = strcmp(pg_get(res, i, 1), "undo") == 0,
						   .state = state_of(pg_get(res, i, 2)),
						   .sent_ms = pg_get_int(res, i, 3),
						   .doubt_ms = pg_get_int(res, i, 4),
						   .round = pg_get_int(res, i, 5),
						   .replayed = query_bool(res, i, 6),
						   .told = query_bool(res, i, 7) };
	PQclear(res);
	return 0;
}

static void add_step(struct pg_params *params, int64_t id, const struct request_claim *c,
		     const struct request_step *s, const char *name)
{
	pg_params_init(params);
	pg_int(params, id);
	pg_int(params, c->generation);
	pg_int(params, c->fence);
	pg_text(params, s->undo ? "undo" : "do");
	pg_int(params, s->step);
	pg_text(params, name);
}

/* A mark that is there and unanswered becomes a doubt: that sending is followed by another. */
int request_step_mark(struct pg *p, int64_t id, const struct request_claim *c,
		      const struct request_step *s, const char *name, const char *key, bool again,
		      struct err *err)
{
	struct pg_params params;
	PGresult *res = NULL;
	int rc;

	add_step(&params, id, c, s, name);
	pg_text(&params, key);
	pg_bool(&params, again);
	pg_int(&params, s->round);
	rc = query_some(
		p,
		"WITH r AS (UPDATE outbound_requests SET updated_at = now(), at_step = $6 WHERE id = $1 AND"
		" (generation, fence) = ($2, $3) AND state = 'running' RETURNING id)"
		" INSERT INTO outbound_steps AS s (request_id, kind, step, name, state, key, round,"
		" attempts, sent_at) SELECT id, $4, $5, $6, 'sent', $7, $9, 1, clock_timestamp() FROM r"
		" ON CONFLICT (request_id, kind, step) DO UPDATE SET state = 'sent', key = $7, round = $9,"
		" attempts = s.attempts + 1, sent_at = clock_timestamp(), how = NULL,"
		" doubt_since = CASE WHEN s.state = 'sent' AND NOT $8 THEN coalesce(s.doubt_since,"
		" s.sent_at) ELSE s.doubt_since END RETURNING 1",
		&params, &res, err);
	PQclear(res);
	return query_stale_claim(rc, err);
}

int request_step_put(struct pg *p, int64_t id, const struct request_claim *c,
		     const struct request_step *s, const char *name, const struct step_end *e,
		     struct err *err)
{
	const struct err *why = e->why && e->why->class ? e->why : NULL;
	struct buf kept = BUF_INIT;
	struct pg_params params;
	PGresult *res = NULL;
	int rc;

	if (e->kept)
		json_print(e->kept, &kept);
	add_step(&params, id, c, s, name);
	pg_text(&params, names[e->state]);
	pg_bool(&params, e->doubt);
	query_id(&params, e->status);
	pg_text(&params, e->how);
	pg_text(&params, why ? err_class_name(why->class) : NULL);
	pg_text(&params, why ? why->rule : NULL);
	pg_text(&params, why ? why->text : NULL);
	pg_text(&params, kept.data);
	pg_text(&params, e->external_id);
	pg_int(&params, e->steps_done);
	pg_text(&params, request_state_name(e->request));
	buf_clear(&kept);
	rc = query_some(
		p,
		"WITH r AS (UPDATE outbound_requests SET kept = coalesce($14::jsonb, kept),"
		" external_id = coalesce($15, external_id), steps_done = CASE WHEN $16::int8 < 0 THEN steps_done"
		" ELSE $16::int8 END, state = $17, updated_at = now(),"
		" finished_at = CASE WHEN $17 IN ('done', 'failed', 'undone') THEN now() END,"
		" class = $11, rule = $12, error = $13,"
		" at_step = CASE WHEN $17 IN ('done', 'undone') THEN NULL ELSE $6 END"
		" WHERE id = $1 AND (generation, fence) = ($2, $3) RETURNING id)"
		" INSERT INTO outbound_steps AS s (request_id, kind, step, name, state, status, how, class,"
		" rule, error, finished_at, doubt_since) SELECT id, $4, $5, $6, $7, $9, $10, $11, $12, $13,"
		" CASE WHEN $7 IN ('done', 'failed') THEN clock_timestamp() END, CASE WHEN $8 THEN"
		" clock_timestamp() END FROM r"
		" ON CONFLICT (request_id, kind, step) DO UPDATE SET state = $7, status = $9,"
		" how = CASE WHEN s.how LIKE 'told%' AND ($7 = 'unknown' OR $10 = 'told') THEN s.how ELSE $10 END,"
		" class = $11, rule = $12, error = $13, finished_at = excluded.finished_at,"
		" doubt_since = CASE WHEN $8 THEN coalesce(s.doubt_since, s.sent_at, clock_timestamp()) END"
		" RETURNING 1",
		&params, &res, err);
	PQclear(res);
	return query_stale_claim(rc, err);
}
