/* What a manifest and settings make of a schedule, which slots it has, and what becomes of those that are due. */
#include "drivers/kit/plan.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "common/base/clock.h"
#include "common/base/mem.h"
#include "drivers/driver.h"

#define S 1000LL
#define M (60 * S)
#define H (60 * M)
#define D (24 * H)
#define NOW 1795824000000LL /* 2026-11-28T00:00Z, a whole number of any period here */

static struct driver_set *drivers;

static const struct manifest *of(const char *partner)
{
	const struct driver *d = driver_find(drivers, partner);

	assert_non_null(d);
	return d->manifest;
}

static int make(const char *partner, const char *settings, struct plan *out, struct err *err)
{
	cJSON *tree = NULL;
	int rc;

	assert_int_equal(json_parse(settings, strlen(settings), 4096, &tree, NULL), 0);
	rc = plan_make(of(partner), tree, 0, out, err);
	cJSON_Delete(tree);
	return rc;
}

static struct plan plan(const char *partner, const char *settings)
{
	struct err err = { 0 };
	struct plan p;

	if (make(partner, settings, &p, &err) < 0)
		fail_msg("%s: %s", settings, err.text);
	return p;
}

static void is(const struct plan *p, const char *wanted)
{
	struct buf text = BUF_INIT;

	plan_print(p, &text);
	assert_string_equal(buf_str(&text), wanted);
	buf_clear(&text);
}

/* ---- defaults and settings ---- */

static void by_what_the_manifest_can_do(void **state)
{
	struct plan p = plan("booking_demand", "{}");

	is(&p, "incremental every 1h, jitter 1h, full every 1d, catch up one, import_resources");
	assert_non_null(strstr(p.why, "1 of 2 lists"));
	p = plan("hostaway", "{}");
	assert_int_equal(p.strategy, STRATEGY_WEBHOOK);
	assert_int_equal(p.every_ms, D);
	assert_non_null(strstr(p.why, "webhooks"));
	plan_without_webhooks(&p);
	assert_int_equal(p.every_ms, H);
	assert_non_null(strstr(p.why, "until they are registered"));
	p = plan("hostaway", "{\"every\":\"6h\"}");
	plan_without_webhooks(&p);
	assert_int_equal(p.every_ms, 6 * H);
	p = plan("airbnb", "{}");
	assert_true(p.always_full && p.n_tasks == 1);
	p = plan("booking_connectivity", "{}");
	is(&p, "incremental every 5m, jitter 5m, catch up one, import_transactions");
	assert_false(plan_can_be_full(&p));
	p = plan("weather", "{}");
	is(&p, "none");
	assert_non_null(strstr(p.why, "questions"));
}

static void by_settings(void **state)
{
	struct plan p = plan("booking_demand", "{\"strategy\":\"full\"}");

	is(&p, "full every 4h, jitter 4h, catch up one, import_resources");
	assert_non_null(strstr(p.why, "set by hand; else incremental"));
	p = plan("booking_demand",
		 "{\"strategy\":\"daily\",\"catch_up\":\"skip\",\"jitter\":\"10m\"}");
	is(&p, "daily every 1d, jitter 10m, catch up skip, import_resources");
	p = plan("booking_demand",
		 "{\"every\":\"15m\",\"full_every\":\"12h\",\"catch_up\":\"all\"}");
	is(&p, "incremental every 15m, jitter 15m, full every 12h, catch up all, import_resources");
	p = plan("booking_demand", "{\"every\":\"30 4 * * *\",\"zone\":\"Europe/Berlin\"}");
	is(&p,
	   "incremental every 30 4 * * * in Europe/Berlin, jitter 1m, full every 1d, catch up one, import_resources");
	p = plan("booking_demand", "{\"strategy\":\"none\"}");
	is(&p, "none");
	p = plan("booking_demand", "{\"every\":null,\"strategy\":null,\"in_flight\":3}");
	assert_int_equal(p.every_ms, H);
}

static void refused(void **state)
{
	static const struct {
		const char *partner, *settings, *why;
	} v[] = {
		{ "booking_demand", "{\"every\":\"often\"}", "every: a duration" },
		{ "booking_demand", "{\"every\":\"0\"}", "every: a duration" },
		{ "booking_demand", "{\"every\":\"91d\"}", "every: a duration" },
		{ "booking_demand", "{\"every\":\"30 25 * * *\"}", "every: \"25\" is no hour" },
		{ "booking_demand", "{\"zone\":\"Europe/Berlin\"}",
		  "zone: belongs to an every of five" },
		{ "booking_demand", "{\"every\":\"0 4 * * *\",\"zone\":\"Europe/Berlín\"}",
		  "zone: a time zone" },
		{ "booking_demand", "{\"every\":\"0 4 * * *\",\"zone\":\"../passwd\"}",
		  "zone: a time zone" },
		{ "booking_demand", "{\"jitter\":\"2h\"}", "jitter: a duration, at most" },
		{ "booking_demand", "{\"full_every\":\"0\"}", "full_every: a duration" },
		{ "booking_demand", "{\"catch_up\":\"some\"}", "catch_up: skip, one or all" },
		{ "booking_demand", "{\"strategy\":\"sometimes\"}",
		  "strategy: webhook, incremental" },
		{ "booking_demand", "{\"strategy\":\"webhook\"}", "has no webhooks" },
		{ "airbnb", "{\"strategy\":\"incremental\"}", "since a time" },
	};

	for (size_t i = 0; i < ARRAY_LEN(v); i++) {
		struct err err = { 0 };
		struct plan p;

		assert_int_equal(make(v[i].partner, v[i].settings, &p, &err), -EINVAL);
		if (!strstr(err.text, v[i].why))
			fail_msg("%s: %s", v[i].settings, err.text);
	}
}

