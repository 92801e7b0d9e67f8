#include "common/io/co.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "common/base/clock.h"
#include "common/base/mem.h"
#include "common/io/loop.h"

/* Results are collected by the coroutines and checked on the main stack: a failed assertion
 * jumps, and must not jump from one stack to another. */
static char order[128];
static int rc_seen[8];
static int finished;

static void note(const char *s)
{
	strncat(order, s, sizeof(order) - strlen(order) - 1);
}

static int begin(void **state)
{
	order[0] = '\0';
	memset(rc_seen, 0, sizeof(rc_seen));
	finished = 0;
	return loop_init();
}

static int end(void **state)
{
	int left = co_count();

	loop_close();
	return left; /* every coroutine came to its end */
}

static struct co *spawn(const char *name, void (*fn)(void *), void *arg)
{
	struct co *co = co_spawn(name, fn, arg);

	assert_non_null(co);
	return co;
}

static void stop_when_alone(void *arg)
{
	while (co_count() > 1)
		if (co_sleep("others", 1) < 0)
			break;
	loop_stop();
}

static void run_all(void)
{
	spawn("stopper", stop_when_alone, NULL);
	assert_int_equal(loop_run(), 0);
}

static void say_twice(void *arg)
{
	note(arg);
	rc_seen[0] |= co_yield ();
	note(arg);
}

static void coroutines_take_turns(void **state)
{
	spawn("a", say_twice, "a");
	spawn("b", say_twice, "b");
	assert_string_equal(order, ""); /* nothing runs before the loop does */
	run_all();
	assert_string_equal(order, "abab");
	assert_int_equal(rc_seen[0], 0);
}

static struct completion result;

static void wait_for_result(void *arg)
{
	rc_seen[0] = completion_wait(&result, "result", *(int64_t *)arg);
	note("w");
}

static void bring_result(void *arg)
{
	rc_seen[1] = co_sleep("bring", 5);
	completion_done(&result);
	note("d");
}

static void a_completion_wakes_its_waiter(void **state)
{
	int64_t deadline_ms = CO_NO_DEADLINE;

	result = (struct completion){ 0 };
	spawn("waiter", wait_for_result, &deadline_ms);
	spawn("bringer", bring_result, NULL);
	run_all();
	assert_int_equal(rc_seen[0], 0);
	assert_int_equal(rc_seen[1], 0);
	assert_string_equal(order, "dw"); /* woken, not resumed inside the callback */
	assert_null(result.waiter);
}

static void a_wait_ends_at_its_deadline(void **state)
{
	int64_t deadline_ms = loop_now_ms() + 20;

	result = (struct completion){ 0 };
	spawn("waiter", wait_for_result, &deadline_ms);
	run_all();
	assert_int_equal(rc_seen[0], -ETIMEDOUT);
	assert_in_range(clock_mono_ms() - deadline_ms, 0, 60000);
}

static void wait_often(void *arg)
{
	co_set_deadline(co_self(), loop_now_ms() + 400);
	rc_seen[0] = co_wait("first", loop_now_ms() + 5);
	rc_seen[1] = co_sleep("second", 5);
	rc_seen[2] = co_wait("third", CO_NO_DEADLINE);
	rc_seen[3] = co_wait("fourth", CO_NO_DEADLINE); /* past its time no wait blocks */
	rc_seen[4] = co_sleep("fifth", 1000);
	co_set_deadline(co_self(),
			loop_now_ms() + 5000); /* time that doesn't count was given back */
	rc_seen[5] = co_sleep("sixth", 5);
}

static void the_own_deadline_bounds_every_wait(void **state)
{
	int64_t began_ms = clock_mono_ms();

	spawn("waiter", wait_often, NULL);
	run_all();
	assert_int_equal(rc_seen[0], -ETIMEDOUT);
	assert_int_equal(rc_seen[1], 0);
	assert_int_equal(rc_seen[2], -ETIMEDOUT);
	assert_int_equal(rc_seen[3], -ETIMEDOUT);
	assert_int_equal(rc_seen[4], -ETIMEDOUT);
	assert_int_equal(rc_seen[5], 0);
	assert_in_range(clock_mono_ms() - began_ms, 405, 60000);
}

