#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>
#include <errno.h>

#include "common/base/clock.h"
#include "common/base/mem.h"
#include "common/store/query.h"
#include "common/store/request.h"
#include "common/store/schedule.h"
#include "common/store/store.h"
#include "common/store/webhook.h"
#include "tests/unit/postgres.h"

static struct keyring *keys;

/* The first value of the first row as text; "" if none. Valid until the next call. */
static const char *ask(struct pg *p, const char *sql)
{
	static char text[256];
	struct err err = { 0 };
	PGresult *res = NULL;

	text[0] = 0;
	if (pg_execv(p, &res, loop_now_ms() + 10000, &err, sql, NULL) < 0)
		fprintf(stderr, "%s\n", err.text);
	CHECK(res != NULL);
	if (res && PQresultStatus(res) == PGRES_TUPLES_OK && PQntuples(res))
		snprintf(text, sizeof(text), "%s", PQgetvalue(res, 0, 0));
	PQclear(res);
	return text;
}

#define CHECK_SQL(p, sql, want) CHECK(strcmp(ask((p), (sql)), (want)) == 0)

static void count_applied(int number, const char *name, void *arg)
{
	(*(int *)arg)++;
}

static void prepare(struct pg *p)
{
	int applied = 0;
	struct err err = { 0 };

	CHECK(migrate_run(postgres.url, count_applied, &applied, &err) == 0);
	ask(p,
	    "TRUNCATE companies, integrations, import_schedules, grants, webhook_registrations, limit_overrides, credentials, token_mints, partner_states, runs,"
	    " checkpoints, dead_letters,"
	    " rejected_items, alerts");
}

static int64_t add_integration(struct pg *p, const char *company, const char *partner,
			       const char *settings)
{
	struct integration_new n = { .company = company, .partner = partner };
	cJSON *tree = NULL;
	int64_t id = 0;

	CHECK(json_parse(settings, strlen(settings), 1000, &tree, NULL) == 0);
	n.settings = tree;
	CHECK(integration_add(p, keys, &n, &id, NULL) == 0);
	cJSON_Delete(tree);
	return id;
}

/* ---- migrations ---- */
static void fresh_body(struct pg *p)
{
	struct err err = { 0 };
	int applied = 0;

	CHECK(migrate_check(p, &err) == -ENODATA && strstr(err.text, "longshore migrate"));
	CHECK(migrate_run(postgres.url, count_applied, &applied, &err) == 0);
	CHECK(applied >= 4);
	CHECK(migrate_check(p, &err) == 0);
	applied = 0;
	CHECK(migrate_run(postgres.url, count_applied, &applied, &err) == 0 && applied == 0);
	ask(p, "UPDATE schema_migrations SET checksum = 'other' WHERE number = 2");
	CHECK(migrate_run(postgres.url, count_applied, &applied, &err) == -EPROTO &&
	      strstr(err.text, "sql/0002_"));
	ask(p, "DELETE FROM schema_migrations WHERE number >= 3");
	CHECK(migrate_check(p, &err) == -ENODATA && strstr(err.text, "schema 2"));
	ask(p, "DROP SCHEMA public CASCADE");
	ask(p, "CREATE SCHEMA public");
}

static void test_migrate(void **state)
{
	assert_int_equal(in_coroutine(fresh_body), 0);
}

static int total_applied, running;
static void migrate_one(void *arg)
{
	struct err err = { 0 };

	if (migrate_run(postgres.url, count_applied, &total_applied, &err) < 0) {
		fprintf(stderr, "%s\n", err.text);
		checks_failed++;
	}
	running--;
}

static void several_body(struct pg *p)
{
	char want[16];

	total_applied = 0;
	running = 5;
	for (int i = 0; i < 5; i++)
		CHECK(co_spawn("migrate", migrate_one, NULL) != NULL);
	while (running && co_sleep("migrations", 5) == 0)
		;
	snprintf(want, sizeof(want), "%d", total_applied);
	CHECK_SQL(p, "SELECT count(*) FROM schema_migrations", want);
}

static void test_migrate_by_several_at_once(void **state)
{
	assert_int_equal(in_coroutine(several_body), 0);
}

/* ---- companies and integrations ---- */
static void keep_id(const struct integration *i, void *arg)
{
	*(int64_t *)arg = *(int64_t *)arg * 1000 + i->id;
}

static void integration_body(struct pg *p)
{
	struct integration got;
	int64_t company = 0, id, other, *due = NULL, seen = 0;
	struct err err = { 0 };
	int n = 0;

	prepare(p);
	CHECK(company_add(p, "Acme's", &company, &err) == 0);
	CHECK(company_add(p, "Acme's", &other, &err) == -EEXIST);
	CHECK(company_add(p, "12", &other, &err) == -EINVAL);
	CHECK(company_add(p, "Idle", &other, &err) == 0);
	id = add_integration(p, "Acme's", "guesty", "{\"every\":\"15m\"}");
	CHECK(companies_due(p, 0, 10, &due, &n, &err) == 0 && n == 1 && due[0] == company);
	free(due);
	CHECK(integration_set_status(p, id, "paused", "by test", &err) == 0);
	CHECK(integration_touch_success(p, id, &err) == 0);
	CHECK(integration_get(p, id, &got, &err) == 0);
	CHECK(got.id == id && got.company_id == company && strcmp(got.company, "Acme's") == 0 &&
	      !got.base_url);
	CHECK(strcmp(got.environment, "production") == 0 && strcmp(got.status, "paused") == 0);
	CHECK(strcmp(got.status_reason, "by test") == 0 &&
	      strcmp(json_str(got.settings, "every"), "15m") == 0);
	CHECK(got.last_success_ms >= got.created_ms &&
	      llabs(got.created_ms - clock_real_ms()) < 60000);
	integration_clear(&got);
	other = add_integration(p, NULL, "weather", "{}");
	CHECK(integration_each(p, 0, NULL, "active", keep_id, &seen, &err) == 0 && seen == other);
	CHECK(integration_get(p, 999999, &got, &err) == -ENOENT && strstr(err.text, "999999"));
	CHECK(integration_set_status(p, 999999, "paused", NULL, &err) == -ENOENT);
}

