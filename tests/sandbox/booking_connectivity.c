/* Booking.com Connectivity as its documentation describes it: a token for a machine account, and two queues of OTA XML (new
 * reservations; changed and cancelled ones) that keep what was not acknowledged.  The reservations are those that the account
 * has elsewhere in this sandbox.  Card data comes once, with the first answer that has the reservation. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/clock.h"
#include "common/base/id.h"
#include "common/base/mem.h"
#include "tests/sandbox/booking.h"

#define HOUR_US (3600 * INT64_C(1000000))
#define PAGE_MAX 100 /* reservations of one answer */
#define CARD "4111111111111111"
#define XMLNS "http://www.opentravel.org/OTA/2003/05"
#define NO_ACCESS 403 /* the account of this number has no property that it may read */

static const struct tier mints = { 30, HOUR_US };

/* What one account was told of its reservations, by position. */
struct machine {
	struct machine *next;
	int number, n;
	struct window mints;
	struct {
		char told
			[CLOCK_ISO_MAX]; /* lastUpdatedAt as acknowledged; "": the new one is not */
		bool card_sent;
	} * v;
};

static struct machine *machines;

struct queue {
	const char *path, *root, *list, *item; /* OTA_HotelResNotif, HotelReservations … */
	bool changes;
};
static const struct queue queues[] = {
	{ "/hotels/ota/OTA_HotelResNotif", "OTA_HotelResNotif", "HotelReservations",
	  "HotelReservation", false },
	{ "/hotels/ota/OTA_HotelResModifyNotif", "OTA_HotelResModifyNotif", "HotelResModifies",
	  "HotelResModify", true },
};

static struct machine *machine_get(struct exchange *x, const struct account *account)
{
	struct machine *m = machines;
	int n = account->reservations.n;

	while (m && m->number != account->number)
		m = m->next;
	if (!m) {
		m = mem_new(struct machine);
		m->number = account->number;
		m->next = machines;
		machines = m;
		window_init(&m->mints, mints);
	}
	if (m->n < n) {
		m->v = mem_realloc(m->v, (size_t)n * sizeof(*m->v));
		memset(m->v + m->n, 0, (size_t)(n - m->n) * sizeof(*m->v));
		m->n = n;
	}
	return m;
}

/* ---- tokens ---- */

static void token_refuse(struct exchange *x, int status, const char *message, int64_t wait_us)
{
	char seconds[24];
	struct buf body = BUF_INIT;

	if (wait_us > 0) {
		snprintf(seconds, sizeof(seconds), "%lld", (long long)(wait_us / 1000000 + 1));
		httpd_add_header(x->q, "Retry-After", seconds);
	}
	buf_printf(&body, "{\"errors\":[{\"message\":\"%s\"}],\"ruid\":\"sandbox\"}", message);
	exchange_reply(x, status, &body);
	buf_clear(&body);
}

static struct account *client_of(struct exchange *x)
{
	size_t len;
	const char *text = httpd_body(x->q, &len), *id, *secret;
	struct account *account = NULL;
	char expected[32];
	cJSON *body = NULL;

	if (json_parse(text, len, 4096, &body, NULL) < 0)
		return NULL;
	id = json_str(body, "client_id");
	secret = json_str(body, "client_secret");
	snprintf(expected, sizeof(expected), "secret-%d", account_number(id));
	if (account_number(id) && secret && strcmp(secret, expected) == 0)
		account = accounts_get(x->sandbox->accounts, account_number(id));
	cJSON_Delete(body);
	return account;
}

