/* Circuit breakers: one for each API host of a partner (and for each group of its endpoints that the manifest names), in
 * Redis, shared by all workers.  Closed: calls go.  After `failures` in a row, or a share of failures over a window, it
 * opens: no call goes, and claim leaves the jobs of the integrations that call this host where they are.  When its time is over it
 * is half open: one call over the whole cluster probes.  A success closes it, with a slow start; a failure opens it again, for longer.
 *
 * A healthy closed breaker costs no command: a process counts its own successes, and tells them only where somebody has
 * seen a failure.  Failures are told at once.  What others saw is read once a second while calls are made. */
#ifndef COMMON_QUEUE_BREAKER_H
#define COMMON_QUEUE_BREAKER_H

#include "common/queue/queue.h"

#define BREAKER_HOST_MAX 200
#define BREAKER_HOLD_MS \
	2000 /* a job that meets an open breaker comes back so soon: then claim holds it, without polling */
#define BREAKER_SLOTS 6 /* of the window */

enum breaker_state { BREAKER_CLOSED, BREAKER_HALF_OPEN, BREAKER_OPEN }; /* as the metric has it */
const char *breaker_state_name(enum breaker_state s);

struct breaker_rules {
	int failures; /* in a row */
	double share; /* of failures over the window … */
	int calls;    /* … of so many calls at least */
	int64_t window_ms, open_ms, open_max_ms, slow_start_ms;
};

/* ---- at the call ---- */

struct breakers; /* one a process */
struct breakers *breakers_new(struct redis *r);
void breakers_free(struct breakers *all); /* NULL is fine */
struct breaker;                           /* as this process knows it; lives as long as `all` */
struct breaker *breaker_of(struct breakers *all, const char *partner, const char *host);

struct breaker_pass {
	char token[32]; /* "": not a probe */
};
enum breaker_outcome { BREAKER_OK, BREAKER_FAILED, BREAKER_NOTHING };

/* Waits only where it is not closed, or was not used for a while.  0: call, then breaker_leave.  -EAGAIN: held (err).
 * A probe that is not over after probe_ms is another's to make. */
int breaker_enter(struct breaker *b, int64_t probe_ms, struct breaker_pass *out, struct err *err)
	__attribute__((warn_unused_result));
/* It may have opened while the call waited for something else.  0, or -EAGAIN as above; breaker_leave follows anyway. */
int breaker_stands(const struct breaker *b, const struct breaker_pass *pass, struct err *err)
	__attribute__((warn_unused_result));
/* Waits for Redis where there is something to tell.  why: of a failure. */
void breaker_leave(struct breaker *b, const struct breaker_rules *rules, struct breaker_pass *pass,
		   enum breaker_outcome outcome, const char *why);
bool breaker_is_closed(const struct breaker *b);
/* How many calls may be under way, of `all` once the slow start is over. */
int breaker_allows(const struct breaker *b, const struct breaker_rules *rules, int all);

/* ---- for people and schedulers ---- */

struct breaker_seen {
	char host[BREAKER_HOST_MAX];
	enum breaker_state state;
	int64_t until_ms; /* open: probed then, 0 = when it is closed by hand; half open: the probe's time; closed: end of the slow start */
	int64_t since_ms; /* 0 = unknown */
	int failures, opens;
	bool by_hand;
	char why[160];
};
struct breaker_list {
	struct breaker_seen *v;
	int n;
};
/* Waits.  Those that are not simply closed, from the partner's index.  details: the rest of their fields too. */
int breaker_list(struct queue *q, bool details, struct breaker_list *out, int64_t deadline_ms,
		 struct err *err) __attribute__((warn_unused_result));
/* Waits.  The rest of one's fields. */
int breaker_details(struct queue *q, struct breaker_seen *s, int64_t deadline_ms, struct err *err)
	__attribute__((warn_unused_result));
void breaker_list_clear(struct breaker_list *l);
const struct breaker_seen *breaker_find(const struct breaker_list *l, const char *host); /* NULL */
/* Who calls which host, as control has it. */
struct breaker_homes {
	char *host; /* of most; NULL = unknown */
	struct {
		int64_t integration;
		char *host;
	} * v; /* of the others, by integration */
	int n;
};
int breaker_homes(struct queue *q, struct breaker_homes *out, int64_t deadline_ms, struct err *err)
	__attribute__((warn_unused_result)); /* waits */
void breaker_homes_clear(struct breaker_homes *h);
const char *breaker_home(const struct breaker_homes *h, int64_t integration); /* NULL: unknown */
/* All hosts, each once, in order; the caller's (free each, and it). */
void breaker_hosts(const struct breaker_homes *h, const struct breaker_list *l, char ***out,
		   int *n);

/* Waits.  By hand.  for_ms 0: until it is closed by hand; then a probe decides. */
int breaker_open(struct queue *q, const char *host, int64_t for_ms, const char *why,
		 int64_t deadline_ms, struct err *err) __attribute__((warn_unused_result));
int breaker_close(struct queue *q, const char *host, int64_t slow_start_ms, int64_t deadline_ms,
		  struct err *err) __attribute__((warn_unused_result));
/* Waits.  Carries on what time has decided: open to half open, the end of a slow start; lets jobs into the rings again.
 * Any number of processes may. */
int breaker_tick(struct queue *q, const struct breaker_list *l, int64_t deadline_ms,
		 struct err *err) __attribute__((warn_unused_result));

#endif
