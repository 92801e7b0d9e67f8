/* Runs and results in Redis, against a real redis-server: who is counted as open, when the end is noted, and what is delivered
 * twice, late, or buried. */
#include "common/queue/run.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

#include "common/queue/look.h"
#include "tests/unit/queue_steps.h"

static const char child_job[] = "{\"task\":\"c\",\"run_id\":7,\"run_home\":\"p\"}";

static struct lease claim_one(struct queue *q)
{
	struct claim_result r = claim(q, 1);
	struct lease l = { 0 };

	CHECK(r.n == 1);
	if (r.n == 1)
		l = r.leases[0];
	free(r.leases);
	return l;
}

static struct queue_push kin(const char *id)
{
	return (struct queue_push){
		.lane = LANE_NORMAL, .id = id, .payload = child_job, .len = sizeof(child_job) - 1
	};
}

/* Ends a job: `to` NULL, or where it has children, named `ids`. */
static void end_job(struct lease *l, const struct run_ref *r, enum run_fate fate, const char *to,
		    const char *const *ids)
{
	struct queue *q = l->queue;
	struct settlement *s = settlement_new(l, SETTLE_DONE);

	for (; to && *ids; ids++) {
		struct queue_push push = kin(*ids);

		settlement_add_kin(s, to, &push);
	}
	settlement_set_run(s, r, fate);
	settled_held = 0;
	queue_settle(q, s, on_settled, NULL);
	wait_settled(q);
	CHECK(settled_held == 1);
}

static const struct run_ref root = { .id = 7, .home = "p", .root = true };
static const struct run_ref member = { .id = 7, .home = "p" };

static int one_end(const struct run_end *e, void *arg)
{
	*(struct run_end *)arg = *e;
	return 0;
}

/* The end as the scheduler finds it; run 0: none. */
static struct run_end ended(struct queue *q)
{
	struct run_end e = { 0 };

	CHECK(queue_runs_ended(q, one_end, &e, soon(), NULL) == 0);
	return e;
}

static int64_t open_jobs(struct queue *q)
{
	struct run_open o = { 0 };

	CHECK(queue_run_look(q, 7, &o, soon(), NULL) == 0);
	return o.open;
}

static struct queue *open_queue(const char *partner)
{
	struct queue *q = queue_new(conn, partner, "e");

	caps_are(q, 100, 50);
	return q;
}

/* The claim that finds nothing also takes the last entry out of the ring. */
static void drained(struct queue *q)
{
	struct claim_result r = claim(q, 1);

	CHECK(r.n == 0);
	result_clear(&r);
	nothing_left(queue_partner(q));
}

static struct lease root_job(struct queue *q)
{
	char key[64];

	snprintf(key, sizeof(key), "queue:{%s}", queue_partner(q));
	push_raw(key, "{\"task\":\"root\"}");
	return claim_one(q);
}

static void body_last_one_ends_it(void)
{
	struct queue *q = open_queue("p");
	const char *const two[] = { "a", "b", NULL }, *const one[] = { "c", NULL };
	struct lease l = root_job(q);

	end_job(&l, &root, RUN_DONE, "p", two);
	CHECK(open_jobs(q) == 2 && plain_int("PTTL run:{p}:7") > 0);
	l = claim_one(q);
	CHECK(strcmp(l.header.id, "a") == 0);
	end_job(&l, &member, RUN_DONE, "p", one); /* a grandchild joins as its parent leaves */
	CHECK(open_jobs(q) == 2 && ended(q).run == 0);
	l = claim_one(q);
	end_job(&l, &member, RUN_DEAD, NULL, NULL);
	CHECK(open_jobs(q) == 1 && ended(q).run == 0);
	l = claim_one(q);
	end_job(&l, &member, RUN_DROPPED, NULL, NULL);
	struct run_end e = ended(q);
	CHECK(e.run == 7 && e.done == 1 && e.dead == 1 && e.dropped == 1);
	CHECK(e.at_ms > redis_now_ms(conn) - 60000 && plain_int("EXISTS run:{p}:7") == 0);
	struct run_open o = { 0 };
	CHECK(queue_run_look(q, 7, &o, soon(), NULL) == 0 && o.known && !o.open && o.dead == 1);
	CHECK(queue_run_forget(q, 7, soon(), NULL) == 0 && ended(q).run == 0);
	CHECK(queue_run_look(q, 7, &o, soon(), NULL) == 0 && !o.known);
	drained(q);
	queue_free(q);
}