static void test_integrations(void **state)
{
	assert_int_equal(in_coroutine(integration_body), 0);
}

static void unknown_company_body(struct pg *p)
{
	struct integration_new n = { .company = "Nobody", .partner = "guesty" };
	struct err err = { 0 };
	int64_t id = -1;

	prepare(p);
	CHECK(integration_add(p, keys, &n, &id, &err) == -ENOENT && id == -1 &&
	      strstr(err.text, "Nobody"));
	n.company = "99999999999999999999999";
	CHECK(integration_add(p, keys, &n, &id, &err) == -ENOENT);
}

static void test_unknown_company(void **state)
{
	assert_int_equal(in_coroutine(unknown_company_body), 0);
}

static void partner_body(struct pg *p)
{
	struct partner_state s;
	int64_t paused, capped, generation = 0;
	struct err err = { 0 };

	prepare(p);
	CHECK(company_add(p, "A", &capped, &err) == 0);
	add_integration(p, "A", "guesty", "{}");
	paused = add_integration(p, "A", "guesty", "{\"in_flight\":3}");
	capped = add_integration(p, "A", "guesty", "{\"in_flight\":\"5\"}");
	CHECK(integration_set_status(p, paused, "auth_broken", "x", &err) == 0);
	CHECK(partner_state_get(p, "guesty", &s, &err) == 0);
	CHECK(s.generation == 1 && !s.paused && s.n_over == 2);
	CHECK(s.over[0].integration == paused && s.over[0].cap == 0 &&
	      s.over[1].integration == capped && s.over[1].cap == 5);
	partner_state_clear(&s);
	CHECK(partner_bump_generation(p, "guesty", &generation, &err) == 0 && generation == 2);
	CHECK(partner_bump_generation(p, "other", &generation, &err) == 0 && generation == 2);
	CHECK(partner_pause(p, "guesty", &(struct pause){ .reason = "maintenance" }, &err) == 0);
	CHECK(partner_state_get(p, "guesty", &s, &err) == 0);
	CHECK(s.paused && strcmp(s.pause_reason, "maintenance") == 0 && s.generation == 2);
	CHECK(s.n_homes == 0);
	partner_state_clear(&s);
	ask(p, "UPDATE integrations SET environment = 'sandbox' WHERE status = 'auth_broken'");
	ask(p,
	    "UPDATE integrations SET base_url = 'http://h/v1' WHERE settings->>'in_flight' = '5'");
	CHECK(partner_state_get(p, "guesty", &s, &err) == 0 && s.n_homes == 2);
	CHECK(s.homes[0].integration == paused && !s.homes[0].base_url &&
	      strcmp(s.homes[0].environment, "sandbox") == 0);
	CHECK(s.homes[1].integration == capped && strcmp(s.homes[1].base_url, "http://h/v1") == 0);
	partner_state_clear(&s);
}

static void test_partner_state(void **state)
{
	assert_int_equal(in_coroutine(partner_body), 0);
}

/* ---- credentials ---- */
static void credential_body(struct pg *p)
{
	struct secret plain = SECRET_INIT, got = SECRET_INIT;
	struct integration_new n = { .company = "A", .partner = "guesty", .credentials = &plain };
	struct err err = { 0 };
	int64_t company, id = 0, other;

	prepare(p);
	secret_set(&plain, "{\"client_secret\":\"hunter22\"}", 28);
	CHECK(company_add(p, "A", &company, &err) == 0);
	CHECK(integration_add(p, keys, &n, &id, &err) == 0);
	CHECK_SQL(p,
		  "SELECT count(*) FROM credentials WHERE sealed LIKE 'v1.env.%' AND sealed NOT"
		  " LIKE '%hunter%'",
		  "1");
	CHECK(credential_get(p, keys, id, &got, &err) == 0 &&
	      strcmp(secret_reveal(&got), secret_reveal(&plain)) == 0);
	secret_clear(&got);
	other = add_integration(p, "A", "guesty", "{}");
	CHECK(credential_get(p, keys, other, &got, &err) == -ENOENT);
	ask(p,
	    "INSERT INTO credentials SELECT max(integration_id) + 1, max(sealed) FROM credentials");
	CHECK(credential_get(p, keys, other, &got, &err) ==
	      -EBADMSG); /* bound to its integration */
	CHECK(credential_put(p, keys, other, &plain, &(struct credential_change){ 0 }, &err) == 0);
	CHECK(credential_get(p, keys, other, &got, &err) == 0);
	CHECK(credential_get(p, NULL, other, &got, &err) == -ENOKEY);
	secret_clear(&got);
	secret_clear(&plain);
}

static void test_credentials(void **state)
{
	assert_int_equal(in_coroutine(credential_body), 0);
}

