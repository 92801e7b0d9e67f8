/* New credentials: a real Redis, a real Postgres, and a partner in this process that knows which it lets in. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "drivers/kit/rotate.h"
#include "tests/unit/partner.h"
#include "tests/unit/postgres_trouble.h"

#define COLLECTION                                                                                                   \
	",\"collections\":{\"things\":{\"get\":\"/things\",\"records\":\"@\",\"id\":\"id\",\"table\":\"resources\"," \
	"\"map\":{\"name\":\"name\"}}}"
#define SIXTEEN \
	"\"p1\":\"1\",\"p2\":\"2\",\"p3\":\"3\",\"p4\":\"4\",\"p5\":\"5\",\"p6\":\"6\",\"p7\":\"7\",\"p8\":\"8\",\"p9\":\"9\",\"p10\":\"10\",\"p11\":\"11\",\"p12\":\"12\",\"p13\":\"13\",\"p14\":\"14\",\"p15\":\"15\",\"p16\":\"16\""
#define OAUTH                                                                                                        \
	",\"auth\":{\"kind\":\"oauth2_client_credentials\",\"token_url\":\"https://api.acme.example/oauth2/token\"," \
	"\"mint_limit\":{\"count\":10,\"window\":\"1h\",\"share\":1},"                                               \
	"\"verify\":{\"get\":\"/me/{cfg.account}\",\"query\":{" SIXTEEN                                              \
	",\"limit\":\"1\"}}}" COLLECTION
#define KEY ",\"auth\":{\"kind\":\"api_key\",\"name\":\"Authorization\"}" COLLECTION

#define CODE                                                                                        \
	",\"auth\":{\"kind\":\"oauth2_code\",\"authorize_url\":\"https://api.acme.example/allow\"," \
	"\"token_url\":\"https://api.acme.example/oauth2/token\"}" COLLECTION

static struct pg *pg;
static int spent =
	-1; /* the number of the refresh token that is good for one call; -1: none is asked for */
static const char *let_in[2];              /* secrets; NULL: none */
static int tokens, refuse_from, down_from; /* the number of a data call; 0: none */
static int data_calls;

static bool is_let_in(const char *text)
{
	for (int i = 0; i < 2; i++)
		if (text && let_in[i] && strstr(text, let_in[i]))
			return true;
	return false;
}

/* A secret that is refused spends nothing. */
static void answer_refresh(struct httpd_request *q, const char *form)
{
	const char *secret = strstr(form, "client_secret=");
	char wanted[40], json[200];

	snprintf(wanted, sizeof(wanted), "refresh_token=refresh-%d", spent);
	tokens++;
	if (!is_let_in(secret)) {
		reply_json(q, 401, "{\"error\":\"invalid_client\"}");
		return;
	}
	if (!strstr(form, wanted)) {
		reply_json(q, 400, "{\"error\":\"invalid_grant\"}");
		return;
	}
	snprintf(
		json, sizeof(json),
		"{\"access_token\":\"tok-%d-%.*s\",\"expires_in\":3600,\"refresh_token\":\"refresh-%d\"}",
		tokens, (int)strcspn(secret + 14, "&"), secret + 14, ++spent);
	reply_json(q, 200, json);
}

static void answer_token(struct httpd_request *q)
{
	size_t len;
	const char *body = httpd_body(q, &len);
	char *form = mem_strndup(body, len), json[200];
	const char *secret = strstr(form, "client_secret=");

	if (spent >= 0) {
		answer_refresh(q, form);
		free(form);
		return;
	}
	tokens++;
	snprintf(json, sizeof(json), "{\"access_token\":\"tok-%d-%.*s\",\"expires_in\":3600}",
		 tokens, secret ? (int)strcspn(secret + 14, "&") : 0, secret ? secret + 14 : "");
	reply_json(q, is_let_in(secret) ? 200 : 401,
		   is_let_in(secret) ? json : "{\"error\":\"invalid_client\"}");
	free(form);
}

static void answer(struct httpd_request *q, int number)
{
	if (strcmp(httpd_path(q), "/oauth2/token") == 0) {
		answer_token(q);
		return;
	}
	data_calls++;
	if (down_from && data_calls >= down_from)
		reply_json(q, 503, "{}");
	else if (!is_let_in(httpd_header(q, "Authorization")) ||
		 (refuse_from && data_calls >= refuse_from))
		reply_json(q, 401, "{\"message\":\"who are you\"}");
	else
		reply_json(q, 200, "[]");
}

struct scene {
	struct bench b;
	struct door_options o;
};

