#include "scheduler/api.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "common/base/clock.h"
#include "common/base/log.h"
#include "common/base/mem.h"
#include "common/io/loop.h"

#define KNOWN_MAX 256  /* tokens that are remembered */
#define KNOWN_MS 5000  /* so long a revoked one may still be taken */
#define STRANGERS 20.0 /* tokens that nobody knows: so many a second are looked up */
#define BODY_MAX_BYTES (1024 * 1024)

/* ---- who may ---- */

static struct known {
	uint8_t hash[SHA256_BYTES];
	struct api_token token;
	int64_t until_ms; /* 0: free */
	int64_t filled_ms;
	double left; /* calls of this minute */
} known[KNOWN_MAX];
static double strangers = STRANGERS;
static int64_t strangers_ms;

static struct known *known_find(const uint8_t hash[SHA256_BYTES])
{
	for (int i = 0; i < KNOWN_MAX; i++)
		if (known[i].until_ms && memcmp(known[i].hash, hash, SHA256_BYTES) == 0)
			return &known[i];
	return NULL;
}

/* A place for one more: a free one, or the one that ends first. */
static struct known *known_place(void)
{
	struct known *oldest = &known[0];

	for (int i = 0; i < KNOWN_MAX; i++)
		if (known[i].until_ms < oldest->until_ms)
			oldest = &known[i];
	return oldest;
}

static bool strangers_take(void)
{
	int64_t now = loop_now_ms();

	strangers += (double)(now - strangers_ms) * STRANGERS / 1000;
	strangers_ms = now;
	if (strangers > STRANGERS)
		strangers = STRANGERS;
	if (strangers < 1)
		return false;
	strangers -= 1;
	return true;
}

/* Waits where it is not remembered.  -ENOENT; -EAGAIN: too many that nobody knows. */
static int token_look(struct scheduler *s, const char *text, struct known **out, struct err *err)
{
	uint8_t hash[SHA256_BYTES];
	struct api_token token;
	struct known *k;
	int rc;

	crypto_sha256(text, strlen(text), hash);
	k = known_find(hash);
	if (k && k->until_ms > loop_now_ms()) {
		*out = k;
		return 0;
	}
	if (!k && !strangers_take())
		return -EAGAIN;
	rc = api_token_find(s->pg, text, &token, err);
	k = known_find(hash);
	if (rc == -ENOENT && k)
		k->until_ms = 0;
	if (rc < 0)
		return rc;
	strangers += 1; /* it is none */
	if (!k) {
		k = known_place();
		*k = (struct known){ .left = (double)token.per_minute, .filled_ms = loop_now_ms() };
		memcpy(k->hash, hash, sizeof(hash));
	}
	k->token = token;
	k->until_ms = loop_now_ms() + KNOWN_MS;
	*out = k;
	return 0;
}

/* 0: it may; else after how many seconds. */
static int rate_take(struct known *k)
{
	double a_ms = (double)k->token.per_minute / 60000;
	int64_t now = loop_now_ms();

	k->left += (double)(now - k->filled_ms) * a_ms;
	k->filled_ms = now;
	if (k->left > (double)k->token.per_minute)
		k->left = (double)k->token.per_minute;
	if (k->left < 1)
		return 1 + (int)((1 - k->left) / a_ms / 1000);
	k->left -= 1;
	return 0;
}

/* ---- answers ---- */

static void answer_text(struct api_call *c, int status, const char *type, const struct buf *text)
{
	httpd_add_header(c->q, "Cache-Control", "no-store");
	httpd_reply(c->q, status, type, buf_str(text), text->len);
	log_event(status < 500 ? LOG_INFO : LOG_WARN, "api_answered", LS("token", c->token.name),
		  LI("status", status));
}

static void answer(struct api_call *c, int status, const char *type, cJSON *v)
{
	struct buf out = BUF_INIT;

	json_print(v, &out);
	answer_text(c, status, type, &out);
	cJSON_Delete(v);
	buf_clear(&out);
}

void api_reply_text(struct api_call *c, int status, const struct buf *text)
{
	answer_text(c, status, "application/json", text);
}

void api_reply(struct api_call *c, int status, cJSON *v)
{
	answer(c, status, "application/json", v);
}

