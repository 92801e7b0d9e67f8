/* A person signs in at a partner: through the scheduler's pages, or with a device's code; and rights that would die are used. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>
#include <sys/stat.h>

#include "drivers/kit/auth_authorize.h"
#include "scheduler/grants.h"
#include "scheduler/oauth.h"
#include "tests/unit/auth_bench.h"

#define CLIENT "{\"client_id\":\"acme 7\",\"client_secret\":\"sesame-and-more\"}"
#define BASE "\"manifest\":1,\"api\":{\"base\":{\"production\":\"https://api.acme.example/v1\"}}"
#define ACME                                                                                                     \
	"{\"partner\":\"acme\"," BASE                                                                            \
	",\"auth\":{\"kind\":\"oauth2_code\",\"authorize_url\":\"https://api.acme.example/authorize?x=1\","      \
	"\"authorize_params\":{\"scope\":\"read all\"},\"token_url\":\"https://api.acme.example/oauth2/token\"," \
	"\"refresh\":{\"dies_unused_after\":\"30d\"}}" COLLECTION "}"
#define KEYED                                                                                                 \
	"{\"partner\":\"keyed\"," BASE                                                                        \
	",\"auth\":{\"kind\":\"api_key\",\"refresh\":{\"dies_unused_after\":\"30d\"}},"                       \
	"\"pagination\":{\"kind\":\"offset\",\"limit_param\":\"limit\",\"offset_param\":\"skip\"}" COLLECTION \
	"}"
#define DEVICE                                                                                      \
	",\"auth\":{\"kind\":\"oauth2_device\",\"device_url\":\"https://api.acme.example/device\"," \
	"\"authorize_params\":{\"scope\":\"read all\"},\"token_url\":\"https://api.acme.example/oauth2/token\"}" COLLECTION

/* Of scheduler/main.c, which is not linked here. */
struct queue *scheduler_queue(struct scheduler *s, const char *name)
{
	return NULL;
}

int scheduler_sleep(struct scheduler *s, int64_t ms)
{
	return -1;
}

int scheduler_spawn(struct scheduler *s, const char *name, void (*fn)(void *), void *arg)
{
	return -1;
}

/* ---- the partner ---- */

static struct {
	const char *answer; /* of the token endpoint; NULL: a pair */
	int status, tokens;
	char verifier[80];
} p;

static void field_of(const char *form, const char *name, char *out, size_t size)
{
	char start[40];
	const char *at;

	snprintf(start, sizeof(start), "%s=", name);
	at = strstr(form, start);
	while (at && at != form && at[-1] != '&' && at[-1] != '?')
		at = strstr(at + 1, start);
	out[0] = '\0';
	if (at)
		snprintf(out, size, "%.*s", (int)strcspn(at + strlen(start), "& "),
			 at + strlen(start));
}

static void answer(struct httpd_request *q, int number)
{
	char json[200];

	if (strcmp(httpd_path(q), "/device") == 0) {
		reply_json(
			q, 200,
			"{\"device_code\":\"device-secret-1\",\"user_code\":\"WDJB-MJHT\",\"verification_uri\":"
			"\"https://acme.example/device\",\"expires_in\":1800,\"interval\":1}");
	} else if (strcmp(httpd_path(q), "/oauth2/token") != 0) {
		reply_json(q, 200, "{}");
	} else {
		p.tokens++;
		field_of(partner.arrivals[number - 1].body, "code_verifier", p.verifier,
			 sizeof(p.verifier));
		snprintf(
			json, sizeof(json),
			"{\"access_token\":\"access-number-%d\",\"expires_in\":3600,\"refresh_token\":\"refresh-number-%d\"}",
			p.tokens, p.tokens);
		reply_json(q, p.answer ? p.status : 200, p.answer ? p.answer : json);
	}
}

/* ---- the scheduler ---- */

static struct {
	struct scheduler s;
	struct httpd *inside, *outside;
	struct http_pool *pool;
	char dir[64], cookie[120]; /* the browser's */
} self;

static void write_manifest(const char *partner_name, const char *text)
{
	char path[200];
	FILE *f;

	snprintf(path, sizeof(path), "%s/%s", self.dir, partner_name);
	OK(mkdir(path, 0755) == 0);
	strncat(path, "/manifest.json", sizeof(path) - strlen(path) - 1);
	f = fopen(path, "w");
	OK(f && fputs(text, f) >= 0);
	if (f)
		fclose(f);
}

