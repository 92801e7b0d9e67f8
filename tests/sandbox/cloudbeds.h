/* Between the calls of Cloudbeds and what they show.  Trees are the caller's.  Nothing here waits. */
#ifndef TESTS_SANDBOX_CLOUDBEDS_H
#define TESTS_SANDBOX_CLOUDBEDS_H

#include "tests/sandbox/exchange.h"

/* The currency is a list in getHotels and an object in getHotelDetails. */
cJSON *cloudbeds_hotel_view(const struct exchange *x, bool details);
cJSON *cloudbeds_room_type_view(const struct exchange *x, const cJSON *t);
cJSON *cloudbeds_reservation_listed(const struct exchange *x, const cJSON *t);
cJSON *cloudbeds_reservation_detailed(const struct exchange *x, const cJSON *t);
const char *cloudbeds_status_read(const char *status); /* as Guesty says it; NULL: it is none */
cJSON *cloudbeds_rate_plan_view(const struct exchange *x, int position);
cJSON *cloudbeds_addon_view(const struct exchange *x, int position);

#endif
