/* Coroutines that work for one: it outlives them, whatever becomes of them or of it. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/mem.h"
#include "common/io/co.h"
#include "common/io/loop.h"

#define MEMBERS 4

/* What the owner's stack has: each member writes there until its last line. */
struct job {
	struct crew crew;
	struct crew_member members[MEMBERS];
	struct member {
		struct job *job;
		int rc, again, ended;
		void *data;
		int64_t deadline;
	} of[MEMBERS];
	int started, stopped_early; /* early: one was told by `failed` */
	bool failed;
};

/* Results are checked on the main stack: a failed assertion must not jump from a coroutine's. */
static struct job *last; /* as the owner left it */
static struct co *owner;
static int alive_after, ended_at_join;
static char data[] = "of the job";

static int begin(void **state)
{
	last = mem_new(struct job);
	alive_after = ended_at_join = -1;
	return loop_init();
}

static int end(void **state)
{
	int left = co_count();

	free(last);
	loop_close();
	return left;
}

static void stop_when_alone(void *arg)
{
	while (co_count() > 1)
		if (co_sleep("others", 1) < 0)
			break;
	loop_stop();
}

static void leave(struct job *j)
{
	crew_join(&j->crew, "crew");
	alive_after = j->crew.alive;
	ended_at_join = 0;
	for (int i = 0; i < MEMBERS; i++)
		ended_at_join += j->of[i].ended;
	*last = *j;
	memset(j, 0x5a, sizeof(*j)); /* its stack is another's from here on */
}

static bool spawn_all(struct job *j, void (*fn)(void *), int n)
{
	for (int i = 0; i < n; i++) {
		j->of[i].job = j;
		if (!crew_spawn(&j->crew, "member", fn, &j->of[i], data))
			return false;
	}
	return true;
}

static void run(void (*fn)(void *))
{
	owner = co_spawn("owner", fn, NULL);
	assert_non_null(owner);
	assert_non_null(co_spawn("last", stop_when_alone, NULL));
	loop_run();
}

/* ---- all is well ---- */

static void sleep_some(void *arg)
{
	struct member *m = arg;

	m->job->started++;
	m->data = co_data(co_self());
	m->deadline = co_deadline(co_self());
	m->rc = co_sleep("work", 1 + 5 * (int)(m - m->job->of));
	m->ended = 1;
}

static void own_well(void *arg)
{
	struct job j = { 0 };

	co_set_deadline(co_self(), loop_now_ms() + 60000);
	crew_init(&j.crew, j.members);
	if (spawn_all(&j, sleep_some, MEMBERS))
		leave(&j);
}

static void it_is_waited_for(void **state)
{
	run(own_well);
	assert_int_equal(alive_after, 0);
	assert_int_equal(ended_at_join, MEMBERS);
	for (int i = 0; i < MEMBERS; i++) {
		assert_int_equal(last->of[i].rc, 0);
		assert_ptr_equal(last->of[i].data, data);
		assert_int_equal(last->of[i].deadline, last->of[0].deadline);
		assert_null(last->members[i].co);
	}
	assert_true(last->of[0].deadline < CO_NO_DEADLINE);
}

/* ---- the owner is cancelled ---- */

static struct co *slow; /* the first member */
static bool released;

/* Goes on after it was told; the first waits for what cannot be called back. */
static void clean_up_slowly(void *arg)
{
	struct member *m = arg;

	m->job->started++;
	m->rc = co_wait("never", CO_NO_DEADLINE);
	m->again = co_sleep("again", 100000);
	if (m == m->job->of)
		slow = co_self();
	while (m == m->job->of && !released)
		co_wait_through("clean up");
	m->ended = 1;
}

static void own_for_ever(void *arg)
{
	struct job j = { 0 };

	crew_init(&j.crew, j.members);
	if (spawn_all(&j, clean_up_slowly, MEMBERS))
		leave(&j);
}

