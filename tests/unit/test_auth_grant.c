/* Refresh tokens that are good for one call: spent once over the cluster, written ahead, and what a death in between leaves. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "drivers/kit/tape.h"
#include "tests/unit/auth_bench.h"

#define CODE(more)                                                                                                    \
	",\"auth\":{\"kind\":\"oauth2_code\",\"authorize_url\":\"https://api.acme.example/authorize\",\"token_url\":" \
	"\"https://api.acme.example/oauth2/token\"" more "}" COLLECTION
#define CLIENT \
	"{\"client_id\":\"acme-7\",\"client_secret\":\"sesame-and-more\",\"refresh_token\":\"refresh-number-1\"}"

static struct {
	int refresh, access; /* the newest of each */
	int calls;           /* of the token endpoint */
	int status; /* of its answer; 0: as it is; -1: taken, and the connection broken; -2: broken at once */
	bool bare;  /* without a refresh token */
	bool latin; /* things, in another charset */
	pid_t kill; /* before the answer is sent */
} p;

static void answer_refresh(struct httpd_request *q)
{
	char json[300], want[60];
	size_t len;
	const char *form = httpd_body(q, &len);

	p.calls++;
	snprintf(want, sizeof(want), "refresh_token=refresh-number-%d", p.refresh);
	if (p.status == -2) {
		httpd_abort(q);
	} else if (p.status > 0) {
		reply_json(q, p.status, "{\"message\":\"down for maintenance\"}");
	} else if (!form || !memmem(form, len, want, strlen(want))) {
		reply_json(q, 400,
			   "{\"error\":\"invalid_grant\",\"error_description\":\"spent already\"}");
	} else {
		p.access++;
		if (!p.bare)
			p.refresh++;
		if (p.kill)
			kill(p.kill, SIGKILL);
		snprintf(
			json, sizeof(json),
			p.bare ? "{\"access_token\":\"access-number-%d\",\"expires_in\":3600}"
			       : "{\"access_token\":\"access-number-%d\",\"expires_in\":3600,"
				 "\"refresh_token\":\"refresh-number-%d\",\"refresh_token_expires_in\":86400,"
				 "\"next\":{\"way_on\":\"refresh-number-%d\"}}",
			p.access, p.refresh, p.refresh);
		if (p.status == -1)
			httpd_abort(q);
		else
			reply_json(q, 200, json);
	}
}

/* Only the newest access token is taken. */
static void answer(struct httpd_request *q, int number)
{
	char want[60];
	const char *auth = httpd_header(q, "Authorization");

	snprintf(want, sizeof(want), "Bearer access-number-%d", p.access);
	if (strcmp(httpd_path(q), "/oauth2/token") == 0)
		answer_refresh(q);
	else if (p.latin)
		httpd_reply(q, 200, "application/json; charset=iso-8859-1",
			    "{\"name\":\"Bj\xf6rk\"}", 16);
	else
		reply_json(q, auth && strcmp(auth, want) == 0 ? 200 : 401, "{}");
}

static void fresh(void)
{
	partner.answer = answer;
	partner.n = 0;
	memset(&p, 0, sizeof(p));
	p.refresh = 1;
}

static const char *status(void)
{
	return ask(
		"SELECT status || ': ' || coalesce(status_reason, '') FROM integrations ORDER BY id DESC LIMIT 1");
}

static const char *generation(void)
{
	return ask(
		"SELECT generation || ' ' || (spending_since IS NULL) || ' ' || spends FROM grants ORDER BY integration_id DESC LIMIT 1");
}

static void open_one(struct bench *b, const char *more, const char *credentials)
{
	char *rest = mem_printf(
		",\"auth\":{\"kind\":\"oauth2_code\",\"authorize_url\":\"https://api.acme.example/authorize\",\"token_url\":"
		"\"https://api.acme.example/oauth2/token\"%s}%s",
		more, COLLECTION);

	fresh();
	bench_open(b, ",\"concurrency\":{\"partner\":50,\"integration\":50}", rest, pg,
		   add_integration(credentials), 5000);
	free(rest);
}

static int one_get(struct bench *b, struct err *err)
{
	memset(err, 0, sizeof(*err));
	return get(&b->caller, "/things", err);
}