/* The same child twice: it counts once, and what it left behind the second time counts nowhere. */
static void body_child_delivered_twice(void)
{
	struct queue *q = open_queue("p");
	const char *const two[] = { "a", "b", NULL }, *const late[] = { "late", NULL };
	struct queue_push again = kin("a");
	struct lease l = root_job(q);

	end_job(&l, &root, RUN_DONE, "p", two);
	CHECK(queue_enqueue(q, &again, 1, soon(), NULL) == 0);
	struct lease first = claim_one(q), b = claim_one(q), second = claim_one(q);
	CHECK(!strcmp(first.header.id, "a") && !strcmp(second.header.id, "a"));
	end_job(&first, &member, RUN_DONE, NULL, NULL);
	CHECK(open_jobs(q) == 1);
	end_job(&second, &member, RUN_DONE, "p", late);
	CHECK(open_jobs(q) == 1);
	end_job(&b, &member, RUN_DONE, NULL, NULL);
	CHECK(ended(q).done == 2);
	CHECK(queue_run_forget(q, 7, soon(), NULL) == 0);
	l = claim_one(q);
	CHECK(!strcmp(l.header.id, "late"));
	end_job(&l, &member, RUN_DONE, NULL, NULL);
	CHECK(ended(q).run == 0 && plain_int("EXISTS run:{p}:7") == 0);
	queue_free(q);
}

static void body_root_without_children(void)
{
	struct queue *q = open_queue("p");
	struct run_ref asks = root;
	struct lease l = root_job(q);

	end_job(&l, &root, RUN_DONE, NULL, NULL);
	CHECK(ended(q).run == 0);
	asks.asks = true;
	l = root_job(q);
	end_job(&l, &asks, RUN_DEAD, NULL, NULL);
	struct run_end e = ended(q);
	CHECK(e.run == 7 && e.done + e.dead + e.dropped == 0);
	CHECK(queue_run_forget(q, 7, soon(), NULL) == 0);
	drained(q);
	queue_free(q);
}

/* A lost lease settles nothing, its run included. */
static void body_lost_lease_changes_nothing(void)
{
	struct queue *q = open_queue("p");
	const char *const one[] = { "a", NULL };
	struct lease l = root_job(q);

	end_job(&l, &root, RUN_DONE, "p", one);
	l = claim_one(q);
	freeReplyObject(plain("HDEL flight:{p} %s", l.id));
	struct settlement *s = settlement_new(&l, SETTLE_DONE);
	settlement_set_run(s, &member, RUN_DONE);
	settlement_set_result(s, "a", 60000, "{}", 2);
	settled_held = settled_lost = 0;
	queue_settle(q, s, on_settled, NULL);
	wait_settled(q);
	CHECK(settled_lost == 1 && open_jobs(q) == 1 && plain_int("EXISTS result:{p}:a") == 0);
	queue_free(q);
}

static int relay(struct queue *q)
{
	int moved = 0;

	CHECK(queue_relay(q, &moved, soon(), NULL) == 0);
	return moved;
}

/* p is home; a runs with q, and its child with r.  No moment has an empty set. */
static void body_across_slots(void)
{
	struct queue *p = open_queue("p"), *q = open_queue("q"), *r = open_queue("r");
	const char *const a[] = { "a", NULL }, *const b[] = { "b", NULL };
	struct lease l = root_job(p);

	end_job(&l, &root, RUN_DONE, "q", a);
	relay(p);
	l = claim_one(q);
	end_job(&l, &member, RUN_DONE, "r", b);
	relay(q);
	CHECK(open_jobs(p) == 1 && plain_int("HEXISTS run:{p}:7 b") == 1);
	l = claim_one(r);
	end_job(&l, &member, RUN_DONE, NULL, NULL);
	relay(r);
	CHECK(ended(p).done == 2);
	CHECK(plain_int("LLEN outbox:{q}") == 0 && plain_int("LLEN outbox:{r}") == 0);
	queue_free(p);
	queue_free(q);
	queue_free(r);
}

