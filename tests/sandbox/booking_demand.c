/* Booking.com's Demand API 3.1 as its documentation describes it: every call a POST of JSON with a token and an affiliate's id, 50
 * a minute, and pages whose token dies after three hours.  Accommodations and orders are the account's listings and reservations. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/clock.h"
#include "common/base/crypto.h"
#include "common/base/mem.h"
#include "tests/sandbox/exchange.h"

#define ROOT "/booking-demand/3.1"
#define PAGE_LIFE_US (3 * 3600 * INT64_C(1000000))
#define ROWS_MAX 100
#define AFFILIATE 2000000 /* and the account's number */

static const struct tier a_minute = { 50, 60 * INT64_C(1000000) };

struct affiliate {
	struct affiliate *next;
	int number;
	struct window calls;
};
static struct affiliate *affiliates;

static struct window *calls_of(int number)
{
	struct affiliate *a = affiliates;

	while (a && a->number != number)
		a = a->next;
	if (!a) {
		a = mem_new(struct affiliate);
		a->number = number;
		a->next = affiliates;
		affiliates = a;
		window_init(&a->calls, a_minute);
	}
	return &a->calls;
}

static void refuse(struct exchange *x, int status, const char *id, const char *message)
{
	struct buf body = BUF_INIT;

	buf_printf(
		&body,
		"{\"request_id\":\"sandbox-%llu\",\"errors\":[{\"id\":\"%s\",\"message\":\"%s\"}]}",
		(unsigned long long)x->seq, id, message);
	exchange_reply(x, status, &body);
	buf_clear(&body);
}

/* The token of account N reads sbx-N-demand, its affiliate's id is 2000000 and N. */
static bool admit(struct exchange *x)
{
	const char *token = exchange_token(x), *affiliate = httpd_header(x->q, "X-Affiliate-Id");
	char expected[40], id[24];
	struct window *calls;

	snprintf(expected, sizeof(expected), "sbx-%d-demand", x->account ? x->account->number : 0);
	snprintf(id, sizeof(id), "%d", AFFILIATE + (x->account ? x->account->number : 0));
	if (!x->account || strcmp(token, expected) != 0) {
		refuse(x, 401, "unauthorized", "the token is not valid");
		return false;
	}
	if (!affiliate || strcmp(affiliate, id) != 0) {
		refuse(x, 401, "unauthorized", "X-Affiliate-Id is missing, or not of this token");
		return false;
	}
	calls = calls_of(x->account->number);
	if (window_wait_us(calls, x->arrived_us) > 0) {
		refuse(x, 429, "too_many_requests", "the rate limit is reached");
		return false;
	}
	window_add(calls, x->arrived_us);
	account_fill(x->sandbox->accounts, x->account);
	if (!exchange_latency(x))
		return false;
	account_fill(x->sandbox->accounts, x->account);
	return true;
}

/* ---- pages ---- */

/* Where the page begins that this body asks for; -1: answered. */
static int page_start(struct exchange *x, const cJSON *body)
{
	const char *page = json_str(body, "page");
	struct buf text = BUF_INIT;
	long long at = 0, given_us = 0;
	bool good = true;

	if (page)
		good = base64_decode(page, strlen(page), &text) == 0 &&
		       sscanf(buf_str(&text), "%lld@%lld", &at, &given_us) == 2;
	buf_clear(&text);
	if (good && (!page || x->arrived_us - given_us < PAGE_LIFE_US))
		return (int)at;
	refuse(x, 400, good ? "expired_page" : "invalid_page_token",
	       "the page token has expired or is not valid");
	return -1;
}

/* -1: answered. */
static int rows_of(struct exchange *x, const cJSON *body, const char *name)
{
	int64_t rows = ROWS_MAX;

	if (!json_path(body, name))
		return ROWS_MAX;
	if (json_int(body, name, &rows) && rows >= 10 && rows <= ROWS_MAX && rows % 10 == 0)
		return (int)rows;
	refuse(x, 400, "invalid_value", "the number of rows must be a multiple of 10, at most 100");
	return -1;
}

static void put_next(const struct exchange *x, int next, int total, struct buf *out)
{
	struct buf text = BUF_INIT;

	buf_puts(out, "],\"metadata\":{\"next_page\":");
	if (next < total) {
		buf_printf(&text, "%d@%lld", next, (long long)x->arrived_us);
		buf_putc(out, '"');
		base64_encode(out, text.data, text.len);
		buf_putc(out, '"');
	} else {
		buf_puts(out, "null");
	}
	buf_printf(out, ",\"total_results\":%d}}", total);
	buf_clear(&text);
}

