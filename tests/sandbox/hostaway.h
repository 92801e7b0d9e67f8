/* Between the calls of Hostaway and what they show.  Trees are the caller's.  Nothing here waits. */
#ifndef TESTS_SANDBOX_HOSTAWAY_H
#define TESTS_SANDBOX_HOSTAWAY_H

#include "tests/sandbox/exchange.h"

cJSON *hostaway_listing_view(const struct exchange *x, const cJSON *t);
cJSON *hostaway_reservation_view(const struct exchange *x, const cJSON *t);

#endif
