/* For tests of credentials, beside partner.h and postgres.h: what stands in the two stores. */
#ifndef TESTS_UNIT_AUTH_BENCH_H
#define TESTS_UNIT_AUTH_BENCH_H

#include "common/store/grant.h"
#include "drivers/kit/auth_store.h"
#include "tests/unit/partner.h"
#include "tests/unit/postgres.h"

#define COLLECTION                                                                                                   \
	",\"collections\":{\"things\":{\"get\":\"/things\",\"records\":\"@\",\"id\":\"id\",\"table\":\"resources\"," \
	"\"map\":{\"name\":\"name\"}}}"

static struct pg *pg;
static void (*body)(void);

/* The first value of a query, "" for none. */
static inline const char *ask(const char *sql)
{
	static char text[1024];
	struct err err = { 0 };
	PGresult *res = NULL;

	text[0] = 0;
	if (pg_execv(pg, &res, loop_now_ms() + 10000, &err, sql, NULL) < 0)
		fprintf(stderr, "%s\n", err.text);
	OK(res != NULL);
	if (res && PQresultStatus(res) == PGRES_TUPLES_OK && PQntuples(res) &&
	    !PQgetisnull(res, 0, 0))
		keep(text, sizeof(text), PQgetvalue(res, 0, 0));
	PQclear(res);
	return text;
}

static inline int64_t add_integration(const char *credentials)
{
	cJSON *settings = cJSON_CreateObject();
	struct secret secret = SECRET_INIT;
	struct integration_new n = {
		.company = "Sunny", .partner = "acme", .settings = settings, .credentials = &secret
	};
	struct err err = { 0 };
	int64_t id = 0;

	secret_set(&secret, credentials, strlen(credentials));
	OK(integration_add(pg, keyring, &n, &id, &err) == 0);
	secret_clear(&secret);
	cJSON_Delete(settings);
	return id;
}

static inline void store_credentials(int64_t id, const char *credentials)
{
	struct secret secret = SECRET_INIT;

	secret_set(&secret, credentials, strlen(credentials));
	OK(credential_put(pg, keyring, id, &secret, &(struct credential_change){ 0 }, NULL) == 0);
	secret_clear(&secret);
}

static inline void forget(const char *what, int64_t id)
{
	char key[80];

	snprintf(key, sizeof(key), "%s:{acme}:%lld", what, (long long)id);
	redis_run("DEL", key);
}

static inline bool stands(const char *what, int64_t id)
{
	char key[80];
	redisReply *reply = NULL;
	bool there;

	snprintf(key, sizeof(key), "%s:{acme}:%lld", what, (long long)id);
	OK(redis_callv(redis, &reply, loop_now_ms() + PATIENCE_MS, NULL, "EXISTS", key, NULL) == 0);
	there = reply && reply->integer == 1;
	freeReplyObject(reply);
	return there;
}

/* A restart: nothing in the process, and nobody remembers that the token endpoint failed. */
static inline void restart(struct bench *b)
{
	struct door_options o = { .redis = redis,
				  .pg = pg,
				  .keyring = keyring,
				  .epoch = "test-3",
				  .permit_wait_ms = 5000 };

	forget("tokenfail", b->integration.id);
	door_free(b->door);
	b->door = b->caller.door = door_new(&o);
}

static void applied(int number, const char *name, void *arg)
{
}

static void with_both(void)
{
	struct pg_options o = { .url = postgres.url, .application_name = "test" };
	struct err err = { 0 };

	OK(pg_new(&o, &pg, &err) == 0);
	OK(pg_wait_up(pg, loop_now_ms() + 30000, &err) == 0);
	OK(migrate_run(postgres.url, applied, NULL, &err) == 0);
	if (err.text[0])
		fprintf(stderr, "%s\n", err.text);
	ask("INSERT INTO companies (name) VALUES ('Sunny') ON CONFLICT DO NOTHING");
	body();
	pg_free(pg);
}

#define TEST(name)                                       \
	static void test_##name(void **state)            \
	{                                                \
		body = body_##name;                      \
		assert_int_equal(on_loop(with_both), 0); \
	}
#define ON_LOOP(name) cmocka_unit_test_setup_teardown(test_##name, auth_begin, auth_end)

static int auth_setup(void **state)
{
	if (partner_setup(state) < 0 || http_global_init() < 0 || postgres_start(state) < 0)
		return -1;
	loop_close();
	return 0;
}

static int auth_teardown(void **state)
{
	(void)in_coroutine;
	if (loop_init() < 0)
		return -1;
	postgres_stop(state);
	return partner_teardown(state);
}

static int auth_begin(void **state)
{
	return loop_init();
}

static int auth_end(void **state)
{
	loop_close();
	return 0;
}

#endif
