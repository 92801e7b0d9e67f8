/* Members of several jobs (job.h): made where jobs come together, opened where they are claimed or taken out by hand. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include "common/queue/look.h"
#include "tests/unit/queue_steps.h"

#define READY "ready:{p}:normal"

static int64_t packed(const char *field)
{
	redisReply *r = plain("HGET packed:{p} %s", field);
	int64_t n = r->type == REDIS_REPLY_STRING ? strtoll(r->str, NULL, 10) : 0;

	freeReplyObject(r);
	return n;
}

static void push_numbered(int64_t integration, int from, int n)
{
	char payload[80];

	for (int i = from; i < from + n; i++) {
		snprintf(payload, sizeof(payload),
			 "{\"task\":\"t\",\"id\":\"n%d\",\"integration_id\":%lld}", i,
			 (long long)integration);
		push_raw("queue:{p}", payload);
	}
}

static int number_of(const struct lease *l)
{
	const char *id = strstr(l->payload, "\"n");

	return id ? (int)strtol(id + 2, NULL, 10) : -1;
}

/* In order, each once, under an id of its own. */
static void body_opened_in_order(void)
{
	struct queue *q = queue_new(conn, "p", "e");
	static char ids[64][JOB_ID_MAX];
	int next = 0;

	caps_are(q, 100, 100);
	push_numbered(5, 0, 45);
	struct claim_result r = claim(q, 7);
	CHECK(r.n == 7);
	CHECK(plain_int("ZCARD " READY) < 10 && ready_of(q) == 38);
	CHECK(packed("2") == 38 - plain_int("ZCARD " READY) && packed("2:5") == packed("2"));
	while (r.n > 0) {
		for (int i = 0; i < r.n; i++, next++) {
			CHECK(number_of(&r.leases[i]) == next && r.leases[i].integration == 5);
			CHECK(r.leases[i].payload[r.leases[i].payload_len - 1] == '}');
			memcpy(ids[next], r.leases[i].header.id, JOB_ID_MAX);
			for (int k = 0; k < next; k++)
				CHECK(strcmp(ids[k], ids[next]) != 0);
		}
		finish_all(q, &r);
		r = claim(q, 1 + next % 11);
	}
	result_clear(&r);
	CHECK(next == 45 && plain_int("EXISTS packed:{p}") == 0);
	nothing_left("p");
	queue_free(q);
}

/* Several integrations and sizes in turn: each keeps its order, and large ones stand alone. */
static void body_mixed(void)
{
	struct queue *q = queue_new(conn, "p", "e");
	char *large = calloc(1, 20001);
	int last[4] = { -1, -1, -1, -1 }, n = 0;

	memset(large, 'x', 20000);
	caps_are(q, 1000, 1000);
	for (int i = 0; i < 300; i++)
		push_numbered(1 + i % 3, i, 1);
	push_raw("queue:{p}", large);
	push_raw("queue:{p}", large);
	for (;;) {
		struct claim_result r = claim(q, 50);

		for (int i = 0; i < r.n; i++, n++) {
			const struct lease *l = &r.leases[i];
			int at = (int)l->integration;

			CHECK(at == 0 ? l->payload_len == 20000 : number_of(l) > last[at]);
			last[at] = number_of(l);
		}
		if (r.n == 0) {
			result_clear(&r);
			break;
		}
		finish_all(q, &r);
	}
	free(large);
	CHECK(n == 302 && plain_int("EXISTS packed:{p}") == 0);
	nothing_left("p");
	queue_free(q);
}

struct taken {
	struct burial v;
	char member[512], pack[4096];
	int seen;
};

static bool take(const struct job_seen *j, void *arg)
{
	struct taken *t = arg;

	t->seen++;
	CHECK(j->pack && j->pack_len < sizeof(t->pack) && j->member_len < sizeof(t->member));
	memcpy(t->member, j->member, j->member_len);
	memcpy(t->pack, j->pack, j->pack_len);
	t->v = (struct burial){ .place = j->place,
				.lane = j->lane,
				.member = t->member,
				.member_len = j->member_len,
				.pack = t->pack,
				.pack_len = j->pack_len,
				.letter = "{\"id\":\"x\"}",
				.letter_len = 10 };
	return true;
}

