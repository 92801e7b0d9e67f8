#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "common/base/arena.h"
#include "common/base/mem.h"

static void memory_is_zeroed_aligned_and_apart(void **state)
{
	struct arena *a = arena_new();
	unsigned char *p[400];

	for (size_t i = 0; i < ARRAY_LEN(p); i++) {
		size_t n = i * 3 + 1;

		p[i] = arena_alloc(a, n);
		assert_int_equal((uintptr_t)p[i] % 16, 0);
		for (size_t k = 0; k < n; k++)
			assert_int_equal(p[i][k], 0);
		memset(p[i], (int)(i & 255), n);
	}
	for (size_t i = 0; i < ARRAY_LEN(p); i++)
		for (size_t k = 0; k < i * 3 + 1; k++)
			assert_int_equal(p[i][k], i & 255);
	arena_free(a);
}

static void small_jobs_cost_one_block(void **state)
{
	struct arena *a = arena_new();

	assert_int_equal(arena_bytes(a), 1024);
	for (int i = 0; i < 29; i++)
		arena_alloc(a, 32);
	assert_int_equal(arena_bytes(a), 1024);
	arena_free(a);
	arena_free(NULL);
}

static void big_requests_do_not_waste_the_current_block(void **state)
{
	struct arena *a = arena_new();
	char *before = arena_alloc(a, 16), *big, *after;

	big = arena_alloc(a, 1000000);
	memset(big, 1, 1000000);
	after = arena_alloc(a, 16);
	assert_ptr_equal(after, before + 16);
	assert_true(arena_bytes(a) >= 1001024 && arena_bytes(a) < 1010000);
	arena_free(a);
}

static void strings_are_copied(void **state)
{
	struct arena *a = arena_new();
	char text[] = "listing";
	char *copy = arena_strdup(a, text);

	text[0] = 'X';
	assert_string_equal(copy, "listing");
	assert_null(arena_strdup(a, NULL));
	assert_null(arena_strndup(a, NULL, 3));
	assert_string_equal(arena_strndup(a, "abcdef", 3), "abc");
	assert_string_equal(arena_strndup(a, "ab", 30), "ab");
	assert_string_equal(arena_printf(a, "%s page %d", "listings", 3), "listings page 3");
	assert_string_equal(arena_printf(a, "%s", ""), "");
	assert_int_equal(strlen(arena_printf(a, "%5000d", 1)), 5000);
	arena_free(a);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(memory_is_zeroed_aligned_and_apart),
		cmocka_unit_test(small_jobs_cost_one_block),
		cmocka_unit_test(big_requests_do_not_waste_the_current_block),
		cmocka_unit_test(strings_are_copied),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
