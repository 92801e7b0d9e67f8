#include "tests/sandbox/subscription.h"

#include <stdlib.h>
#include <string.h>

#include "common/base/crypto.h"
#include "common/base/id.h"
#include "common/base/mem.h"

static struct subscription *first;

struct subscription *subscription_next(const struct subscription *after, const struct teller *by,
				       int account)
{
	struct subscription *s = after ? after->next : first;

	while (s && (s->account != account || (by && s->by != by)))
		s = s->next;
	return s;
}

struct subscription *subscription_find(const struct teller *by, int account, const char *id)
{
	struct subscription *s = NULL;

	while ((s = subscription_next(s, by, account)))
		if (strcmp(s->id, id) == 0)
			break;
	return s;
}

bool subscription_wants(const struct subscription *s, const char *event)
{
	const cJSON *e;

	cJSON_ArrayForEach (e, s->events)
		if (cJSON_IsString(e) && strcmp(e->valuestring, event) == 0)
			return true;
	return !s->events;
}

static void subscription_free(struct subscription *s)
{
	free(s->url);
	cJSON_Delete(s->events);
	free(s);
}

void subscription_remove(struct subscription *s)
{
	struct subscription **at = &first;

	while (*at != s)
		at = &(*at)->next;
	*at = s->next;
	subscription_free(s);
}

void subscriptions_free(void)
{
	while (first)
		subscription_remove(first);
}

struct subscription *subscription_add(const struct teller *by, int account, const char *url,
				      cJSON *events)
{
	struct subscription *s = mem_new(struct subscription), **at = &first;
	uint8_t bytes[12];

	random_bytes(bytes, sizeof(bytes));
	crypto_hex(bytes, sizeof(bytes), s->id);
	s->by = by;
	s->account = account;
	s->url = mem_strdup(url);
	s->events = events;
	while (*at)
		at = &(*at)->next;
	*at = s;
	return s;
}
