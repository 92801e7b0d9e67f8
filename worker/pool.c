#include "worker/pool.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/log.h"
#include "common/base/mem.h"
#include "common/base/metrics.h"
#include "common/io/co.h"
#include "common/io/loop.h"
#include "common/queue/doorbell.h"
#include "drivers/kit/control.h"
#include "worker/run.h"
#include "worker/settle.h"

#define CLAIM_MAX 200 /* more a claim buys nothing (spike section 8) and holds Redis longer */
#define CLAIM_TIMEOUT_MS 10000
#define ERROR_PAUSE_MS 500
#define HANDFUL_MS 20   /* so long a few free slots wait for more */
#define SETTLE_MS 10000 /* a stopping process waits so long for its last settlements */

/* One queue's claimer: a coroutine that sleeps until the doorbell rang and slots are free. */
struct claimer {
	struct queue *queue;
	struct co *co;
	bool rung;        /* may have work */
	bool wants_slots; /* rung, and waits for slots */
	bool reconcile;
	int used;    /* slots its jobs hold */
	int claimed; /* all in all, where there is a bound */
};

struct slot { /* a running attempt */
	struct attempt a;
	struct claimer *claimer;
	struct co *co;
	struct slot *next, **back;
};

static struct {
	struct pool_options o;
	struct claimer *claimers;
	struct doorbell *doorbell;
	struct slot *running;
	int n_running, next_turn;
	int n_asked; /* slots that claims under way may fill */
	struct loop_timer *handful;
	bool take_few; /* HANDFUL_MS are over */
	bool stopping, over;
	int64_t touched_ms;
	struct metric *in_flight;
} pool;

bool pool_is_stopping(void)
{
	return pool.stopping;
}

int pool_running(void)
{
	return pool.n_running;
}

void pool_note_touch(void)
{
	pool.touched_ms = loop_now_ms();
}

bool pool_in_touch(void)
{
	return loop_now_ms() - pool.touched_ms < QUEUE_HEARTBEAT_MS;
}

/* ---- slots ---- */
static bool others_wait(const struct claimer *c)
{
	for (int i = 0; i < pool.o.n_queues; i++)
		if (&pool.claimers[i] != c && pool.claimers[i].wants_slots)
			return true;
	return false;
}

static int free_slots_now(void)
{
	return pool.o.concurrency - pool.n_running - pool.n_asked;
}

/* How many jobs this claimer may ask for now. */
static int share(const struct claimer *c)
{
	int free_slots = free_slots_now();
	int most = others_wait(c) ? (pool.o.concurrency + 1) / 2 - c->used : free_slots;
	int want = most < free_slots ? most : free_slots;

	if (pool.o.jobs && want > pool.o.jobs - c->claimed)
		want = pool.o.jobs - c->claimed;
	return want < CLAIM_MAX ? want : CLAIM_MAX;
}

static bool is_spent(const struct claimer *c)
{
	return pool.o.jobs && c->claimed >= pool.o.jobs;
}

/* With a bound: nothing runs, and nothing more is to be claimed. */
static void end_when_over(void)
{
	bool over = pool.o.jobs && !pool.over && !pool.stopping && !pool.n_running && !pool.n_asked;

	for (int i = 0; i < pool.o.n_queues && over; i++)
		over = is_spent(&pool.claimers[i]) || !pool.claimers[i].rung;
	if (!over)
		return;
	pool.over = true;
	pool.o.on_over();
}

/* Claiming a handful at a time wastes scripts: wait until a quarter of the slots, or 100, are free; but not for
 * long, since those that are not may run for minutes. */
static bool enough_free(void)
{
	int quarter = pool.o.concurrency / 4;

	return pool.take_few ||
	       free_slots_now() >= (quarter < 100 ? (quarter > 1 ? quarter : 1) : 100);
}

static void offer_slots(void)
{
	if (pool.stopping)
		return;
	if (!enough_free()) {
		if (free_slots_now() > 0 && !loop_timer_pending(pool.handful))
			loop_timer_set(pool.handful, HANDFUL_MS);
		return;
	}
	for (int i = 0; i < pool.o.n_queues; i++) {
		struct claimer *c = &pool.claimers[(pool.next_turn + i) % pool.o.n_queues];

		if (!c->wants_slots || share(c) <= 0)
			continue;
		pool.next_turn = (int)(c - pool.claimers + 1) % pool.o.n_queues;
		co_wake(c->co);
		return;
	}
}

static void on_handful(void *arg)
{
	pool.take_few = true;
	offer_slots();
}

