/* Unique and idempotency keys against a real redis-server: who runs, who waits, who is turned away, and who
 * frees a key. */
#include "common/queue/keys.h"
#include "common/queue/look.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

#include "tests/unit/queue_steps.h"

#define UNIQUE "\"unique\":\"sync 7\""
#define REPLACE "\"unique\":\"sync 7\",\"unique_mode\":\"replace\""
#define IDEM "\"idempotency_key\":\"order-1\""

/* The key of "sync 7": the first 32 hex digits of its SHA-256. */
static char unique_key[96], idem_key[96];

/* One job as a worker holds it. */
struct held {
	struct lease lease;
	struct job job;
	struct job_keys keys;
	struct key_answer answer;
};

static struct held *take_one(struct queue *q, const char *fields)
{
	struct held *h = mem_new(struct held);
	char payload[256];

	if (fields) {
		snprintf(payload, sizeof(payload), "{\"task\":\"t\",%s}", fields);
		push_raw("queue:{p}", payload);
	}
	struct claim_result r = claim(q, 1);
	CHECK(r.n == 1);
	if (r.n == 1)
		h->lease = r.leases[0];
	free(r.leases);
	CHECK(job_parse(h->lease.payload, h->lease.payload_len, &h->job, NULL) == 0);
	job_keys_of("p", &h->job, &h->keys);
	return h;
}

static enum key_verdict ask(struct held *h, const char *parent)
{
	CHECK(queue_take_keys(h->lease.queue, &h->keys, &h->lease.header, h->lease.header.id,
			      parent, &h->answer, soon(), NULL) == 0);
	return h->answer.verdict;
}

static void end(struct held *h, enum settle_kind kind, enum key_fate fate, int64_t due_ms)
{
	struct queue *q = h->lease.queue;
	struct settlement *s = settlement_new(&h->lease, kind);

	settlement_set_due(s, due_ms);
	settlement_set_letter(s, 5, "x", "{\"id\":\"x\"}", 10);
	settlement_set_keys(s, &h->keys, fate);
	settled_held = 0;
	queue_settle(q, s, on_settled, NULL);
	wait_settled(q);
	CHECK(settled_held == 1);
	job_clear(&h->job);
	free(h);
}

static struct queue *queue_with_caps(void)
{
	struct queue *q = queue_new(conn, "p", "e");
	struct job_keys k;
	struct job j = { .unique = "sync 7", .idempotency_key = "order-1" };

	job_keys_of("p", &j, &k);
	CHECK(k.n == 2 && k.v[0].mode == KEY_REJECT && k.v[1].mode == KEY_IDEM);
	snprintf(unique_key, sizeof(unique_key), "%s", k.v[0].name);
	snprintf(idem_key, sizeof(idem_key), "%s", k.v[1].name);
	caps_are(q, 100, 100);
	return q;
}

static bool value_begins(const char *key, const char *with)
{
	redisReply *r = plain("GET %s", key);
	bool yes = r->type == REDIS_REPLY_STRING && !strncmp(r->str, with, strlen(with));

	freeReplyObject(r);
	return yes;
}

static bool is_there(const char *key)
{
	return plain_int("EXISTS %s", key) == 1;
}

/* Text from outside never becomes a part of a key as it is. */
static void body_names(void)
{
	struct job_keys k;
	char *huge = mem_alloc(100001);
	struct job j = { .unique = huge, .unique_replace = true };

	memset(huge, '{', 100000);
	huge[100000] = '\0';
	job_keys_of("p", &j, &k);
	CHECK(k.n == 1 && k.v[0].mode == KEY_REPLACE);
	CHECK(strlen(k.v[0].name) == strlen("unique:{p}:") + 32);
	j.unique = "abc";
	job_keys_of("p", &j, &k);
	CHECK(!strcmp(k.v[0].name, "unique:{p}:ba7816bf8f01cfea414140de5dae2223"));
	free(huge);
}

