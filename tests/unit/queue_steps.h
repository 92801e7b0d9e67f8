/* Steps that the tests of the queue share. */
#ifndef TESTS_UNIT_QUEUE_STEPS_H
#define TESTS_UNIT_QUEUE_STEPS_H

#include "common/queue/queue.h"
#include "tests/unit/queue_redis.h"

static inline void caps_are(struct queue *q, int partner_cap, int default_cap)
{
	struct queue_control c = { .generation = 3,
				   .partner_cap = partner_cap,
				   .default_cap = default_cap };

	CHECK(queue_control_set(q, &c, soon(), NULL) == 0);
}

static inline void push_raw(const char *key, const char *payload)
{
	freeReplyObject(plain("LPUSH %s %s", key, payload));
}

static inline void push_many(const char *key, int64_t integration, int n)
{
	char payload[128];

	for (int i = 0; i < n; i++) {
		snprintf(payload, sizeof(payload),
			 "{\"task\":\"t\",\"integration_id\":%lld,\"n\":%d}",
			 (long long)integration, i);
		push_raw(key, payload);
	}
}

static inline struct claim_result claim(struct queue *q, int want)
{
	struct claim_result r = { 0 };
	struct err err = { 0 };

	int rc = queue_claim(q, want, &r, soon(), &err);
	if (rc < 0)
		fprintf(stderr, "claim: %d %s\n", rc, err.text);
	CHECK(rc == 0);
	return r;
}

static int settled_held, settled_lost;

static inline void on_settled(bool held, void *arg)
{
	settled_held += held;
	settled_lost += !held;
}

static inline void wait_settled(struct queue *q)
{
	int64_t end = soon();

	while (queue_unsettled(q) && loop_now_ms() < end)
		CHECK(co_sleep("settle", 1) == 0);
	CHECK(queue_unsettled(q) == 0);
}

static inline void settle_one(struct lease *l, enum settle_kind kind)
{
	struct queue *q = l->queue;
	struct settlement *s = settlement_new(l, kind);

	CHECK(l->member == NULL && l->queue == NULL);
	queue_settle(q, s, on_settled, NULL);
}

static inline void finish_all(struct queue *q, struct claim_result *r)
{
	settled_held = settled_lost = 0;
	for (int i = 0; i < r->n; i++)
		settle_one(&r->leases[i], SETTLE_DONE);
	wait_settled(q);
	CHECK(settled_held == r->n && settled_lost == 0);
	free(r->leases);
	*r = (struct claim_result){ 0 };
}

static inline void result_clear(struct claim_result *r)
{
	for (int i = 0; i < r->n; i++)
		lease_clear(&r->leases[i]);
	free(r->leases);
}

/* Nothing of a job is left anywhere. */
static inline void nothing_left(const char *partner)
{
	const char *const allowed[] = { "control:", "seq:", "fence:", "worker:", "seen:", NULL };
	char *key = some_key_but(allowed);

	if (key)
		fprintf(stderr, "%s: left over: %s\n", partner, key);
	CHECK(key == NULL);
	free(key);
}

static inline int64_t ready_of(struct queue *q)
{
	struct queue_depth d = { 0 };

	CHECK(queue_depth(q, &d, soon(), NULL) == 0);
	return d.ready[LANE_HIGH] + d.ready[LANE_NORMAL] + d.ready[LANE_LOW];
}

static inline void bury(struct lease *l, int64_t at_ms, const char *letter)
{
	struct queue *q = l->queue;
	struct settlement *s = settlement_new(l, SETTLE_DEAD);

	settlement_set_letter(s, at_ms, "a", letter, strlen(letter));
	queue_settle(q, s, on_settled, NULL);
}

/* A test that runs body_NAME on the loop. */
#define TEST(name)                                  \
	static void name(void **state)              \
	{                                           \
		run(body_##name);                   \
		assert_int_equal(checks_failed, 0); \
	}

static inline int setup(void **state)
{
	log_init("test", LOG_ERROR, false);
	return server_start(NULL, NULL);
}

static inline int teardown(void **state)
{
	server_stop();
	return 0;
}

#endif