static void remove_manifest(const char *partner_name)
{
	char path[200];

	snprintf(path, sizeof(path), "%s/%s/manifest.json", self.dir, partner_name);
	unlink(path);
	*strrchr(path, '/') = '\0';
	rmdir(path);
}

static void scheduler_open(void)
{
	struct door_options o = { .redis = redis, .pg = pg, .keyring = keyring };
	struct httpd_options h = { .listen = "127.0.0.1:0" };
	struct buf problems = BUF_INIT;
	struct err err = { 0 };

	memset(&p, 0, sizeof(p));
	partner.answer = answer;
	ask("DELETE FROM integrations"); /* of other tests */
	memset(&self, 0, sizeof(self));
	snprintf(self.dir, sizeof(self.dir), "/tmp/longshore-test-XXXXXX");
	OK(mkdtemp(self.dir) != NULL);
	write_manifest("acme", ACME);
	write_manifest("keyed", KEYED);
	self.s = (struct scheduler){ .redis = redis,
				     .pg = pg,
				     .keyring = keyring,
				     .door = door_new(&o),
				     .public_url = "https://ls.example" };
	OK(driver_set_load(self.dir, &self.s.drivers, &problems, &err) == 0 && !problems.len);
	OK(httpd_new(&h, &self.inside, &err) == 0 && httpd_new(&h, &self.outside, &err) == 0);
	oauth_routes(&self.s, self.inside, false);
	oauth_routes(&self.s, self.outside, true);
	self.pool = http_pool_new("test", 4);
	fprintf(stderr, "%s", buf_str(&problems));
	buf_clear(&problems);
}

static void scheduler_close(void)
{
	http_pool_free(self.pool);
	OK(httpd_drain(self.inside, loop_now_ms() + PATIENCE_MS) == 0);
	OK(httpd_drain(self.outside, loop_now_ms() + PATIENCE_MS) == 0);
	httpd_free(self.inside);
	httpd_free(self.outside);
	door_free(self.s.door);
	driver_set_free(self.s.drivers);
	remove_manifest("acme");
	remove_manifest("keyed");
	rmdir(self.dir);
}

/* A browser's GET; the page and the address it is sent on to. */
static int browse(struct httpd *h, const char *path, struct http_response *r)
{
	char *url = mem_printf("http://127.0.0.1:%d%s", httpd_port(h), path);
	struct http_header cookie = { "Cookie", self.cookie };
	struct http_request q = {
		.method = "GET", .url = url, .headers = &cookie, .n_headers = self.cookie[0] != 0
	};
	const char *set;

	http_response_clear(r);
	OK(http_send(self.pool, &q, r) == 0);
	set = http_response_header(r, "set-cookie");
	if (set) {
		OK(strstr(set, "; HttpOnly; SameSite=Lax; Secure") != NULL);
		snprintf(self.cookie, sizeof(self.cookie), "other=1; %.*s", (int)strcspn(set, ";"),
			 set);
	}
	free(url);
	return r->status;
}

static int64_t add_of(const char *partner_name, const char *credentials)
{
	int64_t id = add_integration(credentials);
	char *sql = mem_printf(
		"UPDATE integrations SET partner = '%s', base_url = '%s/v1' WHERE id = %lld",
		partner_name, partner.root, (long long)id);

	ask(sql);
	free(sql);
	return id;
}

static const char *status(void)
{
	return ask("SELECT status FROM integrations ORDER BY id DESC LIMIT 1");
}

/* Begins to sign in; the state and the challenge that the partner would see. */
static void begin(int64_t id, char state[80], char challenge[80])
{
	struct http_response r = { 0 };
	char path[120];
	const char *to;

	snprintf(path, sizeof(path), "/oauth/start/%lld", (long long)id);
	OK(browse(self.inside, path, &r) == 302);
	to = http_response_header(&r, "location"); /* where the cookie is of the right host */
	OK(to && strncmp(to, "https://ls.example/oauth/start/", 31) == 0);
	snprintf(path, sizeof(path), "%s", to ? to + 18 : "");
	OK(browse(self.outside, path, &r) == 302);
	to = http_response_header(&r, "location");
	OK(to != NULL);
	field_of(to ? to : "", "state", state, 80);
	field_of(to ? to : "", "code_challenge", challenge, 80);
	OK(strlen(state) == 43 && strlen(challenge) == 43);
	http_response_clear(&r);
}

