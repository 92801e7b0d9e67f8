/* Webhooks on their way in, on every scheduler:
 *
 *   POST /webhooks/{partner}/{integration_id}         an address for each integration
 *   POST /webhooks/{partner}/{integration_id}/SECRET  the same, of partners that sign nothing (url_secret)
 *   POST /webhooks/{partner}                          one for all: webhooks.integration says whose each event is
 *
 * A delivery is verified over the bytes that came, taken apart, marked and queued in Redis, and only then answered with 202.
 * All of that runs on the loop: a delivery that waits for Redis costs its body and a few hundred bytes, no stack.
 *
 *   202 {"accepted":2,"duplicates":1}   it is in Redis; what was there already is not queued again
 *   400 what can't be read · 401 not the partner's, or too old · 404 no such integration (or app) · 405 · 413 too large, or
 *   too many events · 415 a type of body that nobody reads · 503 with Retry-After: Redis is down, or Postgres while the
 *   integration is not known: the partner comes again */
#ifndef SCHEDULER_WEBHOOKS_H
#define SCHEDULER_WEBHOOKS_H

#include "scheduler/scheduler.h"

void webhooks_routes(struct scheduler *s, struct httpd *h);
int webhooks_start(struct scheduler *s) __attribute__((warn_unused_result));
void webhooks_stop(int64_t deadline_ms); /* waits; after the last request */
void webhooks_free(void);                /* after the loop */

#endif
