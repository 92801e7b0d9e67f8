#include "common/io/co.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/clock.h"
#include "common/base/mem.h"
#include "common/io/co_stack.h"
#include "common/io/co_switch.h"
#include "common/io/loop.h"

#define LIVE_MAX 16000
/* Finished coroutines kept for the next ones: about 9 KiB each. */
#define POOL_MAX 2048
#define SLICE 32 /* coroutines resumed before other deferred work has its turn */

struct co {
	struct co_context context; /* where it stands while it does not run */
	struct co *next;           /* in the ready list, or in the pool */
	struct co *live_prev, *live_next;
	struct loop_timer *timer;
	int64_t timer_ms; /* what timer is set to: at the end of the wait, or earlier */
	char *stack;
	void *fake_stack; /* AddressSanitizer's */
	unsigned valgrind_id;
	char name[40]; /* a copy: the given one may die inside fn, and the loop asks afterwards */
	void (*fn)(void *arg);
	void *arg, *data;
	const char *why; /* "" while it does not wait */
	int64_t since_ms, until_ms, deadline_ms;
	bool queued;  /* in the ready list */
	bool waiting; /* inside co_wait or co_yield */
	bool woken, cancelled, finished;
};

static void switch_unseen(void *data, const char *why)
{
}

static struct {
	struct co *current;
	struct co *ready, **ready_tail;
	bool draining; /* drain() is deferred already */
	struct co *live, *pool;
	int n_live, n_pool, max_live;
	bool closes; /* loop_close will empty the pool */
	struct co_context loop_context;
	void *loop_fake;
	const void *loop_stack;
	size_t loop_stack_bytes;
	void (*on_switch)(void *data, const char *why);
} all = { .ready_tail = &all.ready, .max_live = LIVE_MAX, .on_switch = switch_unseen };

/* The only two places that change stacks. */
static void enter(struct co *co)
{
	all.current = co;
	all.on_switch(co->data, co->why);
	co_switch_begin(&all.loop_fake, co->stack, CO_STACK_BYTES);
	co_context_switch(&all.loop_context, &co->context);
	co_switch_end(all.loop_fake, NULL, NULL);
	all.on_switch(NULL, "");
	all.current = NULL;
}

static void leave(struct co *co)
{
	co_switch_begin(co->finished ? NULL : &co->fake_stack, all.loop_stack,
			all.loop_stack_bytes);
	co_context_switch(&co->context, &all.loop_context);
	co_switch_end(co->fake_stack, &all.loop_stack, &all.loop_stack_bytes);
}

static void first_frame(void)
{
	struct co *co = all.current;

	co_switch_end(NULL, &all.loop_stack, &all.loop_stack_bytes);
	co->fn(co->arg);
	co->finished = true;
	leave(co);
	abort(); /* the context is made anew before the stack is used again */
}

static void destroy(struct co *co)
{
	co_stack_unmap(co->stack, co->valgrind_id);
	loop_timer_free(co->timer);
	free(co);
}

static void empty_pool(void *arg)
{
	while (all.pool) {
		struct co *co = all.pool;

		all.pool = co->next;
		destroy(co);
	}
	all.n_pool = 0;
	all.closes = all.draining = false;
}

static void release(struct co *co)
{
	if (co->live_prev)
		co->live_prev->live_next = co->live_next;
	else
		all.live = co->live_next;
	if (co->live_next)
		co->live_next->live_prev = co->live_prev;
	all.n_live--;
	loop_timer_stop(co->timer);
	co_stack_end(co->stack);
	if (all.n_pool >= POOL_MAX) {
		destroy(co);
		return;
	}
	co->next = all.pool;
	all.pool = co;
	all.n_pool++;
}

static void drain(void *arg);

/* What is left of a slice goes on in the next round: what was deferred meanwhile (bytes for Redis
 * above all, which can then work while we do) is not kept waiting by a long row. */
static void put_back(struct co *list, struct co **tail)
{
	*tail = all.ready;
	if (!all.ready)
		all.ready_tail = tail;
	all.ready = list;
	if (!all.draining) {
		all.draining = true;
		loop_defer(drain, NULL);
	}
}

/* Resumes what was ready when it began; what becomes ready meanwhile has its turn in the next
 * round. */
static void drain(void *arg)
{
	struct co *list = all.ready, **tail = all.ready_tail;

	all.ready = NULL;
	all.ready_tail = &all.ready;
	all.draining = false;
	for (int left = SLICE; list && left > 0; left--) {
		struct co *co = list;

		list = co->next;
		co->queued = false;
		enter(co);
		loop_ran(co->name);
		if (co->finished)
			release(co);
	}
	if (list)
		put_back(list, tail);
}

static void make_ready(struct co *co)
{
	if (co->queued)
		return;
	co->queued = true;
	co->next = NULL;
	*all.ready_tail = co;
	all.ready_tail = &co->next;
	if (!all.draining) {
		all.draining = true;
		loop_defer(drain, NULL);
	}
}

static int64_t wait_end_ms(const struct co *co)
{
	return co->until_ms < co->deadline_ms ? co->until_ms : co->deadline_ms;
}

/* Lazily: most waits end by a wake, and the next one ends later, so the timer is mostly left as
 * it is. */