static void slot_end(struct slot *sl)
{
	*sl->back = sl->next;
	if (sl->next)
		sl->next->back = sl->back;
	sl->claimer->used--;
	pool.n_running--;
	metric_set(pool.in_flight, pool.n_running);
	free(sl);
	offer_slots();
	end_when_over();
}

static void slot_run(void *arg)
{
	struct slot *sl = arg;

	run_attempt(&sl->a);
	slot_end(sl);
}

static void give_back(struct lease *l)
{
	struct queue *q = l->queue;

	queue_settle(q, settlement_new(l, SETTLE_AGAIN), NULL, NULL);
}

/* No coroutine to be had is "no free slot": the job goes back unharmed. */
static bool slot_start(struct claimer *c, struct lease *l)
{
	struct slot *sl = mem_new(struct slot);

	sl->claimer = c;
	sl->a.worker = pool.o.worker;
	sl->co = pool.stopping ? NULL : co_spawn("job", slot_run, sl);
	if (!sl->co) {
		free(sl);
		give_back(l);
		return false;
	}
	sl->a.lease = *l;
	oncpu_init(&sl->a.oncpu, (int)(c - pool.claimers), sl->a.lease.id);
	co_set_data(sl->co, &sl->a);
	sl->next = pool.running;
	sl->back = &pool.running;
	if (sl->next)
		sl->next->back = &sl->next;
	pool.running = sl;
	c->used++;
	pool.n_running++;
	return true;
}

/* ---- claiming ---- */
static void restore_control(struct claimer *c)
{
	const char *p = queue_partner(c->queue);
	struct err err = { 0 };

	if (control_mirror(pool.o.worker->redis, pool.o.worker->pg,
			   driver_find(pool.o.worker->drivers, p), p, true,
			   loop_now_ms() + CLAIM_TIMEOUT_MS, &err) == 0)
		return;
	log_event(LOG_WARN, "control_not_restored", LS("partner", p), LS("reason", err.text));
	if (co_sleep("control", ERROR_PAUSE_MS) < 0)
		return;
}

/* Returns whether each job got its slot. */
static bool take(struct claimer *c, struct claim_result *r)
{
	bool short_of_slots = false;

	c->claimed += pool.o.jobs ? r->n : 0;
	for (int i = 0; i < r->n; i++)
		if (!slot_start(c, &r->leases[i]))
			short_of_slots = true;
	free(r->leases);
	metric_set(pool.in_flight, pool.n_running);
	if (short_of_slots && !pool.stopping)
		log_event(LOG_WARN, "no_free_slot", LS("partner", queue_partner(c->queue)),
			  LI("running", pool.n_running));
	return !short_of_slots;
}

/* Waits.  The slots were set aside for it: others ask meanwhile. */
static int ask(struct claimer *c, int want, struct claim_result *out)
{
	int64_t dl = loop_now_ms() + CLAIM_TIMEOUT_MS;
	struct err err = { 0 };
	int rc = 0;

	if (c->reconcile) {
		c->reconcile = false; /* Redis may come back once more meanwhile */
		rc = queue_reconcile(c->queue, dl, &err);
		c->reconcile = c->reconcile || rc < 0;
	}
	if (rc == 0)
		rc = queue_claim(c->queue, want, out, dl, &err);
	if (rc < 0 && redis_is_up(pool.o.worker->redis) && !pool.stopping)
		log_event(LOG_WARN, "claim_failed", LS("partner", queue_partner(c->queue)),
			  LS("reason", err.text));
	return rc;
}

static int claim(struct claimer *c)
{
	struct claim_result r = { 0 };
	int want = share(c), rc;

	pool.take_few = false;
	pool.n_asked += want;
	rc = ask(c, want, &r);
	pool.n_asked -= want;
	if (rc < 0)
		return rc;
	pool_note_touch();
	if (!take(c, &r) && !pool.stopping)
		return -EAGAIN;
	if (r.no_control) {
		restore_control(c);
	} else if (!r.more && !pool.stopping) {
		c->rung = false;
		doorbell_arm(pool.doorbell, c->queue, r.at_partner_cap);
	}
	return 0;
}

static void claimer_run(void *arg)
{
	struct claimer *c = arg;

	while (!pool.stopping) {
		c->wants_slots = c->rung && !is_spent(c) && redis_is_up(pool.o.worker->redis);
		if (!c->wants_slots || !enough_free() || share(c) <= 0) {
			offer_slots();
			end_when_over();
			if (co_wait("work", CO_NO_DEADLINE) == -ECANCELED)
				break;
			continue;
		}
		if (claim(c) < 0 && co_sleep("redis", ERROR_PAUSE_MS) == -ECANCELED)
			break;
	}
	c->wants_slots = false;
	c->co = NULL;
}

