/* Very many jobs due at once, against a real redis-server: moved in order of their due time, in scripts that
 * never hold Redis for long. */
#include "common/queue/queue.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

#include "tests/unit/queue_steps.h"

#define DUE 100000
#define SCRIPT_MAX_US 5000
#define PAGE 1000

/* A permutation of 0 … DUE-1: the order in which they are put there has nothing to do with when they are due. */
static int shuffled(int i)
{
	return (int)((int64_t)i * 7919 % DUE);
}

static void put_due(int64_t first_due_ms)
{
	int refused = 0;

	for (int from = 0; from < DUE; from += PAGE) {
		for (int i = from; i < from + PAGE; i++) {
			char member[80];
			int n = shuffled(i);

			snprintf(member, sizeof(member), "D2 1%014d 0 j%d 0 0 5\n{\"task\":\"t\"}",
				 i + 1, n);
			redisAppendCommand(server.plain, "ZADD delayed:{p} %lld %s",
					   (long long)(first_due_ms + n), member);
		}
		for (int i = 0; i < PAGE; i++) {
			redisReply *reply = NULL;

			refused += redisGetReply(server.plain, (void **)&reply) != REDIS_OK ||
				   reply->type != REDIS_REPLY_INTEGER || reply->integer != 1;
			freeReplyObject(reply);
		}
		CHECK(co_sleep("put", 0) == 0); /* the loop must not stand still for long */
	}
	CHECK(refused == 0);
}

/* The ready lane holds job 0, 1, 2 … in this order. */
static bool stands_in_order(void)
{
	for (int from = 0; from < DUE; from += PAGE) {
		redisReply *page = plain("ZRANGE ready:{p}:normal %d %d", from, from + PAGE - 1);
		bool fine = page->elements == PAGE;

		for (size_t i = 0; fine && i < page->elements; i++) {
			struct job_header h;
			int64_t integration;
			const char *payload;
			size_t len;

			fine = job_member_parse(page->element[i]->str, page->element[i]->len, &h,
						&integration, &payload, &len) == 0 &&
			       strtoll(h.id + 1, NULL, 10) == from + (int64_t)i;
		}
		freeReplyObject(page);
		if (!fine)
			return false;
	}
	return true;
}

/* A figure of INFO, the first after `name`. */
static double info(const char *section, const char *name)
{
	redisReply *r = plain("INFO %s", section);
	const char *at = strstr(r->str, name);
	double n = at ? strtod(at + strlen(name), NULL) : -1;

	freeReplyObject(r);
	return n;
}

/* What Redis' one thread has worked, whoever else wanted the CPU meanwhile. */
static double worked_us(void)
{
	return 1e6 * (info("cpu", "used_cpu_user_main_thread:") +
		      info("cpu", "used_cpu_sys_main_thread:"));
}

static void body_at_once(void)
{
	struct queue *q = queue_new(conn, "p", "e");
	int64_t due = -1, first = redis_now_ms(conn) - 2 * DUE;
	struct err err = { 0 };
	int moved = 0;

	caps_are(q, 2000, 100);
	put_due(first);
	freeReplyObject(plain("CONFIG RESETSTAT"));
	double before_us = worked_us();
	CHECK(queue_promote(q, &moved, &due, loop_now_ms() + 60000, &err) == 0);
	CHECK(moved == DUE && due == 0 && plain_int("ZCARD delayed:{p}") == 0);
	double scripts = info("commandstats", "cmdstat_evalsha:calls=");
	double script_us = (worked_us() - before_us) / (scripts > 0 ? scripts : 1);
	fprintf(stderr, "%.0f scripts of %.0f us\n", scripts, script_us);
	CHECK(scripts >= DUE / QUEUE_SLICE_JOBS);
	CHECK(script_us < SCRIPT_MAX_US);
	CHECK(stands_in_order());
	queue_free(q);
}

TEST(at_once)

int main(void)
{
	const struct CMUnitTest tests[] = { cmocka_unit_test(at_once) };

	return cmocka_run_group_tests(tests, setup, teardown);
}
