/* Lookups before the door, against a real redis-server and a partner in this process. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "common/base/log.h"
#include "drivers/kit/lookup.h"
#include "drivers/kit/lookup_parts.h"
#include "drivers/kit/paginate.h"
#include "tests/unit/partner.h"

#define LOOKUPS(more)                                                                                                                        \
	",\"lookups\":{\"here\":{\"get\":\"/here/{in.kind}\",\"query\":{\"lat\":\"{in.lat}\",\"lon\":\"{in.lon}\","                          \
	"\"lang\":\"{in.lang}\"},\"params\":{\"kind\":{\"default\":\"any\"},\"lat\":{\"as\":\"number\",\"digits\":2,"                        \
	"\"min\":-90,\"max\":90},\"lon\":{\"as\":\"number\",\"digits\":2},\"lang\":{\"as\":\"list\",\"case\":\"lower\",\"optional\":true}}," \
	"\"result\":\"v\"" more "}}"
#define OPTIONAL ",\"critical\":false"
#define SHORT ",\"ttl\":\"300ms\",\"stale\":\"1h\",\"negative\":\"200ms\""

static int status_now = 200;
static const char *body_now = "{\"v\":{\"n\":1}}";
static int64_t delay_ms;

static void answer(struct httpd_request *q, int number)
{
	if (delay_ms && co_sleep("delay", delay_ms) < 0)
		return;
	reply_json(q, status_now, body_now);
}

static void plays(int status, const char *body)
{
	status_now = status;
	body_now = body;
}

static cJSON *params_of(const char *text)
{
	cJSON *o = NULL;

	OK(json_parse(text, strlen(text), 4096, &o, NULL) == 0);
	return o;
}

struct told {
	int rc;
	struct lookup_answer a;
	struct err err;
};

static __attribute__((noinline)) struct told ask_as(struct bench *b, const char *params,
						    const char *owner, bool refresh)
{
	struct told t = { 0 };
	cJSON *p = params_of(params);
	struct lookup_ask ask = {
		.lookup = &b->manifest->lookups[0], .params = p, .owner = owner, .refresh = refresh
	};

	t.rc = lookup(&b->caller, &ask, &t.a, NULL, &t.err);
	cJSON_Delete(p);
	return t;
}

/* Asked, and looked at for state, data and whether it was a call. */
static __attribute__((noinline)) bool tells(struct bench *b, const char *params,
					    enum lookup_state state, const char *data, bool cached)
{
	struct told t = ask_as(b, params, NULL, false);
	bool so = t.rc == 0 && t.a.state == state && strcmp(buf_str(&t.a.data), data) == 0 &&
		  t.a.cached == cached;

	if (!so)
		fprintf(stderr, "rc %d state %d cached %d data %s reason %s err %s\n", t.rc,
			t.a.state, t.a.cached, buf_str(&t.a.data), t.a.reason, t.err.text);
	lookup_answer_clear(&t.a);
	return so;
}

static void open_bench(struct bench *b, const char *rest, int64_t id)
{
	partner.answer = answer;
	delay_ms = 0;
	plays(200, "{\"v\":{\"n\":1}}");
	bench_open(b, "", rest, NULL, id, 0);
}

#define HERE "{\"lat\":1,\"lon\":2}"

static void body_one_form(void)
{
	struct bench b;

	open_bench(&b, LOOKUPS(SHORT), 31);
	OK(tells(&b, "{\"lat\":52.5211,\"lon\":-0.001}", LOOKUP_FRESH, "{\"n\":1}", false));
	OK(tells(&b, "{\"lon\":\"-0\",\"lat\":\"52.520\",\"kind\":\" any \"}", LOOKUP_FRESH,
		 "{\"n\":1}", true));
	OK(tells(&b, "{\"lat\":52.53,\"lon\":0}", LOOKUP_FRESH, "{\"n\":1}", false));
	OK(tells(&b, "{\"lat\":52.53,\"lon\":0,\"lang\":\"EN\"}", LOOKUP_FRESH, "{\"n\":1}",
		 false));
	OK(tells(&b, "{\"lat\":52.53,\"lon\":0,\"lang\":\"en\"}", LOOKUP_FRESH, "{\"n\":1}", true));
	OK(tells(&b, "{\"lat\":52.53,\"lon\":0,\"lang\":\"pt, EN,pt\"}", LOOKUP_FRESH, "{\"n\":1}",
		 false));
	OK(tells(&b, "{\"lat\":52.53,\"lon\":0,\"lang\":\"en,pt\"}", LOOKUP_FRESH, "{\"n\":1}",
		 true));
	OK(strcmp(partner.arrivals[0].path, "/v1/here/any") == 0);
	OK(strcmp(partner.arrivals[0].query, "lat=52.52&lon=0") == 0);
	OK(strcmp(partner.arrivals[2].query, "lat=52.53&lon=0&lang=en") == 0 && partner.n == 4);
	OK(strcmp(partner.arrivals[3].query, "lat=52.53&lon=0&lang=en%2Cpt") == 0);
	bench_close(&b);
}