/* The partner ends the access token, which is not a new one any more; a process that begins finds it in Postgres. */
static void end_token(struct bench *b)
{
	int64_t id = b->integration.id, minted_ms = 0;
	struct grant g = { 0 };
	struct err err = { 0 };
	struct buf text = BUF_INIT, sealed = BUF_INIT;
	char context[40], sql[64];
	cJSON *pair = NULL;

	p.access++;
	OK(grant_get(pg, keyring, id, &g, &err) == 0);
	OK(json_parse(secret_reveal(&g.pair), g.pair.len, 65536, &pair, NULL) == 0);
	OK(json_int(pair, "minted_at_ms", &minted_ms));
	cJSON_ReplaceItemInObject(pair, "minted_at_ms",
				  cJSON_CreateNumber((double)(minted_ms - 120000)));
	json_print(pair, &text);
	snprintf(context, sizeof(context), "grant:%lld", (long long)id);
	OK(crypto_seal(keyring, context, text.data, text.len, &sealed) == 0);
	snprintf(sql, sizeof(sql), "UPDATE grants SET sealed = $1 WHERE integration_id = %lld",
		 (long long)id);
	OK(pg_execv(pg, NULL, loop_now_ms() + 10000, &err, sql, sealed.data, NULL) == 0);
	forget("token", id);
	restart(b);
	grant_clear(&g);
	cJSON_Delete(pair);
	secret_free_buf(&text);
	buf_clear(&sealed);
}

/* ---- once ---- */

struct together {
	struct bench *benches;
	int ok;
};

static void one_call(int i, void *arg)
{
	struct together *t = arg;
	struct caller c = t->benches[i % 2].caller;
	struct err err = { 0 };

	if (get(&c, "/things", &err) == 0)
		t->ok++;
	else
		fprintf(stderr, "%s: %s\n", err.rule, err.text);
}

static void body_once(void)
{
	struct bench b[2];
	struct together t = { b, 0 };
	struct err err;

	open_one(&b[0], "", CLIENT);
	bench_twin(&b[1], &b[0], pg, 5000);
	crowd_run(30, one_call, &t); /* of two processes, at once */
	OK(t.ok == 30 && p.calls == 1);
	OK(strcmp(generation(), "2 true 0") == 0);
	OK(strstr(partner.arrivals[0].body,
		  "grant_type=refresh_token&client_id=acme-7&client_secret=sesame-and-more&"
		  "refresh_token=refresh-number-1"));
	OK(!strstr(ask("SELECT sealed FROM grants ORDER BY integration_id DESC LIMIT 1"),
		   "number"));
	OK(!stands("grant", b[0].integration.id) && !stands("tokenlock", b[0].integration.id));
	OK(strcmp(ask("SELECT lapses_at > now() + interval '23 hours' FROM grants ORDER BY integration_id DESC LIMIT 1"),
		  "t") == 0);
	end_token(&b[0]); /* the next pair is asked for with the next refresh token */
	OK(one_get(&b[0], &err) == 0 && p.calls == 2 && strcmp(generation(), "3 true 0") == 0);
	OK(one_get(&b[1], &err) == 0 && p.calls == 2); /* the other process takes it */
	redis_run("FLUSHALL", NULL);                   /* Postgres has it too */
	restart(&b[0]);
	OK(one_get(&b[0], &err) == 0 && p.calls == 2);
	door_free(b[1].door);
	bench_close(&b[0]);
}

static void body_keeps_old(void)
{
	struct bench b;
	struct err err;

	open_one(&b, "", CLIENT);
	p.bare = true;
	OK(one_get(&b, &err) == 0);
	end_token(&b);
	OK(one_get(&b, &err) == 0 && p.calls == 2 && strcmp(generation(), "3 true 0") == 0);
	bench_close(&b);
	open_one(&b, ",\"refresh\":{\"keep_if_absent\":false}", CLIENT);
	p.bare = true;
	OK(one_get(&b, &err) == 0);
	end_token(&b);
	OK(one_get(&b, &err) < 0 && err.class == ERR_AUTH);
	OK(p.calls == 1 && strstr(status(), "auth_broken: its token has ended"));
	OK(strstr(status(), "longshore integration authorize"));
	bench_close(&b);
}