/* Who stores new ones may die before he has dropped what is kept of the old ones: that stands with them until somebody has. */
static void settle_body(struct pg *p)
{
	struct credential_change first, second, back;
	struct secret plain = SECRET_INIT;
	struct credential_left left[2];
	struct err err = { 0 };
	char *was = NULL;
	int64_t company, id;
	int n = 0;

	prepare(p);
	secret_set(&plain, "{\"api_key\":\"settle-1\"}", 22);
	CHECK(company_add(p, "A", &company, &err) == 0);
	id = add_integration(p, "A", "guesty", "{}");
	CHECK(credential_put(p, keys, id, &plain, &first, &err) == 0 && !first.unsettled);
	CHECK_SQL(p, "SELECT credential_version FROM integrations", "1");
	CHECK(credential_put(p, keys, id, &plain, &second, &err) == 0 && second.unsettled);
	CHECK(credential_settle(p, id, first.at, &err) == 0); /* he of the second has yet to */
	CHECK(credential_unsettled(p, 60000, left, 2, &n, &err) == 0 && n == 0);
	CHECK(credential_unsettled(p, -60000, left, 2, &n, &err) == 0 && n == 1);
	CHECK(left[0].integration_id == id && strcmp(left[0].partner, "guesty") == 0);
	CHECK(strcmp(left[0].at, second.at) == 0);
	CHECK(credential_settle(p, id, left[0].at, &err) == 0);
	CHECK(credential_unsettled(p, -60000, left, 2, &n, &err) == 0 && n == 0);
	CHECK_SQL(p, "SELECT credential_version FROM integrations", "4");
	/* A rotation, and its undoing. */
	CHECK(credential_sealed(p, id, &was, &err) == 0);
	CHECK(credential_replace(p, keys, id, was, &plain, &back, &err) == 0 && !back.unsettled);
	CHECK(credential_unsettled(p, -60000, left, 2, &n, &err) == 0 && n == 1);
	CHECK(credential_settle(p, id, back.at, &err) == 0);
	CHECK(credential_restore(p, id, &back, &err) == 0);
	CHECK(credential_unsettled(p, -60000, left, 2, &n, &err) == 0 && n == 1);
	CHECK(strcmp(left[0].at, back.at) == 0);
	CHECK(credential_restore(p, id, &back, &err) == -ESTALE);
	CHECK_SQL(p, "SELECT credential_version FROM integrations", "7");
	free(was);
	secret_clear(&plain);
}

static void test_a_change_is_settled(void **state)
{
	assert_int_equal(in_coroutine(settle_body), 0);
}

static int64_t minting;
static int minted, refused;
static struct pg *mint_pool;
static void mint_one(void *arg)
{
	struct err err = { 0 };
	int rc = credential_count_mint(mint_pool, minting, 5, 3600 * 1000, &err);

	if (rc == 0)
		minted++;
	else if (rc == -EAGAIN && err.class == ERR_HOLD && err.retry_after_ms > 3500 * 1000 &&
		 err.retry_after_ms <= 3600 * 1000)
		refused++;
	running--;
}

/* Thirty at once over four connections: the lock must make five of them the only ones. */
static void mint_body(struct pg *p)
{
	struct err err = { 0 };
	int64_t company;

	prepare(p);
	CHECK(company_add(p, "A", &company, &err) == 0);
	minting = add_integration(p, "A", "guesty", "{}");
	mint_pool = p;
	running = 30;
	for (int i = 0; i < 30; i++)
		CHECK(co_spawn("mint", mint_one, NULL) != NULL);
	while (running && co_sleep("mints", 5) == 0)
		;
	CHECK(minted == 5 && refused == 25);
	ask(p, "UPDATE token_mints SET minted_at = minted_at - interval '59 minutes 58 seconds'");
	CHECK(credential_count_mint(p, minting, 5, 3600 * 1000, &err) == -EAGAIN &&
	      err.retry_after_ms <= 2000);
	ask(p, "UPDATE token_mints SET minted_at = minted_at - interval '3 seconds'");
	CHECK(credential_count_mint(p, minting, 5, 3600 * 1000, &err) == 0);
	CHECK(credential_count_mint(p, 999999, 5, 1000, &err) == -ENOENT);
}

static void test_mints_are_counted_under_a_lock(void **state)
{
	assert_int_equal(in_coroutine(mint_body), 0);
}

/* ---- runs, checkpoints ---- */
static int send_runs(struct pg *p, const struct run *v, int n)
{
	struct pg_params params;
	struct err err = { 0 };
	int rc;

	pg_params_init(&params);
	run_upsert_params(&params, v, n);
	rc = pg_exec(p, run_upsert_sql(), &params, NULL, loop_now_ms() + 10000, &err);
	pg_params_clear(&params);
	if (rc < 0)
		fprintf(stderr, "%s\n", err.text);
	return rc;
}

static void others_ran(void *arg)
{
	*(bool *)arg = true;
}

/* By one connection, whose answers come in their order. */
static void ids_body(struct pg *p)
{
	struct pg *one = NULL;
	struct err err = { 0 };
	int64_t id = 0;
	bool waited = false;

	prepare(p);
	CHECK(pg_new(&(struct pg_options){ .url = postgres.url, .max_connections = 1 }, &one,
		     &err) == 0);
	CHECK(run_new_id(one, &id, &err) == 0);
	for (int i = 0; i < 1500 && !waited; i++) {
		if (i % 50 == 0)
			CHECK_SQL(one, "SELECT 1", "1");
		loop_defer(others_ran, &waited);
		CHECK(run_new_id(one, &id, &err) == 0);
		loop_undefer(others_ran, &waited);
	}
	CHECK(!waited);
	pg_free(one);
}