static void body_refused_params(void)
{
	static const struct {
		const char *params, *says;
	} wrong[] = {
		{ "{}", "params.lat is missing" },
		{ "{\"lat\":91,\"lon\":0}", "must be -90 to 90" },
		{ "{\"lat\":\"1e\",\"lon\":0}", "must be a number" },
		{ "{\"lat\":\"nan\",\"lon\":0}", "must be a number" },
		{ "{\"lat\":[1],\"lon\":0}", "must be a text or a number" },
		{ "{\"lat\":true,\"lon\":0}", "must be a text or a number" },
		{ "{\"lat\":1,\"long\":0}", "did you mean \"lon\"?" },
		{ "{\"lat\":1,\"lon\":0,\"lang\":\"  \"}", "params.lang is empty" },
		{ "{\"lat\":1,\"lon\":0,\"kind\":\"..\"}", "another address" },
		{ "{\"lat\":1,\"lon\":0,\"lang\":\" , \"}", "params.lang is empty" },
		{ "[]", "must be an object" },
	};
	struct bench b;

	open_bench(&b, OPTIONAL LOOKUPS(SHORT), 32);
	for (size_t i = 0; i < ARRAY_LEN(wrong); i++) {
		struct told t = ask_as(&b, wrong[i].params, NULL, false);

		OK(t.rc == -EINVAL && t.err.class == ERR_BAD_JOB &&
		   strstr(t.err.text, wrong[i].says));
		if (!strstr(t.err.text, wrong[i].says))
			fprintf(stderr, "%s: %s\n", wrong[i].params, t.err.text);
	}
	OK(partner.n == 0);
	bench_close(&b);
}

/* Fresh, then stale while one fetches it anew, then fresh again. */
static void body_revalidates(void)
{
	struct bench b;
	struct told t;

	open_bench(&b, LOOKUPS(",\"ttl\":\"2s\",\"stale\":\"1h\""), 33);
	OK(tells(&b, HERE, LOOKUP_FRESH, "{\"n\":1}", false));
	OK(tells(&b, HERE, LOOKUP_FRESH, "{\"n\":1}", true));
	plays(200, "{\"v\":{\"n\":2}}");
	OK(co_sleep("ttl", 2020) == 0);
	t = ask_as(&b, HERE, NULL, false);
	/* On a slow machine the second half of its life may be over too: then it was fetched. */
	if (t.a.cached) {
		OK(t.rc == 0 && t.a.state == LOOKUP_STALE && t.a.refresh && t.a.age_ms >= 2000);
		OK(strcmp(buf_str(&t.a.data), "{\"n\":1}") == 0 && t.a.reason[0]);
	}
	lookup_answer_clear(&t.a);
	t = ask_as(&b, HERE, NULL, true);
	OK(t.rc == 0 && t.a.state == LOOKUP_FRESH && strcmp(buf_str(&t.a.data), "{\"n\":2}") == 0);
	lookup_answer_clear(&t.a);
	OK(partner.n == 2);
	bench_close(&b);
}

