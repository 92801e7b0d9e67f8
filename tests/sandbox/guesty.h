/* What the files of the simulated Guesty share, and what they tell others: who wants to be told of what. */
#ifndef TESTS_SANDBOX_GUESTY_H
#define TESTS_SANDBOX_GUESTY_H

#include "common/base/json.h"
#include "tests/sandbox/exchange.h"

/* Token, limits, calls in flight; then the latency.  Waits.  false: answered. */
bool guesty_admit(struct exchange *x);

struct subscription {
	char id[25]; /* its _id */
	int account; /* number */
	char *url;
	cJSON *events;   /* a list of names */
	char secret[64]; /* whsec_…: another one each time it is made */
	struct subscription *next;
};
/* Those of an account (0: of all), oldest first; NULL after the last. */
const struct subscription *subscription_next(const struct subscription *after, int account);
bool subscription_wants(const struct subscription *s, const char *event);
void subscription_routes(struct httpd *h, struct sandbox *s);
void subscriptions_free(void);

#endif