static void body_one_is_taken_out(void)
{
	struct queue *q = queue_new(conn, "p", "e");
	struct job_filter f = { .integration = -1, .id = "n7" };
	static struct taken t;
	bool gone = false;
	int next = 0;

	caps_are(q, 100, 100);
	push_numbered(5, 0, 12);
	CHECK(queue_admit(q, 100, NULL, soon(), NULL) == 0 && plain_int("ZCARD " READY) < 12);
	CHECK(queue_look(q, JOB_READY, &f, take, &t, NULL) == 0 && t.seen == 1);
	CHECK(queue_bury(q, &t.v, 1, &gone, NULL) == 0 && gone);
	CHECK(ready_of(q) == 11 && plain_int("ZCARD dead:{p}") == 1);
	CHECK(queue_bury(q, &t.v, 1, &gone, NULL) == 0 && !gone);
	struct claim_result r = claim(q, 100);
	CHECK(r.n == 11);
	for (int i = 0; i < r.n; i++, next++) {
		next += next == 7;
		CHECK(number_of(&r.leases[i]) == next);
	}
	finish_all(q, &r);
	CHECK(plain_int("EXISTS packed:{p}") == 0);
	freeReplyObject(plain("DEL dead:{p}"));
	nothing_left("p");
	queue_free(q);
}

/* What a hand put there is nobody's loss, nor that of the jobs beside it; counts that are wrong mend themselves. */
static void body_broken(void)
{
	static const char *const bad[] = {
		"000000000000001 5 x3 0 0 1\nnot what it says",
		"000000000000002 5 x9999999999 0 0 1\n",
		"000000000000003 5 x 0 0 1\n{}",
	};
	struct queue *q = queue_new(conn, "p", "e");

	caps_are(q, 100, 100);
	for (size_t i = 0; i < 3; i++)
		freeReplyObject(plain("ZADD " READY " 5 %s", bad[i]));
	push_numbered(5, 0, 30);
	CHECK(queue_admit(q, 100, NULL, soon(), NULL) == 0);
	freeReplyObject(plain("DEL packed:{p}"));
	struct claim_result r = claim(q, 100);
	CHECK(r.n == 33);
	for (int i = 0; i < 3; i++)
		CHECK(r.leases[i].integration == 5 && number_of(&r.leases[i]) == -1);
	for (int i = 3; i < r.n; i++)
		CHECK(number_of(&r.leases[i]) == i - 3);
	finish_all(q, &r);
	CHECK(plain_int("EXISTS packed:{p}") == 0);
	nothing_left("p");
	queue_free(q);
}

static void body_children(void)
{
	struct queue *q = queue_new(conn, "p", "e");
	struct settlement *s;
	char payload[40];

	caps_are(q, 1000, 1000);
	push_many("queue:{p}", 1, 1);
	struct claim_result r = claim(q, 1);
	CHECK(r.n == 1);
	s = settlement_new(&r.leases[0], SETTLE_DONE);
	for (int i = 0; i < 90; i++) {
		struct queue_push child = { .lane = LANE_NORMAL,
					    .integration = 9,
					    .payload = payload };

		child.len = (size_t)snprintf(payload, sizeof(payload),
					     "{\"task\":\"t\",\"id\":\"n%d\"}", i);
		settlement_add_child(s, "p", &child);
	}
	queue_settle(q, s, on_settled, NULL);
	wait_settled(q);
	free(r.leases);
	CHECK(plain_int("ZCARD " READY) == 5 && ready_of(q) == 90 && packed("2:9") == 85);
	r = claim(q, 500);
	CHECK(r.n == 90);
	for (int i = 0; i < r.n; i++)
		CHECK(number_of(&r.leases[i]) == i);
	finish_all(q, &r);
	CHECK(plain_int("EXISTS packed:{p}") == 0);
	nothing_left("p");
	queue_free(q);
}

static void push_filled(int64_t integration, int from, int n, int bytes)
{
	char *payload = calloc(1, (size_t)bytes + 1);

	for (int i = from; i < from + n; i++) {
		snprintf(payload, (size_t)bytes,
			 "{\"task\":\"t\",\"id\":\"n%d\",\"integration_id\":%lld,\"args\":\"", i,
			 (long long)integration);
		memset(payload + strlen(payload), 'x', (size_t)bytes - 2 - strlen(payload));
		memcpy(payload + bytes - 2, "\"}", 3);
		push_raw("queue:{p}", payload);
	}
	free(payload);
}

