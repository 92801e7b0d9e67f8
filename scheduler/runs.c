/* The end of runs (Q11).  The script that ended a run's last job noted it in Redis; here its row in Postgres is closed, the task
 * of on_done is queued, and the note is taken away, in that order: whoever dies in between leaves the note to another
 * scheduler.  Each step may be done twice: the row's first end stays, and the task has an id of the run's.
 * A run whose open jobs went with Redis' data would never end: what nothing has touched for long and Redis does not know is closed
 * as unknown.  First what it imported is imported anew, with all that hangs on its items: these look unchanged now, and nothing else
 * would ever ask for what was lost. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/log.h"
#include "common/base/mem.h"
#include "common/io/loop.h"
#include "common/queue/run.h"
#include "common/store/run_end.h"
#include "scheduler/scheduler.h"

#define LOOK_MS 1000
#define STEP_MS 30000
#define SWEEP_MS 10000
#define IDLE_MS (15 * 60000LL)
#define SWEEP_MAX 50
#define DONE_SEEN_MS (24 * 3600 * 1000LL)

/* ---- on_done ---- */

static cJSON *args_of(const struct run_done_task *t, int64_t run)
{
	const cJSON *given = cJSON_GetObjectItemCaseSensitive(t->on_done, "args");
	cJSON *args = given ? cJSON_Duplicate(given, 1) : cJSON_CreateObject();
	cJSON *about = cJSON_CreateObject();

	cJSON_AddNumberToObject(about, "id", (double)run);
	cJSON_AddStringToObject(about, "ended", t->ended);
	cJSON_AddNumberToObject(about, "done", (double)t->counts.done);
	cJSON_AddNumberToObject(about, "dead", (double)t->counts.dead);
	cJSON_AddNumberToObject(about, "dropped", (double)t->counts.dropped);
	cJSON_DeleteItemFromObjectCaseSensitive(args, "run");
	cJSON_AddItemToObject(args, "run", about);
	return args;
}

/* The queue that its integration's jobs go to; NULL: it or its driver is gone. */
static int queue_of(struct scheduler *s, int64_t integration, struct queue **out, struct err *err)
{
	struct integration i;
	int rc = 0;

	*out = scheduler_queue(s, LONGSHORE_PARTNER);
	if (!integration)
		return 0;
	*out = NULL;
	rc = integration_get(s->pg, integration, &i, err);
	if (rc == 0) {
		*out = scheduler_queue(s, i.partner);
		integration_clear(&i);
	}
	return rc == -ENOENT ? 0 : rc;
}

static int queue_task(struct scheduler *s, const struct run_done_task *t, int64_t run,
		      struct err *err)
{
	const char *task = json_str(t->on_done, "task");
	struct buf payload = BUF_INIT;
	struct queue *q = NULL;
	int64_t integration = 0;
	char id[JOB_ID_MAX], parent[JOB_ID_MAX];
	bool fresh = false;

	if (!json_int(t->on_done, "integration_id", &integration))
		integration = 0;
	int rc = queue_of(s, integration, &q, err);
	if (rc < 0)
		return rc;
	if (!q || !task) {
		log_event(LOG_ERROR, "on_done_not_queued", LI("run", run),
			  LI("integration", integration),
			  LS("reason", task ? "its integration, or the driver of it, is gone"
					    : "it names no task any more"));
		return 0;
	}
	snprintf(id, sizeof(id), "run-%lld-done", (long long)run);
	snprintf(parent, sizeof(parent), "run-%lld", (long long)run);
	cJSON *args = args_of(t, run);
	job_print(&payload, task, integration, args, 0, parent);
	cJSON_Delete(args);
	struct queue_push push = { .lane = LANE_NORMAL,
				   .integration = integration,
				   .id = id,
				   .payload = payload.data,
				   .len = payload.len };
	rc = queue_enqueue_once(q, &push, DONE_SEEN_MS, &fresh, loop_now_ms() + STEP_MS, err);
	buf_clear(&payload);
	if (rc == 0 && fresh)
		log_event(LOG_INFO, "on_done_queued", LI("run", run), LS("task", task),
			  LS("partner", queue_partner(q)), LS("job", id));
	return rc == 0 ? run_done_task_queued(s->pg, run, err) : rc;
}

/* ---- one end ---- */

struct look {
	struct scheduler *s;
	struct queue *q;
	struct err err;
};

static int on_end(const struct run_end *e, void *arg)
{
	struct look *l = arg;
	struct run_end_counts c = { e->at_ms, e->done, e->dead, e->dropped };
	struct run_done_task t = { 0 };
	int rc = run_mark_ended(l->s->pg, e->run, &c, &l->err);

	if (rc == 0)
		rc = run_done_task(l->s->pg, e->run, &t, &l->err);
	if (rc == 0 && t.on_done)
		rc = queue_task(l->s, &t, e->run, &l->err);
	if (rc == -ENOENT) { /* somebody deleted its row: nobody waits for its end */
		log_event(LOG_WARN, "ended_run_unknown", LI("run", e->run));
		rc = 0;
	}
	cJSON_Delete(t.on_done);
	if (rc == 0)
		rc = queue_run_forget(l->q, e->run, loop_now_ms() + STEP_MS, &l->err);
	if (rc == 0)
		log_event(LOG_DEBUG, "run_ended", LI("run", e->run), LI("done", e->done),
			  LI("dead", e->dead), LI("dropped", e->dropped));
	return rc;
}

