#include "tests/sandbox/tell.h"

#include <stdio.h>
#include <string.h>

#include "common/base/clock.h"
#include "common/base/crypto.h"
#include "common/base/hmac.h"
#include "common/base/id.h"
#include "common/base/mem.h"

#define BODY_MAX (1024 * 1024)
#define TIMES_MAX 10000

static struct http_pool *pool;

static void sign(const char *secret, const char *id, const char *ts, const char *body,
		 struct buf *out)
{
	struct buf key = BUF_INIT, text = BUF_INIT;
	uint8_t mac[HMAC_BYTES_MAX];
	size_t n;

	if (strncmp(secret, "whsec_", 6) == 0)
		secret += 6;
	if (base64_decode(secret, strlen(secret), &key) < 0)
		buf_reset(&key);
	buf_printf(&text, "%s.%s.", id, ts);
	buf_puts(&text, body);
	n = hmac(HMAC_SHA256, buf_str(&key), key.len, text.data, text.len, mac);
	buf_puts(out, "v1,");
	base64_encode(out, mac, n);
	buf_clear(&key);
	buf_clear(&text);
}

int tell_send(const char *url, const struct http_header *headers, int n_headers, const char *body,
	      struct buf *answer)
{
	const struct http_request q = { .method = "POST",
					.url = url,
					.headers = headers,
					.n_headers = n_headers,
					.body = body,
					.body_len = strlen(body),
					.total_ms = 15000 };
	struct http_response r;
	int status = 0;

	if (!pool && http_global_init() == 0)
		pool = http_pool_new("tell", 0);
	http_response_init(&r);
	if (pool && http_send(pool, &q, &r) == 0) {
		status = r.status;
		buf_append(answer, buf_str(&r.body), r.body.len);
	}
	http_response_clear(&r);
	return status;
}

int tell_once(const char *url, const char *secret, const char *id, const char *body,
	      struct buf *answer)
{
	struct buf signature = BUF_INIT;
	char ts[24];
	int status;

	snprintf(ts, sizeof(ts), "%lld", (long long)(clock_real_ms() / 1000));
	sign(secret, id, ts, body, &signature);
	const struct http_header headers[] = { { "Content-Type", "application/json" },
					       { "svix-id", id },
					       { "svix-timestamp", ts },
					       { "svix-signature", buf_str(&signature) } };
	status = tell_send(url, headers, (int)ARRAY_LEN(headers), body, answer);
	buf_clear(&signature);
	return status;
}

void tell_body(const char *event, const char *noun, const cJSON *item, struct buf *out)
{
	char iso[CLOCK_ISO_MAX];

	buf_puts(out, "{\"event\":");
	json_quote(out, event, strlen(event));
	buf_printf(out, ",\"publishedAt\":\"%s\",\"%s\":", clock_iso(clock_real_ms(), iso), noun);
	json_print(item, out);
	buf_putc(out, '}');
}

/* ---- by order ---- */

/* The body that is asked for, or one about the item of that id as it is now. */
static bool ordered_body(struct sandbox *s, const cJSON *order, struct buf *out)
{
	const cJSON *body = cJSON_GetObjectItemCaseSensitive(order, "body");
	const char *event = json_str(order, "event"), *id = json_str(order, "id"),
		   *account = json_str(order, "account");
	struct account *a;
	const struct item *item;

	if (body) {
		json_print(body, out);
		return true;
	}
	a = id && event ? accounts_get(s->accounts, account_number(account ? account : "acct-1"))
			: NULL;
	if (!a)
		return false;
	account_fill(s->accounts, a);
	item = collection_find(&a->listings, id);
	if (item) {
		tell_body(event, "listing", item->tree, out);
		return true;
	}
	item = collection_find(&a->reservations, id);
	if (item)
		tell_body(event, "reservation", item->tree, out);
	return item != NULL;
}

/* {"url", "secret", "event", "id", "account"} or "body"; "times" (1), "message": its svix-id -> {"status", "answer"} of the last. */
static void webhook_post(struct httpd_request *q, void *arg)
{
	struct buf body = BUF_INIT, answer = BUF_INIT, out = BUF_INIT;
	size_t len;
	const char *text = httpd_body(q, &len);
	cJSON *order = NULL;
	const char *url, *secret, *message;
	char id[ID_LEN + 8];
	int64_t times = 1;
	int status = 0;

	if (json_parse(text, len, BODY_MAX, &order, NULL) < 0 || !(url = json_str(order, "url")) ||
	    !(secret = json_str(order, "secret")) || !ordered_body(arg, order, &body)) {
		httpd_reply_text(q, 400, "url, secret, and event with id, or body, are needed");
		cJSON_Delete(order);
		return;
	}
	message = json_str(order, "message");
	(void)json_int(order, "times", &times);
	for (int64_t n = 0; n < times && n < TIMES_MAX; n++) {
		memcpy(id, "msg_", 4);
		id_new(id + 4);
		buf_reset(&answer);
		status = tell_once(url, secret, message ? message : id, body.data, &answer);
	}
	buf_printf(&out, "{\"status\":%d,\"answer\":", status);
	json_quote(&out, buf_str(&answer), answer.len);
	buf_putc(&out, '}');
	httpd_reply(q, 200, "application/json", out.data, out.len);
	cJSON_Delete(order);
	buf_clear(&body);
	buf_clear(&answer);
	buf_clear(&out);
}

void tell_routes(struct httpd *h, struct sandbox *s)
{
	httpd_route(h, "POST", "/_control/webhook", webhook_post, s);
}

void tell_free(void)
{
	http_pool_free(pool);
	pool = NULL;
}
