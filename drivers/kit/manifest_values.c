/* Values that have a notation of their own: read and printed side by side, so that what is printed can be
 * read again. */
#include <stdlib.h>
#include <string.h>

#include "common/base/clock.h"
#include "common/base/mem.h"
#include "common/base/zone.h"
#include "drivers/kit/manifest_read.h"

/* ---- incremental.format ---- */

void read_format(struct manifest_reader *r, const cJSON *node, void *base)
{
	static const char *const names[] = { "iso8601", "iso8601_ms", "epoch", "epoch_ms" };
	struct manifest_collection *c = base;
	const char *s = reader_text(r, node, 0);

	if (!s)
		return;
	for (size_t i = 0; i < ARRAY_LEN(names); i++)
		if (strcmp(s, names[i]) == 0)
			c->incremental.format = names[i];
	if (strchr(s, '%'))
		c->incremental.format = s;
	if (!c->incremental.format)
		reader_problem(
			r,
			"unknown word \"%s\"%s (or a form with %%, such as \"%%Y-%%m-%%d %%H:%%M:%%S\")",
			s, reader_nearest(r, s, names, ARRAY_LEN(names)));
}

static bool print_text(const char *s, struct buf *out)
{
	if (!s)
		return false;
	json_quote(out, s, strlen(s));
	return true;
}

bool print_format(const void *base, struct buf *out)
{
	return print_text(((const struct manifest_collection *)base)->incremental.format, out);
}

/* ---- rules ---- */

/* 404, or "5xx" as -5; 0 if it is neither. */
static int status_of(const cJSON *v)
{
	int64_t n;

	if (json_int(v, "@", &n))
		return n >= 100 && n <= 599 ? (int)n : 0;
	if (cJSON_IsString(v) && strlen(v->valuestring) == 3 &&
	    strcmp(v->valuestring + 1, "xx") == 0 && v->valuestring[0] >= '1' &&
	    v->valuestring[0] <= '5')
		return -(v->valuestring[0] - '0');
	return 0;
}

static void add_status(struct manifest_reader *r, struct manifest_rule *u, const cJSON *v)
{
	int status = status_of(v);

	if (!status)
		reader_problem(r, "expected a status such as 403 or \"5xx\"");
	else if (u->n_statuses == (int)ARRAY_LEN(u->statuses))
		reader_problem(r, "more than %zu statuses", ARRAY_LEN(u->statuses));
	else
		u->statuses[u->n_statuses++] = status;
}

void read_statuses(struct manifest_reader *r, const cJSON *node, void *base)
{
	const cJSON *c;
	int i = 0;

	if (!cJSON_IsArray(node)) {
		add_status(r, base, node);
		return;
	}
	if (!node->child)
		reader_problem(r, "expected a status such as 403 or \"5xx\"");
	cJSON_ArrayForEach (c, node) {
		size_t mark = reader_down(r, NULL, i++);

		add_status(r, base, c);
		reader_up(r, mark);
	}
}

bool print_statuses(const void *base, struct buf *out)
{
	const struct manifest_rule *u = base;

	for (int i = 0; i < u->n_statuses; i++) {
		buf_putc(out, i ? ',' : '[');
		if (u->statuses[i] < 0)
			buf_printf(out, "\"%dxx\"", -u->statuses[i]);
		else
			buf_putint(out, u->statuses[i]);
	}
	if (u->n_statuses)
		buf_putc(out, ']');
	return u->n_statuses > 0;
}

void read_json_contains(struct manifest_reader *r, const cJSON *node, void *base)
{
	struct manifest_rule *u = base;

	u->contains = reader_text(r, node, 0);
	if (!u->json)
		reader_problem(
			r,
			"needs \"json\", the path of what is searched; \"text\" searches the whole body");
}

bool print_json_contains(const void *base, struct buf *out)
{
	const struct manifest_rule *u = base;

	return u->json && print_text(u->contains, out);
}

void read_body_contains(struct manifest_reader *r, const cJSON *node, void *base)
{
	struct manifest_rule *u = base;
	const char *s = reader_text(r, node, 0);

	if (u->json)
		reader_problem(
			r,
			"searches the whole body, and \"json\" one value of it: use \"contains\" with "
			"\"json\", or \"text\" alone");
	else
		u->contains = s;
}

