/* Guesty's webhooks, as registrations: who is to be told of what, and by which secret that is signed. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/crypto.h"
#include "common/base/id.h"
#include "common/base/mem.h"
#include "tests/sandbox/guesty.h"

#define BODY_MAX (64 * 1024)
#define SECRET_BYTES 24

static struct subscription *first;

const struct subscription *subscription_next(const struct subscription *after, int account)
{
	const struct subscription *s = after ? after->next : first;

	while (s && account && s->account != account)
		s = s->next;
	return s;
}

bool subscription_wants(const struct subscription *s, const char *event)
{
	const cJSON *e;

	cJSON_ArrayForEach (e, s->events)
		if (cJSON_IsString(e) && strcmp(e->valuestring, event) == 0)
			return true;
	return false;
}

static void subscription_free(struct subscription *s)
{
	free(s->url);
	cJSON_Delete(s->events);
	free(s);
}

void subscriptions_free(void)
{
	while (first) {
		struct subscription *s = first;

		first = s->next;
		subscription_free(s);
	}
}

static struct subscription *subscription_add(struct exchange *x, const char *url,
					     const cJSON *events)
{
	struct subscription *s = mem_new(struct subscription), **at = &first;
	uint8_t bytes[SECRET_BYTES];
	struct buf secret = BUF_INIT;

	random_bytes(bytes, sizeof(bytes));
	buf_puts(&secret, "whsec_");
	base64_encode(&secret, bytes, sizeof(bytes));
	snprintf(s->secret, sizeof(s->secret), "%s", buf_str(&secret));
	crypto_hex(bytes, 12, s->id);
	s->account = x->account->number;
	s->url = mem_strdup(url);
	s->events = cJSON_Duplicate(events, 1);
	while (*at)
		at = &(*at)->next;
	*at = s;
	buf_clear(&secret);
	return s;
}

static void print(const struct subscription *s, struct buf *out)
{
	buf_printf(out, "{\"_id\":\"%s\",\"accountId\":\"acct-%d\",\"url\":", s->id, s->account);
	json_quote(out, s->url, strlen(s->url));
	buf_puts(out, ",\"events\":");
	json_print(s->events, out);
	buf_putc(out, '}');
}

static void add_serve(struct exchange *x)
{
	size_t len;
	const char *body = httpd_body(x->q, &len), *url;
	struct buf out = BUF_INIT;
	cJSON *tree = NULL;
	const cJSON *events;

	if (json_parse(body, len, BODY_MAX, &tree, NULL) < 0)
		tree = NULL;
	url = tree ? json_str(tree, "url") : NULL;
	events = tree ? json_path(tree, "events") : NULL;
	if (!url || strncmp(url, "http", 4) != 0 || !cJSON_IsArray(events) || !events->child) {
		exchange_refuse(x, 400, "Bad Request", "url and events are needed", 0);
	} else {
		print(subscription_add(x, url, events), &out);
		exchange_reply(x, 200, &out);
	}
	buf_clear(&out);
	cJSON_Delete(tree);
}

static void list_serve(struct exchange *x)
{
	const struct subscription *s = NULL;
	struct buf out = BUF_INIT;
	int n = 0;

	buf_putc(&out, '[');
	while ((s = subscription_next(s, x->account->number))) {
		if (n++)
			buf_putc(&out, ',');
		print(s, &out);
	}
	buf_putc(&out, ']');
	exchange_reply(x, 200, &out);
	buf_clear(&out);
}

static void remove_serve(struct exchange *x)
{
	const char *id = httpd_path(x->q) + strlen("/v1/webhooks/");
	struct buf out = BUF_INIT;

	for (struct subscription **at = &first; *at; at = &(*at)->next) {
		struct subscription *s = *at;

		if (s->account != x->account->number || strcmp(s->id, id) != 0)
			continue;
		*at = s->next;
		subscription_free(s);
		buf_puts(&out, "{}");
		exchange_reply(x, 200, &out);
		buf_clear(&out);
		return;
	}
	exchange_refuse(x, 404, "Not Found", "there is no such webhook", 0);
}

static void secret_serve(struct exchange *x)
{
	const char *url = httpd_query(x->q, "url");
	const struct subscription *s = NULL;
	struct buf out = BUF_INIT;

	while ((s = subscription_next(s, x->account->number)))
		if (url && strcmp(s->url, url) == 0)
			break;
	if (!s) {
		exchange_refuse(x, 404, "Not Found", "no webhook goes to that url", 0);
		return;
	}
	buf_printf(&out, "{\"key\":\"%s\"}", s->secret);
	exchange_reply(x, 200, &out);
	buf_clear(&out);
}

static void serve(struct httpd_request *q, struct sandbox *s, void (*fn)(struct exchange *))
{
	struct exchange x;

	if (exchange_begin(&x, s, q) && guesty_admit(&x))
		fn(&x);
	exchange_end(&x);
}

static void add_handler(struct httpd_request *q, void *arg)
{
	serve(q, arg, add_serve);
}

static void list_handler(struct httpd_request *q, void *arg)
{
	serve(q, arg, list_serve);
}

static void remove_handler(struct httpd_request *q, void *arg)
{
	serve(q, arg, remove_serve);
}

static void secret_handler(struct httpd_request *q, void *arg)
{
	serve(q, arg, secret_serve);
}

void subscription_routes(struct httpd *h, struct sandbox *s)
{
	httpd_route(h, "POST", "/v1/webhooks", add_handler, s);
	httpd_route(h, "GET", "/v1/webhooks", list_handler, s);
	httpd_route(h, "DELETE", "/v1/webhooks/", remove_handler, s);
	httpd_route(h, "GET", "/v1/webhooks-v2/secret", secret_handler, s);
}