static void arm(struct co *co)
{
	int64_t end_ms = wait_end_ms(co);

	if (end_ms >= co->timer_ms)
		return;
	co->timer_ms = end_ms;
	loop_timer_at(co->timer, end_ms);
}

static void on_timer(void *arg)
{
	struct co *co = arg;

	co->timer_ms = CO_NO_DEADLINE;
	if (!co->waiting || co->queued)
		return;
	if (loop_now_ms() >= wait_end_ms(co))
		make_ready(co);
	else
		arm(co);
}

static struct co *create(void)
{
	struct co *co = all.pool;
	unsigned valgrind_id = 0;
	char *stack;

	if (co) {
		all.pool = co->next;
		all.n_pool--;
		return co;
	}
	stack = co_stack_map(&valgrind_id);
	if (!stack)
		return NULL;
	co = mem_new(struct co);
	co->stack = stack;
	co->valgrind_id = valgrind_id;
	co->timer = loop_timer_new(on_timer, co);
	if (!all.closes) {
		all.closes = true;
		loop_at_close(empty_pool, NULL);
	}
	return co;
}

static void reset(struct co *co)
{
	co->timer_ms = co->deadline_ms = co->until_ms = CO_NO_DEADLINE;
	co->why = "";
	co->data = NULL;
	co->queued = co->waiting = co->woken = co->cancelled = co->finished = false;
	co->since_ms = loop_now_ms();
	co_stack_begin(co->stack);
	co_context_make(&co->context, co->stack, CO_STACK_BYTES, first_frame);
}

struct co *co_spawn(const char *name, void (*fn)(void *arg), void *arg)
{
	struct co *co = all.n_live < all.max_live ? create() : NULL;

	if (!co)
		return NULL;
	reset(co);
	strncpy(co->name, name, sizeof(co->name) - 1);
	co->fn = fn;
	co->arg = arg;
	co->live_prev = NULL;
	co->live_next = all.live;
	if (all.live)
		all.live->live_prev = co;
	all.live = co;
	all.n_live++;
	make_ready(co);
	return co;
}

struct co *co_self(void)
{
	return all.current;
}

const char *co_name(const struct co *co)
{
	return co->name;
}

/* Waits. */
static void suspend(struct co *co, const char *why)
{
	co->why = why;
	co->since_ms = loop_now_ms();
	co->waiting = true;
	leave(co);
	co->waiting = false;
	co->why = "";
}

int co_wait(const char *why, int64_t deadline_ms)
{
	struct co *co = all.current;

	assert(co); /* the loop's own stack can't wait */
	if (co->cancelled)
		return -ECANCELED;
	co->until_ms = deadline_ms;
	if (wait_end_ms(co) <= loop_now_ms())
		return -ETIMEDOUT;
	co->woken = false;
	arm(co);
	suspend(co, why);
	if (co->cancelled)
		return -ECANCELED;
	return co->woken ? 0 : -ETIMEDOUT;
}

void co_wait_through(const char *why)
{
	struct co *co = all.current;

	assert(co);
	co->until_ms = CO_NO_DEADLINE;
	co->woken = false;
	suspend(co, why);
}

void co_wake(struct co *co)
{
	if (!co->waiting)
		return;
	co->woken =
		true; /* also when its time ran out in this very turn: a result beats a timeout */
	make_ready(co);
}

void co_cancel(struct co *co)
{
	co->cancelled = true;
	if (co->waiting)
		make_ready(co);
}

bool co_is_cancelled(void)
{
	return all.current && all.current->cancelled;
}

int co_sleep(const char *why, int64_t ms)
{
	int64_t end_ms =
		clock_mono_ms() + ms; /* the loop's clock may lag behind what ran until here */
	int rc = co_is_cancelled() ? -ECANCELED : 0;

	while (rc == 0 && loop_now_ms() < end_ms)
		rc = co_wait(why, end_ms);
	if (rc == -ETIMEDOUT && loop_now_ms() >= end_ms)
		return 0;
	return rc;
}

int co_yield (void)
{
	struct co *co = all.current;

	assert(co);
	if (co->cancelled)
		return -ECANCELED;
	co->until_ms = CO_NO_DEADLINE;
	make_ready(co);
	suspend(co, "yield");
	return co->cancelled ? -ECANCELED : 0;
}

void co_set_deadline(struct co *co, int64_t deadline_ms)
{
	co->deadline_ms = deadline_ms;
	if (co->waiting && !co->queued)
		arm(co);
}

int64_t co_deadline(const struct co *co)
{
	return co->deadline_ms;
}

void co_set_data(struct co *co, void *data)
{
	co->data = data;
}

void *co_data(const struct co *co)
{
	return co->data;
}

void co_on_switch(void (*fn)(void *data, const char *why))
{
	all.on_switch = fn ? fn : switch_unseen;
}

void co_each(void (*fn)(const char *name, const char *why, int64_t waiting_ms, void *data,
			void *arg),
	     void *arg)
{
	int64_t now_ms = loop_now_ms();

	for (struct co *co = all.live, *next; co; co = next) {
		next = co->live_next;
		fn(co->name, co->why, co->waiting ? now_ms - co->since_ms : 0, co->data, arg);
	}
}

int co_count(void)
{
	return all.n_live;
}

void co_set_limit(int max_live)
{
	all.max_live = max_live;
}
