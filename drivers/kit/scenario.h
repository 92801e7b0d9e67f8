/* A scenario: one collection walked a few pages far, or one item of it, and the rows that come of it; or a lookup, and its data; or an action,
 * and what became of it.  It goes through the code that a job goes through, and stores nothing: what a cassette records, and what its
 * replay must come to again. */
#ifndef DRIVERS_KIT_SCENARIO_H
#define DRIVERS_KIT_SCENARIO_H

#include "drivers/kit/call.h"

struct scenario {
	const struct manifest_collection *collection; /* NULL: a lookup, or an action */
	const struct manifest_lookup *lookup;
	const struct manifest_action *action;
	const cJSON *params;   /* of the lookup or action; or NULL */
	int attempts;          /* at the action; at least 1 */
	bool undo;             /* once it is done, it is undone */
	const char *item;      /* one item, through `detail`; NULL: a scan */
	const char *parent_id; /* of a collection with `each` */
	const cJSON *parent;   /* of the parent's row what {parent.COLUMN} names; or NULL */
	int64_t since_us;      /* 0: everything */
	int pages, size;       /* 0: all; the manifest's */
};

const char *scenario_of(const struct scenario *s); /* the collection's, lookup's or action's name */

/* Waits.  0, whatever the partner answered: *rows has `rows`, `set_aside`, `pages`, `complete`, or `error`; of a lookup `state` ("fresh", "missing") and
 * `data`, or `error`; of an action `state` (as of its request: "done", "failed", "unknown", "undone", "running" where another attempt would follow), `kept`,
 * `external_id`, `then`, and where it is not done `step` and `error`.  Else as call(): it could not be found out, which for a replay is an exchange that is not there. */
int scenario_run(struct caller *c, const struct scenario *s, cJSON **rows, struct err *err)
	__attribute__((warn_unused_result));

#endif
