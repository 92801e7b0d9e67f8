#include "common/io/resolve.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "common/io/co.h"
#include "common/io/loop.h"

/* getaddrinfo reads this old way of writing 127.0.0.1 without asking any name server, yet it is
 * no literal to us: the way through the thread, tested without a network. */
#define OLD_FORM "127.1"
/* No label of a name has more than 63 characters: refused without a question to the network. */
#define IMPOSSIBLE "x123456789012345678901234567890123456789012345678901234567890123456789.example"

static struct {
	int calls, rc;
	char address[RESOLVE_ADDR_MAX], text[200];
} got;

static int begin(void **state)
{
	memset(&got, 0, sizeof(got));
	return loop_init();
}

static int end(void **state)
{
	loop_close();
	return 0;
}

static void remember(int rc, const char *address, const char *text, void *arg)
{
	got.calls++;
	got.rc = rc;
	snprintf(got.address, sizeof(got.address), "%s", address ? address : "");
	snprintf(got.text, sizeof(got.text), "%s", text ? text : "");
	if (arg && got.calls == *(int *)arg)
		loop_stop();
}

static void literals_and_localhost_answer_at_once(void **state)
{
	resolve("10.1.2.3", remember, NULL);
	assert_int_equal(got.calls, 1);
	assert_string_equal(got.address, "10.1.2.3");
	resolve("::1", remember, NULL);
	assert_int_equal(got.calls, 2);
	assert_string_equal(got.address, "::1");
	resolve("LocalHost", remember, NULL);
	assert_int_equal(got.calls, 3);
	assert_string_equal(got.address, "127.0.0.1");
}

static void a_name_is_looked_up_in_a_thread_and_kept(void **state)
{
	int stop_at = 3;

	/* Three askers, one thread. */
	for (int i = 0; i < 3; i++)
		resolve(OLD_FORM, remember, &stop_at);
	assert_int_equal(got.calls, 0);
	loop_run();
	assert_int_equal(got.calls, 3);
	assert_int_equal(got.rc, 0);
	assert_string_equal(got.address, "127.0.0.1");
	resolve(OLD_FORM, remember, NULL); /* from memory */
	assert_int_equal(got.calls, 4);
}

static void what_is_no_name_is_refused(void **state)
{
	char longer[400];
	int stop_at = 3;

	memset(longer, 'a', sizeof(longer) - 1);
	longer[sizeof(longer) - 1] = '\0';
	resolve("", remember, NULL);
	assert_int_equal(got.rc, -EHOSTUNREACH);
	got.rc = 0;
	resolve(longer, remember, NULL);
	assert_int_equal(got.rc, -EHOSTUNREACH);
	got.rc = 0;
	resolve(IMPOSSIBLE, remember, &stop_at);
	loop_run();
	assert_int_equal(got.calls, 3);
	assert_int_equal(got.rc, -EHOSTUNREACH);
	assert_string_equal(got.address, "");
	assert_non_null(strstr(got.text, "x1234567890"));
}

static void answers_after_the_loop_closed_touch_nothing(void **state)
{
	memset(&got, 0, sizeof(got));
	for (int i = 0; i < 20; i++) {
		assert_int_equal(loop_init(), 0);
		resolve(OLD_FORM, remember, NULL);
		loop_close();
	}
	assert_int_equal(got.calls, 20); /* each asker is told, once, that nothing will come */
	assert_int_equal(got.rc, -EHOSTUNREACH);
}

static struct {
	int rc, cancelled_rc;
	char address[RESOLVE_ADDR_MAX];
	struct err err;
} waited;

static void wait_for_address(void *arg)
{
	waited.rc = resolve_wait(OLD_FORM, waited.address, loop_now_ms() + 5000, &waited.err);
	co_cancel(co_self());
	waited.cancelled_rc =
		resolve_wait("127.2", waited.address, loop_now_ms() + 5000, &waited.err);
	/* Another turn or two, so that the orphaned answer arrives while the loop runs. */
	loop_stop();
}

static void a_coroutine_waits_for_it(void **state)
{
	int stop_at = 1;

	assert_non_null(co_spawn("asker", wait_for_address, NULL));
	loop_run();
	assert_int_equal(waited.rc, 0);
	assert_string_equal(waited.address, "127.0.0.1");
	assert_int_equal(waited.cancelled_rc, -ECANCELED);
	assert_int_equal(waited.err.class, ERR_CANCELLED);
	resolve("127.2", remember, &stop_at); /* joins the wait behind the orphan */
	if (got.calls == 0)
		loop_run();
	assert_string_equal(got.address, "127.0.0.2");
}

/* More names than are kept: those that nobody waits for go, and are looked up again. */
static void many_names_are_not_all_kept(void **state)
{
	char name[16];

	for (int round = 0; round < 2; round++) {
		for (int i = 1; i <= 1100; i += round ? 1099 : 1) {
			int stop_at = 1;

			memset(&got, 0, sizeof(got));
			snprintf(name, sizeof(name), "127.%d", i);
			resolve(name, remember, &stop_at);
			if (got.calls == 0)
				loop_run();
			assert_int_equal(got.rc, 0);
			assert_int_equal(got.calls, 1);
		}
		assert_string_equal(got.address, "127.0.4.76");
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(literals_and_localhost_answer_at_once, begin, end),
		cmocka_unit_test_setup_teardown(a_name_is_looked_up_in_a_thread_and_kept, begin,
						end),
		cmocka_unit_test_setup_teardown(what_is_no_name_is_refused, begin, end),
		cmocka_unit_test(answers_after_the_loop_closed_touch_nothing),
		cmocka_unit_test_setup_teardown(a_coroutine_waits_for_it, begin, end),
		cmocka_unit_test_setup_teardown(many_names_are_not_all_kept, begin, end),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
