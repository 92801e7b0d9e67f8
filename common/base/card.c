#include "common/base/card.h"

#include <ctype.h>
#include <string.h>

#define DIGITS_MIN 13
#define DIGITS_MAX 19
#define GROUPS_MAX 64
#define GAP_MAX 4 /* separators between two groups */

/* Digits in one piece. */
struct group {
	size_t at, len; /* bytes */
	int n;          /* digits, or stars */
};

static bool is_star_or_digit(char c)
{
	return (c >= '0' && c <= '9') || c == '*';
}

/* Bytes of a digit at p; 0: none.  Full-width digits are digits. */
static size_t digit_at(const char *p, size_t left, char *digit)
{
	if (is_star_or_digit(*p)) {
		*digit = *p;
		return 1;
	}
	if (left >= 3 && (unsigned char)p[0] == 0xef && (unsigned char)p[1] == 0xbc &&
	    (unsigned char)p[2] >= 0x90 && (unsigned char)p[2] <= 0x99) {
		*digit = (char)('0' + ((unsigned char)p[2] - 0x90));
		return 3;
	}
	return 0;
}

/* Bytes of a separator at p; 0: none.  Blanks of all widths and dashes count. */
static size_t gap_at(const char *p, size_t left)
{
	const unsigned char *u = (const unsigned char *)p;

	if (*p && strchr(" -._/\t\r\n", *p))
		return 1;
	if (*p == '\\' && left >= 2 && strchr("ntr/", p[1])) /* as JSON escapes them */
		return 2;
	if (left >= 2 && u[0] == 0xc2 && (u[1] == 0xa0 || u[1] == 0xad))
		return 2;
	if (left >= 3 && u[0] == 0xe2 && u[1] == 0x80 && (u[2] & 0xc0) == 0x80)
		return 3;
	if (left >= 3 && ((u[0] == 0xe3 && u[1] == 0x80 && u[2] == 0x80) ||
			  (u[0] == 0xef && u[1] == 0xbb && u[2] == 0xbf)))
		return 3;
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

static bool is_letter(char c)
{
	return isalpha((unsigned char)c);
}

/* In a word: a hash and an IBAN are no card. */
static bool is_in_word(const char *s, size_t len, const struct group *g)
{
	size_t from = g->at, to = g->at + g->len;
	bool other = false;

	if ((from == 0 || !is_letter(s[from - 1])) && (to >= len || !is_letter(s[to])))
		return false;
	while (from > 0 && isalnum((unsigned char)s[from - 1]))
		from--;
	while (to < len && isalnum((unsigned char)s[to]))
		to++;
	for (size_t i = from; i < to; i++)
		other = other || (is_letter(s[i]) && !isxdigit((unsigned char)s[i]));
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
		int groups, last;
		bool other, id;

		if (!digit_at(s + i, len - i, &d)) {
			i++;
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

void card_mask(struct buf *b)
{
	size_t at = 0, n;

	while (b->data && card_find(b->data, b->len, &at, &n)) {
		for (size_t i = at, gap; i < at + n; i += gap ? gap : 1) {
			gap = gap_at(b->data + i, at + n - i);
			if (!gap)
				b->data[i] = '*';
		}
		at += n;
	}
}
