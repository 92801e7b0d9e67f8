/* Guesty's Open API as its public documentation describes it: tokens, listings, reservations.  The limits are
 * judged when a request arrives, the work is done after the simulated latency. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/mem.h"
#include "tests/sandbox/exchange.h"
#include "tests/sandbox/form.h"
#include "tests/sandbox/guesty.h"
#include "tests/sandbox/query.h"

#define RESERVATION_DEFAULT_FIELDS "_id listingId confirmationCode checkIn checkOut guest.fullName"
#define FORM_MAX 4096

/* ---- tokens ---- */

static void token_mint(struct exchange *x, struct account *account)
{
	struct buf body = BUF_INIT;
	int64_t wait_us = 0;
	const struct token *token =
		account_mint(x->sandbox->accounts, account, x->arrived_us, &wait_us);

	if (!token) {
		exchange_refuse(x, 429, "Too Many Requests",
				"the number of tokens for this key is used up", wait_us);
		return;
	}
	buf_printf(
		&body,
		"{\"token_type\":\"Bearer\",\"expires_in\":%lld,\"access_token\":\"%s\",\"scope\":\"open-api\"}",
		(long long)((token->expires_us - x->arrived_us) / 1000000), token->text);
	if (exchange_latency(x))
		exchange_reply(x, 200, &body);
	buf_clear(&body);
}

static void token_serve(struct exchange *x)
{
	struct account *account = form_client(x);
	char grant[64], scope[64];
	size_t len;
	const char *form = httpd_body(x->q, &len);

	if (len > FORM_MAX || !form_value(form, len, "grant_type", grant, sizeof(grant)) ||
	    strcmp(grant, "client_credentials") != 0)
		exchange_refuse(x, 400, "unsupported_grant_type",
				"grant_type must be client_credentials", 0);
	else if (form_value(form, len, "scope", scope, sizeof(scope)) &&
		 strcmp(scope, "open-api") != 0)
		exchange_refuse(x, 400, "invalid_scope", "scope must be open-api", 0);
	else if (!account)
		exchange_refuse(x, 401, "invalid_client", "client_id or client_secret is wrong", 0);
	else {
		journal_account(x->sandbox->journal, x->seq, account->number, 0);
		token_mint(x, account);
	}
}

static void token_handler(struct httpd_request *q, void *arg)
{
	struct exchange x;

	if (exchange_begin(&x, arg, q))
		token_serve(&x);
	exchange_end(&x);
}

/* ---- lists and single items ---- */

bool guesty_admit(struct exchange *x)
{
	struct sandbox *s = x->sandbox;
	const char *token = exchange_token(x);
	int64_t wait_us;

	if (!x->account || !account_token_is_valid(x->account, token, x->arrived_us)) {
		exchange_refuse(x, 401, "Unauthorized",
				token ? "the access token is not valid"
				      : "an access token is needed",
				0);
		return false;
	}
	wait_us = account_admit(s->accounts, x->account, x->arrived_us);
	x->account->in_flight++;
	x->admitted = true;
	if (x->account->in_flight > x->account->most_in_flight)
		x->account->most_in_flight = x->account->in_flight;
	journal_account(s->journal, x->seq, x->account->number, x->account->in_flight);
	if (wait_us > 0) {
		exchange_limit_headers(x);
		exchange_refuse(x, 429, "Too Many Requests",
				"the rate limit of this account is reached", wait_us);
		return false;
	}
	account_fill(s->accounts, x->account);
	if (!exchange_latency(x))
		return false;
	account_fill(s->accounts, x->account); /* a reset may have emptied it meanwhile */
	exchange_limit_headers(x);
	return true;
}

static void page_print(const struct query *query, const struct item **v, int n, const char *fields,
		       struct buf *out)
{
	int end = query->skip < n - query->limit ? query->skip + query->limit : n;

	buf_puts(out, "{\"results\":[");
	for (int i = query->skip; i < end; i++) {
		if (i > query->skip)
			buf_putc(out, ',');
		item_print(v[i], fields, out);
	}
	buf_printf(out, "],\"count\":%d,\"limit\":%d,\"skip\":%d}", n, query->limit, query->skip);
}

