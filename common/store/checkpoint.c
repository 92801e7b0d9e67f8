#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "common/store/query.h"
#include "common/store/store.h"

#define STATE_MAX_BYTES (64 * 1024)

void checkpoint_clear(struct checkpoint *c)
{
	free(c->job_id);
	cJSON_Delete(c->state);
	*c = (struct checkpoint){ 0 };
}

int checkpoint_get(struct pg *p, int64_t integration_id, const char *collection,
		   struct checkpoint *out, struct err *err)
{
	struct pg_params params;
	struct json_error why;
	PGresult *res = NULL;
	cJSON *state = NULL;
	const char *text;
	int rc;

	pg_params_init(&params);
	pg_int(&params, integration_id);
	pg_text(&params, collection);
	rc = query_some(
		p,
		"SELECT job_id, state, generation, fence FROM checkpoints WHERE integration_id ="
		" $1 AND collection = $2",
		&params, &res, err);
	if (rc < 0)
		return rc;
	text = pg_get(res, 0, 1);
	if (text && json_parse(text, strlen(text), STATE_MAX_BYTES, &state, &why) < 0) {
		PQclear(res);
		return err_set(err, -EBADMSG, ERR_INTERNAL, "checkpoint",
			       "the checkpoint of %s does not read: %s", collection, why.text);
	}
	*out = (struct checkpoint){ .job_id = query_dup(res, 0, 0),
				    .state = state,
				    .generation = pg_get_int(res, 0, 2),
				    .fence = pg_get_int(res, 0, 3) };
	PQclear(res);
	return 0;
}

/* Without a state the page is forgotten, while "since" stays as it was.  What is covered already is not given up: of two scans
 * that both began with the older one's, the one that covers less may end last. */
static const char put_sql[] =
	"INSERT INTO checkpoints AS c (integration_id, collection, job_id, state, generation,"
	" fence) VALUES ($1, $2, $3, $4, $5, $6)"
	" ON CONFLICT (integration_id, collection) DO UPDATE SET job_id = excluded.job_id,"
	" state = coalesce(excluded.state || CASE WHEN (c.state->>'since_us')::numeric >"
	" coalesce((excluded.state->>'since_us')::numeric, 0) THEN jsonb_build_object('since_us',"
	" c.state->'since_us') ELSE '{}'::jsonb END, CASE WHEN c.state ? 'since' THEN"
	" jsonb_build_object('since', c.state->'since') END),"
	" generation = excluded.generation, fence = excluded.fence, updated_at = now()"
	" WHERE (c.generation, c.fence) <= (excluded.generation, excluded.fence)";

int checkpoint_put(struct pg *p, int64_t integration_id, const char *collection, const char *job_id,
		   const cJSON *state, int64_t generation, int64_t fence, struct err *err)
{
	struct pg_params params;
	struct buf text = BUF_INIT;
	int rc;

	if (state)
		json_print(state, &text);
	pg_params_init(&params);
	pg_int(&params, integration_id);
	pg_text(&params, collection);
	pg_text(&params, job_id);
	pg_text(&params, text.data);
	pg_int(&params, generation);
	pg_int(&params, fence);
	buf_clear(&text);
	rc = query_some(p, put_sql, &params, NULL, err);
	if (rc == -ENOENT)
		return err_set(err, -ESTALE, ERR_CANCELLED, "fence",
			       "a newer claim of this job has written the checkpoint of %s",
			       collection);
	return rc;
}
