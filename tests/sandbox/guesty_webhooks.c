/* Guesty's webhooks: who is to be told of what, by which secret that is signed, and what is told. */
#include <stdio.h>
#include <string.h>

#include "common/base/crypto.h"
#include "common/base/id.h"
#include "tests/sandbox/guesty.h"
#include "tests/sandbox/subscription.h"
#include "tests/sandbox/tell.h"

#define BODY_MAX (64 * 1024)
#define SECRET_BYTES 24

/* ---- what is told ---- */

static int events_of(const char *noun, enum change what, const cJSON *fields,
		     const char *names[TELL_EVENTS_MAX])
{
	static const char *const listing[] = { "listing.new", "listing.updated",
					       "listing.removed" };
	static const char *const stay[] = { "reservation.created.v2", "reservation.updated.v2",
					    NULL };

	names[0] = strcmp(noun, "listing") == 0 ? listing[what] : stay[what];
	return names[0] != NULL;
}

static void body_of(struct account *a, const char *event, const char *noun, const cJSON *item,
		    struct buf *out)
{
	tell_body(event, noun, item, out);
}

static int send(const struct telling *t, struct buf *answer)
{
	return tell_once(t->url, t->secret, t->id, t->body, answer);
}

static bool gives_up(int status, int tries)
{
	return false;
}

const struct teller guesty_teller = {
	.events = events_of, .body = body_of, .send = send, .gives_up = gives_up
};

/* ---- who is told ---- */

/* The secret is another one each time it is made. */
static struct subscription *subscribe(struct exchange *x, const char *url, const cJSON *events)
{
	struct subscription *s = subscription_add(&guesty_teller, x->account->number, url,
						  cJSON_Duplicate(events, 1));
	uint8_t bytes[SECRET_BYTES];
	struct buf secret = BUF_INIT;

	random_bytes(bytes, sizeof(bytes));
	buf_puts(&secret, "whsec_");
	base64_encode(&secret, bytes, sizeof(bytes));
	snprintf(s->secret, sizeof(s->secret), "%s", buf_str(&secret));
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
		print(subscribe(x, url, events), &out);
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
	while ((s = subscription_next(s, &guesty_teller, x->account->number))) {
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
	struct subscription *s = subscription_find(&guesty_teller, x->account->number, id);
	struct buf out = BUF_INIT;

	if (!s) {
		exchange_refuse(x, 404, "Not Found", "there is no such webhook", 0);
		return;
	}
	subscription_remove(s);
	buf_puts(&out, "{}");
	exchange_reply(x, 200, &out);
	buf_clear(&out);
}

static void secret_serve(struct exchange *x)
{
	const char *url = httpd_query(x->q, "url");
	const struct subscription *s = NULL;
	struct buf out = BUF_INIT;

	while ((s = subscription_next(s, &guesty_teller, x->account->number)))
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

void guesty_webhook_routes(struct httpd *h, struct sandbox *s)
{
	httpd_route(h, "POST", "/v1/webhooks", add_handler, s);
	httpd_route(h, "GET", "/v1/webhooks", list_handler, s);
	httpd_route(h, "DELETE", "/v1/webhooks/", remove_handler, s);
	httpd_route(h, "GET", "/v1/webhooks-v2/secret", secret_handler, s);
}
