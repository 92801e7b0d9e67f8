/* Reading.  Everything is checked here, before cJSON sees a byte: it recurses, takes 01 and 1. for
 * numbers and reports errors by a global.  What passes this scan, cJSON parses. */
#include "common/base/json.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/mem.h"

#define NUMBER_MAX_CHARS 63 /* cJSON's own buffer */
#define ROUNDING_BYTES 16   /* of an allocation, its head included */

/* An integer that a double cannot hold: its digits are kept beside the value (see
 * numbers_restore). */
struct big_number {
	size_t ordinal, at, len;
};

struct scan {
	const char *text, *p, *end;
	uint64_t objects; /* bit i: level i is an object, not an array */
	int depth;
	size_t numbers; /* seen so far */
	size_t tree;    /* bytes that the tree of it takes */
	struct buf big; /* of struct big_number */
	struct json_error *err;
};

static void error_place(struct json_error *err, const char *text, const char *at)
{
	err->line = 1;
	err->column = 1;
	for (const char *p = text; p < at; p++) {
		if (*p == '\n') {
			err->line++;
			err->column = 1;
		} else if (((unsigned char)*p & 0xc0) != 0x80) {
			err->column++;
		}
	}
}

static int __attribute__((format(printf, 4, 5)))
scan_fail(struct scan *s, const char *at, int rc, const char *fmt, ...)
{
	va_list ap;

	if (s->err) {
		error_place(s->err, s->text, at);
		va_start(ap, fmt);
		vsnprintf(s->err->text, sizeof(s->err->text), fmt, ap);
		va_end(ap);
	}
	return rc;
}

static void skip_space(struct scan *s)
{
	while (s->p < s->end && (*s->p == ' ' || *s->p == '\n' || *s->p == '\r' || *s->p == '\t'))
		s->p++;
}

/* "expected X, found Y" */
static int scan_expected(struct scan *s, const char *what)
{
	if (s->p >= s->end)
		return scan_fail(s, s->p, -EINVAL, "expected %s, but the text ends here", what);
	if ((unsigned char)*s->p < 0x20 || (unsigned char)*s->p >= 0x7f)
		return scan_fail(s, s->p, -EINVAL, "expected %s, found byte 0x%02x", what,
				 (unsigned char)*s->p);
	return scan_fail(s, s->p, -EINVAL, "expected %s, found '%c'", what, *s->p);
}

/* The four digits of \uXXXX at p, or -1. */
static int hex4(const char *p, const char *end)
{
	int v = 0;

	if (end - p < 4)
		return -1;
	for (int i = 0; i < 4; i++) {
		char c = p[i];
		int d = c >= '0' && c <= '9'   ? c - '0'
			: c >= 'a' && c <= 'f' ? c - 'a' + 10
			: c >= 'A' && c <= 'F' ? c - 'A' + 10
					       : -1;

		if (d < 0)
			return -1;
		v = v * 16 + d;
	}
	return v;
}

static int scan_unicode(struct scan *s)
{
	const char *at = s->p;
	int v = hex4(at + 2, s->end), low;

	if (v < 0)
		return scan_fail(s, at, -EINVAL, "\\u needs four hexadecimal digits");
	if (v == 0)
		return scan_fail(s, at, -EINVAL, "\\u0000 (NUL) cannot be stored as text");
	s->p = at + 6;
	if (v < 0xd800 || v > 0xdfff)
		return 0;
	low = v < 0xdc00 && s->end - s->p >= 6 && s->p[0] == '\\' && s->p[1] == 'u'
		      ? hex4(s->p + 2, s->end)
		      : -1;
	if (low < 0xdc00 || low > 0xdfff)
		return scan_fail(s, at, -EINVAL, "half of a surrogate pair");
	s->p += 6;
	return 0;
}

static int scan_escape(struct scan *s)
{
	if (s->end - s->p >= 2 && s->p[1] == 'u')
		return scan_unicode(s);
	if (s->end - s->p >= 2 && s->p[1] && strchr("\"\\/bfnrt", s->p[1])) {
		s->p += 2;
		return 0;
	}
	return scan_fail(s, s->p, -EINVAL, "unknown escape in a string");
}