bool print_body_contains(const void *base, struct buf *out)
{
	const struct manifest_rule *u = base;

	return !u->json && print_text(u->contains, out);
}

void read_rule_at(struct manifest_reader *r, const cJSON *node, void *base)
{
	const char *s = reader_text(r, node, 0);

	if (s && strcmp(s, "token_url") != 0)
		reader_problem(r, "expected \"token_url\", found \"%s\"", s);
	else if (s)
		((struct manifest_rule *)base)->at_token_url = true;
}

bool print_rule_at(const void *base, struct buf *out)
{
	return ((const struct manifest_rule *)base)->at_token_url && print_text("token_url", out);
}

/* ---- auth.expires: "seconds:expires_in", "at:expires_at", "fixed:24h" ---- */

void read_expires(struct manifest_reader *r, const cJSON *node, void *base)
{
	struct manifest_auth *a = base;
	const char *s = reader_text(r, node, 0);

	if (!s)
		return;
	if (strcmp(s, "jwt") == 0) {
		a->expires = EXPIRES_JWT;
	} else if (strncmp(s, "seconds:", 8) == 0) {
		a->expires = EXPIRES_SECONDS;
		a->expires_path = reader_path(r, s + 8, 0);
	} else if (strncmp(s, "at:", 3) == 0) {
		a->expires = EXPIRES_AT;
		a->expires_path = reader_path(r, s + 3, 0);
	} else if (strncmp(s, "fixed:", 6) == 0 &&
		   clock_parse_duration(s + 6, &a->expires_fixed_ms) == 0 &&
		   a->expires_fixed_ms > 0) {
		a->expires = EXPIRES_FIXED;
	} else {
		reader_problem(
			r,
			"expected \"seconds:PATH\", \"at:PATH\", \"jwt\" or \"fixed:24h\", found \"%s\"",
			s);
	}
}

bool print_expires(const void *base, struct buf *out)
{
	const struct manifest_auth *a = base;
	struct buf text = BUF_INIT;

	if (a->expires == EXPIRES_JWT)
		return print_text("jwt", out);
	if (a->expires == EXPIRES_FIXED) {
		print_ms(a->expires_fixed_ms, &text);
		buf_printf(out, "\"fixed:%s", buf_str(&text) + 1); /* over its quote */
	} else {
		buf_puts(&text, a->expires == EXPIRES_AT ? "at:" : "seconds:");
		buf_puts(&text, a->expires_path ? a->expires_path : "");
		json_quote(out, buf_str(&text), text.len);
	}
	buf_clear(&text);
	return true;
}

/* ---- pagination.stop ---- */

static const struct {
	const char *name;
	enum stop_kind kind;
	bool path; /* after a colon; "total" has the one of pagination.total too */
} stops[] = {
	{ "empty", STOP_EMPTY, false },         { "short_page", STOP_SHORT_PAGE, false },
	{ "total", STOP_TOTAL, true },          { "has_more", STOP_HAS_MORE, true },
	{ "no_cursor", STOP_NO_CURSOR, false },
};

static void unknown_stop(struct manifest_reader *r, const char *s)
{
	const char *names[ARRAY_LEN(stops)];

	for (size_t i = 0; i < ARRAY_LEN(stops); i++)
		names[i] = stops[i].name;
	reader_problem(r, "unknown word \"%s\"%s", s,
		       reader_nearest(r, s, names, ARRAY_LEN(stops)));
}

