/* The one door, against a real redis-server and a partner in this process. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "tests/unit/partner.h"

#define AUTH_KEY ",\"auth\":{\"kind\":\"api_key\",\"name\":\"X-Key\"}"
#define COLLECTION                                                                                                   \
	",\"collections\":{\"things\":{\"get\":\"/things\",\"records\":\"@\",\"id\":\"id\",\"table\":\"resources\"," \
	"\"map\":{\"name\":\"name\"}}}"

static void answer_ok(struct httpd_request *q, int number)
{
	reply_json(q, 200, "{\"ok\":true}");
}

/* What a credential in Redis looks like to a worker that finds it there. */
static void seed_credential(int64_t id, const char *json)
{
	char key[64], context[64];
	struct buf sealed = BUF_INIT;

	snprintf(key, sizeof(key), "cred:{acme}:%lld", (long long)id);
	snprintf(context, sizeof(context), "credential:%lld", (long long)id);
	OK(crypto_seal(keyring, context, json, strlen(json), &sealed) == 0);
	OK(redis_callv(redis, NULL, loop_now_ms() + PATIENCE_MS, NULL, "SET", key, sealed.data,
		       NULL) == 0);
	buf_clear(&sealed);
}

/* ---- addresses ---- */

static void base_is(const char *production, const char *sandbox, const char *environment,
		    const char *own, const char *want, const char *root)
{
	struct manifest m = { .partner = "acme",
			      .base_production = production,
			      .base_sandbox = sandbox };
	struct driver d = { .manifest = &m };
	struct integration i = { .id = 1,
				 .environment = (char *)environment,
				 .base_url = (char *)own };
	struct buf base = BUF_INIT;
	struct roots r;

	call_base_url(&d, &i, &base);
	roots_init(&r, &d, &i);
	assert_string_equal(buf_str(&base), want);
	assert_string_equal(buf_str(&r.root), root);
	roots_clear(&r);
	buf_clear(&base);
}

static void test_base_url(void **state)
{
	static const char p[] = "https://a.example/v1", s[] = "https://sand.example/x/v1";

	base_is(p, NULL, "production", NULL, p, "https://a.example");
	base_is("https://a.example/v1/", NULL, "production", NULL, p, "https://a.example");
	base_is(p, s, "sandbox", NULL, s, "https://sand.example/x");
	base_is(p, NULL, "sandbox", NULL, "", "");
	base_is(p, s, "production", "http://127.0.0.1:9/v1", "http://127.0.0.1:9/v1",
		"http://127.0.0.1:9");
	base_is(p, s, "production", "http://127.0.0.1:9/guesty/v1", "http://127.0.0.1:9/guesty/v1",
		"http://127.0.0.1:9/guesty");
	base_is(p, s, "production", "http://127.0.0.1:9/api", "http://127.0.0.1:9/api",
		"http://127.0.0.1:9");
	base_is(p, s, "production", "http://127.0.0.1:9", "http://127.0.0.1:9/v1",
		"http://127.0.0.1:9");
	base_is(p, s, "production", "http://127.0.0.1:9/", "http://127.0.0.1:9/v1",
		"http://127.0.0.1:9");
	base_is("http://a.example", NULL, "production", "http://b.example", "http://b.example",
		"http://b.example");
}

static void url_is(const struct route *r, const char *path, const char *want)
{
	struct manifest_pair query[] = { { "a b", "1&2=3" }, { "q", "[{\"f\":1}]" } };
	struct call_spec spec = { .path = path, .query = query, .n_query = 2 };
	struct buf url = BUF_INIT;
	struct err err = { 0 };
	int rc = route_url(r, &spec, NULL, NULL, &url, &err);

	if (want) {
		assert_int_equal(rc, 0);
		assert_string_equal(buf_str(&url), want);
	} else {
		assert_int_equal(rc, -EINVAL);
		assert_int_equal(err.class, ERR_DATA);
	}
	buf_clear(&url);
}

