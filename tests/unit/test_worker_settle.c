/* What follows from an attempt (E1, E2), end to end: a job is claimed from a real Redis, a task says what happened to it,
 * and the test looks where the job is then, and as what. */
#include "worker/settle.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "common/io/redis_impl.h"
#include "tests/unit/partner.h"
#include "tests/unit/postgres_trouble.h"
#include "worker/integrations.h"
#include "worker/run.h"

#define JOB "{\"task\":\"plan\",\"integration_id\":1}"
#define MINUTE 60000
#define SECRET "sesame-and-more"

static struct pg *pg;
static struct worker worker;
static struct queue *queue;

/* ---- the task: does as it is told ---- */

static struct {
	int rc;
	struct err err;
	const char *exchange;
	int64_t run_id, step, called_id;
	int children;
	int64_t put_off_ms, next_step;
	int page_size;
	bool goes_on, waits, loses_lease, unclean;
	int64_t born_ms, began_ms; /* what it saw */
} plan;

static int task_plan(struct attempt *a)
{
	for (int i = 0; i < plan.children; i++)
		attempt_child(a, NULL, LANE_LOW, "plan", 1, NULL, 5);
	plan.born_ms = a->lease.header.born_ms;
	plan.began_ms = attempt_began_ms(a);
	if (plan.goes_on)
		attempt_continue(a);
	a->page_size = plan.page_size;
	a->next_step = plan.next_step;
	a->next_fanned = plan.next_step ? a->fanned + plan.children : 0;
	if (plan.put_off_ms)
		attempt_put_off(a, plan.put_off_ms);
	if (plan.run_id)
		a->run_id = plan.run_id;
	if (plan.step)
		a->step = plan.step;
	a->called_id = plan.called_id;
	if (plan.unclean)
		a->unclean = true;
	if (plan.exchange)
		buf_puts(&a->exchange, plan.exchange);
	if (plan.loses_lease)
		OK(redis_callv(redis, NULL, loop_now_ms() + PATIENCE_MS, NULL, "HDEL",
			       "flight:{acme}", a->lease.id, NULL) == 0);
	if (plan.waits)
		return co_wait("plan", CO_NO_DEADLINE);
	a->err = plan.err;
	return plan.rc;
}

const struct task extra_tasks[] = { { "plan", task_plan, false, false, false },
				    { NULL, NULL, false, false, false } };

static void plan_is(int rc, enum err_class class, const char *rule, int64_t retry_after_ms)
{
	memset(&plan, 0, sizeof(plan));
	plan.rc = rc;
	plan.err.class = class;
	plan.err.retry_after_ms = retry_after_ms;
	snprintf(plan.err.rule, sizeof(plan.err.rule), "%s", rule);
	snprintf(plan.err.where, sizeof(plan.err.where), "listings page 3");
	snprintf(plan.err.text, sizeof(plan.err.text), "so it was planned");
}

/* ---- one attempt ---- */

static redisReply *ask_redis(const char *a, const char *b, const char *c, const char *d,
			     const char *e)
{
	redisReply *reply = NULL;

	OK(redis_callv(redis, &reply, loop_now_ms() + PATIENCE_MS, NULL, a, b, c, d, e, NULL) == 0);
	return reply;
}

static int64_t count(const char *command, const char *key)
{
	redisReply *r = ask_redis(command, key, NULL, NULL, NULL);
	int64_t n = r ? r->integer : -1;

	freeReplyObject(r);
	return n;
}

/* Jobs in the low lane: members, and those that share one. */
static int64_t low_jobs(void)
{
	redisReply *r = ask_redis("HGET", "packed:{acme}", "3", NULL, NULL);
	int64_t n = count("ZCARD", "ready:{acme}:low");

	n += r && r->type == REDIS_REPLY_STRING ? strtoll(r->str, NULL, 10) : 0;
	freeReplyObject(r);
	return n;
}

struct attempting {
	struct attempt a;
	struct co *test;
	bool done;
};

static void attempt_run(void *arg)
{
	struct attempting *t = arg;

	run_attempt(&t->a);
	t->done = true;
	co_wake(t->test);
}

static void wait_settled(void)
{
	int64_t end = loop_now_ms() + PATIENCE_MS;

	while (queue_unsettled(queue) && loop_now_ms() < end)
		OK(co_sleep("settle", 1) == 0);
	OK(queue_unsettled(queue) == 0);
}

static struct co *running; /* while attempt_of waits for it */

/* Claims one job and runs it.  attempts, words: of its header, as if it had been here before. */
static void attempt_of(int attempts, const char *words)
{
	struct attempting *t = mem_new(struct attempting);
	struct claim_result r = { 0 };
	struct err err = { 0 };

	OK(queue_claim(queue, 1, &r, loop_now_ms() + PATIENCE_MS, &err) == 0);
	OK(r.n == 1);
	if (r.n != 1)
		return;
	t->a.worker = &worker;
	t->a.lease = r.leases[0];
	free(r.leases);
	if (attempts >= 0)
		t->a.lease.header.attempts = attempts;
	if (words) {
		t->a.lease.header.extra = words; /* with the newline that follows a header */
		t->a.lease.header.extra_len = strlen(words) - 1;
	}
	t->test = co_self();
	running = co_spawn("job", attempt_run, t);
	OK(running != NULL);
	while (!t->done)
		OK(co_wait("job", loop_now_ms() + PATIENCE_MS) == 0);
	wait_settled();
	free(t);
}