static void cancel_owner(void *arg)
{
	if (co_sleep("a moment", 5) < 0)
		return;
	co_cancel(owner);
	co_wake(owner); /* once more, for nothing */
	if (co_sleep("the rest has ended", 20) < 0 || alive_after >= 0)
		return;
	released = true;
	co_wake(slow);
}

static void check_cancelled(int started)
{
	assert_int_equal(alive_after, 0);
	assert_int_equal(ended_at_join, MEMBERS);
	assert_int_equal(last->started, started);
	for (int i = 0; i < MEMBERS; i++) {
		assert_int_equal(last->of[i].rc, -ECANCELED);
		assert_int_equal(last->of[i].again, -ECANCELED);
	}
}

static void it_is_cancelled_with_its_owner(void **state)
{
	released = false;
	assert_non_null(co_spawn("cancels", cancel_owner, NULL));
	run(own_for_ever);
	check_cancelled(MEMBERS);
}

/* Cancelled before it spawns: they run, and no wait of theirs is one. */
static void own_too_late(void *arg)
{
	co_cancel(co_self());
	own_for_ever(arg);
}

static void of_one_that_was_cancelled_before(void **state)
{
	released = true;
	run(own_too_late);
	check_cancelled(MEMBERS);
}

/* ---- one fails ---- */

static void fail_or_go_on(void *arg)
{
	struct member *m = arg;
	int n = (int)(m - m->job->of);

	m->job->started++;
	if (n == 1) {
		m->rc = -EIO;
		m->job->failed = true; /* at once: it never waits */
		m->ended = 1;
		return;
	}
	for (int i = 0; i < 10 && m->rc == 0 && !m->job->failed; i++)
		m->rc = co_sleep("work", 2);
	m->job->stopped_early += m->job->failed;
	m->ended = 1;
}

static void own_with_one_that_fails(void *arg)
{
	struct job j = { 0 };

	crew_init(&j.crew, j.members);
	if (spawn_all(&j, fail_or_go_on, MEMBERS))
		leave(&j);
}

static void one_that_fails_ends_alone(void **state)
{
	run(own_with_one_that_fails);
	assert_int_equal(alive_after, 0);
	assert_int_equal(ended_at_join, MEMBERS);
	for (int i = 0; i < MEMBERS; i++)
		assert_int_equal(last->of[i].rc, i == 1 ? -EIO : 0);
	assert_int_equal(last->stopped_early, MEMBERS - 1);
}

/* ---- none is to be had; a deadline ---- */

static int spawned;

static void own_few(void *arg)
{
	struct job j = { 0 };

	crew_init(&j.crew, j.members);
	co_set_limit(co_count() + 2);
	spawned = spawn_all(&j, sleep_some, MEMBERS) ? MEMBERS : j.crew.n;
	co_set_limit(16000);
	leave(&j);
}

static void those_that_could_be_had_are_waited_for(void **state)
{
	run(own_few);
	assert_int_equal(spawned, 2);
	assert_int_equal(alive_after, 0);
	assert_int_equal(ended_at_join, 2);
}

static void wait_for_ever(void *arg)
{
	struct member *m = arg;

	m->rc = co_wait("never", CO_NO_DEADLINE);
	m->ended = 1;
}

static void own_until(void *arg)
{
	struct job j = { 0 };

	co_set_deadline(co_self(), loop_now_ms() + 10);
	crew_init(&j.crew, j.members);
	if (spawn_all(&j, wait_for_ever, MEMBERS))
		leave(&j);
}

static void the_owners_deadline_is_theirs(void **state)
{
	run(own_until);
	assert_int_equal(ended_at_join, MEMBERS);
	for (int i = 0; i < MEMBERS; i++)
		assert_int_equal(last->of[i].rc, -ETIMEDOUT);
}

int main(void)
{
#define T(f) cmocka_unit_test_setup_teardown(f, begin, end)
	const struct CMUnitTest tests[] = {
		T(it_is_waited_for),
		T(it_is_cancelled_with_its_owner),
		T(of_one_that_was_cancelled_before),
		T(one_that_fails_ends_alone),
		T(those_that_could_be_had_are_waited_for),
		T(the_owners_deadline_is_theirs),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