static void test_url(void **state)
{
	static const char query[] = "a%20b=1%262%3D3&q=%5B%7B%22f%22%3A1%7D%5D";
	static struct manifest m = { .partner = "acme",
				     .base_production = "https://a.example/v1",
				     .auth.token_url = "https://login.example/token" };
	struct driver d = { .manifest = &m };
	struct integration i = { .id = 1,
				 .environment = (char *)"production",
				 .base_url = (char *)"http://127.0.0.1:9/v1" };
	struct route r = { .driver = &d };
	char want[200];

	roots_init(&r.roots, &d, &i);
	snprintf(want, sizeof(want), "http://127.0.0.1:9/v1/things?%s", query);
	url_is(&r, "/things", want);
	url_is(&r, "things", want);
	snprintf(want, sizeof(want), "http://127.0.0.1:9/v1/things?x=1&%s", query);
	url_is(&r, "/things?x=1", want);
	url_is(&r, "https://a.example/v1/things?x=1", want);
	url_is(&r, "HTTPS://A.example/v1/things?x=1", want);
	url_is(&r, "http://127.0.0.1:9/v1/things?x=1", want);
	snprintf(want, sizeof(want), "https://login.example/token?%s", query);
	url_is(&r, "https://login.example/token", want);
	url_is(&r, "https://evil.example/v1/things", NULL);
	url_is(&r, "https://a.example@evil.example/v1", NULL);
	url_is(&r, "https://a.example.evil.example/v1", NULL);
	url_is(&r, "http://a.example/v1", NULL); /* not over a lesser scheme */
	roots_clear(&r.roots);
}

/* ---- one call ---- */

static void body_success(void)
{
	struct bench b;
	struct manifest_pair query[] = { { "limit", "10" }, { "name", "a&b" } };
	struct call_spec spec = { .endpoint = "/things/{id}",
				  .method = "GET",
				  .path = "/things/7",
				  .query = query,
				  .n_query = 2 };
	struct call_result r;
	struct err err = { 0 };
	int64_t before;

	partner.answer = answer_ok;
	bench_open(&b, ",\"headers\":{\"X-Account\":\"{cfg.account}\"}", AUTH_KEY COLLECTION, NULL,
		   7, 0);
	cJSON_AddStringToObject(b.integration.settings, "account", "north");
	seed_credential(7, "{\"api_key\":\"k-secret-1\"}");
	before = redis_now_us(redis);
	OK(call(&b.caller, &spec, &r, &err) == 0);
	OK(err.class == ERR_NONE);
	OK(r.http.status == 200 && json_bool(r.json, "ok", false));
	OK(r.observed_us >= before && r.observed_us <= redis_now_us(redis) &&
	   b.caller.observed_us == r.observed_us);
	OK(b.caller.calls == 1 && partner.n == 1);
	OK(strcmp(partner.arrivals[0].path, "/v1/things/7") == 0);
	OK(strcmp(partner.arrivals[0].query, "limit=10&name=a%26b") == 0);
	OK(strcmp(partner.arrivals[0].accept, "application/json") == 0);
	OK(strncmp(partner.arrivals[0].agent, "longshore/", 10) == 0);
	OK(strcmp(partner.arrivals[0].pinned, "north") == 0);
	OK(printed(
		"integration_api_calls_total{endpoint=\"/things/{id}\",partner=\"acme\",status_code=\"200\"} 1"));
	OK(printed(
		"integration_api_call_duration_seconds_count{endpoint=\"/things/{id}\",partner=\"acme\"} 1"));
	OK(printed("integration_limit_wait_seconds_count{partner=\"acme\"} 1"));
	call_result_clear(&r);

	/* the route follows the settings */
	cJSON_ReplaceItemInObject(b.integration.settings, "account", cJSON_CreateString("south"));
	OK(get(&b.caller, "/things", &err) == 0);
	OK(strcmp(partner.arrivals[1].pinned, "south") == 0);
	cJSON_DeleteItemFromObject(b.integration.settings, "account");
	OK(get(&b.caller, "/things", &err) == -EINVAL && strstr(err.text, "account"));
	OK(partner.n == 2);
	bench_close(&b);
}

static void test_success(void **state)
{
	assert_int_equal(on_loop(body_success), 0);
}

static void answer_by_path(struct httpd_request *q, int number)
{
	const char *path = httpd_path(q);

	if (strcmp(path, "/v1/missing") == 0)
		reply_json(q, 404, "{\"message\":\"no such thing\"}");
	else if (strcmp(path, "/v1/broken") == 0)
		reply_json(q, 200, "{\"a\":[1,2");
	else if (strcmp(path, "/v1/lies") == 0)
		reply_json(q, 200, "{\"success\":false,\"message\":\"nope\"}");
	else if (strcmp(path, "/v1/empty") == 0)
		httpd_reply(q, 204, NULL, NULL, 0);
	else if (strcmp(path, "/v1/cut") == 0)
		httpd_abort(q);
	else
		httpd_reply(q, 502, "text/html", "<html>Bad gateway</html>", 24);
}