static void push(const char *payload, size_t len)
{
	struct redis_args a;

	redis_args_init(&a);
	redis_arg(&a, "LPUSH");
	redis_arg(&a, "queue:{acme}");
	redis_arg_bytes(&a, payload, len);
	OK(redis_call(redis, &a, NULL, loop_now_ms() + PATIENCE_MS, NULL) == 0);
	redis_args_clear(&a);
}

/* Where the job is after that, and nowhere else. */
static struct {
	int64_t ready, delayed, dead;
	int64_t due_in_ms; /* from when it was settled at the earliest */
	int64_t slack_ms;  /* how long the settling took */
	int attempts;
	char first;      /* of its member: '0' again, '1' new */
	char words[400]; /* of its header */
	char *letter;
} left;

static void read_member(const char *member, size_t len)
{
	struct job_header h = { .attempts = -1 };
	const char *payload;
	size_t payload_len;
	int64_t integration;

	if (*member == 'D') { /* "D2 " stands before a delayed one */
		member += 3;
		len -= 3;
	}
	left.first = *member;
	OK(job_member_parse(member, len, &h, &integration, &payload, &payload_len) == 0);
	left.attempts = h.attempts;
	snprintf(left.words, sizeof(left.words), "%.*s", (int)h.extra_len, h.extra);
}

static void look(int64_t before_ms)
{
	redisReply *r;

	free(left.letter);
	memset(&left, 0, sizeof(left));
	left.ready = count("ZCARD", "ready:{acme}:normal");
	left.delayed = count("ZCARD", "delayed:{acme}");
	left.dead = count("ZCARD", "dead:{acme}");
	OK(count("HLEN", "flight:{acme}") == 0 && count("HLEN", "busy:{acme}") == 0);
	left.slack_ms = redis_now_ms(redis) - before_ms;
	if (left.delayed) {
		r = ask_redis("ZRANGE", "delayed:{acme}", "0", "0", "WITHSCORES");
		read_member(r->element[0]->str, r->element[0]->len);
		left.due_in_ms = strtoll(r->element[1]->str, NULL, 10) - before_ms;
		freeReplyObject(r);
	} else if (left.ready) {
		r = ask_redis("ZRANGE", "ready:{acme}:normal", "0", "0", NULL);
		read_member(r->element[0]->str, r->element[0]->len);
		freeReplyObject(r);
	} else if (left.dead) {
		r = ask_redis("ZRANGE", "dead:{acme}", "0", "0", NULL);
		left.letter = mem_strndup(r->element[0]->str, r->element[0]->len);
		freeReplyObject(r);
	}
}

static void clear_keys(void)
{
	freeReplyObject(ask_redis("DEL", "delayed:{acme}", "dead:{acme}", "ready:{acme}:normal",
				  "ready:{acme}:low"));
	freeReplyObject(ask_redis("DEL", "packed:{acme}", NULL, NULL, NULL));
}

static void run_payload(const char *payload, size_t len, int attempts, const char *words)
{
	int64_t before_ms = redis_now_ms(redis);

	clear_keys();
	push(payload, len);
	attempt_of(attempts, words);
	look(before_ms);
}

static void run_job(const char *payload, int attempts)
{
	run_payload(payload, strlen(payload), attempts, NULL);
}

static bool is_delayed(int attempts)
{
	return left.delayed == 1 && !left.ready && !left.dead && left.attempts == attempts;
}

static bool is_dead(void)
{
	return left.dead == 1 && !left.ready && !left.delayed;
}

static bool is_gone(void)
{
	return !left.dead && !left.ready && !left.delayed;
}

static bool is_ready(int attempts)
{
	return left.ready == 1 && !left.delayed && !left.dead && left.attempts == attempts &&
	       left.first == '0';
}

/* Due as long after the settling as was said; 3 ms, since two clocks are read. */
static bool due_in(int64_t ms)
{
	return left.due_in_ms >= ms - 3 && left.due_in_ms <= ms + left.slack_ms + 3;
}

/* ---- the table ---- */

