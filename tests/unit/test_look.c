/* Looking at single jobs, and taking them out by hand, against a real redis-server. */
#include "common/queue/look.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include "tests/unit/queue_steps.h"

struct seen {
	int n, stop_after;
	int64_t integration, since_ms, due_ms; /* of the last one */
	enum lane lane;
	char epoch[64];
};

static bool note(const struct job_seen *j, void *arg)
{
	struct seen *s = arg;

	s->n++;
	s->integration = j->integration;
	s->since_ms = j->since_ms;
	s->due_ms = j->due_ms;
	s->lane = j->lane;
	memcpy(s->epoch, j->epoch, sizeof(s->epoch));
	return s->n != s->stop_after;
}

static struct seen look(struct queue *q, enum job_place place, struct job_filter f, int stop_after)
{
	struct seen s = { .stop_after = stop_after };
	int rc = queue_look(q, place, &f, note, &s, NULL);

	CHECK(rc == (stop_after && s.n == stop_after));
	return s;
}

static void body_places(void)
{
	struct queue *q = queue_new(conn, "p", "e");
	struct job_filter any = { .integration = -1 };
	struct queue_push later = { .lane = LANE_LOW,
				    .integration = 2,
				    .run_at_ms = 4102444800000LL,
				    .id = "later",
				    .payload = "{\"task\":\"t\"}",
				    .len = 12 };
	int64_t now;

	caps_are(q, 100, 10);
	push_many("queue:{p}", 1, 70);
	push_many("queue:{p}:high", 2, 1);
	struct claim_result r = claim(q, 1);
	CHECK(r.n == 1);
	now = redis_now_ms(conn);
	struct seen s = look(q, JOB_IN_FLIGHT, any, 0);
	CHECK(s.n == 1 && s.integration == 2 && s.lane == LANE_HIGH && !strcmp(s.epoch, "e"));
	CHECK(s.since_ms <= now + 1 && s.since_ms > now - 5000);
	CHECK(look(q, JOB_READY, any, 0).n == 70);
	CHECK(look(q, JOB_READY, any, 33).n == 33);
	CHECK(look(q, JOB_READY, (struct job_filter){ .integration = 2 }, 0).n == 0);
	CHECK(look(q, JOB_READY, (struct job_filter){ .integration = -1, .lane = LANE_LOW }, 0).n ==
	      0);
	CHECK(queue_enqueue(q, &later, 1, soon(), NULL) == 0);
	s = look(q, JOB_DELAYED, (struct job_filter){ .integration = 2 }, 0);
	CHECK(s.n == 1 && s.due_ms == 4102444800000LL && s.lane == LANE_LOW && !*s.epoch);
	CHECK(look(q, JOB_DELAYED, (struct job_filter){ .integration = 22 }, 0).n == 0);
	CHECK(look(q, JOB_DELAYED, (struct job_filter){ .integration = -1, .id = "later" }, 0).n ==
	      1);
	CHECK(look(q, JOB_DELAYED, (struct job_filter){ .integration = -1, .id = "late" }, 0).n ==
	      0);
	CHECK(look(q, JOB_DELAYED, (struct job_filter){ .integration = -1, .id = "l*r" }, 0).n ==
	      0);
	finish_all(q, &r);
	queue_free(q);
}

/* Lease numbers follow the clock, and never come twice. */
static void body_numbers(void)
{
	struct queue *q = queue_new(conn, "p", "e");

	caps_are(q, 100, 50);
	push_many("queue:{p}", 1, 4);
	struct claim_result a = claim(q, 2), b = claim(q, 2);
	int64_t last = 0;
	for (int i = 0; i < 4; i++) {
		const struct lease *l = i < 2 ? &a.leases[i] : &b.leases[i - 2];
		int64_t n = strtoll(strchr(l->id, ':') + 1, NULL, 10);

		CHECK(n > last);
		CHECK(plain_int("HEXISTS flight:{p} %s", l->id) == 1);
		last = n;
	}
	finish_all(q, &a);
	finish_all(q, &b);
	CHECK(plain_int("EXISTS flight:{p} busy:{p}") == 0);
	queue_free(q);
}

struct taken {
	struct burial v;
	char member[512], pack[512];
	int pack_at;
};

static bool take(const struct job_seen *j, void *arg)
{
	struct taken *t = arg;

	CHECK(j->member_len < sizeof(t->member));
	memcpy(t->member, j->member, j->member_len);
	t->v = (struct burial){ .place = j->place,
				.lane = j->lane,
				.member = t->member,
				.member_len = j->member_len,
				.letter = "{\"id\":\"x\"}",
				.letter_len = 10,
				.failed_at_ms = 7 };
	t->pack_at = j->pack_at;
	if (j->pack) {
		CHECK(j->pack_len < sizeof(t->pack));
		t->v.pack = memcpy(t->pack, j->pack, j->pack_len);
		t->v.pack_len = j->pack_len;
	}
	return false;
}