/* Integration 1, with `secret` stored. */
static void scene_open(struct scene *s, const char *rest, const char *json)
{
	struct secret plain = SECRET_INIT;

	memset(&partner, 0, offsetof(typeof(partner), port));
	partner.answer = answer;
	tokens = refuse_from = down_from = data_calls = 0;
	let_in[0] = "old-secret";
	let_in[1] = "new-secret";
	redis_run("FLUSHALL", NULL);
	other_says("TRUNCATE credentials, token_mints");
	other_says("UPDATE integrations SET credential_version = 0");
	bench_open(&s->b, "", rest, pg, 1, 300);
	cJSON_AddStringToObject(s->b.integration.settings, "account", "north");
	s->o = (struct door_options){ .redis = redis,
				      .pg = pg,
				      .keyring = keyring,
				      .epoch = "test-cli",
				      .permit_wait_ms = 300 };
	secret_set(&plain, json, strlen(json));
	OK(credential_put(pg, keyring, 1, &plain, &(struct credential_change){ 0 }, NULL) == 0);
	secret_clear(&plain);
}

static int rotate(struct scene *s, const char *json, enum rotation *out, struct err *err)
{
	struct secret plain = SECRET_INIT;
	int rc;

	memset(err, 0, sizeof(*err));
	if (json)
		secret_set(&plain, json, strlen(json));
	rc = rotate_credentials(&s->o, &s->b.driver, &s->b.integration, json ? &plain : NULL, out,
				err);
	secret_clear(&plain);
	return rc;
}

static bool stored_is(const char *words)
{
	struct secret got = SECRET_INIT;
	bool is = credential_get(pg, keyring, 1, &got, NULL) == 0 &&
		  strstr(secret_reveal(&got), words);

	secret_clear(&got);
	return is;
}

#define OLD "{\"client_id\":\"acme\",\"client_secret\":\"old-secret\"}"
#define NEW "{\"client_id\":\"acme\",\"client_secret\":\"new-secret\"}"
#define BAD "{\"client_id\":\"acme\",\"client_secret\":\"bad-secret\"}"

static void body_done(void)
{
	struct scene s;
	enum rotation r = ROTATION_REFUSED;
	struct err err = { 0 };

	scene_open(&s, OAUTH, OLD);
	OK(get(&s.b.caller, "/things", &err) == 0 && tokens == 1);
	OK(rotate(&s, NEW, &r, &err) == 0 && r == ROTATION_DONE && stored_is("new-secret"));
	OK(tokens == 2); /* the one of the trial is everybody's */
	OK(strcmp(partner.arrivals[partner.n - 1].path, "/v1/me/north") == 0 &&
	   strstr(partner.arrivals[partner.n - 1].query, "&p16=16&limit=1"));
	OK(other_counts("SELECT count(*) FROM token_mints") == 2);
	OK(other_counts("SELECT credential_version FROM integrations WHERE id = 1") ==
	   3); /* the old ones, the new ones, what is kept of the old ones gone */

	/* a worker that has the old token in its memory drops it when it reads the integration anew */
	let_in[0] = NULL;
	s.b.integration.credential_version = 3;
	OK(get(&s.b.caller, "/things", &err) == 0 && tokens == 2);
	OK(strcmp(partner.arrivals[partner.n - 1].auth, "Bearer tok-2-new-secret") == 0);

	/* and back, once the partner lets the old ones in again */
	OK(rotate(&s, NULL, &r, &err) == 0 && r == ROTATION_REFUSED && stored_is("new-secret"));
	let_in[0] = "old-secret";
	OK(rotate(&s, NULL, &r, &err) == 0 && r == ROTATION_DONE && stored_is("old-secret"));
	bench_close(&s.b);
}

static void body_refused(void)
{
	struct scene s;
	enum rotation r = ROTATION_DONE;
	struct err err = { 0 };

	scene_open(&s, OAUTH, OLD);
	OK(get(&s.b.caller, "/things", &err) == 0 && tokens == 1);
	OK(rotate(&s, BAD, &r, &err) == 0 && r == ROTATION_REFUSED && err.class == ERR_AUTH);
	OK(stored_is("old-secret") && !strstr(err.text, "bad-secret"));
	OK(other_counts("SELECT count(*) FROM integrations WHERE status = 'auth_broken'") == 0);
	OK(get(&s.b.caller, "/things", &err) == 0 && tokens == 2); /* the trial's alone */
	OK(rotate(&s, "{\"client_id\":\"acme\"}", &r, &err) == -EINVAL);

	down_from = 1;
	OK(rotate(&s, NEW, &r, &err) == 0 && r == ROTATION_UNTRIED && stored_is("old-secret"));
	bench_close(&s.b);
}

/* Refused in the moment they are stored, or not to be asked any more. */
static void body_undone(void)
{
	struct scene s;
	enum rotation r = ROTATION_DONE;
	struct err err = { 0 };

	scene_open(&s, KEY, "{\"api_key\":\"old-secret\"}");
	refuse_from = 2;
	OK(rotate(&s, "{\"api_key\":\"new-secret\"}", &r, &err) == 0 && r == ROTATION_UNDONE);
	OK(stored_is("old-secret") && err.class == ERR_AUTH);
	refuse_from = 0;
	OK(get(&s.b.caller, "/things", &err) == 0);
	OK(strcmp(partner.arrivals[partner.n - 1].auth, "Bearer old-secret") == 0);

	down_from = data_calls + 2;
	OK(rotate(&s, "{\"api_key\":\"new-secret\"}", &r, &err) == 0 && r == ROTATION_UNPROVEN);
	OK(stored_is("new-secret"));
	bench_close(&s.b);
}

