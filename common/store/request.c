#include "common/store/request.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/mem.h"
#include "common/store/query.h"

#define KEPT_MAX_BYTES (1024 * 1024)

static const char *const states[] = {
	[REQUEST_PENDING] = "pending", [REQUEST_RUNNING] = "running", [REQUEST_DONE] = "done",
	[REQUEST_FAILED] = "failed",   [REQUEST_UNKNOWN] = "unknown", [REQUEST_UNDONE] = "undone"
};

const char *request_state_name(enum request_state s)
{
	return states[s];
}

int request_state_parse(const char *name, enum request_state *out)
{
	for (size_t i = 0; name && i < ARRAY_LEN(states); i++)
		if (strcmp(name, states[i]) == 0) {
			*out = (enum request_state)i;
			return 0;
		}
	return -EINVAL;
}

void request_clear(struct request *r)
{
	free(r->partner);
	free(r->action);
	free(r->lane);
	free(r->entry);
	free(r->fingerprint);
	free(r->job);
	free(r->external_id);
	free(r->job_id);
	free(r->class);
	free(r->rule);
	free(r->at_step);
	free(r->error);
	cJSON_Delete(r->kept);
	*r = (struct request){ 0 };
}

/* ---- entry ---- */

int request_add(struct pg *p, const struct request_new *n, int64_t *id, struct err *err)
{
	struct pg_params params;
	PGresult *res = NULL;
	int rc;

	pg_params_init(&params);
	pg_text(&params, n->partner);
	pg_int(&params, n->integration_id);
	pg_text(&params, n->action);
	pg_text(&params, n->job);
	pg_text(&params, n->entry);
	pg_text(&params, n->idempotency_key);
	pg_text(&params, n->fingerprint);
	query_id(&params, n->parent_id);
	pg_text(&params, n->source);
	pg_text(&params, n->lane);
	pg_int(&params, n->steps);
	pg_int(&params, n->deadline_in_ms);
	pg_int(&params, n->generation);
	rc = query(
		p,
		"INSERT INTO outbound_requests (partner, integration_id, action, state, job, entry,"
		" idempotency_key, fingerprint, parent_id, source, lane, steps, deadline_at,"
		" queued_at, queued_generation)"
		" VALUES ($1, $2, $3, 'pending', $4::json, $5, $6, $7, $8, $9, $10, $11,"
		" now() + $12 * interval '1 ms', CASE WHEN $13::int8 > 0 THEN now() END, $13::int8)"
		" ON CONFLICT DO NOTHING RETURNING id",
		&params, &res, err);
	if (rc == 0)
		*id = PQntuples(res) ? pg_get_int(res, 0, 0) : 0;
	PQclear(res);
	return rc;
}

static const char find_sql[] =
	"SELECT id, integration_id, partner, action, lane, entry, fingerprint, job, state,"
	" wants = 'undo', kept, job_id, class, rule, at_step, error,"
	" (extract(epoch FROM created_at) * 1000000)::int8,"
	" (extract(epoch FROM deadline_at) * 1000)::int8,"
	" (extract(epoch FROM claimed_at) * 1000)::int8, (extract(epoch FROM now()) * 1000)::int8,"
	" attempts, queued_times, external_id FROM outbound_requests"
	" WHERE id = $1 OR (partner = $2 AND entry = $3)"
	" OR (integration_id = $4 AND action = $5 AND idempotency_key = $6) ORDER BY id LIMIT 1";

static int read_row(const PGresult *res, struct request *out, struct err *err)
{
	const char *kept = pg_get(res, 0, 10);
	cJSON *tree = NULL;
	enum request_state state;

	if (json_parse(kept, strlen(kept), KEPT_MAX_BYTES, &tree, NULL) < 0 ||
	    request_state_parse(pg_get(res, 0, 8), &state) < 0) {
		cJSON_Delete(tree);
		return err_set(err, -EBADMSG, ERR_INTERNAL, "request",
			       "outbound_requests %lld does not read",
			       (long long)pg_get_int(res, 0, 0));
	}
	*out = (struct request){ .id = pg_get_int(res, 0, 0),
				 .integration_id = pg_get_int(res, 0, 1),
				 .partner = query_dup(res, 0, 2),
				 .action = query_dup(res, 0, 3),
				 .lane = query_dup(res, 0, 4),
				 .entry = query_dup(res, 0, 5),
				 .fingerprint = query_dup(res, 0, 6),
				 .job = query_dup(res, 0, 7),
				 .state = state,
				 .undo = query_bool(res, 0, 9),
				 .kept = tree,
				 .job_id = query_dup(res, 0, 11),
				 .class = query_dup(res, 0, 12),
				 .rule = query_dup(res, 0, 13),
				 .at_step = query_dup(res, 0, 14),
				 .error = query_dup(res, 0, 15),
				 .created_us = pg_get_int(res, 0, 16),
				 .deadline_ms = pg_get_int(res, 0, 17),
				 .claimed_ms = pg_get_int(res, 0, 18),
				 .now_ms = pg_get_int(res, 0, 19),
				 .attempts = pg_get_int(res, 0, 20),
				 .queued_times = pg_get_int(res, 0, 21),
				 .external_id = query_dup(res, 0, 22) };
	return 0;
}

