/* Gathers small writes of many jobs into one statement: whoever adds an item waits for the lot's
 * fate.  An item that Postgres refuses is found by halving, and fails alone.  Used for runs and
 * rejected items; rows need more (sink.c). */
#ifndef WORKER_LOT_H
#define WORKER_LOT_H

#include "common/io/pg.h"

struct lot;
struct lot_kind {
	const char *(*sql)(void);
	void (*params)(struct pg_params *out, const void *const *items,
		       int n); /* items in the order they came */
	void (*free_item)(void *item);
};
struct lot *lot_new(struct pg *p, const struct lot_kind *kind);
void lot_free(struct lot *l);
/* Waits.  Takes the item (heap). Sent again while Postgres is away. 0 | -ETIMEDOUT | -ECANCELED (the write may still happen) | -EPROTO. */
int lot_add(struct lot *l, void *item, int64_t deadline_ms, struct err *err)
	__attribute__((warn_unused_result));
/* Whether Postgres refused some item of a batch, so that halving it finds which. */
bool lot_is_poison(int rc, const struct err *err);

#endif
