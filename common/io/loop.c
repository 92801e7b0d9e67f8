/* A turn: libevent's pass (sockets, signals; callbacks store and wake), then the timers that are
 * due, then what was deferred, coroutines among it, in rounds.  Timers are our own heap behind
 * one timerfd: libevent's clock is 4 ms coarse, or costs a timerfd_settime(2) each pass, and a
 * coroutine's deadline almost never fires. */
#include "common/io/loop.h"

#include <errno.h>
#include <limits.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/timerfd.h>
#include <unistd.h>

#include "common/base/clock.h"
#include "common/base/mem.h"
#include "common/io/timers.h"

/* Work that makes work goes on in the same turn for so long (us) and so many rounds; then
 * sockets come first. */
#define TURN_BUDGET_US 500
#define TURN_ROUNDS 16
/* Who held the loop is noted from this on (us). */
#define HOLD_NOTED_US 1000
#define NEVER INT64_MAX

struct deferred {
	loop_fn fn; /* NULL: forgotten by loop_undefer */
	void *arg;
};

struct deferred_list {
	struct deferred *v;
	size_t n, cap;
};

struct loop_timer {
	struct timer_node node; /* first: the heap hands this back */
	int64_t every_us;       /* 0: once */
	loop_fn fn;
	void *arg;
};

struct signal_watch {
	struct signal_watch *next;
	struct event *ev;
	void (*fn)(int signo, void *arg);
	void *arg;
};

static struct {
	struct event_base *base;
	struct event *alarm; /* alarm_fd is readable */
	int alarm_fd;
	int64_t alarm_us; /* what alarm_fd is set to: the first timer, or earlier */
	struct timers timers;
	struct deferred_list todo, running, at_close;
	struct signal_watch *signals;
	bool stop;
	bool turning;     /* inside loop_run */
	int64_t now_us;   /* 0: not read yet in this pass */
	int64_t turn_us;  /* when this turn began to work; 0: not yet */
	int64_t held_us;  /* the longest single run of this turn … */
	char held_by[48]; /* … and whose it was */
	int64_t lag_us;   /* the longest turn since loop_lag_ms */
	char lag_by[48], lag_shown[48];
} loop = { .alarm_fd = -1 };

static void push(struct deferred_list *l, loop_fn fn, void *arg)
{
	if (l->n == l->cap) {
		l->cap = l->cap ? 2 * l->cap : 64;
		l->v = mem_realloc(l->v, l->cap * sizeof(*l->v));
	}
	l->v[l->n++] = (struct deferred){ fn, arg };
}

static int64_t now_us(void)
{
	if (!loop.turning)
		return clock_mono_us();
	if (loop.now_us == 0)
		loop.now_us = clock_mono_us();
	if (loop.turn_us == 0)
		loop.turn_us = loop.now_us;
	return loop.now_us;
}

static void on_alarm(evutil_socket_t fd, short what, void *arg)
{
	uint64_t times;

	/* The turn runs the timers by itself; here only the descriptor must fall silent. */
	if (read(fd, &times, sizeof(times)) > 0)
		loop.alarm_us = NEVER;
}

static void set_alarm(void)
{
	struct itimerspec when = { 0 };
	int64_t at_us;

	if (loop.timers.n == 0 || loop.timers.v[0].at_us >= loop.alarm_us)
		return;
	at_us = loop.timers.v[0].at_us > 0 ? loop.timers.v[0].at_us : 1; /* zero would disarm it */
	when.it_value.tv_sec = (time_t)(at_us / 1000000);
	when.it_value.tv_nsec = (long)(at_us % 1000000) * 1000;
	if (timerfd_settime(loop.alarm_fd, TFD_TIMER_ABSTIME, &when, NULL) == 0)
		loop.alarm_us = at_us;
}

