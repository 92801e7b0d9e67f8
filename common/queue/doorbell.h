/* Wakes an idle worker when any of its partners has work, without polling: server-assisted tracking
 * (CLIENT TRACKING ON REDIRECT … OPTIN NOLOOP) over EXISTS of three intakes and three rings per partner; HLEN flight where only
 * the partner's cap stands in the way.  A safety check every 2 s; where tracking is refused, plain polling
 * (every 20 ms), said once in the log.  Own connection for the messages; commands go over `main`. */
#ifndef COMMON_QUEUE_DOORBELL_H
#define COMMON_QUEUE_DOORBELL_H

#include "common/queue/queue.h"

struct doorbell;
typedef void (*doorbell_fn)(struct queue *q, void *arg); /* on the loop: q may have work */

struct doorbell *doorbell_new(struct redis *main, const char *redis_url, struct queue **queues,
			      int n, doorbell_fn fn, void *arg);
void doorbell_free(struct doorbell *d);
/* Call when a claim on q came back empty (or at the partner's cap: at_cap), and after own writes to q.  One armed check is sent per turn of the
 * loop for all queues that asked; fn is called at once for those that have work. */
void doorbell_arm(struct doorbell *d, struct queue *q, bool at_cap);

/* The next command sent over `main` is one whose keys Redis tells of (on_limit) once another connection has changed them.
 * False: it can't be. */
bool doorbell_watch(struct redis *main);
/* Changes of keys of the limiter (limit:…); NULL: perhaps of any.  One function a process. */
void doorbell_on_limit(void (*fn)(const char *key));

#endif