/* A person who stores another refresh token begins anew. */
static void body_stored_anew(void)
{
	struct bench b;
	struct err err;

	open_one(&b, "", CLIENT);
	OK(one_get(&b, &err) == 0 && p.calls == 1);
	p.refresh = 50;
	end_token(&b);
	OK(one_get(&b, &err) < 0 && strstr(status(), "auth_broken: ") &&
	   strstr(status(), "spent already"));
	store_credentials(
		b.integration.id,
		"{\"client_id\":\"acme-7\",\"client_secret\":\"sesame-and-more\",\"refresh_token\":\"refresh-number-50\"}");
	forget("cred", b.integration.id);
	restart(&b);
	OK(one_get(&b, &err) == 0 && p.refresh == 51);
	OK(one_get(&b, &err) == 0 && p.calls == 3);
	bench_close(&b);
}

static int try_credentials(struct bench *b, const char *credentials, struct err *err)
{
	struct secret json = SECRET_INIT;
	struct bench trial;
	int rc;

	memset(err, 0, sizeof(*err));
	secret_set(&json, credentials, strlen(credentials));
	bench_twin(&trial, b, pg, 5000);
	rc = auth_trial(trial.door->auth, &trial.caller, &json, err);
	if (rc == 0)
		rc = get(&trial.caller, "/things", err);
	door_free(trial.door);
	secret_clear(&json);
	return rc;
}

/* Rotated credentials are proven by a refresh, whose pair is kept; another refresh token is not spent on trial. */
static void body_tried(void)
{
	struct bench b;
	struct err err;

	open_one(&b, "", CLIENT);
	OK(one_get(&b, &err) == 0 && p.calls == 1);
	OK(try_credentials(
		   &b,
		   "{\"client_id\":\"acme-7\",\"client_secret\":\"new-sesame\",\"refresh_token\":\"refresh-number-1\"}",
		   &err) == 0);
	OK(p.calls == 2 && strcmp(generation(), "3 true 0") == 0);
	OK(try_credentials(
		   &b,
		   "{\"client_id\":\"acme-7\",\"client_secret\":\"new-sesame\",\"refresh_token\":\"refresh-number-99\"}",
		   &err) < 0);
	OK(strstr(err.text, "cannot be tried without spending it"));
	OK(p.calls == 2 && strcmp(generation(), "3 true 0") == 0 &&
	   strncmp(status(), "active", 6) == 0);
	bench_close(&b);
}

/* ---- trouble ---- */

static void body_down(void)
{
	struct bench b;
	struct err err;

	open_one(&b, "", CLIENT);
	p.status = 503;
	OK(one_get(&b, &err) == -EAGAIN && err.class == ERR_TRANSIENT);
	OK(strcmp(generation(), "1 true 0") == 0 && strncmp(status(), "active", 6) == 0);
	p.status = 0;
	restart(&b);
	OK(one_get(&b, &err) == 0 && strcmp(generation(), "2 true 0") == 0);
	bench_close(&b);
}

/* No answer: unknown, not failed.  The call was never made, or it was. */
static void body_no_answer(void)
{
	struct bench b;
	struct err err;

	open_one(&b, "", CLIENT);
	p.status = -2;
	OK(one_get(&b, &err) == -EAGAIN && err.class == ERR_TRANSIENT);
	OK(strcmp(generation(), "1 false 0") == 0 && strncmp(status(), "active", 6) == 0);
	p.status = 503; /* an answer to the second call says nothing of the first */
	restart(&b);
	OK(one_get(&b, &err) == -EAGAIN && strcmp(generation(), "1 false 0") == 0);
	p.status = 0;
	restart(&b);
	OK(one_get(&b, &err) == 0 && p.calls == 3 && strcmp(generation(), "2 true 0") == 0);
	end_token(&b);
	p.status = -1;
	OK(one_get(&b, &err) < 0 && strncmp(status(), "active", 6) == 0);
	p.status = 0;
	restart(&b);
	OK(one_get(&b, &err) < 0 && err.class == ERR_AUTH);
	OK(strstr(status(), "auth_broken: the refresh token was sent at 20") &&
	   strstr(status(), "does not take it again") &&
	   strstr(status(), "longshore integration authorize"));
	for (int i = 0; i < 3; i++)
		OK(one_get(&b, &err) == -EAGAIN && err.class == ERR_HOLD);
	OK(p.calls == 5); /* never in a loop */
	bench_close(&b);
}

static void body_nobody(void)
{
	struct bench b;
	struct err err;

	open_one(&b, "", "{\"client_id\":\"acme-7\",\"client_secret\":\"sesame-and-more\"}");
	OK(one_get(&b, &err) == -EACCES && err.class == ERR_AUTH && partner.n == 0);
	OK(strstr(status(), "auth_broken: nobody has allowed us") &&
	   strstr(status(), "longshore integration authorize"));
	OK(strstr(
		ask("SELECT what || ' ' || todo FROM alerts WHERE kind = 'auth_broken' ORDER BY since DESC LIMIT 1"),
		"authorize"));
	bench_close(&b);
}

