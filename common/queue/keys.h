/* Unique and idempotency keys of jobs (Q8), looked at when a job is claimed: the one moment every job passes,
 * however it was pushed.  lua/unique.lua takes a job's keys, all or none; the settlement of the job gives
 * them up, in the same script that ends its lease.  The owner is a job, not an attempt: given back or retried it passes
 * again.  A key that nobody settles lives a day. */
#ifndef COMMON_QUEUE_KEYS_H
#define COMMON_QUEUE_KEYS_H

#include "common/queue/queue.h"

#define KEY_LIFE_MS (24 * 3600 * 1000) /* the backstop, and how long an idempotency key remembers */
#define KEY_ECHO_MS \
	(10 * 60 * 1000) /* how long a unique key that was freed by a success turns
					* away what was pushed before that */

enum key_mode { KEY_REJECT, KEY_REPLACE, KEY_IDEM };
struct job_keys {
	struct {
		char name[96]; /* unique:{p}:HASH; 32 hex digits of the text's SHA-256 */
		enum key_mode mode;
	} v[2];
	int n;
};
/* Which keys a job has; n = 0 for most. */
void job_keys_of(const char *partner, const struct job *j, struct job_keys *out);

enum key_verdict {
	KEYS_TAKEN,     /* run it */
	KEYS_DUPLICATE, /* another waits, runs, or has succeeded: not to be run */
	KEYS_REPLACED,  /* a newer one took its place: not to be run */
	KEYS_WAIT,      /* another runs: look again soon */
	KEYS_WAIT_LONG  /* another waits itself */
};
struct key_answer {
	enum key_verdict verdict;
	char owner[JOB_ID_MAX], label[JOB_ID_MAX]; /* who stood in the way; "" if nobody */
};
/* Waits.  label: the id that people see, NULL parent: none. */
int queue_take_keys(struct queue *q, const struct job_keys *k, const struct job_header *h,
		    const char *label, const char *parent, struct key_answer *out,
		    int64_t deadline_ms, struct err *err) __attribute__((warn_unused_result));

enum key_fate {
	KEY_SUCCEEDED, /* free again; an idempotency key remembers for a day */
	KEY_FREED,     /* ended without success: as if it had never been */
	KEY_WAITS      /* the job keeps it until it is due, unless a newer one is to follow */
};
/* The settlement says what becomes of the keys. Copies. */
void settlement_set_keys(struct settlement *s, const struct job_keys *k, enum key_fate fate);

#endif