static void list_serve(struct exchange *x, const struct collection *c, const char *default_fields)
{
	struct query query;
	struct buf body = BUF_INIT;
	const struct item **v = NULL;
	char problem[160];
	int n;

	if (query_read(&query, x->q, problem) < 0) {
		exchange_refuse(x, 400, "Bad Request", problem, 0);
		return;
	}
	if (query_select(&query, c, &v, &n, problem) < 0) {
		exchange_refuse(x, 400, "Bad Request", problem, 0);
	} else {
		page_print(&query, v, n, query.fields ? query.fields : default_fields, &body);
		exchange_reply(x, 200, &body);
	}
	buf_clear(&body);
	free(v);
	query_clear(&query);
}

static void item_serve(struct exchange *x, const struct item *item)
{
	struct buf body = BUF_INIT;

	if (!item) {
		exchange_refuse(x, 404, "Not Found", "there is no such object", 0);
		return;
	}
	item_print(item, httpd_query(x->q, "fields"), &body);
	exchange_reply(x, 200, &body);
	buf_clear(&body);
}

/* Guesty embeds its pictures; this path has them once more, for partners whose photos cost a call each. */
static void photos_serve(struct exchange *x, const struct item *item)
{
	struct buf body = BUF_INIT;
	const cJSON *pictures =
		item ? cJSON_GetObjectItemCaseSensitive(item->tree, "pictures") : NULL;

	if (!item) {
		exchange_refuse(x, 404, "Not Found", "there is no such object", 0);
		return;
	}
	buf_puts(&body, "{\"data\":");
	if (pictures)
		json_print(pictures, &body);
	else
		buf_puts(&body, "[]");
	buf_putc(&body, '}');
	exchange_reply(x, 200, &body);
	buf_clear(&body);
}

static void listings_serve(struct exchange *x)
{
	const struct collection *c = &x->account->listings;
	const char *rest = httpd_path(x->q) + strlen("/v1/listings");
	const char *slash;
	char id[CONTENT_ID_MAX * 2] = "";

	if (*rest == '\0' || strcmp(rest, "/") == 0) {
		list_serve(x, c, NULL);
		return;
	}
	slash = strchr(rest + 1, '/');
	snprintf(id, sizeof(id), "%.*s", slash ? (int)(slash - rest - 1) : (int)strlen(rest + 1),
		 rest + 1);
	if (!slash)
		item_serve(x, collection_find(c, id));
	else if (strcmp(slash, "/photos") == 0)
		photos_serve(x, collection_find(c, id));
	else
		exchange_refuse(x, 404, "Not Found", "there is no such path", 0);
}

static void reservations_serve(struct exchange *x)
{
	const struct collection *c = &x->account->reservations;
	const char *rest = httpd_path(x->q) + strlen("/v1/reservations");

	if (*rest == '\0' || strcmp(rest, "/") == 0)
		list_serve(x, c, RESERVATION_DEFAULT_FIELDS);
	else
		item_serve(x, collection_find(c, rest + 1));
}

static void listings_handler(struct httpd_request *q, void *arg)
{
	struct exchange x;

	if (exchange_begin(&x, arg, q) && guesty_admit(&x))
		listings_serve(&x);
	exchange_end(&x);
}

static void reservations_handler(struct httpd_request *q, void *arg)
{
	struct exchange x;

	if (exchange_begin(&x, arg, q) && guesty_admit(&x))
		reservations_serve(&x);
	exchange_end(&x);
}

void guesty_routes(struct httpd *h, struct sandbox *s)
{
	httpd_route(h, "POST", "/oauth2/token", token_handler, s);
	httpd_route(h, "GET", "/v1/listings", listings_handler, s);
	httpd_route(h, "GET", "/v1/listings/", listings_handler, s);
	httpd_route(h, "GET", "/v1/reservations", reservations_handler, s);
	httpd_route(h, "GET", "/v1/reservations/", reservations_handler, s);
	guesty_webhook_routes(h, s);
}