/* One is told to see to it, the others are not. */
static void body_one_refresh(void)
{
	struct bench b;
	int refresh = 0, stale = 0;

	open_bench(&b, LOOKUPS(",\"ttl\":\"1ms\",\"stale\":\"1h\",\"revalidate\":false"), 34);
	OK(tells(&b, HERE, LOOKUP_FRESH, "{\"n\":1}", false));
	OK(co_sleep("ttl", 10) == 0);
	OK(tells(&b, HERE, LOOKUP_FRESH, "{\"n\":1}", false));
	bench_close(&b);
	open_bench(&b, LOOKUPS(",\"ttl\":\"20s\",\"stale\":\"1h\""), 34);
	OK(tells(&b, HERE, LOOKUP_FRESH, "{\"n\":1}", false));
	/* As if it were ten seconds over its time. */
	redisReply *r = NULL;
	OK(redis_callv(
		   redis, &r, loop_now_ms() + PATIENCE_MS, NULL, "EVAL",
		   "for _, k in ipairs(redis.call('KEYS', 'cache:*')) do local v = redis.call('GET', k) "
		   "local a, s, f, o, rest = string.match(v, '^(%l) (%d+) (%d+) (%d+) (.*)$') "
		   "redis.call('SET', k, string.format('%s %.0f %.0f %.0f %s', a, s - 30000, f - 30000, o - 30000, rest)) end "
		   "return 1",
		   "0", NULL) == 0);
	freeReplyObject(r);
	for (int i = 0; i < 5; i++) {
		struct told t = ask_as(&b, HERE, NULL, false);

		OK(t.rc == 0);
		refresh += t.a.refresh;
		stale += t.a.state == LOOKUP_STALE;
		lookup_answer_clear(&t.a);
	}
	OK(stale == 5 && refresh == 1);
	bench_close(&b);
}

static void body_partner_fails(void)
{
	struct bench b, c;
	struct told t;

	open_bench(&b, LOOKUPS(",\"ttl\":\"50ms\",\"stale\":\"1h\",\"revalidate\":false"), 35);
	OK(tells(&b, HERE, LOOKUP_FRESH, "{\"n\":1}", false));
	OK(co_sleep("ttl", 60) == 0);
	plays(503, "{}");
	t = ask_as(&b, HERE, NULL, false);
	OK(t.rc == 0 && t.a.state == LOOKUP_STALE && t.a.age_ms >= 50 && strstr(t.a.reason, "503"));
	OK(strcmp(buf_str(&t.a.data), "{\"n\":1}") == 0 && t.a.cached && !t.a.refresh);
	lookup_answer_clear(&t.a);
	/* What has just failed is not asked again at once, and another key has nothing to fall back on. */
	int before = partner.n;
	OK(tells(&b, HERE, LOOKUP_STALE, "{\"n\":1}", true) && partner.n == before);
	t = ask_as(&b, "{\"lat\":5,\"lon\":5}", NULL, false);
	OK(t.rc == -EREMOTEIO && t.err.class == ERR_TRANSIENT && strstr(t.err.text, "503"));
	bench_close(&b);
	/* An optional partner. */
	open_bench(&c, OPTIONAL LOOKUPS(SHORT ",\"placeholder\":{\"n\":0}"), 36);
	plays(200, "<html>");
	t = ask_as(&c, "{\"lat\":6,\"lon\":6}", NULL, false);
	OK(t.rc == 0 && t.a.state == LOOKUP_PLACEHOLDER && t.a.reason[0]);
	OK(strcmp(buf_str(&t.a.data), "{\"n\":0}") == 0);
	lookup_answer_clear(&t.a);
	bench_close(&c);
}

/* Four failures, the fifth opens it: from then on nobody is called, and what is kept is told. */
static void body_breaker_open(void)
{
	struct bench b;
	struct told t;
	int before;

	open_bench(&b,
		   ",\"breaker\":{\"failures\":2}" LOOKUPS(
			   ",\"ttl\":\"50ms\",\"stale\":\"1h\",\"revalidate\":false"),
		   37);
	OK(tells(&b, HERE, LOOKUP_FRESH, "{\"n\":1}", false));
	OK(co_sleep("ttl", 60) == 0);
	plays(503, "{}");
	for (int i = 0; i < 2; i++) {
		char params[64];

		snprintf(params, sizeof(params), "{\"lat\":%d,\"lon\":0}", 10 + i);
		t = ask_as(&b, params, NULL, false);
		OK(t.rc == -EREMOTEIO && t.err.class == ERR_TRANSIENT);
	}
	before = partner.n;
	t = ask_as(&b, HERE, NULL, false);
	OK(t.rc == 0 && t.a.state == LOOKUP_STALE && strstr(t.a.reason, "breaker"));
	lookup_answer_clear(&t.a);
	t = ask_as(&b, "{\"lat\":20,\"lon\":0}", NULL, false);
	OK(t.rc == -EREMOTEIO && t.err.class == ERR_TRANSIENT && strstr(t.err.text, "breaker"));
	OK(partner.n == before);
	OK(printed("integration_cache_total{name=\"here\",outcome=\"stale\",partner=\"acme\"}"));
	bench_close(&b);
}