static int come_back(const char *state, const char *rest, struct http_response *r)
{
	char *path = mem_printf("/oauth/callback?state=%s%s", state, rest);
	int code = browse(self.outside, path, r);

	free(path);
	return code;
}

static void challenge_of(const char *verifier, char out[80])
{
	uint8_t sum[SHA256_BYTES];
	struct buf text = BUF_INIT;
	size_t n;

	crypto_sha256(verifier, strlen(verifier), sum);
	base64_encode(&text, sum, sizeof(sum));
	n = strcspn(buf_str(&text), "=");
	for (size_t i = 0; i < n; i++)
		out[i] = text.data[i] == '+' ? '-' : text.data[i] == '/' ? '_' : text.data[i];
	out[n] = '\0';
	buf_clear(&text);
}

static void body_code(void)
{
	struct http_response r = { 0 };
	char state[80], challenge[80], want[80], *body_sent;
	struct err err = { 0 };
	int64_t id;

	scheduler_open();
	id = add_of("acme", CLIENT);
	OK(integration_set_status(pg, id, "auth_broken", "nobody has allowed us", &err) == 0);
	begin(id, state, challenge);
	OK(partner.n == 0); /* the partner's page is the person's to open */
	OK(come_back(state, "&code=a%2Fgood+code", &r) == 200 &&
	   strstr(buf_str(&r.body), "connected"));
	challenge_of(p.verifier, want);
	OK(p.tokens == 1 && strlen(p.verifier) == 43 && strcmp(want, challenge) == 0);
	body_sent = partner.arrivals[0].body;
	OK(strstr(body_sent, "grant_type=authorization_code&client_id=acme%207&client_secret=") &&
	   strstr(body_sent, "&code=a%2Fgood%20code&") &&
	   strstr(body_sent, "&redirect_uri=https%3A%2F%2Fls.example%2Foauth%2Fcallback&"));
	OK(strcmp(status(), "active") == 0);
	OK(strcmp(ask("SELECT generation FROM grants ORDER BY integration_id DESC LIMIT 1"), "1") ==
	   0);
	OK(stands("token", id));
	/* once */
	OK(come_back(state, "&code=another", &r) == 404 && strstr(buf_str(&r.body), "not known"));
	OK(come_back("made-up", "&code=x", &r) == 404 && p.tokens == 1);
	OK(browse(self.outside, "/oauth/callback", &r) == 404);
	/* in another browser, or one without cookies: somebody was lured into it */
	begin(id, state, challenge);
	self.cookie[strlen(self.cookie) - 1] ^= 1;
	OK(come_back(state, "&code=x", &r) == 403 && strstr(buf_str(&r.body), "another browser"));
	begin(id, state, challenge);
	self.cookie[0] = '\0';
	OK(come_back(state, "&code=x", &r) == 403 && p.tokens == 1);
	/* refused by the person: what the partner says is shown, not run */
	begin(id, state, challenge);
	OK(come_back(state, "&error=access_denied&error_description=%3Cscript%3E%80", &r) == 403);
	OK(strstr(buf_str(&r.body), "access_denied: &lt;script&gt;") &&
	   !strstr(buf_str(&r.body), "<script>"));
	OK(come_back(state, "&code=x", &r) == 404 && p.tokens == 1);
	/* refused by the partner */
	begin(id, state, challenge);
	p.answer =
		"{\"error\":\"invalid_grant\",\"error_description\":\"code old-code-7 is too old\"}";
	p.status = 400;
	OK(come_back(state, "&code=old-code-7", &r) == 502 &&
	   strstr(buf_str(&r.body), "code *** is too old"));
	OK(strcmp(status(), "active") == 0 && p.tokens == 2);
	http_response_clear(&r);
	scheduler_close();
}