/* At the opening quote. */
static int scan_string(struct scan *s)
{
	const char *start = s->p++;
	int rc;

	while (s->p < s->end) {
		unsigned char c = (unsigned char)*s->p;

		if (c == '"') {
			s->p++;
			s->tree += (size_t)(s->p - start) + ROUNDING_BYTES;
			return 0;
		}
		if (c == '\\') {
			rc = scan_escape(s);
			if (rc < 0)
				return rc;
		} else if (c == 0) {
			return scan_fail(s, s->p, -EINVAL, "NUL byte in a string");
		} else if (c < 0x20) {
			return scan_fail(s, s->p, -EINVAL,
					 "control character 0x%02x in a string (must be escaped)",
					 c);
		} else {
			s->p++;
		}
	}
	return scan_fail(s, start, -EINVAL, "the string that begins here has no end");
}

static bool digits(struct scan *s)
{
	const char *start = s->p;

	while (s->p < s->end && *s->p >= '0' && *s->p <= '9')
		s->p++;
	return s->p > start;
}

static void number_remember(struct scan *s, const char *start)
{
	struct big_number n = { s->numbers, (size_t)(start - s->text), (size_t)(s->p - start) };
	size_t len = n.len - (*start == '-');

	if (len > 16 || (len == 16 && memcmp(s->p - 16, "9007199254740992", 16) > 0))
		buf_append(&s->big, &n, sizeof(n));
}

static int number_check(struct scan *s, const char *start, bool exponent)
{
	char copy[NUMBER_MAX_CHARS + 1];
	size_t len = (size_t)(s->p - start);
	double d;

	if (len > NUMBER_MAX_CHARS)
		return scan_fail(s, start, -EINVAL, "number of more than %d characters",
				 NUMBER_MAX_CHARS);
	if (!exponent)
		return 0;
	memcpy(copy, start, len);
	copy[len] = '\0';
	d = strtod(copy, NULL);
	if (__builtin_isinf(d))
		return scan_fail(s, start, -EINVAL, "number too large");
	return 0;
}

static int scan_number(struct scan *s)
{
	const char *start = s->p;
	bool integer = true, exponent = false;

	if (*s->p == '-')
		s->p++;
	if (!digits(s))
		return scan_expected(s, "a digit");
	if (s->p[-1] != '0' || s->p - start > 1 + (*start == '-')) {
		if (start[*start == '-'] == '0')
			return scan_fail(s, start, -EINVAL, "a number cannot begin with 0");
	}
	if (s->p < s->end && *s->p == '.') {
		integer = false;
		s->p++;
		if (!digits(s))
			return scan_expected(s, "a digit");
	}
	if (s->p < s->end && (*s->p == 'e' || *s->p == 'E')) {
		integer = false;
		exponent = true;
		s->p++;
		if (s->p < s->end && (*s->p == '+' || *s->p == '-'))
			s->p++;
		if (!digits(s))
			return scan_expected(s, "a digit");
	}
	if (integer)
		number_remember(s, start);
	s->numbers++;
	return number_check(s, start, exponent);
}

static bool scan_word(struct scan *s, const char *word)
{
	size_t n = strlen(word);

	if ((size_t)(s->end - s->p) < n || memcmp(s->p, word, n) != 0)
		return false;
	s->p += n;
	return true;
}

static int scan_open(struct scan *s)
{
	bool object = *s->p == '{';

	if (s->depth == JSON_DEPTH_MAX)
		return scan_fail(s, s->p, -ELOOP, "nested deeper than %d", JSON_DEPTH_MAX);
	s->objects &= ~(1ull << s->depth);
	s->objects |= (uint64_t)object << s->depth;
	s->depth++;
	s->p++;
	return 0;
}

static bool in_object(const struct scan *s)
{
	return s->objects >> (s->depth - 1) & 1;
}

/* A name and its colon. */
static int scan_key(struct scan *s, const char *what)
{
	int rc;

	skip_space(s);
	if (s->p >= s->end || *s->p != '"')
		return scan_expected(s, what);
	rc = scan_string(s);
	if (rc < 0)
		return rc;
	skip_space(s);
	if (s->p >= s->end || *s->p != ':')
		return scan_expected(s, "':'");
	s->p++;
	return 0;
}

