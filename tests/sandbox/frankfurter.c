/* Frankfurter's v1 as its documentation describes it: the European Central Bank's reference rates, of working days alone: a
 * Saturday's are Friday's, and say so. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <time.h>

#include "common/base/clock.h"
#include "common/base/mem.h"
#include "tests/sandbox/exchange.h"

#define DAY_MS (24 * 3600 * 1000LL)

/* To one euro. */
static const struct currency {
	const char *code;
	double rate;
} currencies[] = {
	{ "AUD", 1.7712 }, { "BRL", 6.1934 }, { "CAD", 1.6241 }, { "CHF", 0.9288 },
	{ "CZK", 24.163 }, { "DKK", 7.4686 }, { "EUR", 1 },      { "GBP", 0.8802 },
	{ "HUF", 383.05 }, { "IDR", 19271 },  { "ISK", 147.1 },  { "JPY", 180.76 },
	{ "KRW", 1697.5 }, { "MXN", 21.254 }, { "NOK", 11.77 },  { "PLN", 4.2403 },
	{ "SEK", 11.003 }, { "THB", 37.415 }, { "TRY", 48.867 }, { "USD", 1.1520 },
};

static void not_found(struct exchange *x)
{
	struct buf body = BUF_INIT;

	buf_puts(&body, "{\"message\":\"not found\"}");
	exchange_reply(x, 404, &body);
	buf_clear(&body);
}

static const struct currency *currency_find(const char *code, size_t n)
{
	for (size_t i = 0; i < ARRAY_LEN(currencies); i++)
		if (n == 3 && strncasecmp(currencies[i].code, code, 3) == 0)
			return &currencies[i];
	return NULL;
}

/* The last working day up to this one. */
static void working_day(int64_t ms, char out[16])
{
	int64_t day = ms / DAY_MS,
		weekday = (day + 4) % 7; /* 1970 began on a Thursday; 0 is Sunday */
	time_t at;
	struct tm tm;

	day -= weekday == 6 ? 1 : weekday == 0 ? 2 : 0;
	at = (time_t)(day * (DAY_MS / 1000));
	out[0] = '\0';
	if (gmtime_r(&at, &tm))
		strftime(out, 16, "%Y-%m-%d", &tm);
}

static void rate_print(const struct currency *c, const struct currency *base, struct buf *out)
{
	double rate = c->rate / base->rate;

	buf_printf(out, "%s\"%s\":%.*g", out->data[out->len - 1] == '{' ? "" : ",", c->code, 5,
		   rate);
}

/* false: one of them is none. */
static bool rates_print(const char *symbols, const struct currency *base, struct buf *out)
{
	const struct currency *c;

	for (size_t i = 0; !symbols && i < ARRAY_LEN(currencies); i++)
		if (&currencies[i] != base)
			rate_print(&currencies[i], base, out);
	for (const char *p = symbols; p && *p;) {
		size_t n = strcspn(p, ",");

		c = currency_find(p, n);
		if (!c)
			return false;
		if (c != base)
			rate_print(c, base, out);
		p += n + (p[n] == ',');
	}
	return true;
}

static void serve(struct exchange *x)
{
	const char *when = httpd_path(x->q) + strlen("/frankfurter/v1/");
	const char *base = httpd_query(x->q, "base"), *symbols = httpd_query(x->q, "symbols");
	const struct currency *from = currency_find(base ? base : "EUR", base ? strlen(base) : 3);
	int64_t at_us = x->sandbox->plan.anchor_ms * 1000;
	struct buf body = BUF_INIT;
	bool date_only = true;
	char day[16];

	if (!exchange_latency(x))
		return;
	if (strcmp(when, "latest") != 0 &&
	    (clock_parse_time(when, &at_us, &date_only) < 0 || !date_only))
		from = NULL;
	if (from) {
		working_day(at_us / 1000, day);
		buf_printf(&body, "{\"amount\":1.0,\"base\":\"%s\",\"date\":\"%s\",\"rates\":{",
			   from->code, day);
	}
	if (from && rates_print(symbols, from, &body)) {
		buf_puts(&body, "}}");
		exchange_reply(x, 200, &body);
	} else {
		not_found(x);
	}
	buf_clear(&body);
}

static void handler(struct httpd_request *q, void *arg)
{
	struct exchange x;

	if (exchange_begin(&x, arg, q))
		serve(&x);
	exchange_end(&x);
}

void frankfurter_routes(struct httpd *h, struct sandbox *s)
{
	httpd_route(h, "GET", "/frankfurter/v1/", handler, s);
}
