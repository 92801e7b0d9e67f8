/* import_schedules and pauses in Postgres: what is due, what moves on, what is owed again, what ends by itself. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "common/store/schedule.h"
#include "common/store/store.h"
#include "tests/unit/postgres.h"

static void ignore(int number, const char *name, void *arg)
{
}

static void ask(struct pg *p, const char *sql)
{
	CHECK(pg_execv(p, NULL, loop_now_ms() + 10000, NULL, sql, NULL) == 0);
}

static void prepare(struct pg *p)
{
	struct err err = { 0 };
	int64_t company;

	CHECK(migrate_run(postgres.url, ignore, NULL, &err) == 0);
	ask(p, "TRUNCATE companies, integrations CASCADE");
	CHECK(company_add(p, "Acme", &company, &err) == 0);
}

static int64_t add_integration(struct pg *p)
{
	struct integration_new n = { .company = "Acme", .partner = "guesty" };
	struct err err = { 0 };
	int64_t id = 0;

	CHECK(integration_add(p, NULL, &n, &id, &err) == 0);
	return id;
}

static struct schedule_plan planned(const struct schedule *of, int64_t next_ms)
{
	return (struct schedule_plan){ .of = of,
				       .plan = "p",
				       .strategy = "full",
				       .every = "4h",
				       .reason = "r",
				       .next_ms = next_ms,
				       .next_full = true };
}

static int n_due(struct pg *p, int64_t now_ms, struct schedules *out)
{
	struct err err = { 0 };
	struct pg_array but;

	pg_array_init(&but, PG_TEXT);
	schedules_clear(out);
	return schedules_due(p, now_ms, 0, 0, now_ms, &but, 10, out, &err) < 0 ? -1 : out->n;
}

/* A plan of settings that have changed since is not written; one that was started is not moved twice. */
static void schedules_body(struct pg *p)
{
	int64_t id, other, restored = 0;
	struct schedules all = { 0 }, due = { 0 };
	struct err err = { 0 };

	prepare(p);
	id = add_integration(p);
	other = add_integration(p);
	CHECK(schedules_to_plan(p, false, 0, 10, &all, &err) == 0 && all.n == 2);
	CHECK(all.v[0].integration == id && !all.v[0].plan && all.v[0].active);
	CHECK(pg_execv(p, NULL, loop_now_ms() + 10000, &err,
		       "UPDATE integrations SET settings = '{\"every\": \"1h\"}' WHERE id = (SELECT"
		       " max(id) FROM integrations)",
		       NULL) == 0);
	struct schedule_plan v[2] = { planned(&all.v[0], 1000000), planned(&all.v[1], 1000000) };
	CHECK(schedules_plan(p, v, 2, &err) == 0);
	schedules_clear(&all);
	CHECK(schedules_to_plan(p, false, 0, 10, &all, &err) == 0 && all.n == 1);
	CHECK(all.v[0].integration == other);

	CHECK(n_due(p, 999999, &due) == 0 && n_due(p, 1000000, &due) == 1);
	CHECK(due.v[0].next_ms == 1000000 && due.v[0].integration == id);
	CHECK(scheduling_pause(p, &(struct pause){ .reason = "x" }, &err) == 0);
	CHECK(n_due(p, 1000000, &due) == 0);
	CHECK(scheduling_pause(p, NULL, &err) == 0 && n_due(p, 1000000, &due) == 1);
	struct schedule_step step = { .integration = id,
				      .was_ms = 1000000,
				      .slot_ms = 1000000,
				      .full = true,
				      .full_ms = 1000000,
				      .next_ms = 2000000 };
	CHECK(schedules_step(p, &step, 1, &err) == 0 && n_due(p, 1999999, &due) == 0);
	step.next_ms = 3000000; /* a leader of the past */
	CHECK(schedules_step(p, &step, 1, &err) == 0 && n_due(p, 2000000, &due) == 1);
	CHECK(due.v[0].full_ms == 1000000);

	CHECK(schedules_restore(p, "guesty", &restored, &err) == 0 && restored == 1);
	CHECK(n_due(p, 1000000, &due) == 1 && due.v[0].full_ms == 0);
	CHECK(schedules_step(p, &step, 1, &err) == 0);
	CHECK(integration_touch_success(p, id, &err) == 0);
	CHECK(schedules_restore(p, "guesty", &restored, &err) == 0 && restored == 0);
	schedules_clear(&all);
	schedules_clear(&due);
}

static void see_lifted(const char *partner, int64_t integration, void *arg)
{
	*(int *)arg += partner ? integration ? 1 : 10 : 100;
}

static void pauses_body(struct pg *p)
{
	int64_t id;
	struct pause for_good = { .reason = "why", .by = "me" }, over = for_good;
	cJSON *list = NULL, *one = NULL;
	struct err err = { 0 };
	int lifted = 0;

	prepare(p);
	id = add_integration(p);
	over.until_ms = 1000;
	CHECK(integration_pause(p, id, &for_good, &err) == 0);
	CHECK(partner_pause(p, "guesty", &for_good, &err) == 0);
	CHECK(scheduling_pause(p, &for_good, &err) == 0);
	CHECK(pauses_list(p, 10, &list, &err) == 0 && cJSON_GetArraySize(list) == 3);
	CHECK(pause_of(p, id, &one, &err) == 0 &&
	      strcmp(json_str(one, "level"), "integration") == 0);
	CHECK(strcmp(json_str(one, "by"), "me") == 0 && !json_str(one, "until"));
	CHECK(pauses_lift(p, see_lifted, &lifted, &err) == 0 && lifted == 0);
	CHECK(integration_pause(p, id, &over, &err) == 0);
	CHECK(partner_pause(p, "guesty", &over, &err) == 0);
	CHECK(scheduling_pause(p, &over, &err) == 0);
	CHECK(pauses_lift(p, see_lifted, &lifted, &err) == 0 && lifted == 111);
	cJSON_Delete(list);
	cJSON_Delete(one);
	CHECK(pauses_list(p, 10, &list, &err) == 0 && cJSON_GetArraySize(list) == 0);
	/* It never stands without its end, not even for a moment; and what is not paused any more has no end to come. */
	ask(p,
	    "CREATE FUNCTION whole() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN IF NEW.status = 'paused'"
	    " AND NEW.paused_until IS NULL THEN RAISE 'half a pause'; END IF; RETURN NEW; END $$");
	ask(p,
	    "CREATE TRIGGER whole BEFORE UPDATE ON integrations FOR EACH ROW EXECUTE FUNCTION whole()");
	CHECK(integration_pause(p, id, &over, &err) == 0);
	ask(p, "DROP TRIGGER whole ON integrations");
	CHECK(integration_set_status(p, id, "active", NULL, &err) == 0);
	CHECK(pauses_lift(p, see_lifted, &lifted, &err) == 0 && lifted == 111);
	CHECK(integration_pause(p, 999999, &over, &err) == -ENOENT);
	cJSON_Delete(list);
}

static void test_schedules(void **state)
{
	assert_int_equal(in_coroutine(schedules_body), 0);
}

static void test_pauses(void **state)
{
	assert_int_equal(in_coroutine(pauses_body), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_schedules),
		cmocka_unit_test(test_pauses),
	};

	return cmocka_run_group_tests(tests, postgres_start, postgres_stop);
}
