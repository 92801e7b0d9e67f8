/* A job that looks up by kind: who is asked, who is next, and what is done about whoever failed.  What it asks with is played here. */
#include "worker/tasks/lookup.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "common/base/mem.h"
#include "common/io/co.h"
#include "common/io/loop.h"
#include "drivers/kit/lookup_kinds.h"
#include "worker/busy.h"
#include "worker/home.h"
#include "worker/integrations.h"

#define HOUR_MS (3600 * 1000)
#define SOFT_MS 400

/* ---- the partners: how each answers, and that it was asked ---- */

static struct plan {
	const char *partner;
	int64_t id; /* of its integration; 0: it has none */
	int rc;
	enum err_class class;
	enum err_action action;
	enum lookup_state state;
	bool none, cached, hangs, refuses_slot, stops;
	int64_t wait_ms;
	const char *paused, *status, *rule;
	/* seen */
	int asked;
	char kept_only[200];
	bool patient;
} plans[3];
static struct integration rows[3];
static int held_rows, marked, suspended, in_slots;
static int64_t marked_id, suspended_id;
static bool others_know;

static struct plan *plan_of(const char *partner)
{
	for (size_t i = 0; i < ARRAY_LEN(plans); i++)
		if (plans[i].partner && strcmp(plans[i].partner, partner) == 0)
			return &plans[i];
	abort();
}

int home_get(struct worker *w, const char *partner, int64_t *id, struct err *err)
{
	struct plan *p = plan_of(partner);

	if (!p->id)
		return err_set(err, -ENOENT, ERR_BAD_JOB, "no integration", "it has none");
	*id = p->id;
	return 0;
}

const char *home_paused(const char *partner)
{
	return plan_of(partner)->paused;
}

bool home_enter(const char *partner, int most)
{
	bool may = !plan_of(partner)->refuses_slot;

	in_slots += may;
	return may;
}

void home_leave(const char *partner)
{
	in_slots--;
}

int64_t home_busy_ms(const char *partner)
{
	return plan_of(partner)->wait_ms;
}

void home_free_all(void)
{
}

int integrations_get(struct worker *w, int64_t id, const struct integration **out, struct err *err)
{
	for (size_t i = 0; i < ARRAY_LEN(plans); i++) {
		if (plans[i].id != id)
			continue;
		rows[i] = (struct integration){ .id = id,
						.partner = (char *)plans[i].partner,
						.status = (char *)plans[i].status };
		held_rows++;
		*out = &rows[i];
		return 0;
	}
	return -ENOENT;
}

void integrations_put(const struct integration *i)
{
	held_rows -= i != NULL;
}

const struct driver *integrations_driver(const struct integration *i, const struct driver *base,
					 struct err *err)
{
	return base;
}

bool integrations_is_broken(struct worker *w, int64_t id)
{
	return false;
}

void integrations_mark_broken(struct worker *w, int64_t id, const char *reason)
{
	marked++;
	marked_id = id;
}

void integrations_suspend(struct worker *w, int64_t id, const struct err *why)
{
	suspended++;
	suspended_id = id;
}

void integrations_forget(int64_t id)
{
}

void integrations_free_all(void)
{
}

int fleet_each(struct redis *r, fleet_fn fn, void *arg, int64_t deadline_ms, struct err *err)
{
	fn("another", 1,
	   others_know ? "{\"lookup_kinds\":[\"wether\"]}" : "{\"tasks\":[\"lookup\"]}", arg);
	return 0;
}

int lookup(struct caller *c, const struct lookup_ask *ask, struct lookup_answer *out,
	   struct buf *exchange, struct err *err)
{
	struct plan *p = plan_of(c->driver->manifest->partner);

	memset(out, 0, sizeof(*out));
	p->asked++;
	p->patient = ask->patient;
	snprintf(p->kept_only, sizeof(p->kept_only), "%s", ask->kept_only ? ask->kept_only : "");
	if (p->stops)
		co_cancel(co_self());
	if (ask->kept_only && p->state != LOOKUP_STALE)
		return err_set(err, -EAGAIN, ERR_HOLD, "lookup", "%s", ask->kept_only);
	while (p->hangs) {
		int rc = co_wait("partner", CO_NO_DEADLINE);

		if (rc < 0)
			return rc;
	}
	if (p->rc < 0) {
		buf_puts(exchange, "{}");
		err_set(err, p->rc, p->class, p->rule ? p->rule : "rule", "so it was planned");
		err->action = p->action;
		err->retry_after_ms = p->wait_ms;
		return p->rc;
	}
	out->state = p->state;
	out->none = p->none;
	out->cached = p->cached;
	snprintf(out->reason, sizeof(out->reason), "as planned");
	return 0;
}

