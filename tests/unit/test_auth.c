/* Credentials and tokens: a real Redis, a real Postgres, and a token endpoint in this process. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "drivers/kit/auth_store.h"
#include "tests/unit/partner.h"
#include "tests/unit/postgres.h"

#define COLLECTION                                                                                                   \
	",\"collections\":{\"things\":{\"get\":\"/things\",\"records\":\"@\",\"id\":\"id\",\"table\":\"resources\"," \
	"\"map\":{\"name\":\"name\"}}}"
#define OAUTH(more)                                                                                                  \
	",\"auth\":{\"kind\":\"oauth2_client_credentials\",\"token_url\":\"https://api.acme.example/oauth2/token\"," \
	"\"params\":{\"scope\":\"open api\"}" more "}" COLLECTION
#define CLIENT "{\"client_id\":\"acme-7\",\"client_secret\":\"sesame-and-more\"}"

static struct pg *pg;
static const char *token_answer; /* NULL: tokens numbered from 1 */
static int token_status, tokens, expires_in,
	refused_below; /* a data call with an older token is refused */
static bool token_slow;

static void answer_token(struct httpd_request *q)
{
	char json[200];

	tokens++;
	if (token_slow)
		OK(co_sleep("slow token endpoint", 300) == 0);
	if (token_answer) {
		reply_json(q, token_status, token_answer);
		return;
	}
	snprintf(json, sizeof(json),
		 "{\"token_type\":\"Bearer\",\"access_token\":\"tok-number-%d\",\"expires_in\":%d}",
		 tokens, expires_in);
	reply_json(q, 200, json);
}

static void answer(struct httpd_request *q, int number)
{
	const char *auth = httpd_header(q, "Authorization");

	if (strcmp(httpd_path(q), "/oauth2/token") == 0) {
		answer_token(q);
		return;
	}
	if (auth && strncmp(auth, "Bearer tok-number-", 18) == 0 &&
	    strtol(auth + 18, NULL, 10) < refused_below)
		reply_json(q, 401, "{\"message\":\"expired\"}");
	else
		reply_json(q, 200, "{}");
}

static int data_calls(void)
{
	int n = 0;

	for (int i = 0; i < partner.n && i < ARRIVALS_MAX; i++)
		n += strcmp(partner.arrivals[i].path, "/oauth2/token") != 0;
	return n;
}

static const struct arrival *last_data_call(void)
{
	for (int i = partner.n - 1; i >= 0; i--)
		if (strcmp(partner.arrivals[i].path, "/oauth2/token") != 0)
			return &partner.arrivals[i];
	return NULL;
}