static void body_reject(void)
{
	struct queue *q = queue_with_caps();
	struct held *a = take_one(q, UNIQUE), *b = take_one(q, UNIQUE);
	char first[JOB_ID_MAX];

	snprintf(first, sizeof(first), "%s", a->lease.header.id);
	CHECK(ask(a, NULL) == KEYS_TAKEN);
	CHECK(plain_int("PTTL %s", unique_key) > KEY_LIFE_MS - 60000);
	CHECK(ask(a, NULL) == KEYS_TAKEN); /* the same job, claimed again */
	CHECK(ask(b, NULL) == KEYS_DUPLICATE && !strcmp(b->answer.owner, first));
	/* Retried: it waits, and keeps its key until long after it is due. */
	int64_t due = redis_now_ms(conn) + 48LL * 3600 * 1000;
	end(a, SETTLE_DELAY, KEY_WAITS, due);
	CHECK(value_begins(unique_key, "W "));
	CHECK(plain_int("PTTL %s", unique_key) > 71LL * 3600 * 1000);
	CHECK(ask(b, NULL) == KEYS_DUPLICATE);
	end(b, SETTLE_DONE, KEY_FREED, 0); /* not its owner: frees nothing */
	CHECK(value_begins(unique_key, "W "));
	queue_free(q);
}

/* What was pushed while the first was queued or ran is one too many, whenever it is looked at; what came later is not. */
static void body_after_success(void)
{
	struct queue *q = queue_with_caps();
	struct held *a = take_one(q, UNIQUE), *early = take_one(q, UNIQUE);

	CHECK(ask(a, NULL) == KEYS_TAKEN);
	CHECK(co_sleep("later", 2) == 0);
	end(a, SETTLE_DONE, KEY_SUCCEEDED, 0);
	CHECK(value_begins(unique_key, "D "));
	CHECK(plain_int("PTTL %s", unique_key) <= KEY_ECHO_MS);
	CHECK(ask(early, NULL) == KEYS_DUPLICATE);
	char owner[JOB_ID_MAX];
	snprintf(owner, sizeof(owner), "%s", early->answer.label);
	CHECK(ask(early, owner) ==
	      KEYS_TAKEN); /* but the owner's own child goes on with its work */
	end(early, SETTLE_DONE, KEY_SUCCEEDED, 0);
	struct held *later = take_one(q, UNIQUE);
	CHECK(ask(later, NULL) == KEYS_TAKEN);
	end(later, SETTLE_DONE, KEY_SUCCEEDED, 0);
	queue_free(q);
}

/* Dead or given up: as if it had never been. */
static void body_after_failure(void)
{
	struct queue *q = queue_with_caps();

	for (int i = 0; i < 2; i++) {
		struct held *a = take_one(q, UNIQUE "," IDEM), *b = take_one(q, UNIQUE "," IDEM);

		CHECK(ask(a, NULL) == KEYS_TAKEN && is_there(unique_key) && is_there(idem_key));
		end(a, i ? SETTLE_DEAD : SETTLE_DONE, KEY_FREED, 0);
		CHECK(!is_there(unique_key) && !is_there(idem_key));
		CHECK(ask(b, NULL) == KEYS_TAKEN);
		end(b, SETTLE_DONE, KEY_FREED, 0);
	}
	queue_free(q);
}

/* Given back by a worker that stops or dies: the key stays the job's. */
static void body_given_back(void)
{
	struct queue *q = queue_with_caps();
	struct held *a = take_one(q, UNIQUE);

	CHECK(ask(a, NULL) == KEYS_TAKEN);
	end(a, SETTLE_AGAIN, KEY_FREED, 0);
	CHECK(value_begins(unique_key, "R "));
	a = take_one(q, NULL);
	CHECK(ask(a, NULL) == KEYS_TAKEN);
	end(a, SETTLE_DONE, KEY_SUCCEEDED, 0);
	queue_free(q);
}