static void body_negative(void)
{
	struct bench b;
	struct told t;

	open_bench(&b, LOOKUPS(",\"ttl\":\"1h\",\"negative\":\"400ms\",\"found\":\"v.n\""), 38);
	plays(404, "{}");
	OK(tells(&b, "{\"lat\":1,\"lon\":1}", LOOKUP_MISSING, "", false));
	plays(200, "{\"v\":[]}");
	OK(tells(&b, "{\"lat\":2,\"lon\":1}", LOOKUP_MISSING, "", false));
	plays(200, "{\"v\":{\"m\":1}}");
	OK(tells(&b, "{\"lat\":3,\"lon\":1}", LOOKUP_MISSING, "", false));
	plays(422, "{\"message\":\"no such thing\"}");
	for (int i = 0; i < 2; i++) {
		t = ask_as(&b, "{\"lat\":4,\"lon\":1}", NULL, false);
		OK(t.rc == -EREMOTEIO && t.err.class == ERR_CLIENT && strstr(t.err.text, "422"));
	}
	OK(partner.n == 4);
	plays(200, "{\"v\":{\"n\":3}}");
	OK(co_sleep("negative", 420) == 0);
	for (int i = 1; i < 5; i++) {
		char params[64];

		snprintf(params, sizeof(params), "{\"lat\":%d,\"lon\":1}", i);
		OK(tells(&b, params, LOOKUP_FRESH, "{\"n\":3}", false));
	}
	/* A refusal takes no good answer away. */
	bench_close(&b);
	open_bench(&b, LOOKUPS(",\"ttl\":\"20ms\",\"stale\":\"1h\",\"revalidate\":false"), 38);
	OK(tells(&b, HERE, LOOKUP_FRESH, "{\"n\":1}", false));
	OK(co_sleep("ttl", 30) == 0);
	plays(403, "{}");
	OK(tells(&b, HERE, LOOKUP_STALE, "{\"n\":1}", true));
	OK(tells(&b, HERE, LOOKUP_STALE, "{\"n\":1}", true));
	bench_close(&b);
}

/* ---- one calls, over all processes ---- */

struct flying {
	struct bench *b[2];
	int fresh, cached;
};

static void one_of_many(int i, void *arg)
{
	struct flying *f = arg;
	struct told t = ask_as(f->b[i % 2], HERE, NULL, false);

	OK(t.rc == 0 && strcmp(buf_str(&t.a.data), "{\"n\":1}") == 0);
	f->fresh += t.a.state == LOOKUP_FRESH;
	f->cached += t.a.cached;
	lookup_answer_clear(&t.a);
}

static void body_single_flight(void)
{
	struct bench b, twin;
	struct flying f = { { &b, &twin }, 0, 0 };

	open_bench(&b, LOOKUPS(",\"ttl\":\"1h\""), 39);
	bench_twin(&twin, &b, NULL, 0);
	delay_ms = 200;
	crowd_run(60, one_of_many, &f);
	OK(partner.n == 1 && f.fresh == 60 && f.cached == 59);
	door_free(twin.door);
	bench_close(&b);
}

static void one_fails(int i, void *arg)
{
	struct flying *f = arg;
	struct told t = ask_as(f->b[i % 2], HERE, NULL, false);

	OK(t.rc == -EREMOTEIO && t.err.class == ERR_TRANSIENT && strstr(t.err.text, "500"));
}