static void token_serve(struct exchange *x)
{
	struct account *account = client_of(x);
	int64_t life_us = accounts_limits(x->sandbox->accounts)->token_life_us, wait_us;
	struct buf body = BUF_INIT;
	struct machine *m;

	if (!account) {
		token_refuse(x, 401, "Invalid client_id or client_secret", 0);
		return;
	}
	journal_account(x->sandbox->journal, x->seq, account->number, 0);
	m = machine_get(x, account);
	wait_us = window_wait_us(&m->mints, x->arrived_us);
	if (wait_us > 0) {
		token_refuse(x, 429, "Too many tokens were requested", wait_us);
		return;
	}
	window_add(&m->mints, x->arrived_us);
	buf_puts(&body, "{\"jwt\":\"");
	booking_jwt(account->number, x->arrived_us,
		    x->arrived_us + (life_us < HOUR_US ? life_us : HOUR_US), &body);
	buf_puts(&body, "\",\"ruid\":\"sandbox\"}");
	if (exchange_latency(x))
		exchange_reply(x, 200, &body);
	buf_clear(&body);
}

static void token_handler(struct httpd_request *q, void *arg)
{
	struct exchange x;

	if (exchange_begin(&x, arg, q))
		token_serve(&x);
	exchange_end(&x);
}

/* ---- XML ---- */

static void put_text(struct buf *out, const char *s)
{
	for (; s && *s; s++) {
		if (*s == '<')
			buf_puts(out, "&lt;");
		else if (*s == '&')
			buf_puts(out, "&amp;");
		else if (*s == '"')
			buf_puts(out, "&quot;");
		else
			buf_putc(out, *s);
	}
}

static void put_head(const struct exchange *x, const struct queue *k, const char *end,
		     struct buf *out)
{
	char now[CLOCK_ISO_MAX];

	buf_printf(
		out,
		"<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<%s%s xmlns=\"%s\" TimeStamp=\"%s\" "
		"Target=\"Production\" Version=\"2.001\">\n",
		k->root, end, XMLNS, clock_iso(x->arrived_us / 1000, now));
}

static void refuse(struct exchange *x, const struct queue *k, int status, int code,
		   const char *text)
{
	struct buf body = BUF_INIT;

	put_head(x, k, "RS", &body);
	buf_printf(&body,
		   "<Errors><Error Type=\"6\" Code=\"%d\" ShortText=\"%s\"/></Errors>\n</%sRS>\n",
		   code, text, k->root);
	exchange_reply_as(x, status, "text/xml; charset=utf-8", &body);
	buf_clear(&body);
}

/* ---- a reservation ---- */

static long number_of(const struct account *account, const struct item *item)
{
	const char *id = json_str(item->tree, "_id");
	char position[7] = "";

	if (id && strlen(id) > 12)
		snprintf(position, sizeof(position), "%.6s", id + 6);
	return 3000000000L + account->number * 10000000L + (strtol(position, NULL, 16) & 0x7fffff);
}

static bool is_over(const struct item *item)
{
	const char *status = json_str(item->tree, "status");

	return status && (strcmp(status, "canceled") == 0 || strcmp(status, "declined") == 0 ||
			  strcmp(status, "expired") == 0);
}

static void put_nights(const cJSON *tree, const char *currency, struct buf *out)
{
	const char *from = json_str(tree, "checkInDateLocalized");
	char day[CLOCK_ISO_MAX];
	int64_t us = 0, nights = 1;
	bool date_only;

	(void)json_int(tree, "nightsCount", &nights);
	buf_puts(out, "<RoomRates>");
	for (int64_t i = 0; from && i < nights && clock_parse_time(from, &us, &date_only) == 0;
	     i++) {
		clock_iso(us / 1000 + i * 86400000, day)[10] = '\0';
		buf_printf(
			out,
			"<RoomRate EffectiveDate=\"%s\" RatePlanCode=\"49111777\"><Rates><Rate>"
			"<Total AmountAfterTax=\"9000\" CurrencyCode=\"%s\" DecimalPlaces=\"2\"/>"
			"</Rate></Rates></RoomRate>",
			day, currency);
	}
	buf_puts(out, "</RoomRates>");
}

