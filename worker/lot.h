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
/* How long a batch waits before it is sent again; tries: refusals in a row so far. */
int64_t lot_again_ms(int tries);
/* Of a wait that was over before Postgres had written: no fault of the job's (settle.c).  -ETIMEDOUT, -ECANCELED as they are. */
int lot_gave_up(int rc, const struct err *refused, struct err *err);
#define LOT_WAITED "postgres" /* the rule of that */
/* Whether Postgres refused some item of a batch, so that halving it finds which. */
bool lot_is_poison(int rc, const struct err *err);

#endif