static void body_tickets(void)
{
	struct http_response r = { 0 };
	char path[200], ticket[AUTHORIZE_TOKEN_BYTES];
	struct err err = { 0 };
	const char *to;
	int64_t id, other;

	scheduler_open();
	other = add_of("acme", CLIENT);
	id = add_of("acme", CLIENT);
	snprintf(path, sizeof(path), "/oauth/start/%lld", (long long)id);
	OK(browse(self.outside, path, &r) == 403); /* from the outside, nobody asked for it */
	OK(authorize_ticket_new(redis, id, ticket, &err) == 0);
	snprintf(path, sizeof(path), "/oauth/start/%lld?ticket=%s", (long long)other, ticket);
	OK(browse(self.outside, path, &r) == 403);
	snprintf(path, sizeof(path), "/oauth/start/%lld?ticket=%s", (long long)id, ticket);
	OK(browse(self.outside, path, &r) == 302);
	to = http_response_header(&r, "location");
	OK(to && strncmp(to, partner.root, strlen(partner.root)) == 0);
	OK(to &&
	   strstr(to, "/authorize?x=1&response_type=code&client_id=acme%207&redirect_uri=https"));
	OK(to && strstr(to, "&code_challenge_method=S256&scope=read%20all"));
	OK(browse(self.outside, path, &r) == 302); /* a page may be loaded again */
	OK(browse(self.inside, "/oauth/start/0", &r) == 404);
	OK(browse(self.inside, "/oauth/start/99999", &r) == 404);
	OK(browse(self.inside, "/oauth/start/7x", &r) == 404);
	snprintf(path, sizeof(path), "/oauth/start/%lld",
		 (long long)add_of("keyed", "{\"api_key\":\"key-12345\"}"));
	OK(browse(self.inside, path, &r) == 404 && strstr(buf_str(&r.body), "nothing to sign in"));
	snprintf(path, sizeof(path), "/oauth/start/%lld", (long long)id);
	self.s.public_url = NULL;
	OK(browse(self.inside, path, &r) == 503 && strstr(buf_str(&r.body), "--public-url"));
	self.s.public_url = "http://127.1"; /* no partner can send anybody there */
	OK(browse(self.inside, path, &r) == 503 && strstr(buf_str(&r.body), "loopback"));
	http_response_clear(&r);
	scheduler_close();
}

static int sign_in(struct bench *b, struct err *err)
{
	struct authorize_state st = { 0 };
	struct buf url = BUF_INIT;
	char state[80];
	int rc;

	memset(err, 0, sizeof(*err));
	OK(authorize_begin(&b->caller, "https://ls.example/oauth/callback", "a-browser", &url,
			   err) == 0);
	field_of(buf_str(&url), "state", state, sizeof(state));
	OK(authorize_take(redis, keyring, state, &st, err) == 0);
	rc = authorize_code(&b->caller, &st, "code-1", err);
	authorize_state_clear(&st);
	buf_clear(&url);
	return rc;
}

/* Of a token endpoint's few calls a share is kept back for people. */
static void body_share(void)
{
	struct bench b;
	struct err err = { 0 };

	memset(&p, 0, sizeof(p));
	partner.answer = answer;
	bench_open(
		&b, "",
		",\"auth\":{\"kind\":\"oauth2_code\",\"authorize_url\":\"https://api.acme.example/authorize\",\"token_url\":"
		"\"https://api.acme.example/oauth2/token\",\"mint_limit\":{\"count\":2,\"window\":\"24h\",\"share\":0.5}}" COLLECTION,
		pg, add_integration(CLIENT), 5000);
	OK(sign_in(&b, &err) == 0 && p.tokens == 1);
	OK(auth_keep_alive(&b.caller, &err) == -EAGAIN && err.class == ERR_HOLD && p.tokens == 1);
	OK(sign_in(&b, &err) == 0 && p.tokens == 2);
	OK(sign_in(&b, &err) == -EAGAIN && strstr(err.text, "allows 2 in 86400 s") &&
	   p.tokens == 2);
	bench_close(&b);
}

/* ---- a device ---- */