/* An entry that comes again after its children have left: they do not come back with it. */
static void body_change_delivered_late(void)
{
	struct queue *p = open_queue("p"), *q = open_queue("q");
	const char *const a[] = { "a", NULL }, *const two[] = { "x", "y", NULL };
	struct lease l = root_job(p);

	end_job(&l, &root, RUN_DONE, "q", a);
	relay(p);
	l = claim_one(q);
	struct queue_push kids[] = { kin(NULL) };
	CHECK(queue_spawn(q, &l, &member, kids, 1, NULL, soon(), NULL) == 0);
	redisReply *goes = plain("LRANGE outbox:{q} 0 -1");
	CHECK(goes->elements == 1 && strstr(goes->element[0]->str, " goes a "));
	relay(q);
	CHECK(open_jobs(p) == 2);
	struct lease kid = claim_one(q);
	end_job(&kid, &member, RUN_DONE, NULL, NULL);
	relay(q);
	CHECK(open_jobs(p) == 1);
	freeReplyObject(plain("LPUSH outbox:{q} %s", goes->element[0]->str));
	relay(q);
	CHECK(open_jobs(p) == 1);
	end_job(&l, &member, RUN_DONE, "q", two);
	redisReply *done = plain("LRANGE outbox:{q} 0 -1");
	relay(q);
	CHECK(open_jobs(p) == 2);
	for (int i = 0; i < 2; i++) {
		l = claim_one(q);
		end_job(&l, &member, RUN_DONE, NULL, NULL);
	}
	relay(q);
	CHECK(ended(p).done == 4 && queue_run_forget(p, 7, soon(), NULL) == 0);
	char token[27]; /* its seen key is gone after a day */
	snprintf(token, sizeof(token), "%s", goes->element[0]->str);
	freeReplyObject(plain("DEL seen:{p}:%s", token));
	freeReplyObject(plain("LPUSH outbox:{q} %s", goes->element[0]->str));
	if (done->elements)
		freeReplyObject(plain("LPUSH outbox:{q} %s", done->element[0]->str));
	relay(q);
	CHECK(ended(p).run == 0 && plain_int("EXISTS run:{p}:7") == 0);
	freeReplyObject(goes);
	freeReplyObject(done);
	queue_free(p);
	queue_free(q);
}

/* A root that runs on has its children counted, and keeps its run if its worker dies. */
static void body_spawn_keeps_the_run(void)
{
	struct queue *q = open_queue("p");
	struct lease l = root_job(q);
	struct queue_push kids[] = { kin(NULL), kin(NULL) };
	int back = 0;

	CHECK(queue_spawn(q, &l, &root, kids, 2, NULL, soon(), NULL) == 0);
	CHECK(open_jobs(q) == 3);
	for (int i = 0; i < 2; i++) {
		struct lease kid = claim_one(q);
		end_job(&kid, &member, RUN_DONE, NULL, NULL);
	}
	CHECK(open_jobs(q) == 1 && ended(q).run == 0);
	char gone[96];
	snprintf(gone, sizeof(gone), "%s", l.id);
	lease_clear(&l);
	CHECK(queue_reap(q, "e", &back, soon(), NULL) == 0 && back == 1);
	l = claim_one(q);
	CHECK(strcmp(l.id, gone) != 0);
	CHECK(l.header.extra_len >= 6 && memmem(l.header.extra, l.header.extra_len, " run=7", 6));
	CHECK(strcmp(l.payload, "{\"task\":\"root\"}") == 0);
	CHECK(queue_spawn(q, &l, &root, kids, 1, NULL, soon(), NULL) == 0);
	CHECK(open_jobs(q) == 2);
	end_job(&l, &root, RUN_DONE, NULL, NULL);
	l = claim_one(q);
	end_job(&l, &member, RUN_DONE, NULL, NULL);
	CHECK(ended(q).done == 3);
	struct err err = { 0 };
	l = root_job(q);
	freeReplyObject(plain("HDEL flight:{p} %s", l.id));
	CHECK(queue_spawn(q, &l, &root, kids, 1, NULL, soon(), &err) == -ESTALE);
	CHECK(ready_of(q) == 0);
	lease_clear(&l);
	queue_free(q);
}

