/* What a scan proves (P5): rows of its collection that it did not see are marked deleted (common/store/sweep.h).
 *
 * A list proves that an item is not in it if it was asked for whole (mode full), was read to an end that is no guess (which costs a
 * call more where something was not in it), gave items, and of each
 * of them a row can be told.  Lists move while they are read, and an item that moves from a page not yet read to one that was is
 * on none: so what a scan of several pages did not see is looked for once more, by a second scan at once, before it is
 * believed.  What is listed for a parent, or embedded in it, is gone when it is no more in that parent's list.
 *
 * The brake: more than a share of the rows (manifest, or settings of the integration) is not marked but held, for a person to
 * confirm.  Of parents' lists what is counted is parents that would lose rows: one may well have new photos. */
#ifndef WORKER_TASKS_SWEEP_H
#define WORKER_TASKS_SWEEP_H

#include "worker/tasks/import.h"

/* Whether the scan of a collection (of a parent) that is about to begin is to be proof. */
bool sweep_wanted(const struct import *im, const struct manifest_collection *c,
		  const char *parent_id);
/* Such a scan is complete by a guess (pager_guessed).  Waits.  *on: something was not in it, so the guess matters: the pager
 * asks on. */
int sweep_asks_on(struct import *im, struct pager *pg, const char *parent_id, bool *on)
	__attribute__((warn_unused_result));
/* A scan of im->collection that was to be proof is complete.  Waits.  *again: its list is to be read once more, and
 * the place says so. */
int sweep_scanned(struct import *im, const struct pager *pg, bool *again)
	__attribute__((warn_unused_result));

/* Parents whose whole list of c was seen at before_us or later.  Waits. */
struct sweep_parents {
	const struct manifest_collection *c;
	const char **ids; /* external ids; texts borrowed */
	int n, cap;
	int64_t before_us;
};
void sweep_parents_add(struct sweep_parents *s, const char *external_id, int64_t before_us);
int sweep_parents_run(struct import *im, struct sweep_parents *s)
	__attribute__((warn_unused_result));
void sweep_parents_clear(struct sweep_parents *s);

/* The same of a parent's list by itself (im->parents, whose rows are marked when its owner runs it). */
int sweep_parent(struct import *im, const struct pager *pg, const char *parent_id, bool *again)
	__attribute__((warn_unused_result));

/* These rows of c are marked deleted: what comes with them goes too.  Waits. */
int sweep_orphans(struct import *im, const struct manifest_collection *c, const char *const *ids,
		  int n, int64_t before_us) __attribute__((warn_unused_result));

#endif