static void body_failures(void)
{
	struct bench b;
	struct call_spec spec = { .endpoint = "/empty", .method = "GET", .path = "/empty" };
	struct call_result r;
	struct err err = { 0 };

	partner.answer = answer_by_path;
	bench_open(
		&b, "",
		",\"errors\":[{\"status\":200,\"json\":\"success\",\"in\":[false],\"class\":\"client\"}]" COLLECTION,
		NULL, 8, 0);
	OK(get(&b.caller, "/missing", &err) == -EREMOTEIO && err.class == ERR_CLIENT &&
	   strstr(err.text, "no such thing"));
	OK(get(&b.caller, "/broken", &err) == -EREMOTEIO && err.class == ERR_DATA);
	OK(get(&b.caller, "/lies", &err) == -EREMOTEIO && err.class == ERR_CLIENT &&
	   strcmp(err.rule, "errors[0]") == 0);
	OK(call(&b.caller, &spec, &r, &err) == 0 && r.json == NULL && r.http.status == 204);
	call_result_clear(&r);
	spec.path = "/gateway";
	OK(call(&b.caller, &spec, &r, &err) == -EREMOTEIO && err.class == ERR_TRANSIENT &&
	   r.http.status == 502);
	call_result_clear(&r);
	spec.path = "/cut";
	spec.endpoint = "/cut";
	OK(call(&b.caller, &spec, &r, &err) == -EREMOTEIO && err.class == ERR_TRANSIENT &&
	   r.http.status == 0);
	OK(r.http.failure != NULL);
	call_result_clear(&r);
	spec.path = "https://evil.example/v1";
	OK(call(&b.caller, &spec, &r, &err) == -EINVAL && err.class == ERR_DATA);
	call_result_clear(&r);
	free(b.integration.base_url);
	b.integration.base_url = mem_strdup("http://127.0.0.1:1/v1");
	spec.path = spec.endpoint = "/refused";
	OK(call(&b.caller, &spec, &r, &err) == -EREMOTEIO && err.class == ERR_TRANSIENT);
	OK(r.http.failure && strcmp(r.http.failure, "refused") == 0);
	OK(printed(
		"integration_api_calls_total{endpoint=\"/refused\",partner=\"acme\",status_code=\"refused\"} 1"));
	call_result_clear(&r);
	bench_close(&b);
}

static void test_failures(void **state)
{
	assert_int_equal(on_loop(body_failures), 0);
}

static int upper_hook(const char *body, size_t len, struct buf *out, struct err *err)
{
	if (len < 2 || body[0] != '#')
		return err_set(err, -EINVAL, ERR_DATA, "decode_body", "no # at the start");
	buf_append(out, body + 1, len - 1);
	return 0;
}

static void answer_hashed(struct httpd_request *q, int number)
{
	reply_json(q, 200, number == 1 ? "#{\"ok\":true}" : "{\"ok\":true}");
}

static void body_decode(void)
{
	static const struct driver_hooks hooks = { .partner = "acme", .decode_body = upper_hook };
	struct bench b;
	struct err err = { 0 };

	partner.answer = answer_hashed;
	bench_open(&b, "", COLLECTION, NULL, 9, 0);
	b.driver.hooks = &hooks;
	OK(get(&b.caller, "/things", &err) == 0);
	OK(get(&b.caller, "/things", &err) == -EREMOTEIO && err.class == ERR_DATA);
	bench_close(&b);
}

static void test_decode_body(void **state)
{
	assert_int_equal(on_loop(body_decode), 0);
}

/* ---- limits ---- */

struct many {
	struct bench *b;
	int ok, held;
	int64_t waited_ms;
};

static void one_of_many(int i, void *arg)
{
	struct many *m = arg;
	struct caller c = m->b->caller;
	struct err err = { 0 };
	int64_t deadline = loop_now_ms() + 2500;
	int rc;

	co_set_deadline(co_self(), deadline);
	rc = get(&c, "/things", &err);
	m->ok += rc == 0;
	m->held += rc == -EAGAIN && err.class == ERR_HOLD && err.retry_after_ms > 0;
	m->waited_ms += c.permit_waited_ms;
	/* what was waited for a permit was added to the job's time, and nothing more */
	OK(co_deadline(co_self()) == deadline + c.permit_waited_ms);
}