static struct keyring *keys_of(const char *text)
{
	char path[] = "/tmp/longshore-keys-XXXXXX";
	struct keyring *k = NULL;
	struct err err = { 0 };
	int fd = mkstemp(path);

	OK(fd >= 0 && dprintf(fd, "%s", text) > 0);
	OK(keyring_load(path, &k, &err) == 0);
	unlink(path);
	close(fd);
	return k;
}

/* A new key while it waits in Redis: it moves to that, once. */
static struct keyring *move_pair(struct bench *b)
{
	static const char fresh[] = "fresh MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWY=\n";
	char key[CRYPTO_KEY_ID_BYTES], *both = mem_printf("%senv " KEY_BASE64 "\n", fresh);
	struct keyring *moving = keys_of(both);
	struct auth_rekeyed out = { 0 };
	struct err err = { 0 };
	int64_t id = b->integration.id, later = loop_now_ms() + PATIENCE_MS;

	free(both);
	OK(auth_pair_key(redis, "acme", id, key, later, &err) == 0 && !strcmp(key, "env"));
	for (int i = 0; i < 2; i++)
		OK(auth_rekey(redis, pg, moving, "acme", id, later, &out, &err) == 0);
	OK(out.pairs == 1 && out.closed == 0);
	OK(auth_pair_key(redis, "acme", id, key, later, &err) == 0 && !strcmp(key, "fresh"));
	return moving;
}

/* Postgres refuses the new pair: Redis has it, it is used, and is the first thing to be stored later. */
static void body_rescued(void)
{
	struct keyring *was = keyring;
	struct bench b;
	struct err err;

	open_one(&b, "", CLIENT);
	ask("CREATE FUNCTION no_pair() RETURNS trigger AS 'BEGIN RAISE EXCEPTION ''disk full''; END' LANGUAGE plpgsql");
	ask("CREATE TRIGGER no_pair BEFORE UPDATE OF generation ON grants FOR EACH ROW EXECUTE FUNCTION no_pair()");
	OK(one_get(&b, &err) == 0 && p.calls == 1 && stands("grant", b.integration.id));
	OK(strcmp(generation(), "1 false 1") == 0);
	keyring = move_pair(&b);
	ask("DROP TRIGGER no_pair ON grants");
	OK(strcmp(ask("SELECT spending_by IS NULL FROM grants ORDER BY integration_id DESC LIMIT 1"),
		  "f") == 0);
	forget("token", b.integration.id);
	restart(&b);
	OK(one_get(&b, &err) == 0 && p.calls == 1);
	OK(strcmp(generation(), "2 true 0") == 0 && !stands("grant", b.integration.id));
	ask("DROP FUNCTION no_pair");
	bench_close(&b);
	keyring_free(keyring);
	keyring = was;
}

/* What is written down for a cassette: no refresh token, wherever the manifest says that it is; and text, where it is read as text. */
static void body_taped(void)
{
	struct tape *tape = tape_recording(1000000);
	struct buf text = BUF_INIT;
	struct bench b;
	struct err err;
	cJSON *auth, *kept;

	open_one(&b, ",\"refresh\":{\"token\":\"next.way_on\"}", CLIENT);
	p.latin = true;
	door_free(b.door);
	b.door = b.caller.door = door_new(&(struct door_options){ .redis = redis,
								  .pg = pg,
								  .keyring = keyring,
								  .epoch = "test-4",
								  .permit_wait_ms = 5000,
								  .tape = tape });
	OK(one_get(&b, &err) == 0 && p.calls == 1);
	auth = tape_take(tape, true);
	kept = tape_take(tape, false);
	json_print(auth, &text);
	OK(cJSON_GetArraySize(auth) == 1 && !strstr(text.data, "refresh-number"));
	OK(strcmp(json_str(kept, "[0].response.json.name"), "Bj\xc3\xb6rk") == 0);
	cJSON_Delete(auth);
	cJSON_Delete(kept);
	buf_clear(&text);
	bench_close(&b);
	tape_free(tape);
}

/* ---- kill -9 ---- */

static struct {
	const char *root;
	int64_t id;
} child;

