/* OpenStreetMap's Nominatim as its documentation and usage policy describe it: one call a second for a whole application, a
 * User-Agent that names it, coordinates as text. */
#include <ctype.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "common/base/mem.h"
#include "tests/sandbox/exchange.h"

#define REACH_DEGREES 1.0 /* of a reverse search */

static const struct place {
	const char *name, *country, *code, *lat, *lon;
	long id;
	const char *importance;
} places[] = {
	{ "Berlin", "Deutschland", "de", "52.5173885", "13.3951309", 134246, "0.8522196" },
	{ "Lisboa", "Portugal", "pt", "38.7077507", "-9.1365919", 282716, "0.7913021" },
	{ "Paris", "France", "fr", "48.8588897", "2.3200410", 88715, "0.8845663" },
	{ "Wien", "Österreich", "at", "48.2083537", "16.3725042", 109166, "0.8164311" },
	{ "Reykjavík", "Ísland", "is", "64.1459810", "-21.9422367", 2580605, "0.7049210" },
	{ "New York", "United States", "us", "40.7127281", "-74.0060152", 175905, "0.8175767" },
	{ "東京都", "日本", "jp", "35.6768601", "139.7638947", 1543125, "0.8168491" },
	{ "Brandenburger Tor, Pariser Platz, Mitte, Berlin", "Deutschland", "de", "52.5162699",
	  "13.3777034", 518071791, "0.5529271" },
};

static const struct tier a_second = { 1, 1000000LL };
static struct window served;

static void refuse(struct exchange *x, int status, const char *message)
{
	struct buf body = BUF_INIT;

	buf_printf(&body, "{\"error\":{\"code\":%d,\"message\":", status);
	json_quote(&body, message, strlen(message));
	buf_puts(&body, "}}");
	exchange_reply(x, status, &body);
	buf_clear(&body);
}

/* What libraries send by themselves is turned away: nobody could be asked to stop. */
static bool is_named(const struct exchange *x)
{
	const char *agent = httpd_header(x->q, "User-Agent");

	return agent && *agent && strncasecmp(agent, "curl/", 5) != 0 &&
	       strncasecmp(agent, "python", 6) != 0 && strncasecmp(agent, "libcurl", 7) != 0;
}

static bool admit(struct exchange *x)
{
	int64_t wait_us = window_wait_us(&served, x->arrived_us);

	if (!is_named(x)) {
		refuse(x, 403,
		       "Access blocked. See https://operations.osmfoundation.org/policies/nominatim/");
		return false;
	}
	if (wait_us > 0) {
		refuse(x, 429, "Bandwidth limit exceeded");
		return false;
	}
	window_add(&served, x->arrived_us);
	return exchange_latency(x);
}

static void place_print(const struct place *p, struct buf *out)
{
	double lat = strtod(p->lat, NULL), lon = strtod(p->lon, NULL);
	char display[160];

	snprintf(display, sizeof(display), "%s, %s", p->name, p->country);
	buf_printf(
		out,
		"{\"place_id\":%ld,\"licence\":\"Data © OpenStreetMap contributors, ODbL 1.0. http://osm.org/copyright\","
		"\"osm_type\":\"relation\",\"osm_id\":%ld,\"lat\":\"%s\",\"lon\":\"%s\",\"category\":\"boundary\","
		"\"type\":\"administrative\",\"place_rank\":8,\"importance\":%s,\"addresstype\":\"city\",\"name\":",
		p->id + 100000000, p->id, p->lat, p->lon, p->importance);
	json_quote(out, p->name, strlen(p->name));
	buf_puts(out, ",\"display_name\":");
	json_quote(out, display, strlen(display));
	buf_printf(out,
		   ",\"address\":{\"country\":\"%s\",\"country_code\":\"%s\"},"
		   "\"boundingbox\":[\"%.7f\",\"%.7f\",\"%.7f\",\"%.7f\"]}",
		   p->country, p->code, lat - 0.1, lat + 0.1, lon - 0.1, lon + 0.1);
}

static void search_serve(struct exchange *x)
{
	const char *q = httpd_query(x->q, "q"), *limit = httpd_query(x->q, "limit");
	long most = limit ? strtol(limit, NULL, 10) : 10;
	struct buf body = BUF_INIT;

	if (!q || !*q) {
		refuse(x, 400, "Nothing to search for.");
		return;
	}
	buf_putc(&body, '[');
	for (size_t i = 0; i < ARRAY_LEN(places) && most > 0; i++) {
		if (!strcasestr(places[i].name, q) && !strcasestr(q, places[i].name))
			continue;
		if (body.len > 1)
			buf_putc(&body, ',');
		place_print(&places[i], &body);
		most--;
	}
	buf_putc(&body, ']');
	exchange_reply(x, 200, &body);
	buf_clear(&body);
}

static void reverse_serve(struct exchange *x)
{
	const char *lat = httpd_query(x->q, "lat"), *lon = httpd_query(x->q, "lon");
	const struct place *nearest = NULL;
	struct buf body = BUF_INIT;
	double best = REACH_DEGREES;

	if (!lat || !lon || !*lat || !*lon) {
		refuse(x, 400, "Parameter 'lat' missing.");
		return;
	}
	for (size_t i = 0; i < ARRAY_LEN(places); i++) {
		double d = hypot(strtod(lat, NULL) - strtod(places[i].lat, NULL),
				 strtod(lon, NULL) - strtod(places[i].lon, NULL));

		if (d >= best)
			continue;
		best = d;
		nearest = &places[i];
	}
	if (nearest)
		place_print(nearest, &body);
	else
		buf_puts(&body, "{\"error\":\"Unable to geocode\"}");
	exchange_reply(x, 200, &body);
	buf_clear(&body);
}

static void search_handler(struct httpd_request *q, void *arg)
{
	struct exchange x;

	if (exchange_begin(&x, arg, q) && admit(&x))
		search_serve(&x);
	exchange_end(&x);
}

static void reverse_handler(struct httpd_request *q, void *arg)
{
	struct exchange x;

	if (exchange_begin(&x, arg, q) && admit(&x))
		reverse_serve(&x);
	exchange_end(&x);
}

void nominatim_routes(struct httpd *h, struct sandbox *s)
{
	window_init(&served, a_second);
	httpd_route(h, "GET", "/nominatim/search", search_handler, s);
	httpd_route(h, "GET", "/nominatim/reverse", reverse_handler, s);
}
