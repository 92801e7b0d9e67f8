/* Open-Meteo's forecast as its public documentation describes it: current conditions by place, no key; 600 calls a minute
 * from one address (all of ours come from one). */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "common/base/mem.h"
#include "tests/sandbox/exchange.h"

#define CURRENT_MAX 256
#define STEP_S 900 /* conditions are of the last quarter of an hour */

static const struct tier a_minute = { 600, 60 * 1000000LL };
static struct window served = { .tier = { 600, 60 * 1000000LL } };

static void refuse(struct exchange *x, int status, const char *reason)
{
	struct buf body = BUF_INIT;

	buf_puts(&body, "{\"error\":true,\"reason\":");
	json_quote(&body, reason, strlen(reason));
	buf_putc(&body, '}');
	exchange_reply(x, status, &body);
	buf_clear(&body);
}

static bool coordinate(struct exchange *x, const char *name, const char *shown, double most,
		       double *out)
{
	const char *text = httpd_query(x->q, name);
	char reason[160], *end;

	*out = text ? strtod(text, &end) : 0;
	if (!text || !*text || *end)
		snprintf(reason, sizeof(reason), "Value of type 'String' required for key '%s'.",
			 name);
	else if (fabs(*out) > most)
		snprintf(reason, sizeof(reason),
			 "%s must be in range of -%.0f to %.0f°. Given: %s.", shown, most, most,
			 text);
	else
		return true;
	refuse(x, 400, reason);
	return false;
}

static const struct variable {
	const char *name, *unit;
	int low, high; /* in tenths */
} variables[] = {
	{ "temperature_2m", "°C", -150, 350 },
	{ "relative_humidity_2m", "%", 200, 1000 },
	{ "apparent_temperature", "°C", -200, 380 },
	{ "precipitation", "mm", 0, 60 },
	{ "weather_code", "wmo code", 0, 30 },
	{ "cloud_cover", "%", 0, 1000 },
	{ "wind_speed_10m", "km/h", 0, 600 },
	{ "wind_direction_10m", "°", 0, 3590 },
	{ "is_day", "", 0, 10 },
};

static const struct variable *variable_find(const char *name, size_t n)
{
	for (size_t i = 0; i < ARRAY_LEN(variables); i++)
		if (strlen(variables[i].name) == n && memcmp(variables[i].name, name, n) == 0)
			return &variables[i];
	return NULL;
}

struct conditions {
	struct rng rng;
	struct buf units, values;
};

/* false: refused. */
static bool add_variables(struct exchange *x, const char *current, struct conditions *c)
{
	char reason[160];

	for (const char *p = current; *p;) {
		size_t n = strcspn(p, ",");
		const struct variable *v = variable_find(p, n);
		int tenths;

		if (!v) {
			snprintf(
				reason, sizeof(reason),
				"Data corrupted at path ''. Cannot initialize ForecastVariable from invalid String value %.*s.",
				(int)(n < 60 ? n : 60), p);
			refuse(x, 400, reason);
			return false;
		}
		tenths = rng_between(&c->rng, v->low, v->high);
		buf_printf(&c->units, ",\"%s\":\"%s\"", v->name, v->unit);
		if (v->unit[0] == 'w' || !v->unit[0])
			buf_printf(&c->values, ",\"%s\":%d", v->name, tenths / 10);
		else
			buf_printf(&c->values, ",\"%s\":%.1f", v->name, tenths / 10.0);
		p += n + (p[n] == ',');
	}
	return true;
}

/* It answers for the middle of a cell of its grid, not for the place that was asked for. */
static void answer(struct exchange *x, double lat, double lon, struct conditions *c)
{
	time_t now = (time_t)(x->arrived_us / 1000000 / STEP_S * STEP_S);
	struct buf body = BUF_INIT;
	char at[32] = "";
	struct tm tm;

	if (gmtime_r(&now, &tm))
		strftime(at, sizeof(at), "%Y-%m-%dT%H:%M", &tm);
	buf_printf(
		&body,
		"{\"latitude\":%.4f,\"longitude\":%.4f,\"generationtime_ms\":0.0%d,\"utc_offset_seconds\":0,"
		"\"timezone\":\"GMT\",\"timezone_abbreviation\":\"GMT\",\"elevation\":%d.0,"
		"\"current_units\":{\"time\":\"iso8601\",\"interval\":\"seconds\"%s},"
		"\"current\":{\"time\":\"%s\",\"interval\":%d%s}}",
		round(lat * 16) / 16, round(lon * 16) / 16, rng_between(&c->rng, 11, 99),
		rng_between(&c->rng, 0, 900), buf_str(&c->units), at, STEP_S, buf_str(&c->values));
	exchange_reply(x, 200, &body);
	buf_clear(&body);
}

static void serve(struct exchange *x)
{
	const char *current = httpd_query(x->q, "current");
	struct conditions c = { .units = BUF_INIT, .values = BUF_INIT };
	double lat, lon;

	if (window_wait_us(&served, x->arrived_us) > 0) {
		refuse(x, 429,
		       "Minutely API request limit exceeded. Please try again in one minute.");
		return;
	}
	window_add(&served, x->arrived_us);
	if (!exchange_latency(x))
		return;
	if (!coordinate(x, "latitude", "Latitude", 90, &lat) ||
	    !coordinate(x, "longitude", "Longitude", 180, &lon))
		return;
	c.rng = rng_of(x->sandbox->plan.seed, 0x0e7e0,
		       (uint64_t)(int64_t)(lat * 16) * 4096 + (uint64_t)(int64_t)(lon * 16));
	if (add_variables(x, current ? current : "", &c))
		answer(x, lat, lon, &c);
	buf_clear(&c.units);
	buf_clear(&c.values);
}

static void handler(struct httpd_request *q, void *arg)
{
	struct exchange x;

	if (exchange_begin(&x, arg, q))
		serve(&x);
	exchange_end(&x);
}

void open_meteo_routes(struct httpd *h, struct sandbox *s)
{
	window_init(&served, a_minute);
	httpd_route(h, "GET", "/open-meteo/v1/forecast", handler, s);
}
