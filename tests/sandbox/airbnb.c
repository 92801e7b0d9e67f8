/* Airbnb as it is told of, second-hand: nothing of it is public.  Consent with PKCE (the person here always says yes), tokens for a
 * day with refresh tokens that are good for one call, lists by _offset and _limit, 200 calls in ten minutes. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/clock.h"
#include "common/base/crypto.h"
#include "common/base/id.h"
#include "common/base/mem.h"
#include "common/io/http.h"
#include "tests/sandbox/exchange.h"

#define DAY_US (24 * 3600 * INT64_C(1000000))
#define CHALLENGE_MAX 64
#define PAGE_MAX 50

static const struct tier ten_minutes = { 200, 600 * INT64_C(1000000) };

struct host {
	struct host *next;
	int number;
	struct window calls;
	char code[ID_LEN + 16], challenge[CHALLENGE_MAX]; /* the newest code, "" when it is spent */
	char access[ID_LEN + 24], refresh[ID_LEN + 24];   /* the newest pair */
	int64_t expires_us;
};
static struct host *hosts;

static struct host *host_get(int number)
{
	struct host *h = hosts;

	while (h && h->number != number)
		h = h->next;
	if (!h) {
		h = mem_new(struct host);
		h->number = number;
		h->next = hosts;
		hosts = h;
		window_init(&h->calls, ten_minutes);
	}
	return h;
}

static void refuse(struct exchange *x, int status, const char *type, const char *message)
{
	struct buf body = BUF_INIT;

	buf_printf(
		&body,
		"{\"error_code\":%d,\"error_type\":\"%s\",\"error_message\":\"%s\",\"error\":\"%s\"}",
		status, type, message, type);
	exchange_reply(x, status, &body);
	buf_clear(&body);
}

/* ---- consent ---- */

static void consent_serve(struct exchange *x)
{
	const char *client = httpd_query(x->q, "client_id"),
		   *back = httpd_query(x->q, "redirect_uri");
	const char *challenge = httpd_query(x->q, "code_challenge"),
		   *state = httpd_query(x->q, "state");
	struct buf to = BUF_INIT, none = BUF_INIT;
	char random[ID_LEN + 1];
	struct host *h;

	if (!account_number(client) || !back || !challenge || !state ||
	    strlen(challenge) >= CHALLENGE_MAX) {
		refuse(x, 400, "invalid_request", "client_id, redirect_uri, state, code_challenge");
		return;
	}
	h = host_get(account_number(client));
	id_new(random);
	snprintf(h->code, sizeof(h->code), "code-%s", random);
	snprintf(h->challenge, sizeof(h->challenge), "%s", challenge);
	buf_printf(&to, "%s%scode=%s&state=", back, strchr(back, '?') ? "&" : "?", h->code);
	http_escape(&to, state, strlen(state));
	httpd_add_header(x->q, "Location", buf_str(&to));
	exchange_reply_as(x, 302, "text/plain", &none);
	buf_clear(&to);
}

static void consent_handler(struct httpd_request *q, void *arg)
{
	struct exchange x;

	if (exchange_begin(&x, arg, q))
		consent_serve(&x);
	exchange_end(&x);
}

/* ---- tokens ---- */

static bool fits_challenge(const char *verifier, const char *challenge)
{
	uint8_t hash[SHA256_BYTES];
	struct buf text = BUF_INIT;
	bool fits;

	crypto_sha256(verifier, strlen(verifier), hash);
	base64_encode(&text, hash, sizeof(hash));
	for (size_t i = 0; i < text.len; i++)
		text.data[i] = text.data[i] == '+'   ? '-'
			       : text.data[i] == '/' ? '_'
			       : text.data[i] == '=' ? '\0'
						     : text.data[i];
	fits = strcmp(text.data, challenge) == 0;
	buf_clear(&text);
	return fits;
}

/* A code and a refresh token are good for one call each. */
static bool spend(struct host *h, const cJSON *form)
{
	const char *grant = json_str(form, "grant_type"), *code = json_str(form, "code");
	const char *verifier = json_str(form, "code_verifier");
	const char *refresh = json_str(form, "refresh_token");
	bool good = false;

	if (grant && strcmp(grant, "authorization_code") == 0)
		good = *h->code && code && strcmp(code, h->code) == 0 && verifier &&
		       fits_challenge(verifier, h->challenge);
	else if (grant && strcmp(grant, "refresh_token") == 0)
		good = *h->refresh && refresh && strcmp(refresh, h->refresh) == 0;
	if (good)
		h->code[0] = h->refresh[0] = '\0';
	return good;
}