/* A lease that was lost frees nothing. */
static void body_lost(void)
{
	struct queue *q = queue_with_caps();
	struct held *a = take_one(q, UNIQUE);

	CHECK(ask(a, NULL) == KEYS_TAKEN);
	freeReplyObject(plain("HDEL flight:{p} %s", a->lease.id));
	settled_lost = 0;
	struct settlement *s = settlement_new(&a->lease, SETTLE_DONE);
	settlement_set_keys(s, &a->keys, KEY_SUCCEEDED);
	queue_settle(q, s, on_settled, NULL);
	wait_settled(q);
	CHECK(settled_lost == 1 && value_begins(unique_key, "R "));
	job_clear(&a->job);
	free(a);
	queue_free(q);
}

/* The newest takes the place of one that waits; that one finds out when its time comes. */
static void body_replace_waiting(void)
{
	struct queue *q = queue_with_caps();
	struct held *a = take_one(q, REPLACE), *b = take_one(q, REPLACE);
	int moved = 0;

	CHECK(ask(a, NULL) == KEYS_TAKEN);
	end(a, SETTLE_DELAY, KEY_WAITS, redis_now_ms(conn) + 1);
	CHECK(ask(b, NULL) == KEYS_TAKEN && value_begins(unique_key, "R "));
	CHECK(co_sleep("due", 5) == 0);
	CHECK(queue_promote(q, &moved, NULL, soon(), NULL) == 0 && moved == 1);
	a = take_one(q, NULL);
	CHECK(ask(a, NULL) == KEYS_REPLACED);
	end(b, SETTLE_DONE, KEY_SUCCEEDED, 0);
	CHECK(ask(a, NULL) == KEYS_REPLACED); /* now that the newer has succeeded too */
	end(a, SETTLE_DONE, KEY_FREED, 0);
	CHECK(value_begins(unique_key, "D "));
	queue_free(q);
}

/* One that runs is followed by the newest, and only by that. */
static void body_replace_running(void)
{
	struct queue *q = queue_with_caps();
	struct held *a = take_one(q, REPLACE), *b = take_one(q, REPLACE);
	struct held *c = take_one(q, REPLACE);

	CHECK(ask(a, NULL) == KEYS_TAKEN);
	CHECK(ask(b, NULL) == KEYS_WAIT && !strcmp(b->answer.owner, a->lease.header.id));
	CHECK(ask(b, NULL) == KEYS_WAIT);
	CHECK(ask(c, NULL) == KEYS_WAIT);
	CHECK(ask(b, NULL) == KEYS_REPLACED);
	CHECK(ask(a, NULL) == KEYS_TAKEN && ask(b, NULL) == KEYS_REPLACED);
	end(b, SETTLE_DONE, KEY_FREED, 0);
	end(a, SETTLE_DONE, KEY_SUCCEEDED, 0);
	CHECK(value_begins(unique_key, "W "));
	CHECK(ask(c, NULL) == KEYS_TAKEN);
	end(c, SETTLE_DONE, KEY_SUCCEEDED, 0);
	/* A follower that is given up leaves no place taken. */
	a = take_one(q, REPLACE);
	b = take_one(q, REPLACE);
	CHECK(ask(a, NULL) == KEYS_TAKEN && ask(b, NULL) == KEYS_WAIT);
	end(b, SETTLE_DONE, KEY_FREED, 0);
	end(a, SETTLE_DEAD, KEY_FREED, 0);
	CHECK(!is_there(unique_key));
	queue_free(q);
}

/* ---- by hand ---- */

/* Copies of what stands in ready or delayed. */
struct standing {
	struct burial v[2];
	char member[2][512];
	int n;
};

static bool take_standing(const struct job_seen *j, void *arg)
{
	struct standing *t = arg;

	memcpy(t->member[t->n], j->member, j->member_len);
	t->v[t->n] = (struct burial){ .place = j->place,
				      .lane = j->lane,
				      .member = t->member[t->n],
				      .member_len = j->member_len,
				      .letter = t->n ? "{\"id\":\"y\"}" : "{\"id\":\"x\"}",
				      .letter_len = 10,
				      .failed_at_ms = 7 };
	return ++t->n < 2;
}

