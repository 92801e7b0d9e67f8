/* What the sandbox tells by itself: whoever is subscribed to an event of an account gets it when an item of it changes, signed as Guesty
 * does, each attempt anew and with the event's own id, until it is taken in (2xx) or has been tried for some minutes. */
#ifndef TESTS_SANDBOX_NEWS_H
#define TESTS_SANDBOX_NEWS_H

#include "common/base/json.h"

enum change { CHANGE_NEW, CHANGE_UPDATED, CHANGE_REMOVED };
/* Does not wait.  item: as it is now, or was before it went; borrowed for the call. */
void news_of(int account, const char *noun, enum change what, const cJSON *item);
void news_cancel(void); /* nothing more is sent */
int news_under_way(void);

#endif
