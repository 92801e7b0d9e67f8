/* Whose fault a crash was (Q5), against a real redis-server. */
#include "worker/charge.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

#include "tests/unit/queue_steps.h"

static struct shared_page page_of(const char *epoch, const char *lease)
{
	struct shared_page page = { .oncpu = { .busy = 1 } };

	snprintf(page.epoch, sizeof(page.epoch), "%s", epoch);
	oncpu_init(&page.oncpu.job, 1, lease);
	oncpu_tell(&page.oncpu.job, "job-1", "import_resources");
	snprintf(page.oncpu.waited_for, sizeof(page.oncpu.waited_for), "http");
	return page;
}

static void only_own_faults(void **state)
{
	struct shared_page page = page_of("e1", "e1:1:2:0");
	const int own[] = { SIGSEGV, SIGABRT, SIGBUS, SIGFPE, SIGILL };
	const int others[] = { SIGKILL, SIGTERM, SIGHUP, SIGXCPU };
	struct crash c = { 0 };

	for (size_t i = 0; i < ARRAY_LEN(own); i++)
		assert_true(crash_read(&c, &page, 2, own[i]));
	for (size_t i = 0; i < ARRAY_LEN(others); i++)
		assert_false(crash_read(&c, &page, 2, others[i]));
	assert_string_equal(c.oncpu.lease, "e1:1:2:0");
	assert_string_equal(c.oncpu.task, "import_resources");
	assert_string_equal(c.waited_for, "http");
	page.oncpu.busy = 0;
	assert_false(crash_read(&c, &page, 2, SIGSEGV));
}

/* What crashed may have written anywhere, so also here. */
static void trampled_pages(void **state)
{
	struct shared_page page = page_of("e1", "e1:1:2:0");
	struct crash c = { 0 };

	assert_false(crash_read(&c, &page, 1, SIGSEGV));
	page.oncpu.job.queue = -1;
	assert_false(crash_read(&c, &page, 2, SIGSEGV));
	page = page_of("e1", "e2:1:2:0");
	assert_false(crash_read(&c, &page, 2, SIGSEGV));
	page = page_of("e1", "e10:1:2:0");
	assert_false(crash_read(&c, &page, 2, SIGSEGV));
	page = page_of("", ":1:2:0");
	assert_false(crash_read(&c, &page, 2, SIGSEGV));
	memset(&page, 0xff, sizeof(page));
	page.oncpu.busy = 1;
	page.oncpu.job.queue = 0;
	assert_false(crash_read(&c, &page, 2, SIGSEGV));
	page = page_of("e1", "e1:1:2:0");
	memset(page.oncpu.job.task, 'x', sizeof(page.oncpu.job.task));
	memcpy(page.oncpu.waited_for, "ht\xff", 4);
	assert_true(crash_read(&c, &page, 2, SIGSEGV));
	assert_int_equal(strlen(c.oncpu.task), sizeof(c.oncpu.task) - 1);
	assert_string_equal(c.waited_for, "ht");
}

static void crash_of(struct lease *l, const char *epoch, struct queue *keeper)
{
	struct shared_page page = page_of(epoch, l->id);
	struct crash c = { 0 };
	struct err err = { 0 };

	CHECK(crash_read(&c, &page, 2, SIGSEGV));
	CHECK(charge(keeper, conn, NULL, &c, soon(), &err) == 0);
	/* Told twice: it is not in flight any more, nothing happens. */
	CHECK(charge(keeper, conn, NULL, &c, soon(), &err) == 0);
}

static void letter_check(const char *id, int64_t failed_at_ms, const char *json, size_t len,
			 void *arg)
{
	cJSON *tree = NULL;
	int64_t n = 0;

	++*(int *)arg;
	CHECK(failed_at_ms > 0 && json_parse(json, len, 1 << 20, &tree, NULL) == 0);
	CHECK(!strcmp(json_str(tree, "class"), "poison") && !strcmp(json_str(tree, "id"), id));
	CHECK(!strcmp(json_str(tree, "job"), "job-1") && !strcmp(json_str(tree, "lane"), "high"));
	CHECK(!strcmp(json_str(tree, "worker"), "e2"));
	CHECK(!strcmp(json_str(tree, "payload"), "{\"task\":\"t\",\"integration_id\":7,\"n\":0}"));
	CHECK(strstr(json_str(tree, "error"), "e1, then e2 (signal 11") != NULL);
	CHECK(strstr(json_str(tree, "error"), "after it had waited for: http") != NULL);
	CHECK(json_int(tree, "crashes", &n) && n == 2);
	CHECK(json_int(tree, "integration_id", &n) && n == 7);
	cJSON_Delete(tree);
}