static struct claimer *claimer_of(const struct queue *q)
{
	for (int i = 0; i < pool.o.n_queues; i++)
		if (pool.claimers[i].queue == q)
			return &pool.claimers[i];
	return NULL;
}

static void ring(struct claimer *c)
{
	c->rung = true;
	if (c->co)
		co_wake(c->co);
}

static void on_bell(struct queue *q, void *arg)
{
	struct claimer *c = claimer_of(q);

	if (c)
		ring(c);
}

void pool_on_redis_up(void)
{
	for (int i = 0; i < pool.o.n_queues && pool.claimers; i++) {
		pool.claimers[i].reconcile = true;
		ring(&pool.claimers[i]);
	}
}

void pool_beat(void)
{
	for (int i = 0; i < pool.o.n_queues; i++)
		queue_beat(pool.o.queues[i]);
}

/* ---- log context: what runs now ---- */
static const struct log_kv *log_context(void)
{
	static struct log_kv kv[6];
	struct co *co = co_self();
	const struct attempt *a = co ? co_data(co) : NULL;

	if (!a || !a->job_id[0])
		return NULL;
	kv[0] = (struct log_kv)LS("job", a->job_id);
	kv[1] = (struct log_kv)LS("partner", a->partner);
	kv[2] = (struct log_kv)LS("task", a->job.task);
	kv[3] = (struct log_kv)LI("integration", attempt_integration(a));
	if (!attempt_integration(a))
		kv[3].type = LOG_KV_END;
	kv[4].type = LOG_KV_END;
	return kv;
}

int pool_start(const struct pool_options *o)
{
	pool.o = *o;
	pool.in_flight =
		metrics_gauge("longshore_worker_jobs_in_flight", "Jobs this worker runs.", NULL);
	pool.claimers = mem_zalloc(o->n_queues * sizeof(*pool.claimers));
	pool.handful = loop_timer_new(on_handful, NULL);
	pool.doorbell =
		doorbell_new(o->worker->redis, o->redis_url, o->queues, o->n_queues, on_bell, NULL);
	log_set_context(log_context);
	pool_note_touch();
	for (int i = 0; i < o->n_queues; i++) {
		struct claimer *c = &pool.claimers[i];

		c->queue = o->queues[i];
		c->rung = true;
		c->co = co_spawn("claimer", claimer_run, c);
		if (!c->co)
			return -ENOMEM;
	}
	return 0;
}

/* ---- stopping ---- */
static int unsettled(void)
{
	int n = 0;

	for (int i = 0; i < pool.o.n_queues; i++)
		n += queue_unsettled(pool.o.queues[i]);
	return n;
}

static void wait_until_zero(int (*count)(void), int64_t end_ms)
{
	while (count() > 0 && loop_now_ms() < end_ms)
		if (co_sleep("stopping", 20) < 0)
			return;
}

static int claimers_alive(void)
{
	int n = 0;

	for (int i = 0; i < pool.o.n_queues; i++)
		n += pool.claimers[i].co != NULL;
	return n;
}

void pool_stop(int64_t grace_ms)
{
	if (pool.stopping || !pool.claimers)
		return;
	pool.stopping = true;
	log_event(LOG_INFO, "stopping", LI("running", pool.n_running), LI("grace_ms", grace_ms));
	/* A claim under way is let finish: its jobs are given back, not left to the reaper. */
	for (int i = 0; i < pool.o.n_queues; i++)
		if (pool.claimers[i].co)
			co_wake(pool.claimers[i].co);
	wait_until_zero(pool_running, loop_now_ms() + grace_ms);
	if (pool.n_running)
		log_event(LOG_WARN, "jobs_cancelled", LI("running", pool.n_running));
	for (struct slot *sl = pool.running; sl; sl = sl->next)
		co_cancel(sl->co);
	wait_until_zero(pool_running, loop_now_ms() + SETTLE_MS);
	wait_until_zero(claimers_alive, loop_now_ms() + SETTLE_MS);
	wait_until_zero(unsettled, loop_now_ms() + SETTLE_MS);
	if (unsettled())
		log_event(
			LOG_WARN, "settlements_unanswered", LI("jobs", unsettled()),
			LS("reason",
			   "Redis did not answer: the jobs run again after the heartbeat has lapsed"));
	doorbell_free(pool.doorbell);
	pool.doorbell = NULL;
	loop_timer_free(pool.handful);
	pool.handful = NULL;
}