static void body_failure_is_shared(void)
{
	struct bench b, twin;
	struct flying f = { { &b, &twin }, 0, 0 };

	open_bench(&b, LOOKUPS(",\"ttl\":\"1h\""), 40);
	bench_twin(&twin, &b, NULL, 0);
	delay_ms = 200;
	plays(500, "{}");
	crowd_run(20, one_fails, &f);
	OK(partner.n == 2); /* the one, and its quick retry */
	door_free(twin.door);
	bench_close(&b);
}

/* The lease of one that died: the same asker goes on, another waits. */
static void body_owner_goes_on(void)
{
	struct bench b;
	struct question q;
	struct err err = { 0 };
	static struct cache_look look;
	static struct told t;
	cJSON *p = params_of(HERE);

	open_bench(&b, LOOKUPS(",\"ttl\":\"1h\""), 41);
	OK(question_make(&b.caller, &b.manifest->lookups[0], p, &q, &err) == 0);
	OK(cache_look(redis, &q.key, "job:7", 60000, false, &look, loop_now_ms() + PATIENCE_MS,
		      &err) == 0);
	OK(look.state == CACHE_MINE);
	cache_look_clear(&look);
	OK(cache_look(redis, &q.key, "job:8", 60000, false, &look, loop_now_ms() + PATIENCE_MS,
		      &err) == 0);
	OK(look.state == CACHE_WAIT);
	cache_look_clear(&look);
	t = ask_as(&b, HERE, "job:7", false);
	OK(t.rc == 0 && t.a.state == LOOKUP_FRESH && partner.n == 1);
	lookup_answer_clear(&t.a);
	question_clear(&q);
	cJSON_Delete(p);
	bench_close(&b);
}

/* Nobody is kept for ever by a lease whose owner is gone. */
static void body_waits_so_long(void)
{
	struct bench b;
	struct question q;
	struct err err = { 0 };
	static struct cache_look look;
	static struct lookup_answer out;
	cJSON *p = params_of(HERE);
	struct lookup_ask ask = { .params = p, .wait_ms = 100 };

	open_bench(&b, LOOKUPS(",\"ttl\":\"1h\""), 42);
	ask.lookup = &b.manifest->lookups[0];
	OK(question_make(&b.caller, ask.lookup, p, &q, &err) == 0);
	OK(cache_look(redis, &q.key, "gone", 60000, false, &look, loop_now_ms() + PATIENCE_MS,
		      &err) == 0);
	cache_look_clear(&look);
	OK(lookup(&b.caller, &ask, &out, NULL, &err) == -EREMOTEIO && strstr(err.text, "too long"));
	cache_leave(redis, &q.key, "gone");
	OK(lookup(&b.caller, &ask, &out, NULL, &err) == 0 && out.state == LOOKUP_FRESH);
	lookup_answer_clear(&out);
	question_clear(&q);
	cJSON_Delete(p);
	bench_close(&b);
}

static void body_slow_one_is_cancelled(void *arg)
{
	struct told t = ask_as(arg, HERE, NULL, false);

	OK(t.rc == -ECANCELED);
	lookup_answer_clear(&t.a);
}

static void body_cancelled(void)
{
	struct bench b;
	struct co *co;

	open_bench(&b, LOOKUPS(",\"ttl\":\"1h\""), 43);
	delay_ms = 300;
	co = co_spawn("asker", body_slow_one_is_cancelled, &b);
	while (partner.n == 0)
		OK(co_sleep("arrival", 5) == 0);
	co_cancel(co);
	delay_ms = 0;
	OK(tells(&b, HERE, LOOKUP_FRESH, "{\"n\":1}", false));
	OK(partner.n == 2);
	bench_close(&b);
}

/* ---- sizes ---- */

