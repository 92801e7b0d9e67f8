/* import_all_resources -> import_company_resources -> import_resources: who is due.  Companies
 * fail independently, since each is a job.
 *
 * A fan-out goes through ids in order and keeps in its job's header how far it has got, written by the very script
 * that queues the children: whoever dies between two settlements, each child is queued once.  It pauses where a
 * lane is at its bound (Q13), and never gives one settlement more than SLICE children. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/mem.h"
#include "common/io/loop.h"
#include "common/store/store.h"
#include "drivers/kit/plan.h"
#include "worker/room.h"
#include "worker/settle.h"
#include "worker/memory.h"
#include "worker/outcome.h"
#include "worker/sink.h"
#include "worker/tasks/owed.h"
#include "worker/tasks/tasks.h"

#define SLICE 500 /* children of one settlement: its script holds Redis for about 2 ms */

static int write_run(struct attempt *a, const char *state, int64_t children)
{
	int64_t now = redis_now_ms(a->worker->redis);
	bool done = !strcmp(state, "done");
	struct run r = { .id = a->run_id,
			 .root_id = a->job.run_id,
			 .task = a->job.task,
			 .job_id = a->job_id,
			 .worker = a->worker->epoch,
			 .state = state,
			 .started_ms = attempt_began_ms(a),
			 .finished_ms = done ? now : 0,
			 .total = done ? children : -1,
			 .processed = children,
			 .worker_peak_bytes = memory_resident() };

	if (outcome_is_wanted(a)) {
		buf_reset(&a->result);
		buf_printf(&a->result, "{\"run\":%lld,\"children\":%lld}", (long long)a->run_id,
			   (long long)children);
	}
	return sink_run(a->worker->sink, &r, attempt_deadline_ms(a), &a->err);
}

static int64_t root_of(const struct attempt *a)
{
	return a->job.run_id ? a->job.run_id : a->run_id;
}

static int end(struct attempt *a, bool more, bool full, int64_t step, int64_t queued)
{
	int rc = write_run(a, more ? "running" : "done", a->fanned + queued);

	if (rc < 0)
		return rc;
	a->next_step = step;
	a->next_fanned = a->fanned + queued;
	if (more && full)
		attempt_put_off(a, room_pause_ms(queued > 0));
	else if (more)
		attempt_continue(a);
	return 0;
}

/* How many of a slice a lane takes. */
static int share_of(int64_t room)
{
	return room <= 0 ? 0 : room < SLICE ? (int)room : SLICE;
}

/* ---- import_all_resources ---- */
static void add_company(struct attempt *a, int64_t company, const char *mode)
{
	cJSON *args = cJSON_CreateObject();

	cJSON_AddNumberToObject(args, "company_id", (double)company);
	cJSON_AddStringToObject(args, "mode", mode);
	attempt_child(a, NULL, LANE_NORMAL, "import_company_resources", 0, args, root_of(a));
	cJSON_Delete(args);
}

int task_import_all(struct attempt *a)
{
	int64_t *ids = NULL, room = 0, step = a->step;
	const char *mode;
	int n = 0, take, rc = task_mode(a, &mode);

	if (rc == 0)
		rc = task_run(a);
	if (rc == 0 && step == 0)
		rc = owed_broken(a);
	if (rc == 0)
		rc = room_in(a, LONGSHORE_PARTNER, LANE_NORMAL, &room);
	take = share_of(room);
	if (rc == 0) /* one more than is taken, to know whether there are more */
		rc = companies_due(a->worker->pg, step, take + 1, &ids, &n, &a->err);
	if (rc < 0)
		return rc;
	bool more = n > take;
	n = more ? take : n;
	for (int i = 0; i < n; i++)
		add_company(a, step = ids[i], mode);
	free(ids);
	room_take(LONGSHORE_PARTNER, LANE_NORMAL, n);
	return end(a, more, take < SLICE, step, n);
}

/* ---- import_company_resources ---- */
struct due {
	int64_t id;
	char *partner; /* in the attempt's arena */
};

/* Of one partner's integrations in this slice. */
struct fan {
	const char *partner;
	const char *tasks
		[PLAN_TASKS_MAX]; /* of each; none: things are done there, and nothing is read */
	int n_tasks;
	int64_t room, last; /* the last one that was queued, or looked at by an earlier slice */
	bool postponed;
};

struct company {
	struct attempt *a;
	const char *mode, *only; /* NULL: all partners */
	int64_t id, after, until;
	struct due due[SLICE + 1];
	struct fan *fans;
	struct owed owed;
	int n_due, n_fans, queued;
};

static void add_due(int64_t id, const char *partner, void *arg)
{
	struct company *c = arg;
	struct due *d = &c->due[c->n_due++];

	d->id = id;
	d->partner = arena_strdup(c->a->arena, partner);
}

/* Whoever has its driver knows better what of it stands alone. */
static void find_tasks(const struct attempt *a, struct fan *f)
{
	const struct driver *d = driver_find(a->worker->drivers, f->partner);

	f->tasks[0] = "import_resources";
	f->n_tasks = d ? plan_tasks(d->manifest, f->tasks) : 1;
}

