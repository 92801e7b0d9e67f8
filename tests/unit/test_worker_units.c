/* What a job does several times over: what its branches come to, where it stands, and what one that fails leaves. */
#include "worker/tasks/units.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>

#include <cmocka.h>

#include "common/io/co.h"
#include "common/io/loop.h"

/* Results are checked on the main stack: a failed assertion must not jump from a coroutine's. */
static struct worker worker = { .soft_limit_ms = 600000 };
static struct attempt a;
static struct import im;
static struct units todo;
static int rc, at_once, most_at_once, runs;
static int64_t fails_at; /* the unit of that first item; -1: none */

static int work(struct import *branch, int64_t first, int n, void *arg)
{
	struct run_counts *c = &branch->run.counts;

	runs++;
	at_once++;
	most_at_once = at_once > most_at_once ? at_once : most_at_once;
	/* The first ends last: others are done beyond it. */
	if (co_sleep("work", first == 0 ? 30 : 1) < 0)
		return -ECANCELED;
	at_once--;
	branch->run.processed += n;
	c->added += 1;
	c->updated += 10;
	c->unchanged += 100;
	c->stale += 1000;
	c->undeleted += 10000;
	c->deleted += 100000;
	c->failed += 1000000;
	c->pages += 10000000;
	branch->a->caller.calls++;
	if (first == fails_at)
		return err_set(&branch->a->err, -EREMOTEIO, ERR_CLIENT, "404", "the %s unit",
			       "bad");
	return 0;
}

static void run(void *arg)
{
	rc = units_run(&im, &todo);
	loop_stop();
}

static void run_all(int64_t n, int per, int parallel)
{
	a = (struct attempt){ .worker = &worker, .started_ms = loop_now_ms() };
	im = (struct import){ .a = &a, .run_written_ms = loop_now_ms() };
	todo = (struct units){ .n = n, .per = per, .parallel = parallel, .run = work };
	rc = 1;
	at_once = most_at_once = runs = 0;
	assert_non_null(co_spawn("job", run, NULL));
	loop_run();
	assert_int_equal(co_count(), 0);
}

static void counted(int64_t times)
{
	const struct run_counts *c = &im.run.counts;
	const int64_t counts[] = { c->added,     c->updated, c->unchanged, c->stale,
				   c->undeleted, c->deleted, c->failed,    c->pages };
	int64_t one = 1;

	for (size_t i = 0; i < sizeof(counts) / sizeof(*counts); i++, one *= 10)
		assert_int_equal(counts[i], times * one);
	assert_int_equal(a.caller.calls, times);
}

static void all_counts_are_the_jobs(void **state)
{
	fails_at = -1;
	run_all(9, 1, 4);
	assert_int_equal(rc, 0);
	assert_int_equal(most_at_once, 4);
	counted(9);
	assert_int_equal(im.run.processed, 9);
	assert_int_equal(a.step, 9);
	assert_int_equal(a.beyond, 0);
}

static void alone_it_is_the_same(void **state)
{
	fails_at = -1;
	run_all(7, 3, 1);
	assert_int_equal(rc, 0);
	assert_int_equal(most_at_once, 1);
	counted(3);
	assert_int_equal(im.run.processed, 7);
	assert_int_equal(a.step, 7);
}

static void what_is_done_stays_done(void **state)
{
	fails_at = 2;
	run_all(40, 1, 3);
	assert_int_equal(rc, -EREMOTEIO);
	assert_string_equal(a.err.text, "the bad unit");
	counted(runs); /* what the bad one counted before it failed, too */
	assert_true(runs < 40);
	/* The next attempt does those that are not done, and no other. */
	assert_int_equal(a.step, 2);
	assert_int_equal(a.beyond & 1, 0);
	assert_int_equal(runs - 3, __builtin_popcountll((unsigned long long)a.beyond));
}

static int setup(void **state)
{
	units_set_branches(16);
	return loop_init();
}

static int teardown(void **state)
{
	loop_close();
	return 0;
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(all_counts_are_the_jobs, setup, teardown),
		cmocka_unit_test_setup_teardown(alone_it_is_the_same, setup, teardown),
		cmocka_unit_test_setup_teardown(what_is_done_stays_done, setup, teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