/* What the card's owner is never to read anywhere but at the hotel. */
static void put_card(struct buf *out)
{
	buf_puts(out, "<Guarantee><!-- once --><GuaranteesAccepted><GuaranteeAccepted>"
		      "<PaymentCard CardType=\"1\" CardCode=\"VI\" CardNumber=\"" CARD
		      "\" ExpireDate=\"1227\" SeriesCode=\"737\"><CardHolderName>A. Holder-" CARD
		      "</CardHolderName></PaymentCard></GuaranteeAccepted></GuaranteesAccepted>"
		      "</Guarantee>");
}

static void put_guest(const cJSON *tree, struct buf *out)
{
	const char *name = json_str(tree, "guest.fullName"),
		   *space = name ? strchr(name, ' ') : NULL;

	if (!name)
		return;
	buf_puts(out, "<Profiles><ProfileInfo><Profile><Customer><PersonName><GivenName>");
	if (space) {
		char *given = mem_strndup(name, (size_t)(space - name));

		put_text(out, given);
		free(given);
	}
	buf_puts(out, "</GivenName><Surname>");
	put_text(out, space ? space + 1 : name);
	buf_puts(out, "</Surname></PersonName><Telephone PhoneNumber=\"");
	put_text(out, json_str(tree, "guest.phone"));
	buf_puts(out, "\"/><Email>");
	put_text(out, json_str(tree, "guest.email"));
	buf_puts(out, "</Email></Customer></Profile></ProfileInfo></Profiles>");
}

/* Of currencies with two places alone: the rest of the sandbox has others, which no hotel of this one takes. */
static void put_total(const cJSON *tree, struct buf *out)
{
	int64_t nights = 1;

	(void)json_int(tree, "nightsCount", &nights);
	buf_printf(out, "<Total AmountAfterTax=\"%lld\" CurrencyCode=\"EUR\" DecimalPlaces=\"2\"/>",
		   (long long)nights * 9000);
}

static void put_reservation(const struct account *account, const struct queue *k,
			    const struct item *item, bool card, struct buf *out)
{
	const char *created = json_str(item->tree, "createdAt");
	int64_t guests = 1;

	(void)json_int(item->tree, "guestsCount", &guests);
	buf_printf(out, "<%s%s>", k->item,
		   !k->changes     ? ""
		   : is_over(item) ? " ResStatus=\"Cancel\""
				   : " ResStatus=\"Modify\"");
	buf_puts(out,
		 "<RoomStays><RoomStay IndexNumber=\"460\"><RoomTypes><RoomType "
		 "RoomTypeCode=\"1296364403\"><RoomDescription Name=\"Double Room\"/></RoomType>"
		 "</RoomTypes>");
	put_nights(item->tree, "EUR", out);
	buf_printf(
		out,
		"<GuestCounts><GuestCount Count=\"%lld\" AgeQualifyingCode=\"10\"/></GuestCounts>"
		"<BasicPropertyInfo HotelCode=\"%d\"/></RoomStay></RoomStays><ResGlobalInfo>",
		(long long)guests, 8000000 + account->number);
	buf_puts(out, "<Comments><Comment><Text>");
	put_text(out, json_str(item->tree, "note"));
	buf_puts(out, "</Text></Comment></Comments>");
	if (card)
		put_card(out);
	put_total(item->tree, out);
	buf_printf(
		out,
		"<HotelReservationIDs><HotelReservationID ResID_Value=\"%ld\" ResID_Date=\"%.19s\"/>"
		"</HotelReservationIDs>",
		number_of(account, item), created ? created : "");
	put_guest(item->tree, out);
	buf_printf(out, "</ResGlobalInfo></%s>\n", k->item);
}

/* ---- the queues ---- */

static bool waits(const struct machine *m, const struct account *account, const struct queue *k,
		  int i)
{
	const char *updated = json_str(account->reservations.v[i].tree, "lastUpdatedAt");
	const char *told = m->v[i].told;

	return k->changes ? *told && updated && strcmp(told, updated) != 0 : !*told;
}