static const char *ask(const char *sql)
{
	static char text[512];
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

static int64_t add_integration(const char *credentials)
{
	cJSON *settings = cJSON_CreateObject();
	struct secret secret = SECRET_INIT;
	struct integration_new n = {
		.company = "Sunny", .partner = "acme", .settings = settings, .credentials = &secret
	};
	struct err err = { 0 };
	int64_t id = 0;

	if (credentials)
		secret_set(&secret, credentials, strlen(credentials));
	else
		n.credentials = NULL;
	OK(integration_add(pg, keyring, &n, &id, &err) == 0);
	secret_clear(&secret);
	cJSON_Delete(settings);
	return id;
}

static void rotate(int64_t id, const char *credentials)
{
	struct secret secret = SECRET_INIT;

	secret_set(&secret, credentials, strlen(credentials));
	OK(credential_put(pg, keyring, id, &secret, &(struct credential_change){ 0 }, NULL) == 0);
	secret_clear(&secret);
}

/* A token as another worker left it in Redis. */
static void seed_token(int64_t id, const char *access, int64_t minted_ago_ms, int64_t expires_in_ms)
{
	char key[64], context[64], json[300];
	int64_t now = redis_now_ms(redis);
	struct buf sealed = BUF_INIT;

	snprintf(key, sizeof(key), "token:{acme}:%lld", (long long)id);
	snprintf(context, sizeof(context), "token:%lld", (long long)id);
	snprintf(
		json, sizeof(json),
		"{\"access_token\":\"%s\",\"expires_at_ms\":%lld,\"usable_at_ms\":%lld,\"minted_at_ms\":%lld}",
		access, (long long)(now + expires_in_ms), (long long)(now - minted_ago_ms),
		(long long)(now - minted_ago_ms));
	OK(crypto_seal(keyring, context, json, strlen(json), &sealed) == 0);
	OK(redis_callv(redis, NULL, loop_now_ms() + PATIENCE_MS, NULL, "SET", key, sealed.data,
		       NULL) == 0);
	buf_clear(&sealed);
}

static void redis_text(const char *what, int64_t id, char *out, size_t size)
{
	char key[80];
	redisReply *reply = NULL;

	snprintf(key, sizeof(key), "%s:{acme}:%lld", what, (long long)id);
	OK(redis_callv(redis, &reply, loop_now_ms() + PATIENCE_MS, NULL, "GET", key, NULL) == 0);
	keep(out, size, reply && reply->type == REDIS_REPLY_STRING ? reply->str : "");
	freeReplyObject(reply);
}

static int64_t redis_ttl_ms(const char *what, int64_t id)
{
	char key[80];
	redisReply *reply = NULL;
	int64_t ms = -3;

	snprintf(key, sizeof(key), "%s:{acme}:%lld", what, (long long)id);
	OK(redis_callv(redis, &reply, loop_now_ms() + PATIENCE_MS, NULL, "PTTL", key, NULL) == 0);
	if (reply)
		ms = reply->integer;
	freeReplyObject(reply);
	return ms;
}

static void fresh(void)
{
	partner.answer = answer;
	partner.n = 0;
	token_answer = NULL;
	token_status = 200;
	tokens = 0;
	expires_in = 86400;
	refused_below = 0;
	token_slow = false;
}

/* ---- minting once ---- */

struct together {
	struct bench *benches;
	int n_benches, ok;
};

static void one_call(int i, void *arg)
{
	struct together *t = arg;
	struct caller c = t->benches[i % t->n_benches].caller;
	struct err err = { 0 };

	if (get(&c, "/things", &err) == 0)
		t->ok++;
	else
		fprintf(stderr, "%s: %s\n", err.rule, err.text);
}

static void body_once(void)
{
	struct bench b[2];
	struct together t = { b, 2, 0 };
	char text[1000];
	int64_t id;

	fresh();
	token_slow = true;
	id = add_integration(CLIENT);
	bench_open(&b[0], ",\"concurrency\":{\"partner\":50,\"integration\":50}", OAUTH(""), pg, id,
		   5000);
	bench_twin(&b[1], &b[0], pg, 5000);
	crowd_run(40, one_call, &t); /* of two processes, at once */
	OK(t.ok == 40 && tokens == 1 && data_calls() == 40);
	OK(strcmp(partner.arrivals[0].path, "/oauth2/token") == 0 &&
	   strcmp(partner.arrivals[0].method, "POST") == 0);
	OK(strcmp(partner.arrivals[0].body,
		  "grant_type=client_credentials&client_id=acme-7&client_secret=sesame-and-more&scope=open%20api") ==
	   0);
	OK(strcmp(last_data_call()->auth, "Bearer tok-number-1") == 0);
	redis_text("token", id, text, sizeof(text));
	OK(strncmp(text, "v1.", 3) == 0 && !strstr(text, "tok-number"));
	OK(redis_ttl_ms("token", id) > 86390000 && redis_ttl_ms("token", id) <= 86400000);
	redis_text("cred", id, text, sizeof(text));
	OK(strncmp(text, "v1.", 3) == 0 && !strstr(text, "sesame"));
	OK(redis_ttl_ms("cred", id) > 3590000 && redis_ttl_ms("cred", id) <= 3600000);
	redis_text("tokenlock", id, text, sizeof(text));
	OK(text[0] == '\0');
	OK(printed(
		"integration_api_calls_total{endpoint=\"/oauth2/token\",partner=\"acme\",status_code=\"200\"} 1"));
	door_free(b[1].door);
	bench_close(&b[0]);
}

/* Who died with the lock: the others wait for its end, no longer. */
static void body_orphan_lock(void)
{
	struct bench b;
	struct err err = { 0 };
	char key[64];
	int64_t id, began;

	fresh();
	id = add_integration(CLIENT);
	snprintf(key, sizeof(key), "tokenlock:{acme}:%lld", (long long)id);
	OK(redis_callv(redis, NULL, loop_now_ms() + PATIENCE_MS, NULL, "SET", key, "dead:1", "PX",
		       "700", NULL) == 0);
	bench_open(&b, "", OAUTH(""), pg, id, 5000);
	began = loop_now_ms();
	OK(get(&b.caller, "/things", &err) == 0 && tokens == 1);
	OK(loop_now_ms() - began >= 600);
	bench_close(&b);
}

static void forget_token(struct bench *b, int64_t id)
{
	struct door_options o = { .redis = redis,
				  .pg = pg,
				  .keyring = keyring,
				  .epoch = "test-3",
				  .permit_wait_ms = 5000 };
	char key[64];

	snprintf(key, sizeof(key), "token:{acme}:%lld", (long long)id);
	redis_run("DEL", key);
	door_free(b->door); /* a restart: nothing in the process either */
	b->door = b->caller.door = door_new(&o);
}

struct doomed {
	struct bench *b;
	int rc;
	int64_t life_ms; /* 0: until it is cancelled */
	bool done;
};

static void call_and_die(void *arg)
{
	struct doomed *d = arg;
	struct err err;

	if (d->life_ms)
		co_set_deadline(co_self(), loop_now_ms() + d->life_ms);
	d->rc = get(&d->b->caller, "/things", &err);
	d->done = true;
}

static void run_doomed(struct doomed *d, bool cancel)
{
	struct co *co = co_spawn("doomed", call_and_die, d);
	int64_t until_ms = loop_now_ms() + PATIENCE_MS;

	while (cancel && partner.n == 0 && loop_now_ms() < until_ms)
		OK(co_sleep("token call", 5) == 0);
	if (cancel)
		co_cancel(co);
	while (!d->done && loop_now_ms() < until_ms)
		OK(co_sleep("end", 5) == 0);
	OK(d->done);
}

/* The end of one job's time does not cost a token; a job that is cancelled does not leave the lock behind. */
static void body_doomed(void)
{
	struct bench b;
	struct doomed late = { .b = &b, .life_ms = 100 }, cancelled = { .b = &b };
	struct err err = { 0 };
	int64_t id, began;

	fresh();
	token_slow = true; /* 300 ms */
	id = add_integration(CLIENT);
	bench_open(&b, "", OAUTH(""), pg, id, 5000);
	run_doomed(&late, false);
	OK(late.rc == -ETIMEDOUT && tokens == 1 && data_calls() == 0);
	OK(get(&b.caller, "/things", &err) == 0 && tokens == 1);
	forget_token(&b, id);
	partner.n = 0;
	run_doomed(&cancelled, true);
	OK(cancelled.rc == -ECANCELED);
	began = loop_now_ms();
	OK(get(&b.caller, "/things", &err) == 0 && loop_now_ms() - began < 5000);
	bench_close(&b);
}

/* ---- the mint limit ---- */

static void body_mint_limit(void)
{
	struct bench b;
	struct err err = { 0 };
	int64_t id;

	fresh();
	id = add_integration(CLIENT);
	bench_open(&b, "", OAUTH(",\"mint_limit\":{\"count\":5,\"window\":\"24h\",\"share\":0.8}"),
		   pg, id, 5000);
	for (int i = 0; i < 4; i++) {
		OK(get(&b.caller, "/things", &err) == 0);
		forget_token(&b, id);
	}
	OK(tokens == 4);
	for (int i = 0; i < 3; i++) {
		OK(get(&b.caller, "/things", &err) == -EAGAIN && err.class == ERR_HOLD);
		OK(err.retry_after_ms > 86300000 && err.retry_after_ms <= 86400000);
		OK(strstr(err.text, "allows 5 in 86400 s") &&
		   strstr(err.text, "next mint possible at 20"));
		if (i == 0)
			redis_run("FLUSHALL", NULL); /* Postgres alone keeps the bound … */
		forget_token(&b, id);
	}
	OK(tokens == 4 && strcmp(ask("SELECT count(*) FROM token_mints"), "4") == 0);
	ask("DELETE FROM token_mints"); /* … and so does Redis, where all four are on record again */
	for (int i = 0; i < 4; i++) {
		OK(get(&b.caller, "/things", &err) == 0);
		forget_token(&b, id);
	}
	ask("DELETE FROM token_mints");
	OK(get(&b.caller, "/things", &err) == -EAGAIN && err.class == ERR_HOLD && tokens == 8);
	OK(strcmp(ask("SELECT count(*) FROM token_mints"), "0") == 0);
	bench_close(&b);
}

/* ---- refreshing ---- */

static void body_due(void)
{
	struct bench b;
	struct err err = { 0 };
	int64_t id;

	fresh();
	id = add_integration(CLIENT);
	seed_token(id, "tok-old-and-valid", 3500000, 100000); /* within 5 min of its end */
	token_answer = "{\"message\":\"down for maintenance\"}";
	token_status = 503;
	bench_open(&b, "", OAUTH(""), pg, id, 5000);
	for (int i = 0; i < 5; i++)
		OK(get(&b.caller, "/things", &err) ==
		   0); /* a refresh that fails leaves the old one in use */
	OK(tokens == 1 && data_calls() == 5 &&
	   strcmp(last_data_call()->auth, "Bearer tok-old-and-valid") == 0);
	token_answer = NULL;
	redis_run("FLUSHALL", NULL);
	seed_token(id, "tok-old-and-valid", 3500000, 100000);
	forget_token(&b, 0);
	OK(get(&b.caller, "/things", &err) == 0);
	OK(tokens == 2 && strcmp(last_data_call()->auth, "Bearer tok-number-2") == 0);
	OK(strcmp(ask("SELECT status FROM integrations ORDER BY id DESC LIMIT 1"), "active") == 0);
	bench_close(&b);
}

static void body_endpoint_down(void)
{
	struct bench b, twin;
	struct err err = { 0 };
	int64_t id;

	fresh();
	id = add_integration(CLIENT);
	token_answer = "{\"message\":\"down for maintenance\"}";
	token_status = 503;
	bench_open(&b, "", OAUTH(""), pg, id, 5000);
	OK(get(&b.caller, "/things", &err) == -EAGAIN && err.class == ERR_TRANSIENT &&
	   strstr(err.text, "maintenance"));
	for (int i = 0; i < 3; i++) {
		OK(get(&b.caller, "/things", &err) == -EAGAIN && err.class == ERR_HOLD);
		OK(err.retry_after_ms > 20000 && err.retry_after_ms <= 30000);
	}
	bench_twin(&twin, &b, pg, 5000);
	OK(get(&twin.caller, "/things", &err) == -EAGAIN && err.class == ERR_HOLD &&
	   strstr(err.text, "maintenance"));
	OK(tokens == 1 && data_calls() == 0);
	OK(strcmp(ask("SELECT status FROM integrations ORDER BY id DESC LIMIT 1"), "active") == 0);
	door_free(twin.door);
	bench_close(&b);
}

static void body_refused_token(void)
{
	struct bench b;
	struct err err = { 0 };
	int64_t id;

	fresh();
	id = add_integration(CLIENT);
	seed_token(id, "tok-number-0", 3600000, 82800000);
	refused_below = 1;
	bench_open(&b, "", OAUTH(""), pg, id, 5000);
	OK(get(&b.caller, "/things", &err) == 0); /* 401, a new token, once more */
	OK(tokens == 1 && data_calls() == 2 &&
	   strcmp(last_data_call()->auth, "Bearer tok-number-1") == 0);
	/* another worker has a newer one by now: that is taken, none is minted */
	refused_below = 2;
	seed_token(id, "tok-number-5", -1000, 82800000);
	OK(get(&b.caller, "/things", &err) == 0);
	OK(tokens == 1 && strcmp(last_data_call()->auth, "Bearer tok-number-5") == 0);
	/* the newest is refused at once: another would be too, and tokens are dear */
	refused_below = 100;
	OK(get(&b.caller, "/things", &err) == -EREMOTEIO && err.class == ERR_AUTH);
	OK(get(&b.caller, "/things", &err) == -EREMOTEIO && err.class == ERR_AUTH);
	OK(tokens == 1);
	bench_close(&b);
}

static void body_redis_away(void)
{
	struct bench b;
	struct err err = { 0 };
	struct buf value = BUF_INIT;
	uint64_t version;
	int64_t id;

	fresh();
	id = add_integration(CLIENT);
	bench_open(&b, "", OAUTH(""), pg, id, 5000);
	OK(get(&b.caller, "/things", &err) == 0);
	/* it could not be stored, and is of credentials that were changed since: another worker's stays */
	((struct auth_entry *)idmap_get(&b.door->auth->entries, id))->store_again_ms = 1;
	b.integration.credential_version = 1;
	seed_token(id, "tok-number-5", 1000, 3600000);
	OK(get(&b.caller, "/things", &err) == 0 && tokens == 1);
	OK(strcmp(last_data_call()->auth, "Bearer tok-number-5") == 0);
	redis_kill();
	while (redis_is_up(redis))
		OK(co_sleep("redis down", 10) == 0);
	OK(auth_prepare(b.door->auth, &b.caller, &err) == 0); /* what the process has goes on */
	OK(auth_value(b.door->auth, &b.caller, &value, &version, &err) == 0);
	OK(strcmp(buf_str(&value), "Bearer tok-number-5") == 0);
	secret_free_buf(&value);
	bench_close(&b);
}

/* ---- broken for good ---- */

static void body_broken(void)
{
	struct bench b;
	struct err err = { 0 };
	int64_t id;

	fresh();
	id = add_integration(CLIENT);
	token_answer =
		"{\"error\":\"invalid_client\",\"error_description\":\"unknown client (sesame-and-more)\"}";
	token_status = 401;
	bench_open(&b, "", OAUTH(""), pg, id, 5000);
	OK(get(&b.caller, "/things", &err) == -EACCES && err.class == ERR_AUTH &&
	   strstr(err.text, "unknown client"));
	/* others wait: only an answer marks an integration, not a memory */
	OK(get(&b.caller, "/things", &err) == -EAGAIN && err.class == ERR_HOLD);
	OK(err.retry_after_ms > 20000 && err.retry_after_ms <= 30000);
	OK(tokens == 1 && data_calls() == 0);
	OK(strcmp(ask("SELECT status FROM integrations ORDER BY id DESC LIMIT 1"), "auth_broken") ==
	   0);
	OK(!strstr(err.text, "sesame"));
	OK(strstr(ask("SELECT status_reason FROM integrations ORDER BY id DESC LIMIT 1"),
		  "unknown client (***)"));
	OK(strstr(
		ask("SELECT severity || ' ' || what || ' ' || todo FROM alerts WHERE kind = 'auth_broken' ORDER BY since DESC LIMIT 1"),
		"integration resume"));
	bench_close(&b);

	/* a credential that was changed since it was cached is tried before anything is marked */
	fresh();
	id = add_integration(CLIENT);
	bench_open(&b, "", OAUTH(",\"usable_after\":\"300ms\""), pg, id, 5000);
	OK(get(&b.caller, "/things", &err) == 0);
	forget_token(&b, id); /* the sealed credential is still in Redis */
	rotate(id, "{\"client_id\":\"acme-7\",\"client_secret\":\"quite-another\"}");
	partner.n = 0;
	token_answer = "{\"error\":\"invalid_client\"}";
	token_status = 400;
	OK(get(&b.caller, "/things", &err) == -EACCES && partner.n == 2);
	OK(strstr(partner.arrivals[0].body, "sesame-and-more") &&
	   strstr(partner.arrivals[1].body, "quite-another"));
	bench_close(&b);

	/* nothing stored at all */
	fresh();
	id = add_integration(NULL);
	bench_open(&b, "", OAUTH(""), pg, id, 5000);
	OK(get(&b.caller, "/things", &err) == -EACCES && err.class == ERR_AUTH &&
	   strstr(err.text, "no credentials"));
	OK(partner.n == 0);
	OK(strcmp(ask("SELECT status FROM integrations ORDER BY id DESC LIMIT 1"), "auth_broken") ==
	   0);
	bench_close(&b);
}

/* A login in the driver's C: what it refuses for good, what it cannot make sense of, and what it may mend. */
static int login_says;

static int own_login(const struct hook_login *in, struct arena *a, struct hook_request *request,
		     struct hook_token *out, struct err *err)
{
	if (in->talk.step == 0) {
		*request = (struct hook_request){ .method = "GET", .path = "/door" };
		return HOOK_ASKS;
	}
	if (login_says < 0)
		return err_set(err, login_says, ERR_AUTH, "login", "no such user %s",
			       hook_value(&in->credential, "key"));
	*out = (struct hook_token){ .token = "session-of-the-hook", .life_ms = 60000 };
	return HOOK_DONE;
}

static int64_t open_login(struct bench *b)
{
	static const struct driver_hooks own = { .partner = "acme", .login = own_login };
	int64_t id;

	fresh();
	id = add_integration("{\"key\":\"swordfish-1\"}");
	bench_open(
		b, "",
		",\"auth\":{\"kind\":\"hook\",\"needs\":[\"key\"]},\"hooks\":{\"login\":true}" COLLECTION,
		pg, id, 5000);
	b->driver.hooks = &own;
	return id;
}

static void body_login(void)
{
	struct bench b;
	struct err err = { 0 };

	/* refused: marked, told without the secret, and not asked again by those who come next */
	login_says = -EACCES;
	open_login(&b);
	OK(get(&b.caller, "/things", &err) == -EACCES && err.class == ERR_AUTH);
	OK(strstr(err.text, "no such user ***") && !strstr(err.text, "swordfish"));
	OK(strcmp(ask("SELECT status FROM integrations ORDER BY id DESC LIMIT 1"), "auth_broken") ==
	   0);
	OK(strstr(
		ask("SELECT what || ' ' || todo FROM alerts WHERE kind = 'auth_broken' ORDER BY since DESC LIMIT 1"),
		"no such user ***"));
	OK(get(&b.caller, "/things", &err) == -EAGAIN && err.class == ERR_HOLD);
	OK(partner.n == 1 && strcmp(partner.arrivals[0].path, "/v1/door") == 0);
	bench_close(&b);

	/* an answer that it does not understand breaks nothing */
	login_says = -EINVAL;
	open_login(&b);
	OK(get(&b.caller, "/things", &err) < 0);
	OK(strcmp(ask("SELECT status FROM integrations ORDER BY id DESC LIMIT 1"), "active") == 0);
	bench_close(&b);

	login_says = 0;
	open_login(&b);
	OK(get(&b.caller, "/things", &err) == 0);
	OK(strcmp(last_data_call()->auth, "Bearer session-of-the-hook") == 0);
	bench_close(&b);
}

/* ---- how long a token lives ---- */

static void life_is(const char *more, const char *json, int64_t want_ms)
{
	char rest[600];
	struct bench b;
	struct err err = { 0 };
	int64_t id = add_integration(CLIENT), ms;

	fresh();
	token_answer = json;
	snprintf(
		rest, sizeof(rest),
		",\"auth\":{\"kind\":\"oauth2_client_credentials\",\"token_url\":\"https://api.acme.example/oauth2/token\"%s}%s",
		more, COLLECTION);
	bench_open(&b, "", rest, pg, id, 5000);
	OK(get(&b.caller, "/things", &err) == 0);
	ms = redis_ttl_ms("token", id);
	/* Either way: Redis' clock is estimated, and "at:" is told by this host's. */
	if (llabs(ms - want_ms) > 5000)
		fprintf(stderr, "%s: %lld ms instead of %lld\n", json, (long long)ms,
			(long long)want_ms);
	OK(llabs(ms - want_ms) <= 5000);
	OK(strcmp(last_data_call()->auth, "Bearer tok-a") == 0);
	bench_close(&b);
}

static void body_life(void)
{
	char at[200], iso[CLOCK_ISO_MAX];

	life_is("", "{\"access_token\":\"tok-a\",\"expires_in\":7200}", 7200000);
	life_is("", "{\"access_token\":\"tok-a\",\"expires_in\":\"7200\"}", 7200000);
	life_is("", "{\"access_token\":\"tok-a\"}", 3600000);
	life_is("", "{\"access_token\":\"tok-a\",\"expires_in\":null}", 3600000);
	life_is("", "{\"access_token\":\"tok-a\",\"expires_in\":0}", 3600000);
	life_is("", "{\"access_token\":\"tok-a\",\"expires_in\":\"soon\"}", 3600000);
	life_is(",\"expires\":\"fixed:24h\"", "{\"access_token\":\"tok-a\",\"expires_in\":5}",
		86400000);
	life_is(",\"token\":\"data.token\",\"expires\":\"seconds:data.ttl\"",
		"{\"data\":{\"token\":\"tok-a\",\"ttl\":600}}", 600000);
	snprintf(at, sizeof(at), "{\"access_token\":\"tok-a\",\"until\":\"%s\"}",
		 clock_iso(clock_real_ms() + 1800000, iso));
	life_is(",\"expires\":\"at:until\"", at, 1800000);
	snprintf(at, sizeof(at), "{\"access_token\":\"tok-a\",\"until\":%lld}",
		 (long long)(clock_real_ms() / 1000 + 1800));
	life_is(",\"expires\":\"at:until\"", at, 1800000);
}

/* A call that answers with a token: its answer, its forms (Booking.com, Beds24, a login). */
static void two_step(const char *auth, const char *credentials, struct bench *b)
{
	char rest[700];
	struct err err = { 0 };
	int64_t id = add_integration(credentials);

	snprintf(
		rest, sizeof(rest),
		",\"auth\":{\"kind\":\"two_step\",\"token_url\":\"https://api.acme.example/oauth2/token\"%s}%s",
		auth, COLLECTION);
	bench_open(b, "", rest, pg, id, 5000);
	OK(get(&b->caller, "/things", &err) == 0);
}

static void body_two_step(void)
{
	char jwt[400], claims[100];
	struct buf coded = BUF_INIT;
	struct bench b;
	struct err err = { 0 };

	fresh();
	snprintf(claims, sizeof(claims), "{\"iat\":%lld,\"exp\":%lld}",
		 (long long)(redis_now_ms(redis) / 1000 - 60),
		 (long long)(redis_now_ms(redis) / 1000 + 1740));
	base64_encode(&coded, claims, strlen(claims));
	snprintf(jwt, sizeof(jwt), "{\"jwt\":\"e30.%s.c2ln\",\"ruid\":\"x\"}", buf_str(&coded));
	token_answer = jwt;
	two_step(",\"send\":\"json\",\"token\":\"jwt\",\"expires\":\"jwt\"", CLIENT, &b);
	OK(strcmp(partner.arrivals[0].body,
		  "{\"client_id\":\"acme-7\",\"client_secret\":\"sesame-and-more\"}") == 0);
	OK(strncmp(last_data_call()->auth, "Bearer e30.", 11) == 0);
	OK(llabs(redis_ttl_ms("token", b.integration.id) - 1740000) < 5000);
	bench_close(&b);
	buf_clear(&coded);

	fresh();
	token_answer = "{\"token\":\"tok-a\",\"expiresIn\":\"86400\"}";
	two_step(
		",\"method\":\"GET\",\"headers\":{\"X-Account\":\"{cred.refresh_token}\"},\"params\":{\"a b\":\"c&d\"},"
		"\"token\":\"token\",\"expires\":\"seconds:expiresIn\",\"name\":\"X-Account\",\"prefix\":\"\"",
		"{\"refresh_token\":\"long-lived\"}", &b);
	OK(strcmp(partner.arrivals[0].method, "GET") == 0 && !partner.arrivals[0].body[0]);
	OK(strcmp(partner.arrivals[0].query, "a%20b=c%26d") == 0);
	OK(strcmp(partner.arrivals[0].pinned, "long-lived") == 0);
	OK(strcmp(last_data_call()->pinned, "tok-a") == 0 && !last_data_call()->auth[0]);
	OK(get(&b.caller, "/things", &err) == 0 && tokens == 1);
	bench_close(&b);

	fresh();
	token_answer = "{\"session\":\"tok-a; x\"}";
	two_step(
		",\"in\":\"cookie\",\"name\":\"SID\",\"token\":\"session\",\"params\":{\"user\":\"{cred.username}\",\"pass\":\"{cred.password}\"}",
		"{\"username\":\"ann\",\"password\":\"pa&ss\"}", &b);
	OK(strcmp(partner.arrivals[0].body, "user=ann&pass=pa%26ss") == 0);
	OK(strcmp(last_data_call()->cookie, "SID=tok-a%3B%20x") == 0);
	bench_close(&b);
}

/* A partner for whom 403 means a dead token (Hostaway). */
static void answer_forbidden_once(struct httpd_request *q, int number)
{
	const char *auth = httpd_header(q, "Authorization");

	if (strcmp(httpd_path(q), "/oauth2/token") == 0)
		answer_token(q);
	else
		reply_json(q, auth && strcmp(auth, "Bearer tok-number-1") == 0 ? 200 : 403, "{}");
}

static void body_forbidden(void)
{
	struct bench b;
	struct err err = { 0 };
	int64_t id;

	fresh();
	partner.answer = answer_forbidden_once;
	id = add_integration(CLIENT);
	seed_token(id, "tok-number-0", 3600000, 82800000);
	bench_open(&b, "", OAUTH("") ",\"errors\":[{\"status\":403,\"class\":\"auth\"}]", pg, id,
		   5000);
	OK(get(&b.caller, "/things", &err) == 0 && tokens == 1);
	bench_close(&b);
	fresh(); /* and for another "no access to that hotel" */
	partner.answer = answer_forbidden_once;
	id = add_integration(CLIENT);
	seed_token(id, "tok-number-0", 3600000, 82800000);
	bench_open(&b, "", OAUTH(""), pg, id, 5000);
	OK(get(&b.caller, "/things", &err) == -EREMOTEIO && err.class == ERR_CLIENT && tokens == 0);
	bench_close(&b);
}

static void body_request_forms(void)
{
	struct bench b;
	struct err err = { 0 };
	int64_t id, began;

	fresh();
	id = add_integration(CLIENT);
	bench_open(&b, "", OAUTH(",\"send\":\"json\""), pg, id, 5000);
	OK(get(&b.caller, "/things", &err) == 0);
	OK(strcmp(partner.arrivals[0].body,
		  "{\"grant_type\":\"client_credentials\",\"client_id\":\"acme-7\",\"client_secret\":\"sesame-and-more\","
		  "\"scope\":\"open api\"}") == 0);
	bench_close(&b);

	fresh();
	id = add_integration(CLIENT);
	bench_open(&b, "", OAUTH(",\"client_auth\":\"basic\",\"usable_after\":\"400ms\""), pg, id,
		   5000);
	began = clock_mono_ms();
	OK(get(&b.caller, "/things", &err) == 0);
	OK(strcmp(partner.arrivals[0].body, "grant_type=client_credentials&scope=open%20api") == 0);
	OK(strcmp(partner.arrivals[0].auth, "Basic YWNtZS03OnNlc2FtZS1hbmQtbW9yZQ==") == 0);
	OK(clock_mono_ms() - began >= 380); /* a token may be usable only after a moment */
	bench_close(&b);

	fresh();
	token_answer = "{\"hello\":1}";
	id = add_integration(CLIENT);
	bench_open(&b, "", OAUTH(""), pg, id, 5000);
	OK(get(&b.caller, "/things", &err) == -EREMOTEIO && err.class == ERR_DATA &&
	   strstr(err.text, "access_token"));
	bench_close(&b);
}

/* ---- without a token ---- */

static void sent_is(const char *auth, const char *credentials, const char *header,
		    const char *query)
{
	char rest[600];
	struct bench b;
	struct err err = { 0 };
	int64_t id = add_integration(credentials);

	fresh();
	snprintf(rest, sizeof(rest), ",\"auth\":{%s}%s", auth, COLLECTION);
	bench_open(&b, "", rest, pg, id, 5000);
	OK(get(&b.caller, "/things", &err) == 0);
	OK(strcmp(partner.arrivals[0].auth, header) == 0);
	OK(strcmp(partner.arrivals[0].query, query) == 0);
	bench_close(&b);
}

static void body_kinds(void)
{
	sent_is("\"kind\":\"api_key\"", "{\"api_key\":\"key-12345\"}", "Bearer key-12345", "");
	sent_is("\"kind\":\"api_key\",\"prefix\":\"Key \"", "{\"api_key\":\"key-12345\"}",
		"Key key-12345", "");
	sent_is("\"kind\":\"api_key\",\"in\":\"query\",\"name\":\"key\"",
		"{\"api_key\":\"key&12345\"}", "", "key=key%2612345");
	sent_is("\"kind\":\"api_key\",\"in\":\"cookie\",\"name\":\"key\"",
		"{\"api_key\":\"key=12345;\"}", "", "");
	OK(strcmp(partner.arrivals[0].cookie, "key=key=12345%3B") == 0);
	sent_is("\"kind\":\"bearer\",\"needs\":[\"pat\"]", "{\"pat\":\"key-12345\"}",
		"Bearer key-12345", "");
	sent_is("\"kind\":\"basic\"", "{\"username\":\"ann\",\"password\":\"pa:ss word\"}",
		"Basic YW5uOnBhOnNzIHdvcmQ=", "");
	sent_is("\"kind\":\"basic\",\"needs\":[\"account_sid\",\"auth_token\"]",
		"{\"account_sid\":\"ann\",\"auth_token\":\"pa:ss word\"}",
		"Basic YW5uOnBhOnNzIHdvcmQ=", "");
	sent_is("\"kind\":\"none\"", "{}", "", "");
}

static void mac_hex(enum hmac_alg alg, const char *text, char out[2 * HMAC_BYTES_MAX + 1])
{
	uint8_t mac[HMAC_BYTES_MAX];

	crypto_hex(mac, hmac(alg, "sesame-and-more", 15, text, strlen(text), mac), out);
}

/* Signed by the manifest's word: the partner's own count of it is the same, each call anew. */
static void body_signed(void)
{
	struct bench b;
	struct call_spec spec = { .endpoint = "/things",
				  .method = "POST",
				  .path = "/things?a=b%20c",
				  .body = "{\"x\":1}",
				  .body_len = 7 };
	struct call_result r;
	struct err err = { 0 };
	char text[300], want[2 * HMAC_BYTES_MAX + 1], stamp[40], nonce[33], first[300];
	int64_t id = add_integration("{\"api_key\":\"key-7\",\"api_secret\":\"sesame-and-more\"}");

	fresh();
	bench_open(
		&b, "",
		",\"auth\":{\"kind\":\"signed\",\"sign\":{\"signed\":\"{method}\\n{path}\\n{query}\\n{ts}\\n{nonce}\\n{body}\","
		"\"headers\":{\"Authorization\":\"HMAC {cred.api_key}:{signature}\",\"X-Account\":\"{ts} {nonce}\"}}}" COLLECTION,
		pg, id, 5000);
	OK(call(&b.caller, &spec, &r, &err) == 0);
	call_result_clear(&r);
	keep(stamp, 10 + 1, partner.arrivals[0].pinned);
	OK(llabs(strtoll(stamp, NULL, 10) - redis_now_ms(redis) / 1000) < 60);
	OK(strlen(partner.arrivals[0].pinned) == 10 + 1 + 32);
	keep(nonce, sizeof(nonce), partner.arrivals[0].pinned + 11);
	snprintf(text, sizeof(text), "POST\n/v1/things\na=b%%20c\n%s\n%s\n{\"x\":1}", stamp, nonce);
	mac_hex(HMAC_SHA256, text, want);
	OK(strncmp(partner.arrivals[0].auth, "HMAC key-7:", 11) == 0);
	OK(strcmp(partner.arrivals[0].auth + 11, want) == 0);
	keep(first, sizeof(first), partner.arrivals[0].auth);
	OK(call(&b.caller, &spec, &r, &err) == 0);
	call_result_clear(&r);
	OK(strcmp(first, partner.arrivals[1].auth) != 0);
	bench_close(&b);

	fresh();
	bench_open(
		&b, "",
		",\"auth\":{\"kind\":\"signed\",\"sign\":{\"signed\":\"{ts}{body_sha256}\",\"alg\":\"sha1\",\"encoding\":\"base64\",\"ts\":\"iso8601\","
		"\"headers\":{\"Authorization\":\"{signature}\",\"X-Account\":\"{ts}\"}}}" COLLECTION,
		pg, id, 5000);
	OK(get(&b.caller, "/things", &err) == 0);
	OK(strlen(partner.arrivals[0].auth) == 28 && partner.arrivals[0].auth[27] == '=');
	OK(strncmp(partner.arrivals[0].pinned, "20", 2) == 0 &&
	   strchr(partner.arrivals[0].pinned, 'T'));
	bench_close(&b);
}

/* RFC 4231, case 2, and RFC 2202's of the same. */
static void test_hmac(void **state)
{
	static const char text[] = "what do ya want for nothing?";
	uint8_t mac[HMAC_BYTES_MAX];
	char hex[2 * HMAC_BYTES_MAX + 1];

	crypto_hex(mac, hmac(HMAC_SHA256, "Jefe", 4, text, strlen(text), mac), hex);
	assert_string_equal(hex,
			    "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843");
	crypto_hex(mac, hmac(HMAC_SHA1, "Jefe", 4, text, strlen(text), mac), hex);
	assert_string_equal(hex, "effcdf6ae5eb2fa2d27416d5f184df9c259a7c79");
	crypto_hex(mac, hmac(HMAC_SHA512, "Jefe", 4, text, strlen(text), mac), hex);
	assert_int_equal(strncmp(hex,
				 "164b7a7bfcf819e2e395fbe73b56e0a387bd64222e831fd610270cd7ea250554",
				 64),
			 0);
	assert_int_equal(hmac(HMAC_SHA256, NULL, 0, "", 0, mac), 32);
}

static void answer_old_key_refused(struct httpd_request *q, int number)
{
	const char *auth = httpd_header(q, "Authorization");

	reply_json(q, auth && strcmp(auth, "Bearer key-new-1") == 0 ? 200 : 401, "{}");
}

static void body_rotated_key(void)
{
	struct bench b;
	struct err err = { 0 };
	int64_t id = add_integration("{\"api_key\":\"key-old-1\"}");

	fresh();
	partner.answer = answer_old_key_refused;
	bench_open(&b, "", ",\"auth\":{\"kind\":\"bearer\"}" COLLECTION, pg, id, 5000);
	OK(get(&b.caller, "/things", &err) == -EREMOTEIO && err.class == ERR_AUTH &&
	   partner.n == 1); /* the same again would be refused again */
	bench_close(&b);
	rotate(id, "{\"api_key\":\"key-new-1\"}");
	partner.n = 0;
	bench_open(&b, "", ",\"auth\":{\"kind\":\"bearer\"}" COLLECTION, pg, id, 5000);
	OK(get(&b.caller, "/things", &err) == 0 && partner.n == 2); /* the old one was cached */
	OK(get(&b.caller, "/things", &err) == 0 && partner.n == 3);
	bench_close(&b);
}

static void test_check(void **state)
{
	static const char *const names[] = { "client_id", "client_secret" };
	struct manifest m = { .partner = "acme",
			      .auth = {
				      .kind = AUTH_OAUTH2_CLIENT, .needs = names, .n_needs = 2 } };
	struct err err = { 0 };
	cJSON *c = cJSON_CreateObject();

	assert_int_equal(auth_credentials_check(&m, c, &err), -EINVAL);
	assert_non_null(strstr(err.text, "client_id, client_secret"));
	cJSON_AddStringToObject(c, "client_secret", "");
	cJSON_AddNumberToObject(c, "client_id", 12);
	assert_int_equal(auth_credentials_check(&m, c, &err), -EINVAL);
	assert_null(strstr(err.text, "client_id"));
	cJSON_ReplaceItemInObject(c, "client_secret", cJSON_CreateString("x"));
	assert_int_equal(auth_credentials_check(&m, c, &err), 0);
	cJSON_Delete(c);
}

/* ---- running ---- */

static void (*body)(void);

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
TEST(once)
TEST(orphan_lock)
TEST(doomed)
TEST(mint_limit)
TEST(due)
TEST(endpoint_down)
TEST(refused_token)
TEST(broken)
TEST(login)
TEST(life)
TEST(two_step)
TEST(forbidden)
TEST(request_forms)
TEST(kinds)
TEST(signed)
TEST(rotated_key)
TEST(redis_away)

static int setup(void **state)
{
	if (partner_setup(state) < 0 || http_global_init() < 0 || postgres_start(state) < 0)
		return -1;
	loop_close();
	return 0;
}

static int teardown(void **state)
{
	(void)in_coroutine;
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
		cmocka_unit_test(test_check),
		cmocka_unit_test(test_hmac),
		ON_LOOP(test_once),
		ON_LOOP(test_orphan_lock),
		ON_LOOP(test_doomed),
		ON_LOOP(test_mint_limit),
		ON_LOOP(test_due),
		ON_LOOP(test_endpoint_down),
		ON_LOOP(test_refused_token),
		ON_LOOP(test_broken),
		ON_LOOP(test_login),
		ON_LOOP(test_life),
		ON_LOOP(test_two_step),
		ON_LOOP(test_forbidden),
		ON_LOOP(test_request_forms),
		ON_LOOP(test_kinds),
		ON_LOOP(test_signed),
		ON_LOOP(test_rotated_key),
		ON_LOOP(test_redis_away), /* last: Redis does not come back */
	};

	return cmocka_run_group_tests(tests, setup, teardown);
}