/* Another attempt at the same page names the same children: one that has ended by then must not join again. */
static void body_spawn_once(const char *home)
{
	struct queue *q = open_queue("p"), *h = open_queue(home);
	struct lease l = root_job(q);
	struct run_ref ref = { .id = 7, .home = home, .root = strcmp(home, "p") == 0 };
	struct queue_push kids[] = { kin("kid"), kin("late") };
	int fresh = -1;

	if (!ref.root)
		freeReplyObject(plain("HSET run:{%s}:7 %s .", home, l.header.id));
	CHECK(queue_spawn(q, &l, &ref, kids, 1, &fresh, soon(), NULL) == 0 && fresh == 1);
	relay(q);
	CHECK(open_jobs(h) == 2);
	struct lease kid = claim_one(q);
	end_job(&kid, &(struct run_ref){ .id = 7, .home = home }, RUN_DONE, NULL, NULL);
	relay(q);
	CHECK(open_jobs(h) == 1 && ready_of(q) == 0);
	CHECK(queue_spawn(q, &l, &ref, kids, 2, &fresh, soon(), NULL) == 0 && fresh == 1);
	relay(q);
	CHECK(open_jobs(h) == 2 && ready_of(q) == 1);
	CHECK(queue_spawn(q, &l, &ref, kids, 2, &fresh, soon(), NULL) == 0 && fresh == 0);
	relay(q);
	CHECK(open_jobs(h) == 2 && ready_of(q) == 1);
	lease_clear(&l);
	queue_free(q);
	queue_free(h);
}

static void body_spawn_once_at_home(void)
{
	body_spawn_once("p");
}

static void body_spawn_once_away(void)
{
	body_spawn_once("h");
}

struct bury_one {
	struct queue *q;
	const char *id;
	const struct run_ref *run;
	bool gone;
};

static bool bury_seen(const struct job_seen *j, void *arg)
{
	struct bury_one *one = arg;
	struct burial b = { .place = j->place,
			    .lane = j->lane,
			    .member = j->member,
			    .member_len = j->member_len,
			    .pack = j->pack,
			    .pack_len = j->pack_len,
			    .letter = "{\"id\":\"l\"}",
			    .letter_len = 10,
			    .id = one->id,
			    .run = *one->run };

	CHECK(queue_bury(one->q, &b, 1, &one->gone, NULL) == 0);
	return false;
}

static void bury_one(struct queue *q, const char *id, const struct run_ref *r)
{
	struct job_filter f = { .integration = -1, .id = id };
	struct bury_one one = { .q = q, .id = id, .run = r };

	CHECK(queue_look(q, JOB_READY, &f, bury_seen, &one, NULL) == 1);
	CHECK(one.gone);
}

static void body_buried(void)
{
	struct queue *q = open_queue("p");
	const char *const two[] = { "aaa", "bbb", NULL };
	struct lease l = root_job(q);

	end_job(&l, &root, RUN_DONE, "p", two);
	bury_one(q, "bbb", &member);
	CHECK(open_jobs(q) == 1);
	l = claim_one(q);
	struct queue_push kids[] = { kin("ccc") };
	CHECK(queue_spawn(q, &l, &member, kids, 1, NULL, soon(), NULL) == 0);
	end_job(&l, &member, RUN_DONE, NULL, NULL);
	CHECK(open_jobs(q) == 1);
	redisReply *left = plain("HKEYS run:{p}:7");
	for (size_t i = 0; i < left->elements; i++) {
		if (!strchr(left->element[i]->str, ' '))
			bury_one(q, left->element[i]->str, &member);
	}
	freeReplyObject(left);
	struct run_end e = ended(q);
	CHECK(e.run == 7 && e.done == 1 && e.dead == 2);
	queue_free(q);
}