static void runs_body(struct pg *p)
{
	struct run v[3] = { { .task = "import_resources",
			      .job_id = "night",
			      .state = "running",
			      .started_ms = 1000,
			      .total = -1 },
			    { .task = "import_media",
			      .job_id = "day",
			      .state = "running",
			      .started_ms = 2000,
			      .total = 40,
			      .processed = 10 } };
	struct err err = { 0 };
	int64_t id = -1;
	bool done = true;

	prepare(p);
	CHECK(run_new_id(p, &v[0].id, &err) == 0 && run_new_id(p, &v[1].id, &err) == 0);
	CHECK(v[1].id == v[0].id + 1);
	v[1].root_id = v[0].id;
	v[2] = v[0];
	v[2].processed = 7;
	CHECK(send_runs(p, v, 3) == 0); /* the same run twice: the last one counts */
	CHECK_SQL(p,
		  "SELECT string_agg(processed || ':' || (root_id = id) || ':' ||"
		  " coalesce(total::text, '-'), ' ' ORDER BY id) FROM runs",
		  "7:true:- 10:false:40");
	v[0].state = "done";
	v[0].finished_ms = 5000;
	v[0].counts = (struct run_counts){ 1, 2, 3, 4, 5, 6, 7, 8, 9 };
	CHECK(send_runs(p, v, 1) == 0);
	CHECK(send_runs(p, &v[2], 1) == 0); /* a late report opens nothing again */
	CHECK_SQL(p,
		  "SELECT concat_ws(' ', state, added, updated, unchanged, stale, undeleted,"
		  " deleted, failed, pages, calls,"
		  " extract(epoch FROM finished_at)::int) FROM runs ORDER BY id LIMIT 1",
		  "done 1 2 3 4 5 6 7 8 9 5");
	CHECK_SQL(p, "SELECT percent FROM run_progress WHERE total = 40", "25.0");
	CHECK(run_find(p, "import_media", "day", 2000, &id, &done, &err) == 0);
	CHECK(id == v[1].id && !done);
	CHECK(run_find(p, "import_resources", "night", 900, &id, &done, &err) == 0);
	CHECK(id == v[0].id && done);
	CHECK(run_find(p, "import_resources", "night", 1001, &id, &done, &err) == 0);
	CHECK(id == 0 && !done); /* that one was of an earlier push */
	CHECK(run_find(p, "import_media", "night", 0, &id, &done, &err) == 0 && id == 0);
}

static void test_ids_are_there_before_they_are_needed(void **state)
{
	assert_int_equal(in_coroutine(ids_body), 0);
}

static void test_runs(void **state)
{
	assert_int_equal(in_coroutine(runs_body), 0);
}

static void checkpoint_body(struct pg *p)
{
	cJSON *state = cJSON_CreateObject();
	struct checkpoint got;
	struct err err = { 0 };
	int64_t company, id;

	prepare(p);
	cJSON_AddNumberToObject(state, "skip", 200);
	cJSON_AddStringToObject(state, "since", "2026-11-21T00:00:00Z");
	CHECK(company_add(p, "A", &company, &err) == 0);
	id = add_integration(p, "A", "guesty", "{}");
	CHECK(checkpoint_get(p, id, "listings", &got, &err) == -ENOENT);
	CHECK(checkpoint_put(p, id, "listings", "job1", state, 2, 10, &err) == 0);
	CHECK(checkpoint_put(p, id, "listings", "job1", state, 2, 10, &err) ==
	      0); /* the same claim, its next page */
	CHECK(checkpoint_put(p, id, "listings", "job0", NULL, 2, 9, &err) == -ESTALE);
	CHECK(checkpoint_put(p, id, "listings", "job0", NULL, 1, 99, &err) == -ESTALE);
	CHECK(checkpoint_get(p, id, "listings", &got, &err) == 0);
	CHECK(strcmp(got.job_id, "job1") == 0 && got.generation == 2 && got.fence == 10);
	CHECK(json_path(got.state, "skip")->valueint == 200);
	checkpoint_clear(&got);
	CHECK(checkpoint_put(p, id, "listings", "job1", NULL, 3, 1, &err) == 0);
	CHECK(checkpoint_get(p, id, "listings", &got, &err) == 0);
	CHECK(!json_path(got.state, "skip") &&
	      strcmp(json_str(got.state, "since"), "2026-11-21T00:00:00Z") == 0);
	checkpoint_clear(&got);
	cJSON_Delete(state);
}

static void test_checkpoints(void **state)
{
	assert_int_equal(in_coroutine(checkpoint_body), 0);
}