static void body_table(void)
{
	/* the last attempt that is still retried has used two of three retries */
	plan_is(-EREMOTEIO, ERR_TRANSIENT, "status 5xx", 0);
	run_job(JOB, 2);
	OK(is_delayed(3) && left.due_in_ms <= 4 * MINUTE + left.slack_ms);
	run_job(JOB, 3);
	OK(is_dead());
	run_job("{\"task\":\"plan\",\"max_retries\":0}", 0);
	OK(is_dead());
	run_job("{\"task\":\"plan\",\"max_retries\":5}", 4);
	OK(is_delayed(5));
	plan_is(-EINVAL, ERR_LIMIT, "hard limit", 0);
	run_job(JOB, 0);
	OK(is_delayed(1));

	/* whoever only waits uses no retry, however often */
	plan_is(-EAGAIN, ERR_RATE_LIMIT, "status 429", 12345);
	run_job(JOB, 3);
	OK(is_delayed(3) && due_in(12345));
	plan_is(-EAGAIN, ERR_RATE_LIMIT, "status 429", 0);
	run_job(JOB, 0);
	OK(is_delayed(0) && due_in(MINUTE));
	plan_is(-EAGAIN, ERR_HOLD, "limit", 4321);
	run_job(JOB, 3);
	OK(is_delayed(3) && due_in(4321));
	plan_is(-EAGAIN, ERR_HOLD, "limit", 0);
	run_job(JOB, 0);
	OK(is_delayed(0) && due_in(1000));
	plan_is(-EAGAIN, ERR_HOLD, "limit", 1); /* again and again would be a hot loop */
	run_job(JOB, 0);
	OK(is_delayed(0) && left.due_in_ms >= 100 - 3);
	plan_is(-EAGAIN, ERR_RATE_LIMIT, "status 429", INT64_C(40) * 365 * 86400 * 1000);
	run_job(JOB, 0);
	OK(is_delayed(0) && due_in(24LL * 3600 * 1000));

	/* what is waited for before the task is reached */
	plan_is(0, ERR_NONE, "", 0);
	char later[128];
	snprintf(later, sizeof(later), "{\"task\":\"plan\",\"integration_id\":1,\"run_at\":%lld}",
		 (long long)redis_now_ms(redis) + 10 * MINUTE);
	run_job(later, 0);
	OK(is_delayed(0) && left.due_in_ms > 9 * MINUTE && left.due_in_ms <= 10 * MINUTE + 3);
	OK(fleet_beat(redis, "other", "{\"tasks\":[\"theirs\"]}", loop_now_ms() + PATIENCE_MS,
		      NULL) == 0);
	run_job("{\"task\":\"theirs\",\"integration_id\":1}", 0);
	OK(is_delayed(0) && due_in(2000));

	static const enum err_class buried[] = { ERR_CLIENT, ERR_DATA, ERR_BAD_JOB, ERR_POISON };
	for (size_t i = 0; i < ARRAY_LEN(buried); i++) {
		plan_is(-EREMOTEIO, buried[i], "a rule", 0);
		run_job(JOB, 0);
		OK(is_dead() && strstr(left.letter, err_class_name(buried[i])));
	}
	plan_is(-EINVAL, ERR_EXPIRED, "expires_in", 0);
	run_job(JOB, 0);
	OK(is_gone());
	OK(printed("{outcome=\"expired\",partner=\"acme\",task=\"plan\"} 1"));
	plan_is(0, ERR_NONE, "", 0);
	run_job(JOB, 0);
	OK(is_gone());
	OK(printed("{outcome=\"done\",partner=\"acme\",task=\"plan\"} 1"));
}

/* Shut down, or told that another has the job: it goes back unharmed. */
static void body_handed_back(void)
{
	static const int rcs[] = { -ECANCELED, -ESTALE };

	for (size_t i = 0; i < ARRAY_LEN(rcs); i++) {
		plan_is(rcs[i], ERR_NONE, "", 0);
		plan.run_id = 77;
		run_job(JOB, 2);
		OK(is_ready(2) && strstr(left.words, " run=77"));
	}
}

/* A fan-out whose lane is full: delayed with its place, its children queued by the same script, no retry used. */
static void body_put_off(void)
{
	plan_is(0, ERR_NONE, "", 0);
	plan.put_off_ms = 4000;
	plan.children = 3;
	plan.step = 41;
	run_job(JOB, 2);
	OK(is_delayed(2) && due_in(4000) && strstr(left.words, " at=41"));
	OK(low_jobs() == 3);
	OK(printed("{outcome=\"put_off\",partner=\"acme\",task=\"plan\"} 1"));

	/* a place beyond children is written with them */
	plan.step = 0;
	plan.next_step = 77;
	run_payload(JOB, strlen(JOB), 0, " ran=1 at=41 fanned=6\n");
	OK(is_delayed(0) && strstr(left.words, " at=77") && strstr(left.words, " fanned=9"));

	/* one that fails after it asked for that queues none of them, and stays where it was */
	plan.rc = -EREMOTEIO;
	plan.err.class = ERR_TRANSIENT;
	run_payload(JOB, strlen(JOB), 0, " ran=1 at=41 fanned=6\n");
	OK(is_delayed(1) && strstr(left.words, " at=41") && strstr(left.words, " fanned=6"));
	OK(low_jobs() == 0);
	plan.err.class = ERR_CLIENT;
	run_job(JOB, 2);
	OK(is_dead() && low_jobs() == 0);
}