static void look(struct scheduler *s)
{
	for (int i = 0; i < s->n_queues && !s->stopping; i++) {
		struct look l = { .s = s, .q = s->queues[i] };

		if (queue_runs_ended(l.q, on_end, &l, loop_now_ms() + STEP_MS, &l.err) < 0 &&
		    redis_is_up(s->redis) && !s->stopping)
			log_event(LOG_WARN, "run_end_put_off", LS("partner", queue_partner(l.q)),
				  LS("reason", l.err.text));
	}
}

/* ---- those that nobody will end ---- */

struct idle_run {
	int64_t id;
	struct queue *q; /* NULL: no driver here serves that partner; another scheduler may */
};
struct idle {
	struct scheduler *s;
	struct idle_run v[SWEEP_MAX];
	int n;
};

static void on_idle(int64_t id, const char *home, void *arg)
{
	struct idle *i = arg;

	if (i->n < SWEEP_MAX)
		i->v[i->n++] = (struct idle_run){ id, scheduler_queue(i->s, home) };
}

struct lost {
	struct scheduler *s;
	int64_t run;
	struct err *err;
};

/* Of many runs of an integration that were lost one import is enough, and of each one is queued once. */
static int import_anew(int64_t integration, const char *partner, void *arg)
{
	struct lost *l = arg;
	struct queue *q = scheduler_queue(l->s, partner);
	struct buf payload = BUF_INIT;
	char id[JOB_ID_MAX], unique[64];
	cJSON *args;
	bool fresh = false;
	int rc;

	if (!q)
		return 0;
	snprintf(id, sizeof(id), JOB_CLOCK "lost-%lld-%lld", (long long)integration,
		 (long long)l->run);
	snprintf(unique, sizeof(unique), "lost-%lld", (long long)integration);
	args = cJSON_CreateObject();
	cJSON_AddStringToObject(args, "mode", "full");
	cJSON_AddStringToObject(args, CHILDREN_ARG, "all");
	job_print(&payload, "import_resources", integration, args, 0, NULL);
	job_print_keys(&payload, unique, false, NULL);
	cJSON_Delete(args);
	struct queue_push push = { .lane = LANE_NORMAL,
				   .integration = integration,
				   .id = id,
				   .payload = payload.data,
				   .len = payload.len };
	rc = queue_enqueue_once(q, &push, DONE_SEEN_MS, &fresh, loop_now_ms() + STEP_MS, l->err);
	buf_clear(&payload);
	if (rc == 0 && fresh)
		log_event(LOG_WARN, "lost_import_queued", LI("run", l->run),
			  LI("integration", integration), LS("partner", partner), LS("job", id));
	return rc;
}

static int judge(struct scheduler *s, const struct idle_run *r, struct err *err)
{
	struct run_open o = { 0 };
	bool was_open = false;
	int rc = queue_run_look(r->q, r->id, &o, loop_now_ms() + STEP_MS, err);

	if (rc < 0 || o.known)
		return rc;
	rc = run_imports_each(s->pg, r->id, import_anew, &(struct lost){ s, r->id, err }, err);
	if (rc == 0)
		rc = run_mark_lost(s->pg, r->id, &was_open, err);
	if (rc == 0 && was_open)
		log_event(LOG_WARN, "run_lost", LI("run", r->id),
			  LS("reason",
			     "Redis knows of no open job of it, and nothing noted its end"));
	return rc;
}

static void sweep(struct scheduler *s)
{
	struct idle idle = { .s = s };
	struct err err = { 0 };
	int rc = run_idle_each(s->pg, IDLE_MS, SWEEP_MAX, on_idle, &idle, &err);

	for (int i = 0; rc == 0 && i < idle.n; i++)
		if (idle.v[i].q)
			rc = judge(s, &idle.v[i], &err);
	if (rc < 0 && !s->stopping)
		log_event(LOG_WARN, "run_sweep_put_off", LS("reason", err.text));
}

static void run(void *arg)
{
	struct scheduler *s = arg;
	int64_t swept_ms = 0;

	do {
		/* Without Postgres the notes wait in Redis. */
		if (!redis_is_up(s->redis) || !pg_is_up(s->pg))
			continue;
		look(s);
		if (loop_now_ms() - swept_ms >= SWEEP_MS) {
			swept_ms = loop_now_ms();
			sweep(s);
		}
	} while (scheduler_sleep(s, LOOK_MS) == 0);
}

int runs_start(struct scheduler *s)
{
	return scheduler_spawn(s, "runs", run, s);
}
