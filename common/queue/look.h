/* Looking at single jobs, for people: where each stands, since when, and what is in its way; and what a person may do
 * to one that is not running.  Everything goes in small steps, so that Redis is never held; a job that moves
 * meanwhile may be missed or seen twice.  All functions wait; each step of theirs has LOOK_STEP_MS. */
#ifndef COMMON_QUEUE_LOOK_H
#define COMMON_QUEUE_LOOK_H

#include "common/queue/run.h"

#define LOOK_STEP_MS 30000

enum job_place { JOB_READY, JOB_DELAYED, JOB_IN_FLIGHT };

/* Borrowed for the call that shows it. */
struct job_seen {
	enum job_place place;
	enum lane lane;
	int64_t integration; /* as routed */
	struct job_header header;
	const char *payload;
	size_t payload_len;
	const char *member; /* as it stands in its key */
	size_t member_len;
	const char *
		pack; /* what it stands in with others, then `member` is what it would be alone; NULL: alone */
	size_t pack_len;
	int pack_at;       /* the how manieth */
	int64_t due_ms;    /* delayed */
	const char *lease; /* in flight: the field of flight:{p}, else NULL */
	char epoch[64];    /* in flight: the worker's, "" otherwise */
	int64_t since_ms; /* in flight: claimed then, 0 = unknown; the others: first seen, or could run since */
};

struct job_filter {
	int64_t integration; /* -1 = any */
	const char *id;      /* NULL = any; ours, or the pusher's "id" */
	enum lane lane;      /* 0 = any; of ready jobs */
};
typedef bool (*job_seen_fn)(const struct job_seen *j, void *arg); /* false: enough */

/* 0 went through all | 1 fn had enough | an error. */
int queue_look(struct queue *q, enum job_place place, const struct job_filter *f, job_seen_fn fn,
	       void *arg, struct err *err) __attribute__((warn_unused_result));

/* What stands between a ready job and its start. */
struct job_way {
	bool no_control;
	int64_t partner_cap, in_flight; /* the partner's; cap 0 = paused */
	int64_t cap, busy;              /* the integration's; cap -1 = none but the partner's */
	int64_t before_lane,
		before_row; /* ready jobs of higher lanes; of the same integration and lane before it; -1 = not ready any more */
};
int queue_way(struct queue *q, const struct job_seen *j, struct job_way *out, struct err *err)
	__attribute__((warn_unused_result));

/* Caps and figures, of the integrations that have a cap of their own or jobs in flight, and of up to 200 that have ready jobs. */
struct share_seen {
	int64_t integration, ready, busy, cap; /* cap -1 = none but the partner's */
};
struct shares {
	bool no_control;
	int64_t partner_cap, default_cap;
	struct share_seen *v; /* most ready first; the caller's (free) */
	int n;
};
int queue_shares(struct queue *q, struct shares *out, struct err *err)
	__attribute__((warn_unused_result));

/* ready or delayed -> dead, each with its letter.  gone[i]: it was there.  At most 100. */
struct burial {
	enum job_place place;
	enum lane lane;
	const char *member, *pack, *letter; /* pack: NULL, or opened first (job_seen) */
	size_t member_len, pack_len, letter_len;
	int64_t failed_at_ms;
	const char *id;     /* the header's, and its run: the run is told; id NULL: it has none */
	struct run_ref run; /* its strings borrowed */
	bool dropped;       /* the run is told that it was dropped, not that it died */
};
int queue_bury(struct queue *q, const struct burial *v, int n, bool *gone, struct err *err)
	__attribute__((warn_unused_result)); /* all of one place and lane */
/* ready -> gone, without a letter each: jobs whose work another one does.  Gathered, and taken out a hundred at a time;
 * their keys are free, their runs are told that they were dropped. */
struct shedder;
struct shedder *shedder_new(struct queue *q);
void shedder_free(struct shedder *s);
/* Waits where a hundred are together; of shedder_flush: takes out the rest.  *gone grows by those that were still there. */
int shedder_add(struct shedder *s, const struct job_seen *j, int64_t *gone, struct err *err)
	__attribute__((warn_unused_result));
int shedder_flush(struct shedder *s, int64_t *gone, struct err *err)
	__attribute__((warn_unused_result));
/* delayed -> due now, and promoted.  0 | -ENOENT: it is not there any more. */
int queue_hasten(struct queue *q, const struct job_seen *j, struct err *err)
	__attribute__((warn_unused_result));

/* For doctor.  How many counts of busy differ from flight; how many integrations no ring knows though they could run. */
struct queue_check {
	int64_t miscounted, in_flight, odd_leases, stranded;
};
int queue_check(struct queue *q, bool repair, struct queue_check *out, struct err *err)
	__attribute__((warn_unused_result));

/* Every key of this Redis that is not Longshore's to its name, in steps: fn(key, what is wrong with it). */
typedef void (*odd_key_fn)(const char *key, const char *what, void *arg);
typedef bool (*known_partner_fn)(const char *partner, void *arg);
int keys_check(struct redis *r, known_partner_fn known, odd_key_fn fn, void *arg, int64_t *looked,
	       struct err *err) __attribute__((warn_unused_result));

#endif
