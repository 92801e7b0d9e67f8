/* When a lane is closed to starts by the clock, and when it opens again (Q13). */
#include "scheduler/beat.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "scheduler/scheduler.h"

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
	assert_false(beat_is_closed(false, 0, BOUND));
	assert_false(beat_is_closed(false, BOUND, BOUND));
	assert_true(beat_is_closed(false, BOUND + 1, BOUND));
}

static void opens_again_when_half_has_drained(void **state)
{
	assert_true(beat_is_closed(true, BOUND, BOUND));
	assert_true(beat_is_closed(true, BOUND / 2 + 1, BOUND));
	assert_false(beat_is_closed(true, BOUND / 2, BOUND));
}

static void a_bound_of_one_drains_to_nothing(void **state)
{
	assert_true(beat_is_closed(false, 2, 1));
	assert_true(beat_is_closed(true, 1, 1));
	assert_false(beat_is_closed(true, 0, 1));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(starts_up_to_the_bound),
		cmocka_unit_test(opens_again_when_half_has_drained),
		cmocka_unit_test(a_bound_of_one_drains_to_nothing),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
