/* Writing. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/json.h"
#include "common/base/mem.h"
#include "common/base/secret.h"

#define JSON_INT_MAX 9007199254740992.0 /* 2^53 */
#define PLAIN_INT_MAX 1e21 /* JavaScript, too, writes integers below without exponent */

/* Digits that json_parse kept because a double could not; stale if someone set another value
 * since. */
static bool has_own_digits(const cJSON *v)
{
	return v->valuestring && strtod(v->valuestring, NULL) == v->valuedouble;
}

/* Prices and coordinates: up to six digits behind the point, a tenth of printf's time.  n / 10^k is exactly what
 * the decimal "n / 10^k" reads as, so that there is nothing to round. */
static bool short_decimal(double d, struct buf *out)
{
	static const double tens[] = { 1, 1e1, 1e2, 1e3, 1e4, 1e5, 1e6 };
	double size = __builtin_fabs(d);

	if (!(size >= 1e-4 && size < 1e9)) /* below, %g has an exponent */
		return false;
	for (size_t k = 1; k < ARRAY_LEN(tens); k++) {
		int64_t n = (int64_t)(size * tens[k] + 0.5), unit = (int64_t)tens[k];

		if ((double)n / tens[k] != size)
			continue;
		if (d < 0)
			buf_putc(out, '-');
		buf_putint(out, n / unit);
		buf_putc(out, '.');
		for (n %= unit; unit >= 10; n %= unit) {
			unit /= 10;
			buf_putc(out, (char)('0' + n / unit));
		}
		return true;
	}
	return false;
}

static void number_text(const cJSON *v, struct buf *out)
{
	double d = v->valuedouble;
	char text[32];

	if (has_own_digits(v)) {
		buf_puts(out, v->valuestring);
	} else if (d == __builtin_trunc(d) && d >= -JSON_INT_MAX && d <= JSON_INT_MAX) {
		buf_putint(out, (int64_t)d);
	} else if (d == __builtin_trunc(d) && d > -PLAIN_INT_MAX && d < PLAIN_INT_MAX) {
		buf_printf(out, "%.0f", d);
	} else if (!short_decimal(d, out)) {
		/* the shorter form if it reads back as the same number */
		snprintf(text, sizeof(text), "%.15g", d);
		if (strtod(text, NULL) != d)
			snprintf(text, sizeof(text), "%.17g", d);
		buf_puts(out, text);
	}
}

bool json_scalar_text(const cJSON *v, struct buf *out)
{
	if (cJSON_IsString(v)) {
		buf_puts(out, v->valuestring);
	} else if (cJSON_IsBool(v)) {
		buf_puts(out, cJSON_IsTrue(v) ? "true" : "false");
	} else if (cJSON_IsNumber(v) && __builtin_isfinite(v->valuedouble)) {
		number_text(v, out);
	} else {
		return false;
	}
	return true;
}

/* The letter after the backslash, 'u' for the long form, 0 if the byte stands for itself. */
static char escape_of(unsigned char c)
{
	switch (c) {
	case '"':
		return '"';
	case '\\':
		return '\\';
	case '\b':
		return 'b';
	case '\f':
		return 'f';
	case '\n':
		return 'n';
	case '\r':
		return 'r';
	case '\t':
		return 't';
	}
	return c < 0x20 ? 'u' : 0;
}

static void quote_valid(struct buf *out, const char *s, size_t len)
{
	const char *run = s, *end = s + len;

	buf_reserve(out, len + 2);
	buf_putc(out, '"');
	for (; s < end; s++) {
		unsigned char c = (unsigned char)*s;
		char letter;

		if (c >= 0x20 && c != '"' && c != '\\')
			continue;
		letter = escape_of(c);
		buf_append(out, run, (size_t)(s - run));
		run = s + 1;
		if (c == 0) {
			buf_append(out, "\xef\xbf\xbd", 3);
		} else if (letter == 'u') {
			buf_printf(out, "\\u%04x", c);
		} else {
			buf_putc(out, '\\');
			buf_putc(out, letter);
		}
	}
	buf_append(out, run, (size_t)(s - run));
	buf_putc(out, '"');
}

