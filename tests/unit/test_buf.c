#include <limits.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "common/base/buf.h"
#include "common/base/mem.h"

static void empty_buffer_is_an_empty_string(void **state)
{
	struct buf b = BUF_INIT;
	char *p;

	assert_string_equal(buf_str(&b), "");
	buf_append(&b, NULL, 0);
	assert_int_equal(b.len, 0);
	assert_non_null(b.data);
	assert_string_equal(b.data, "");
	buf_clear(&b);
	assert_null(b.data);
	p = buf_detach(&b);
	assert_string_equal(p, "");
	free(p);
}

static void holds_any_bytes_and_stays_terminated(void **state)
{
	struct buf b = BUF_INIT;

	for (int i = 0; i < 1000; i++) {
		buf_putc(&b, (char)i);
		assert_int_equal(b.data[b.len], 0);
	}
	assert_int_equal(b.len, 1000);
	for (int i = 0; i < 1000; i++)
		assert_int_equal((unsigned char)b.data[i], i & 255);
	buf_reset(&b);
	assert_int_equal(b.len, 0);
	assert_string_equal(b.data, "");
	buf_clear(&b);
}

static void appends_a_part_of_itself(void **state)
{
	struct buf b = BUF_INIT;

	buf_puts(&b, "abcdef");
	for (int i = 0; i < 10; i++) {
		size_t len = b.len;

		buf_append(&b, b.data, b.len); /* grows in the middle of it */
		assert_int_equal(b.len, len * 2);
		assert_memory_equal(b.data, b.data + len, len);
	}
	buf_clear(&b);
}

static void integers_print_as_printf_does(void **state)
{
	static const int64_t values[] = { 0,
					  1,
					  -1,
					  9,
					  10,
					  99,
					  100,
					  101,
					  -100,
					  12345,
					  1000000,
					  INT64_MAX,
					  INT64_MIN,
					  INT64_MAX - 1,
					  9007199254740993 };
	char want[32];

	for (size_t i = 0; i < ARRAY_LEN(values); i++) {
		struct buf b = BUF_INIT;

		buf_putint(&b, values[i]);
		snprintf(want, sizeof(want), "%lld", (long long)values[i]);
		assert_string_equal(b.data, want);
		buf_clear(&b);
	}
}

static void printf_grows_as_needed(void **state)
{
	struct buf b = BUF_INIT;
	char *big = mem_alloc(10001);

	memset(big, 'x', 10000);
	big[10000] = '\0';
	buf_puts(&b, "<");
	buf_printf(&b, "%s|%d", big, 42);
	assert_int_equal(b.len, 1 + 10000 + 3);
	assert_string_equal(b.data + 10001, "|42");
	for (int n = 50; n < 80; n++) { /* around the room it tries first */
		buf_clear(&b);
		buf_printf(&b, "%.*s", n, big);
		assert_int_equal(b.len, n);
		assert_int_equal(strlen(b.data), n);
	}
	free(big);
	buf_clear(&b);
}

static void detach_hands_over(void **state)
{
	struct buf b = BUF_INIT;
	char *p;

	buf_puts(&b, "mine");
	p = buf_detach(&b);
	assert_string_equal(p, "mine");
	assert_null(b.data);
	assert_int_equal(b.len, 0);
	buf_puts(&b, "again");
	assert_string_equal(buf_str(&b), "again");
	buf_clear(&b);
	free(p);
}

static void mem_helpers_copy(void **state)
{
	char *a = mem_strdup("abc"), *b = mem_strndup("abcdef", 4), *c = mem_strndup("ab", 10);
	char *d = mem_printf("%s-%d", "x", 7);
	int *z = mem_new(int);

	assert_string_equal(a, "abc");
	assert_string_equal(b, "abcd");
	assert_string_equal(c, "ab");
	assert_string_equal(d, "x-7");
	assert_int_equal(*z, 0);
	a = mem_realloc(a, 100);
	assert_string_equal(a, "abc");
	free(a);
	free(b);
	free(c);
	free(d);
	free(z);
	free(mem_alloc(0));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(empty_buffer_is_an_empty_string),
		cmocka_unit_test(holds_any_bytes_and_stays_terminated),
		cmocka_unit_test(appends_a_part_of_itself),
		cmocka_unit_test(integers_print_as_printf_does),
		cmocka_unit_test(printf_grows_as_needed),
		cmocka_unit_test(detach_hands_over),
		cmocka_unit_test(mem_helpers_copy),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
