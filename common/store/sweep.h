/* Deletion by what a complete scan did not see (P5): rows of a collection that are not deleted and whose observed_at
 * is older than the scan.  They are marked, never removed, in slices of bounded statements, each of which may be the last one
 * that a process lives to send: those that are marked are no longer found, so whoever goes on takes up where it was.
 *
 * A row that was seen meanwhile, by anybody, has a newer observed_at and is not found either, so late news of an absence
 * overwrites no sight of the row.  A mark takes the scan's beginning for its observed_at: what was asked for before that is older news.
 * All wait; as in store.h. */
#ifndef COMMON_STORE_SWEEP_H
#define COMMON_STORE_SWEEP_H

#include "common/store/store.h"

#define SWEEP_SLICE 1000   /* rows that a statement marks */
#define SWEEP_WINDOW 10000 /* rows that a statement looks at */

/* Whose rows.  A collection's are those whose ids begin with its prefix and with no longer one of another collection in
 * the table, and that have its kind where it has one. */
struct sweep {
	enum row_table table;
	int64_t integration_id;
	const char *prefix;
	const char *const *others; /* those longer prefixes */
	int n_others;
	const char *kind;           /* NULL: any */
	const char *const *parents; /* their resource_external_id; NULL: of the whole collection */
	int n_parents;
	int64_t before_us; /* the scan's beginning */
	int64_t run_id;    /* whose the deletion is, in the history */
	int64_t held_id; /* of held_deletions, 0 = none: the marks are added to its and the run's `deleted`, in the same statement */
	/* What comes with its rows alone, and goes with them: of these only whose they are is read. */
	const struct sweep *children;
	int n_children;
};
struct sweep_counts {
	int64_t live, unseen;         /* rows */
	int64_t parents, with_unseen; /* of the parents: those with rows */
};
int sweep_count(struct pg *p, const struct sweep *s, struct sweep_counts *out, struct err *err)
	__attribute__((warn_unused_result));

/* The claim that may mark: its checkpoint must still be what was written last.  The marks are added to run.deleted
 * in it, in the same statement. */
struct sweep_fence {
	const char *collection, *job_id;
	int64_t generation, fence;
	int64_t now_ms; /* Redis' clock, at the beginning */
};
/* Told of each slice: n rows of a table were marked.  < 0: no further. */
typedef int (*sweep_fn)(enum row_table table, int64_t n, void *arg);
/* Marks what was not seen, and what came with that.  fence NULL: the guard of observed_at suffices.  -ESTALE: the fence has
 * moved. */
int sweep_run(struct pg *p, const struct sweep *s, const struct sweep_fence *fence, sweep_fn fn,
	      void *arg, struct err *err) __attribute__((warn_unused_result));

/* These rows were seen, though what was seen of them was older than what they hold, or could not be a row: a later sweep must
 * find them seen.  Only observed_at moves, and only forward. */
int sweep_seen(struct pg *p, enum row_table table, int64_t integration_id, const char *const *ids,
	       int n, int64_t observed_us, struct err *err) __attribute__((warn_unused_result));

/* ---- brake.c: what was too much to be marked without asking ---- */
struct braked {
	int64_t run_id;
	const char *collection;
	const struct sweep *whose;
	const struct sweep_counts *counts;
};
/* Once for a run, a collection and parents, however often it is said.  Raises the alert. */
int brake_hold(struct pg *p, const struct braked *h, struct err *err)
	__attribute__((warn_unused_result));
/* A complete scan has decided anew: what earlier runs held of these collections is not asked for any more. */
int brake_supersede(struct pg *p, int64_t integration_id, int64_t run_id,
		    const char *const *collections, int n, struct err *err)
	__attribute__((warn_unused_result));
struct brake_outcome {
	int64_t deleted; /* of its records that were held still, by this call and by those that died on the way */
	int64_t held;     /* records of this run that were held still */
	int64_t newer_id; /* of what was superseded: the run that has scanned since */
	char state[16];   /* of its records, where none is held; "": there are none */
};
/* Marks what the run held.  A call that dies on the way is made again. */
int brake_confirm(struct pg *p, int64_t run_id, struct brake_outcome *out, struct err *err)
	__attribute__((warn_unused_result));

#endif