/* ---- what went wrong ---- */
/* Who marks an integration tells a person, or neither is so: the next one who is refused does it again. */
static void stop_body(struct pg *p)
{
	const struct stop s = { "refused", "auth_broken", "integration:1", "what", "todo" },
			  all = { "locked out", "suspended", "partner:guesty", "what", "todo" };
	struct err err = { 0 };
	int64_t id;

	prepare(p);
	id = add_integration(p, NULL, "guesty", "{}");
	ask(p, "CREATE FUNCTION refuse_alert() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RAISE"
	       " 'no'; END $$");
	ask(p, "CREATE TRIGGER refuse_alert BEFORE INSERT ON alerts FOR EACH ROW EXECUTE FUNCTION"
	       " refuse_alert()");
	CHECK(integration_stop(p, id, "auth_broken", &s, &err) == -EPROTO);
	CHECK(partner_stop(p, "guesty", &all, &err) == -EPROTO);
	CHECK_SQL(p, "SELECT status FROM integrations", "active");
	CHECK_SQL(p, "SELECT count(*) FROM partner_states WHERE paused", "0");
	ask(p, "DROP FUNCTION refuse_alert CASCADE");
	CHECK(integration_stop(p, id, "auth_broken", &s, &err) == 0);
	CHECK(integration_stop(p, id, "auth_broken", &s, &err) == 0);
	CHECK(integration_stop(p, id + 1, "auth_broken", &s, &err) == -ENOENT);
	CHECK(partner_stop(p, "guesty", &all, &err) == 0);
	CHECK_SQL(p, "SELECT status || ' ' || status_reason FROM integrations",
		  "auth_broken refused");
	CHECK_SQL(p, "SELECT pause_reason FROM partner_states WHERE paused", "locked out");
	CHECK_SQL(
		p,
		"SELECT string_agg(scope || ' ' || severity || ' ' || count, ', ' ORDER BY scope) FROM alerts",
		"integration:1 critical 2, partner:guesty critical 1");
}

static void test_stops(void **state)
{
	assert_int_equal(in_coroutine(stop_body), 0);
}

static void keep_letter(const char *partner, const char *id, const char *json, int64_t failed_at_ms,
			void *arg)
{
	struct buf *b = arg;

	buf_printf(b, "%s %s %lld %s\n", partner, id, (long long)failed_at_ms, json);
}

static void copy_letters(struct pg *p, const char *const *letters, int n)
{
	size_t lens[8];
	struct err err = { 0 };

	for (int i = 0; i < n; i++)
		lens[i] = strlen(letters[i]);
	if (deadletter_copy(p, "guesty", letters, lens, n, &err) < 0) {
		fprintf(stderr, "%s\n", err.text);
		checks_failed++;
	}
}

static void deadletter_body(struct pg *p)
{
	static const char *const letters[] = {
		"{\"id\":\"a\",\"class\":\"client\",\"integration_id\":7,\"error\":\"404\",\"failed_at\":1700000000123,\"payload\":\"\\u0000 \\ud800\"}",
		"{\"id\":\"b\",\"class\":\"data\",\"integration_id\":8,\"error\":\"bad\",\"failed_at\":1700000001000}",
		"no letter at all",
	};
	static const char *const again[] = {
		"{\"id\":\"a\",\"class\":\"auth\",\"failed_at\":1700000000123}",
		"{\"id\":\"b\",\"class\":\"auth\",\"failed_at\":1700000009000}",
	};
	struct deadletter_filter f = { .integration_id = 7 };
	struct buf seen = BUF_INIT;
	struct err err = { 0 };

	prepare(p);
	copy_letters(p, letters, 3);
	copy_letters(p, letters, 3);
	CHECK_SQL(p, "SELECT count(*) FROM dead_letters", "3");
	CHECK(deadletter_set_state(p, "b", "replayed", &err) == 0);
	CHECK(deadletter_set_state(p, "nothing", "replayed", &err) == -ENOENT);
	copy_letters(p, again, 2); /* a: left alone; b: died anew */
	CHECK_SQL(p,
		  "SELECT string_agg(id || class || state, ' ' ORDER BY id) FROM dead_letters WHERE"
		  " id IN ('a', 'b')",
		  "aclientdead bauthdead");
	CHECK(deadletter_each(p, &f, keep_letter, &seen, &err) == 0);
	CHECK(strncmp(buf_str(&seen), "guesty a 1700000000123 {", 24) == 0 &&
	      strstr(buf_str(&seen), "\\u0000 \\ud800"));
	buf_reset(&seen);
	f = (struct deadletter_filter){ .class = "auth", .since_ms = 1700000009000 };
	CHECK(deadletter_each(p, &f, keep_letter, &seen, &err) == 0 &&
	      strncmp(buf_str(&seen), "guesty b ", 9) == 0);
	buf_clear(&seen);
}