static void bury_all(struct queue *q, enum job_place place, int n)
{
	struct job_filter any = { .integration = -1 };
	struct standing t = { 0 };
	bool gone[2] = { false };

	CHECK(queue_look(q, place, &any, take_standing, &t, NULL) >= 0 && t.n == n);
	CHECK(queue_bury(q, t.v, t.n, gone, NULL) == 0);
	for (int i = 0; i < n; i++)
		CHECK(gone[i]);
	freeReplyObject(plain("DEL dead:{p}"));
}

/* Cancelled or purged: its keys are free at once, nobody else's. */
static void body_buried(void)
{
	struct queue *q = queue_with_caps();
	struct held *a = take_one(q, UNIQUE "," IDEM), *b;
	int64_t later = redis_now_ms(conn) + 3600 * 1000;

	/* one that waits for a retry */
	CHECK(ask(a, NULL) == KEYS_TAKEN);
	end(a, SETTLE_DELAY, KEY_WAITS, later);
	CHECK(is_there(unique_key) && is_there(idem_key));
	bury_all(q, JOB_DELAYED, 1);
	CHECK(!is_there(unique_key) && !is_there(idem_key));

	/* one that was given back, and one behind it that never had the key */
	a = take_one(q, UNIQUE);
	CHECK(ask(a, NULL) == KEYS_TAKEN);
	end(a, SETTLE_AGAIN, KEY_FREED, 0);
	push_raw("queue:{p}", "{\"task\":\"t\"," UNIQUE "}");
	CHECK(queue_admit(q, 10, &(int){ 0 }, soon(), NULL) == 0);
	CHECK(value_begins(unique_key, "R "));
	bury_all(q, JOB_READY, 2);
	CHECK(!is_there(unique_key));

	/* the same key of another job that runs is left alone */
	a = take_one(q, UNIQUE);
	CHECK(ask(a, NULL) == KEYS_TAKEN);
	push_raw("queue:{p}", "{\"task\":\"t\"," UNIQUE "}");
	CHECK(queue_admit(q, 10, &(int){ 0 }, soon(), NULL) == 0);
	bury_all(q, JOB_READY, 1);
	CHECK(value_begins(unique_key, "R "));
	end(a, SETTLE_DONE, KEY_FREED, 0);

	/* a follower that is cancelled follows no more; one whose owner is cancelled may run */
	for (int owner = 0; owner < 2; owner++) {
		a = take_one(q, REPLACE);
		b = take_one(q, REPLACE);
		CHECK(ask(a, NULL) == KEYS_TAKEN && ask(b, NULL) == KEYS_WAIT);
		if (owner) {
			end(a, SETTLE_AGAIN, KEY_FREED, 0);
			bury_all(q, JOB_READY, 1);
			CHECK(value_begins(unique_key, "W ") && ask(b, NULL) == KEYS_TAKEN);
			end(b, SETTLE_DONE, KEY_FREED, 0);
		} else {
			end(b, SETTLE_DELAY, KEY_WAITS, later);
			bury_all(q, JOB_DELAYED, 1);
			end(a, SETTLE_DONE, KEY_FREED, 0);
		}
		CHECK(!is_there(unique_key));
	}
	queue_free(q);
}

static void body_idempotent(void)
{
	struct queue *q = queue_with_caps();
	struct held *a = take_one(q, IDEM), *b = take_one(q, IDEM), *c = take_one(q, IDEM);

	CHECK(ask(a, NULL) == KEYS_TAKEN);
	CHECK(ask(b, NULL) == KEYS_WAIT);
	end(a, SETTLE_DEAD, KEY_FREED, 0); /* it failed: the key may be tried again */
	CHECK(ask(b, NULL) == KEYS_TAKEN);
	CHECK(ask(c, NULL) == KEYS_WAIT);
	end(b, SETTLE_DONE, KEY_SUCCEEDED, 0);
	CHECK(plain_int("PTTL %s", idem_key) > KEY_LIFE_MS - 60000);
	CHECK(ask(c, NULL) == KEYS_DUPLICATE);
	end(c, SETTLE_DONE, KEY_FREED, 0);
	c = take_one(q, IDEM);
	CHECK(ask(c, NULL) == KEYS_DUPLICATE); /* however much later it was pushed */
	end(c, SETTLE_DONE, KEY_FREED, 0);
	CHECK(value_begins(idem_key, "D "));
	queue_free(q);
}