/* Its letter has another id, so it is counted nowhere, whether the run goes on or has ended. */
static void body_replayed(void)
{
	struct queue *q = open_queue("p");
	const char *const two[] = { "a", "b", NULL }, *const kid[] = { "k", NULL };
	const char letter[] =
		"{\"id\":\"LETTER\",\"integration_id\":0,\"lane\":\"normal\",\"payload\":"
		"\"{\\\"task\\\":\\\"c\\\",\\\"run_id\\\":7,\\\"run_home\\\":\\\"p\\\"}\"}";
	struct lease l = root_job(q);

	end_job(&l, &root, RUN_DONE, "p", two);
	l = claim_one(q);
	struct settlement *s = settlement_new(&l, SETTLE_DEAD);
	settlement_set_letter(s, 5, "LETTER", letter, strlen(letter));
	settlement_set_run(s, &member, RUN_DEAD);
	queue_settle(q, s, on_settled, NULL);
	wait_settled(q);
	CHECK(queue_dead_take(q, 5, letter, strlen(letter), true, soon(), NULL) == 0);
	l = claim_one(q);
	CHECK(strcmp(l.header.id, "b") == 0);
	end_job(&l, &member, RUN_DONE, NULL, NULL);
	struct run_end e = ended(q);
	CHECK(e.run == 7 && e.done == 1 && e.dead == 1);
	CHECK(queue_run_forget(q, 7, soon(), NULL) == 0);
	l = claim_one(q);
	CHECK(strcmp(l.header.id, "LETTER") == 0);
	end_job(&l, &member, RUN_DONE, "p", kid);
	CHECK(ended(q).run == 0 && plain_int("EXISTS run:{p}:7") == 0);
	queue_free(q);
}

/* Keys of another type, by a hand: neither a settlement nor an end is lost over them. */
static void body_keys_of_another_type(void)
{
	struct queue *q = open_queue("p");
	const char *const one[] = { "a", NULL };
	struct lease l = root_job(q);

	freeReplyObject(plain("SET run:{p}:7 x"));
	freeReplyObject(plain("SET ended:{p} x"));
	end_job(&l, &root, RUN_DONE, "p", one);
	CHECK(open_jobs(q) == 1);
	l = claim_one(q);
	end_job(&l, &member, RUN_DONE, NULL, NULL);
	CHECK(ended(q).done == 1);
	queue_free(q);
}

static void body_result(void)
{
	struct queue *q = open_queue("p");
	struct buf out = BUF_INIT;
	struct lease l = root_job(q);

	CHECK(queue_result(q, "my job", &out, soon(), NULL) == -ENOENT);
	struct settlement *s = settlement_new(&l, SETTLE_DONE);
	settlement_set_result(s, "my job", 60000, "{\"state\":\"done\"}", 16);
	queue_settle(q, s, on_settled, NULL);
	wait_settled(q);
	CHECK(queue_result(q, "my job", &out, soon(), NULL) == 0);
	CHECK(strcmp(buf_str(&out), "{\"state\":\"done\"}") == 0);
	redisReply *ttl = plain("PTTL %s", "result:{p}:my job");
	CHECK(ttl->integer > 50000 && ttl->integer <= 60000);
	freeReplyObject(ttl);
	buf_clear(&out);
	queue_free(q);
}

TEST(last_one_ends_it)
TEST(child_delivered_twice)
TEST(root_without_children)
TEST(lost_lease_changes_nothing)
TEST(across_slots)
TEST(change_delivered_late)
TEST(spawn_keeps_the_run)
TEST(spawn_once_at_home)
TEST(spawn_once_away)
TEST(buried)
TEST(replayed)
TEST(keys_of_another_type)
TEST(result)

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(last_one_ends_it),
		cmocka_unit_test(child_delivered_twice),
		cmocka_unit_test(root_without_children),
		cmocka_unit_test(lost_lease_changes_nothing),
		cmocka_unit_test(across_slots),
		cmocka_unit_test(change_delivered_late),
		cmocka_unit_test(spawn_keeps_the_run),
		cmocka_unit_test(spawn_once_at_home),
		cmocka_unit_test(spawn_once_away),
		cmocka_unit_test(buried),
		cmocka_unit_test(replayed),
		cmocka_unit_test(keys_of_another_type),
		cmocka_unit_test(result),
	};

	return cmocka_run_group_tests(tests, setup, teardown);
}
