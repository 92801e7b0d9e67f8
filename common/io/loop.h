/* The one event loop of the process (libevent).  Everything that waits does so through here; one
 * loop per process, made after the last fork.  Functions here never wait (loop_run apart). */
#ifndef COMMON_IO_LOOP_H
#define COMMON_IO_LOOP_H

#include <event2/event.h>
#include <stdbool.h>
#include <stdint.h>

typedef void (*loop_fn)(void *arg);

/* Before loop_init: what is wanted of a socket is told to the kernel once a turn, and not at all where it was taken back meanwhile.  For a
 * process that serves many connections, and whose children exec at once: of a socket that a fork still holds when it is closed here
 * nothing would be taken back. */
void loop_merge_changes(void);
int loop_init(void) __attribute__((warn_unused_result)); /* ignores SIGPIPE; -errno */
void loop_close(void); /* frees the base; nothing may be pending that is still needed */
int loop_run(void);    /* until loop_stop; 0 */
void loop_stop(void);
struct event_base *loop_base(void);
int64_t loop_now_ms(void); /* monotonic, cached per turn of the loop */

/* Runs fn on the loop's own stack, after what runs now; in order. Cheap (no timer).  What is
 * deferred by what runs now still runs in this turn, unless the turn is long already: then the
 * sockets are looked at first. */
void loop_defer(loop_fn fn, void *arg);
void loop_undefer(loop_fn fn, const void *arg); /* forgets it: for destructors */
void loop_at_close(
	loop_fn fn,
	void *arg); /* loop_close calls it, last one first, while the base still stands */

/* A timer the caller owns.  fn may re-arm or free it. */
struct loop_timer;
struct loop_timer *loop_timer_new(loop_fn fn, void *arg);
void loop_timer_set(struct loop_timer *t, int64_t delay_ms); /* once; replaces what was set */
void loop_timer_at(struct loop_timer *t,
		   int64_t when_ms); /* the same, at loop_now_ms() == when_ms */
void loop_timer_every(struct loop_timer *t, int64_t interval_ms); /* repeats */
void loop_timer_stop(struct loop_timer *t);
bool loop_timer_pending(const struct loop_timer *t);
void loop_timer_free(struct loop_timer *t); /* NULL is fine */

/* Signals arrive as calls on the loop. */
int loop_on_signal(int signo, void (*fn)(int signo, void *arg), void *arg)
	__attribute__((warn_unused_result));

/* The longest time one turn held the loop since the last call, with the name of the coroutine
 * that held it (borrowed, "" if none): for longshore_loop_lag_seconds. */
int64_t loop_lag_ms(const char **who);
/* For co.c: what ran until now was `who` (copied if it matters).  Moves loop_now_ms on. */
void loop_ran(const char *who);

#endif
