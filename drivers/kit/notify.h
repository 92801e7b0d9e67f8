/* Notifications: from what a job says ({"company_id", "template", "to", "values"}) to rows that say what is sent to whom by which channel,
 * in which order; and from the end of one attempt to the next.  A channel is any partner whose manifest has "channel"; sending is an
 * action of its, done as all outbound requests are (worker/tasks/flow.h).
 *
 * All texts are filled, and all addresses looked at, before anything is written: a notification that is accepted can be sent by each of
 * its channels. */
#ifndef DRIVERS_KIT_NOTIFY_H
#define DRIVERS_KIT_NOTIFY_H

#include "common/io/redis.h"
#include "common/store/notification.h"
#include "drivers/driver.h"

#define NOTIFY_TO_MAX 100 /* recipients of one job */

struct notify_ask {
	const cJSON *args;
	const char *idempotency_key; /* NULL: none */
	const char *origin;          /* the job's header id: the same at each attempt */
	const char *job_id;
};
/* Waits.  Writes a row for each recipient, once however often it is tried; appends their ids as a JSON list.  -EINVAL (what is wrong is
 * in err->text, with its place), -EEXIST (the key has other args), -EKEYREJECTED (a card number), or Postgres' errors. */
int notify_add(struct pg *p, const struct driver_set *drivers, const struct notify_ask *ask,
	       struct buf *ids, struct err *err) __attribute__((warn_unused_result));

/* Waits.  The same for one that comes by HTTP: it is in Postgres as an outbound request too, which is done, and keeps their ids. */
int notify_request(struct pg *p, const struct driver_set *drivers, const cJSON *args,
		   const char *idempotency_key, int64_t *id, struct err *err)
	__attribute__((warn_unused_result));

/* Waits.  Begins what waits to be begun, and ends, or goes on with, what has an attempt that ended.  *more: there may be more at once. */
int notify_go_on(struct redis *r, struct pg *p, int64_t deadline_ms, bool *more, struct err *err)
	__attribute__((warn_unused_result));

/* A template as people write it: sections by channel, texts by part; the {name}s in them have the right form.  -EINVAL. */
int notify_check_parts(const cJSON *parts, struct err *err) __attribute__((warn_unused_result));

#endif