/* More than it may hold: once with pages of a tenth, no retry used; then, or where there are no pages, a dead letter. */
static void body_memory(void)
{
	plan_is(-EREMOTEIO, ERR_MEMORY, "job memory", 0);
	plan.page_size = 100;
	run_job(JOB, 2);
	OK(is_delayed(2) && due_in(1000) && strstr(left.words, " small=10"));
	plan.page_size = 4;
	run_job(JOB, 0);
	OK(is_delayed(0) && strstr(left.words, " small=1"));
	run_payload(JOB, strlen(JOB), 0, " ran=1 small=10\n");
	OK(is_dead() && strstr(left.letter, "\"class\":\"memory\""));
	plan.page_size = 1;
	run_job(JOB, 0);
	OK(is_dead());
	plan.page_size = 0;
	run_job(JOB, 0);
	OK(is_dead());

	/* one that waits meanwhile goes on asking for small pages */
	plan_is(-EAGAIN, ERR_HOLD, "limit", 4321);
	run_payload(JOB, strlen(JOB), 0, " ran=1 small=10\n");
	OK(is_delayed(0) && strstr(left.words, " small=10"));
}

/* Redis or Postgres, as they come from below: no retry is used, whatever the class that came along. */
static void body_our_own_stores(void)
{
	static const struct {
		int rc;
		enum err_class class;
	} v[] = { { -ECONNRESET, ERR_NONE },
		  { -ECONNRESET, ERR_TRANSIENT },
		  { -ETIMEDOUT, ERR_TRANSIENT },
		  { -EPROTO, ERR_TRANSIENT } };

	for (size_t i = 0; i < ARRAY_LEN(v); i++) {
		plan_is(v[i].rc, v[i].class, "57P03", 0);
		run_job(JOB, 3);
		OK(is_delayed(3) && due_in(5000));
	}
	/* A partner that fails is another matter. */
	plan_is(-EREMOTEIO, ERR_TRANSIENT, "network timeout", 0);
	run_job(JOB, 3);
	OK(is_dead());
}

static void body_internal(void)
{
	other_says("DELETE FROM alerts");
	plan_is(-EXDEV, ERR_NONE, "", 0);
	memset(&plan.err, 0, sizeof(plan.err));
	run_job(JOB, 0);
	OK(is_delayed(1));
	OK(strcmp(other_says(
			  "SELECT what FROM alerts WHERE kind = 'internal_error' AND scope = 'acme'"
			  " AND state = 'open' AND severity = 'critical'"),
		  "plan failed: Invalid cross-device link") == 0);
	plan_is(-EPROTO, ERR_INTERNAL, "42P01", 0); /* Postgres refuses for good: a fault of ours */
	run_job(JOB, 3);
	OK(is_dead() && other_counts("SELECT count FROM alerts") == 2);
}

/* ---- backoff ---- */

static void bounds(const char *rule, int attempts, int64_t top_ms)
{
	char job[100];
	int64_t least = INT64_MAX, most = 0;

	plan_is(-EREMOTEIO, ERR_TRANSIENT, rule, 0);
	snprintf(job, sizeof(job), "{\"task\":\"plan\",\"max_retries\":%d}", 1000);
	for (int i = 0; i < 60; i++) {
		run_job(job, attempts);
		OK(is_delayed(attempts + 1));
		OK(left.due_in_ms > 0 && left.due_in_ms <= top_ms + left.slack_ms);
		least = left.due_in_ms < least ? left.due_in_ms : least;
		most = left.due_in_ms > most ? left.due_in_ms : most;
	}
	/* All of the span is used: 60 that miss the lower or upper 40 % of it would be a chance of 5e-14. */
	OK(least < top_ms * 2 / 5 && most > top_ms * 3 / 5);
}

static void body_backoff(void)
{
	bounds("status 5xx", 0, MINUTE);
	bounds("status 5xx", 3, 8 * MINUTE);
	bounds("status 5xx", 20, 30 * MINUTE);
	bounds("status 5xx", 900, 30 * MINUTE);
	bounds("network refused", 0, MINUTE / 2);
	bounds("network", 20, 15 * MINUTE);
}

/* ---- what a manifest says is to be done ---- */

static void act(enum err_class class, enum err_action action, int64_t retry_after_ms, int attempts)
{
	plan_is(action == ACT_HOLD ? -EAGAIN : -EREMOTEIO, class, "errors[2]", retry_after_ms);
	plan.err.action = action;
	run_job(JOB, attempts);
}

static void mend(void);
static const char *status(void);
static bool out_of_the_ring(void);

