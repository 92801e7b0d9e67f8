/* Stackful coroutines on the loop (256 KiB stack and a guard page, pooled).
 *
 * Rules (README.md has the reasons).  Library callbacks only store a result and co_wake; the loop
 * resumes.  Every wait is `while (!done && rc == 0) rc = co_wait(...)`: wakes may be spurious.
 * Deadlines are absolute (loop_now_ms). Cancellation is an error: once co_cancel was called,
 * every wait, also later ones, returns -ECANCELED at once, so cleanup must not need to wait.  A
 * suspended stack is never freed: the function always returns. Shared state read before a wait
 * is stale after it.  errno does not survive a wait. */
#ifndef COMMON_IO_CO_H
#define COMMON_IO_CO_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct co;

#define CO_NO_DEADLINE INT64_MAX

/* Starts soon (from the loop).  `name` is borrowed for the coroutine's life.  NULL when no stack
 * can be had ("no free slot", not an abort). */
struct co *co_spawn(const char *name, void (*fn)(void *arg), void *arg)
	__attribute__((warn_unused_result));
struct co *co_self(void); /* NULL on the loop's own stack */
const char *co_name(const struct co *co);

/* Waits.  0 woken | -ETIMEDOUT (this deadline, or the coroutine's own) | -ECANCELED. `why` is a
 * constant that USR1 prints: "http", "permit", "rows" … */
int co_wait(const char *why, int64_t deadline_ms) __attribute__((warn_unused_result));
void co_wake(struct co *co); /* queues it; harmless if it does not wait */
void co_cancel(struct co *co);
bool co_is_cancelled(void); /* of co_self; false on the loop */
/* Waits. 0 slept to the end | -ETIMEDOUT (own deadline came first) | -ECANCELED */
int co_sleep(const char *why, int64_t ms);
int co_yield (void); /* waits: lets others run; 0 | -ECANCELED */

/* The coroutine's own deadline: an upper bound of every wait in it.  Can be moved while it runs
 * (time spent waiting for permits does not count against a job). */
void co_set_deadline(struct co *co, int64_t deadline_ms);
int64_t co_deadline(const struct co *co);

/* One pointer for whoever spawned it (the worker hangs the attempt here, for log context). */
void co_set_data(struct co *co, void *data);
void *co_data(const struct co *co);

/* For who must know what is on the CPU even when this process has died: fn(data, why) before a coroutine is resumed (its
 * data, what it waited for; "" at its start), fn(NULL, "") after.  On the way of every switch: it copies, nothing else.  NULL: nobody looks. */
void co_on_switch(void (*fn)(void *data, const char *why));

/* For USR1: calls fn for each live coroutine. */
void co_each(void (*fn)(const char *name, const char *why, int64_t waiting_ms, void *data,
			void *arg),
	     void *arg);
int co_count(void);
void co_set_limit(int max_live); /* default 16,000: two mappings each, vm.max_map_count is 65,530 */

/* Waits until it is woken, also when it is cancelled or its deadline has passed: only for who waits for the end of what it
 * has cancelled itself.  Wakes may be spurious. */
void co_wait_through(const char *why);

/* One result that one coroutine waits for.  Lives wherever both sides can reach it; if the
 * waiter may be cancelled and the other side cannot be recalled, it must be on the heap
 * and is freed by the late answer. */
struct completion {
	struct co *waiter;
	bool done;
};
int completion_wait(struct completion *c, const char *why, int64_t deadline_ms)
	__attribute__((warn_unused_result)); /* waits; 0 = done */
void completion_done(struct completion *c);  /* from a callback; wakes the waiter */

/* Coroutines that work for the one that spawns them, and may use what is on its stack: it does not go on before the last of
 * them has ended.  Members have its data, and its deadline as it is when they are spawned. */
struct crew;
struct crew_member {
	struct crew *crew;
	struct co *co; /* NULL: it has ended */
	void (*fn)(void *arg);
	void *arg;
};
struct crew {
	struct co *owner;
	struct crew_member *members; /* the owner's memory */
	int n, alive;
};
void crew_init(struct crew *c, struct crew_member *members); /* of co_self */
/* false: no coroutine is to be had. */
bool crew_spawn(struct crew *c, const char *name, void (*fn)(void *arg), void *arg, void *data)
	__attribute__((warn_unused_result));
/* Waits until all have ended.  Where the owner is cancelled so are they, and it waits for them all the same: each wait of theirs
 * returns at once. */
void crew_join(struct crew *c, const char *why);

/* A counted gate: at most n inside, others wait in order. */
struct gate {
	int free;
	struct gate_waiter *head, **tail;
};
void gate_init(struct gate *g, int n);
int gate_enter(struct gate *g, const char *why, int64_t deadline_ms)
	__attribute__((warn_unused_result)); /* waits */
void gate_leave(struct gate *g);

#endif