int request_find(struct pg *p, const struct request_who *w, struct request *out, struct err *err)
{
	struct pg_params params;
	PGresult *res = NULL;
	int rc;

	pg_params_init(&params);
	query_id(&params, w->id);
	pg_text(&params, w->partner);
	pg_text(&params, w->entry);
	query_id(&params, w->integration_id);
	pg_text(&params, w->action);
	pg_text(&params, w->idempotency_key);
	rc = query_some(p, find_sql, &params, &res, err);
	if (rc == 0)
		rc = read_row(res, out, err);
	PQclear(res);
	return rc;
}

/* ---- work on it ---- */

static void add_claim(struct pg_params *params, int64_t id, const struct request_claim *c)
{
	pg_int(params, id);
	pg_int(params, c->generation);
	pg_int(params, c->fence);
}

int request_take(struct pg *p, int64_t id, const struct request_claim *c, int64_t busy_ms,
		 struct err *err)
{
	struct pg_params params;
	PGresult *res = NULL;
	int rc;

	pg_params_init(&params);
	add_claim(&params, id, c);
	pg_text(&params, c->job_id);
	pg_text(&params, c->worker);
	pg_int(&params, busy_ms);
	rc = query_some(
		p,
		"UPDATE outbound_requests SET state = 'running', generation = $2, fence = $3, job_id = $4,"
		" worker = $5, attempts = attempts + 1, claimed_at = now(), updated_at = now(),"
		" next_try_at = NULL, queued_at = coalesce(queued_at, now()),"
		" queued_generation = greatest(queued_generation, $2), finished_at = NULL"
		" WHERE id = $1 AND (generation, fence) <= ($2, $3)"
		" AND (state <> 'running' OR job_id = $4 OR claimed_at < now() - $6 * interval '1 ms')"
		" RETURNING id",
		&params, &res, err);
	PQclear(res);
	if (rc != -ENOENT)
		return rc;
	pg_params_init(&params);
	add_claim(&params, id, c);
	rc = query_some(p,
			"SELECT id FROM outbound_requests WHERE id = $1 AND"
			" (generation, fence) > ($2, $3)",
			&params, NULL, err);
	return rc == -ENOENT ? -EBUSY : rc == 0 ? query_stale_claim(-ENOENT, err) : rc;
}

int request_put(struct pg *p, int64_t id, const struct request_claim *c,
		const struct request_end *e, struct err *err)
{
	struct pg_params params;
	int rc;

	pg_params_init(&params);
	add_claim(&params, id, c);
	pg_text(&params, states[e->state]);
	pg_text(&params, e->class);
	pg_text(&params, e->rule);
	pg_text(&params, e->at_step);
	pg_text(&params, e->error);
	pg_int(&params, e->again_in_ms);
	pg_text(&params, e->letter_id);
	rc = query_some(
		p,
		"UPDATE outbound_requests SET state = $4, class = $5, rule = $6, at_step = $7, error = $8,"
		" next_try_at = CASE WHEN $4 = 'pending' THEN now() + $9 * interval '1 ms' END,"
		" finished_at = CASE WHEN $4 IN ('done', 'failed', 'undone') THEN now() END,"
		" letter_id = coalesce($10, letter_id), updated_at = now()"
		" WHERE id = $1 AND (generation, fence) = ($2, $3)",
		&params, NULL, err);
	return query_stale_claim(rc, err);
}

/* ---- into its queue ---- */

void request_due_free(struct request_due *v, int n)
{
	for (int i = 0; i < n; i++) {
		free(v[i].partner);
		free(v[i].lane);
		free(v[i].job);
	}
	free(v);
}

static int read_due(struct pg *p, const char *sql, struct pg_params *params,
		    struct request_due **out, int *n, struct err *err)
{
	PGresult *res = NULL;
	int rc = query(p, sql, params, &res, err);