static void body_actions(void)
{
	act(ERR_CLIENT, ACT_RETRY, 0, 0);
	OK(is_delayed(1) && left.due_in_ms <= MINUTE + left.slack_ms);
	act(ERR_CLIENT, ACT_RETRY, 0, 3);
	OK(is_dead() && strstr(left.letter, "\"rule\":\"errors[2]\",\"action\":\"retry\""));
	act(ERR_DATA, ACT_RESET_PAGING, 0, 1);
	OK(is_delayed(2));
	act(ERR_TRANSIENT, ACT_HOLD, 7777, 3);
	OK(is_delayed(3) && due_in(7777));
	act(ERR_TRANSIENT, ACT_DEAD, 0, 0);
	OK(is_dead());
	act(ERR_TRANSIENT, ACT_SET_ASIDE, 0, 0); /* of the job's own call */
	OK(is_dead());
	act(ERR_CLIENT, ACT_REFRESH, 0, 0); /* tried within the call: then as its class */
	OK(is_dead());
	act(ERR_TRANSIENT, ACT_NONE, 300000, 0); /* a 503 that says when: not before */
	OK(is_delayed(1) && left.due_in_ms >= 300000 - 3);

	mend();
	act(ERR_RATE_LIMIT, ACT_SUSPEND, 0, 1);
	OK(is_delayed(1) && due_in(5000)); /* unharmed */
	OK(strcmp(status(), "paused") == 0 && out_of_the_ring());
	OK(other_counts(
		   "SELECT count(*) FROM alerts WHERE kind = 'suspended' AND severity ="
		   " 'critical' AND scope = 'integration:1' AND what LIKE '%so it was planned%'"
		   " AND todo LIKE '%longshore integration resume 1%'") == 1);
	mend();
}

/* ---- auth ---- */

static const char *status(void)
{
	return other_says("SELECT status FROM integrations WHERE id = 1");
}

static bool out_of_the_ring(void)
{
	redisReply *r = ask_redis("HGET", "control:{acme}", "1", NULL, NULL);
	bool closed = r->type == REDIS_REPLY_STRING && strcmp(r->str, "0") == 0;

	freeReplyObject(r);
	return closed;
}

static void mend(void)
{
	other_says("UPDATE integrations SET status = 'active', status_reason = NULL");
	other_says("DELETE FROM alerts");
	integrations_forget(1);
	freeReplyObject(ask_redis("HDEL", "control:{acme}", "1", NULL, NULL));
}

static void body_auth(void)
{
	mend();
	plan_is(-EREMOTEIO, ERR_AUTH, "status 401", 0);
	run_job(JOB, 1);
	OK(is_delayed(1) && due_in(5000) && strstr(left.words, " auth=1"));
	OK(strcmp(status(), "active") == 0 && !out_of_the_ring());

	run_payload(JOB, strlen(JOB), 1, " ran=1 auth=1\n"); /* once more, and still */
	OK(is_delayed(1) && due_in(5000));
	OK(!strstr(left.words, "auth=")); /* mended, it is refused for the first time again */
	OK(strcmp(status(), "auth_broken") == 0 && out_of_the_ring());
	OK(other_counts("SELECT count(*) FROM alerts WHERE kind = 'auth_broken' AND scope ="
			" 'integration:1' AND what = 'so it was planned'") == 1);

	mend(); /* the token endpoint says that they are refused for good, and whoever asked it wrote that down */
	other_says("UPDATE integrations SET status = 'auth_broken', status_reason = 'their words'");
	plan_is(-EACCES, ERR_AUTH, "auth_broken", 0);
	run_job(JOB, 1);
	OK(is_delayed(1) && out_of_the_ring());
	OK(strcmp(other_says("SELECT status_reason FROM integrations WHERE id = 1"),
		  "their words") == 0);
	mend();

	/* a job of none calls with one: that one it is */
	plan_is(-EREMOTEIO, ERR_AUTH, "status 401", 0);
	plan.called_id = 1;
	run_payload("{\"task\":\"plan\"}", strlen("{\"task\":\"plan\"}"), 1, " ran=1 auth=1\n");
	OK(is_delayed(1) && strcmp(status(), "auth_broken") == 0 && out_of_the_ring());
	mend();
}

/* ---- what goes on with the job ---- */

static int times(const char *text, const char *what)
{
	int n = 0;

	for (const char *p = text; (p = strstr(p, what)); p++)
		n++;
	return n;
}

static void body_words(void)
{
	plan_is(-EAGAIN, ERR_HOLD, "limit", 1000);
	run_payload(JOB, strlen(JOB), 2,
		    " x=1 since=5 ran=1 crash=e-1,e-2 auth=1 run=70 at=3 y=z\n");
	OK(is_delayed(2));
	OK(strcmp(left.words, " x=1 since=5 crash=e-1,e-2 y=z ran=1 auth=1 run=70 at=3") == 0);

	plan.run_id = 71;
	plan.step = 44;
	plan.unclean = true;
	run_payload(JOB, strlen(JOB), 2, " ran=1 run=70 at=3\n");
	OK(strcmp(left.words, " ran=2 run=71 at=44") == 0);

	/* and what it wrote is what the next attempt reads */
	plan.run_id = plan.step = 0;
	plan.unclean = false;
	for (int i = 0; i < 2; i++) {
		redisReply *r = ask_redis("ZRANGE", "delayed:{acme}", "0", "0", NULL);
		int moved = 0;
		int64_t next = 0, before_ms = redis_now_ms(redis);

		freeReplyObject(ask_redis("ZADD", "delayed:{acme}", "1", r->element[0]->str, NULL));
		freeReplyObject(r);
		OK(queue_promote(queue, &moved, &next, loop_now_ms() + PATIENCE_MS, NULL) == 0);
		OK(moved == 1);
		attempt_of(-1, NULL);
		look(before_ms);
		OK(is_delayed(2) && times(left.words, " ran=2") == 1 &&
		   times(left.words, " run=71") == 1 && times(left.words, " at=44") == 1 &&
		   times(left.words, " since=") == 1);
	}
}

