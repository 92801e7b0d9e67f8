/* What an event of a partner's webhook says, by the manifest's webhooks.events: what is to be done, to whom, and where in it the
 * item stands.  Pure: nothing here waits. */
#ifndef DRIVERS_KIT_EVENT_H
#define DRIVERS_KIT_EVENT_H

#include "common/base/secret.h"
#include "drivers/kit/manifest.h"

const struct manifest_event *event_find(const struct manifest *m, const char *name); /* NULL */
const char *event_action(enum event_do act);
/* By any version of the driver: whoever asks need not know which one the integration has. */
bool event_brings_credentials(const struct manifest *m, const char *name);
/* The partner's own id of the item.  Appends; false: none is there. */
bool event_id(const struct manifest_event *e, const cJSON *body, struct buf *out);
/* The same of the event's job (common/queue/intake.h): what the driver's C said, what the body says, what the row said of it before a
 * replay. */
bool event_id_of_job(const struct manifest_event *e, const struct manifest_collection *c,
		     const cJSON *args, struct buf *out);
/* When it happened, as far as that may order anything; 0: that is not known, and reading the item again orders it.  What is said to
 * happen after it came in is a wrong clock, and would shut out all that comes before then: over 5 min ahead it counts as not said.
 * Where nothing can be read again a clock that is hours ahead (a time without its zone) is still good for an order; over a day ahead
 * it happened when it came in. */
int64_t event_happened_us(const struct manifest_collection *c, int64_t said_us,
			  int64_t received_us);
/* The item as the collection maps it: where the manifest says (`item`), or what holds the id at the collection's own path.
 * NULL: it is not in there; borrowed. */
const cJSON *event_item(const struct manifest_event *e, const struct manifest_collection *c,
			const cJSON *body);
/* A copy of the body in which what the manifest marks as personal has lost its content: in the item, and of an event whose item
 * is not known, wherever an item of any collection may stand.  The caller's. */
cJSON *event_masked(const struct manifest *m, const struct manifest_event *e, const cJSON *body);
/* credentials_rotated: the old ones with those that the body brings.  -EBADMSG with err, which says what is missing and never
 * a value. */
int event_credentials(const struct manifest_event *e, const cJSON *body, const struct secret *old,
		      struct secret *out, struct err *err) __attribute__((warn_unused_result));

#endif