static void wait_for_ever(void *arg)
{
	rc_seen[0] = co_wait("ever", CO_NO_DEADLINE);
	rc_seen[1] = co_is_cancelled();
	rc_seen[2] = co_sleep("cleanup", 1000);
	rc_seen[3] = co_yield ();
	finished++;
}

static void shorten(void *arg)
{
	if (co_sleep("a moment", 3) == 0)
		co_set_deadline(arg, loop_now_ms() + 5);
}

static void a_deadline_can_be_moved_while_it_waits(void **state)
{
	struct co *co = spawn("waiter", wait_for_ever, NULL);

	spawn("shortener", shorten, co);
	run_all();
	assert_int_equal(rc_seen[0], -ETIMEDOUT);
	assert_int_equal(rc_seen[1], false);
	assert_int_equal(finished, 1);
}

static void cancel_later(void *arg)
{
	if (co_sleep("a moment", 3) == 0)
		co_cancel(arg);
}

static void cancellation_fails_all_waits_and_unwinds(void **state)
{
	struct co *co = spawn("waiter", wait_for_ever, NULL);

	spawn("canceller", cancel_later, co);
	run_all();
	assert_int_equal(rc_seen[0], -ECANCELED);
	assert_int_equal(rc_seen[1], true);
	assert_int_equal(rc_seen[2], -ECANCELED);
	assert_int_equal(rc_seen[3], -ECANCELED);
	assert_int_equal(finished, 1);
}

static void cancelled_before_its_first_step_it_still_runs(void **state)
{
	co_cancel(spawn("waiter", wait_for_ever, NULL));
	run_all();
	assert_int_equal(rc_seen[0], -ECANCELED);
	assert_int_equal(finished, 1);
}

static void result_and_cancel(void *arg)
{
	if (co_sleep("a moment", 3) < 0)
		return;
	completion_done(&result);
	co_cancel(arg);
}

static void a_result_beats_a_cancellation(void **state)
{
	int64_t deadline_ms = CO_NO_DEADLINE;

	result = (struct completion){ 0 };
	spawn("both", result_and_cancel, spawn("waiter", wait_for_result, &deadline_ms));
	run_all();
	assert_int_equal(rc_seen[0], 0);
}

static void wake_for_nothing(void *arg)
{
	for (int i = 0; i < 5; i++) {
		co_wake(arg);
		co_wake(arg);
		if (co_yield () < 0)
			return;
	}
	completion_done(&result);
}

static void spurious_wakes_are_harmless(void **state)
{
	int64_t deadline_ms = CO_NO_DEADLINE;

	result = (struct completion){ 0 };
	spawn("waker", wake_for_nothing, spawn("waiter", wait_for_result, &deadline_ms));
	run_all();
	assert_int_equal(rc_seen[0], 0);
	assert_true(result.done);
}

static struct gate gate;
static int inside, most_inside;

static void pass_gate(void *arg)
{
	if (gate_enter(&gate, "gate", CO_NO_DEADLINE) < 0)
		return;
	note(arg);
	inside++;
	most_inside = inside > most_inside ? inside : most_inside;
	rc_seen[0] |= co_sleep("inside", 2);
	inside--;
	gate_leave(&gate);
}

static void a_gate_admits_n_in_order(void **state)
{
	static const char *const names[] = { "1", "2", "3", "4", "5", "6", "7" };

	gate_init(&gate, 2);
	inside = most_inside = 0;
	for (size_t i = 0; i < ARRAY_LEN(names); i++)
		spawn("visitor", pass_gate, (void *)names[i]);
	run_all();
	assert_string_equal(order, "1234567");
	assert_int_equal(most_inside, 2);
	assert_int_equal(gate.free, 2);
}

/* Stays inside until the impatient one has given up, however slow the machine. */
static void hold_gate(void *arg)
{
	rc_seen[0] |= gate_enter(&gate, "gate", CO_NO_DEADLINE);
	note(arg);
	while (rc_seen[1] == 0)
		rc_seen[0] |= co_sleep("inside", 2);
	gate_leave(&gate);
}

