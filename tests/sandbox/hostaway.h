/* What the files of the simulated Hostaway share.  Trees are the caller's. */
#ifndef TESTS_SANDBOX_HOSTAWAY_H
#define TESTS_SANDBOX_HOSTAWAY_H

#include "tests/sandbox/exchange.h"

#define HOSTAWAY "/hostaway/v1"

/* Token, limits; then the latency.  Waits.  false: answered. */
bool hostaway_admit(struct exchange *x);
void hostaway_fail(struct exchange *x, int status, const char *text);
void hostaway_webhook_routes(struct httpd *h, struct sandbox *s);

cJSON *hostaway_listing_view(const struct exchange *x, const cJSON *t);
cJSON *hostaway_reservation_view(const struct exchange *x, const cJSON *t);

#endif
