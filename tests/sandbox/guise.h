/* The same listings and reservations as another partner shows them: ids that are numbers, times without a zone, windows of
 * its own for its own limits.  Nothing here waits. */
#ifndef TESTS_SANDBOX_GUISE_H
#define TESTS_SANDBOX_GUISE_H

#include "tests/sandbox/exchange.h"

#define GUISE_TIME_MAX 24

/* 10,000,000 for each account, reservations from the middle on; it follows from the id at Guesty. */
int64_t guise_id(int account, const char *guesty_id);
const struct item *guise_find(const struct collection *c, int account, const char *id);
/* "2026-11-21 14:00:00", of an ISO 8601 text; "" where there is none. */
void guise_time(const cJSON *tree, const char *key, char out[GUISE_TIME_MAX]);
const char *guise_country(const char *name); /* "Portugal" -> "PT"; NULL: not known */
void guise_copy(cJSON *to, const char *key, const cJSON *from, const char *path);
cJSON *guise_text(const char *s); /* NULL: null */
int guise_number(const struct httpd_request *q, const char *name, int fallback, int most);

/* A limit of each account, whichever flags the sandbox has; only --limits none turns it off. */
struct quota {
	struct tier tier;
	struct quota_of {
		int account;
		struct window served;
		struct quota_of *next;
	} * first;
};
/* 0: counted and let through.  Else how long until there is room, in us; the account's refusals are counted. */
int64_t quota_admit(struct quota *q, const struct exchange *x);
void quota_free(struct quota *q);

#endif