static int fan_of(struct company *c, const char *partner, struct fan **out)
{
	int64_t room = 0;
	int rc;

	for (int i = 0; i < c->n_fans; i++)
		if (!strcmp(c->fans[i].partner, partner)) {
			*out = &c->fans[i];
			return 0;
		}
	rc = room_in(c->a, partner, LANE_NORMAL, &room);
	if (rc < 0)
		return rc;
	c->fans = mem_realloc(c->fans, (size_t)(c->n_fans + 1) * sizeof(*c->fans));
	*out = &c->fans[c->n_fans++];
	**out = (struct fan){ .partner = partner, .room = room, .last = c->after };
	find_tasks(c->a, *out);
	return 0;
}

static void add_integration(struct company *c, const struct due *d, struct fan *f)
{
	cJSON *args = cJSON_CreateObject();

	cJSON_AddStringToObject(args, "mode", c->mode);
	for (int i = 0; i < f->n_tasks; i++)
		attempt_child(c->a, d->partner, LANE_NORMAL, f->tasks[i], d->id, args,
			      root_of(c->a));
	cJSON_Delete(args);
	room_take(d->partner, LANE_NORMAL, f->n_tasks);
	f->room -= f->n_tasks;
	c->queued += f->n_tasks;
}

/* The rest of one partner's integrations in this slice is another job: a partner whose lane is full holds up no other. */
static void add_rest(struct company *c, const struct fan *f)
{
	struct attempt *a = c->a;
	cJSON *args = cJSON_CreateObject();

	cJSON_AddNumberToObject(args, "company_id", (double)c->id);
	cJSON_AddStringToObject(args, "mode", c->mode);
	cJSON_AddStringToObject(args, "partner", f->partner);
	cJSON_AddNumberToObject(args, "after", (double)f->last);
	cJSON_AddNumberToObject(args, "until", (double)c->until);
	attempt_child(a, NULL, LANE_NORMAL, "import_company_resources", 0, args, root_of(a));
	a->children[a->n_children - 1].push.run_at_ms =
		redis_now_ms(a->worker->redis) + room_pause_ms(false);
	cJSON_Delete(args);
}

/* n of the slice, as far as each one's lane has room; *stopped: the first that has none, of an only partner. */
static int queue_slice(struct company *c, int n, int *stopped)
{
	struct fan *f = NULL;
	int rc;

	*stopped = n;
	for (int i = 0; i < n; i++) {
		rc = fan_of(c, c->due[i].partner, &f);
		if (rc < 0)
			return rc;
		if (!f->n_tasks) {
			f->last = c->due[i].id;
			continue;
		}
		f->postponed = f->postponed || f->room <= 0;
		if (f->postponed && c->only) {
			*stopped = i;
			return 0;
		}
		if (f->postponed)
			continue;
		rc = owed_check(c->a, &c->owed, c->due[i].id, c->due[i].partner);
		if (rc < 0)
			return rc;
		f->last = c->due[i].id;
		if (rc > 0)
			continue;
		add_integration(c, &c->due[i], f);
	}
	return 0;
}

static int fan_out(struct company *c)
{
	int n = c->n_due < SLICE ? c->n_due : SLICE, stopped, rc = 0;
	bool more = c->n_due > SLICE;

	/* Before lanes are looked at: what waits between that and taking their room would let others in. */
	for (int i = 0; i < n && rc == 0; i++)
		rc = owed_look(c->a, &c->owed, c->due[i].partner);
	if (rc < 0)
		return rc;
	if (more)
		c->until = c->due[SLICE - 1].id;
	rc = queue_slice(c, n, &stopped);
	if (rc == 0)
		rc = owed_write(c->a, &c->owed);
	if (rc < 0)
		return rc;
	if (stopped < n)
		return end(c->a, true, true, stopped ? c->due[stopped - 1].id : c->after,
			   c->queued);
	for (int i = 0; i < c->n_fans; i++)
		if (c->fans[i].postponed)
			add_rest(c, &c->fans[i]);
	return end(c->a, more, false, n ? c->due[n - 1].id : c->after, c->queued);
}

/* A number that Longshore itself wrote; fallback where it is not there. */
static int64_t arg_of(const struct attempt *a, const char *name, int64_t fallback)
{
	int64_t n;

	return json_int(a->job.args, name, &n) ? n : fallback;
}

static int company_fan(struct attempt *a, int64_t id, const char *mode)
{
	struct company *c = mem_new(struct company);
	int rc;

	c->a = a;
	c->id = id;
	c->mode = mode;
	c->only = json_str(a->job.args, "partner");
	c->after = arg_of(a, "after", 0);
	c->until = arg_of(a, "until", INT64_MAX >> 10); /* what a number in JSON can hold */
	if (a->step > c->after)
		c->after = a->step;
	rc = integrations_due(a->worker->pg, id, c->only, c->after, c->until, SLICE + 1, add_due, c,
			      &a->err);
	if (rc == 0)
		rc = fan_out(c);
	owed_clear(&c->owed);
	free(c->fans);
	free(c);
	return rc;
}

int task_import_company(struct attempt *a)
{
	const char *mode;
	int64_t company;
	int rc;

	if (!a->job.args || !json_int(a->job.args, "company_id", &company) || company <= 0)
		return err_set(
			&a->err, -EINVAL, ERR_BAD_JOB, "args.company_id",
			"import_company_resources needs args.company_id: a number; `longshore company list` shows them");
	rc = task_mode(a, &mode);
	if (rc == 0)
		rc = task_run(a);
	return rc == 0 ? company_fan(a, company, mode) : rc;
}