static const char *title_of(int status)
{
	switch (status) {
	case 400:
		return "The request does not read";
	case 401:
		return "No valid token";
	case 403:
		return "The token may not do this";
	case 404:
		return "There is no such thing";
	case 405:
		return "Not with this method";
	case 409:
		return "It stands against what is there";
	case 422:
		return "The request cannot be done";
	case 429:
		return "Too many calls";
	case 502:
		return "A partner failed";
	case 503:
		return "Not at the moment";
	case 504:
		return "Not in time";
	default:
		return "A fault of Longshore's";
	}
}

/* members: more of them, as JSON text without braces; NULL: none. */
static void problem(struct api_call *c, int status, const char *field, const char *members,
		    const char *detail)
{
	struct buf out = BUF_INIT;

	buf_puts(&out, "{\"type\":\"about:blank\",\"title\":");
	json_quote(&out, title_of(status), strlen(title_of(status)));
	buf_printf(&out, ",\"status\":%d,\"detail\":", status);
	json_quote(&out, detail, strlen(detail));
	if (field) {
		buf_puts(&out, ",\"field\":");
		json_quote(&out, field, strlen(field));
	}
	if (members)
		buf_printf(&out, ",%s", members);
	buf_putc(&out, '}');
	if (status == 401)
		httpd_add_header(c->q, "WWW-Authenticate", "Bearer");
	answer_text(c, status, "application/problem+json", &out);
	buf_clear(&out);
}

void api_problem(struct api_call *c, int status, const char *field, const char *fmt, ...)
{
	struct buf text = BUF_INIT;
	va_list ap;

	va_start(ap, fmt);
	buf_vprintf(&text, fmt, ap);
	va_end(ap);
	problem(c, status, field, NULL, buf_str(&text));
	buf_clear(&text);
}

void api_problem_with(struct api_call *c, int status, const char *field, const char *members,
		      const char *fmt, ...)
{
	struct buf text = BUF_INIT;
	va_list ap;

	va_start(ap, fmt);
	buf_vprintf(&text, fmt, ap);
	va_end(ap);
	problem(c, status, field, members, buf_str(&text));
	buf_clear(&text);
}

void api_error(struct api_call *c, int rc, const struct err *err)
{
	bool away = rc == -ECONNRESET || rc == -ETIMEDOUT || rc == -ECANCELED ||
		    err->class == ERR_TRANSIENT;

	log_event(LOG_WARN, "api_failed", LS("reason", err->text));
	if (away) {
		httpd_add_header(c->q, "Retry-After", "2");
		/* Its last word may have been lost behind a commit. */
		api_problem(
			c, 503, NULL, "Postgres does not answer%s",
			c->writes
				? "; it may have been written all the same: ask again, with the same Idempotency-Key"
				: "");
	} else {
		api_problem(c, 500, NULL, "%s", "it was logged");
	}
}

/* ---- the way of a call ---- */

#define QUERY_MAX 6
static const struct way {
	const char *method, *path; /* a prefix where it ends in a slash */
	unsigned scope;
	api_handler fn;
	const char *query[QUERY_MAX]; /* the parameters that it knows */
	bool any_query;
} ways[] = {
	{ "POST", API_ROOT "requests", API_PUSH, api_requests_post, .query = { "wait" } },
	{ "GET", API_ROOT "requests", API_READ, api_requests_list,
	  .query = { "partner", "action", "state", "integration_id", "before", "limit" } },
	{ "GET", API_ROOT "requests/", API_READ | API_PUSH, api_requests_get, .query = { "wait" } },
	{ "POST", API_ROOT "requests/", API_OPERATE, api_requests_decide, .query = { NULL } },
	{ "POST", API_ROOT "lookup", API_READ, api_lookup_post, .query = { "wait" } },
	{ "GET", API_ROOT "lookup/", API_READ, api_lookup_get, .any_query = true },
};
static struct at {
	struct scheduler *s;
	const struct way *way;
} ats[ARRAY_LEN(ways)];

