#include "common/base/card.h"

#include <ctype.h>
#include <stdint.h>
#include <string.h>

#include "common/base/mem.h"
#include "common/base/secret.h"

#define DIGITS_MIN 13
#define DIGITS_MAX 19
#define GROUPS_MAX 64
#define GAP_MAX 8 /* separators between two groups */

/* Digits in one piece. */
struct group {
	size_t at, len; /* bytes */
	int n;          /* digits, or stars */
};

/* The zeros of all scripts' decimal digits; the nine that follow each are the others. */
static const uint32_t zeros[] = { 0x0660, 0x06f0,  0x07c0,  0x0966,  0x09e6,  0x0a66, 0x0ae6,
				  0x0b66, 0x0be6,  0x0c66,  0x0ce6,  0x0d66,  0x0de6, 0x0e50,
				  0x0ed0, 0x0f20,  0x1040,  0x1090,  0x17e0,  0x1810, 0x1946,
				  0x19d0, 0x1a80,  0x1a90,  0x1b50,  0x1bb0,  0x1c40, 0x1c50,
				  0xa620, 0xa8d0,  0xa900,  0xa9d0,  0xa9f0,  0xaa50, 0xabf0,
				  0xff10, 0x1d7ce, 0x1d7d8, 0x1d7e2, 0x1d7ec, 0x1d7f6 };

/* ---- characters, however they are escaped ---- */

static bool read_hex(const char *p, size_t n, uint32_t *out)
{
	uint32_t v = 0;

	for (size_t i = 0; i < n; i++) {
		char c = p[i];

		if (!isxdigit((unsigned char)c))
			return false;
		v = v * 16 + (uint32_t)(c <= '9' ? c - '0' : (c | 0x20) - 'a' + 10);
	}
	*out = v;
	return true;
}

/* As JSON escapes them. */
static size_t escaped_at(const char *p, size_t left, uint32_t *c)
{
	uint32_t low;

	*c = '\\';
	if (left >= 2 && strchr("ntrfb/", p[1])) {
		*c = ' ';
		return 2;
	}
	if (left < 6 || p[1] != 'u' || !read_hex(p + 2, 4, c))
		return 1;
	if (*c >= 0xd800 && *c < 0xdc00 && left >= 12 && p[6] == '\\' && p[7] == 'u' &&
	    read_hex(p + 8, 4, &low) && low >= 0xdc00 && low < 0xe000) {
		*c = 0x10000 + ((*c - 0xd800) << 10) + (low - 0xdc00);
		return 12;
	}
	return 6;
}

/* The character at p and its length in bytes.  What is no UTF-8 is one byte of something else. */
static size_t char_at(const char *p, size_t left, uint32_t *c)
{
	const unsigned char *u = (const unsigned char *)p;
	size_t n = *u < 0xc0 ? 1 : *u < 0xe0 ? 2 : *u < 0xf0 ? 3 : 4;

	*c = *u;
	if (*p == '\\')
		return escaped_at(p, left, c);
	if (*p == '%' && left >= 3 && read_hex(p + 1, 2, c) && *c < 0x80) /* as URLs do */
		return 3;
	*c = n == 1 ? *u : *u & (0xffu >> (n + 1));
	for (size_t i = 1; i < n; i++) {
		if (i >= left || (u[i] & 0xc0) != 0x80) {
			*c = 0xfffd;
			return 1;
		}
		*c = *c << 6 | (u[i] & 0x3f);
	}
	return n;
}

/* Bytes of a digit, or a star, at p; 0: none. */
static size_t digit_at(const char *p, size_t left, char *digit)
{
	uint32_t c;
	size_t n;

	if ((*p >= '0' && *p <= '9') || *p == '*') {
		*digit = *p;
		return 1;
	}
	if (*p != '\\' && *p != '%' && (unsigned char)*p < 0xc0)
		return 0;
	n = char_at(p, left, &c);
	if ((c >= '0' && c <= '9') || c == '*') {
		*digit = (char)c;
		return n;
	}
	for (size_t i = 0; c >= zeros[0] && i < ARRAY_LEN(zeros); i++)
		if (c - zeros[i] < 10) {
			*digit = (char)('0' + (c - zeros[i]));
			return n;
		}
	return 0;
}