static void give_up_at_gate(void *arg)
{
	rc_seen[1] = gate_enter(&gate, "gate", loop_now_ms() + 1);
}

static void who_gives_up_at_a_gate_leaves_the_line(void **state)
{
	gate_init(&gate, 1);
	inside = most_inside = 0;
	spawn("first", hold_gate, "1");
	spawn("impatient", give_up_at_gate, NULL);
	spawn("canceller", cancel_later, spawn("cancelled", pass_gate, "x"));
	spawn("last", pass_gate, "2");
	run_all();
	assert_int_equal(rc_seen[1], -ETIMEDOUT);
	assert_int_equal(gate.free, 1);
	assert_null(gate.head);
	assert_true(strchr(order, '1') && strchr(order, '2'));
}

static void do_nothing(void *arg)
{
	finished++;
}

static void the_limit_is_no_free_slot_not_an_abort(void **state)
{
	co_set_limit(3);
	spawn("1", do_nothing, NULL);
	spawn("2", do_nothing, NULL);
	spawn("3", do_nothing, NULL);
	assert_null(co_spawn("4", do_nothing, NULL));
	co_set_limit(16000);
	run_all();
	assert_int_equal(finished, 3);
}

static rlim_t address_space_used(void)
{
	unsigned long pages = 0;
	FILE *f = fopen("/proc/self/statm", "r");

	if (!f || fscanf(f, "%lu", &pages) != 1)
		_exit(2);
	fclose(f);
	return (rlim_t)pages * (rlim_t)sysconf(_SC_PAGESIZE);
}

static void no_memory_for_a_stack_is_no_free_slot(void **state)
{
	pid_t pid = fork();
	int status;

	if (pid == 0) {
		int made = 0;
		rlim_t most = address_space_used() + (64 << 20);

		if (setrlimit(RLIMIT_AS, &(struct rlimit){ most, most }) < 0)
			_exit(2);
		while (made < 1000 && co_spawn("x", do_nothing, NULL))
			made++;
		_exit(made > 0 && made < 1000 ? 0 : 1);
	}
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_true(WIFEXITED(status) && WEXITSTATUS(status) == 0);
}

static int dive(int depth)
{
	volatile char frame[1024];

	memset((void *)frame, depth, sizeof(frame));
	return depth == 0 ? frame[0] : dive(depth - 1) + frame[5] - frame[6];
}

static void go_deep(void *arg)
{
	rc_seen[0] += dive(150); /* of 256 KiB, also with a sanitizer's larger frames */
}

static void stacks_are_used_again_also_deep_ones(void **state)
{
	for (int round = 0; round < 50; round++) {
		for (int i = 0; i < 20; i++)
			spawn("diver", go_deep, NULL);
		run_all();
	}
	assert_int_equal(rc_seen[0], 0);
}

static int sink_below(const char *top, long bytes)
{
	volatile char frame[512];

	frame[0] = 1;
	/* Not the address of frame: a sanitizer may keep that elsewhere. */
	if (top - (const char *)__builtin_frame_address(0) > bytes)
		return frame[0];
	return sink_below(top, bytes) + frame[0];
}

static void overflow(void *arg)
{
	rc_seen[0] = sink_below(__builtin_frame_address(0), 300 * 1024);
}

/* The second stack lies right below the first, most likely: without the guard the overflow would
 * end in it unnoticed. */
static void an_overflow_hits_the_guard_page(void **state)
{
	pid_t pid = fork();
	int status;

	if (pid == 0) {
		/* A sanitizer would print its report among the results. */
		if (!freopen("/dev/null", "w", stderr))
			_exit(0);
		if (co_spawn("diver", overflow, NULL) && co_spawn("victim", do_nothing, NULL) &&
		    co_spawn("stopper", stop_when_alone, NULL))
			loop_run();
		_exit(0);
	}
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_false(WIFEXITED(status) && WEXITSTATUS(status) == 0);
}

static void check_identity(void *arg)
{
	rc_seen[0] = co_self() == *(struct co **)arg;
	rc_seen[1] = strcmp(co_name(co_self()), "someone") == 0;
	rc_seen[2] = co_data(co_self()) == &finished;
	rc_seen[3] = co_deadline(co_self()) == 123456789000000;
}