static void body_goes_on(void)
{
	plan_is(0, ERR_NONE, "", 0);
	plan.goes_on = true;
	plan.run_id = 9;
	plan.children = 3;
	run_job(JOB, 1);
	OK(is_ready(1) && strcmp(left.words, " ran=1 run=9") == 0);
	OK(low_jobs() == 3);

	/* Of an attempt that fails after all, nothing. */
	plan_is(-EAGAIN, ERR_HOLD, "limit", 0);
	plan.goes_on = true;
	plan.children = 3;
	run_job(JOB, 1);
	OK(is_delayed(1) && low_jobs() == 0);

	plan_is(-EINVAL, ERR_EXPIRED, "expires_in", 0);
	plan.children = 3;
	run_job(JOB, 0);
	OK(is_gone() && low_jobs() == 0);

	plan_is(0, ERR_NONE, "", 0);
	plan.children = 2;
	run_job(JOB, 0);
	OK(is_gone() && low_jobs() == 2);
}

/* By Redis' clock as this process takes it to be, which may be off either way. */
static void body_began(void)
{
	int64_t offset_us = redis->offset_us, error_us = redis->error_us;

	plan_is(0, ERR_NONE, "", 0);
	redis->offset_us -= 60 * 1000000LL;
	run_job(JOB, 0);
	OK(plan.began_ms == plan.born_ms);

	/* What changed within what it may be off by is not taken for seen. */
	redis->offset_us = offset_us + 60 * 1000000LL;
	redis->error_us = 20 * 1000000LL;
	run_job(JOB, 0);
	OK(plan.began_ms >= plan.born_ms + 30000 && plan.began_ms <= redis_now_ms(redis) - 20000);
	redis->offset_us = offset_us;
	redis->error_us = error_us;
}

/* Another has the job: whatever this attempt says, nothing of it happens. */
static void body_lost_lease(void)
{
	static const struct {
		int rc;
		enum err_class class;
	} v[] = { { 0, ERR_NONE },
		  { -EREMOTEIO, ERR_CLIENT },
		  { -EREMOTEIO, ERR_TRANSIENT },
		  { -ECANCELED, ERR_NONE } };

	for (size_t i = 0; i < ARRAY_LEN(v); i++) {
		freeReplyObject(ask_redis("DEL", "busy:{acme}", NULL, NULL, NULL));
		plan_is(v[i].rc, v[i].class, "a rule", 0);
		plan.loses_lease = true;
		plan.children = v[i].rc == 0;
		clear_keys();
		push(JOB, strlen(JOB));
		attempt_of(-1, NULL);
		OK(count("ZCARD", "ready:{acme}:normal") == 0);
		OK(low_jobs() == 0);
		OK(count("ZCARD", "delayed:{acme}") == 0 && count("ZCARD", "dead:{acme}") == 0);
	}
	freeReplyObject(ask_redis("DEL", "busy:{acme}", NULL, NULL, NULL));
}

/* ---- time ---- */

static void body_hard_limit(void)
{
	plan_is(0, ERR_NONE, "", 0);
	plan.waits = true;
	worker.hard_limit_ms = 60;
	run_job(JOB, 0);
	OK(is_delayed(1));
	run_job("{\"task\":\"plan\",\"max_retries\":0}", 0);
	OK(is_dead() && strstr(left.letter, "\"limit\"") && strstr(left.letter, "hard limit"));
	worker.hard_limit_ms = 360000;
}

static void body_expires(void)
{
	const char *job = "{\"task\":\"plan\",\"expires_in\":60}";
	char words[64];

	plan_is(-EREMOTEIO, ERR_CLIENT, "it ran", 0);
	run_job(job, 0);
	OK(is_dead());
	/* Its age counts from when it fell due, not from when it was pushed. */
	for (int late = 0; late < 2; late++) {
		struct claim_result r = { 0 };
		int64_t now = redis_now_ms(redis);

		clear_keys();
		push(job, strlen(job));
		OK(queue_claim(queue, 1, &r, loop_now_ms() + PATIENCE_MS, NULL) == 0 && r.n == 1);
		r.leases[0].header.born_ms = now - 3600 * 1000;
		struct job_header h = r.leases[0].header;
		snprintf(words, sizeof(words), " since=%lld\n",
			 (long long)now - (late ? 61000 : 0));
		h.extra = words;
		h.extra_len = strlen(words) - 1;
		struct settlement *s = settlement_new(&r.leases[0], SETTLE_AGAIN);
		settlement_set_header(s, &h);
		queue_settle(queue, s, NULL, NULL);
		free(r.leases);
		wait_settled();
		attempt_of(-1, NULL);
		look(now);
		OK(late ? is_gone() : is_dead());
	}
}