static int most_within(int64_t window_ms)
{
	int most = 0;

	for (int i = 0; i < partner.n; i++) {
		int n = 0;

		for (int k = 0; k < partner.n; k++)
			n += partner.arrivals[k].at_ms >= partner.arrivals[i].at_ms &&
			     partner.arrivals[k].at_ms < partner.arrivals[i].at_ms + window_ms;
		if (n > most)
			most = n;
	}
	return most;
}

static void body_rate(void)
{
	struct bench b;
	struct many m = { &b, 0, 0, 0 };

	partner.answer = answer_ok;
	bench_open(
		&b, "",
		",\"limits\":[{\"scope\":\"integration\",\"rate\":5,\"window\":\"1s\",\"share\":0.8}]" COLLECTION,
		NULL, 10, 5000);
	crowd_run(12, one_of_many, &m);
	OK(m.ok == 12);
	OK(partner.n == 12 && most_within(1000) <= 4); /* 5 x 0.8 */
	OK(m.waited_ms >= 4 * 1000 + 4 * 2000);
	bench_close(&b);
}

static void test_rate(void **state)
{
	assert_int_equal(on_loop(body_rate), 0);
}

static void body_long_wait(void)
{
	struct bench b, twin;
	struct err err = { 0 };

	partner.answer = answer_ok;
	bench_open(
		&b, "",
		",\"limits\":[{\"scope\":\"partner\",\"rate\":1,\"window\":\"60s\",\"share\":1}]" COLLECTION,
		NULL, 11, 500);
	OK(get(&b.caller, "/things", &err) == 0);
	OK(get(&b.caller, "/things", &err) == -EAGAIN);
	OK(err.class == ERR_HOLD && err.retry_after_ms > 50000 && err.retry_after_ms <= 61000);
	bench_twin(&twin, &b, NULL, 500);
	OK(get(&twin.caller, "/things", &err) == -EAGAIN && err.class == ERR_HOLD);
	OK(partner.n == 1);
	door_free(twin.door);
	bench_close(&b);
}

static void test_long_wait(void **state)
{
	assert_int_equal(on_loop(body_long_wait), 0);
}

static void answer_slow(struct httpd_request *q, int number)
{
	OK(co_sleep("slow partner", 100) == 0);
	reply_json(q, 200, "{}");
}

static void body_in_flight(void)
{
	struct bench b;
	struct many m = { &b, 0, 0, 0 };

	partner.answer = answer_slow;
	bench_open(&b, ",\"concurrency\":{\"partner\":10,\"integration\":3}", COLLECTION, NULL, 12,
		   5000);
	crowd_run(9, one_of_many, &m);
	OK(m.ok == 9);
	OK(partner.most_under_way <= 3 && partner.most_under_way >= 2);
	bench_close(&b);
}

static void test_in_flight(void **state)
{
	assert_int_equal(on_loop(body_in_flight), 0);
}

struct doomed {
	struct bench *b;
	int rc;
	bool done;
};

static void call_and_die(void *arg)
{
	struct doomed *d = arg;
	struct err err;

	d->rc = get(&d->b->caller, "/things", &err);
	d->done = true;
}

static void answer_never(struct httpd_request *q, int number)
{
	if (number == 1)
		(void)co_sleep("never", 3000);
	reply_json(q, 200, "{}");
}

/* A call that was cancelled gives its place in flight back. */
static void body_cancel(void)
{
	struct bench b;
	struct doomed d = { &b, 0, false };
	struct err err = { 0 };
	struct co *co;

	partner.answer = answer_never;
	bench_open(&b, ",\"concurrency\":{\"partner\":1,\"integration\":1}", COLLECTION, NULL, 13,
		   2000);
	co = co_spawn("doomed", call_and_die, &d);
	while (partner.n == 0)
		OK(co_sleep("arrival", 5) == 0);
	co_cancel(co);
	while (!d.done)
		OK(co_sleep("end", 1) == 0);
	OK(d.rc == -ECANCELED);
	OK(get(&b.caller, "/things", &err) == 0);
	bench_close(&b);
}

static void test_cancel(void **state)
{
	assert_int_equal(on_loop(body_cancel), 0);
}

/* ---- what the partner says of limits ---- */

