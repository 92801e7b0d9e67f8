#include "common/queue/doorbell.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/log.h"
#include "common/base/mem.h"
#include "common/queue/doorbell_impl.h"

#define CHANNEL "__redis__:invalidate"
#define FALSE_RINGS_MAX \
	8 /* in a row; then whatever makes EXISTS say yes to an empty claim is asked less often */

static struct doorbell *doorbells;
static void (*limit_fn)(const char *key);

static void flush_later(struct doorbell *d);

bool doorbell_can_track(const struct doorbell *d)
{
	return !d->refused && d->client_id[0];
}

static void safety_set(struct doorbell *d)
{
	loop_timer_set(d->safety, doorbell_can_track(d) ? DOORBELL_SAFETY_MS : DOORBELL_POLL_MS);
}

void doorbell_ring(struct doorbell *d, struct bell *b)
{
	if (b->state == BELL_IDLE)
		return;
	b->state = BELL_IDLE;
	b->claimed = b->q->claimed;
	d->fn(b->q, d->arg);
}

void doorbell_ask(struct doorbell *d, struct bell *b, int64_t delay_ms)
{
	b->state = BELL_ASKED;
	b->not_before_ms = delay_ms ? loop_now_ms() + delay_ms : 0;
	if (!delay_ms)
		flush_later(d);
	else if (!loop_timer_pending(d->later))
		loop_timer_set(d->later, delay_ms);
}

static void ask_all(struct doorbell *d)
{
	for (int i = 0; i < d->n; i++) {
		if (d->bells[i].state == BELL_ARMED || d->bells[i].state == BELL_CHECKING)
			doorbell_ask(d, &d->bells[i], 0);
	}
}

void doorbell_refuse(struct doorbell *d, const char *text)
{
	if (d->refused)
		return;
	d->refused = true;
	d->tracking = false;
	log_event(
		LOG_WARN, "doorbell_polls", LS("error", text), LI("every_ms", DOORBELL_POLL_MS),
		LS("effect",
		   "Redis refuses CLIENT TRACKING: idle workers ask it for work instead of being told"));
	safety_set(d);
}

void doorbell_destroy(struct doorbell *d)
{
	free(d->bells);
	free(d);
}

/* ---- one turn ---- */

static bool is_due(const struct bell *b, int64_t now_ms)
{
	return b->state == BELL_ASKED && b->not_before_ms <= now_ms;
}

static void flush(void *arg)
{
	struct doorbell *d = arg;
	struct bell **due = mem_alloc((size_t)d->n * sizeof(*due));
	int64_t now_ms = loop_now_ms(), next_ms = INT64_MAX;
	int n = 0;

	d->flushing = false;
	for (int i = 0; i < d->n; i++) {
		struct bell *b = &d->bells[i];

		if (is_due(b, now_ms) && b->at_cap)
			doorbell_check_cap(d, b);
		else if (is_due(b, now_ms))
			due[n++] = b;
		else if (b->state == BELL_ASKED && b->not_before_ms < next_ms)
			next_ms = b->not_before_ms;
	}
	if (n > 0)
		doorbell_check_work(d, due, n);
	free(due);
	if (next_ms != INT64_MAX)
		loop_timer_set(d->later, next_ms - now_ms);
}

static void flush_later(struct doorbell *d)
{
	if (d->flushing)
		return;
	d->flushing = true;
	loop_defer(flush, d);
}

/* Armed bells are only looked at, one EXISTS for all: with nothing lost, arming them again would be half of what an
 * idle worker sends. */
static void on_safety(void *arg)
{
	struct doorbell *d = arg;
	struct bell **armed = mem_alloc((size_t)(d->n ? d->n : 1) * sizeof(*armed));
	bool tracks = doorbell_can_track(d) && d->tracking;
	int n = 0;

	for (int i = 0; i < d->n; i++) {
		struct bell *b = &d->bells[i];

		if (b->state != BELL_ARMED)
			continue;
		if (tracks && !b->at_cap)
			armed[n++] = b;
		else
			doorbell_ask(d, b, 0);
	}
	if (n > 0)
		doorbell_look(d, armed, n);
	free(armed);
	safety_set(d);
}

/* ---- messages ---- */

/* The bell whose partner stands between the braces. */
static struct bell *bell_of_key(struct doorbell *d, const char *key)
{
	const char *from = strchr(key, '{'), *to = from ? strchr(from, '}') : NULL;

	for (int i = 0; to && i < d->n; i++) {
		const char *partner = d->bells[i].q->partner;
		size_t n = strlen(partner);

		if ((size_t)(to - from - 1) == n && memcmp(from + 1, partner, n) == 0)
			return &d->bells[i];
	}
	return NULL;
}

/* A public lane was pushed to: what is in it is admitted in the claim's own round trip, not in one more. */
static void note_raw(struct queue *q, const char *key)
{
	for (int lane = LANE_HIGH; lane <= LANE_LOW; lane++) {
		if (strcmp(key, q->keys.queue[lane]) == 0)
			q->raw_lanes |= 1u << (lane - 1);
	}
}

