/* What the sandbox tells by itself: whoever is subscribed to an event of an account gets it when an item of it changes, as that partner
 * tells it (subscription.h), each attempt anew and with the event's own id, until it is taken in (2xx) or the partner gives up. */
#ifndef TESTS_SANDBOX_NEWS_H
#define TESTS_SANDBOX_NEWS_H

#include "tests/sandbox/subscription.h"

/* Does not wait.  item: as it is now, or was before it went; fields: what was changed, NULL where it is new or gone; all borrowed
 * for the call. */
void news_of(struct account *a, const char *noun, enum change what, const cJSON *item,
	     const cJSON *fields);
/* Does not wait.  What one who is no subscriber is told, at an address that he gave with a call; t is borrowed for the call. */
void news_tell(const struct teller *by, const struct telling *t);
void news_cancel(void); /* nothing more is sent */
int news_under_way(void);

#endif
