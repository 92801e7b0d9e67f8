/* Whether a partner still says what its manifest says (D5).  An item that does not fit is set aside; where half of a page
 * or more does not, in the same field, the contract has changed: one alert (schema_changed) per partner, endpoint and field, which
 * counts such pages, names an item, and resolves itself when a page is right again. */
#ifndef WORKER_TASKS_SCHEMA_H
#define WORKER_TASKS_SCHEMA_H

#include "worker/tasks/import.h"

/* An item of the page was set aside for this field.  What is kept lives as long as the arena, the page's.  Does not wait. */
void schema_note(struct import *im, struct arena *arena, const char *field, const char *id,
		 const char *reason);
/* The page, of n items, is mapped.  Waits where there is something to tell; what it could not tell is logged. */
void schema_judge(struct import *im, int n);
/* What came is no page at all: im->a->err says why, and stays as it is.  Waits. */
void schema_broken(struct import *im);

#endif
