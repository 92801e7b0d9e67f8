/* What the files of the simulated Cloudbeds share.  Trees are the caller's.  Nothing here waits. */
#ifndef TESTS_SANDBOX_CLOUDBEDS_H
#define TESTS_SANDBOX_CLOUDBEDS_H

#include "tests/sandbox/exchange.h"

#define CLOUDBEDS_FIELD_MAX 200

/* Answers as v1.3.  data is taken; total < 0: there is none. */
void cloudbeds_done(struct exchange *x, cJSON *data, int count, int total);
void cloudbeds_fail(struct exchange *x, int status, const char *message);
/* Of the form. */
bool cloudbeds_field(const struct exchange *x, const char *name, char out[CLOUDBEDS_FIELD_MAX]);

void cloudbeds_post_webhook(struct exchange *x);
void cloudbeds_get_webhooks(struct exchange *x);
void cloudbeds_delete_webhook(struct exchange *x);

/* The currency is a list in getHotels and an object in getHotelDetails. */
cJSON *cloudbeds_hotel_view(const struct exchange *x, bool details);
cJSON *cloudbeds_room_type_view(const struct exchange *x, const cJSON *t);
cJSON *cloudbeds_reservation_listed(const struct exchange *x, const cJSON *t);
cJSON *cloudbeds_reservation_detailed(const struct exchange *x, const cJSON *t);
const char *cloudbeds_status_read(const char *status); /* as Guesty says it; NULL: it is none */
const char *cloudbeds_status_view(const char *status); /* back */
cJSON *cloudbeds_rate_plan_view(const struct exchange *x, int position);
cJSON *cloudbeds_addon_view(const struct exchange *x, int position);

#endif