/* Bytes of a separator at p; 0: none.  Blanks of all widths, dashes and dots count. */
static size_t gap_at(const char *p, size_t left)
{
	static const uint32_t others[] = { 0x85,   0xa0,   0xad,   0xb7,   0x34f,  0x61c,
					   0x1680, 0x180e, 0x2212, 0x22c5, 0x3000, 0x30fb,
					   0xfe58, 0xfe63, 0xff0d, 0xfeff };
	uint32_t c;
	size_t n = char_at(p, left, &c);

	if (c < 0x80)
		return c && strchr(" -._/|~\t\r\n\v\f", (int)c) ? n : 0;
	if (c >= 0x2000 && c < 0x2070)
		return n;
	for (size_t i = 0; i < ARRAY_LEN(others); i++)
		if (c == others[i])
			return n;
	return 0;
}

static bool read_group(const char *s, size_t len, size_t at, struct group *g)
{
	char d;
	size_t n;

	*g = (struct group){ .at = at };
	while (at + g->len < len && (n = digit_at(s + at + g->len, len - at - g->len, &d))) {
		g->len += n;
		g->n++;
	}
	return g->n > 0;
}

/* Groups that follow one another from `at` on. */
static int read_row(const char *s, size_t len, size_t at, struct group *g)
{
	int n = 0;

	while (n < GROUPS_MAX && at < len && read_group(s, len, at, &g[n])) {
		int gaps = 0;
		size_t k;

		at = g[n].at + g[n].len;
		n++;
		for (; gaps < GAP_MAX && at < len && (k = gap_at(s + at, len - at)); gaps++)
			at += k;
		/* A blank as forms have it; behind a true one a plus begins a phone number. */
		if (!gaps && at + 1 < len && s[at] == '+' && s[at + 1] >= '0' && s[at + 1] <= '9')
			gaps = 1, at++;
		if (!gaps)
			break;
	}
	return n;
}

/* Luhn's; what is nothing but stars passes. */
static bool passes(const char *s, const struct group *g, int from, int to)
{
	char digits[DIGITS_MAX];
	int n = 0, sum = 0, stars = 0;

	for (int i = from; i <= to; i++)
		for (size_t at = 0; at < g[i].len;)
			at += digit_at(s + g[i].at + at, g[i].len - at, &digits[n++]);
	for (int i = 0; i < n; i++) {
		int d = digits[i] - '0';

		stars += digits[i] == '*';
		if ((n - i) % 2 == 0)
			d = 2 * d > 9 ? 2 * d - 9 : 2 * d;
		sum += d;
	}
	if (stars)
		return stars == n;
	for (int i = 1; i < n; i++)
		if (digits[i] != digits[0])
			return sum % 10 == 0 && !(n == 13 && digits[0] == '1');
	return sum % 10 == 0 && digits[0] != '0';
}

/* The last of an escape is none. */
static bool is_letter(const char *s, size_t at)
{
	return isalpha((unsigned char)s[at]) && !(at >= 1 && s[at - 1] == '\\') &&
	       !(at >= 2 && s[at - 2] == '%');
}

/* In a word: a hash and an IBAN are no card.  But what a magnetic stripe holds (B, the number, ^) is. */
static bool is_in_word(const char *s, size_t len, const struct group *g)
{
	size_t from = g->at, to = g->at + g->len;
	bool other = false;

	if ((from == 0 || !is_letter(s, from - 1)) && (to >= len || !is_letter(s, to)))
		return false;
	if (to < len && s[to] == '^')
		return false;
	while (from > 0 && isalnum((unsigned char)s[from - 1]))
		from--;
	while (to < len && isalnum((unsigned char)s[to]))
		to++;
	for (size_t i = from; i < to; i++)
		other = other || (isalpha((unsigned char)s[i]) && !isxdigit((unsigned char)s[i]));
	if (!other)
		return true;
	return to - from > 4 && isupper((unsigned char)s[from]) &&
	       isupper((unsigned char)s[from + 1]) && isdigit((unsigned char)s[from + 2]) &&
	       isdigit((unsigned char)s[from + 3]);
}