static void list_serve(struct exchange *x, const struct queue *k)
{
	struct machine *m = machine_get(x, x->account);
	const struct account *account = x->account;
	struct buf body = BUF_INIT;
	int sent = 0;

	put_head(x, k, "RQ", &body);
	for (int i = 0; i < account->reservations.n && sent < PAGE_MAX; i++) {
		if (!waits(m, account, k, i))
			continue;
		if (sent++ == 0)
			buf_printf(&body, "<%s>\n", k->list);
		put_reservation(account, k, &account->reservations.v[i], !m->v[i].card_sent, &body);
		m->v[i].card_sent = true;
	}
	if (sent)
		buf_printf(&body, "</%s>\n", k->list);
	buf_printf(&body, "</%sRQ>\n", k->root);
	exchange_reply_as(x, 200, "text/xml; charset=utf-8", &body);
	buf_clear(&body);
}

/* A new one that was cancelled meanwhile comes again, as a change. */
static bool confirm(struct machine *m, const struct account *account, const struct queue *k,
		    long number)
{
	bool found = false;

	for (int i = 0; i < account->reservations.n; i++) {
		const struct item *item = &account->reservations.v[i];
		const char *updated = json_str(item->tree, "lastUpdatedAt");

		if (number_of(account, item) != number)
			continue;
		found = true;
		snprintf(m->v[i].told, sizeof(m->v[i].told), "%s",
			 !k->changes && is_over(item) ? "as new" : updated);
	}
	return found;
}

static void ack_serve(struct exchange *x, const struct queue *k)
{
	static const char mark[] = "ResID_Value=\"";
	struct machine *m = machine_get(x, x->account);
	struct buf text = BUF_INIT, body = BUF_INIT;
	size_t len;
	const char *sent = httpd_body(x->q, &len), *p, *root = k->root;
	bool good;

	buf_append(&text, sent, len);
	p = buf_str(&text);
	good = strstr(p, root) && strstr(p, "RS ") && strstr(p, "TimeStamp=\"") &&
	       strstr(p, "Target=\"") && strstr(p, k->item) && strstr(p, mark);
	for (p = good ? strstr(p, mark) : NULL; p && good; p = strstr(p + 1, mark))
		good = confirm(m, x->account, k, strtol(p + strlen(mark), NULL, 10));
	if (good) {
		put_head(x, k, "RS", &body);
		buf_printf(&body, "<Success/>\n</%sRS>\n", k->root);
		exchange_reply_as(x, 200, "text/xml; charset=utf-8", &body);
	} else {
		refuse(x, k, 400, 367, "this acknowledges nothing");
	}
	buf_clear(&text);
	buf_clear(&body);
}

static bool admit(struct exchange *x, const struct queue *k)
{
	const char *token = exchange_token(x);
	int number = token ? booking_jwt_account(token, x->arrived_us) : 0;

	if (!number) {
		refuse(x, k, 401, 497, "Authorization error: the token is not valid");
		return false;
	}
	x->account = accounts_get(x->sandbox->accounts, number);
	journal_account(x->sandbox->journal, x->seq, number, 1);
	if (number == NO_ACCESS) {
		refuse(x, k, 403, 497, "Access denied: no access to this property");
		return false;
	}
	account_fill(x->sandbox->accounts, x->account);
	if (!exchange_latency(x))
		return false;
	account_fill(x->sandbox->accounts, x->account);
	return true;
}

static void queue_handler(struct httpd_request *q, void *arg)
{
	const struct queue *k = &queues[strcmp(httpd_path(q), queues[0].path) != 0];
	struct exchange x;

	if (exchange_begin(&x, arg, q) && admit(&x, k)) {
		if (strcmp(httpd_method(q), "POST") == 0)
			ack_serve(&x, k);
		else
			list_serve(&x, k);
	}
	exchange_end(&x);
}

void booking_connectivity_routes(struct httpd *h, struct sandbox *s)
{
	httpd_route(h, "POST", "/token-based-authentication/exchange", token_handler, s);
	for (size_t i = 0; i < ARRAY_LEN(queues); i++) {
		httpd_route(h, "GET", queues[i].path, queue_handler, s);
		httpd_route(h, "POST", queues[i].path, queue_handler, s);
	}
}