/* What was told of an event ends with its job's letter, once. */
static void letters_of_events_body(struct pg *p)
{
#define LETTER(id, class, integration, event, failed)                                           \
	"{\"id\":\"" id "\",\"task\":\"process_webhook\",\"class\":\"" class                    \
		"\",\"error\":\"why\",\"integration_id\":" integration ",\"failed_at\":" failed \
		",\"payload\":\"{\\\"args\\\":{\\\"event_id\\\":\\\"" event "\\\"}}\"}"
	static const char *const letters[] = {
		LETTER("la", "poison", "1", "crashed", "1700000000000"),
		LETTER("lb", "purged", "1", "purged", "1700000000000"),
		LETTER("lc", "data", "1", "ended", "1700000000000"),
		LETTER("ld", "poison", "2", "crashed", "1700000000000"),
	};
	static const char *const again[] = {
		LETTER("la", "poison", "1", "crashed", "1700000000000"),
		LETTER("lb", "poison", "1", "purged", "1700000009000"),
	};
#undef LETTER
	struct webhook_event v[4] = { { .event_id = "crashed" },
				      { .event_id = "purged", .state = WEBHOOK_WAITING },
				      { .event_id = "ended", .state = WEBHOOK_DONE },
				      { .event_id = "open" } };
	const char *states =
		"SELECT string_agg(event_id || ' ' || state || coalesce(' ' || reason, ''), ', ' ORDER BY"
		" event_id) FROM webhook_events";
	struct pg_params params;
	struct err err = { 0 };

	prepare(p);
	for (int i = 0; i < 4; i++) {
		v[i].integration_id = 1;
		v[i].partner = "guesty";
		v[i].event = "e";
		v[i].received_us = 1600000000000000;
	}
	pg_params_init(&params);
	webhook_upsert_params(&params, v, 4);
	CHECK(query(p, webhook_upsert_sql(), &params, NULL, &err) == 0);
	copy_letters(p, letters, 4);
	CHECK_SQL(
		p, states,
		"crashed failed poison: why, ended done, open received, purged ignored purged: why");
	/* Replayed since, and under way: the letters are copied again, and of the second job there is one as well. */
	CHECK(webhook_queued_again(p, 1, "crashed", 1, NULL, &err) == 0);
	CHECK(webhook_queued_again(p, 1, "purged", 2, "replayed", &err) == 0);
	copy_letters(p, again, 2);
	CHECK_SQL(p, states,
		  "crashed received, ended done, open received, purged failed poison: why");
}

/* A request whose job never came to its row has failed with the letter; where a step may have been done a person is asked. */
static void letters_of_requests_body(struct pg *p)
{
#define LETTER(id, task, header, more)                                         \
	"{\"id\":\"" id "\",\"task\":\"" task "\",\"job\":\"" header "\"" more \
	",\"class\":\"bad_job\",\"error\":\"why\",\"failed_at\":1700000000000}"
	static const char *const letters[] = {
		LETTER("l1", "charge", "req-1.1", ""),
		LETTER("l2", "charge", "req-2.1", ""), /* queued once more since */
		LETTER("l3", "charge", "mine", ",\"header\":\"h-3\",\"origin\":\"h-3\""),
		LETTER("l4", "charge", "h-4", ""),
		LETTER("l5", "charge", "h-5", ",\"origin\":\"o-5\""),
		LETTER("l6", "charge", "h-6", ""), /* another job works on it */
		LETTER("l7", "charge", "h-7", ""), /* it has ended */
		LETTER("l8", "noop", "h-4", ""),
	};
#undef LETTER
	const char *states =
		"SELECT string_agg(id || ' ' || state || coalesce(' ' || letter_id, ''),"
		" ', ' ORDER BY id) FROM outbound_requests";

	prepare(p);
	ask(p, "TRUNCATE outbound_requests RESTART IDENTITY CASCADE");
	ask(p,
	    "INSERT INTO outbound_requests (partner, integration_id, action, state, job, entry,"
	    " fingerprint, source, lane, steps, deadline_at, queued_at, queued_times, job_id) SELECT"
	    " 'guesty', 1, 'charge', s, '{}', e, '', 'http', 'normal', 1, now(), now(), t, j FROM"
	    " (VALUES ('pending', 'http:1', 1, NULL), ('pending', 'http:2', 2, 'req-2.1'),"
	    " ('pending', 'key:3', 0, 'h-3'), ('running', 'key:4', 0, 'h-4'),"
	    " ('pending', 'job:o-5', 0, NULL), ('running', 'key:6', 0, 'other'),"
	    " ('done', 'key:7', 0, 'h-7')) AS v (s, e, t, j)");
	ask(p, "INSERT INTO outbound_steps (request_id, kind, step, name, state) VALUES"
	       " (3, 'do', 0, 'create', 'done'), (4, 'do', 0, 'create', 'sent')");
	copy_letters(p, letters, 8);
	CHECK_SQL(
		p, states,
		"1 failed l1, 2 pending, 3 failed l3, 4 unknown l4, 5 failed l5, 6 running, 7 done");
	CHECK_SQL(
		p,
		"SELECT string_agg(scope || ' ' || state, ', ') FROM alerts WHERE kind = 'outbound_unknown'",
		"request:4 open");
	CHECK_SQL(
		p,
		"SELECT class || ' ' || error || ' ' || (finished_at IS NOT NULL) FROM outbound_requests WHERE id = 1",
		"bad_job why true");
	/* Resolved since, or replayed: the letter is copied again, and ends nothing. */
	ask(p, "UPDATE outbound_requests SET state = 'pending' WHERE id = 1");
	copy_letters(p, letters, 8);
	CHECK_SQL(p, "SELECT state FROM outbound_requests WHERE id = 1", "pending");
}

static void test_letters_of_requests(void **state)
{
	assert_int_equal(in_coroutine(letters_of_requests_body), 0);
}

static void test_letters_of_events(void **state)
{
	assert_int_equal(in_coroutine(letters_of_events_body), 0);
}

static void test_dead_letters(void **state)
{
	assert_int_equal(in_coroutine(deadletter_body), 0);
}