static void run_timers(int64_t until_us)
{
	/* Bounded: a timer that sets itself to now must not keep the sockets waiting. */
	for (int left = loop.timers.n; left > 0 && loop.timers.n > 0; left--) {
		struct loop_timer *t = (struct loop_timer *)loop.timers.v[0].node;
		int64_t at_us = loop.timers.v[0].at_us;

		if (at_us > until_us)
			return;
		if (t->every_us > 0) {
			int64_t next_us = at_us + t->every_us;

			timers_set(&loop.timers, &t->node,
				   next_us > until_us ? next_us : until_us + t->every_us);
		} else {
			timers_remove(&loop.timers, &t->node);
		}
		t->fn(t->arg); /* may free t */
	}
}

struct loop_timer *loop_timer_new(loop_fn fn, void *arg)
{
	struct loop_timer *t = mem_new(struct loop_timer);

	t->node.place = -1;
	t->fn = fn;
	t->arg = arg;
	return t;
}

void loop_timer_set(struct loop_timer *t, int64_t delay_ms)
{
	t->every_us = 0;
	timers_set(&loop.timers, &t->node, clock_mono_us() + (delay_ms > 0 ? delay_ms : 0) * 1000);
}

void loop_timer_at(struct loop_timer *t, int64_t when_ms)
{
	t->every_us = 0;
	timers_set(&loop.timers, &t->node, when_ms < NEVER / 1000 ? when_ms * 1000 : NEVER);
}

void loop_timer_every(struct loop_timer *t, int64_t interval_ms)
{
	t->every_us = (interval_ms > 0 ? interval_ms : 1) * 1000;
	timers_set(&loop.timers, &t->node, clock_mono_us() + t->every_us);
}

void loop_timer_stop(struct loop_timer *t)
{
	timers_remove(&loop.timers, &t->node);
}

bool loop_timer_pending(const struct loop_timer *t)
{
	return t->node.place >= 0;
}

void loop_timer_free(struct loop_timer *t)
{
	if (!t)
		return;
	timers_remove(&loop.timers, &t->node);
	free(t);
}

void loop_defer(loop_fn fn, void *arg)
{
	if (loop.turn_us == 0)
		now_us(); /* the first callback of a pass that makes work marks the turn's begin */
	push(&loop.todo, fn, arg);
}

static void forget(struct deferred_list *l, loop_fn fn, const void *arg)
{
	for (size_t i = 0; i < l->n; i++)
		if (l->v[i].fn == fn && l->v[i].arg == arg)
			l->v[i].fn = NULL;
}

void loop_undefer(loop_fn fn, const void *arg)
{
	forget(&loop.todo, fn, arg);
	forget(&loop.running, fn, arg);
}

void loop_at_close(loop_fn fn, void *arg)
{
	push(&loop.at_close, fn, arg);
}

static void run_round(void)
{
	struct deferred_list emptied = loop.running;

	loop.running = loop.todo;
	loop.todo = emptied;
	/* By index: loop_undefer changes entries meanwhile. */
	for (size_t i = 0; i < loop.running.n; i++)
		if (loop.running.v[i].fn)
			loop.running.v[i].fn(loop.running.v[i].arg);
	loop.running.n = 0;
}

void loop_ran(const char *who)
{
	int64_t now = clock_mono_us(), took = now - loop.now_us;

	if (took >= HOLD_NOTED_US && took > loop.held_us && loop.now_us != 0) {
		loop.held_us = took;
		strncpy(loop.held_by, who, sizeof(loop.held_by) - 1);
	}
	loop.now_us = now;
}

static void note_lag(void)
{
	int64_t took = clock_mono_us() - loop.turn_us;

	if (took <= loop.lag_us)
		return;
	loop.lag_us = took;
	if (loop.held_us > 0)
		memcpy(loop.lag_by, loop.held_by, sizeof(loop.lag_by));
	else
		loop.lag_by[0] = '\0';
}

int64_t loop_lag_ms(const char **who)
{
	int64_t ms = loop.lag_us / 1000;

	memcpy(loop.lag_shown, loop.lag_by, sizeof(loop.lag_shown));
	*who = loop.lag_shown;
	loop.lag_us = 0;
	loop.lag_by[0] = '\0';
	return ms;
}