static void pair_give(struct exchange *x, struct host *h)
{
	int64_t life_us = accounts_limits(x->sandbox->accounts)->token_life_us;
	char random[ID_LEN + 1];
	struct buf body = BUF_INIT;

	h->expires_us = x->arrived_us + (life_us < DAY_US ? life_us : DAY_US);
	id_new(random);
	snprintf(h->access, sizeof(h->access), "sbx-%d-%s", h->number, random);
	id_new(random);
	snprintf(h->refresh, sizeof(h->refresh), "ref-%d-%s", h->number, random);
	buf_printf(
		&body,
		"{\"access_token\":\"%s\",\"refresh_token\":\"%s\",\"expires_at\":%lld,\"user_id\":%d}",
		h->access, h->refresh, (long long)(h->expires_us / 1000000), h->number);
	if (exchange_latency(x))
		exchange_reply(x, 200, &body);
	buf_clear(&body);
}

static void token_serve(struct exchange *x)
{
	size_t len;
	const char *text = httpd_body(x->q, &len), *id, *secret;
	char expected[32] = "";
	cJSON *form = NULL;
	int number;

	if (json_parse(text, len, 8192, &form, NULL) < 0) {
		refuse(x, 400, "invalid_request", "the body is no JSON");
		return;
	}
	id = json_str(form, "client_id");
	secret = json_str(form, "client_secret");
	number = account_number(id);
	snprintf(expected, sizeof(expected), "secret-%d", number);
	if (!number || !secret || strcmp(secret, expected) != 0)
		refuse(x, 401, "invalid_client", "client_id or client_secret is wrong");
	else if (!spend(host_get(number), form))
		refuse(x, 400, "invalid_grant", "the code or refresh token is spent or unknown");
	else
		pair_give(x, host_get(number));
	cJSON_Delete(form);
}

static void token_handler(struct httpd_request *q, void *arg)
{
	struct exchange x;

	if (exchange_begin(&x, arg, q))
		token_serve(&x);
	exchange_end(&x);
}

/* ---- lists ---- */

static void put_text(struct buf *out, const char *key, const char *s)
{
	buf_printf(out, ",\"%s\":", key);
	if (s)
		json_quote(out, s, strlen(s));
	else
		buf_puts(out, "null");
}

static void put_value(struct buf *out, const char *key, const cJSON *v)
{
	buf_printf(out, ",\"%s\":", key);
	if (v)
		json_print(v, out);
	else
		buf_puts(out, "null");
}

static long number_of(const char *id)
{
	char position[7] = "";

	if (id && strlen(id) > 12)
		snprintf(position, sizeof(position), "%.6s", id + 6);
	return 700000 + (strtol(position, NULL, 16) & 0x7fffff);
}

static void put_listing(const cJSON *t, struct buf *out)
{
	buf_printf(out,
		   "{\"id\":%ld,\"country_code\":\"PT\",\"property_type_category\":\"apartment\"",
		   number_of(json_str(t, "_id")));
	put_value(out, "name", json_path(t, "title"));
	put_value(out, "has_availability", json_path(t, "isListed"));
	put_value(out, "street", json_path(t, "address.street"));
	put_value(out, "city", json_path(t, "address.city"));
	put_value(out, "zipcode", json_path(t, "address.zipcode"));
	put_value(out, "lat", json_path(t, "address.lat"));
	put_value(out, "lng", json_path(t, "address.lng"));
	put_value(out, "time_zone_name", json_path(t, "timezone"));
	put_value(out, "listing_currency", json_path(t, "prices.currency"));
	put_value(out, "listing_price", json_path(t, "prices.basePrice"));
	put_value(out, "person_capacity", json_path(t, "accommodates"));
	put_value(out, "bedrooms", json_path(t, "bedrooms"));
	put_value(out, "beds", json_path(t, "beds"));
	put_value(out, "bathrooms", json_path(t, "bathrooms"));
	buf_puts(out, ",\"amenity_categories\":[\"wireless_internet\"]}");
}

