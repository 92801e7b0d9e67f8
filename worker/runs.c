#include "worker/runs.h"

#include <errno.h>
#include <string.h>

#include "common/base/config.h"
#include "common/io/loop.h"
#include "common/store/run_end.h"
#include "worker/integrations.h"
#include "worker/settle.h"
#include "worker/sink.h"

#define CHILD_SEEN_MS (24 * 3600 * 1000)

/* ---- what a root asks for ---- */

static const cJSON *on_done(const struct attempt *a)
{
	const cJSON *v =
		a->job.args ? cJSON_GetObjectItemCaseSensitive(a->job.args, "on_done") : NULL;

	return cJSON_IsNull(v) ? NULL : v;
}

static int refuse(struct attempt *a, const char *what)
{
	return err_set(
		&a->err, -EINVAL, ERR_BAD_JOB, "args.on_done",
		"args.on_done %s; expected {\"task\": \"noop\", \"integration_id\": 7, \"args\": {}}, of which only"
		" the task is required",
		what);
}

static int check_integration(struct attempt *a, int64_t id)
{
	const struct integration *i = NULL;
	int rc = integrations_get(a->worker, id, &i, &a->err);

	if (rc == -ENOENT)
		return refuse(a, "names an integration that does not exist");
	integrations_put(i);
	return rc;
}

int runs_check(struct attempt *a)
{
	const cJSON *o = on_done(a), *task, *args, *id, *field;
	int64_t integration = 0;

	if (!o)
		return 0;
	if (a->job.run_id)
		return refuse(a, "is of the job that begins a run, and this one has a \"run_id\"");
	if (!cJSON_IsObject(o))
		return refuse(a, "is not an object");
	cJSON_ArrayForEach (field, o) {
		if (strcmp(field->string, "task") && strcmp(field->string, "integration_id") &&
		    strcmp(field->string, "args"))
			return refuse(a, "has a field that it does not know");
	}
	task = cJSON_GetObjectItemCaseSensitive(o, "task");
	args = cJSON_GetObjectItemCaseSensitive(o, "args");
	id = cJSON_GetObjectItemCaseSensitive(o, "integration_id");
	if (!cJSON_IsString(task) || !*task->valuestring)
		return refuse(a, "has no \"task\", or one that is no text");
	if (args && !cJSON_IsObject(args))
		return refuse(a, "has \"args\" that are not an object");
	if (id && (!json_int(o, "integration_id", &integration) || integration < 1))
		return refuse(a, "has an \"integration_id\" that is not a positive integer");
	int rc = integration ? check_integration(a, integration) : 0;
	a->asks = rc == 0;
	return rc;
}

/* ---- taking part ---- */

void runs_ref(const struct attempt *a, struct run_ref *out)
{
	if (a->job.run_id)
		run_of_job(&a->job, out);
	else
		*out = (struct run_ref){ .id = a->run_id,
					 .home = queue_partner(a->lease.queue),
					 .root = true,
					 .asks = a->asks };
}

const char *runs_home(const struct attempt *a, int64_t run_id)
{
	struct run_ref r;

	runs_ref(a, &r);
	return run_id && r.id == run_id ? r.home : NULL;
}

static bool has_kin(const struct attempt *a)
{
	for (int i = 0; i < a->n_children; i++)
		if (a->children[i].kin)
			return true;
	return false;
}

/* A root that others hang on, or may: an earlier attempt of it had a run. */
static bool is_parent(const struct attempt *a)
{
	return has_kin(a) || a->spawned || header_number(&a->lease.header, RAN_RUN);
}

int runs_note_root(struct attempt *a, const char *state)
{
	bool ends = strcmp(state, "running") != 0;
	struct buf json = BUF_INIT;
	int rc = 0;

	if (a->job.run_id || !(a->asks || has_kin(a) || a->spawned))
		return 0;
	if (!a->run_id)
		rc = run_new_id(a->worker->pg, &a->run_id, &a->err);
	if (rc < 0)
		return rc;
	int64_t now = redis_now_ms(a->worker->redis);
	if (on_done(a))
		json_print(on_done(a), &json);
	struct run_root r = { .id = a->run_id,
			      .integration_id = a->job.integration_id,
			      .task = a->job.task,
			      .job_id = a->job_id,
			      .worker = a->worker->epoch,
			      .state = state,
			      .home = queue_partner(a->lease.queue),
			      .on_done = json.len ? json.data : NULL,
			      .started_ms = attempt_began_ms(a),
			      .finished_ms = ends ? now : 0 };
	rc = sink_root(a->worker->sink, &r, attempt_deadline_ms(a), &a->err);
	buf_clear(&json);
	return rc;
}

int runs_spawn(struct attempt *a, const struct queue_push *v, bool *fresh)
{
	struct run_ref r;
	int rc = 0, n = 0;

	runs_ref(a, &r);
	if (!r.id)
		return queue_enqueue_once(a->lease.queue, v, CHILD_SEEN_MS, fresh,
					  attempt_deadline_ms(a), &a->err);
	/* Before a child can end, and the root die: its row must be there when the run ends. */
	if (r.root && !a->spawned) {
		a->spawned = true;
		rc = runs_note_root(a, "running");
	}
	if (rc == 0)
		rc = queue_spawn(a->lease.queue, &a->lease, &r, v, 1, &n, attempt_deadline_ms(a),
				 &a->err);
	*fresh = n > 0;
	return rc;
}

void runs_settle(const struct attempt *a, struct settlement *s, enum run_fate fate)
{
	struct run_ref r;

	runs_ref(a, &r);
	if (fate == RUN_GOES_ON && !has_kin(a))
		return;
	if (r.root && fate == RUN_DROPPED)
		r.asks = false; /* turned away: it began nothing */
	if (!r.root || r.asks || is_parent(a))
		settlement_set_run(s, &r, fate);
}