static void body_twice(void)
{
	struct queue *one = queue_new(conn, "p", "e1"), *two = queue_new(conn, "p", "e2");
	struct queue *keeper = queue_new(conn, "p", NULL);
	struct err err = { 0 };
	int letters = 0;

	caps_are(one, 100, 100);
	push_many("queue:{p}:high", 7, 2);
	struct claim_result r = claim(one, 10);
	CHECK(r.n == 2);
	crash_of(&r.leases[0], "e1", keeper);
	CHECK(plain_int("HLEN flight:{p}") == 1 && plain_int("HGET busy:{p} 7") == 1);
	/* The rest goes back by the reaper's way, unharmed. */
	CHECK(queue_reap(keeper, "e1", NULL, soon(), &err) == 0);
	result_clear(&r);
	r = claim(two, 10);
	CHECK(r.n == 2 && r.leases[0].header.crashes == 1 && r.leases[1].header.crashes == 0);
	CHECK(r.n == 2 && r.leases[0].header.extra_len == strlen(" crash=e1") &&
	      !memcmp(r.leases[0].header.extra, " crash=e1", strlen(" crash=e1")));
	CHECK(r.n == 2 && r.leases[0].member[0] == '0' && r.leases[0].header.attempts == 0);
	crash_of(&r.leases[0], "e2", keeper);
	CHECK(plain_int("HLEN flight:{p}") == 1 && plain_int("ZCARD ready:{p}:high") == 0);
	CHECK(queue_dead_list(keeper, 0, 10, letter_check, &letters, soon(), &err) == 0 &&
	      letters == 1);
	settle_one(&r.leases[1], SETTLE_DONE);
	wait_settled(two);
	CHECK(plain_int("EXISTS busy:{p} flight:{p}") == 0);
	lease_clear(&r.leases[0]);
	free(r.leases);
	queue_free(one);
	queue_free(two);
	queue_free(keeper);
}

/* Words that other attempts left stay, wherever they stand. */
static void body_words(void)
{
	struct queue *q = queue_new(conn, "w", "e1"), *keeper = queue_new(conn, "w", NULL);

	caps_are(q, 100, 100);
	freeReplyObject(plain("ZADD ready:{w}:normal 0 %b",
			      "000000000000001 0 id 2 0 5 ran=1 crash=e0 run=9\nnot JSON",
			      strlen("000000000000001 0 id 2 0 5 ran=1 crash=e0 run=9\nnot JSON")));
	freeReplyObject(plain("ZADD ring:{w}:normal 1 0"));
	struct claim_result r = claim(q, 10);
	CHECK(r.n == 1);
	crash_of(&r.leases[0], "e1", keeper);
	CHECK(plain_int("ZRANK ready:{w}:normal %b",
			"000000000000001 0 id 2 1 5 ran=1 crash=e0,e1 run=9\nnot JSON",
			strlen("000000000000001 0 id 2 1 5 ran=1 crash=e0,e1 run=9\nnot JSON")) ==
	      0);
	result_clear(&r);
	queue_free(q);
	queue_free(keeper);
}

/* What others wait for is told of it too: its run, and whoever asked for its result. */
static void body_told(void)
{
	static const char member[] =
		"000000000000001 0 kid 0 1 5 crash=e0\n"
		"{\"task\":\"t\",\"run_id\":7,\"run_home\":\"w\",\"result_ttl\":60}";
	struct queue *q = queue_new(conn, "w", "e1"), *keeper = queue_new(conn, "w", NULL);

	caps_are(q, 100, 100);
	freeReplyObject(plain("ZADD ready:{w}:normal 0 %b", member, strlen(member)));
	freeReplyObject(plain("ZADD ring:{w}:normal 1 0"));
	freeReplyObject(plain("HSET run:{w}:7 kid x"));
	struct claim_result r = claim(q, 10);
	CHECK(r.n == 1);
	crash_of(&r.leases[0], "e1", keeper);
	CHECK(plain_int("ZCARD dead:{w}") == 1 && plain_int("EXISTS run:{w}:7") == 0);
	redisReply *end = plain("HGET ended:{w} 7"), *result = plain("GET result:{w}:job-1");
	CHECK(end->str && strstr(end->str, " 0 1 0"));
	CHECK(result->str && strstr(result->str, "\"state\":\"dead\"") &&
	      strstr(result->str, "\"class\":\"poison\""));
	freeReplyObject(end);
	freeReplyObject(result);
	result_clear(&r);
	queue_free(q);
	queue_free(keeper);
}

TEST(twice)
TEST(told)
TEST(words)

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(only_own_faults), cmocka_unit_test(trampled_pages),
		cmocka_unit_test(twice),           cmocka_unit_test(told),
		cmocka_unit_test(words),
	};

	return cmocka_run_group_tests(tests, setup, teardown);
}