/* ---- what is on them ---- */

static void put_text(struct buf *out, const char *key, const char *s)
{
	buf_printf(out, ",\"%s\":", key);
	if (s)
		json_quote(out, s, strlen(s));
	else
		buf_puts(out, "null");
}

static long number_of(const char *id, long from)
{
	char position[7] = "";

	if (id && strlen(id) > 12)
		snprintf(position, sizeof(position), "%.6s", id + 6);
	return from + (strtol(position, NULL, 16) & 0x7fffff);
}

static void put_photos(const cJSON *tree, long id, struct buf *out)
{
	const cJSON *p;
	int i = 0;

	buf_puts(out, ",\"photos\":[");
	cJSON_ArrayForEach (p, json_path(tree, "pictures")) {
		buf_printf(
			out,
			"%s{\"id\":%ld,\"main_photo\":%s,\"tags\":[],\"url\":{\"standard\":\"x\"",
			i ? "," : "", id * 100 + i, i ? "false" : "true");
		put_text(out, "large", json_str(p, "original"));
		buf_puts(out, "}}");
		i++;
	}
	buf_putc(out, ']');
}

static void put_accommodation(const cJSON *tree, struct buf *out)
{
	long id = number_of(json_str(tree, "_id"), 100000);
	const cJSON *lat = json_path(tree, "address.lat"), *lng = json_path(tree, "address.lng");

	buf_printf(out, "{\"id\":%ld,\"accommodation_type\":204,\"name\":{\"en-gb\":null", id);
	put_text(out, "en", json_str(tree, "title"));
	buf_puts(out, "},\"location\":{\"country\":\"pt\"");
	put_text(out, "city_name", json_str(tree, "address.city"));
	put_text(out, "postal_code", json_str(tree, "address.zipcode"));
	buf_printf(out, ",\"coordinates\":{\"latitude\":%g,\"longitude\":%g},\"address\":{\"x\":1",
		   lat ? lat->valuedouble : 0, lng ? lng->valuedouble : 0);
	put_text(out, "en-gb", json_str(tree, "address.street"));
	buf_puts(out, "}},\"checkin_checkout_times\":{\"checkin_from\":\"15:00\",\"checkout_to\":"
		      "\"11:00\"}");
	put_text(out, "currency", json_str(tree, "prices.currency"));
	put_photos(tree, id, out);
	buf_putc(out, '}');
}

static const char *order_status(const cJSON *tree)
{
	static const char *const words[][2] = { { "canceled", "cancelled_by_guest" },
						{ "declined", "cancelled_by_accommodation" },
						{ "expired", "cancelled" },
						{ "closed", "no_show" },
						{ "checked_out", "stayed" } };
	const char *status = json_str(tree, "status");

	for (size_t i = 0; status && i < ARRAY_LEN(words); i++)
		if (strcmp(words[i][0], status) == 0)
			return words[i][1];
	return "booked";
}

static void put_order(const cJSON *tree, const char *currency, struct buf *out)
{
	const char *name = json_str(tree, "guest.fullName"),
		   *space = name ? strchr(name, ' ') : NULL;
	char *given = space ? mem_strndup(name, (size_t)(space - name)) : NULL;
	int64_t nights = 1;

	(void)json_int(tree, "nightsCount", &nights);
	buf_printf(out, "{\"id\":\"%ld\",\"affiliate\":1,\"accommodations\":{\"accommodation\":%ld",
		   number_of(json_str(tree, "_id"), 500000),
		   number_of(json_str(tree, "listingId"), 100000));
	buf_printf(out, ",\"reservation\":%ld},\"booker\":{\"language\":\"en-gb\"",
		   number_of(json_str(tree, "_id"), 4000000000L));
	put_text(out, "email", json_str(tree, "guest.email"));
	put_text(out, "telephone", json_str(tree, "guest.phone"));
	buf_puts(out, ",\"name\":{\"x\":null");
	put_text(out, "first_name", given);
	put_text(out, "last_name", space ? space + 1 : name);
	buf_puts(out, "}}");
	put_text(out, "created", json_str(tree, "createdAt"));
	put_text(out, "updated", json_str(tree, "lastUpdatedAt"));
	put_text(out, "start_date", json_str(tree, "checkInDateLocalized"));
	put_text(out, "end_date", json_str(tree, "checkOutDateLocalized"));
	put_text(out, "currency", currency);
	put_text(out, "status", order_status(tree));
	buf_printf(out, ",\"price\":{\"total\":%lld.5},\"commission\":{\"actual_amount\":null}}",
		   (long long)nights * 90);
	free(given);
}

