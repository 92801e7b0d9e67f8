/* What an account holds: listings and reservations, made from (seed, account number, position) alone, so
 * that two starts with the same seed and anchor hold the same.  Some positions carry awkward
 * values, as partners do; each item knows which, so that a test can say what is right.
 * Trees may be changed through the control endpoint.  Nothing here waits. */
#ifndef TESTS_SANDBOX_CONTENT_H
#define TESTS_SANDBOX_CONTENT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/base/json.h"

#define CONTENT_ID_MAX 32
#define AWKWARD_EVERY 50 /* awkward values come back at each 50th position */
#define DUPLICATE_AT 100 /* this position holds the item before it once more: over a page's edge */

struct content_plan {
	uint64_t seed;
	int64_t anchor_ms; /* all dates are relative to this instant */
	int listings, reservations;
	bool clean; /* no awkward values, no duplicate */
};

struct item {
	cJSON *tree;
	const char *
		awkward; /* NULL: ordinary; else a name of the table in listing.c or reservation.c */
};

struct collection {
	const char *noun; /* "listing" | "reservation" */
	struct item *v;
	int n;
};

/* One listing or reservation; the caller owns the tree. */
struct item listing_make(const struct content_plan *p, int account, int position);
struct item reservation_make(const struct content_plan *p, int account, int position);
void listing_id(const struct content_plan *p, int account, int position, char out[CONTENT_ID_MAX]);

void collection_fill(struct collection *c, const struct content_plan *p, int account,
		     const char *noun);
void collection_clear(struct collection *c);
struct item *collection_find(const struct collection *c,
			     const char *id); /* the first with this id, or NULL */
/* Sets fields of every item with this id, and lastUpdatedAt to now unless it is among them.  How many items. */
int collection_update(struct collection *c, const char *id, const cJSON *fields, int64_t now_ms);
int collection_remove(struct collection *c, const char *id);
/* Appends a copy of `tree`. */
void collection_append(struct collection *c, const cJSON *tree);
/* JSON lines: {"noun", "position", "id", "awkward", "item"}. */
void collection_describe(const struct collection *c, struct buf *out);

#endif