static void a_coroutine_knows_itself(void **state)
{
	struct co *co = spawn("someone", check_identity, &co);

	co_set_data(co, &finished);
	co_set_deadline(co, 123456789000000);
	assert_null(co_self());
	assert_false(co_is_cancelled());
	run_all();
	for (int i = 0; i < 4; i++)
		assert_true(rc_seen[i]);
}

static void remember(const char *name, const char *why, int64_t waiting_ms, void *data, void *arg)
{
	if (waiting_ms >= 5 && data == &finished)
		snprintf(order, sizeof(order), "%s:%s", name, why);
}

static void list_then_cancel(void *arg)
{
	if (co_sleep("a moment", 10) < 0)
		return;
	co_each(remember, NULL);
	co_cancel(arg);
}

static void each_tells_who_waits_for_what(void **state)
{
	struct co *co = spawn("import", wait_for_ever, NULL);

	co_set_data(co, &finished);
	spawn("lister", list_then_cancel, co);
	run_all();
	assert_string_equal(order, "import:ever");
}

static void hold_a_secret(void *arg)
{
	/* Only this stack knows the memory: a leak checker that doesn't see it would complain at
	 * exit. */
	char *only_here = mem_strdup("kept on a stack");

	rc_seen[0] |= co_sleep("holding", 3);
	finished += strlen(only_here) == 15;
	free(only_here);
}

static void thousands_wait_at_once(void **state)
{
	for (int i = 0; i < 3000; i++)
		spawn("one of many", hold_a_secret, NULL);
	assert_int_equal(co_count(), 3000);
	run_all();
	assert_int_equal(finished, 3000);
	assert_int_equal(rc_seen[0], 0);
}

static void burn(void *arg)
{
	int64_t end_us = clock_mono_us() + 20500;

	while (clock_mono_us() < end_us)
		;
}

static void lag_names_the_coroutine(void **state)
{
	const char *who;

	spawn("hungry", burn, NULL);
	run_all();
	assert_in_range(loop_lag_ms(&who), 20, 60000);
	assert_string_equal(who, "hungry");
}

static const char *on_cpu;

static void on_switch(void *data, const char *why)
{
	on_cpu = data;
	note(why);
}

static void looks_at_itself(void *arg)
{
	co_set_data(co_self(), arg);
	for (int i = 0; i < 3; i++) {
		rc_seen[0] |= co_yield ();
		rc_seen[1] += on_cpu == arg;
	}
}

/* Whoever looks on knows at any moment who runs, and what it waited for. */
static void switches_are_seen(void **state)
{
	co_on_switch(on_switch);
	spawn("a", looks_at_itself, "a");
	spawn("b", looks_at_itself, "b");
	run_all();
	co_on_switch(NULL);
	assert_int_equal(rc_seen[0], 0);
	assert_int_equal(rc_seen[1], 6);
	assert_null(on_cpu);
	assert_non_null(strstr(order, "yield"));
}

int main(void)
{
#define T(f) cmocka_unit_test_setup_teardown(f, begin, end)
	const struct CMUnitTest tests[] = {
		T(coroutines_take_turns),
		T(a_completion_wakes_its_waiter),
		T(a_wait_ends_at_its_deadline),
		T(the_own_deadline_bounds_every_wait),
		T(a_deadline_can_be_moved_while_it_waits),
		T(cancellation_fails_all_waits_and_unwinds),
		T(cancelled_before_its_first_step_it_still_runs),
		T(a_result_beats_a_cancellation),
		T(spurious_wakes_are_harmless),
		T(a_gate_admits_n_in_order),
		T(who_gives_up_at_a_gate_leaves_the_line),
		T(the_limit_is_no_free_slot_not_an_abort),
		T(no_memory_for_a_stack_is_no_free_slot),
		T(stacks_are_used_again_also_deep_ones),
		T(an_overflow_hits_the_guard_page),
		T(a_coroutine_knows_itself),
		T(each_tells_who_waits_for_what),
		T(thousands_wait_at_once),
		T(lag_names_the_coroutine),
		T(switches_are_seen),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