static const char *status_type(const cJSON *t)
{
	static const char *const words[][2] = { { "canceled", "cancelled_by_guest" },
						{ "declined", "deny" },
						{ "expired", "timedout" },
						{ "inquiry", "inquiry" },
						{ "reserved", "pending" } };
	const char *status = json_str(t, "status");

	for (size_t i = 0; status && i < ARRAY_LEN(words); i++)
		if (strcmp(words[i][0], status) == 0)
			return words[i][1];
	return "accept";
}

static void put_reservation(const cJSON *t, struct buf *out)
{
	buf_printf(out, "{\"listing_id\":%ld,\"guest_phone_numbers\":[]",
		   number_of(json_str(t, "listingId")));
	put_value(out, "confirmation_code", json_path(t, "confirmationCode"));
	put_text(out, "status_type", status_type(t));
	put_value(out, "start_date", json_path(t, "checkInDateLocalized"));
	put_value(out, "end_date", json_path(t, "checkOutDateLocalized"));
	put_value(out, "nights", json_path(t, "nightsCount"));
	put_value(out, "number_of_guests", json_path(t, "guestsCount"));
	put_value(out, "guest_first_name", json_path(t, "guest.fullName"));
	put_value(out, "guest_email", json_path(t, "guest.email"));
	put_value(out, "host_currency", json_path(t, "money.currency"));
	put_value(out, "expected_payout_amount", json_path(t, "money.hostPayout"));
	put_value(out, "booked_at", json_path(t, "createdAt"));
	put_value(out, "updated_at", json_path(t, "lastUpdatedAt"));
	buf_putc(out, '}');
}

static int number_asked(const struct exchange *x, const char *name, int fallback, int max)
{
	const char *text = httpd_query(x->q, name);
	long n = text ? strtol(text, NULL, 10) : fallback;

	return n < 0 ? 0 : n > max ? max : (int)n;
}

static bool admit(struct exchange *x)
{
	const char *token = exchange_token(x);
	struct host *h = x->account ? host_get(x->account->number) : NULL;

	if (!h || strcmp(token, h->access) != 0 || x->arrived_us >= h->expires_us) {
		refuse(x, 401, "authentication_required", "the access token is not valid");
		return false;
	}
	if (window_wait_us(&h->calls, x->arrived_us) > 0) {
		refuse(x, 429, "throttled", "too many calls");
		return false;
	}
	window_add(&h->calls, x->arrived_us);
	account_fill(x->sandbox->accounts, x->account);
	if (!exchange_latency(x))
		return false;
	account_fill(x->sandbox->accounts, x->account);
	return true;
}

static void list_handler(struct httpd_request *q, void *arg)
{
	bool listings = strcmp(httpd_path(q), "/airbnb/v2/listings") == 0;
	const struct collection *c;
	struct buf out = BUF_INIT;
	struct exchange x;
	int from, limit;

	if (exchange_begin(&x, arg, q) && admit(&x)) {
		c = listings ? &x.account->listings : &x.account->reservations;
		from = number_asked(&x, "_offset", 0, c->n);
		limit = number_asked(&x, "_limit", 10, PAGE_MAX);
		buf_printf(&out, "{\"%s\":[", listings ? "listings" : "reservations");
		for (int i = from; i < c->n && i < from + limit; i++) {
			if (i > from)
				buf_putc(&out, ',');
			(listings ? put_listing : put_reservation)(c->v[i].tree, &out);
		}
		buf_printf(&out, "],\"metadata\":{\"record_count\":%d}}", c->n);
		exchange_reply(&x, 200, &out);
		buf_clear(&out);
	}
	exchange_end(&x);
}

void airbnb_routes(struct httpd *h, struct sandbox *s)
{
	httpd_route(h, "GET", "/airbnb/oauth2/auth", consent_handler, s);
	httpd_route(h, "POST", "/airbnb/v2/oauth2/authorizations", token_handler, s);
	httpd_route(h, "GET", "/airbnb/v2/listings", list_handler, s);
	httpd_route(h, "GET", "/airbnb/v2/reservations", list_handler, s);
}