void lookup_print(const struct caller *c, const struct lookup_ask *ask,
		  const struct lookup_answer *a, struct buf *out)
{
	buf_printf(out, "%s/%s by %lld: %d", c->driver->manifest->partner, ask->lookup->name,
		   (long long)c->integration->id, a->state);
}

void lookup_answer_clear(struct lookup_answer *a)
{
	buf_clear(&a->data);
}

/* ---- one attempt ---- */

static struct driver_set *drivers;
static struct {
	int rc;
	struct err err;
	char said[200];
	int64_t called_id, step, took_ms;
	bool goes_on, no_retry, has_exchange;
} ended;

struct job_text {
	const char *args;
	int64_t integration_id, step;
};

static void run(void *arg)
{
	const struct job_text *t = arg;
	struct worker w = {
		.epoch = "here", .drivers = drivers, .soft_limit_ms = HOUR_MS, .concurrency = 100
	};
	struct attempt *a = mem_new(struct attempt);
	cJSON *args = NULL;

	if (plans[0].hangs)
		w.soft_limit_ms = SOFT_MS;
	a->worker = &w;
	a->arena = arena_new();
	a->partner = LONGSHORE_PARTNER;
	a->started_ms = loop_now_ms();
	a->step = t->step;
	a->job = (struct job){ .task = "lookup",
			       .integration_id = t->integration_id,
			       .max_retries = -1,
			       .record = true };
	if (t->args && json_parse(t->args, strlen(t->args), 4096, &args, NULL) < 0)
		abort();
	a->job.args = args;
	a->task = task_known(NULL, "lookup");
	ended.rc = a->task->run(a);
	ended.err = a->err;
	ended.called_id = attempt_integration(a);
	ended.step = a->step;
	ended.goes_on = a->goes_on;
	ended.no_retry = a->job.no_retry;
	ended.has_exchange = a->exchange.len > 0;
	ended.took_ms = loop_now_ms() - a->started_ms;
	snprintf(ended.said, sizeof(ended.said), "%s", a->result.len ? buf_str(&a->result) : "");
	integrations_put(a->integration);
	buf_clear(&a->result);
	buf_clear(&a->exchange);
	arena_free(a->arena);
	cJSON_Delete(args);
	free(a);
	loop_stop();
}

static void ask_text(struct job_text t)
{
	memset(&ended, 0, sizeof(ended));
	for (size_t i = 0; i < ARRAY_LEN(plans); i++)
		plans[i].asked = 0;
	assert_int_equal(loop_init(), 0);
	assert_non_null(co_spawn("job", run, &t));
	loop_run();
	loop_close();
	assert_int_equal(held_rows, 0);
	assert_int_equal(in_slots, 0);
}

static void ask(void)
{
	ask_text((struct job_text){ .args = "{\"kind\":\"k\",\"params\":{}}" });
}

static void is_refused(const char *args, int64_t integration_id, const char *field,
		       const char *text)
{
	ask_text((struct job_text){ .args = args, .integration_id = integration_id });
	assert_int_equal(ended.rc, -EINVAL);
	assert_int_equal(ended.err.class, ERR_BAD_JOB);
	assert_string_equal(ended.err.rule, field);
	if (!strstr(ended.err.text, text))
		fail_msg("%s: not in: %s", text, ended.err.text);
}

static int begin(void **state)
{
	struct buf problem = BUF_INIT;

	memset(plans, 0, sizeof(plans));
	plans[0] = (struct plan){ .partner = "weather", .id = 11, .status = "active" };
	plans[1] = (struct plan){ .partner = "nominatim", .id = 12, .status = "active" };
	plans[2] = (struct plan){ .partner = "frankfurter", .id = 13, .status = "active" };
	marked = suspended = 0;
	others_know = false;
	return lookup_kinds_parse(
		"k=weather/current:nominatim/search:frankfurter/latest,weather=weather/current",
		&problem);
}

