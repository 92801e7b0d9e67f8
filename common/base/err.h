/* What went wrong, in the words of requirements.md E1: a class, the rule that chose it, a text.
 * Functions return 0 or a negative errno for mechanics and fill `struct err` (may be NULL) with
 * what a person needs.  Only worker/settle.c decides what follows from a class.  Nothing here
 * waits. */
#ifndef COMMON_BASE_ERR_H
#define COMMON_BASE_ERR_H

#include <stdint.h>

enum err_class {
	ERR_NONE = 0,
	ERR_TRANSIENT,  /* 5xx, timeout, refused: again later, uses a retry */
	ERR_RATE_LIMIT, /* 429: again after retry_after_ms, no retry used */
	ERR_CLIENT,     /* other 4xx of the job's own call: dead letter */
	ERR_AUTH,       /* the credential is refused for good: integration marked, dead letter */
	ERR_DATA,       /* malformed answer, missing field */
	ERR_INTERNAL,   /* a fault of ours: alerts */
	ERR_LIMIT,      /* hard time limit */
	ERR_POISON,     /* on two processes that crashed */
	ERR_EXPIRED,    /* waited past expires_in */
	ERR_BAD_JOB,    /* not JSON, no task, unknown task or integration …: dead letter */
	ERR_HOLD, /* no error: waits (limiter, pause, breaker) for retry_after_ms; no retry used */
	ERR_CANCELLED, /* unwound by shutdown or a lost lease; the job goes back unharmed */
	ERR_MEMORY, /* a job would hold more than it may: smaller pages once, then a dead letter */
	ERR_CLASS_COUNT
};

/* What a partner's manifest says is to be done about an answer, in the place of what its class leads to. */
enum err_action {
	ACT_NONE = 0,
	ACT_RETRY,        /* as a transient failure, whatever the class */
	ACT_REFRESH,      /* a new token, and once more; then by class */
	ACT_HOLD,         /* everybody waits for retry_after_ms; no retry used */
	ACT_DEAD,         /* a dead letter at once */
	ACT_SET_ASIDE,    /* the item goes into rejected_items, the job goes on */
	ACT_SKIP,         /* as if there was nothing */
	ACT_RESET_PAGING, /* the place in the list is gone: from its first page */
	ACT_SUSPEND,      /* the partner has locked us out: paused until a person resumes */
	ACT_NOT_THERE,    /* a 404 in other words: the item, or what was asked for, is not there */
	ACT_COUNT
};

struct err {
	enum err_class class;
	enum err_action action;
	int64_t retry_after_ms; /* rate_limit, hold: from now; 0 = unknown */
	char rule[64];  /* which rule chose the class: "errors[0]", "status 5xx", "network" … */
	char where[96]; /* step, page or item: "listings page 3", "item 64fa…" ; "" if none */
	char text[512]; /* for people; never a secret; valid UTF-8 */
};

const char *err_class_name(enum err_class c);     /* "transient", "rate_limit" … */
const char *err_action_name(enum err_action a);   /* "retry" …; "" for none */
enum err_class err_class_parse(const char *name); /* ERR_CLASS_COUNT if unknown */

/* Fills *e (NULL is fine) and returns `rc`, so that `return err_set(err, -EIO, ERR_TRANSIENT,
 * "network", "…")` reads well. */
int err_set(struct err *e, int rc, enum err_class c, const char *rule, const char *fmt, ...)
	__attribute__((format(printf, 5, 6)));
/* A wait of so long, class ERR_HOLD; returns -EAGAIN.  What was set before is gone, its retry_after_ms too: so it is one call. */
int err_hold(struct err *e, int64_t wait_ms, const char *rule, const char *fmt, ...)
	__attribute__((format(printf, 4, 5)));

#endif