/* ---- slots ---- */

static void slots_of_an_interval(void **state)
{
	struct plan p = plan("booking_demand", "{\"every\":\"15m\"}");
	int64_t first = plan_next_ms(&p, 7, NOW);

	assert_true(first > NOW && first <= NOW + 15 * M);
	assert_int_equal(plan_next_ms(&p, 7, first - 1), first);
	assert_int_equal(plan_next_ms(&p, 7, first), first + 15 * M);
	assert_int_equal(plan_next_ms(&p, 7, first + 15 * M - 1), first + 15 * M);
	p = plan("booking_demand", "{\"every\":\"15m\",\"jitter\":\"0\"}");
	assert_int_equal(plan_next_ms(&p, 7, NOW), NOW + 15 * M);
	assert_int_equal(plan_next_ms(&p, 7, NOW - 1), NOW);
}

static void slots_of_a_zone(void **state)
{
	struct plan p =
		plan("booking_demand", "{\"every\":\"30 2 * * *\",\"zone\":\"Europe/Berlin\"}");
	int64_t us, t, phase;

	assert_int_equal(clock_parse_time("2026-03-28T12:00Z", &us, NULL), 0);
	t = plan_next_ms(&p, 7, us / 1000);
	phase = t - (us / 1000 + 13 * H + 30 * M); /* 3:30 there: 2:30 never comes */
	assert_true(phase >= 0 && phase < M);
	assert_int_equal(plan_next_ms(&p, 7, t - 1), t);
	assert_int_equal(plan_next_ms(&p, 7, t), t + 23 * H);
	assert_int_equal(plan_next_ms(&p, 7, t + 23 * H), t + 47 * H);
}

/* 20,000 integrations with the same period: each tenth of it has about a tenth of the starts, each second about as many. */
static void starts_are_spread(void **state)
{
	struct plan p = plan("booking_demand", "{\"every\":\"15m\"}");
	static int tenths[10], seconds[900];

	for (int64_t id = 1; id <= 20000; id++) {
		int64_t t = plan_next_ms(&p, id, NOW) - NOW - 1;

		tenths[t / (90 * S)]++;
		seconds[t / S]++;
	}
	for (int i = 0; i < 10; i++)
		assert_in_range(tenths[i], 1850, 2150);
	for (int i = 0; i < 900; i++)
		assert_in_range(seconds[i], 3, 50); /* 22 on average */
}

/* ---- full ones between ---- */

static int fulls(const struct plan *p, int64_t id, int64_t span, int64_t *apart)
{
	int64_t t = plan_next_ms(p, id, NOW), full = 0, end = NOW + span;
	int n = 0;

	*apart = 0;
	while (t < end) {
		if (plan_is_full(p, id, t, full)) {
			if (full && t - full > *apart)
				*apart = t - full;
			full = t;
			n++;
		}
		t = plan_after_ms(p, id, t, full);
	}
	return n;
}

static void a_full_one_comes_often_enough(void **state)
{
	int64_t apart;
	struct plan p = plan("booking_demand", "{\"every\":\"15m\"}");

	assert_int_equal(fulls(&p, 7, 10 * D, &apart), 10);
	assert_int_equal(apart, D);
	p = plan("hostaway", "{\"full_every\":\"6h\"}"); /* daily, and extra ones between */
	assert_in_range(fulls(&p, 7, 10 * D, &apart), 36, 40);
	assert_int_equal(apart, 6 * H);
	/* days of 23 and of 25 hours */
	p = plan("booking_demand", "{\"every\":\"30 4 * * *\",\"zone\":\"Europe/Berlin\"}");
	assert_int_equal(fulls(&p, 7, 365 * D, &apart), 365);
	assert_true(apart == 25 * H);
	p = plan("booking_demand", "{\"every\":\"0 4 1 * *\"}"); /* too seldom by itself */
	assert_in_range(fulls(&p, 7, 60 * D, &apart), 55, 60);
	p = plan("booking_demand", "{\"strategy\":\"full\"}");
	assert_int_equal(fulls(&p, 7, D, &apart), 6);
	p = plan("booking_connectivity", "{}");
	assert_int_equal(fulls(&p, 7, D, &apart), 0);
}

/* ---- what is due ---- */

static struct plan_due due(const char *settings, int64_t slot, int64_t full, int64_t now)
{
	struct plan p = plan("booking_demand", settings);
	struct plan_due d;

