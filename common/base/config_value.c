/* Values of settings: reading them, describing them, and the table that all programs share. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/clock.h"
#include "common/base/config_parts.h"
#include "common/base/mem.h"

#define WORD_MAX_CHARS 63 /* longer words are never near anything */
#define HELP_COLUMN 28

static int read_bool(const char *text, int64_t *out)
{
	static const char *const words[] = { "false", "true", "no", "yes", "off", "on", "0", "1" };

	for (size_t i = 0; i < ARRAY_LEN(words); i++)
		if (strcmp(text, words[i]) == 0) {
			*out = (int64_t)(i & 1);
			return 0;
		}
	return -EINVAL;
}

static int read_int(const char *text, int64_t *out)
{
	char *end;
	long long v;

	if (*text != '-' && (*text < '0' || *text > '9')) /* strtoll would take spaces and a plus */
		return -EINVAL;
	errno = 0;
	v = strtoll(text, &end, 10);
	if (errno || end == text || *end)
		return -EINVAL;
	*out = v;
	return 0;
}

static void put_bound(const struct config_option *o, int64_t v, struct buf *b)
{
	buf_putint(b, v);
	if (o->type == CONFIG_DURATION_MS)
		buf_puts(b, "ms");
}

int config_value_parse(const struct config_option *o, const char *text, struct config_value *out,
		       struct buf *why)
{
	static const char *const expected[] = {
		[CONFIG_INT] = "is no number",
		[CONFIG_DURATION_MS] = "is no duration (250ms, 30s, 15m, 4h, 7d)",
		[CONFIG_BOOL] = "is neither true nor false",
	};
	int64_t v = 0;
	int rc = 0;

	if (o->type == CONFIG_STRING) {
		out->text = text;
		return 0;
	}
	if (o->type == CONFIG_INT)
		rc = read_int(text, &v);
	else if (o->type == CONFIG_DURATION_MS)
		rc = clock_parse_duration(text, &v);
	else
		rc = read_bool(text, &v);
	if (rc < 0) {
		buf_printf(why, "\"%.40s\" %s", text, expected[o->type]);
		return rc;
	}
	if (o->type != CONFIG_BOOL && (o->min || o->max) && (v < o->min || v > o->max)) {
		buf_printf(why, "\"%.40s\" is out of bounds (", text);
		put_bound(o, o->min, why);
		buf_puts(why, " to ");
		put_bound(o, o->max, why);
		buf_putc(why, ')');
		return -EINVAL;
	}
	out->number = v;
	return 0;
}

/* password= as a word of its own: in a conninfo or in the query of a URL. */
static bool has_password_parameter(const char *text)
{
	const char *p = text;

	while ((p = strcasestr(p, "password")) != NULL) {
		const char *after = p + strlen("password");
		bool starts = p == text || strchr(" \t?&", p[-1]);

		after += strspn(after, " ");
		if (starts && *after == '=' && after[1])
			return true;
		p++;
	}
	return false;
}

/* user:password@host.  A slash in a password ends the authority too early; the rest then shows by a
 * "port" that is no number before an '@' further on. */
bool config_has_password(const char *text)
{
	const char *scheme = strstr(text, "://"), *start, *colon, *at;
	size_t len;

	if (has_password_parameter(text))
		return true;
	if (!scheme)
		return false;
	start = scheme + 3;
	len = strcspn(start, "/?#");
	at = memrchr(start, '@', len);
	colon = memchr(start, ':', at ? (size_t)(at - start) : len);
	if (at)
		return colon && colon + 1 < at;
	if (!colon || !strchr(start + len, '@'))
		return false;
	return strspn(colon + 1, "0123456789") != (size_t)(start + len - colon - 1);
}

/* Edit distance, a swap of neighbours counting once. Both at most WORD_MAX_CHARS. */
static int distance(const char *a, size_t na, const char *b, size_t nb)
{
	unsigned char rows[3][WORD_MAX_CHARS + 1];
	unsigned char *before = rows[0], *last = rows[1], *row = rows[2];

	for (size_t j = 0; j <= nb; j++)
		last[j] = (unsigned char)j;
	for (size_t i = 1; i <= na; i++) {
		unsigned char *spare = before;

		row[0] = (unsigned char)i;
		for (size_t j = 1; j <= nb; j++) {
			int best = last[j - 1] + (a[i - 1] != b[j - 1]);

			if (last[j] + 1 < best)
				best = last[j] + 1;
			if (row[j - 1] + 1 < best)
				best = row[j - 1] + 1;
			if (i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1] &&
			    before[j - 2] + 1 < best)
				best = before[j - 2] + 1;
			row[j] = (unsigned char)best;
		}
		before = last;
		last = row;
		row = spare;
	}
	return last[nb];
}

const char *config_nearest(const char *word, const char *const *names, int n)
{
	size_t len = word ? strlen(word) : 0;
	const char *nearest = NULL;
	int best = (int)(len / 3) + 1;

	if (len == 0 || len > WORD_MAX_CHARS)
		return NULL;
	for (int i = 0; i < n; i++) {
		size_t name_len = names[i] ? strlen(names[i]) : 0;
		int d;

		if (name_len == 0 || name_len > WORD_MAX_CHARS)
			continue;
		d = distance(word, len, names[i], name_len);
		if (d < best) {
			best = d;
			nearest = names[i];
		}
	}
	return nearest;
}

static void help_row(const struct config_option *o)
{
	int column = printf("  --%s%s%s", o->name, o->value_name ? " " : "",
			    o->value_name ? o->value_name : "");

	printf("%*s%s", column < HELP_COLUMN ? HELP_COLUMN - column : 2, "",
	       o->help ? o->help : "");
	if (o->env || (o->fallback && *o->fallback)) {
		printf(" (");
		if (o->env)
			printf("%s", o->env);
		if (o->fallback && *o->fallback)
			printf("%sdefault %s", o->env ? "; " : "", o->fallback);
		printf(")");
	}
	printf("\n");
}

void config_help(const char *usage, const struct config_option *options, int n)
{
	static const struct config_option own[] = {
		{ .name = "config",
		  .env = "LONGSHORE_CONFIG",
		  .value_name = "FILE",
		  .help = "lines of name = value; flags and environment come first" },
		{ .name = "help", .help = "this text" },
		{ .name = "version", .help = "name and version" },
	};

	printf("%s\n\n", usage);
	for (int i = 0; i < n; i++)
		help_row(&options[i]);
	for (size_t i = 0; i < ARRAY_LEN(own); i++)
		help_row(&own[i]);
}