/* ---- who is asked ---- */

static void the_first_that_answers(void **state)
{
	ask();
	assert_int_equal(ended.rc, 0);
	assert_string_equal(ended.said, "weather/current by 11: 0");
	assert_int_equal(plans[1].asked, 0);
	plans[0].state = LOOKUP_STALE; /* an old answer is one */
	ask();
	assert_string_equal(ended.said, "weather/current by 11: 1");
	plans[0].state = LOOKUP_MISSING;
	plans[0].none = true; /* and so is the word that there is none */
	ask();
	assert_string_equal(ended.said, "weather/current by 11: 3");
	plans[0].none = false;
	ask();
	assert_string_equal(ended.said, "nominatim/search by 12: 0");
	plans[1].state = LOOKUP_PLACEHOLDER;
	ask();
	assert_string_equal(ended.said, "frankfurter/latest by 13: 0");
	plans[2].state =
		LOOKUP_MISSING; /* of the last one it is what there is: an optional partner's */
	ask();
	assert_int_equal(ended.rc, 0);
	assert_string_equal(ended.said, "frankfurter/latest by 13: 3");
}

static void errors_go_on(void **state)
{
	plans[0].rc = -EREMOTEIO;
	plans[0].class = ERR_TRANSIENT;
	plans[1].id = 0; /* it has no integration */
	ask();
	assert_int_equal(ended.rc, 0);
	assert_string_equal(ended.said, "frankfurter/latest by 13: 0");
	assert_false(ended.has_exchange); /* the first one's went with it */
	plans[2].rc = -EREMOTEIO;
	plans[2].class = ERR_CLIENT;
	ask();
	assert_int_equal(ended.rc, -EREMOTEIO);
	assert_int_equal(ended.err.class, ERR_CLIENT);
	assert_string_equal(ended.err.text,
			    "frankfurter/latest, the last that was asked: so it was planned");
	assert_true(ended.no_retry && ended.has_exchange);
	plans[0].class = ERR_BAD_JOB; /* the question is wrong: so it is for all */
	plans[0].rc = -EINVAL;
	ask();
	assert_int_equal(ended.rc, -EINVAL);
	assert_string_equal(ended.err.text, "weather/current: so it was planned");
	assert_int_equal(plans[2].asked, 0);
	plans[0].rc = -ECONNRESET; /* Redis is away: for all too */
	plans[0].class = ERR_TRANSIENT;
	ask();
	assert_int_equal(ended.rc, -ECONNRESET);
	assert_int_equal(plans[2].asked, 0);
	plans[0].rc = -EBADMSG; /* a fault of our own is of all, … */
	plans[0].class = ERR_INTERNAL;
	ask();
	assert_int_equal(ended.rc, -EBADMSG);
	assert_int_equal(plans[2].asked, 0);
	plans[0].rule = "credentials"; /* … but not that one's credentials do not open */
	plans[2].rc = 0;
	ask();
	assert_int_equal(ended.rc, 0);
	assert_string_equal(ended.said, "frankfurter/latest by 13: 0");
}

static void only_for_the_last_it_waits(void **state)
{
	for (size_t i = 0; i < ARRAY_LEN(plans); i++) {
		plans[i].rc = -EAGAIN;
		plans[i].class = ERR_RATE_LIMIT;
		plans[i].wait_ms = 7000 + (int64_t)i;
	}
	ask();
	assert_int_equal(ended.rc, -EAGAIN);
	assert_int_equal(ended.err.class, ERR_RATE_LIMIT);
	assert_int_equal(ended.err.retry_after_ms, 7002);
	assert_int_equal(plans[0].asked + plans[1].asked + plans[2].asked, 3);
	assert_true(plans[2].patient);
	plans[1].rc = 0;
	ask();
	assert_int_equal(ended.rc, 0);
	assert_string_equal(ended.said, "nominatim/search by 12: 0");
}