static void body_sizes(void)
{
	struct bench b;
	struct buf body = BUF_INIT;
	redisReply *keys = NULL, *len = NULL;
	static struct told t;

	open_bench(&b, LOOKUPS(",\"ttl\":\"1h\""), 44);
	buf_puts(&body, "{\"v\":\"");
	for (int i = 0; i < 20000; i++)
		buf_puts(&body, "word ");
	buf_puts(&body, "\"}");
	plays(200, body.data);
	t = ask_as(&b, HERE, NULL, false);
	OK(t.rc == 0 && t.a.data.len == 100002);
	lookup_answer_clear(&t.a);
	t = ask_as(&b, HERE, NULL, false);
	OK(t.rc == 0 && t.a.cached && t.a.data.len == 100002 && t.a.data.data[100001] == '"');
	lookup_answer_clear(&t.a);
	OK(redis_callv(redis, &keys, loop_now_ms() + PATIENCE_MS, NULL, "KEYS", "cache:*", NULL) ==
		   0 &&
	   keys->elements == 1);
	OK(redis_callv(redis, &len, loop_now_ms() + PATIENCE_MS, NULL, "STRLEN",
		       keys->element[0]->str, NULL) == 0);
	OK(len->integer > 50 && len->integer < 5000);
	freeReplyObject(len);
	/* Somebody's hand was in it: it is fetched anew. */
	OK(redis_callv(redis, NULL, loop_now_ms() + PATIENCE_MS, NULL, "SETRANGE",
		       keys->element[0]->str, "60", "????????????????", NULL) == 0);
	freeReplyObject(keys);
	t = ask_as(&b, HERE, NULL, false);
	OK(t.rc == 0 && !t.a.cached && t.a.data.len == 100002 && partner.n == 2);
	lookup_answer_clear(&t.a);
	for (int i = 0; i < 40000; i++)
		buf_puts(&body, "and more");
	body.data[body.len - 2] = '"';
	body.data[body.len - 1] = '}';
	body.data[6 + 100000] = ' ';
	body.data[6 + 100001] = ' ';
	plays(200, body.data);
	t = ask_as(&b, "{\"lat\":2,\"lon\":2}", NULL, false);
	OK(t.rc == -EBADMSG && t.err.class == ERR_DATA && strstr(t.err.text, "at most 256 KiB"));
	buf_clear(&body);
	bench_close(&b);
}

static void body_mapped(void)
{
	struct bench b;
	struct told t;

	open_bench(
		&b,
		LOOKUPS(",\"ttl\":\"1h\",\"map\":{\"lat\":{\"path\":\"a.lat\",\"as\":\"number\",\"required\":true},"
			"\"id\":{\"path\":\"id\",\"as\":\"text\"},\"n\":{\"path\":\"n\",\"as\":\"int\"},"
			"\"yes\":{\"path\":\"yes\",\"as\":\"bool\"},\"gone\":\"x.y\",\"all\":\"a\"}"),
		45);
	plays(200, "{\"v\":{\"a\":{\"lat\":\"52.5170365\"},\"id\":7,\"n\":\"12\",\"yes\":1}}");
	OK(tells(
		&b, HERE, LOOKUP_FRESH,
		"{\"lat\":52.5170365,\"id\":\"7\",\"n\":12,\"yes\":true,\"gone\":null,\"all\":{\"lat\":\"52.5170365\"}}",
		false));
	plays(200, "{\"v\":{\"a\":{},\"id\":7}}");
	t = ask_as(&b, "{\"lat\":3,\"lon\":3}", NULL, false);
	OK(t.rc == -EBADMSG && t.err.class == ERR_DATA && strstr(t.err.text, "lat: is missing"));
	plays(200, "{\"v\":{\"a\":{\"lat\":\"north\"}}}");
	t = ask_as(&b, "{\"lat\":4,\"lon\":3}", NULL, false);
	OK(t.rc == -EBADMSG && strstr(t.err.text, "lat: \"north\" is no number"));
	bench_close(&b);
}

/* A company's own integration shares its answers with nobody; those of no company are everybody's. */
static void body_whose(void)
{
	struct bench b;

	open_bench(&b, LOOKUPS(",\"ttl\":\"1h\""), 46);
	OK(tells(&b, HERE, LOOKUP_FRESH, "{\"n\":1}", false));
	b.integration.id = 47;
	OK(tells(&b, HERE, LOOKUP_FRESH, "{\"n\":1}", true));
	b.integration.company_id = 1;
	OK(tells(&b, HERE, LOOKUP_FRESH, "{\"n\":1}", false));
	b.integration.id = 48;
	OK(tells(&b, HERE, LOOKUP_FRESH, "{\"n\":1}", false));
	OK(tells(&b, HERE, LOOKUP_FRESH, "{\"n\":1}", true));
	bench_close(&b);
}

