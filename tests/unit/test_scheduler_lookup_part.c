/* The questions of one call: whoever asks by kind has the next one asked, whatever the others of the call do. */
#include "scheduler/lookup_part.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "common/base/mem.h"
#include "common/io/co.h"
#include "common/io/loop.h"

#define WAIT_MS 1000
#define LONG_MS 60000 /* nobody waits so long */

/* Of scheduler/lookups.c, which is not linked here: `slow` has no answer in time, `bad` none at all, `last` none before `then` was asked. */
struct asked {
	const char *partner;
};
static int n_asked, n_put;
static bool then_asked, last_was_late;

int lookups_ask(struct scheduler *s, const struct lookup_question *q, int64_t until_ms,
		struct asked **out, struct err *err)
{
	*out = mem_new(struct asked);
	(*out)->partner = q->partner;
	n_asked++;
	then_asked = then_asked || strcmp(q->partner, "then") == 0;
	return 0;
}

int asked_wait(struct asked *a, int64_t until_ms, const struct lookup_answer **answer,
	       struct buf *text, struct err *err)
{
	static const struct lookup_answer fresh = { .state = LOOKUP_FRESH };

	if (strcmp(a->partner, "slow") == 0) {
		while (loop_now_ms() < until_ms && co_sleep("slow", 5) == 0)
			;
		return err_set(err, -ETIME, ERR_TRANSIENT, "lookup", "not in time");
	}
	if (strcmp(a->partner, "last") == 0) {
		while (!then_asked && loop_now_ms() < until_ms && co_sleep("last", 1) == 0)
			;
		last_was_late = !then_asked;
	}
	if (strcmp(a->partner, "sealed") == 0)
		return err_set(err, -ENOKEY, ERR_INTERNAL, "credentials", "they do not open");
	if (strcmp(a->partner, "away") == 0)
		return err_set(err, -EPROTO, ERR_TRANSIENT, "redis", "LOADING");
	if (strcmp(a->partner, "bad") == 0 || strcmp(a->partner, "last") == 0)
		return err_set(err, -EREMOTEIO, ERR_TRANSIENT, "lookup", "it is down");
	*answer = &fresh;
	buf_puts(text, a->partner);
	return 0;
}

void asked_put(struct asked *a)
{
	n_put += a != NULL;
	free(a);
}

static struct lookup_part parts[4];

static void ask(void *arg)
{
	struct buf problem = BUF_INIT;

	if (lookup_kinds_parse("k=bad/x:worse/x:good/x,late=slow/x:good/x,one=bad/x", &problem) < 0)
		abort();
	parts[0].q = (struct lookup_question){ .partner = "slow", .name = "x" };
	lookup_part_of_kind(&parts[1], "k");
	lookup_part_of_kind(&parts[2], "late");
	lookup_part_of_kind(&parts[3], "one");
	lookup_parts_ask(NULL, parts, 4, loop_now_ms() + WAIT_MS);
	loop_stop();
}

static void one_that_is_slow_takes_nobodys_time(void **state)
{
	int before = n_asked;

	assert_int_equal(loop_init(), 0);
	assert_non_null(co_spawn("ask", ask, NULL));
	loop_run();
	assert_int_equal(parts[0].rc, -ETIME);
	assert_true(parts[0].late);
	assert_int_equal(parts[1].rc, 0);
	assert_string_equal(parts[1].q.partner, "worse");
	assert_int_equal(parts[2].rc, 0);
	assert_string_equal(buf_str(&parts[2].text), "good");
	assert_int_equal(parts[3].rc, -EREMOTEIO);
	assert_non_null(strstr(buf_str(&parts[3].text), "\"missing\""));
	for (size_t i = 0; i < ARRAY_LEN(parts); i++)
		lookup_part_clear(&parts[i]);
	assert_int_equal(n_asked - before, 6);
	assert_int_equal(n_put, n_asked);
	lookup_kinds_free();
	loop_close();
}

/* One part of each of the kinds a and b. */
static void ask_two(void *kinds)
{
	struct buf problem = BUF_INIT;

	if (lookup_kinds_parse(kinds, &problem) < 0)
		abort();
	memset(parts, 0, sizeof(parts));
	lookup_part_of_kind(&parts[0], "a");
	lookup_part_of_kind(&parts[1], "b");
	lookup_parts_ask(NULL, parts, 2, loop_now_ms() + LONG_MS);
	loop_stop();
}

/* The second part's next choice is asked while the first part still waits for its first one. */
static void each_goes_on_alone(void **state)
{
	assert_int_equal(loop_init(), 0);
	assert_non_null(co_spawn("ask", ask_two, "a=last/x:good/x,b=bad/x:then/x"));
	loop_run();
	assert_true(then_asked);
	assert_false(last_was_late);
	assert_string_equal(buf_str(&parts[0].text), "good");
	assert_string_equal(buf_str(&parts[1].text), "then");
	for (int i = 0; i < 2; i++)
		lookup_part_clear(&parts[i]);
	assert_int_equal(n_put, n_asked);
	lookup_kinds_free();
	loop_close();
}

/* One integration's credentials that do not open are that one's alone; a store that refuses for now is everybody's. */
static void only_what_is_everybodys_ends_it(void **state)
{
	assert_int_equal(loop_init(), 0);
	assert_non_null(co_spawn("ask", ask_two, "a=sealed/x:good/x,b=away/x:good/x"));
	loop_run();
	assert_int_equal(parts[0].rc, 0);
	assert_string_equal(buf_str(&parts[0].text), "good");
	assert_int_equal(parts[1].rc, -EPROTO);
	assert_true(lookup_part_is_ours(&parts[1]));
	for (int i = 0; i < 2; i++)
		lookup_part_clear(&parts[i]);
	assert_int_equal(n_put, n_asked);
	lookup_kinds_free();
	loop_close();
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(one_that_is_slow_takes_nobodys_time),
		cmocka_unit_test(each_goes_on_alone),
		cmocka_unit_test(only_what_is_everybodys_ends_it),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