static void nobody_calls_who_is_held(void **state)
{
	plans[0].paused = "tidying";
	plans[1].status = "auth_broken";
	ask();
	assert_string_equal(ended.said, "frankfurter/latest by 13: 0");
	assert_string_equal(plans[0].kept_only, "weather is paused: tidying");
	assert_string_equal(plans[1].kept_only, "integration 12 is auth_broken");
	plans[0].state = LOOKUP_STALE; /* what is kept is told */
	ask();
	assert_string_equal(ended.said, "weather/current by 11: 1");
	plans[0].state = LOOKUP_FRESH;
	plans[2].paused = "";
	ask(); /* the job waits, as one by name does */
	assert_int_equal(ended.rc, -EAGAIN);
	assert_int_equal(ended.err.class, ERR_HOLD);
	assert_int_equal(ended.err.retry_after_ms, 30000);
}

/* Nobody else is asked, and the slot is free. */
static void who_has_its_share_of_slots_is_waited_for(void **state)
{
	plans[0].refuses_slot = true;
	plans[0].wait_ms = 1234;
	ask();
	assert_int_equal(ended.rc, -EAGAIN);
	assert_int_equal(ended.err.class, ERR_HOLD);
	assert_int_equal(ended.err.retry_after_ms, 1234);
	assert_int_equal(plans[1].asked, 0);
	plans[0].state = LOOKUP_STALE;
	ask();
	assert_int_equal(ended.rc, 0);
}

/* Each of n that wait is refused, comes back when it was told to, and is refused again.  How often in the last of these minutes; and the
 * most in one of its seconds. */
static int refusals(int n, int minutes, int *most)
{
	struct busy b = { 0 };
	int64_t *due = mem_zalloc((size_t)n * sizeof(*due)), end = (int64_t)minutes * 60000;
	int sum = 0, second = 0;

	*most = 0;
	for (int64_t now = 0; now < end; now += 10) {
		for (int i = 0; i < n; i++) {
			int64_t ms;

			if (due[i] > now)
				continue;
			ms = busy_refused_ms(&b, now + 1000);
			assert_in_range(ms, 1000, 30000);
			due[i] = now + ms;
			sum += now >= end - 60000;
			second++;
		}
		if (now % 1000 == 0) {
			*most = now >= end - 60000 && second > *most ? second : *most;
			second = 0;
		}
	}
	free(due);
	return sum;
}

static void the_more_wait_the_longer_each_stays_away(void **state)
{
	struct busy b = { 0 };
	int most, few = refusals(10, 2, &most);

	assert_in_range(few, 10 * 60 / 3, 10 * 60); /* each after 1 to 2 s */
	/* 10,000 are not refused 10,000 times a second, nor all at once. */
	assert_in_range(refusals(10000, 2, &most), 10000, 6 * 10000);
	assert_true(most < 2000);
	for (int i = 0; i < 1000; i++)
		(void)busy_refused_ms(&b, 1000);
	assert_true(busy_refused_ms(&b, 1001) > 10000);
	assert_true(busy_refused_ms(&b, 40000) <= 2000); /* long ago */
}

static void who_takes_too_long_leaves_the_next_its_time(void **state)
{
	plans[0].hangs = true;
	ask();
	assert_int_equal(ended.rc, 0);
	assert_true(ended.took_ms >= SOFT_MS / 2);
	assert_true(plans[1].asked == 1 ||
		    ended.goes_on); /* this machine stood still until the soft limit */
}

static void a_process_that_stops_leaves_the_rest_to_another(void **state)
{
	plans[0].rc = -EREMOTEIO;
	plans[0].class = ERR_TRANSIENT;
	plans[0].stops = true;
	ask();
	assert_int_equal(ended.rc, 0);
	assert_true(ended.goes_on);
	assert_int_equal(ended.step, 1);
	assert_int_equal(plans[1].asked, 0);
	ask_text((struct job_text){ .args = "{\"kind\":\"k\"}", .step = 1 });
	assert_string_equal(ended.said, "nominatim/search by 12: 0");
	assert_int_equal(plans[0].asked, 0);
	assert_int_equal(ended.step, 0); /* a next attempt begins anew */
	ask_text((struct job_text){ .args = "{\"kind\":\"k\"}", .step = 9 });
	assert_int_equal(plans[0].asked, 1); /* the setting has fewer by now */
}

/* ---- who is to blame ---- */

