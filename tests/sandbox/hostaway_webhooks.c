/* Hostaway's unified webhooks: one registration for all events, known by Basic auth.  What an answer and a delivery hold
 * is not documented but for the registration itself and the log of deliveries (object, objectId, event, listingMapId). */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/crypto.h"
#include "common/base/mem.h"
#include "tests/sandbox/guise.h"
#include "tests/sandbox/hostaway.h"
#include "tests/sandbox/subscription.h"
#include "tests/sandbox/tell.h"

#define PATH HOSTAWAY "/webhooks/unifiedWebhooks"
#define BODY_MAX (64 * 1024)
#define TRIES_MAX 4

/* ---- what is told ---- */

/* Every change of a reservation, whichever it is; nothing of listings. */
static int events_of(const char *noun, enum change what, const cJSON *fields,
		     const char *names[TELL_EVENTS_MAX])
{
	if (strcmp(noun, "reservation") != 0 || what == CHANGE_REMOVED)
		return 0;
	names[0] = what == CHANGE_NEW ? "reservation.created" : "reservation.updated";
	return 1;
}

static void body_of(struct account *a, const char *event, const char *noun, const cJSON *item,
		    struct buf *out)
{
	struct exchange x = { .account = a };
	cJSON *v = cJSON_CreateObject(), *view = hostaway_reservation_view(&x, item);

	cJSON_AddNumberToObject(v, "accountId", a->number);
	cJSON_AddStringToObject(v, "object", "reservation");
	cJSON_AddStringToObject(v, "event", event);
	guise_copy(v, "objectId", view, "id");
	guise_copy(v, "listingMapId", view, "listingMapId");
	cJSON_AddItemToObject(v, "data", view);
	json_print(v, out);
	cJSON_Delete(v);
}

static int send(const struct telling *t, struct buf *answer)
{
	struct buf pair = BUF_INIT, basic = BUF_INIT;
	int status;

	buf_printf(&pair, "%s:%s", t->login, t->secret);
	buf_puts(&basic, "Basic ");
	base64_encode(&basic, pair.data, pair.len);
	const struct http_header headers[] = { { "Content-Type", "application/json" },
					       { "Authorization", buf_str(&basic) } };
	status = tell_send(t->url, headers, *t->secret ? 2 : 1, t->body, answer);
	buf_clear(&pair);
	buf_clear(&basic);
	return status;
}

/* Three more after a 5xx, a 429 or none at all; never after another 4xx. */
static bool gives_up(int status, int tries)
{
	return tries >= TRIES_MAX || (status / 100 == 4 && status != 429);
}

const struct teller hostaway_teller = {
	.events = events_of, .body = body_of, .send = send, .gives_up = gives_up
};

/* ---- who is told ---- */

static cJSON *view(const struct subscription *s)
{
	cJSON *v = cJSON_CreateObject();

	cJSON_AddNumberToObject(v, "id", (double)strtoll(s->id, NULL, 10));
	cJSON_AddNumberToObject(v, "isEnabled", !s->off);
	cJSON_AddStringToObject(v, "url", s->url);
	cJSON_AddItemToObject(v, "login", guise_text(*s->login ? s->login : NULL));
	cJSON_AddItemToObject(v, "password", guise_text(*s->secret ? "****" : NULL));
	cJSON_AddNullToObject(v, "alertingEmailAddress");
	return v;
}

/* Takes result. */
static void done(struct exchange *x, cJSON *result)
{
	cJSON *v = cJSON_CreateObject();
	struct buf body = BUF_INIT;

	cJSON_AddStringToObject(v, "status", "success");
	cJSON_AddItemToObject(v, "result", result);
	json_print(v, &body);
	exchange_reply(x, 200, &body);
	cJSON_Delete(v);
	buf_clear(&body);
}

static cJSON *body_tree(const struct exchange *x)
{
	size_t len;
	const char *body = httpd_body(x->q, &len);
	cJSON *tree = NULL;

	return json_parse(body, len, BODY_MAX, &tree, NULL) == 0 ? tree : NULL;
}

static void fill(struct subscription *s, const cJSON *body)
{
	const char *login = json_str(body, "login"), *password = json_str(body, "password");
	int64_t on = 1;

	snprintf(s->login, sizeof(s->login), "%s", login ? login : "");
	snprintf(s->secret, sizeof(s->secret), "%s", password ? password : "");
	(void)json_int(body, "isEnabled", &on);
	s->off = on == 0;
}

static void add_serve(struct exchange *x)
{
	static int last_id;
	cJSON *body = body_tree(x);
	const char *url = body ? json_str(body, "url") : NULL;
	struct subscription *s;

	if (!url || strncmp(url, "http", 4) != 0) {
		hostaway_fail(x, 400, "url is required");
	} else {
		s = subscription_add(&hostaway_teller, x->account->number, url, NULL);
		snprintf(s->id, sizeof(s->id), "%d", ++last_id);
		fill(s, body);
		done(x, view(s));
	}
	cJSON_Delete(body);
}

static void list_serve(struct exchange *x)
{
	const struct subscription *s = NULL;
	cJSON *all = cJSON_CreateArray();

	while ((s = subscription_next(s, &hostaway_teller, x->account->number)))
		cJSON_AddItemToArray(all, view(s));
	done(x, all);
}

static void change_serve(struct exchange *x, struct subscription *s)
{
	cJSON *body = body_tree(x);

	if (!body) {
		hostaway_fail(x, 400, "a unified webhook object is required");
		return;
	}
	fill(s, body);
	done(x, view(s));
	cJSON_Delete(body);
}

static void one_serve(struct exchange *x)
{
	const char *id = httpd_path(x->q) + strlen(PATH "/"), *method = httpd_method(x->q);
	struct subscription *s = subscription_find(&hostaway_teller, x->account->number, id);

	if (!s) {
		hostaway_fail(x, 404, "Resource not found");
	} else if (strcmp(method, "DELETE") == 0) {
		subscription_remove(s);
		done(x, cJSON_CreateArray());
	} else if (strcmp(method, "PUT") == 0) {
		change_serve(x, s);
	} else {
		done(x, view(s));
	}
}

static void all_handler(struct httpd_request *q, void *arg)
{
	struct exchange x;

	if (exchange_begin(&x, arg, q) && hostaway_admit(&x)) {
		if (strcmp(httpd_method(q), "POST") == 0)
			add_serve(&x);
		else
			list_serve(&x);
	}
	exchange_end(&x);
}

static void one_handler(struct httpd_request *q, void *arg)
{
	struct exchange x;

	if (exchange_begin(&x, arg, q) && hostaway_admit(&x))
		one_serve(&x);
	exchange_end(&x);
}

void hostaway_webhook_routes(struct httpd *h, struct sandbox *s)
{
	httpd_route(h, "POST", PATH, all_handler, s);
	httpd_route(h, "GET", PATH, all_handler, s);
	httpd_route(h, "*", PATH "/", one_handler, s);
}