/* 1: a value must follow (something was opened that is not empty); 0: the value is complete. */
static int scan_value(struct scan *s)
{
	char c, close;
	int rc;

	skip_space(s);
	s->tree += sizeof(cJSON) + ROUNDING_BYTES;
	c = s->p < s->end ? *s->p : '\0';
	if (c == '"')
		return scan_string(s);
	if (c == '-' || (c >= '0' && c <= '9'))
		return scan_number(s);
	if (c != '{' && c != '[')
		return scan_word(s, "true") || scan_word(s, "false") || scan_word(s, "null")
			       ? 0
			       : scan_expected(s, "a value");
	rc = scan_open(s);
	if (rc < 0)
		return rc;
	skip_space(s);
	close = c == '{' ? '}' : ']';
	if (s->p < s->end && *s->p == close) {
		s->p++;
		s->depth--;
		return 0;
	}
	if (c == '[')
		return 1;
	rc = scan_key(s, "a name in quotes or '}'");
	return rc < 0 ? rc : 1;
}

/* After a value: 1 if another one follows, 0 when all is closed. */
static int scan_next(struct scan *s)
{
	while (s->depth > 0) {
		bool object = in_object(s);

		skip_space(s);
		if (s->p < s->end && *s->p == ',') {
			int rc = 0;

			s->p++;
			if (object)
				rc = scan_key(s, "a name in quotes");
			return rc < 0 ? rc : 1;
		}
		if (s->p >= s->end || *s->p != (object ? '}' : ']'))
			return scan_expected(s, object ? "',' or '}'" : "',' or ']'");
		s->p++;
		s->depth--;
	}
	return 0;
}

static int scan_document(struct scan *s)
{
	int rc;

	do {
		do
			rc = scan_value(s);
		while (rc == 1);
		if (rc == 0)
			rc = scan_next(s);
	} while (rc == 1);
	if (rc < 0)
		return rc;
	skip_space(s);
	if (s->p < s->end)
		return scan_fail(s, s->p, -EINVAL, "something follows the end of the JSON value");
	return 0;
}

/* Walks the tree in the order of the text, counting numbers, and hangs the digits of big integers
 * into valuestring, which cJSON leaves NULL for numbers and frees with the node: ids of 64 bits
 * survive. */
static const struct big_number *numbers_restore(cJSON *v, const char *text, size_t *count,
						const struct big_number *big,
						const struct big_number *end)
{
	for (; v && big < end; v = v->next) {
		if (cJSON_IsNumber(v)) {
			if (big->ordinal == (*count)++) {
				v->valuestring = mem_strndup(text + big->at, big->len);
				big++;
			}
		} else if (v->child) {
			big = numbers_restore(v->child, text, count, big, end);
		}
	}
	return big;
}

static int build(struct scan *s, cJSON **out)
{
	const struct big_number *big = (const void *)s->big.data;
	cJSON *tree = cJSON_ParseWithLengthOpts(s->text, (size_t)(s->end - s->text), NULL, false);
	size_t count = 0;

	if (!tree)
		return scan_fail(s, s->text, -EINVAL, "cannot be parsed");
	if (s->big.len)
		numbers_restore(tree, s->text, &count, big, big + s->big.len / sizeof(*big));
	*out = tree;
	return 0;
}

int json_parse(const char *text, size_t len, size_t max_bytes, cJSON **out, struct json_error *err)
{
	size_t tree_bytes;

	return json_parse_within(text, len, max_bytes, SIZE_MAX, &tree_bytes, out, err);
}

int json_parse_within(const char *text, size_t len, size_t max_bytes, size_t max_tree,
		      size_t *tree_bytes, cJSON **out, struct json_error *err)
{
	struct scan s = { .text = text, .p = text, .end = text + len, .err = err };
	size_t valid;
	int rc;

	if (err)
		*err = (struct json_error){ 0 };
	if (len > max_bytes) {
		if (err)
			snprintf(err->text, sizeof(err->text), "%zu bytes, at most %zu are taken",
				 len, max_bytes);
		return -E2BIG;
	}
	valid = utf8_valid_prefix(text, len);
	if (valid < len)
		return scan_fail(&s, text + valid, -EILSEQ, "not UTF-8: byte 0x%02x",
				 (unsigned char)text[valid]);
	if (len >= 3 && memcmp(text, "\xef\xbb\xbf", 3) == 0) /* a byte order mark says nothing */
		s.text = s.p = text + 3;
	rc = scan_document(&s);
	if (rc == 0)
		*tree_bytes = s.tree;
	if (rc == 0 && s.tree > max_tree)
		rc = scan_fail(&s, s.text, -ENOMEM, "%zu bytes as a tree, at most %zu are taken",
			       s.tree, max_tree);
	if (rc == 0)
		rc = build(&s, out);
	buf_clear(&s.big);
	return rc;
}