static void rejected_body(struct pg *p)
{
	struct rejected v[2] = {
		{ .integration_id = 1,
		  .collection = "listings",
		  .external_id = "x",
		  .field = "name",
		  .reason = "missing",
		  .item_json = "{\"a\":\"\\u0000\"}",
		  .page = 1 },
		{ .integration_id = 1, .collection = "listings", .reason = "no id 17", .page = 1 }
	};
	struct pg_params params;

	prepare(p);
	for (int i = 0; i < 2; i++) { /* written twice, there once */
		pg_params_init(&params);
		rejected_insert_params(&params, v, 2);
		CHECK(pg_exec(p, rejected_insert_sql(), &params, NULL, loop_now_ms() + 10000,
			      NULL) == 0);
		pg_params_clear(&params);
	}
	CHECK_SQL(p, "SELECT count(*) FROM rejected_items", "2");
	for (int i = 0; i < 4;
	     i++) { /* an import's next attempt has another run, tonight's is another import */
		v[0].run_id = 7 + i;
		v[0].import_id = i < 3 ? "last night's" : "tonight's";
		pg_params_init(&params);
		rejected_insert_params(&params, v, 1);
		CHECK(pg_exec(p, rejected_insert_sql(), &params, NULL, loop_now_ms() + 10000,
			      NULL) == 0);
		pg_params_clear(&params);
	}
	CHECK_SQL(p, "SELECT count(*) FROM rejected_items", "4");
	CHECK_SQL(p, "SELECT string_agg(pattern, ' | ' ORDER BY pattern) FROM dead_letter_patterns",
		  "name: missing | no id #");
}

static void test_rejected_items(void **state)
{
	assert_int_equal(in_coroutine(rejected_body), 0);
}

static void alert_body(struct pg *p)
{
	struct err err = { 0 };
	const char *sql = "SELECT concat_ws(' ', state, severity, count, what) FROM alerts";

	prepare(p);
	CHECK(alert_raise(p, "auth", "warning", "integration:1", "w", "t", &err) == 0);
	CHECK(alert_raise(p, "auth", "critical", "integration:1", "w2", "t", &err) == 0);
	CHECK_SQL(p, sql, "open critical 2 w2");
	CHECK(alert_resolve(p, "auth", "integration:1", &err) == 0);
	CHECK_SQL(p, sql, "resolved critical 2 w2");
	CHECK(alert_raise(p, "auth", "warning", "integration:1", "w3", "t", &err) == 0);
	CHECK_SQL(p, sql, "open warning 1 w3");
	struct pg_array kept;

	CHECK(alert_raise(p, "breaker_open", "critical", "p one", "w", "t", &err) == 0);
	CHECK(alert_raise(p, "breaker_open", "critical", "p two", "w", "t", &err) == 0);
	pg_array_init(&kept, PG_TEXT);
	pg_array_text(&kept, "p two", 5);
	CHECK(alert_resolve_others(p, "breaker_open", &kept, &err) == 0);
	sql = "SELECT string_agg(scope, ',' ORDER BY scope) FROM alerts WHERE state = 'open'";
	CHECK_SQL(p, sql, "integration:1,p two");
	pg_array_init(&kept, PG_TEXT);
	CHECK(alert_resolve_others(p, "breaker_open", &kept, &err) == 0);
	CHECK_SQL(p, sql, "integration:1");
}

/* ---- what is owed ---- */
static void count_owed(const char *partner, int64_t n, void *arg)
{
	CHECK(strcmp(partner, "guesty") == 0);
	*(int64_t *)arg += n;
}

static void catchup_body(struct pg *p)
{
	struct err err = { 0 };
	struct catchup *v = NULL;
	int64_t company, ids[2], broken = 0;
	int n = 0;

	prepare(p);
	CHECK(company_add(p, "A", &company, &err) == 0);
	ids[0] = add_integration(p, "A", "guesty", "{}");
	ids[1] = add_integration(p, "A", "guesty", "{}");
	add_integration(p, "A", "guesty", "{}");
	CHECK(catchup_owe(p, NULL, 0, &err) == 0);
	CHECK(catchup_owe(p, ids, 1, &err) == 0);
	CHECK(integration_set_status(p, ids[1], "auth_broken", "x", &err) == 0);
	CHECK(catchup_owe_broken(p, count_owed, &broken, &err) == 0 && broken == 1);
	CHECK(catchup_due(p, &v, &n, &err) == 0 && n == 1);
	CHECK(n == 1 && v[0].integration == ids[0] && strcmp(v[0].partner, "guesty") == 0);
	/* Owed once, however often it is said; what is owed anew is not paid with the old one. */
	CHECK(catchup_owe(p, ids, 2, &err) == 0);
	ask(p, "UPDATE integrations SET catch_up_since = catch_up_since + interval '1 s'");
	CHECK(catchup_paid(p, &v[0], &err) == 0);
	catchup_free(v, n);
	CHECK(integration_set_status(p, ids[1], "active", NULL, &err) == 0);
	CHECK(catchup_due(p, &v, &n, &err) == 0 && n == 2);
	for (int i = 0; i < n; i++)
		CHECK(catchup_paid(p, &v[i], &err) == 0);
	catchup_free(v, n);
	CHECK(catchup_due(p, &v, &n, &err) == 0 && n == 0);
	catchup_free(v, n);
}

static void test_catching_up(void **state)
{
	assert_int_equal(in_coroutine(catchup_body), 0);
}

static void test_alerts(void **state)
{
	assert_int_equal(in_coroutine(alert_body), 0);
}