static void refused_credentials_are_those_of_who_failed(void **state)
{
	plans[0].rc = -EACCES;
	plans[0].class = ERR_AUTH;
	ask();
	assert_string_equal(ended.said, "nominatim/search by 12: 0");
	assert_int_equal(marked, 1);
	assert_int_equal(marked_id, 11);
	plans[0].rc = -EREMOTEIO; /* a 401: once may be chance */
	ask();
	assert_int_equal(marked, 1);
	plans[0].class = ERR_CLIENT;
	plans[0].action = ACT_SUSPEND;
	ask();
	assert_int_equal(suspended, 1);
	assert_int_equal(suspended_id, 11);
	plans[0].action = ACT_NONE;
	plans[1].rc = plans[2].rc = -EREMOTEIO;
	plans[1].class = plans[2].class = ERR_AUTH;
	ask();
	assert_int_equal(ended.err.class, ERR_AUTH);
	assert_int_equal(ended.called_id, 13); /* whom settle.c marks */
	assert_int_equal(marked, 1);
}

static void a_second_refusal_counts(void **state)
{
	struct err e = { .class = ERR_AUTH };

	integrations_passed_over(NULL, 77, -EREMOTEIO, &e, HOUR_MS);
	integrations_passed_over(NULL, 77, -EREMOTEIO, &e, HOUR_MS + 4999); /* of the same moment */
	assert_int_equal(marked, 0);
	integrations_passed_over(NULL, 77, -EREMOTEIO, &e, HOUR_MS + 5000);
	assert_int_equal(marked, 1);
	assert_int_equal(marked_id, 77);
	integrations_passed_over(NULL, 77, -EREMOTEIO, &e,
				 HOUR_MS + 6000); /* mended, it is the first again */
	integrations_answered(77);
	integrations_passed_over(NULL, 77, -EREMOTEIO, &e, HOUR_MS + 12000);
	integrations_passed_over(NULL, 77, -EREMOTEIO, &e, 3 * HOUR_MS);
	assert_int_equal(marked, 1);
}

/* ---- what is refused ---- */

static void wrong_args(void **state)
{
	is_refused("{\"kind\":\"wether\"}", 0, "args.kind", "did you mean \"weather\"?");
	is_refused("{\"kind\":\"ski\"}", 0, "args.kind", "it names: k, weather");
	is_refused(NULL, 0, "args.kind", "must be one of --lookup-kinds: k, weather;");
	is_refused("{\"kind\":7}", 0, "args.kind", "must be one of --lookup-kinds: k, weather;");
	is_refused("{\"kind\":\"k\",\"name\":\"current\"}", 0, "args.name", "exclude each other");
	is_refused("{\"name\":\"current\"}", 0, "args.name", "push it to queue:{weather}; or");
	is_refused("{\"kind\":\"k\"}", 11, "integration_id", "leave integration_id out");
	others_know = true; /* its settings are newer: it may have the job */
	ask_text((struct job_text){ .args = "{\"kind\":\"wether\"}" });
	assert_int_equal(ended.rc, -EAGAIN);
	assert_int_equal(ended.err.class, ERR_HOLD);
}

static int setup(void **state)
{
	struct buf problems = BUF_INIT;
	struct err err = { 0 };

	return driver_set_load("drivers", &drivers, &problems, &err);
}

static int teardown(void **state)
{
	lookup_kinds_free();
	driver_set_free(drivers);
	return 0;
}

#define KIND_TEST(name) cmocka_unit_test_setup(name, begin)

int main(void)
{
	const struct CMUnitTest tests[] = {
		KIND_TEST(the_first_that_answers),
		KIND_TEST(errors_go_on),
		KIND_TEST(only_for_the_last_it_waits),
		KIND_TEST(nobody_calls_who_is_held),
		KIND_TEST(who_has_its_share_of_slots_is_waited_for),
		cmocka_unit_test(the_more_wait_the_longer_each_stays_away),
		KIND_TEST(who_takes_too_long_leaves_the_next_its_time),
		KIND_TEST(a_process_that_stops_leaves_the_rest_to_another),
		KIND_TEST(refused_credentials_are_those_of_who_failed),
		KIND_TEST(a_second_refusal_counts),
		KIND_TEST(wrong_args),
	};

	return cmocka_run_group_tests(tests, setup, teardown);
}