	plan_due(&p, 7, slot, full, now, &d);
	return d;
}

#define QUARTERS "\"every\":\"15m\",\"jitter\":\"0\""

static void one_that_is_due_is_started(void **state)
{
	struct plan_due d = due("{" QUARTERS "}", NOW, NOW - H, NOW + 1);

	assert_true(d.n == 1 && d.v[0].slot_ms == NOW && !d.v[0].full && d.missed == 0);
	assert_true(d.next_ms == NOW + 15 * M && !d.next_full && d.full_ms == NOW - H);
	d = due("{" QUARTERS "}", NOW, 0, NOW + 1); /* the first one of all is full */
	assert_true(d.v[0].full && d.full_ms == NOW && !d.next_full);
	d = due("{" QUARTERS "}", NOW, NOW - D + 15 * M, NOW + 1);
	assert_true(!d.v[0].full && d.next_full);
	/* one that is in no plan of today: the first start, a plan that has changed */
	d = due("{" QUARTERS "}", NOW + 7, NOW - H, NOW + 9);
	assert_true(d.n == 1 && d.v[0].slot_ms == NOW + 7 && d.next_ms == NOW + 15 * M);
}

static void of_several_missed_one_stands_for_all(void **state)
{
	struct plan_due d = due("{" QUARTERS "}", NOW, NOW - H, NOW + 2 * H + M);

	assert_true(d.n == 1 && d.v[0].slot_ms == NOW + 2 * H && d.missed == 8);
	assert_true(d.next_ms == NOW + 2 * H + 15 * M);
	d = due("{" QUARTERS "}", NOW, NOW - H, NOW + 3 * D + M);
	assert_true(d.n == 1 && d.v[0].full && d.missed == 3 * 96);
	d = due("{\"every\":\"0 4 * * *\",\"jitter\":\"0\"}", NOW - 20 * H, NOW - 20 * H,
		NOW + 100 * D);
	assert_true(d.n == 1 && d.v[0].slot_ms == NOW + 99 * D + 4 * H && d.missed == 100);
	assert_true(d.next_ms == NOW + 100 * D + 4 * H);
}

static void missed_ones_are_let_go(void **state)
{
	struct plan_due d = due("{" QUARTERS ",\"catch_up\":\"skip\"}", NOW, NOW - H, NOW + 14 * S);

	assert_true(d.n == 1 && d.missed == 0); /* that is in time */
	d = due("{" QUARTERS ",\"catch_up\":\"skip\"}", NOW, NOW - H, NOW + 16 * S);
	assert_true(d.n == 0 && d.missed == 1 && d.next_ms == NOW + 15 * M);
	d = due("{" QUARTERS ",\"catch_up\":\"skip\"}", NOW, NOW - H, NOW + 2 * H + 5 * S);
	assert_true(d.n == 1 && d.v[0].slot_ms == NOW + 2 * H && d.missed == 8);
	/* a full one that was let go is made up for at the next slot */
	d = due("{" QUARTERS ",\"catch_up\":\"skip\"}", NOW, NOW - D, NOW + M);
	assert_true(d.n == 0 && d.next_full);
}

static void missed_ones_are_all_run(void **state)
{
	struct plan_due d = due("{" QUARTERS ",\"catch_up\":\"all\"}", NOW, NOW - H, NOW + H + M);

	assert_int_equal(d.n, 5);
	for (int i = 0; i < 5; i++)
		assert_int_equal(d.v[i].slot_ms, NOW + i * 15 * M);
	assert_true(d.missed == 0 && d.next_ms == NOW + H + 15 * M);
	/* some at a time */
	d = due("{" QUARTERS ",\"catch_up\":\"all\"}", NOW, NOW - H, NOW + D);
	assert_true(d.n == PLAN_STARTS_MAX && d.next_ms == NOW + PLAN_STARTS_MAX * 15 * M);
	/* one full one among them */
	d = due("{" QUARTERS ",\"catch_up\":\"all\"}", NOW, NOW - D, NOW + H);
	assert_true(d.v[0].full && !d.v[1].full && d.full_ms == NOW);
}

static int load(void **state)
{
	struct buf problems = BUF_INIT;
	struct err err = { 0 };
	int rc = driver_set_load("drivers", &drivers, &problems, &err);

	buf_clear(&problems);
	return rc;
}

static int unload(void **state)
{
	driver_set_free(drivers);
	return 0;
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(by_what_the_manifest_can_do),
		cmocka_unit_test(by_settings),
		cmocka_unit_test(refused),
		cmocka_unit_test(slots_of_an_interval),
		cmocka_unit_test(slots_of_a_zone),
		cmocka_unit_test(starts_are_spread),
		cmocka_unit_test(a_full_one_comes_often_enough),
		cmocka_unit_test(one_that_is_due_is_started),
		cmocka_unit_test(of_several_missed_one_stands_for_all),
		cmocka_unit_test(missed_ones_are_let_go),
		cmocka_unit_test(missed_ones_are_all_run),
	};

	return cmocka_run_group_tests(tests, load, unload);
}
