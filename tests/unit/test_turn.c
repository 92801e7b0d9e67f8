/* One at a time for each thing, over all processes: who has it, who may go on after a crash, what is left for those who come next. */
#include "common/queue/turn.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

#include "tests/unit/queue_steps.h"

#define LIFE_MS 60000

static int take(const struct turn *t, char word[TURN_WORD_MAX])
{
	return turn_take(conn, t, LIFE_MS, word, soon(), NULL);
}

static void body_one_at_a_time(void)
{
	struct turn mine, theirs, other;
	char word[TURN_WORD_MAX] = "x";

	turn_init(&mine, "p", "7 listings a", "job-1");
	turn_init(&theirs, "p", "7 listings a", "job-2");
	turn_init(&other, "p", "7 listings b", "job-2");
	CHECK(take(&mine, word) == 1 && !*word);
	CHECK(take(&theirs, word) == 0 && !*word);
	CHECK(take(&other, word) == 1);
	CHECK(take(&mine, word) == 1); /* the attempt that follows a crash */
	CHECK(plain_int("PTTL %s", mine.key) > LIFE_MS - 10000);
	turn_leave(conn, &theirs); /* which never had it */
	CHECK(take(&theirs, word) == 0);
	turn_leave(conn, &mine);
	CHECK(take(&theirs, word) == 1 && !*word);
	turn_leave(conn, &mine); /* late: it is another's by now */
	CHECK(take(&mine, word) == 0);
}

static void body_a_word_is_left(void)
{
	struct turn mine, theirs;
	char word[TURN_WORD_MAX];

	turn_init(&mine, "p", "7 listings c", "job-1");
	turn_init(&theirs, "p", "7 listings c", "job-2");
	CHECK(take(&mine, word) == 1);
	turn_leave_word(conn, &mine, "1700000000000000", LIFE_MS);
	CHECK(take(&theirs, word) == 0 && !strcmp(word, "1700000000000000"));
	CHECK(take(&mine, word) == 0 && !strcmp(word, "1700000000000000"));
	turn_leave_word(conn, &mine, "1", 1);
	while (plain_int("EXISTS %s", mine.key))
		CHECK(co_sleep("word", 5) == 0);
	CHECK(take(&theirs, word) == 1 && !*word);
}

static void body_who_dies_keeps_nobody_out(void)
{
	struct turn dead, next;
	char word[TURN_WORD_MAX];

	turn_init(&dead, "p", "7 listings d", "job-1");
	turn_init(&next, "p", "7 listings d", "job-2");
	CHECK(turn_take(conn, &dead, 1, word, soon(), NULL) == 1);
	while (plain_int("EXISTS %s", dead.key))
		CHECK(co_sleep("life", 5) == 0);
	CHECK(take(&next, word) == 1);
}

#define TEST(name)                                  \
	static void name(void **state)              \
	{                                           \
		run(body_##name);                   \
		assert_int_equal(checks_failed, 0); \
	}
TEST(one_at_a_time)
TEST(a_word_is_left)
TEST(who_dies_keeps_nobody_out)

static int start(void **state)
{
	return server_start(NULL, NULL);
}

static int stop(void **state)
{
	server_stop();
	return 0;
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(one_at_a_time),
		cmocka_unit_test(a_word_is_left),
		cmocka_unit_test(who_dies_keeps_nobody_out),
	};

	return cmocka_run_group_tests(tests, start, stop);
}