static void answer_429_first(struct httpd_request *q, int number)
{
	if (number > 1) {
		reply_json(q, 200, "{}");
		return;
	}
	httpd_add_header(q, "Retry-After", "3");
	reply_json(q, 429, "{\"message\":\"slow down\"}");
}

static void body_retry_after(void)
{
	struct bench b, twin;
	struct err err = { 0 };

	partner.answer = answer_429_first;
	bench_open(&b, "", COLLECTION, NULL, 14, 400);
	OK(get(&b.caller, "/things", &err) == -EAGAIN);
	OK(err.class == ERR_RATE_LIMIT && err.retry_after_ms == 3000);
	bench_twin(&twin, &b, NULL, 400); /* another worker */
	OK(get(&twin.caller, "/things", &err) == -EAGAIN && err.class == ERR_HOLD);
	OK(err.retry_after_ms > 500 && err.retry_after_ms <= 3100);
	OK(partner.n == 1);
	door_free(twin.door);
	bench_twin(&twin, &b, NULL, 5000);
	OK(get(&twin.caller, "/things", &err) == 0);
	OK(partner.arrivals[1].at_ms - partner.arrivals[0].at_ms >= 2950);
	door_free(twin.door);
	bench_close(&b);
}

static void test_retry_after(void **state)
{
	assert_int_equal(on_loop(body_retry_after), 0);
}

static void answer_429_bare(struct httpd_request *q, int number)
{
	reply_json(q, 429, "{}");
}

static void body_unhinted(void)
{
	struct bench b;
	struct err err = { 0 };

	partner.answer = answer_429_bare;
	bench_open(&b, "", COLLECTION, NULL, 15, 400);
	OK(get(&b.caller, "/things", &err) == -EAGAIN && err.class == ERR_RATE_LIMIT &&
	   err.retry_after_ms == 60000);
	redis_run("FLUSHALL", NULL); /* time passes: the hold has ended */
	for (int i = 0; i < 2; i++) {
		struct route *r;

		OK(route_get(&b.caller, &r, &err) == 0);
		r->held_until_ms[HELD_INTEGRATION] = 1;
		route_put(r);
		OK(get(&b.caller, "/things", &err) == -EAGAIN);
		OK(err.retry_after_ms == (i == 0 ? 120000 : 240000));
		redis_run("FLUSHALL", NULL);
	}
	bench_close(&b);
}

static void test_unhinted(void **state)
{
	assert_int_equal(on_loop(body_unhinted), 0);
}

static void answer_remaining(struct httpd_request *q, int number)
{
	httpd_add_header(q, "X-Limit", "100");
	httpd_add_header(q, "X-Left", number == 1 ? "3" : "0");
	httpd_add_header(q, "X-Reset", "90");
	reply_json(q, 200, "{}");
}

static void body_remaining(void)
{
	struct bench b, twin;
	struct err err = { 0 };

	partner.answer = answer_remaining;
	bench_open(
		&b, "",
		",\"limits\":[{\"scope\":\"integration\",\"rate\":100,\"window\":\"10s\"}],\"limit_headers\":[{\"window\":\"10s\","
		"\"limit\":\"X-Limit\",\"remaining\":\"X-Left\",\"reset\":\"X-Reset\"}]" COLLECTION,
		NULL, 16, 300);
	OK(get(&b.caller, "/things", &err) == 0);
	OK(get(&b.caller, "/things", &err) == 0); /* 3 are left */
	bench_twin(&twin, &b, NULL, 300);
	OK(get(&twin.caller, "/things", &err) == -EAGAIN && err.class == ERR_HOLD);
	OK(err.retry_after_ms > 9000 &&
	   err.retry_after_ms <= 10100); /* the window, although the header says 90 s */
	OK(partner.n == 2);
	door_free(twin.door);
	bench_close(&b);
}

static void test_remaining(void **state)
{
	assert_int_equal(on_loop(body_remaining), 0);
}

/* ---- trying again ---- */

static void answer_503_first(struct httpd_request *q, int number)
{
	reply_json(q, number % 2 ? 503 : 200, "{}");
}

