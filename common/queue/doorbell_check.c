/* Asking Redis, in a way that also makes it tell us later: CLIENT CACHING YES, then EXISTS of what a queue's work would
 * make appear, or HLEN where only the partner's cap stands in the way. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/mem.h"
#include "common/queue/doorbell_impl.h"

#define AGAIN_MS 100 /* after a check that got no answer */

/* One EXISTS (or HLEN) under way and the bells it speaks for. */
struct check {
	struct doorbell *d;
	bool unarmed; /* CACHING was refused: the answer is good, but no message will come */
	bool looks; /* by the safety's timer, at bells that are armed: work that is there was not announced */
	int answers;
	int n;
	struct bell *bells[];
};

/* The last answer frees the check, and a doorbell that was freed meanwhile. */
static bool check_answered(struct check *c)
{
	struct doorbell *d = c->d;
	bool alive = !d->freed;

	if (--c->answers == 0)
		free(c);
	if (--d->answers == 0 && d->freed)
		doorbell_destroy(d);
	return alive;
}

static struct check *check_new(struct doorbell *d, struct bell **bells, int n)
{
	struct check *c = mem_alloc(sizeof(*c) + (size_t)n * sizeof(bells[0]));

	*c = (struct check){ .d = d, .n = n };
	if (n > 0)
		memcpy(c->bells, bells, (size_t)n * sizeof(bells[0]));
	return c;
}

static void send_words(struct check *c, redis_cb cb, const char *const *words)
{
	struct redis_args a;

	redis_args_init(&a);
	for (; *words; words++)
		redis_arg(&a, *words);
	c->answers++;
	c->d->answers++;
	redis_send(c->d->main, &a, cb, c);
	redis_args_clear(&a);
}

static void on_tracking(int rc, redisReply *reply, const char *text, void *arg)
{
	struct check *c = arg;
	struct doorbell *d = c->d;

	freeReplyObject(reply);
	if (rc < 0 && !d->freed) {
		d->tracking = false;
		/* The connection for messages was lost a moment ago: its next one asks again. */
		if (rc == -EPROTO && !strstr(text, "does not exist"))
			doorbell_refuse(d, text);
	}
	check_answered(c);
}

/* "… only when the client is in tracking mode": main reconnected without our knowing. */
static void on_caching(int rc, redisReply *reply, const char *text, void *arg)
{
	struct check *c = arg;
	struct doorbell *d = c->d;

	freeReplyObject(reply);
	if (rc < 0) {
		c->unarmed = true;
		d->tracking = false;
		if (rc == -EPROTO && !strstr(text, "tracking mode") && !d->freed)
			doorbell_refuse(d, text);
	}
	check_answered(c);
}

static void tracking_on(struct check *c)
{
	struct doorbell *d = c->d;
	const char *const words[] = { "CLIENT",     "TRACKING", "ON",     "REDIRECT",
				      d->client_id, "OPTIN",    "NOLOOP", NULL };

	if (d->tracking)
		return;
	d->tracking = true;
	send_words(c, on_tracking, words);
}

/* The very next command is the one whose keys are watched. */
static void caching(struct check *c)
{
	static const char *const words[] = { "CLIENT", "CACHING", "YES", NULL };

	if (!doorbell_can_track(c->d))
		return;
	tracking_on(c);
	send_words(c, on_caching, words);
}

static void on_exists(int rc, redisReply *reply, const char *text, void *arg);

static void exists_send(struct doorbell *d, struct bell **bells, int n, bool arm, bool looks)
{
	struct check *c = check_new(d, bells, n);
	struct redis_args a;

	c->looks = looks;
	if (arm)
		caching(c);
	redis_args_init(&a);
	redis_arg(&a, "EXISTS");
	for (int i = 0; i < n; i++) {
		bells[i]->state = BELL_CHECKING;
		args_lanes(&a, bells[i]->q->keys.queue);
		args_lanes(&a, bells[i]->q->keys.ring);
	}
	c->answers++;
	d->answers++;
	redis_send(d->main, &a, on_exists, c);
	redis_args_clear(&a);
}

static void not_there(struct doorbell *d, struct check *c, int rc)
{
	for (int i = 0; i < c->n; i++) {
		struct bell *b = c->bells[i];

		if (b->state != BELL_CHECKING)
			continue;
		if (rc < 0 || (c->unarmed && !d->refused))
			doorbell_ask(d, b, AGAIN_MS);
		else
			b->state = BELL_ARMED;
	}
}

static void on_exists(int rc, redisReply *reply, const char *text, void *arg)
{
	struct check *c = arg;
	struct doorbell *d = c->d;
	int64_t count = rc == 0 ? reply_int(reply) : 0;

	freeReplyObject(reply);
	if (!d->freed) {
		if (count == 0)
			not_there(d, c, rc);
		else if (c->n == 1)
			doorbell_ring(d, c->bells[0]);
		/* All are armed by now, unless a look had to find out; which of them it is, is asked one by one. */
		for (int i = 0; count > 0 && c->n > 1 && i < c->n; i++) {
			if (c->bells[i]->state != BELL_IDLE)
				exists_send(d, &c->bells[i], 1, c->unarmed || c->looks, false);
		}
	}
	check_answered(c);
}

static void on_flight(int rc, redisReply *reply, const char *text, void *arg)
{
	struct check *c = arg;
	struct doorbell *d = c->d;
	int64_t flying = rc == 0 ? reply_int(reply) : 0;

	freeReplyObject(reply);
	if (!d->freed) {
		if (rc == 0 && flying < c->bells[0]->q->partner_cap)
			doorbell_ring(d, c->bells[0]);
		else
			not_there(d, c, rc);
	}
	check_answered(c);
}

/* The cap itself: its change rings too. */
static void on_cap(int rc, redisReply *reply, const char *text, void *arg)
{
	struct check *c = arg;
	struct doorbell *d = c->d;
	int64_t cap = rc == 0 ? reply_int(reply) : 0;

	freeReplyObject(reply);
	if (!d->freed && rc == 0 && cap != c->bells[0]->q->partner_cap)
		doorbell_ring(d, c->bells[0]);
	check_answered(c);
}

void doorbell_check_cap(struct doorbell *d, struct bell *b)
{
	struct check *c = check_new(d, &b, 1);
	const char *const cap[] = { "HGET", b->q->keys.control, "partner", NULL };
	const char *const flight[] = { "HLEN", b->q->keys.flight, NULL };

	b->state = BELL_CHECKING;
	caching(c);
	send_words(c, on_cap, cap);
	caching(c);
	send_words(c, on_flight, flight);
}

void doorbell_caching(struct doorbell *d)
{
	caching(check_new(d, NULL, 0));
}

void doorbell_check_work(struct doorbell *d, struct bell **bells, int n)
{
	exists_send(d, bells, n, true, false);
}

void doorbell_look(struct doorbell *d, struct bell **bells, int n)
{
	exists_send(d, bells, n, false, true);
}
