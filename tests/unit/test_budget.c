/* What a job may hold. */
#include "common/base/budget.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

static void takes_up_to_the_limit(void **state)
{
	struct budget b = { .limit = 100 };

	assert_true(budget_take(&b, 60) && budget_take(&b, 40));
	assert_int_equal(budget_left(&b), 0);
	assert_false(budget_take(&b, 1));
	assert_int_equal(b.held, 100);
	budget_give(&b, 60);
	assert_int_equal(budget_left(&b), 60);
	assert_false(budget_take(&b, 61));
	assert_true(budget_take(&b, 10));
	assert_true(b.held == 50 && b.peak == 100);
}

static void without_a_limit_it_counts(void **state)
{
	struct budget b = { 0 };

	assert_true(budget_take(&b, INT64_C(1) << 40));
	assert_true(b.held == INT64_C(1) << 40 && budget_left(&b) == INT64_MAX);
	budget_give(&b, INT64_C(1) << 40);
	assert_int_equal(b.held, 0);
}

static void nobody_has_none(void **state)
{
	assert_true(budget_take(NULL, INT64_MAX));
	assert_true(budget_left(NULL) == INT64_MAX);
	budget_give(NULL, 5);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(takes_up_to_the_limit),
		cmocka_unit_test(without_a_limit_it_counts),
		cmocka_unit_test(nobody_has_none),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