static void body_quick_retry(void)
{
	struct bench b;
	struct call_spec once = { .endpoint = "/things", .method = "GET", .path = "/things" };
	struct call_result r;
	struct err err = { 0 };
	int64_t gap;

	partner.answer = answer_503_first;
	bench_open(&b, "", COLLECTION, NULL, 17, 0);
	OK(get(&b.caller, "/things", &err) == 0);
	OK(partner.n == 2 && b.caller.calls == 2);
	gap = partner.arrivals[1].at_ms - partner.arrivals[0].at_ms;
	OK(gap >= 195 && gap < 4000);
	OK(call(&b.caller, &once, &r, &err) == -EREMOTEIO && err.class == ERR_TRANSIENT &&
	   partner.n == 3);
	call_result_clear(&r);
	partner.n = 0;
	co_set_deadline(co_self(), loop_now_ms() + 1100); /* no time for another */
	OK(get(&b.caller, "/things", &err) == -EREMOTEIO && partner.n == 1);
	co_set_deadline(co_self(), CO_NO_DEADLINE);
	bench_close(&b);
}

static void test_quick_retry(void **state)
{
	assert_int_equal(on_loop(body_quick_retry), 0);
}

/* The second try takes a permit of its own; where there is none the first answer stands. */
static void body_retry_permit(void)
{
	struct bench b;
	struct call_spec spec = {
		.endpoint = "/things", .method = "GET", .path = "/things", .repeatable = true
	};
	struct call_result r;
	struct err err = { 0 };

	partner.answer = answer_503_first;
	bench_open(
		&b, "",
		",\"limits\":[{\"scope\":\"integration\",\"rate\":1,\"window\":\"60s\",\"share\":1}]" COLLECTION,
		NULL, 18, 200);
	OK(call(&b.caller, &spec, &r, &err) == -EREMOTEIO && err.class == ERR_TRANSIENT &&
	   r.http.status == 503);
	OK(partner.n == 1);
	call_result_clear(&r);
	bench_close(&b);
}

static void test_retry_permit(void **state)
{
	assert_int_equal(on_loop(body_retry_permit), 0);
}

/* ---- the exchange ---- */

static char big_body[9000];

static void answer_secrets(struct httpd_request *q, int number)
{
	int n = snprintf(
		big_body, sizeof(big_body),
		"{\"access_token\" : \"tok-abcdef\",\"echo\":\"k-secret-2\",\"client_secret\":12345,\"name\":\"caf\xc3\xa9 \xff\",\"pad\":\"");

	memset(big_body + n, 'x', 4040 - (size_t)n);
	memcpy(big_body + 4040, "\xc3\xa9", 2);
	for (n = 4042; n < 8000; n += 2)
		memcpy(big_body + n, "\xc3\xa9", 2);
	memcpy(big_body + n, "\"}", 3);
	httpd_add_header(q, "Set-Cookie", "session=abcdefgh");
	httpd_add_header(q, "X-Request-Id", "r-1");
	httpd_reply(q, 400, "application/json", big_body, strlen(big_body));
}

static void check_exchange(const cJSON *x, const char *text)
{
	const char *body = json_str(x, "response_body");

	OK(strcmp(json_str(x, "method"), "POST") == 0);
	OK(strstr(json_str(x, "url"), "/v1/things?limit=1&api_key=***"));
	OK(strcmp(json_str(x, "request_body"),
		  "grant_type=x&client_secret=***&password=***&note=a") == 0);
	OK(strcmp(json_str(json_path(x, "response_headers"), "set-cookie"), "***") == 0);
	OK(strcmp(json_str(json_path(x, "response_headers"), "x-request-id"), "r-1") == 0);
	OK(body && strlen(body) <= 4096 + 3 && strlen(body) > 4000);
	OK(strstr(body, "\"access_token\":\"***\"") && strstr(body, "\"client_secret\":\"***\""));
	OK(!strstr(text, "k-secret-2") && !strstr(text, "tok-abcdef") && !strstr(text, "hunter2") &&
	   !strstr(text, "12345"));
	OK(utf8_is_valid(text, strlen(text)));
}

