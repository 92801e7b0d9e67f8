/* What the intake of webhooks knows of integrations, so that Postgres is asked seldom, and not at all while it is down: whose an
 * address is and with which secrets its partner signs.  Bounded; looked at anew within seconds of use.
 *
 *   up to FRESH_MS old      used as it is
 *   up to STALE_MS          used, and loaded again meanwhile
 *   older                   loaded before it is used; if Postgres does not answer, what was known goes for KEPT_MS
 *
 * All that is asked for in one turn is one query.  Secrets stand here opened, and only while the entry is. */
#ifndef SCHEDULER_WEBHOOK_KNOWN_H
#define SCHEDULER_WEBHOOK_KNOWN_H

#include "common/store/receiver.h"
#include "drivers/driver.h"
#include "drivers/kit/verify.h"
#include "scheduler/scheduler.h"

#define KNOWN_FRESH_MS 10000
#define KNOWN_STALE_MS 60000
#define KNOWN_KEPT_MS (60 * 60 * 1000)
#define KNOWN_NOT_THERE_MS 1000 /* that there is none is believed so long */
#define KNOWN_MAX 10000
#define KNOWN_WAIT_MS 3000 /* for Postgres */

#define KNOWN_CREDENTIALS_MAX 8

struct known {
	/* borrowed from the cache; until the next turn of the loop */
	int64_t id;                  /* of an integration's, and of an app's newest */
	const struct driver *driver; /* in the version that this integration has */
	struct verify_secrets secrets;
	/* JSON, newest first, where the driver's C verifies; else none */
	struct secret credentials[KNOWN_CREDENTIALS_MAX];
	int n_credentials;
	bool unreadable; /* its credentials do not open: our fault, not the partner's */
	int64_t *ids;    /* of KNOWN_WHOSE */
	int n_ids;
};

enum known_kind { KNOWN_INTEGRATION, KNOWN_APP, KNOWN_WHOSE };
struct known_key {
	enum known_kind kind;
	int64_t id;                  /* KNOWN_INTEGRATION */
	const char *partner;         /* the others; borrowed for the call */
	const char *setting, *value; /* KNOWN_WHOSE */
};

/* -ENOENT: there is none; else that can't be told now. */
typedef void (*known_fn)(int rc, const struct known *k, void *arg);
/* Does not wait.  Calls back at once where it may.  anew: only what was loaded since the ask (a secret did not fit, perhaps because
 * it is new); it is not asked for more than once a second. */
void known_get(const struct known_key *key, bool anew, known_fn fn, void *arg);
int known_start(struct scheduler *s) __attribute__((warn_unused_result));
/* Waits.  Nothing more is loaded: after the last request, since those that are coming in may still ask. */
void known_stop(int64_t deadline_ms);
/* After the loop. */
void known_free(void);

#endif