/* Third element: an array of keys; nil when everything was flushed. */
static void on_message(struct redis *r, const redisReply *message, void *arg)
{
	struct doorbell *d = arg;
	const redisReply *keys = message->elements == 3 ? message->element[2] : NULL;

	if (d->freed || !keys)
		return;
	if (keys->type != REDIS_REPLY_ARRAY && limit_fn)
		limit_fn(NULL);
	for (int i = 0; keys->type != REDIS_REPLY_ARRAY && i < d->n; i++)
		doorbell_ring(d, &d->bells[i]);
	for (size_t i = 0; keys->type == REDIS_REPLY_ARRAY && i < keys->elements; i++) {
		const redisReply *key = keys->element[i];
		bool limit = key->type == REDIS_REPLY_STRING && strncmp(key->str, "limit:", 6) == 0;
		struct bell *b =
			key->type == REDIS_REPLY_STRING && !limit ? bell_of_key(d, key->str) : NULL;

		if (limit && limit_fn)
			limit_fn(key->str);
		if (b && (b->state == BELL_ARMED || b->state == BELL_CHECKING)) {
			b->false_rings = 0;
			note_raw(b->q, key->str);
			doorbell_ring(d, b);
		}
	}
}

static void on_client_id(int rc, redisReply *reply, const char *text, void *arg)
{
	struct doorbell *d = arg;

	if (!d->freed && rc == 0) {
		snprintf(d->client_id, sizeof(d->client_id), "%lld", (long long)reply->integer);
		d->tracking = false;
		ask_all(d);
		safety_set(d);
	} else if (!d->freed && rc == -EPROTO) {
		doorbell_refuse(d, text);
	}
	freeReplyObject(reply);
}

static void on_subscribed(int rc, redisReply *reply, const char *text, void *arg)
{
	struct doorbell *d = arg;

	freeReplyObject(reply);
	if (!d->freed && rc == -EPROTO)
		doorbell_refuse(d, text);
}

/* The connection for messages is new: whatever was armed was armed for the old one. */
static void on_up(struct redis *r, void *arg)
{
	struct doorbell *d = arg;
	struct redis_args a;

	redis_args_init(&a);
	redis_arg(&a, "CLIENT");
	redis_arg(&a, "ID");
	redis_send(r, &a, on_client_id, d);
	redis_args_clear(&a);
	redis_args_init(&a);
	redis_arg(&a, "SUBSCRIBE");
	redis_arg(&a, CHANNEL);
	redis_send(r, &a, on_subscribed, d);
	redis_args_clear(&a);
}

static void on_down(struct redis *r, const char *why, void *arg)
{
	struct doorbell *d = arg;

	d->client_id[0] = '\0';
	d->tracking = false;
	if (!d->freed)
		safety_set(d);
}

/* Redis does not tell us of our own writes, and forgets that we watched the key. */
static void on_own_write(const char *partner)
{
	for (struct doorbell *d = doorbells; d; d = d->next) {
		for (int i = 0; i < d->n; i++) {
			struct bell *b = &d->bells[i];

			if (strcmp(b->q->partner, partner) == 0 &&
			    (b->state == BELL_ARMED || b->state == BELL_CHECKING))
				doorbell_ask(d, b, 0);
		}
	}
}

/* ---- the limiter's keys ---- */

bool doorbell_watch(struct redis *r)
{
	for (struct doorbell *d = doorbells; d; d = d->next) {
		if (d->main != r)
			continue;
		if (doorbell_can_track(d) && redis_is_up(r))
			doorbell_caching(d);
		return doorbell_can_track(d);
	}
	return false;
}

void doorbell_on_limit(void (*fn)(const char *key))
{
	limit_fn = fn;
}

/* ---- life ---- */

struct doorbell *doorbell_new(struct redis *r, const char *redis_url, struct queue **queues, int n,
			      doorbell_fn fn, void *arg)
{
	struct doorbell *d = mem_new(struct doorbell);
	struct redis_options o = {
		.url = redis_url,
		.client_name = "longshore-doorbell",
		.on_up = on_up,
		.on_down = on_down,
		.on_message = on_message,
		.arg = d,
	};
	struct err err = { 0 };

	d->main = r;
	d->fn = fn;
	d->arg = arg;
	d->n = n;
	d->bells = mem_zalloc((size_t)(n ? n : 1) * sizeof(*d->bells));
	for (int i = 0; i < n; i++)
		d->bells[i].q = queues[i];
	d->safety = loop_timer_new(on_safety, d);
	d->later = loop_timer_new(flush, d);
	if (redis_new(&o, &d->messages, &err) < 0)
		doorbell_refuse(d, err.text);
	d->next = doorbells;
	doorbells = d;
	queue_on_wrote(on_own_write);
	safety_set(d);
	return d;
}

void doorbell_free(struct doorbell *d)
{
	if (!d)
		return;
	for (struct doorbell **p = &doorbells; *p; p = &(*p)->next) {
		if (*p == d) {
			*p = d->next;
			break;
		}
	}
	d->freed = true;
	loop_timer_free(d->safety);
	loop_timer_free(d->later);
	loop_undefer(flush, d);
	d->answers++; /* the messages' callbacks must find d */
	redis_free(d->messages);
	if (--d->answers == 0)
		doorbell_destroy(d);
}

void doorbell_arm(struct doorbell *d, struct queue *q, bool at_cap)
{
	for (int i = 0; i < d->n; i++) {
		struct bell *b = &d->bells[i];
		int64_t delay_ms = 0;

		if (b->q != q)
			continue;
		b->at_cap = at_cap;
		if (b->state != BELL_IDLE) {
			doorbell_ask(d, b, 0);
			return;
		}
		/* It rang and the claim found nothing: once is a race with another worker, often is not. */
		b->false_rings = b->claimed == q->claimed ? b->false_rings + 1 : 0;
		if (b->false_rings > FALSE_RINGS_MAX)
			delay_ms = DOORBELL_POLL_MS << (b->false_rings - FALSE_RINGS_MAX < 6
								? b->false_rings - FALSE_RINGS_MAX
								: 6);
		doorbell_ask(d, b, delay_ms);
		return;
	}
}
