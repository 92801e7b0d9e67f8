/* Hostaway's API as its public documentation describes it: a token that is no good in its first second and dead as 403, two
 * limits without headers, an envelope whose errors are texts, reservations by the last id over a list that moves. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/mem.h"
#include "tests/sandbox/exchange.h"
#include "tests/sandbox/form.h"
#include "tests/sandbox/guise.h"
#include "tests/sandbox/hostaway.h"

#define TEN_SECONDS_US 10000000LL
#define TOKEN_UNUSABLE_US 1000000LL
#define PAGE_DEFAULT 100
#define PAGE_MAX 500

static struct quota of_account = { .tier = { 20, TEN_SECONDS_US } };
static struct window of_address; /* all of ours come from one */
static const struct tier address_tier = { 15, TEN_SECONDS_US };

/* An error's text is the result; only that of a 429 is a message. */
void hostaway_fail(struct exchange *x, int status, const char *text)
{
	struct buf body = BUF_INIT;

	buf_printf(&body, "{\"status\":\"fail\",\"%s\":", status == 429 ? "message" : "result");
	json_quote(&body, text, strlen(text));
	buf_putc(&body, '}');
	exchange_reply(x, status, &body);
	buf_clear(&body);
}

/* ---- tokens ---- */

static void token_serve(struct exchange *x)
{
	struct account *account = form_client(x);
	size_t len;
	const char *form = httpd_body(x->q, &len);
	char grant[64] = "", scope[64] = "";
	struct buf body = BUF_INIT;
	const struct token *token;

	if (!form_value(form, len, "grant_type", grant, sizeof(grant)) ||
	    strcmp(grant, "client_credentials") != 0 ||
	    !form_value(form, len, "scope", scope, sizeof(scope)) ||
	    strcmp(scope, "general") != 0) {
		hostaway_fail(x, 400, "grant_type must be client_credentials, and scope general");
	} else if (!account) {
		exchange_refuse(x, 401, "invalid_client", "Client authentication failed", 0);
	} else if (exchange_latency(x)) {
		journal_account(x->sandbox->journal, x->seq, account->number, 0);
		token = account_mint(x->sandbox->accounts, account, x->arrived_us, NULL);
		buf_printf(
			&body,
			"{\"token_type\":\"Bearer\",\"expires_in\":%lld,\"access_token\":\"%s\"}",
			(long long)((token->expires_us - x->arrived_us) / 1000000), token->text);
		exchange_reply(x, 200, &body);
	}
	buf_clear(&body);
}

static void token_revoke(struct exchange *x)
{
	const char *text = httpd_query(x->q, "token");
	struct account *account = text ? accounts_by_token(x->sandbox->accounts, text) : NULL;
	struct buf body = BUF_INIT;

	if (!account || !account_revoke(account, text)) {
		hostaway_fail(x, 404, "there is no such token");
		return;
	}
	buf_puts(&body, "{\"status\":\"success\",\"result\":[]}");
	exchange_reply(x, 200, &body);
	buf_clear(&body);
}

/* ---- who may ---- */

static bool within_limits(struct exchange *x)
{
	int64_t wait_us = 0;

	if (accounts_limits(x->sandbox->accounts)->n_tiers == 0)
		return true;
	wait_us = window_wait_us(&of_address, x->arrived_us);
	if (wait_us == 0)
		wait_us = quota_admit(&of_account, x);
	else
		x->account->refused++;
	if (wait_us == 0) {
		window_add(&of_address, x->arrived_us);
		return true;
	}
	hostaway_fail(
		x, 429,
		"This error occurs because a server detects that your application has exceeded the rate limits or has made too many requests in a given period of time.");
	return false;
}

bool hostaway_admit(struct exchange *x)
{
	const char *token = exchange_token(x);
	const struct token *known = x->account ? account_token(x->account, token) : NULL;

	if (!known || x->arrived_us >= known->expires_us ||
	    x->arrived_us < known->minted_us + TOKEN_UNUSABLE_US) {
		hostaway_fail(x, 403,
			      "The resource owner or authorization server denied the request.");
		return false;
	}
	if (!within_limits(x))
		return false;
	account_fill(x->sandbox->accounts, x->account);
	if (!exchange_latency(x))
		return false;
	account_fill(x->sandbox->accounts, x->account); /* a reset may have emptied it meanwhile */
	return true;
}

/* ---- lists ---- */

struct entry {
	const cJSON *tree;
	int64_t id;
	char at[GUISE_TIME_MAX]; /* of its last change: sorts as text */
};

static int by_change(const void *a, const void *b)
{
	const struct entry *x = a, *y = b;
	int order = strcmp(x->at, y->at);

	return order ? order : (x->id > y->id) - (x->id < y->id);
}

static int by_change_desc(const void *a, const void *b)
{
	return by_change(b, a);
}

/* Those whose last change is within latestActivityStart and End; a day alone begins at midnight. */
static struct entry *entries(const struct exchange *x, const struct collection *c, int *n)
{
	const char *from = httpd_query(x->q, "latestActivityStart");
	const char *to = httpd_query(x->q, "latestActivityEnd");
	struct entry *v = mem_zalloc(((size_t)c->n + 1) * sizeof(*v));

