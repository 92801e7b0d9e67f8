/* Integrations as those that receive webhooks: whose an address is, and by which secrets a delivery is known to be the
 * partner's.  All wait, read only, and end by the deadline: a partner is waiting for its answer. */
#ifndef COMMON_STORE_RECEIVER_H
#define COMMON_STORE_RECEIVER_H

#include "common/base/crypto.h"
#include "common/io/pg.h"

#define RECEIVERS_AT_ONCE 500
#define RECEIVERS_SHARED 100 /* integrations that one event may be of */

/* Borrowed for the call.  sealed, previous: credentials as they are stored, and those that they took the place of, for a day
 * (what the partner still signs with); NULL: none. */
struct receiver {
	int64_t id;
	const char *partner, *settings, *sealed, *previous;
};
typedef void (*receiver_fn)(const struct receiver *r, void *arg);

/* Those of n ids that are there. */
int receivers_by_id(struct pg *p, const int64_t *ids, int n, receiver_fn fn, void *arg,
		    int64_t deadline_ms, struct err *err) __attribute__((warn_unused_result));
/* The partner's own of no company: an app's. */
int receivers_of_app(struct pg *p, const char *partner, receiver_fn fn, void *arg,
		     int64_t deadline_ms, struct err *err) __attribute__((warn_unused_result));
/* Companies' that have this value as that setting, at most RECEIVERS_SHARED; their ids alone are told. */
int receivers_with(struct pg *p, const char *partner, const char *setting, const char *value,
		   receiver_fn fn, void *arg, int64_t deadline_ms, struct err *err)
	__attribute__((warn_unused_result));
/* Does not wait.  Opens what was sealed for that integration; as crypto_open. */
int receiver_open(const struct keyring *k, int64_t id, const char *sealed, struct secret *json)
	__attribute__((warn_unused_result));

#endif
