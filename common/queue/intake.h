/* The way in of what partners send by themselves (webhooks): one script marks an event as seen and puts its job into ready, so
 * that there is neither a mark without a job nor two jobs of one event.  All that came in one turn of the loop goes together.
 *
 * The job, as it is made by scheduler/webhooks and done by worker/tasks (process_webhook):
 *
 *   {"task":"process_webhook","integration_id":7,"id":"wh-HASH","args":{
 *      "event":"reservation.updated.v2",  the partner's own name for it, "" where it says none; which of the manifest's
 *                                         `webhooks.events` that is the worker decides
 *      "event_id":"msg_2LJC7S5QxN",       the partner's, or "hash:…" of what `webhooks.event_id` says is hashed
 *      "external_id":"64fa…",             only where the driver's C (verify_webhook) says which item it is of
 *      "reference":"4711",                only where it came to an address that had a reference of ours in it (webhooks.callback)
 *      "row_id":"l-64fa…",                only of one that is queued again (a replay): the row's external_id, as it was known then
 *      "received_us":1763711730123456,    when it came in, on Redis' clock
 *      "happened_us":1763711729000000,    the event's own time (`webhooks.happened_at`); left out where it says none
 *      "believed":true,                   false: anybody could have sent it (url_secret, none), so nothing but what to look at
 *                                         is taken from it
 *      "body":{…}}}                       the event as JSON: its bytes as they came, or one record of a delivery of many
 *
 * What brings credentials has no body, but "sealed":"v1.KEY.…", the same encrypted as credentials are in Postgres, bound to HASH (and null
 * as its body where it is not believed): no secret lies in Redis in clear.
 *
 * HASH: 32 hex digits of the SHA-256 of the event's id (or of what is hashed) and the integration; the mark is
 * seen:{p}:wh:INTEGRATION:HASH and lives a day.  The id is the same each time the same event comes; whoever queues an event
 * again by hand (a replay) does so without the mark.
 *
 * Lanes: normal.  A webhook is no user's click, and a storm of them must not stand before one; integrations take turns there
 * (Q12).  What tells of the integration's credentials (auth_revoked, credentials_rotated) goes high: whatever else waits for
 * that integration depends on it, and there are few.  New credentials are what an auth_broken integration's jobs wait for, so theirs
 * stands in the ring of no integration, which nothing holds. */
#ifndef COMMON_QUEUE_INTAKE_H
#define COMMON_QUEUE_INTAKE_H

#include "common/queue/queue.h"

#define INTAKE_SEEN_MS (24 * 3600 * 1000)
#define INTAKE_HASH_CHARS 32
#define INTAKE_TASK "process_webhook"

struct queue_event {
	enum lane lane;
	int64_t integration;
	bool unheld; /* it stands in the ring of no integration: what holds its own does not hold it */
	char hash[INTAKE_HASH_CHARS + 1];
	const char *payload;
	size_t len; /* at most JOB_MAX_BYTES */
};

/* fresh: for each of them '1', or '0' for one that was seen within a day; NULL on failure.  -ECONNRESET: not known, all of it may
 * be sent again; -EPROTO: Redis refused it (full, say). */
typedef void (*intake_fn)(int rc, const char *fresh, int n, void *arg);
/* Does not wait.  One delivery of n events: cb is called once Redis has answered for all of them, never before this
 * returns.  Copies; the events may come in several scripts where they are many. */
void queue_take_in(struct queue *q, const struct queue_event *v, int n, intake_fn cb, void *arg);

#endif