	*n = 0;
	for (int i = 0; i < c->n; i++) {
		struct entry *e = &v[*n];

		e->tree = c->v[i].tree;
		e->id = guise_id(x->account->number, json_str(e->tree, "_id"));
		guise_time(e->tree, "lastUpdatedAt", e->at);
		if (from && strcmp(e->at, from) < 0)
			continue;
		if (to && strncmp(e->at, to, strlen(to)) > 0)
			continue;
		(*n)++;
	}
	return v;
}

/* The first entry behind the one with this id in the order that was asked for; its end where there is none. */
static int after(const struct entry *v, int n, const char *id)
{
	int64_t wanted = strtoll(id, NULL, 10);

	for (int i = 0; i < n; i++)
		if (v[i].id == wanted)
			return i + 1;
	return n;
}

static void page_reply(struct exchange *x, const struct entry *v, int n, int first,
		       cJSON *(*view)(const struct exchange *x, const cJSON *t))
{
	int limit = guise_number(x->q, "limit", PAGE_DEFAULT, PAGE_MAX);
	struct buf body = BUF_INIT;

	limit = limit ? limit : PAGE_DEFAULT;
	buf_puts(&body, "{\"status\":\"success\",\"result\":[");
	for (int i = first; i < n && i < first + limit; i++) {
		cJSON *one = view(x, v[i].tree);

		if (i > first)
			buf_putc(&body, ',');
		json_print(one, &body);
		cJSON_Delete(one);
	}
	buf_printf(&body,
		   "],\"limit\":%d,\"offset\":%d,\"count\":%d,\"page\":%d,\"totalPages\":%d}",
		   limit, first, n, first / limit + 1, (n + limit - 1) / limit);
	exchange_reply(x, 200, &body);
	buf_clear(&body);
}

static void one_reply(struct exchange *x, const struct item *item,
		      cJSON *(*view)(const struct exchange *x, const cJSON *t))
{
	struct buf body = BUF_INIT;
	cJSON *one;

	if (!item) {
		hostaway_fail(x, 404, "Resource not found");
		return;
	}
	one = view(x, item->tree);
	buf_puts(&body, "{\"status\":\"success\",\"result\":");
	json_print(one, &body);
	buf_putc(&body, '}');
	exchange_reply(x, 200, &body);
	cJSON_Delete(one);
	buf_clear(&body);
}

static void listings_serve(struct exchange *x)
{
	const char *rest = httpd_path(x->q) + strlen(HOSTAWAY "/listings");
	const struct collection *c = &x->account->listings;
	const char *order = httpd_query(x->q, "sortOrder");
	struct entry *v;
	int n;

	if (*rest == '/') {
		one_reply(x, guise_find(c, x->account->number, rest + 1), hostaway_listing_view);
		return;
	}
	v = entries(x, c, &n);
	if (order && strcmp(order, "latestActivity") == 0)
		qsort(v, (size_t)n, sizeof(*v), by_change);
	page_reply(x, v, n, guise_number(x->q, "offset", 0, c->n), hostaway_listing_view);
	free(v);
}

static void reservations_serve(struct exchange *x)
{
	const char *rest = httpd_path(x->q) + strlen(HOSTAWAY "/reservations");
	const struct collection *c = &x->account->reservations;
	const char *order = httpd_query(x->q, "sortOrder"),
		   *after_id = httpd_query(x->q, "afterId");
	bool oldest_first = order && strcmp(order, "updatedOn") == 0;
	struct entry *v;
	int n;

	if (*rest == '/') {
		one_reply(x, guise_find(c, x->account->number, rest + 1),
			  hostaway_reservation_view);
		return;
	}
	v = entries(x, c, &n);
	qsort(v, (size_t)n, sizeof(*v), oldest_first ? by_change : by_change_desc);
	page_reply(x, v, n,
		   after_id ? after(v, n, after_id) : guise_number(x->q, "offset", 0, c->n),
		   hostaway_reservation_view);
	free(v);
}

/* ---- routes ---- */

static void token_handler(struct httpd_request *q, void *arg)
{
	struct exchange x;

	if (exchange_begin(&x, arg, q) && strcmp(httpd_method(q), "POST") == 0)
		token_serve(&x);
	else if (!x.answered)
		token_revoke(&x);
	exchange_end(&x);
}

static void listings_handler(struct httpd_request *q, void *arg)
{
	struct exchange x;

	if (exchange_begin(&x, arg, q) && hostaway_admit(&x))
		listings_serve(&x);
	exchange_end(&x);
}

static void reservations_handler(struct httpd_request *q, void *arg)
{
	struct exchange x;

	if (exchange_begin(&x, arg, q) && hostaway_admit(&x))
		reservations_serve(&x);
	exchange_end(&x);
}

void hostaway_routes(struct httpd *h, struct sandbox *s)
{
	window_init(&of_address, address_tier);
	httpd_route(h, "POST", HOSTAWAY "/accessTokens", token_handler, s);
	httpd_route(h, "DELETE", HOSTAWAY "/accessTokens", token_handler, s);
	httpd_route(h, "GET", HOSTAWAY "/listings", listings_handler, s);
	httpd_route(h, "GET", HOSTAWAY "/listings/", listings_handler, s);
	httpd_route(h, "GET", HOSTAWAY "/reservations", reservations_handler, s);
	httpd_route(h, "GET", HOSTAWAY "/reservations/", reservations_handler, s);
	hostaway_webhook_routes(h, s);
}

void hostaway_free(void)
{
	window_clear(&of_address);
	quota_free(&of_account);
}