/* A claim that ends for its bytes in the midst of an integration's packs comes back to the others: they stay in the ring. */
static void body_more_than_a_claim_bears(void)
{
	struct queue *q = queue_new(conn, "p", "e");
	int next = 0, claims = 0;

	caps_are(q, 1000, 1000);
	push_filled(5, 0, 300, 6500);
	CHECK(queue_admit(q, 500, NULL, soon(), NULL) == 0);
	while (packed("2") == 0 || plain_int("LLEN queue:{p}") > 0)
		CHECK(queue_admit(q, 500, NULL, soon(), NULL) == 0);
	for (;;) {
		struct claim_result r = claim(q, 500);

		if (r.n == 0) {
			result_clear(&r);
			break;
		}
		for (int i = 0; i < r.n; i++, next++)
			CHECK(number_of(&r.leases[i]) == next);
		claims++;
		finish_all(q, &r);
	}
	CHECK(next == 300 && claims > 1 && plain_int("EXISTS packed:{p}") == 0);
	nothing_left("p");
	queue_free(q);
}

/* A name that another gave a job is no count of jobs, not even of none. */
static void body_named_as_a_pack(void)
{
	static const char *const names[] = { "x0", "x00", "x1", "x5", "x20" };
	struct queue *q = queue_new(conn, "p", "e");

	caps_are(q, 100, 100);
	for (size_t i = 0; i < 5; i++) {
		struct queue_push v = { .lane = LANE_NORMAL, .id = names[i], .integration = 5 };

		v.payload = "{\"task\":\"t\"}";
		v.len = strlen(v.payload);
		CHECK(queue_enqueue(q, &v, 1, soon(), NULL) == 0);
	}
	struct claim_result r = claim(q, 100);
	CHECK(r.n == 5);
	for (int i = 0; i < r.n; i++)
		CHECK(strcmp(r.leases[i].header.id, names[i]) == 0);
	finish_all(q, &r);
	nothing_left("p");
	queue_free(q);
}

/* Keys that became something else by somebody's mistake stop the queue; what it held is there when they are gone. */
static void body_keys_of_another_type(void)
{
	struct queue *q = queue_new(conn, "p", "e");
	struct claim_result r = { 0 };

	caps_are(q, 100, 100);
	push_numbered(5, 0, 12);
	freeReplyObject(plain("LPUSH seq:{p} x"));
	CHECK(queue_admit(q, 100, NULL, soon(), NULL) < 0 && plain_int("LLEN queue:{p}") == 12);
	freeReplyObject(plain("DEL seq:{p}"));
	CHECK(queue_admit(q, 100, NULL, soon(), NULL) == 0 && ready_of(q) == 12);
	freeReplyObject(plain("LPUSH ready:{p}:low x"));
	freeReplyObject(plain("ZADD ring:{p}:low 1 5"));
	r = claim(q, 100);
	CHECK(r.n == 12);
	freeReplyObject(plain("ZADD ring:{p}:low 1 5"));
	struct claim_result more = { 0 };
	CHECK(queue_claim(q, 100, &more, soon(), NULL) < 0);
	CHECK(plain_int("HLEN flight:{p}") == 12);
	freeReplyObject(plain("DEL ready:{p}:low ring:{p}:low"));
	freeReplyObject(plain("LPUSH ring:{p}:low x"));
	push_numbered(6, 12, 3);
	CHECK(queue_claim(q, 100, &more, soon(), NULL) == 0 && more.n == 3);
	freeReplyObject(plain("DEL ring:{p}:low"));
	finish_all(q, &r);
	finish_all(q, &more);
	nothing_left("p");
	queue_free(q);
}

TEST(opened_in_order)
TEST(mixed)
TEST(one_is_taken_out)
TEST(broken)
TEST(children)
TEST(more_than_a_claim_bears)
TEST(named_as_a_pack)
TEST(keys_of_another_type)

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(opened_in_order),  cmocka_unit_test(mixed),
		cmocka_unit_test(one_is_taken_out), cmocka_unit_test(broken),
		cmocka_unit_test(children),         cmocka_unit_test(more_than_a_claim_bears),
		cmocka_unit_test(named_as_a_pack),  cmocka_unit_test(keys_of_another_type),
	};

	return cmocka_run_group_tests(tests, setup, teardown);
}
