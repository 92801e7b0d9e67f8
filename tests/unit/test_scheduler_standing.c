/* Which processes have too much memory, and for how long that stands (Q9). */
#include "scheduler/standing.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "common/base/rss.h"
#include "scheduler/scheduler.h"

#define GIB (1024LL * 1024 * 1024)

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

static void see(struct standing *s, const char *host, int pid, int64_t bytes)
{
	char info[200];

	snprintf(info, sizeof(info), "{\"host\":\"%s\",\"pid\":%d,\"rss_bytes\":%lld}", host, pid,
		 (long long)bytes);
	standing_see(s, info);
}

static void the_largest_of_a_host_counts(void **state)
{
	static struct standing s;

	standing_begin(&s);
	see(&s, "a", 1, 100 << 20);
	assert_int_equal(s.n, 0);
	see(&s, "a", 2, 2 * GIB);
	see(&s, "a", 3, 3 * GIB);
	see(&s, "a", 4, 2 * GIB);
	see(&s, "b", 5, GIB);
	assert_int_equal(s.n, 2);
	assert_true(s.v[0].bytes == 3 * GIB && s.v[0].pid == 3 && standing_is_over(&s.v[0]));
	assert_false(standing_is_over(&s.v[1]));
}

static void it_stands_until_it_is_well_under(void **state)
{
	static struct standing s;

	standing_begin(&s);
	see(&s, "a", 1, GIB + 1);
	assert_true(standing_is_over(&s.v[0]));
	s.v[0].open = true;
	standing_begin(&s);
	see(&s, "a", 1, GIB - 1);
	assert_true(s.n == 1 && standing_is_over(&s.v[0]));
	standing_begin(&s);
	see(&s, "a", 1, GIB / 2);
	assert_true(s.n == 1 && s.v[0].open && !standing_is_over(&s.v[0]));
	/* a process that is gone says nothing any more */
	standing_begin(&s);
	assert_true(s.n == 1 && !standing_is_over(&s.v[0]));
	s.v[0].open = false;
	standing_begin(&s);
	assert_int_equal(s.n, 0);
}

static void what_is_no_info_says_nothing(void **state)
{
	static struct standing s;

	standing_begin(&s);
	standing_see(&s, "not json");
	standing_see(&s, "{\"rss_bytes\":99999999999}");
	standing_see(&s, "{\"host\":\"a\",\"rss_bytes\":\"much\"}");
	standing_see(&s, "{\"host\":7,\"rss_bytes\":99999999999}");
	assert_int_equal(s.n, 0);
}

static void hosts_are_bounded(void **state)
{
	static struct standing s;
	char host[16];

	standing_begin(&s);
	for (int i = 0; i < STANDING_HOSTS_MAX + 10; i++) {
		snprintf(host, sizeof(host), "h%d", i);
		see(&s, host, i, 2 * GIB);
	}
	assert_int_equal(s.n, STANDING_HOSTS_MAX);
}

static void we_know_our_own(void **state)
{
	assert_true(rss_bytes() > 1 << 20 && rss_bytes() < 8 * GIB);
	assert_true(rss_watch() > 1 << 20);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(the_largest_of_a_host_counts),
		cmocka_unit_test(it_stands_until_it_is_well_under),
		cmocka_unit_test(what_is_no_info_says_nothing),
		cmocka_unit_test(hosts_are_bounded),
		cmocka_unit_test(we_know_our_own),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