/* False: it was refused. */
static bool may(struct api_call *c, const struct way *w)
{
	const char *header = httpd_header(c->q, "Authorization");
	struct err err = { 0 };
	struct known *k = NULL;
	char seconds[16];
	int wait, rc = -ENOENT;

	if (header && strncasecmp(header, "Bearer ", 7) == 0 &&
	    httpd_header_count(c->q, "Authorization") == 1)
		rc = token_look(c->s, header + 7, &k, &err);
	if (rc == -ENOENT || rc == -EAGAIN) {
		api_problem(
			c, rc == -EAGAIN ? 429 : 401, NULL, "%s",
			"Authorization: Bearer TOKEN is expected, once; `longshore token add` makes one");
		return false;
	}
	if (rc < 0) {
		api_error(c, rc, &err);
		return false;
	}
	c->token = k->token;
	wait = rate_take(k);
	if (wait) {
		snprintf(seconds, sizeof(seconds), "%d", wait);
		httpd_add_header(c->q, "Retry-After", seconds);
		api_problem(c, 429, NULL, "this token has %lld calls a minute",
			    (long long)c->token.per_minute);
		return false;
	}
	if (c->token.scopes & w->scope)
		return true;
	api_problem(c, 403, NULL, "this takes a token with the scope %s; \"%s\" has another",
		    w->scope & API_READ   ? "read"
		    : w->scope & API_PUSH ? "push"
					  : "operate",
		    c->token.name);
	return false;
}

static bool read_body(struct api_call *c, const struct way *w)
{
	size_t len;
	const char *text = httpd_body(c->q, &len);
	struct json_error why = { 0 };

	if (strcmp(w->method, "POST") != 0 || len == 0)
		return true;
	if (json_parse(text, len, BODY_MAX_BYTES, &c->body, &why) < 0) {
		api_problem(c, 400, NULL, "the body is not JSON: %s at line %d column %d", why.text,
			    why.line, why.column);
		return false;
	}
	if (cJSON_IsObject(c->body))
		return true;
	api_problem(c, 400, NULL, "the body must be a JSON object");
	return false;
}

static bool read_query(struct api_call *c, const struct way *w)
{
	int n = 0;

	while (n < QUERY_MAX && w->query[n])
		n++;
	return w->any_query || api_query_check(c, w->query, n);
}

static bool read_path(struct api_call *c)
{
	if (utf8_is_valid(c->rest, strlen(c->rest)))
		return true;
	api_problem(c, 400, NULL, "the address is no UTF-8");
	return false;
}

static void handle(struct httpd_request *q, void *arg)
{
	const struct at *at = arg;
	struct api_call c = { .s = at->s,
			      .q = q,
			      .rest = httpd_path(q) + strlen(at->way->path),
			      .writes = !(at->way->scope & API_READ) };

	if (may(&c, at->way) && read_path(&c) && read_query(&c, at->way) && read_body(&c, at->way))
		at->way->fn(&c);
	cJSON_Delete(c.body);
	cJSON_Delete(c.query);
}

static void openapi(struct httpd_request *q, void *arg)
{
	(void)arg;
	httpd_reply(q, 200, "application/json", openapi_json, strlen(openapi_json));
}

/* The methods of an address, "GET, HEAD, POST"; "" where there is none. */
static void methods_of(const char *path, char *out, size_t n)
{
	bool get = strcmp(path, API_ROOT "openapi.json") == 0, post = false;

	for (size_t i = 0; i < ARRAY_LEN(ways); i++) {
		size_t len = strlen(ways[i].path);

		if (ways[i].path[len - 1] == '/' ? strncmp(path, ways[i].path, len)
						 : strcmp(path, ways[i].path))
			continue;
		get = get || strcmp(ways[i].method, "GET") == 0;
		post = post || strcmp(ways[i].method, "POST") == 0;
	}
	snprintf(out, n, "%s%s%s", get ? "GET, HEAD" : "", get && post ? ", " : "",
		 post ? "POST" : "");
}

static void nothing_here(struct httpd_request *q, void *arg)
{
	struct api_call c = { .s = arg, .q = q };
	char methods[24];

	methods_of(httpd_path(q), methods, sizeof(methods));
	if (*methods) {
		httpd_add_header(q, "Allow", methods);
		api_problem(&c, 405, NULL, "this address is for %s", methods);
		return;
	}
	api_problem(&c, 404, NULL, "the API has no such address; " API_ROOT "openapi.json has all");
}

void api_routes(struct scheduler *s, struct httpd *h)
{
	for (size_t i = 0; i < ARRAY_LEN(ways); i++) {
		ats[i] = (struct at){ s, &ways[i] };
		httpd_route(h, ways[i].method, ways[i].path, handle, &ats[i]);
	}
	httpd_route(h, "GET", API_ROOT "openapi.json", openapi, s);
	httpd_route(h, "*", API_ROOT, nothing_here, s);
}
