/* The calls of an import of every collection, a few pages of each, and one question of every lookup; or one action: what `longshore driver record` writes
 * down and what the contract is checked by.  Parents come before what hangs on them. */
#ifndef DRIVERS_KIT_REHEARSE_H
#define DRIVERS_KIT_REHEARSE_H

#include "drivers/kit/scenario.h"
#include "drivers/kit/tape.h"

struct rehearsal {
	struct caller *c; /* its door has the tape */
	struct tape *tape;
	const char *
		only; /* one collection; its parents are walked for their ids, and not told.  NULL: all */
	const char *lookup;  /* only this one, and no collection; NULL: all */
	const char *action;  /* this one is done, in one attempt, and nothing else; NULL: none is */
	const cJSON *params; /* of that lookup, or NULL: its example; of that action, or NULL */
	int pages, size;     /* of each scan */
	int parents;         /* of each collection that hangs on another: so many of them */
	bool more;           /* also what changed lately, and one item by itself */
	/* One scenario ended: its name ("listings", "listings.changes", "listings.item", "photos.of.ID", "current.lookup", "charge.action"), its rows and exchanges,
	 * which it takes.  Non-zero ends it all. */
	int (*done)(const char *name, const struct scenario *s, cJSON *rows, cJSON *exchanges,
		    void *arg);
	void *arg;
};
/* Waits.  As scenario_run, or what `done` said.  Of all lookups those without an example are left out. */
int rehearse(const struct rehearsal *r, struct err *err) __attribute__((warn_unused_result));

#endif
