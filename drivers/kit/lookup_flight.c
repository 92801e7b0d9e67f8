#include <errno.h>
#include <string.h>

#include "common/io/co.h"
#include "common/io/loop.h"
#include "drivers/kit/lookup_parts.h"

struct sharer { /* on the waiting coroutine's stack */
	struct completion done;
	struct flight *of; /* NULL: it has ended */
	struct sharer *next;
};

static struct flight *flights; /* each on its fetching coroutine's stack */

void flight_begin(struct flight *f, const char *key)
{
	*f = (struct flight){ .key = key, .next = flights };
	flights = f;
}

void flight_end(struct flight *f)
{
	struct flight **p = &flights;

	while (*p != f)
		p = &(*p)->next;
	*p = f->next;
	for (struct sharer *s = f->sharers, *next; s; s = next) {
		next = s->next; /* its stack goes on as soon as it is woken */
		s->of = NULL;
		completion_done(&s->done);
	}
}

static struct flight *flight_find(const char *key)
{
	struct flight *f = flights;

	while (f && strcmp(f->key, key) != 0)
		f = f->next;
	return f;
}

/* Not by the key: where a lease ran out, or Redis lost it, a second flight of the same has begun. */
static void leave(struct sharer *s)
{
	struct sharer **p = s->of ? &s->of->sharers : NULL;

	while (p && *p != s)
		p = &(*p)->next;
	if (p)
		*p = s->next;
}

int flight_wait(const char *key, int64_t pause_ms, int64_t deadline_ms)
{
	struct flight *f = flight_find(key);
	struct sharer self;
	int rc;

	if (!f)
		return co_sleep("another's lookup", pause_ms);
	self = (struct sharer){ .of = f, .next = f->sharers };
	f->sharers = &self;
	rc = completion_wait(&self.done, "another's lookup", deadline_ms);
	if (rc < 0)
		leave(&self);
	/* Whose bound it was the caller sees by his clock. */
	return rc == -ETIMEDOUT && loop_now_ms() < co_deadline(co_self()) ? 0 : rc;
}
