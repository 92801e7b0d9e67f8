/* How many more children a lane takes (Q13), against a real redis-server. */
#include "worker/room.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

#include "tests/unit/queue_steps.h"

#define LOOKED_MS 1000 /* so long one look holds */

static struct worker worker;
static struct attempt a;

static int64_t room(const char *partner, enum lane lane)
{
	int64_t n = -12345;

	worker.redis = conn;
	a.worker = &worker;
	CHECK(room_in(&a, partner, lane, &n) == 0);
	return n;
}

static void stand(const char *key, int n)
{
	for (int i = 0; i < n; i++)
		freeReplyObject(plain("ZADD %s 0 m%d", key, i));
}

static void body_counts_what_waits(void)
{
	worker.lane_bound = 10;
	CHECK(room("p", LANE_NORMAL) == 10);
	stand("ready:{q}:normal", 4);
	stand("ready:{q}:low", 12);
	stand("delayed:{q}", 5);
	CHECK(room("q", LANE_NORMAL) == 6); /* what is delayed is in no lane yet */
	CHECK(room("q", LANE_LOW) == -2);
	CHECK(room("q", LANE_HIGH) == 10);
	/* but where fan-outs are put off it is what they made */
	stand("ready:{longshore}:normal", 2);
	stand("delayed:{longshore}", 5);
	CHECK(room("longshore", LANE_NORMAL) == 3);
}

/* Thousands that ask within a second do not all get the same room. */
static void body_what_is_taken_counts_at_once(void)
{
	worker.lane_bound = 10;
	CHECK(room("r", LANE_LOW) == 10);
	room_take("r", LANE_LOW, 7);
	CHECK(room("r", LANE_LOW) == 3);
	CHECK(room("r", LANE_NORMAL) == 10);
	room_take("r", LANE_LOW, 5);
	CHECK(room("r", LANE_LOW) == -2);
	/* a second later Redis is asked again: they have run meanwhile */
	CHECK(co_sleep("a look", LOOKED_MS + 20) == 0);
	CHECK(room("r", LANE_LOW) == 10);
}

static void body_pauses_are_spread(void)
{
	int64_t least = INT64_MAX, most = 0;

	for (int i = 0; i < 200; i++) {
		int64_t ms = room_pause_ms(false);

		least = ms < least ? ms : least;
		most = ms > most ? ms : most;
		CHECK(room_pause_ms(true) < 3001);
	}
	CHECK(least >= 4000 && most <= 12000 && most - least > 2000);
}

TEST(counts_what_waits)
TEST(what_is_taken_counts_at_once)
TEST(pauses_are_spread)

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(counts_what_waits),
		cmocka_unit_test(what_is_taken_counts_at_once),
		cmocka_unit_test(pauses_are_spread),
	};

	return cmocka_run_group_tests(tests, setup, teardown);
}