/* ---- the dead letter ---- */

static cJSON *letter(void)
{
	cJSON *tree = NULL;

	OK(is_dead());
	if (left.letter)
		OK(json_parse(left.letter, strlen(left.letter), 1 << 20, &tree, NULL) == 0);
	return tree;
}

static bool says(const cJSON *tree, const char *path, const char *want)
{
	const char *s = json_str(tree, path);

	return s && strcmp(s, want) == 0;
}

static bool counts(const cJSON *tree, const char *path, int64_t want)
{
	int64_t n = -1;

	return json_int(tree, path, &n) && n == want;
}

static void body_letter(void)
{
	const char *job =
		"{ \"task\": \"plan\",\t\"id\":\"mine-1\", \"integration_id\": 1, \"args\":{\"é\\n\":[1.50]} }";
	int64_t before = redis_now_ms(redis), at = 0;
	cJSON *tree;

	plan_is(-EREMOTEIO, ERR_CLIENT, "errors[2]", 0);
	plan.exchange = "{\"method\":\"GET\",\"status\":400}";
	run_job(job, 2);
	tree = letter();
	OK(says(tree, "payload", job) && !json_path(tree, "payload_base64")); /* byte for byte */
	OK(says(tree, "job", "mine-1") && says(tree, "task", "plan") &&
	   says(tree, "queue", "acme"));
	OK(says(tree, "lane", "normal") && says(tree, "class", "client"));
	OK(says(tree, "rule", "errors[2]") && says(tree, "where", "listings page 3"));
	OK(says(tree, "error", "so it was planned") && says(tree, "worker", "test-1"));
	OK(counts(tree, "attempts", 3) && counts(tree, "integration_id", 1));
	OK(counts(tree, "exchange.status", 400));
	OK(json_int(tree, "failed_at", &at) && at >= before - 3 && at <= redis_now_ms(redis) + 3);
	cJSON_Delete(tree);
}

/* What is no text is kept too. */
static void body_binary_letter(void)
{
	static const char binary[] = "\x00\xff{\"task\":\x80 not JSON \x01";
	static const char nul[] = "{\"task\":\"plan\0\"}";
	const struct {
		const char *bytes;
		size_t len;
	} v[] = { { binary, sizeof(binary) - 1 }, { nul, sizeof(nul) - 1 } };

	for (size_t i = 0; i < ARRAY_LEN(v); i++) {
		struct buf bytes = BUF_INIT;
		cJSON *tree;

		run_payload(v[i].bytes, v[i].len, -1, NULL);
		tree = letter();
		const char *text = json_str(tree, "payload_base64");
		OK(text && !json_path(tree, "payload"));
		OK(text && base64_decode(text, strlen(text), &bytes) == 0);
		OK(bytes.len == v[i].len && memcmp(bytes.data, v[i].bytes, bytes.len) == 0);
		OK(says(tree, "class", "bad_job") && !json_path(tree, "task"));
		buf_clear(&bytes);
		cJSON_Delete(tree);
	}
}

static void body_no_secret(void)
{
	struct secret s = SECRET_INIT;
	cJSON *tree;

	secret_set(&s, SECRET, strlen(SECRET));
	plan_is(-EREMOTEIO, ERR_CLIENT, "status 4xx", 0);
	snprintf(plan.err.text, sizeof(plan.err.text), "the partner says back: %s", SECRET);
	plan.exchange = "{\"request_headers\":{\"Authorization\":\"Bearer " SECRET "\"}}";
	run_job(JOB, 0);
	OK(left.letter && !strstr(left.letter, SECRET));
	tree = letter();
	OK(says(tree, "error", "the partner says back: ***"));
	OK(says(tree, "exchange.request_headers.Authorization", "Bearer ***"));
	cJSON_Delete(tree);
	secret_clear(&s);
}

/* ---- Postgres away; last, since it takes the alerts along ---- */

/* Writers wait for it until their time is over: that is not the job's fault. */
static void body_postgres_away(void)
{
	int64_t end = loop_now_ms() + PATIENCE_MS;

	postgres_crash();
	while (pg_is_up(pg) && loop_now_ms() < end)
		OK(co_sleep("down", 5) == 0);
	plan_is(0, ERR_NONE, "", 0);
	plan.waits = true;
	worker.hard_limit_ms = 60;
	run_job(JOB, 3);
	OK(is_delayed(3) && due_in(5000));
	worker.hard_limit_ms = 360000;
	postgres_again();
}

/* ---- running ---- */

static void (*body)(void);
static char drivers_dir[64];

