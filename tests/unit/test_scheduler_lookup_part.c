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

/* Of scheduler/lookups.c, which is not linked here: `slow` has no answer in time, `bad` none at all. */
struct asked {
	const char *partner;
};
static int n_asked, n_put;

int lookups_ask(struct scheduler *s, const struct lookup_question *q, int64_t until_ms,
		struct asked **out, struct err *err)
{
	*out = mem_new(struct asked);
	(*out)->partner = q->partner;
	n_asked++;
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
	if (strcmp(a->partner, "bad") == 0)
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
	assert_int_equal(n_asked, 6);
	assert_int_equal(n_put, 6);
	lookup_kinds_free();
	loop_close();
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(one_that_is_slow_takes_nobodys_time),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