	if (rc < 0)
		return rc;
	*n = PQntuples(res);
	*out = mem_zalloc(sizeof(**out) * (size_t)(*n + 1));
	for (int i = 0; i < *n; i++)
		(*out)[i] = (struct request_due){ .id = pg_get_int(res, i, 0),
						  .integration_id = pg_get_int(res, i, 1),
						  .partner = query_dup(res, i, 2),
						  .lane = query_dup(res, i, 3),
						  .job = query_dup(res, i, 4),
						  .times = pg_get_int(res, i, 5) };
	PQclear(res);
	return 0;
}

#define DUE_COLUMNS "SELECT o.id, o.integration_id, o.partner, o.lane, o.job, o.queued_times"
#define DUE_OPEN " o.state IN ('pending', 'running')"

/* Walks from partner to partner, and of each only its next ones: what is stuck costs other partners nothing.  Where nothing was lost the second
 * half is one look at an index a partner; where much was it may sort what is left of it for each turn.  Jobs are read last, of those alone that
 * are told. */
static const char due_sql[] =
	"WITH RECURSIVE w AS ((SELECT o.partner FROM outbound_requests o WHERE o.queued_at IS NULL AND" DUE_OPEN
	" ORDER BY o.partner LIMIT 1) UNION ALL SELECT (SELECT o.partner FROM outbound_requests o WHERE"
	" o.partner > w.partner AND o.queued_at IS NULL AND" DUE_OPEN " ORDER BY o.partner LIMIT 1)"
	" FROM w WHERE w.partner IS NOT NULL),"
	" t AS (SELECT * FROM unnest($4::text[], $5::int8[]) AS t (partner, after_id)),"
	" d AS (SELECT d.* FROM w LEFT JOIN t USING (partner) CROSS JOIN LATERAL (SELECT o.id, o.partner"
	" FROM outbound_requests o WHERE o.partner = w.partner AND o.id > coalesce(t.after_id, 0)"
	" AND o.queued_at IS NULL AND" DUE_OPEN " AND o.updated_at < now() - $1 * interval '1 ms'"
	" ORDER BY o.id LIMIT $2) d"
	" UNION ALL SELECT d.* FROM partner_states s LEFT JOIN t USING (partner) CROSS JOIN LATERAL (SELECT o.id, o.partner"
	" FROM outbound_requests o WHERE o.partner = s.partner AND o.id > coalesce(t.after_id, 0)"
	" AND o.queued_at IS NOT NULL AND" DUE_OPEN " AND o.queued_generation < s.generation"
	" ORDER BY o.id LIMIT $2) d"
	" WHERE EXISTS (SELECT FROM outbound_requests o WHERE o.partner = s.partner AND o.queued_at IS NOT NULL"
	" AND" DUE_OPEN " AND o.queued_generation < s.generation)),"
	" r AS (SELECT d.id, row_number() OVER (PARTITION BY partner ORDER BY id) AS turn FROM d),"
	" v AS (SELECT * FROM r WHERE turn <= $2 ORDER BY turn, id LIMIT $3) " DUE_COLUMNS
	" FROM v JOIN outbound_requests o USING (id) ORDER BY v.turn, v.id";

int request_due(struct pg *p, int64_t min_age_ms, const struct request_turn *turns, int n_turns,
		struct request_due **out, int *n, struct err *err)
{
	struct pg_params params;
	struct pg_array partners, after;

	pg_array_init(&partners, PG_TEXT);
	pg_array_init(&after, PG_INT8);
	for (int i = 0; i < n_turns; i++) {
		pg_array_text(&partners, turns[i].partner, strlen(turns[i].partner));
		pg_array_int8(&after, turns[i].after_id);
	}
	pg_params_init(&params);
	pg_int(&params, min_age_ms);
	pg_int(&params, REQUEST_TURN);
	pg_int(&params, REQUEST_TURNS);
	pg_array_param(&params, &partners);
	pg_array_param(&params, &after);
	return read_due(p, due_sql, &params, out, n, err);
}

int request_due_one(struct pg *p, int64_t id, struct request_due **out, int *n, struct err *err)
{
	struct pg_params params;

	pg_params_init(&params);
	pg_int(&params, id);
	return read_due(p,
			DUE_COLUMNS
			" FROM outbound_requests o WHERE o.id = $1 AND o.queued_at IS NULL AND"
			" o.state IN ('pending', 'running')",
			&params, out, n, err);
}

int request_queued(struct pg *p, int64_t id, int64_t times, struct err *err)
{
	struct pg_params params;

	pg_params_init(&params);
	pg_int(&params, id);
	pg_int(&params, times);
	return query(p,
		     "UPDATE outbound_requests o SET queued_at = now(), queued_times = $2 + 1,"
		     " queued_generation = coalesce((SELECT generation FROM partner_states s WHERE"
		     " s.partner = o.partner), 0) WHERE id = $1 AND queued_times = $2",
		     &params, NULL, err);
}