static void open_worker(void)
{
	struct queue_control c = { .generation = 3, .partner_cap = 100, .default_cap = 100 };
	struct buf problems = BUF_INIT;

	worker = (struct worker){ .epoch = "test-1",
				  .redis = redis,
				  .pg = pg,
				  .soft_limit_ms = 300000,
				  .hard_limit_ms = 360000 };
	OK(driver_set_load(drivers_dir, &worker.drivers, &problems, NULL) == 0);
	OK(problems.len == 0);
	buf_clear(&problems);
	queue = queue_new(redis, "acme", "test-1");
	OK(queue_control_set(queue, &c, loop_now_ms() + PATIENCE_MS, NULL) == 0);
}

static void with_both(void)
{
	struct pg_options o = { .url = postgres.url, .application_name = "test" };
	struct err err = { 0 };

	checks_failed = 0;
	OK(pg_new(&o, &pg, &err) == 0);
	OK(pg_wait_up(pg, loop_now_ms() + PATIENCE_MS, &err) == 0);
	OK(migrate_run(postgres.url, ignore_applied, NULL, &err) == 0);
	other_says("INSERT INTO integrations (company_id, partner) SELECT NULL, 'acme' WHERE NOT"
		   " EXISTS (SELECT FROM integrations)");
	open_worker();
	body();
	queue_free(queue);
	driver_set_free(worker.drivers);
	integrations_free_all();
	pg_free(pg);
	other_leaves();
	free(left.letter);
	left.letter = NULL;
	OK(checks_failed == 0);
}

#define TEST(name)                                       \
	static void test_##name(void **state)            \
	{                                                \
		body = body_##name;                      \
		assert_int_equal(on_loop(with_both), 0); \
	}
TEST(table)
TEST(handed_back)
TEST(our_own_stores)
TEST(internal)
TEST(backoff)
TEST(actions)
TEST(auth)
TEST(words)
TEST(goes_on)
TEST(put_off)
TEST(memory)
TEST(began)
TEST(lost_lease)
TEST(hard_limit)
TEST(expires)
TEST(letter)
TEST(binary_letter)
TEST(no_secret)
TEST(postgres_away)

static int write_driver(void)
{
	char path[128];
	FILE *f;

	snprintf(drivers_dir, sizeof(drivers_dir), "/tmp/longshore-test-XXXXXX");
	if (!mkdtemp(drivers_dir))
		return -1;
	snprintf(path, sizeof(path), "%s/acme", drivers_dir);
	if (mkdir(path, 0700) < 0)
		return -1;
	snprintf(path, sizeof(path), "%s/acme/manifest.json", drivers_dir);
	f = fopen(path, "we");
	if (!f)
		return -1;
	fputs("{\"partner\":\"acme\",\"manifest\":1,\"api\":{\"base\":{\"production\":"
	      "\"https://api.acme.example\"}},\"collections\":{\"things\":{\"get\":\"/things\","
	      "\"records\":\"@\",\"id\":\"id\",\"table\":\"resources\",\"map\":{\"kind\":{\"const\":"
	      "\"thing\"},\"name\":\"name\"}}}}",
	      f);
	return fclose(f);
}

static int setup(void **state)
{
	if (partner_setup(state) < 0 || write_driver() < 0 || postgres_start(state) < 0)
		return -1;
	loop_close();
	return 0;
}

static int teardown(void **state)
{
	char path[128];

	(void)in_coroutine; /* for tests that play the partner, or need no Redis */
	(void)bench_open;
	(void)bench_close;
	(void)reply_json;
	snprintf(path, sizeof(path), "%s/acme/manifest.json", drivers_dir);
	unlink(path);
	*strrchr(path, '/') = '\0';
	rmdir(path);
	rmdir(drivers_dir);
	if (loop_init() < 0)
		return -1;
	postgres_stop(state);
	return partner_teardown(state);
}

static int begin(void **state)
{
	return loop_init();
}

static int end(void **state)
{
	loop_close();
	return 0;
}

#define ON_LOOP(name) cmocka_unit_test_setup_teardown(name, begin, end)

int main(void)
{
	const struct CMUnitTest tests[] = {
		ON_LOOP(test_table),          ON_LOOP(test_handed_back),
		ON_LOOP(test_our_own_stores), ON_LOOP(test_internal),
		ON_LOOP(test_backoff),        ON_LOOP(test_auth),
		ON_LOOP(test_words),          ON_LOOP(test_goes_on),
		ON_LOOP(test_lost_lease),     ON_LOOP(test_hard_limit),
		ON_LOOP(test_expires),        ON_LOOP(test_letter),
		ON_LOOP(test_binary_letter),  ON_LOOP(test_no_secret),
		ON_LOOP(test_postgres_away),  ON_LOOP(test_put_off),
		ON_LOOP(test_memory),         ON_LOOP(test_actions),
		ON_LOOP(test_began),
	};

	return cmocka_run_group_tests(tests, setup, teardown);
}
