/* Starts by the clock: each slot once and none after a later one; no leader of the past queues anything. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "common/queue/queue.h"
#include "tests/unit/queue_redis.h"

#define PAYLOAD "{\"task\":\"import_resources\"}"

static struct queue_start a_start(int64_t integration, int64_t slot, const char *id)
{
	return (struct queue_start){ .integration = integration,
				     .slot_ms = slot,
				     .id = id,
				     .payload = PAYLOAD,
				     .len = sizeof(PAYLOAD) - 1 };
}

static long long ready(void)
{
	return plain_int("ZCARD ready:{guesty}:normal");
}

static void body_each_slot_once(void)
{
	struct queue *q = queue_new(conn, "guesty", NULL);
	struct queue_start v[4] = { a_start(7, 1000, "a"), a_start(8, 1000, "b"),
				    a_start(7, 2000, "c"), a_start(7, 2000, "d") };
	struct err err = { 0 };
	bool known = true;

	CHECK(queue_fired_known(q, &known, soon(), &err) == 0 && !known);
	CHECK(queue_fire(q, 5, NULL, 0, soon(), &err) == 0 && ready() == 0);
	CHECK(queue_fired_known(q, &known, soon(), &err) == 0 && known);

	/* Two tasks of one slot, and two slots of one integration, in one call. */
	CHECK(queue_fire(q, 5, v, 4, soon(), &err) == 0);
	CHECK(v[0].fresh && v[1].fresh && v[2].fresh && v[3].fresh && ready() == 4);
	/* Again, by another leader: nothing. */
	CHECK(queue_fire(q, 6, v, 4, soon(), &err) == 0);
	CHECK(!v[0].fresh && !v[1].fresh && !v[2].fresh && !v[3].fresh && ready() == 4);
	/* One that comes late, after a later one: nothing. */
	v[0] = a_start(7, 1500, "e");
	v[1] = a_start(8, 1500, "f");
	CHECK(queue_fire(q, 6, v, 2, soon(), &err) == 0);
	CHECK(!v[0].fresh && v[1].fresh && ready() == 5);
	/* The leader that was before. */
	v[0] = a_start(9, 9000, "g");
	CHECK(queue_fire(q, 5, v, 1, soon(), &err) == -ESTALE && ready() == 5);
	CHECK(queue_fire(q, 6, v, 1, soon(), &err) == 0 && v[0].fresh && ready() == 6);

	/* A key of another type under our name: nothing is marked, nothing lost. */
	freeReplyObject(plain("DEL ring:{guesty}:normal"));
	freeReplyObject(plain("SET ring:{guesty}:normal x"));
	v[0] = a_start(10, 9000, "h");
	CHECK(queue_fire(q, 6, v, 1, soon(), &err) == -EPROTO && ready() == 6);
	freeReplyObject(plain("DEL ring:{guesty}:normal"));
	CHECK(queue_fire(q, 6, v, 1, soon(), &err) == 0 && v[0].fresh && ready() == 7);
	queue_free(q);
}

static void each_slot_once(void **state)
{
	run(body_each_slot_once);
	assert_int_equal(checks_failed, 0);
}

static int setup(void **state)
{
	return server_start(NULL, NULL);
}

static int teardown(void **state)
{
	server_stop();
	return 0;
}

int main(void)
{
	const struct CMUnitTest tests[] = { cmocka_unit_test(each_slot_once) };

	return cmocka_run_group_tests(tests, setup, teardown);
}
