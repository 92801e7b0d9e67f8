/* Another process's word: its code, what it said, and that ours is as it was. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>

#include "common/base/apart.h"
#include "common/base/log.h"
#include "common/base/log_hold.h"

static int changed;

static int refuse(void *arg)
{
	changed = 1;
	fprintf(stderr, "no: %s\n", (const char *)arg);
	return 2;
}

static int agree(void *arg)
{
	return 0;
}

static int warn(void *arg)
{
	log_event(LOG_WARN, "from_there", LS("word", "so"));
	return 0;
}

static int talk(void *arg)
{
	for (int i = 0; i < 20000; i++)
		fputs("a line that says little\n", stderr);
	return 1;
}

static int die(void *arg)
{
	raise(SIGKILL);
	return 0;
}

static void what_it_says(void **state)
{
	struct buf said = BUF_INIT;

	assert_int_equal(apart_run(refuse, (void *)"a name", &said), 2);
	assert_string_equal(buf_str(&said), "no: a name\n");
	assert_int_equal(changed, 0);
	assert_int_equal(apart_run(agree, NULL, &said), 0);
	assert_string_equal(buf_str(&said), "no: a name\n");
	buf_reset(&said);
	assert_int_equal(apart_run(talk, NULL, &said), 1);
	assert_in_range(said.len, APART_SAID_MAX_BYTES, APART_SAID_MAX_BYTES + 1024);
	assert_memory_equal(said.data, "a line that says little\n", 24);
	buf_clear(&said);
}

/* Lines that are held here are not its own. */
static void held_lines_stay_here(void **state)
{
	struct buf said = BUF_INIT;

	log_init("test", LOG_INFO, false);
	log_hold();
	log_event(LOG_INFO, "from_here", LS("word", "so"));
	assert_int_equal(apart_run(warn, NULL, &said), 0);
	assert_non_null(strstr(buf_str(&said), "from_there"));
	assert_null(strstr(buf_str(&said), "from_here"));
	log_release();
	buf_clear(&said);
}

static void how_it_ends(void **state)
{
	struct buf said = BUF_INIT;

	assert_int_equal(apart_run(die, NULL, &said), -ECHILD);
	assert_int_equal(said.len, 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(what_it_says),
		cmocka_unit_test(held_lines_stay_here),
		cmocka_unit_test(how_it_ends),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
