/* Who is to be told of what, whichever partner it is that tells; and how each of them does.  Nothing here waits. */
#ifndef TESTS_SANDBOX_SUBSCRIPTION_H
#define TESTS_SANDBOX_SUBSCRIPTION_H

#include "common/base/json.h"
#include "tests/sandbox/account.h"

enum change { CHANGE_NEW, CHANGE_UPDATED, CHANGE_REMOVED };

struct subscription {
	const struct teller *by;
	char id[25];
	int account; /* number */
	char *url;
	cJSON *events; /* a list of names; NULL: all that there are */
	char login[64], secret[64];
	bool off;
	struct subscription *next;
};

#define TELL_EVENTS_MAX 4
/* One attempt to tell. */
struct telling {
	const char *url, *login, *secret, *body;
	const char *id; /* of the event, the same in each attempt */
};
struct teller {
	/* The partner's names for a change, and how many they are.  fields: what was changed; NULL where it is new or gone. */
	int (*events)(const char *noun, enum change what, const cJSON *fields,
		      const char *names[TELL_EVENTS_MAX]);
	void (*body)(struct account *a, const char *event, const char *noun, const cJSON *item,
		     struct buf *out);
	int (*send)(const struct telling *t, struct buf *answer); /* waits; the status, 0: none */
	bool (*gives_up)(int status, int tries);
};
extern const struct teller guesty_teller, hostaway_teller, cloudbeds_teller;

/* Takes events.  Each has a name of its own. */
struct subscription *subscription_add(const struct teller *by, int account, const char *url,
				      cJSON *events);
/* Those of an account, oldest first; by NULL: of all partners.  NULL after the last. */
struct subscription *subscription_next(const struct subscription *after, const struct teller *by,
				       int account);
struct subscription *subscription_find(const struct teller *by, int account, const char *id);
bool subscription_wants(const struct subscription *s, const char *event);
void subscription_remove(struct subscription *s);
void subscriptions_free(void);

#endif