static void accommodations_serve(struct exchange *x, const cJSON *body)
{
	const struct collection *c = &x->account->listings;
	int start = page_start(x, body), rows = start < 0 ? -1 : rows_of(x, body, "rows");
	struct buf out = BUF_INIT;

	if (rows < 0)
		return;
	if (!json_str(body, "country")) {
		refuse(x, 400, "missing_parameter", "one of accommodations, city, country");
		return;
	}
	buf_printf(&out, "{\"request_id\":\"sandbox-%llu\",\"data\":[", (unsigned long long)x->seq);
	for (int i = start; i < c->n && i < start + rows; i++) {
		if (i > start)
			buf_putc(&out, ',');
		put_accommodation(c->v[i].tree, &out);
	}
	put_next(x, start + rows, c->n, &out);
	exchange_reply(x, 200, &out);
	buf_clear(&out);
}

static bool between(const char *at, int64_t from_us, int64_t to_us)
{
	bool date_only;
	int64_t us;

	return at && clock_parse_time(at, &us, &date_only) == 0 && us >= from_us && us <= to_us;
}

static int newest_first(const void *a, const void *b)
{
	const struct item *const *x = a, *const *y = b;

	return strcmp(json_str((*y)->tree, "lastUpdatedAt"), json_str((*x)->tree, "lastUpdatedAt"));
}

static void put_orders(struct exchange *x, const cJSON *body, int64_t from_us, int64_t to_us)
{
	const struct collection *c = &x->account->reservations;
	int start = page_start(x, body);
	int rows = start < 0 ? -1 : rows_of(x, body, "maximum_results"), n = 0;
	const struct item **v;
	struct buf out = BUF_INIT;

	if (rows < 0)
		return;
	v = mem_alloc(sizeof(*v) * (size_t)(c->n + 1));
	for (int i = 0; i < c->n; i++)
		if (between(json_str(c->v[i].tree, "lastUpdatedAt"), from_us, to_us))
			v[n++] = &c->v[i];
	qsort(v, (size_t)n, sizeof(*v), newest_first);
	buf_printf(&out, "{\"request_id\":\"sandbox-%llu\",\"data\":[", (unsigned long long)x->seq);
	for (int i = start; i < n && i < start + rows; i++) {
		if (i > start)
			buf_putc(&out, ',');
		put_order(v[i]->tree, json_str(body, "currency"), &out);
	}
	put_next(x, start + rows, n, &out);
	exchange_reply(x, 200, &out);
	buf_clear(&out);
	free(v);
}

static void orders_serve(struct exchange *x, const cJSON *body)
{
	const char *from = json_str(body, "updated.from"), *to = json_str(body, "updated.to");
	int64_t from_us, to_us;
	bool date_only;

	if (!from || !to || clock_parse_time(from, &from_us, &date_only) < 0 ||
	    clock_parse_time(to, &to_us, &date_only) < 0)
		refuse(x, 400, "missing_parameter", "updated.from and updated.to");
	else if (!json_str(body, "currency"))
		refuse(x, 400, "missing_parameter", "currency");
	else
		put_orders(x, body, from_us, to_us);
}

static void handler(struct httpd_request *q, void *arg)
{
	bool orders = strcmp(httpd_path(q), ROOT "/orders/details") == 0;
	struct exchange x;
	cJSON *body = NULL;
	const char *text;
	size_t len;

	if (exchange_begin(&x, arg, q) && admit(&x)) {
		text = httpd_body(q, &len);
		if (json_parse(text, len, 65536, &body, NULL) < 0)
			refuse(&x, 400, "invalid_body", "the body is no JSON");
		else if (orders)
			orders_serve(&x, body);
		else
			accommodations_serve(&x, body);
		cJSON_Delete(body);
	}
	exchange_end(&x);
}

void booking_demand_routes(struct httpd *h, struct sandbox *s)
{
	httpd_route(h, "POST", ROOT "/accommodations/details", handler, s);
	httpd_route(h, "POST", ROOT "/orders/details", handler, s);
}