/* A window of the row's groups that begins with the first.  Its last group, or -1. */
static int window_of(const char *s, size_t len, const struct group *g, int n)
{
	int digits = 0;

	for (int i = 0; i < n; i++) {
		digits += g[i].n;
		if (digits > DIGITS_MAX || is_in_word(s, len, &g[i]))
			return -1;
		if (digits >= DIGITS_MIN && passes(s, g, 0, i))
			return i;
	}
	return -1;
}

static bool is_phone(const char *s, const struct group *g, int n)
{
	int digits = 0;

	for (int i = 0; i < n; i++)
		digits += g[i].n;
	return g->at > 0 && s[g->at - 1] == '+' && digits <= 15;
}

/* A coordinate, of many decimals: a card's first group is never so short with one dot alone behind it. */
static bool is_decimal(const char *s, const struct group *g, int n)
{
	return n == 2 && g[0].n <= 3 && g[1].at == g[0].at + g[0].len + 1 && s[g[1].at - 1] == '.';
}

/* A job's own id, where no letter of its hex digits says that they are none: 13 that begin with 6 or 7 (until 2041), a hyphen, and fewer than a
 * card has.  As no card is written. */
static bool is_job_id(const char *s, const struct group *g, int n)
{
	return n >= 2 && g[0].n == 13 && g[0].len == 13 &&
	       (s[g[0].at] == '6' || s[g[0].at] == '7') && g[1].at == g[0].at + 14 &&
	       s[g[1].at - 1] == '-' && g[1].n < DIGITS_MIN;
}

bool card_find(const char *s, size_t len, size_t *at, size_t *n)
{
	struct group row[GROUPS_MAX];
	size_t i = *at;

	while (i < len) {
		char d;
		uint32_t c;
		int groups, last;
		bool other, id;

		if (!digit_at(s + i, len - i, &d)) {
			i += char_at(s + i, len - i, &c);
			continue;
		}
		groups = read_row(s, len, i, row);
		other = is_phone(s, row, groups) || is_decimal(s, row, groups);
		id = is_job_id(s, row, groups);
		last = other || id ? -1 : window_of(s, len, row, groups);
		if (last >= 0) {
			*at = row[0].at;
			*n = row[last].at + row[last].len - row[0].at;
			return true;
		}
		i = row[0].at + row[0].len; /* a card begins with a group, not within one */
		if (id)
			i = row[1].at + row[1].len;
		else if (other)
			i = row[groups - 1].at + row[groups - 1].len;
	}
	return false;
}

bool card_is_in(const char *s, size_t len)
{
	size_t at = 0, n;

	return card_find(s, len, &at, &n);
}

bool card_is_in_json(const cJSON *v)
{
	struct buf text = BUF_INIT;
	bool found;

	json_print(v, &text);
	found = card_is_in(buf_str(&text), text.len);
	buf_clear(&text);
	return found;
}

/* Stars for digits, and a blank for a gap that is written with digits (\u00a0, %20). */
static void put_masked(const char *s, size_t n, struct buf *out)
{
	char d;

	for (size_t at = 0, k; at < n; at += k) {
		if ((k = digit_at(s + at, n - at, &d)) > 0) {
			buf_putc(out, '*');
		} else if ((k = gap_at(s + at, n - at)) > 2 && (s[at] == '\\' || s[at] == '%')) {
			buf_putc(out, ' ');
		} else {
			k = k ? k : 1; /* the plus between two groups */
			buf_append(out, s + at, k);
		}
	}
}

void card_mask(struct buf *b)
{
	struct buf out = BUF_INIT;
	size_t at = 0, done = 0, n;

	while (b->data && card_find(b->data, b->len, &at, &n)) {
		buf_append(&out, b->data + done, at - done);
		put_masked(b->data + at, n, &out);
		done = at += n;
	}
	if (!done)
		return;
	buf_append(&out, b->data + done, b->len - done);
	secret_free_buf(b);
	*b = out;
}