/* An item by its id, kept for a while with its own time; another account's is another. */
static void body_kept_item(void)
{
	struct bench b;
	struct page page;
	struct err err = { 0 };
	const struct manifest_collection *things;
	int64_t first = 0;

	open_bench(
		&b,
		",\"collections\":{\"things\":{\"get\":\"/things\",\"id\":\"id\",\"detail\":{\"get\":\"/thing\",\"query\":{\"id\":\"{id}\"}},"
		"\"table\":\"resources\",\"map\":{\"name\":\"name\"}}},\"cache\":{\"things.detail\":\"1h\"}",
		50);
	things = manifest_collection(b.manifest, "things");
	plays(404, "{}");
	OK(fetch_item(&b.caller, things, "7", &page, &err) == -ENOENT);
	page_clear(&page);
	plays(200, "{\"id\":7,\"name\":\"one\"}");
	for (int i = 0; i < 3; i++) {
		OK(fetch_item(&b.caller, things, "7", &page, &err) == 0 && page.n == 1);
		OK(strcmp(json_str(page.records[0], "name"), "one") == 0);
		first = i ? first : page.observed_us;
		OK(page.observed_us / 1000 == first / 1000);
		page_clear(&page);
		plays(200, "{\"id\":7,\"name\":\"two\"}");
	}
	OK(partner.n == 2);
	OK(fetch_item(&b.caller, things, "8", &page, &err) == 0 && partner.n == 3);
	page_clear(&page);
	b.integration.id = 51;
	OK(fetch_item(&b.caller, things, "7", &page, &err) == 0 && partner.n == 4);
	page_clear(&page);
	bench_close(&b);
}

static void wait_for_flight(void *arg)
{
	OK(flight_wait("k", 1000, loop_now_ms() + 20) == 0);
	*(bool *)arg = true;
}

/* A lease ran out, or Redis lost it, while its call was under way. */
static void body_second_flight(void)
{
	struct flight first, second;
	bool over = false;

	flight_begin(&first, "k");
	OK(co_spawn("waits", wait_for_flight, &over) != NULL);
	while (!first.sharers)
		OK(co_sleep("joins", 1) == 0);
	flight_begin(&second, "k");
	while (!over)
		OK(co_sleep("leaves", 1) == 0);
	OK(!first.sharers); /* whose stack is gone */
	first.sharers = NULL;
	flight_end(&first);
	flight_end(&second);
}

#define TEST(name)                                         \
	static void test_##name(void **state)              \
	{                                                  \
		assert_int_equal(on_loop(body_##name), 0); \
	}
TEST(one_form)
TEST(refused_params)
TEST(revalidates)
TEST(one_refresh)
TEST(partner_fails)
TEST(breaker_open)
TEST(negative)
TEST(single_flight)
TEST(failure_is_shared)
TEST(owner_goes_on)
TEST(waits_so_long)
TEST(cancelled)
TEST(sizes)
TEST(mapped)
TEST(whose)
TEST(kept_item)
TEST(second_flight)

static int loop_up(void **state)
{
	return loop_init();
}

static int loop_down(void **state)
{
	loop_close();
	return 0;
}

static int setup(void **state)
{
	log_init("test", LOG_ERROR, false);
	return partner_setup(state) < 0 || http_global_init() < 0 ? -1 : 0;
}

#define ON_LOOP(name) cmocka_unit_test_setup_teardown(test_##name, loop_up, loop_down)

int main(void)
{
	const struct CMUnitTest tests[] = {
		ON_LOOP(one_form),      ON_LOOP(refused_params), ON_LOOP(revalidates),
		ON_LOOP(one_refresh),   ON_LOOP(partner_fails),  ON_LOOP(breaker_open),
		ON_LOOP(negative),      ON_LOOP(single_flight),  ON_LOOP(failure_is_shared),
		ON_LOOP(owner_goes_on), ON_LOOP(waits_so_long),  ON_LOOP(cancelled),
		ON_LOOP(sizes),         ON_LOOP(mapped),         ON_LOOP(whose),
		ON_LOOP(kept_item),     ON_LOOP(second_flight),
	};

	return cmocka_run_group_tests(tests, setup, partner_teardown);
}
