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
#include "drivers/kit/plan.h"
#include "scheduler/scheduler.h"

#define LOOK_MS 1000
#define STEP_MS 30000
#define SWEEP_MS 10000
#define IDLE_MS (15 * 60000LL)
#define SWEEP_MAX 50
#define DONE_SEEN_MS (24 * 3600 * 1000LL)

/* The payload is used up. */
static int push_once(struct queue *q, int64_t integration, const char *id, struct buf *payload,
		     bool *fresh, struct err *err)
{
	struct queue_push push = { .lane = LANE_NORMAL,
				   .integration = integration,
				   .id = id,
				   .payload = payload->data,
				   .len = payload->len };
	int rc = queue_enqueue_once(q, &push, DONE_SEEN_MS, fresh, loop_now_ms() + STEP_MS, err);

	buf_clear(payload);
	return rc;
}

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
	rc = push_once(q, integration, id, &payload, &fresh, err);
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
	struct queue *of; /* whose lane was looked at last, and what it takes */
	int64_t room;
	struct err *err;
};

/* Nobody has pushed it: it waits while its lane is at its bound (Q13). */
static int look_room(struct lost *l, struct queue *q)
{
	int64_t waiting = 0;
	int rc = 0;

	if (l->of != q)
		rc = queue_waiting(l->s->redis, queue_partner(q), LANE_NORMAL, &waiting,
				   loop_now_ms() + STEP_MS, l->err);
	if (rc < 0)
		return rc;
	if (l->of != q)
		l->room = l->s->lane_bound - waiting;
	l->of = q;
	return l->room > 0 ? 0
			   : err_set(l->err, -EAGAIN, ERR_HOLD, "lane bound",
				     "the lane of %s is at its bound", queue_partner(q));
}

/* Of many runs of an integration that were lost one import is enough, and of each one is queued once. */
static int task_anew(struct lost *l, struct queue *q, int64_t integration, const char *task,
		     const char *second)
{
	struct buf payload = BUF_INIT;
	char id[JOB_ID_MAX], unique[64];
	cJSON *args;
	bool fresh = false;
	int rc;

	snprintf(id, sizeof(id), JOB_CLOCK "lost-%lld-%lld%s", (long long)integration,
		 (long long)l->run, second);
	snprintf(unique, sizeof(unique), "lost-%lld%s", (long long)integration, second);
	args = cJSON_CreateObject();
	cJSON_AddStringToObject(args, "mode", "full");
	cJSON_AddStringToObject(args, CHILDREN_ARG, "all");
	job_print(&payload, task, integration, args, 0, NULL);
	job_print_keys(&payload, unique, false, NULL);
	cJSON_Delete(args);
	rc = push_once(q, integration, id, &payload, &fresh, l->err);
	l->room -= fresh;
	if (rc == 0 && fresh)
		log_event(LOG_WARN, "lost_import_queued", LI("run", l->run),
			  LI("integration", integration), LS("partner", queue_partner(q)),
			  LS("task", task), LS("job", id));
	return rc;
}

static int import_anew(int64_t integration, const char *partner, void *arg)
{
	struct lost *l = arg;
	struct queue *q = scheduler_queue(l->s, partner);
	const struct driver *d = driver_find(l->s->drivers, partner);
	const char *tasks[PLAN_TASKS_MAX];
	int n = q && d ? plan_tasks(d->manifest, tasks) : 0, rc = 0;

	for (int i = 0; i < n && rc == 0; i++) {
		rc = look_room(l, q);
		if (rc == 0)
			rc = task_anew(l, q, integration, tasks[i], i ? "-2" : "");
	}
	return rc;
}

static int judge(struct scheduler *s, const struct idle_run *r, struct err *err)
{
	struct lost lost = { .s = s, .run = r->id, .err = err };
	struct run_open o = { 0 };
	bool was_open = false;
	int rc = queue_run_look(r->q, r->id, &o, loop_now_ms() + STEP_MS, err);

	if (rc < 0 || o.known)
		return rc;
	rc = run_imports_each(s->pg, r->id, import_anew, &lost, err);
	if (rc == -EAGAIN) { /* it is looked at again when it has been idle as long once more */
		log_event(LOG_INFO, "lost_import_waits", LI("run", r->id), LS("reason", err->text));
		return run_touch(s->pg, r->id, err);
	}
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