/* Two at once: one of them finds that the other was first, and nothing is mixed. */
struct racer {
	struct scene *s;
	int done, stale;
};

static void race_one(int i, void *arg)
{
	struct racer *r = arg;
	enum rotation out = ROTATION_REFUSED;
	struct err err = { 0 };
	int rc = rotate(r->s, i ? "{\"api_key\":\"new-secret\"}" : "{\"api_key\":\"new-secret-2\"}",
			&out, &err);

	r->done += rc == 0 && out == ROTATION_DONE;
	r->stale += rc == -ESTALE;
}

static void body_two(void)
{
	struct scene s;
	struct racer r = { .s = &s };
	struct err err = { 0 };

	scene_open(&s, KEY, "{\"api_key\":\"old-secret\"}");
	crowd_run(2, race_one, &r);
	OK(r.done + r.stale == 2 && r.done >= 1);
	OK(stored_is("new-secret"));
	s.b.integration.credential_version = 2;
	OK(get(&s.b.caller, "/things", &err) == 0);
	bench_close(&s.b);
}

/* Where a person allowed it, what he allowed goes on under the new secret, and under the old one where the new is refused. */
#define GIVEN \
	"{\"client_id\":\"acme\",\"client_secret\":\"old-secret\",\"refresh_token\":\"refresh-0\"}"
static void body_allowed(void)
{
	struct scene s;
	enum rotation r = ROTATION_DONE;
	struct err err = { 0 };

	scene_open(&s, CODE, OLD);
	other_says("TRUNCATE grants");
	spent = 0;
	OK(rotate(&s, NEW, &r, &err) == -EINVAL && strstr(err.text, "nobody has allowed") &&
	   !tokens);
	bench_close(&s.b);

	scene_open(&s, CODE, GIVEN);
	OK(get(&s.b.caller, "/things", &err) == 0 && tokens == 1 && spent == 1);
	OK(rotate(&s, BAD, &r, &err) == 0 && r == ROTATION_REFUSED && stored_is("old-secret"));
	OK(spent == 1 && other_counts("SELECT generation FROM grants") == 2);
	OK(other_counts("SELECT count(*) FROM grants WHERE spending_since IS NOT NULL") == 0);
	OK(other_counts("SELECT count(*) FROM integrations WHERE status = 'auth_broken'") == 0);
	OK(rotate(&s,
		  "{\"client_id\":\"acme\",\"client_secret\":\"new-secret\",\"refresh_token\":\"other\"}",
		  &r, &err) == 0 &&
	   r == ROTATION_REFUSED && strstr(err.text, "cannot be tried without spending it"));
	OK(rotate(&s, NEW, &r, &err) == 0 && r == ROTATION_DONE && stored_is("new-secret"));
	OK(spent == 2 && other_counts("SELECT generation FROM grants") == 3);
	let_in[0] = NULL; /* the old secret is over: what was allowed is not */
	s.b.integration.credential_version = 3;
	OK(get(&s.b.caller, "/things", &err) == 0 && spent == 2);
	OK(strstr(partner.arrivals[partner.n - 1].auth, "-new-secret") != NULL);
	/* refused in the moment it is stored: undone, and the pair of the trial is good for the old secret too */
	let_in[0] = "old-secret";
	refuse_from = data_calls + 2;
	OK(rotate(&s, OLD, &r, &err) == 0 && r == ROTATION_UNDONE && stored_is("new-secret"));
	refuse_from = 0;
	s.b.integration.credential_version =
		other_counts("SELECT credential_version FROM integrations WHERE id = 1");
	OK(get(&s.b.caller, "/things", &err) == 0 &&
	   other_counts("SELECT generation FROM grants") == spent + 1);
	bench_close(&s.b);
	spent = -1;
}

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
	if (other_counts("SELECT count(*) FROM integrations") == 0)
		other_says("INSERT INTO integrations (partner) VALUES ('acme')");
	body();
	pg_free(pg);
	other_leaves();
	OK(checks_failed == 0);
}

#define TEST(name)                                       \
	static void test_##name(void **state)            \
	{                                                \
		body = body_##name;                      \
		assert_int_equal(on_loop(with_both), 0); \
	}
TEST(done)
TEST(refused)
TEST(undone)
TEST(two)
TEST(allowed)

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
		ON_LOOP(test_done), ON_LOOP(test_refused), ON_LOOP(test_undone),
		ON_LOOP(test_two),  ON_LOOP(test_allowed),
	};

	return cmocka_run_group_tests(tests, setup, teardown);
}
