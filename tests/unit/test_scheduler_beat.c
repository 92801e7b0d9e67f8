/* When a start by the clock goes ahead, is skipped, is made up for (Q13). */
#include "scheduler/beat.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "scheduler/scheduler.h"

#define EVERY 1000000
#define BOUND 10000

/* Of scheduler/main.c, which is not linked here. */
struct queue *scheduler_queue(struct scheduler *s, const char *partner)
{
	return NULL;
}

int scheduler_sleep(struct scheduler *s, int64_t ms)
{
	return -1;
}

int scheduler_spawn(struct scheduler *s, const char *name, void (*fn)(void *), void *arg)
{
	return -1;
}

static void starts_up_to_the_bound(void **state)
{
	assert_int_equal(beat_judge(0, BOUND, false, EVERY, EVERY), BEAT_START);
	assert_int_equal(beat_judge(BOUND, BOUND, false, EVERY, EVERY), BEAT_START);
	assert_int_equal(beat_judge(BOUND + 1, BOUND, false, EVERY, EVERY), BEAT_SKIP);
	/* how much of the slot is left matters only to one that was skipped */
	assert_int_equal(beat_judge(0, BOUND, false, 1, EVERY), BEAT_START);
}

static void one_that_was_skipped_is_made_up_for_when_half_has_drained(void **state)
{
	assert_int_equal(beat_judge(BOUND + 1, BOUND, true, EVERY, EVERY), BEAT_WAIT);
	assert_int_equal(beat_judge(BOUND / 2 + 1, BOUND, true, EVERY, EVERY), BEAT_WAIT);
	assert_int_equal(beat_judge(BOUND / 2, BOUND, true, EVERY / 2, EVERY), BEAT_START);
}

static void but_not_shortly_before_the_next(void **state)
{
	assert_int_equal(beat_judge(0, BOUND, true, EVERY / 10, EVERY), BEAT_START);
	assert_int_equal(beat_judge(0, BOUND, true, EVERY / 10 - 1, EVERY), BEAT_WAIT);
}

static void a_bound_of_one_drains_to_nothing(void **state)
{
	assert_int_equal(beat_judge(2, 1, false, EVERY, EVERY), BEAT_SKIP);
	assert_int_equal(beat_judge(1, 1, true, EVERY, EVERY), BEAT_WAIT);
	assert_int_equal(beat_judge(0, 1, true, EVERY, EVERY), BEAT_START);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(starts_up_to_the_bound),
		cmocka_unit_test(one_that_was_skipped_is_made_up_for_when_half_has_drained),
		cmocka_unit_test(but_not_shortly_before_the_next),
		cmocka_unit_test(a_bound_of_one_drains_to_nothing),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