#define EACH_BYTE 0x0101010101010101ull

/* Not 0: one of eight bytes is no ASCII, or below a blank, or a quote, or a backslash.  Only then has a byte its highest
 * bit by itself, or of what is taken from it. */
static uint64_t odd_of(uint64_t eight)
{
	uint64_t quote = eight ^ EACH_BYTE * '"', backslash = eight ^ EACH_BYTE * '\\';

	return (eight | (eight - EACH_BYTE * ' ') | (quote - EACH_BYTE) | (backslash - EACH_BYTE)) &
	       EACH_BYTE * 0x80;
}

/* Whether all bytes stand for themselves, as nearly always they do. */
static bool is_plain(const char *s, size_t len)
{
	uint64_t eight, odd = 0;

	for (; len >= 8; s += 8, len -= 8) {
		memcpy(&eight, s, 8);
		odd |= odd_of(eight);
	}
	eight = EACH_BYTE * ' ';
	memcpy(&eight, s, len);
	return !(odd | odd_of(eight));
}

void json_quote(struct buf *out, const char *s, size_t len)
{
	struct buf clean = BUF_INIT;

	if (is_plain(s, len)) {
		buf_reserve(out, len + 2);
		out->data[out->len++] = '"';
		memcpy(out->data + out->len, s, len);
		out->len += len;
		out->data[out->len++] = '"';
		out->data[out->len] = '\0';
		return;
	}
	if (utf8_is_valid(s, len)) {
		quote_valid(out, s, len);
		return;
	}
	utf8_append_clean(&clean, s, len);
	quote_valid(out, buf_str(&clean), clean.len);
	buf_clear(&clean);
}

static void print_children(const cJSON *v, struct buf *out)
{
	bool object = cJSON_IsObject(v);

	buf_putc(out, object ? '{' : '[');
	for (const cJSON *c = v->child; c; c = c->next) {
		if (c != v->child)
			buf_putc(out, ',');
		if (object) {
			const char *key = c->string ? c->string : "";

			json_quote(out, key, strlen(key));
			buf_putc(out, ':');
		}
		json_print(c, out);
	}
	buf_putc(out, object ? '}' : ']');
}

/* Recursion: trees come from json_parse, or from code that builds shallow ones. */
void json_print(const cJSON *v, struct buf *out)
{
	if (cJSON_IsObject(v) || cJSON_IsArray(v))
		print_children(v, out);
	else if (cJSON_IsString(v))
		json_quote(out, v->valuestring, strlen(v->valuestring));
	else if (cJSON_IsRaw(v) && v->valuestring)
		buf_puts(out, v->valuestring);
	else if (!json_scalar_text(v, out))
		buf_puts(out, "null");
}

static int by_name(const void *a, const void *b)
{
	const cJSON *x = *(cJSON *const *)a, *y = *(cJSON *const *)b;

	return strcmp(x->string ? x->string : "", y->string ? y->string : "");
}

void json_sort(cJSON *v)
{
	int n = cJSON_GetArraySize(v);
	cJSON **members;

	for (cJSON *c = v->child; c; c = c->next)
		json_sort(c);
	if (!cJSON_IsObject(v) || n < 2)
		return;
	members = mem_zalloc((size_t)n * sizeof(cJSON *));
	n = 0;
	for (cJSON *c = v->child; c; c = c->next)
		members[n++] = c;
	qsort(members, (size_t)n, sizeof(cJSON *), by_name);
	for (int i = 0; i < n; i++) {
		members[i]->prev = members[i ? i - 1 : n - 1]; /* the first one's is the last */
		members[i]->next = i + 1 < n ? members[i + 1] : NULL;
	}
	v->child = members[0];
	free(members);
}

void json_zero(cJSON *v)
{
	for (; v; v = v->next) {
		if (v->valuestring)
			secret_zero(v->valuestring, strlen(v->valuestring));
		json_zero(v->child);
	}
}
