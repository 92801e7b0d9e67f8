/* What a partner says that a record became (merged_into): merged into another one, or split into several.  The row is marked deleted by
 * its item already, under the guard; here follow the link from old to new, the row's mark of it, and the children of one that was
 * merged.  Once: what the partner says of a child afterwards stands. */
#ifndef WORKER_TASKS_MERGE_H
#define WORKER_TASKS_MERGE_H

#include "worker/tasks/import.h"

/* Rows that were just marked deleted, or were so before. */
struct merge {
	const struct manifest_collection *c;
	const struct row *v;
	const cJSON *const *items;
	const enum row_outcome *outcomes;
	int n;
	int64_t observed_us;
	struct arena *arena;
};
/* Both have room for as many as the rows are. */
struct merged {
	bool *merged; /* [i]: what hangs on row i follows, or stays until the partner says whose it is */
	const char **
		heirs; /* rows that children came to just now, whose lists say which of them they have; borrowed from the arena */
	int n_heirs;
};
/* Waits.  Safe to run twice. */
int merge_links(struct import *im, const struct merge *m, struct merged *out)
	__attribute__((warn_unused_result));

#endif
