#include "common/io/loop.h"

#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "common/base/clock.h"
#include "common/io/timers.h"

static char order[64];

static void note(void *arg)
{
	strncat(order, arg, sizeof(order) - strlen(order) - 1);
}

static void stop(void *arg)
{
	loop_stop();
}

static int begin(void **state)
{
	order[0] = '\0';
	return loop_init();
}

static int end(void **state)
{
	loop_close();
	return 0;
}

static void deferred_calls_run_in_order(void **state)
{
	loop_defer(note, "a");
	loop_defer(note, "b");
	loop_defer(stop, NULL);
	loop_defer(note, "c");
	assert_int_equal(loop_run(), 0);
	assert_string_equal(order, "abc");
}

static void defer_once_more(void *arg)
{
	loop_defer(note, "2");
	note("1");
	loop_defer(stop, NULL);
}

static void what_is_deferred_meanwhile_runs_after(void **state)
{
	loop_defer(defer_once_more, NULL);
	loop_defer(note, "x");
	loop_run();
	assert_string_equal(order, "1x2");
}

static void undefer_now(void *arg)
{
	loop_undefer(note, arg);
}

static void undefer_forgets(void **state)
{
	char gone[] = "gone", late[] = "late";

	loop_defer(note, gone);
	loop_undefer(note, gone);
	loop_defer(undefer_now, late); /* from within the round that would run it */
	loop_defer(note, late);
	loop_defer(stop, NULL);
	loop_run();
	assert_string_equal(order, "");
}

static int rounds;

static void again_and_again(void *arg)
{
	rounds++;
	loop_defer(again_and_again, NULL);
}

static void work_that_makes_work_lets_sockets_through(void **state)
{
	struct loop_timer *t = loop_timer_new(stop, NULL);

	rounds = 0;
	again_and_again(NULL);
	loop_timer_set(t, 5);
	loop_run();
	assert_true(rounds > 10);
	loop_timer_free(t);
}

static void timers_fire_in_order_of_time(void **state)
{
	struct loop_timer *t[] = { loop_timer_new(note, "3"), loop_timer_new(note, "1"),
				   loop_timer_new(note, "2"), loop_timer_new(stop, NULL),
				   loop_timer_new(note, "never") };
	int64_t began_ms = clock_mono_ms();

	loop_timer_set(t[0], 30);
	loop_timer_set(t[1], 10);
	loop_timer_set(t[2], 2000);
	loop_timer_set(t[2], 20); /* replaces */
	loop_timer_set(t[3], 40);
	loop_timer_set(t[4], 15);
	assert_true(loop_timer_pending(t[4]));
	loop_timer_stop(t[4]);
	assert_false(loop_timer_pending(t[4]));
	loop_run();
	assert_string_equal(order, "123");
	assert_in_range(clock_mono_ms() - began_ms, 40, 1000);
	for (size_t i = 0; i < 5; i++)
		loop_timer_free(t[i]);
}

static struct loop_timer *repeating;

static void third_time_frees_itself(void *arg)
{
	note("x");
	if (strlen(order) < 3)
		return;
	loop_timer_free(repeating);
	loop_stop();
}

static void a_repeating_timer_may_free_itself(void **state)
{
	repeating = loop_timer_new(third_time_frees_itself, NULL);
	loop_timer_every(repeating, 2);
	loop_run();
	assert_string_equal(order, "xxx");
}

static void absolute_timers_use_the_loops_clock(void **state)
{
	struct loop_timer *t = loop_timer_new(stop, NULL);
	int64_t at_ms = loop_now_ms() + 20;

	loop_timer_at(t, at_ms);
	loop_run();
	assert_true(clock_mono_ms() >= at_ms);
	assert_true(loop_now_ms() >= at_ms);
	loop_timer_free(t);
}

static void on_signal(int signo, void *arg)
{
	assert_int_equal(signo, SIGUSR2);
	note(arg);
	loop_stop();
}

static void signals_arrive_as_calls(void **state)
{
	assert_int_equal(loop_on_signal(SIGUSR2, on_signal, "signal"), 0);
	kill(getpid(), SIGUSR2);
	loop_run();
	assert_string_equal(order, "signal");
	assert_true(loop_on_signal(9999, on_signal, "") < 0);
}

static void hold(void *arg)
{
	int64_t end_us = clock_mono_us() + 30500;

	while (clock_mono_us() < end_us)
		;
	loop_ran("slow job");
	loop_stop();
}

static void lag_names_who_held_the_loop(void **state)
{
	const char *who;
	int64_t ms;

	loop_defer(hold, NULL);
	loop_run();
	ms = loop_lag_ms(&who);
	assert_in_range(ms, 30, 1000);
	assert_string_equal(who, "slow job");
	assert_int_equal(loop_lag_ms(&who), 0);
	assert_string_equal(who, "");
}

static void closing_calls_back_in_reverse(void **state)
{
	assert_int_equal(loop_init(), 0);
	order[0] = '\0';
	loop_at_close(note, "a");
	loop_at_close(note, "b");
	loop_close();
	assert_string_equal(order, "ba");
}

static void check_heap(const struct timers *t)
{
	for (int k = 0; k < t->n; k++) {
		assert_int_equal(t->v[k].node->place, k);
		if (k > 0)
			assert_true(t->v[(k - 1) / 4].at_us <= t->v[k].at_us);
	}
}

/* Over a long sequence that adds, moves and removes. */
static void the_heap_is_always_a_heap(void **state)
{
	enum { N = 200 };
	static struct timer_node nodes[N];
	struct timers t = { 0 };
	unsigned seed = 42;
	int most = 0;

	for (int i = 0; i < N; i++)
		nodes[i].place = -1;
	for (int step = 0; step < 20000; step++) {
		int i = (int)((seed = seed * 1103515245 + 12345) >> 16) % N;

		if ((seed >> 8) % 3 == 0)
			timers_remove(&t, &nodes[i]);
		else
			timers_set(&t, &nodes[i], (int64_t)(seed % 1000));
		check_heap(&t);
		most = t.n > most ? t.n : most;
	}
	assert_true(most > N / 2);
	timers_clear(&t);
	assert_int_equal(nodes[0].place, -1);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(deferred_calls_run_in_order, begin, end),
		cmocka_unit_test_setup_teardown(what_is_deferred_meanwhile_runs_after, begin, end),
		cmocka_unit_test_setup_teardown(undefer_forgets, begin, end),
		cmocka_unit_test_setup_teardown(work_that_makes_work_lets_sockets_through, begin,
						end),
		cmocka_unit_test_setup_teardown(timers_fire_in_order_of_time, begin, end),
		cmocka_unit_test_setup_teardown(a_repeating_timer_may_free_itself, begin, end),
		cmocka_unit_test_setup_teardown(absolute_timers_use_the_loops_clock, begin, end),
		cmocka_unit_test_setup_teardown(signals_arrive_as_calls, begin, end),
		cmocka_unit_test_setup_teardown(lag_names_who_held_the_loop, begin, end),
		cmocka_unit_test(closing_calls_back_in_reverse),
		cmocka_unit_test(the_heap_is_always_a_heap),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
