/* The one door to the row tables: rows of many jobs are gathered for 3 ms (or 500 rows), sorted, deduplicated, and
 * written by one guarded statement per table and set of columns over a pipelined connection; each job waits for its own
 * rows' fate.  A row that Postgres can't hold is told beforehand (row_check) and fails alone; one that it refuses all the same is found by
 * halving its batch.  When Postgres is away, batches are sent again until it answers: the guard makes that harmless.
 *
 * Whether changes go into a table's history is looked up every few seconds (history.h); until the first answer those of resources and transactions do.
 *
 * Runs and rejected items go through the same kind of gathering (lot.h). */
#ifndef WORKER_SINK_H
#define WORKER_SINK_H

#include "common/store/outcome.h"
#include "common/store/rows.h"
#include "common/store/run_end.h"
#include "common/store/store.h"
#include "common/store/webhook.h"

struct sink;

struct sink *sink_new(struct pg *p);
void sink_free(struct sink *s);

/* What the rows of one call have in common. */
struct row_set {
	enum row_table table;
	uint64_t columns; /* bit n: column n of the table */
	struct row_origin origin;
};

#define SINK_WHY_MAX 160
/* Waits.  outcomes[i] for rows[i].  ROW_MISMATCH, where Postgres went away meanwhile, may be said of a row that this very call has
 * written: who expects a version looks again.  why (may be NULL) gets NULL, or, where a row failed, the texts that say why, by row: the
 * caller's to free.  Rows are borrowed until it returns.  0 | -ETIMEDOUT | -ECANCELED | -EPROTO (all
 * refused: schema or permission). */
int sink_rows(struct sink *s, const struct row_set *set, const struct row *const *rows, int n,
	      enum row_outcome *outcomes, char (**why)[SINK_WHY_MAX], int64_t deadline_ms,
	      struct err *err) __attribute__((warn_unused_result));

/* Wait.  One row each, gathered with others'. Copied. */
int sink_run(struct sink *s, const struct run *r, int64_t deadline_ms, struct err *err)
	__attribute__((warn_unused_result));
int sink_root(struct sink *s, const struct run_root *r, int64_t deadline_ms, struct err *err)
	__attribute__((warn_unused_result));
int sink_webhook(struct sink *s, const struct webhook_event *e, int64_t deadline_ms,
		 struct err *err) __attribute__((warn_unused_result));
int sink_outcome(struct sink *s, const struct outcome *o, int64_t deadline_ms, struct err *err)
	__attribute__((warn_unused_result));
int sink_rejected(struct sink *s, const struct rejected *v, int64_t deadline_ms, struct err *err)
	__attribute__((warn_unused_result));

#endif