/* Another process: it asks for the token, and is killed before it has the answer. */
static void body_child(void)
{
	struct pg_options o = { .url = postgres.url, .application_name = "child" };
	struct redis_options ro = { .url = redis_server.url, .client_name = "child" };
	struct bench b;
	struct err err = { 0 };

	OK(redis_new(&ro, &redis, &err) == 0 && pg_new(&o, &pg, &err) == 0);
	OK(redis_wait_up(redis, loop_now_ms() + PATIENCE_MS) == 0);
	snprintf(partner.root, sizeof(partner.root), "%s", child.root);
	bench_open(&b, "", CODE(""), pg, child.id, 5000);
	OK(get(&b.caller, "/things", &err) == 0);
	_exit(checks_wrong ? 1 : 0);
}

static void child_co(void *arg)
{
	body_child();
}

static int child_main(char **argv)
{
	struct err err = { 0 };

	snprintf(redis_server.url, sizeof(redis_server.url), "%s", argv[2]);
	snprintf(postgres.url, sizeof(postgres.url), "%s", argv[3]);
	child.root = argv[4];
	child.id = strtoll(argv[5], NULL, 10);
	metrics_init(NULL);
	if (keyring_load("", &keyring, &err) < 0 || http_global_init() < 0 || loop_init() < 0 ||
	    !co_spawn("child", child_co, NULL))
		return 1;
	return loop_run() < 0;
}

static pid_t child_start(int64_t id)
{
	char number[24];
	pid_t pid;

	snprintf(number, sizeof(number), "%lld", (long long)id);
	pid = fork();
	if (pid == 0) {
		execl("/proc/self/exe", "test", "child", redis_server.url, postgres.url,
		      partner.root, number, NULL);
		_exit(127);
	}
	return pid;
}

static int child_end(pid_t pid)
{
	int64_t until_ms = loop_now_ms() + PATIENCE_MS;
	int how = -1;

	while (waitpid(pid, &how, WNOHANG) == 0 && loop_now_ms() < until_ms)
		OK(co_sleep("child", 20) == 0);
	return how;
}

static void body_killed(void)
{
	struct bench b;
	struct err err;
	int how;

	open_one(&b, "", CLIENT);
	how = child_end(child_start(b.integration.id)); /* it works at all */
	OK(WIFEXITED(how) && WEXITSTATUS(how) == 0 && p.calls == 1);
	OK(strcmp(generation(), "2 true 0") == 0);
	end_token(&b);
	p.kill = child_start(b.integration.id);
	how = child_end(p.kill);
	p.kill = 0;
	OK(WIFSIGNALED(how) && WTERMSIG(how) == SIGKILL && p.calls == 2);
	OK(strcmp(generation(), "2 false 1") == 0 && stands("tokenlock", b.integration.id));
	forget("tokenlock", b.integration.id); /* or 65 s */
	/* it may be alive, for all that is known: nobody sends the token a second time beside it */
	OK(one_get(&b, &err) < 0 && p.calls == 2 && strncmp(status(), "active", 6) == 0);
	ask("UPDATE grants SET spending_since = spending_since - interval '66 seconds'");
	restart(&b);
	OK(one_get(&b, &err) < 0 && err.class == ERR_AUTH);
	OK(strstr(status(), "auth_broken: the refresh token was sent at 20") &&
	   strstr(status(), "longshore integration authorize"));
	OK(p.calls == 3);
	for (int i = 0; i < 3; i++)
		OK(one_get(&b, &err) < 0);
	OK(p.calls == 3);
	/* processes that die on it again and again do not try for ever */
	ask("UPDATE grants SET spends = 5");
	restart(&b);
	OK(one_get(&b, &err) < 0 && p.calls == 3);
	OK(strstr(status(), "several times in a row"));
	bench_close(&b);
}

TEST(once)
TEST(keeps_old)
TEST(stored_anew)
TEST(tried)
TEST(down)
TEST(no_answer)
TEST(nobody)
TEST(rescued)
TEST(taped)
TEST(killed)

int main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
		ON_LOOP(once),  ON_LOOP(keeps_old), ON_LOOP(stored_anew), ON_LOOP(tried),
		ON_LOOP(down),  ON_LOOP(no_answer), ON_LOOP(nobody),      ON_LOOP(rescued),
		ON_LOOP(taped), ON_LOOP(killed),
	};

	if (argc > 5)
		return child_main(argv);
	return cmocka_run_group_tests(tests, auth_setup, auth_teardown);
}
