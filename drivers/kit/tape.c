#include "drivers/kit/tape.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/crypto.h"
#include "common/base/mem.h"
#include "drivers/kit/diff.h"

#define BODY_MAX_BYTES (64 * 1024 * 1024)
#define DIFF_SHOWN 200

struct tape {
	bool replays;
	int64_t now_us;
	cJSON *kept, *auth; /* recording */
	const cJSON *exchanges;
	bool *used;        /* replaying: one for each exchange */
	const cJSON *last; /* the request that was answered last */
	cJSON *unknown;
};

struct tape *tape_recording(int64_t now_us)
{
	struct tape *t = mem_new(struct tape);

	t->now_us = now_us;
	t->kept = cJSON_CreateArray();
	t->auth = cJSON_CreateArray();
	return t;
}

struct tape *tape_replaying(const cJSON *exchanges, int64_t now_us)
{
	struct tape *t = mem_new(struct tape);

	t->replays = true;
	t->now_us = now_us;
	t->exchanges = exchanges;
	t->used = mem_zalloc((size_t)cJSON_GetArraySize(exchanges) + 1);
	t->unknown = cJSON_CreateArray();
	return t;
}

void tape_free(struct tape *t)
{
	if (!t)
		return;
	cJSON_Delete(t->kept);
	cJSON_Delete(t->auth);
	cJSON_Delete(t->unknown);
	free(t->used);
	free(t);
}

bool tape_replays(const struct tape *t)
{
	return t && t->replays;
}

int64_t tape_now_us(const struct tape *t)
{
	return t->now_us;
}

void tape_keep(struct tape *t, cJSON *exchange, bool auth)
{
	cJSON_AddItemToArray(auth ? t->auth : t->kept, exchange);
}

cJSON *tape_take(struct tape *t, bool auth)
{
	cJSON **from = auth ? &t->auth : &t->kept, *taken = *from;

	*from = cJSON_CreateArray();
	return taken;
}

/* ---- bodies ---- */

void tape_add_body(cJSON *to, const char *body, size_t len)
{
	struct buf text = BUF_INIT;
	cJSON *json = NULL;

	if (len == 0)
		return;
	if (json_parse(body, len, BODY_MAX_BYTES, &json, NULL) == 0) {
		cJSON_AddItemToObject(to, "json", json);
		return;
	}
	if (utf8_is_valid(body, len) && !memchr(body, '\0', len)) {
		buf_append(&text, body, len);
		cJSON_AddStringToObject(to, "text", buf_str(&text));
	} else {
		base64_encode(&text, body, len);
		cJSON_AddStringToObject(to, "base64", buf_str(&text));
	}
	buf_clear(&text);
}

static void read_body(const cJSON *v, struct buf *out)
{
	const cJSON *json = cJSON_GetObjectItemCaseSensitive(v, "json");
	const char *text = json_str(v, "text"), *coded = json_str(v, "base64");

	if (json)
		json_print(json, out);
	else if (text)
		buf_puts(out, text);
	else if (coded && base64_decode(coded, strlen(coded), out) < 0)
		buf_reset(out);
}

/* ---- answers ---- */

/* What tells something of the answer and not of the road it came. */
static bool header_matters(const char *name)
{
	static const char *const noise[] = { "date",
					     "server",
					     "connection",
					     "keep-alive",
					     "content-length",
					     "transfer-encoding",
					     "content-encoding",
					     "vary",
					     "via",
					     "set-cookie",
					     "age",
					     "strict-transport-security",
					     "alt-svc",
					     "x-request-id",
					     "request-id",
					     "x-trace-id",
					     "traceparent" };

	for (size_t i = 0; i < ARRAY_LEN(noise); i++)
		if (strcmp(name, noise[i]) == 0)
			return false;
	return strncmp(name, "cf-", 3) != 0 && strncmp(name, "access-control-", 15) != 0;
}

cJSON *tape_response_print(const struct http_response *r)
{
	cJSON *v = cJSON_CreateObject(), *headers;
	const char *p = r->headers.data, *end = p ? p + r->headers.len : NULL;

	if (r->failure) {
		cJSON_AddStringToObject(v, "failure", r->failure);
		cJSON_AddStringToObject(v, "detail", r->detail);
	}
	if (r->status == 0)
		return v;
	cJSON_AddNumberToObject(v, "status", r->status);
	headers = cJSON_AddObjectToObject(v, "headers");
	while (p && p < end) {
		const char *value = p + strlen(p) + 1;

		if (value >= end)
			break;
		if (header_matters(p) && !cJSON_GetObjectItemCaseSensitive(headers, p))
			cJSON_AddStringToObject(headers, p, value);
		p = value + strlen(value) + 1;
	}
	tape_add_body(v, buf_str(&r->body), r->body.len);
	return v;
}

/* Words of http.h, which others compare by their address. */
const char *tape_failure_word(const char *word)
{
	static const char *const words[] = { "timeout", "wait_timeout", "write_timeout",
					     "refused", "dns",          "tls",
					     "reset",   "too_large",    "network" };

	for (size_t i = 0; word && i < ARRAY_LEN(words); i++)
		if (strcmp(word, words[i]) == 0)
			return words[i];
	return word ? "network" : NULL;
}

