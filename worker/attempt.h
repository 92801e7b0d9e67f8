/* One attempt at one job: made by the pool for a claimed lease, run in a coroutine of its own, settled when
 * the coroutine has ended.  Everything a task needs hangs here and dies with it.
 *
 * A task returns 0 when the job is done, else a negative errno with a->err filled (class, rule, where, text): it says what
 * happened; worker/settle.c alone decides what follows. */
#ifndef WORKER_ATTEMPT_H
#define WORKER_ATTEMPT_H

#include "common/base/arena.h"
#include "common/queue/keys.h"
#include "worker/oncpu.h"
#include "worker/worker.h"

struct attempt {
	struct worker *worker;
	struct lease lease;
	struct oncpu oncpu;  /* as the supervisor is told while this attempt is on the CPU */
	const char *partner; /* of the queue; borrowed */
	struct job job;
	char job_id[JOB_ID_MAX];     /* the pusher's id, or admit's */
	const struct driver *driver; /* NULL for jobs of no partner */
	const struct integration *
		integration; /* borrowed from the process's cache, held for the attempt; NULL for tasks without */
	struct caller caller;
	struct arena *arena;
	struct budget own_memory,
		*memory; /* what it holds, and may hold at most (Q9); branches share it */
	bool is_branch;  /* a copy, in a coroutine beside that of the attempt (tasks/units.h) */
	int page_size; /* of the page it works on, 0: the partner decides: what smaller is measured by */
	struct err err;
	struct buf
		exchange; /* HTTP exchange for a dead letter, JSON; set by whoever saw the failure */
	int64_t started_ms; /* loop_now_ms */
	struct attempt_child *children;
	int n_children;       /* queued by the settlement */
	bool goes_on;         /* attempt_continue, attempt_put_off */
	int64_t later_ms;     /* goes_on: not before this has passed */
	struct job_keys keys; /* n = 0 for most */
	const char *
		skipped; /* not run at all, as this outcome: duplicate, replaced, stale, superseded */
	bool run_told; /* the run's row was written by an attempt that died before it was settled */
	/* Kept in the job's header from attempt to attempt. */
	int64_t run_id; /* of an import; 0 = none yet */
	int64_t step;   /* how far a task without a checkpoint has got */
	int64_t beyond; /* what is done beyond it: bit n is the n-th from there */
	int small; /* pages of at most so many items, after one that was too large; 0: as the manifest says */
	int64_t fanned; /* children that a fan-out has queued so far */
	/* Of a fan-out: step and fanned once the children it made are queued; only the settlement that queues them writes these. */
	int64_t next_step, next_fanned;
	int64_t called_id; /* the integration that it calls with, where that is not the job's; 0: it is */
	bool auth_refused; /* it met a 401 with a fresh token once */
	bool unclean;      /* a page may be stored without what hangs on it being queued */
	/* Of its run and its outcome (runs.h, outcome.h). */
	bool asks;               /* args.on_done is right */
	bool spawned;            /* it queued children while it ran */
	struct buf result;       /* figures of the task's own, a JSON object; "" = none */
	const struct task *task; /* NULL: none was found */
	const char *label;       /* its name, or the action's as the driver has it; for metrics */
	struct attempt_request *request; /* that it works on (request.h); NULL: none */
	bool card; /* a card number may stand in it: its text is shown masked, and nowhere else */
	/* Waits.  What Postgres is to know of a job that dies beside its letter, before it goes; as outcome_write.  NULL: nothing. */
	int (*on_dead)(struct attempt *a);
};

/* Queues a child with the settlement, all or nothing with it; of an attempt that fails nothing is queued.  args is copied;
 * NULL = none.  partner NULL: this queue's own.  Does not wait. */
void attempt_child(struct attempt *a, const char *partner, enum lane lane, const char *task,
		   int64_t integration_id, const cJSON *args, int64_t run_id);
/* This very job goes on in a new attempt, no retry used: what a task asks for at its soft limit, after storing its place; then it returns 0. */
void attempt_continue(struct attempt *a);
/* As attempt_continue, in ms and with the children made so far: what a fan-out asks for that finds its lane full. */
void attempt_put_off(struct attempt *a, int64_t ms);
/* An earlier attempt at this job may have left a checkpoint. */
bool attempt_ran_before(const struct attempt *a);
/* Running time (without permits waited for) is over the soft limit, or the process is stopping: store your place, attempt_continue, return 0. */
bool attempt_should_yield(const struct attempt *a);
/* Whether the lease may still be believed (the process has not been out of touch with Redis for longer than the heartbeat lives). */
bool attempt_holds_lease(const struct attempt *a);
int64_t attempt_integration(const struct attempt *a); /* that it calls with; 0: none */
int64_t attempt_deadline_ms(const struct attempt *a); /* of the coroutine: for every wait */
/* When it began, on Redis' clock: rather too early than too late (what changed at the partner since then it may have seen), but never
 * before its job was born, by which its run is found again. */
int64_t attempt_began_ms(const struct attempt *a);

/* ---- tasks: one table, worker/tasks/tasks.c ---- */
typedef int (*task_fn)(struct attempt *a);
struct task {
	const char *name;
	task_fn run;
	bool needs_integration; /* a task that calls a partner: refused in queue:{longshore} */
	bool without_partner;   /* only in queue:{longshore} (noop runs in both) */
	bool of_no_company; /* without integration_id it means the partner's integration of no company */
};
/* More tasks, for a program that links some beside the worker's own (tests/system/crash_tasks.c); ends with a name of NULL. */
extern const struct task extra_tasks[] __attribute__((weak));
/* An action of the driver's manifest is a task of that partner's queue; driver NULL: of queue:{longshore}, where a lookup is by kind. */
const struct task *task_known(const struct driver *d, const char *name); /* NULL */
const struct task *task_find(const char *name);                          /* NULL */
const struct task *task_at(int i);                                       /* NULL past the end */

#endif
