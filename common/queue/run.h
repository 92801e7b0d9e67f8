/* Runs (Q11).  A root job and everything that descends from it are a run; run:{home}:ID holds the ids of its open
 * descendants, in the slot of the partner whose queue the root was in.  Only the script that ends a job changes it:
 * the job leaves, its children join, in one step; what is empty then is noted in ended:{home}, once.
 * Elsewhere than at home that step writes an entry into the job's own outbox, before the children, and the
 * relay brings it home in that order.  A job that is not among the open ones changes nothing, so nothing is
 * counted twice, however often a child or an entry is delivered. */
#ifndef COMMON_QUEUE_RUN_H
#define COMMON_QUEUE_RUN_H

#include "common/queue/queue.h"

#define RUN_LIFE_MS (30LL * 24 * 3600 * 1000) /* of a run whose jobs were lost with Redis' data */
#define RUN_HEADER " run=" /* a root's header keeps its run from attempt to attempt */

/* What a job is to its run; id 0: it has none. */
struct run_ref {
	int64_t id;
	const char *home; /* partner; borrowed */
	bool root;        /* it began the run: home is its own partner */
	bool asks;        /* root: its end is noted even where it has no children */
};
/* A descendant's run, as its payload says; one without "run_home" is pushed by hand, and counted nowhere. */
void run_of_job(const struct job *j, struct run_ref *out);

/* As settlement_add_child, of a child that joins the job's run. */
void settlement_add_kin(struct settlement *s, const char *partner, const struct queue_push *child);

enum run_fate { RUN_GOES_ON, RUN_DONE, RUN_DEAD, RUN_DROPPED };
/* The settlement ends the job's part in its run, or (RUN_GOES_ON) only adds its children: its kin.
 * After the last settlement_add_child.  Copies. */
void settlement_set_run(struct settlement *s, const struct run_ref *r, enum run_fate fate);

/* Waits.  Children of a job that runs on, into its own queue, and into its run, in one script.  A root's run is kept in
 * its header from then on, also if its worker dies.  Those with an id are queued once within 24 h, as
 * queue_enqueue_once; *fresh (may be NULL): how many were new.  -ESTALE: the lease was lost, nothing happened.  At most 500. */
int queue_spawn(struct queue *q, const struct lease *l, const struct run_ref *r,
		const struct queue_push *v, int n, int *fresh, int64_t deadline_ms, struct err *err)
	__attribute__((warn_unused_result));

/* ---- its end ---- */
struct run_end {
	int64_t run, at_ms;
	int64_t done, dead, dropped; /* descendants, by how they ended */
};
typedef int (*run_end_fn)(const struct run_end *e, void *arg); /* may wait */
/* Waits.  Tells each run that has ended and was not taken off the list yet; fn's first failure ends it. */
int queue_runs_ended(struct queue *q, run_end_fn fn, void *arg, int64_t deadline_ms,
		     struct err *err) __attribute__((warn_unused_result));
/* Waits.  Takes it off the list: what follows from its end was done. */
int queue_run_forget(struct queue *q, int64_t run, int64_t deadline_ms, struct err *err)
	__attribute__((warn_unused_result));

struct run_open {
	bool known; /* it has open jobs, or its end is noted and was not taken yet */
	int64_t open, done, dead, dropped;
};
/* Waits. */
int queue_run_look(struct queue *q, int64_t run, struct run_open *out, int64_t deadline_ms,
		   struct err *err) __attribute__((warn_unused_result));

/* ---- results ---- */
/* result:{p}:ID is written by the settlement and lives ttl_ms.  Copies. */
void settlement_set_result(struct settlement *s, const char *id, int64_t ttl_ms, const char *json,
			   size_t len);
/* Waits.  Appends the JSON; -ENOENT: there is none (yet, or any more). */
int queue_result(struct queue *q, const char *id, struct buf *out, int64_t deadline_ms,
		 struct err *err) __attribute__((warn_unused_result));

/* ---- for the files of this folder ---- */
/* "TOKEN HOME 0 RUN 0 FATE ID KID…": an entry of the outbox that changes a run, up to the id. */
void run_entry_print(struct buf *out, const struct run_ref *r, const char *fate, const char *id);

#endif