static void body_device(void)
{
	struct device_code d = { .user_code = NULL };
	struct bench b;
	struct err err = { 0 };

	memset(&p, 0, sizeof(p));
	partner.answer = answer;
	bench_open(&b, "", DEVICE, pg, add_integration("{\"client_id\":\"acme-7\"}"), 5000);
	OK(device_begin(&b.caller, &d, &err) == 0);
	OK(strcmp(partner.arrivals[0].body, "client_id=acme-7&scope=read%20all") == 0);
	OK(d.user_code && strcmp(d.user_code, "WDJB-MJHT") == 0 && d.interval_ms == 1000);
	OK(d.ends_ms - loop_now_ms() > 1700000);
	p.status = 400;
	p.answer = "{\"error\":\"authorization_pending\"}";
	OK(device_poll(&b.caller, &d, &err) == -EINPROGRESS && d.interval_ms == 1000);
	OK(strcmp(partner.arrivals[1].body,
		  "grant_type=urn%3Aietf%3Aparams%3Aoauth%3Agrant-type%3Adevice_code&client_id=acme-7&"
		  "device_code=device-secret-1") == 0);
	p.answer = "{\"error\":\"slow_down\"}";
	OK(device_poll(&b.caller, &d, &err) == -EINPROGRESS && d.interval_ms == 6000);
	p.status = 503;
	p.answer = "{}";
	OK(device_poll(&b.caller, &d, &err) == -EINPROGRESS && d.interval_ms == 12000);
	p.answer = NULL;
	OK(device_poll(&b.caller, &d, &err) == 0);
	OK(strcmp(ask("SELECT generation || sealed FROM grants ORDER BY integration_id DESC LIMIT 1"),
		  "") != 0);
	OK(get(&b.caller, "/things", &err) == 0);
	OK(strcmp(partner.arrivals[partner.n - 1].auth, "Bearer access-number-4") == 0);
	p.status = 400;
	p.answer = "{\"error\":\"access_denied\"}";
	OK(device_poll(&b.caller, &d, &err) == -EACCES && strstr(err.text, "refused"));
	p.answer = "{\"error\":\"expired_token\"}";
	OK(device_poll(&b.caller, &d, &err) == -EACCES && strstr(err.text, "in time"));
	d.ends_ms = loop_now_ms() - 1;
	p.answer = "{\"error\":\"authorization_pending\"}";
	OK(device_poll(&b.caller, &d, &err) == -EACCES);
	device_code_clear(&d);
	bench_close(&b);
}

/* ---- rights that lapse ---- */

static const char *alert(void)
{
	return ask(
		"SELECT state || ' ' || what || ' ' || todo FROM alerts WHERE kind = 'grant_lapses' ORDER BY last_seen DESC LIMIT 1");
}

static void body_lapsing(void)
{
	char state[80], challenge[80];
	struct http_response r = { 0 };
	int64_t id;

	scheduler_open();
	id = add_of("acme", CLIENT);
	begin(id, state, challenge);
	OK(come_back(state, "&code=good", &r) == 200);
	http_response_clear(&r);
	grants_look(&self.s);
	OK(p.tokens == 1 && !alert()[0]);
	ask("UPDATE grants SET used_at = now() - interval '16 days'"); /* over half of its time */
	grants_look(&self.s);
	OK(p.tokens == 2 && !alert()[0]);
	OK(strcmp(ask("SELECT used_at > now() - interval '1 hour' FROM grants ORDER BY integration_id DESC LIMIT 1"),
		  "t") == 0);
	ask("UPDATE grants SET used_at = now() - interval '29 days'");
	p.answer = "{\"message\":\"down for maintenance\"}";
	p.status = 503;
	grants_look(&self.s);
	OK(p.tokens == 3 && strstr(alert(), "open what acme allowed us") &&
	   strstr(alert(), "ends in 2") && strstr(alert(), "longshore integration authorize"));
	p.answer = NULL;
	ask("UPDATE grants SET used_at = now(), lapses_at = now() + interval '6 days'");
	grants_look(&self.s);
	OK(strstr(alert(), "open ") && strstr(alert(), " hours: it was given for a time"));
	ask("UPDATE grants SET lapses_at = now() + interval '8 days'");
	grants_look(&self.s);
	OK(strncmp(alert(), "resolved", 8) == 0 && p.tokens == 3);
	scheduler_close();
}

/* A key that dies when it is not used: a small call is made with it. */
static void body_key_unused(void)
{
	scheduler_open();
	(void)add_of("keyed", "{\"api_key\":\"key-12345\"}");
	grants_look(&self.s);
	OK(partner.n == 0);
	ask("UPDATE credentials SET updated_at = now() - interval '16 days'");
	grants_look(&self.s);
	OK(partner.n >= 1 && strcmp(partner.arrivals[0].path, "/v1/things") == 0);
	OK(strcmp(partner.arrivals[0].query, "limit=1") == 0 &&
	   strcmp(partner.arrivals[0].auth, "Bearer key-12345") == 0);
	partner.n = 0;
	grants_look(&self.s);
	OK(partner.n == 0);
	scheduler_close();
}

TEST(code)
TEST(tickets)
TEST(share)
TEST(device)
TEST(lapsing)
TEST(key_unused)

int main(void)
{
	const struct CMUnitTest tests[] = {
		ON_LOOP(code),   ON_LOOP(tickets), ON_LOOP(share),
		ON_LOOP(device), ON_LOOP(lapsing), ON_LOOP(key_unused),
	};

	return cmocka_run_group_tests(tests, auth_setup, auth_teardown);
}