static void health_body(struct pg *p)
{
	struct err err = { 0 };
	int64_t company, id;

	prepare(p);
	CHECK(company_add(p, "A", &company, &err) == 0);
	id = add_integration(p, "A", "guesty", "{}");
	CHECK_SQL(p, "SELECT health FROM integration_health", "new");
	CHECK(integration_touch_success(p, id, &err) == 0);
	CHECK_SQL(p, "SELECT health FROM integration_health", "healthy");
	ask(p, "INSERT INTO dead_letters (id, partner, integration_id, class, failed_at, letter)"
	       " SELECT 'x', 'guesty', id, 'data', now(), '{}' FROM integrations");
	CHECK_SQL(p, "SELECT health || ': ' || why FROM integration_health",
		  "degraded: 1 dead letters in the last 24 hours");
	CHECK(integration_set_status(p, id, "auth_broken", "invalid_client", &err) == 0);
	CHECK_SQL(p, "SELECT health || ': ' || why FROM integration_health",
		  "down: invalid_client");
}

static void test_health(void **state)
{
	assert_int_equal(in_coroutine(health_body), 0);
}

static int set_up(void **state)
{
	setenv("LONGSHORE_SECRET_KEY", "MDEyMzQ1Njc4OTAxMjM0NTY3ODkwMTIzNDU2Nzg5MDE=", 1);
	return keyring_load("", &keys, NULL) < 0 ? -1 : postgres_start(state);
}

static int tear_down(void **state)
{
	keyring_free(keys);
	return postgres_stop(state);
}

/* ---- outbound requests into their queues ---- */

/* As they come: PARTNER, or PARTNER and the number of the integration. */
static void check_due(struct pg *p, const struct request_turn *turns, int n_turns, int n,
		      const char *begin)
{
	struct request_due *v = NULL;
	struct buf got = BUF_INIT;
	struct err err = { 0 };
	int count = 0;

	CHECK(request_due(p, 0, turns, n_turns, &v, &count, &err) == 0);
	CHECK(count == n);
	for (int i = 0; i < count; i++)
		buf_printf(&got, "%s%lld ", v[i].partner, (long long)v[i].integration_id);
	if (strncmp(buf_str(&got), begin, strlen(begin)) != 0) {
		fprintf(stderr, "due: %.200s\nnot:  %s\n", buf_str(&got), begin);
		checks_failed++;
	}
	buf_clear(&got);
	request_due_free(v, count);
}

/* Many of one partner, of one lane or customer, and few of others behind them. */
static void due_body(struct pg *p)
{
	struct request_turn behind = { .partner = "big" };
	struct pg_params none;
	PGresult *res = NULL;
	struct err err = { 0 };

	prepare(p);
	ask(p,
	    "INSERT INTO outbound_requests (partner, integration_id, action, state, job, entry,"
	    " fingerprint, source, lane, steps, deadline_at, updated_at) SELECT x.partner, x.n, 'a',"
	    " 'pending', '{}', x.partner || x.n, '', 'http', 'normal', 1, now(), now() - interval '1 s'"
	    " FROM (SELECT 'big' AS partner, n FROM generate_series(1, 300) n UNION ALL"
	    " SELECT 'small', n FROM generate_series(1, 2) n UNION ALL SELECT 'tiny', 7) x");
	check_due(p, NULL, 0, REQUEST_TURN + 3, "big1 small1 tiny7 big2 small2 big3 ");
	pg_params_init(&none);
	CHECK(query(p, "SELECT max(id) FROM outbound_requests WHERE partner = 'big'", &none, &res,
		    &err) == 0);
	behind.after_id = pg_get_int(res, 0, 0) - 2;
	PQclear(res);
	check_due(p, &behind, 1, 2 + 3, "big299 small1 tiny7 big300 small2 ");
	/* Queued: into a Redis that was lost since, or not. */
	ask(p, "UPDATE outbound_requests SET queued_at = now(), queued_generation = 1");
	check_due(p, NULL, 0, 0, "");
	ask(p,
	    "INSERT INTO partner_states (partner, generation) VALUES ('big', 2), ('small', 2), ('tiny', 1)");
	ask(p,
	    "UPDATE outbound_requests SET queued_at = NULL WHERE partner = 'small' AND integration_id = 2");
	check_due(p, NULL, 0, REQUEST_TURN + 2, "big1 small1 big2 small2 big3 ");
	ask(p, "UPDATE outbound_requests SET state = 'done'");
	check_due(p, NULL, 0, 0, "");
	ask(p, "DELETE FROM outbound_requests");
}

static void test_each_partner_has_its_turn(void **state)
{
	assert_int_equal(in_coroutine(due_body), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_migrate),
		cmocka_unit_test(test_migrate_by_several_at_once),
		cmocka_unit_test(test_integrations),
		cmocka_unit_test(test_unknown_company),
		cmocka_unit_test(test_partner_state),
		cmocka_unit_test(test_credentials),
		cmocka_unit_test(test_a_change_is_settled),
		cmocka_unit_test(test_mints_are_counted_under_a_lock),
		cmocka_unit_test(test_runs),
		cmocka_unit_test(test_ids_are_there_before_they_are_needed),
		cmocka_unit_test(test_checkpoints),
		cmocka_unit_test(test_stops),
		cmocka_unit_test(test_dead_letters),
		cmocka_unit_test(test_letters_of_events),
		cmocka_unit_test(test_letters_of_requests),
		cmocka_unit_test(test_rejected_items),
		cmocka_unit_test(test_alerts),
		cmocka_unit_test(test_catching_up),
		cmocka_unit_test(test_health),
		cmocka_unit_test(test_each_partner_has_its_turn),
	};

	return cmocka_run_group_tests(tests, set_up, tear_down);
}