static void body_way_and_burial(void)
{
	struct queue *q = queue_new(conn, "p", "e");
	struct job_filter one = { .integration = 5 };
	struct taken t = { 0 };
	struct shares s;
	bool gone = false;

	caps_are(q, 3, 1);
	push_many("queue:{p}", 5, 3);
	push_many("queue:{p}", 6, 1);
	struct claim_result r = claim(q, 1);
	CHECK(r.n == 1 && r.leases[0].integration == 5);
	CHECK(queue_shares(q, &s, NULL) == 0);
	CHECK(s.n == 2 && s.partner_cap == 3 && s.default_cap == 1);
	CHECK(s.v[0].integration == 5 && s.v[0].ready == 2 && s.v[0].busy == 1 && s.v[0].cap == 1);
	CHECK(s.v[1].integration == 6 && s.v[1].ready == 1 && s.v[1].busy == 0);
	free(s.v);
	CHECK(queue_look(q, JOB_READY, &one, take, &t, NULL) == 1);
	struct job_seen j = { .place = JOB_READY,
			      .lane = LANE_NORMAL,
			      .integration = 5,
			      .member = t.member,
			      .member_len = t.v.member_len,
			      .pack = t.v.pack,
			      .pack_len = t.v.pack_len,
			      .pack_at = t.pack_at };
	struct job_way w;
	CHECK(queue_way(q, &j, &w, NULL) == 0);
	CHECK(w.cap == 1 && w.busy == 1 && w.in_flight == 1 && w.before_row == 0 && !w.no_control);
	CHECK(queue_bury(q, &t.v, 1, &gone, NULL) == 0 && gone);
	CHECK(plain_int("ZSCORE dead:{p} %s", "{\"id\":\"x\"}") == 7);
	CHECK(queue_bury(q, &t.v, 1, &gone, NULL) == 0 && !gone);
	CHECK(ready_of(q) == 2);
	CHECK(queue_way(q, &j, &w, NULL) == 0 && w.before_row == -1);
	struct queue_check k;
	CHECK(queue_check(q, false, &k, NULL) == 0);
	CHECK(k.in_flight == 1 && !k.miscounted && !k.stranded && !k.odd_leases);
	finish_all(q, &r);
	queue_free(q);
}

/* ---- shedding: without letters, and their run is told that they were dropped ---- */
struct shedding {
	struct shedder *s;
	int64_t gone;
	int n;
};

static bool shed_one(const struct job_seen *j, void *arg)
{
	struct shedding *s = arg;

	s->n++;
	plain_int("HSET run:{p}:9 %s %s", j->header.id, "");
	CHECK(shedder_add(s->s, j, &s->gone, NULL) == 0);
	return true;
}

static int on_end(const struct run_end *e, void *arg)
{
	CHECK(e->run == 9 && e->done == 0 && e->dead == 0 && e->dropped == 30);
	(*(int *)arg)++;
	return 0;
}

static void body_shed(void)
{
	struct queue *q = queue_new(conn, "p", "e");
	struct job_filter any = { .integration = -1 };
	struct shedding s = { .s = shedder_new(q) };
	int moved, ended = 0;

	for (int i = 0; i < 30; i++)
		plain_int(
			"LPUSH queue:{p} %s",
			"{\"task\":\"noop\",\"integration_id\":5,\"run_id\":9,\"run_home\":\"p\"}");
	CHECK(queue_admit(q, 100, &moved, loop_now_ms() + 5000, NULL) == 0 && moved == 30);
	CHECK(queue_look(q, JOB_READY, &any, shed_one, &s, NULL) == 0);
	CHECK(s.n == 30 && s.gone == 0);
	CHECK(shedder_flush(s.s, &s.gone, NULL) == 0 && s.gone == 30);
	CHECK(ready_of(q) == 0);
	CHECK(plain_int("ZCARD dead:{p}") == 0);
	CHECK(queue_runs_ended(q, on_end, &ended, loop_now_ms() + 5000, NULL) == 0 && ended == 1);
	CHECK(shedder_flush(s.s, &s.gone, NULL) == 0 && s.gone == 30);
	shedder_free(s.s);
	queue_free(q);
}

static bool any_partner(const char *partner, void *arg)
{
	return true;
}

static void odd(const char *key, const char *what, void *arg)
{
	fprintf(stderr, "%s: %s\n", key, what);
	++*(int *)arg;
}

/* What common/README.md names doctor knows: it tells people to delete what it does not. */
static void body_names(void)
{
	FILE *f = fopen("common/README.md", "re");
	int n = 0, n_odd = 0;
	int64_t looked = 0;
	char *line = NULL;
	size_t size = 0;

	CHECK(f != NULL);
	while (f && getline(&line, &size, f) > 0) {
		char name[80];

		if (sscanf(line, "| `%79[a-zA-Z0-9:{}]", name) != 1 || !strstr(name, ":{"))
			continue;
		plain_int("APPEND %s x", name);
		n++;
	}
	free(line);
	if (f)
		fclose(f);
	CHECK(n > 30);
	CHECK(keys_check(conn, any_partner, odd, &n_odd, &looked, NULL) == 0);
	CHECK(looked > 25 && n_odd == 0);
}

TEST(names)
TEST(places)
TEST(shed)
TEST(numbers)
TEST(way_and_burial)

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(places),         cmocka_unit_test(numbers),
		cmocka_unit_test(way_and_burial), cmocka_unit_test(shed),
		cmocka_unit_test(names), /* the last: its keys are of no type that others take */
	};

	return cmocka_run_group_tests(tests, setup, teardown);
}