static void read_stop(struct manifest_reader *r, const cJSON *node, struct manifest_paging *p)
{
	const char *s = reader_text(r, node, 0), *path = NULL;
	size_t n = s ? strcspn(s, ":") : 0, i = 0;

	if (!s)
		return;
	while (i < ARRAY_LEN(stops) &&
	       (strlen(stops[i].name) != n || strncmp(stops[i].name, s, n) != 0))
		i++;
	if (i == ARRAY_LEN(stops) || (s[n] && !stops[i].path)) {
		unknown_stop(r, s);
		return;
	}
	if (s[n])
		path = reader_path(r, s + n + 1, KEY_ANSWER);
	else if (stops[i].kind == STOP_TOTAL)
		path = p->total;
	if (stops[i].path && !path && (!s[n] || !s[n + 1]))
		reader_problem(r, "\"%s\" needs a path: \"%s:PATH\"", stops[i].name, stops[i].name);
	else if (p->n_stops == (int)ARRAY_LEN(p->stops))
		reader_problem(r, "more than %zu ways to stop", ARRAY_LEN(p->stops));
	else
		p->stops[p->n_stops++] = (struct manifest_stop){ stops[i].kind, path };
	if (stops[i].kind == STOP_TOTAL && !p->total)
		p->total = path;
}

void read_stops(struct manifest_reader *r, const cJSON *node, void *base)
{
	const cJSON *c;
	int i = 0;

	if (!cJSON_IsArray(node) || !node->child) {
		reader_problem(r, "expected a list of one way to stop or more");
		return;
	}
	cJSON_ArrayForEach (c, node) {
		size_t mark = reader_down(r, NULL, i++);

		read_stop(r, c, base);
		reader_up(r, mark);
	}
}

bool print_stops(const void *base, struct buf *out)
{
	const struct manifest_paging *p = base;

	for (int i = 0; i < p->n_stops; i++) {
		struct buf text = BUF_INIT;

		for (size_t k = 0; k < ARRAY_LEN(stops); k++)
			if (stops[k].kind == p->stops[i].kind)
				buf_puts(&text, stops[k].name);
		if (p->stops[i].path)
			buf_printf(&text, ":%s", p->stops[i].path);
		buf_putc(out, i ? ',' : '[');
		json_quote(out, buf_str(&text), text.len);
		buf_clear(&text);
	}
	if (p->n_stops)
		buf_putc(out, ']');
	return p->n_stops > 0;
}

/* ---- tz of a column, of incremental: "UTC", "+02:00", "Europe/Berlin" ---- */

static const struct zone *zone_read(struct manifest_reader *r, const cJSON *node)
{
	const char *s = reader_text(r, node, 0);
	const struct zone *z = s ? zone_get(s) : NULL;

	if (s && !z && zone_get("Europe/London"))
		reader_problem(
			r,
			"there is no zone \"%s\": \"UTC\", an offset such as \"+02:00\", or a name "
			"such as \"Europe/Berlin\"",
			s);
	else if (s && !z)
		reader_problem(r, "the zone \"%s\" is not known here: is tzdata installed?", s);
	return z;
}

void read_tz(struct manifest_reader *r, const cJSON *node, void *base)
{
	((struct manifest_column *)base)->tz = zone_read(r, node);
}

bool print_tz(const void *base, struct buf *out)
{
	const struct zone *z = ((const struct manifest_column *)base)->tz;

	return z && print_text(zone_name(z), out);
}

void read_incremental_tz(struct manifest_reader *r, const cJSON *node, void *base)
{
	((struct manifest_collection *)base)->incremental.tz = zone_read(r, node);
}

bool print_incremental_tz(const void *base, struct buf *out)
{
	const struct zone *z = ((const struct manifest_collection *)base)->incremental.tz;

	return z && print_text(zone_name(z), out);
}

/* ---- collections.N.table ---- */

void read_table(struct manifest_reader *r, const cJSON *node, void *base)
{
	struct manifest_collection *c = base;
	const char *names[ROW_TABLES], *s = reader_text(r, node, 0);

	if (!s)
		return;
	if (row_table_parse(s, &c->table) == 0) {
		c->columns = COLUMNS_UNKNOWN;
		return;
	}
	for (int t = 0; t < ROW_TABLES; t++)
		names[t] = row_table_name((enum row_table)t);
	reader_problem(r, "there is no table \"%s\" (resources, transactions, media)%s", s,
		       reader_nearest(r, s, names, ROW_TABLES));
}

bool print_table(const void *base, struct buf *out)
{
	return print_text(row_table_name(((const struct manifest_collection *)base)->table), out);
}