static void work(void)
{
	int64_t began_us = loop.now_us = clock_mono_us();

	if (loop.turn_us == 0)
		loop.turn_us = began_us;
	run_timers(began_us);
	for (int round = 0; loop.todo.n > 0 && round < TURN_ROUNDS; round++) {
		run_round();
		loop_ran("");
		if (loop.now_us - began_us > TURN_BUDGET_US)
			break;
	}
	note_lag();
}

int loop_run(void)
{
	int rc = 0;

	loop.turning = true;
	while (!loop.stop && rc == 0) {
		loop.held_us = loop.turn_us = 0;
		/* With work left over, the pass only looks at the sockets, and its time is ours. */
		loop.now_us = loop.todo.n > 0 ? clock_mono_us() : 0;
		loop.turn_us = loop.now_us;
		set_alarm();
		if (event_base_loop(loop.base,
				    EVLOOP_ONCE | (loop.todo.n > 0 ? EVLOOP_NONBLOCK : 0)) < 0)
			rc = -EIO;
		else
			work();
	}
	loop.turning = loop.stop = false;
	return rc;
}

void loop_stop(void)
{
	loop.stop = true;
}

struct event_base *loop_base(void)
{
	return loop.base;
}

int64_t loop_now_ms(void)
{
	return now_us() / 1000;
}

static void on_signal(evutil_socket_t signo, short what, void *arg)
{
	const struct signal_watch *w = arg;

	w->fn((int)signo, w->arg);
}

int loop_on_signal(int signo, void (*fn)(int signo, void *arg), void *arg)
{
	struct signal_watch *w = mem_new(struct signal_watch);

	w->fn = fn;
	w->arg = arg;
	w->ev = evsignal_new(loop.base, signo, on_signal, w);
	if (!w->ev || event_add(w->ev, NULL) < 0) {
		if (w->ev)
			event_free(w->ev);
		free(w);
		return -EINVAL;
	}
	w->next = loop.signals;
	loop.signals = w;
	return 0;
}

static bool merges_changes;

void loop_merge_changes(void)
{
	merges_changes = true;
}

static struct event_base *new_base(void)
{
	struct event_config *config = event_config_new();
	struct event_base *base = NULL;

	if (!config)
		return NULL;
	/* One thread owns the base: no locks. */
	if (event_config_set_flag(config,
				  EVENT_BASE_FLAG_NOLOCK |
					  (merges_changes ? EVENT_BASE_FLAG_EPOLL_USE_CHANGELIST
							  : 0)) == 0)
		base = event_base_new_with_config(config);
	event_config_free(config);
	return base;
}

int loop_init(void)
{
	signal(SIGPIPE, SIG_IGN);
	loop.alarm_fd = timerfd_create(CLOCK_MONOTONIC, TFD_NONBLOCK | TFD_CLOEXEC);
	if (loop.alarm_fd < 0)
		return -errno;
	loop.alarm_us = NEVER;
	loop.base = new_base();
	if (loop.base)
		loop.alarm =
			event_new(loop.base, loop.alarm_fd, EV_READ | EV_PERSIST, on_alarm, NULL);
	if (!loop.alarm || event_add(loop.alarm, NULL) < 0) {
		loop_close();
		return -ENOMEM;
	}
	return 0;
}

static void free_list(struct deferred_list *l)
{
	free(l->v);
	*l = (struct deferred_list){ 0 };
}

void loop_close(void)
{
	while (loop.at_close.n > 0) {
		struct deferred last = loop.at_close.v[--loop.at_close.n];

		last.fn(last.arg);
	}
	while (loop.signals) {
		struct signal_watch *w = loop.signals;

		loop.signals = w->next;
		event_free(w->ev);
		free(w);
	}
	free_list(&loop.at_close);
	free_list(&loop.todo);
	free_list(&loop.running);
	timers_clear(&loop.timers);
	if (loop.alarm)
		event_free(loop.alarm);
	if (loop.base)
		event_base_free(loop.base);
	if (loop.alarm_fd >= 0)
		close(loop.alarm_fd);
	memset(&loop, 0, sizeof(loop));
	loop.alarm_fd = -1;
}