/* All or none: who has to wait for one key holds up nobody with the other. */
static void body_both(void)
{
	struct queue *q = queue_with_caps();
	struct held *a = take_one(q, IDEM), *b = take_one(q, UNIQUE "," IDEM);

	CHECK(ask(a, NULL) == KEYS_TAKEN);
	CHECK(ask(b, NULL) == KEYS_WAIT && !is_there(unique_key));
	end(a, SETTLE_DEAD, KEY_FREED, 0);
	CHECK(ask(b, NULL) == KEYS_TAKEN && is_there(unique_key) && is_there(idem_key));
	end(b, SETTLE_DONE, KEY_SUCCEEDED, 0);
	queue_free(q);
}

/* Jobs with keys, without, with children, in one settlement script: each keeps to its own. */
static void body_many(void)
{
	struct queue *q = queue_with_caps();
	struct queue_push child = { .lane = LANE_LOW, .payload = "{\"task\":\"t\"}", .len = 12 };
	struct held *h[60];

	for (int i = 0; i < 60; i++) {
		char fields[128];

		snprintf(fields, sizeof(fields), "\"unique\":\"u%d\"", i);
		if (i % 3)
			snprintf(fields, sizeof(fields),
				 "\"unique\":\"u%d\",\"idempotency_key\":\"i%d\"", i, i);
		h[i] = take_one(q, fields);
		CHECK(ask(h[i], NULL) == KEYS_TAKEN);
	}
	CHECK(plain_int("DBSIZE") >= 100);
	settled_held = 0;
	for (int i = 0; i < 60; i++) {
		struct settlement *s = settlement_new(&h[i]->lease, SETTLE_DONE);

		if (i % 2)
			settlement_add_child(s, "p", &child);
		settlement_set_keys(s, &h[i]->keys, i == 7 ? KEY_SUCCEEDED : KEY_FREED);
		queue_settle(q, s, on_settled, NULL);
		CHECK(h[i]->keys.n == (i % 3 ? 2 : 1));
	}
	wait_settled(q);
	CHECK(settled_held == 60);
	for (int i = 0; i < 60; i++) {
		for (int k = 0; k < h[i]->keys.n; k++)
			CHECK(is_there(h[i]->keys.v[k].name) == (i == 7));
		job_clear(&h[i]->job);
		free(h[i]);
	}
	struct claim_result r = claim(q, 100);
	CHECK(r.n == 30);
	finish_all(q, &r);
	queue_free(q);
}

/* A key of another type is in nobody's way. */
static void body_wrong_type(void)
{
	struct queue *q = queue_with_caps();

	freeReplyObject(plain("LPUSH %s x", unique_key));
	struct held *a = take_one(q, UNIQUE);
	CHECK(ask(a, NULL) == KEYS_TAKEN && value_begins(unique_key, "R "));
	freeReplyObject(plain("DEL %s", unique_key));
	freeReplyObject(plain("LPUSH %s x", unique_key));
	end(a, SETTLE_DONE, KEY_SUCCEEDED, 0);
	CHECK(plain_int("LLEN %s", unique_key) == 1);
	queue_free(q);
}

TEST(names)
TEST(reject)
TEST(after_success)
TEST(after_failure)
TEST(given_back)
TEST(lost)
TEST(replace_waiting)
TEST(replace_running)
TEST(buried)
TEST(idempotent)
TEST(both)
TEST(many)
TEST(wrong_type)

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(names),
		cmocka_unit_test(reject),
		cmocka_unit_test(after_success),
		cmocka_unit_test(after_failure),
		cmocka_unit_test(given_back),
		cmocka_unit_test(lost),
		cmocka_unit_test(replace_waiting),
		cmocka_unit_test(replace_running),
		cmocka_unit_test(buried),
		cmocka_unit_test(idempotent),
		cmocka_unit_test(both),
		cmocka_unit_test(many),
		cmocka_unit_test(wrong_type),
	};

	return cmocka_run_group_tests(tests, setup, teardown);
}