static void body_exchange(void)
{
	static const char form[] = "grant_type=x&client_secret=s3cr&password=hunter2&note=a";
	struct bench b;
	struct manifest_pair query[] = { { "limit", "1" } };
	struct call_spec spec = { .endpoint = "/things",
				  .method = "POST",
				  .path = "/things",
				  .query = query,
				  .n_query = 1,
				  .body = form,
				  .body_len = sizeof(form) - 1,
				  .content_type = "application/x-www-form-urlencoded" };
	struct call_result r;
	struct buf out = BUF_INIT;
	cJSON *x = NULL;
	struct err err = { 0 };

	partner.answer = answer_secrets;
	bench_open(
		&b, "",
		",\"auth\":{\"kind\":\"api_key\",\"in\":\"query\",\"name\":\"api_key\"}" COLLECTION,
		NULL, 19, 0);
	seed_credential(19, "{\"api_key\":\"k-secret-2\"}");
	OK(call(&b.caller, &spec, &r, &err) == -EREMOTEIO);
	OK(strcmp(partner.arrivals[0].query, "limit=1&api_key=k-secret-2") == 0);
	OK(strcmp(partner.arrivals[0].body, form) == 0);
	call_exchange_print(&b.caller, &spec, &r, &out);
	OK(json_parse(out.data, out.len, 100000, &x, NULL) == 0);
	if (x)
		check_exchange(x, out.data);
	cJSON_Delete(x);
	buf_clear(&out);
	call_result_clear(&r);
	bench_close(&b);
}

static void test_exchange(void **state)
{
	assert_int_equal(on_loop(body_exchange), 0);
}

/* A secret that the cut at 4 KiB goes through must not show its beginning. */
static void test_exchange_cut(void **state)
{
	struct manifest m = { .partner = "acme", .base_production = "https://a.example" };
	struct driver d = { .manifest = &m };
	struct integration i = { .id = 1, .environment = (char *)"production" };
	struct door door = { 0 };
	struct caller c = { .door = &door, .driver = &d, .integration = &i };
	struct call_spec spec = { .endpoint = "/x",
				  .method = "GET",
				  .path = "https://evil.example" };
	struct call_result r = { 0 };
	struct secret s = SECRET_INIT;
	struct buf out = BUF_INIT;

	secret_set(&s, "Zebra-Quagga-Okapi", 18);
	http_response_init(&r.http);
	for (int k = 0; k < 4090; k++)
		buf_putc(&r.http.body, 'x');
	buf_puts(&r.http.body, "Zebra-Quagga-Okapi");
	r.http.status = 400;
	assert_int_equal(loop_init(), 0);
	call_exchange_print(&c, &spec, &r, &out);
	assert_null(strstr(out.data, "Zebra"));
	assert_non_null(strstr(out.data, "xxxx"));
	secret_clear(&s);
	buf_clear(&out);
	call_result_clear(&r);
	door_forget(&door);
	idmap_clear(&door.routes);
	while (door.partners) {
		struct door_partner *p = door.partners;

		door.partners = p->next;
		http_pool_free(p->pool);
		free(p->name);
		free(p);
	}
	loop_close();
}

/* ---- the cache of routes ---- */

static bool drop_odd(void *value, void *arg)
{
	return (uintptr_t)value % 2 == 1;
}

static void test_idmap(void **state)
{
	struct idmap m = IDMAP_INIT;

	assert_null(idmap_get(&m, 1));
	for (int64_t i = 1; i <= 5000; i++)
		idmap_put(&m, i * 64, (void *)(uintptr_t)i);
	assert_int_equal(m.n, 5000);
	idmap_put(&m, 64, (void *)(uintptr_t)2);
	assert_int_equal(m.n, 5000);
	idmap_sweep(&m, drop_odd, NULL);
	assert_int_equal(m.n, 2501); /* the first is 2 by now */
	for (int64_t i = 2; i <= 5000; i++)
		assert_int_equal((uintptr_t)idmap_get(&m, i * 64), i % 2 ? 0 : i);
	idmap_clear(&m);
}

static int setup(void **state)
{
	return partner_setup(state) < 0 || http_global_init() < 0 ? -1 : 0;
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
		cmocka_unit_test(test_base_url),
		cmocka_unit_test(test_url),
		cmocka_unit_test(test_idmap),
		cmocka_unit_test(test_exchange_cut),
		ON_LOOP(test_success),
		ON_LOOP(test_failures),
		ON_LOOP(test_decode_body),
		ON_LOOP(test_rate),
		ON_LOOP(test_long_wait),
		ON_LOOP(test_in_flight),
		ON_LOOP(test_cancel),
		ON_LOOP(test_retry_after),
		ON_LOOP(test_unhinted),
		ON_LOOP(test_remaining),
		ON_LOOP(test_quick_retry),
		ON_LOOP(test_retry_permit),
		ON_LOOP(test_exchange),
	};

	return cmocka_run_group_tests(tests, setup, partner_teardown);
}