void tape_response_read(const cJSON *v, struct http_response *out)
{
	const cJSON *headers = cJSON_GetObjectItemCaseSensitive(v, "headers"), *h;
	const char *detail = json_str(v, "detail");
	int64_t status = 0;

	http_response_clear(out);
	http_response_init(out);
	(void)json_int(v, "status", &status);
	out->status = (int)status;
	out->failure = tape_failure_word(json_str(v, "failure"));
	if (out->status == 0 && !out->failure)
		out->failure = "network";
	snprintf(out->detail, sizeof(out->detail), "%s", detail ? detail : "");
	cJSON_ArrayForEach (h, headers) {
		if (!cJSON_IsString(h))
			continue;
		buf_append(&out->headers, h->string, strlen(h->string) + 1);
		buf_append(&out->headers, h->valuestring, strlen(h->valuestring) + 1);
	}
	read_body(v, &out->body);
}

/* ---- replay ---- */

/* The endpoint says which request was meant; what differs then is worth telling. */
static const cJSON *nearest_of(const struct tape *t, const cJSON *request)
{
	const char *endpoint = json_str(request, "endpoint");
	const cJSON *used = NULL, *x;
	int i = 0;

	cJSON_ArrayForEach (x, t->exchanges) {
		const cJSON *r = cJSON_GetObjectItemCaseSensitive(x, "request");
		const char *other = json_str(r, "endpoint");

		if (endpoint && other && strcmp(endpoint, other) == 0) {
			if (!t->used[i])
				return r;
			used = r;
		}
		i++;
	}
	return used;
}

static void describe(const cJSON *request, struct buf *out)
{
	const char *method = json_str(request, "method"), *url = json_str(request, "url");
	const cJSON *query = cJSON_GetObjectItemCaseSensitive(request, "query");

	buf_printf(out, "%s %s", method ? method : "?", url ? url : "?");
	if (query && query->child) {
		buf_putc(out, ' ');
		json_print(query, out);
	}
}

void tape_add_problem(struct tape *t, const char *path, const char *text)
{
	cJSON *p = cJSON_CreateObject();

	cJSON_AddStringToObject(p, "path", path);
	cJSON_AddStringToObject(p, "text", text);
	cJSON_AddItemToArray(t->unknown, p);
}

static void is_unknown(struct tape *t, const cJSON *request, struct err *err)
{
	const cJSON *near = nearest_of(t, request);
	struct buf text = BUF_INIT, what = BUF_INIT;

	describe(request, &what);
	buf_printf(&text, "was asked for and is not recorded");
	if (near && cJSON_Compare(near, request, true)) {
		buf_puts(&text, ": what is recorded of it was asked for already");
	} else if (near) {
		buf_puts(&text, "; what is recorded of that endpoint differs in ");
		json_diff_line(near, request, &text);
	}
	tape_add_problem(t, buf_str(&what), buf_str(&text));
	err_set(err, -ENOENT, ERR_INTERNAL, "replay", "%.*s %s", DIFF_SHOWN, buf_str(&what),
		buf_str(&text));
	buf_clear(&text);
	buf_clear(&what);
}

static const cJSON *unused(const struct tape *t, const cJSON *request, int *index)
{
	const cJSON *x;
	int i = 0;

	cJSON_ArrayForEach (x, t->exchanges) {
		const cJSON *r = cJSON_GetObjectItemCaseSensitive(x, "request");

		if (!t->used[i] && r && cJSON_Compare(r, request, true)) {
			*index = i;
			return x;
		}
		i++;
	}
	return NULL;
}

const cJSON *tape_find(struct tape *t, const cJSON *request, int *index, struct err *err)
{
	const cJSON *x = unused(t, request, index);

	if (!x) {
		is_unknown(t, request, err);
		return NULL;
	}
	t->used[*index] = true;
	t->last = cJSON_GetObjectItemCaseSensitive(x, "request");
	return cJSON_GetObjectItemCaseSensitive(x, "response");
}

int tape_answer(struct tape *t, const cJSON *request, struct http_response *out, struct err *err)
{
	int i;
	const cJSON *response = tape_find(t, request, &i, err);

	if (!response)
		return -ENOENT;
	tape_response_read(response, out);
	return 0;
}

bool tape_was_asked_again(const struct tape *t)
{
	int i;

	return t->last && unused(t, t->last, &i);
}

void tape_problems(const struct tape *t, cJSON *problems)
{
	const cJSON *x;
	int i = 0;

	cJSON_ArrayForEach (x, t->unknown)
		cJSON_AddItemToArray(problems, cJSON_Duplicate(x, true));
	cJSON_ArrayForEach (x, t->exchanges) {
		struct buf what = BUF_INIT;
		cJSON *p;

		if (t->used[i++])
			continue;
		p = cJSON_CreateObject();
		buf_printf(&what, "exchanges[%d] ", i - 1);
		describe(cJSON_GetObjectItemCaseSensitive(x, "request"), &what);
		cJSON_AddStringToObject(p, "path", buf_str(&what));
		cJSON_AddStringToObject(p, "text", "is recorded and was not asked for");
		cJSON_AddItemToArray(problems, p);
		buf_clear(&what);
	}
}
