#include "drivers/kit/message.h"

#include <ctype.h>
#include <errno.h>
#include <stdbool.h>
#include <string.h>

#define EMAIL_MAX 254
#define LOCAL_MAX 64
#define LABEL_MAX 63
#define TOKEN_MAX 4096

/* ---- texts ---- */

/* A text on its way. */
struct filling {
	const char *place, *text;
	enum message_escape how;
	const cJSON *values;
	struct buf *out;
	struct err *err;
};

/* Where p is, as people count. */
static int wrong(const struct filling *f, const char *p, const char *name, const char *what)
{
	int line = 1, column = 1;

	for (const char *s = f->text; s < p; s++) {
		if (*s == '\n') {
			line++;
			column = 1;
		} else if (((unsigned char)*s & 0xc0) != 0x80) {
			column++;
		}
	}
	return err_set(f->err, -EINVAL, ERR_BAD_JOB, "template", "%s, line %d, column %d: %s%s%s%s",
		       f->place, line, column, name ? "{" : "", name ? name : "", name ? "} " : "",
		       what);
}

static bool is_name_char(char c)
{
	return isalnum((unsigned char)c) || c == '_' || c == '.';
}

static bool controls(unsigned char c)
{
	return c < 0x20 || c == 0x7f;
}

static const char *entity(enum message_escape how, char c)
{
	if (how != MESSAGE_HTML && how != MESSAGE_MRKDWN)
		return NULL;
	switch (c) {
	case '&':
		return "&amp;";
	case '<':
		return "&lt;";
	case '>':
		return "&gt;";
	case '"':
		return how == MESSAGE_HTML ? "&quot;" : NULL;
	case '\'':
		return how == MESSAGE_HTML ? "&#39;" : NULL;
	default:
		return NULL;
	}
}

static void put_value(const struct filling *f, const char *s)
{
	for (; *s; s++) {
		const char *as = entity(f->how, *s);

		if (as)
			buf_puts(f->out, as);
		else if (!controls((unsigned char)*s))
			buf_putc(f->out, *s);
		else if (f->how == MESSAGE_LINE)
			buf_putc(f->out, ' ');
		else if (*s == '\n' || *s == '\t')
			buf_putc(f->out, *s);
	}
}

static bool is_no_path(const char *s, size_t n)
{
	for (size_t i = 0; i < n; i++)
		if (s[i] == '.' && (i == 0 || i + 1 == n || s[i + 1] == '.'))
			return true;
	return false;
}

/* {name}, at p; *p moves behind it. */
static int fill_name(const struct filling *f, const char **p)
{
	char name[MESSAGE_NAME_MAX];
	struct buf text = BUF_INIT;
	const cJSON *v;
	size_t n = 0;
	int rc = 0;

	while (is_name_char((*p)[1 + n]))
		n++;
	if (n == 0 || n >= sizeof(name) || (*p)[1 + n] != '}' || is_no_path(*p + 1, n))
		return wrong(
			f, *p, NULL,
			"a brace begins no name here: write {name} for a value, {{ for a brace");
	memcpy(name, *p + 1, n);
	name[n] = '\0';
	if (f->values) {
		v = json_path(f->values, name);
		if (!v || cJSON_IsNull(v))
			rc = wrong(f, *p, name, "has no value");
		else if (!json_scalar_text(v, &text))
			rc = wrong(f, *p, name, "is no text and no number");
		else
			put_value(f, buf_str(&text));
	}
	buf_clear(&text);
	*p += n + 2;
	return rc;
}

int message_fill(const char *place, const char *text, enum message_escape how, size_t max_bytes,
		 const cJSON *values, struct buf *out, struct err *err)
{
	struct filling f = { place, text, how, values, out, err };
	size_t before = out->len;
	int rc = 0;

	for (const char *p = text; *p && rc == 0;) {
		if ((*p == '{' || *p == '}') && p[1] == *p) {
			buf_putc(out, *p);
			p += 2;
		} else if (*p == '{') {
			rc = fill_name(&f, &p);
		} else if (*p == '}') {
			rc = wrong(&f, p, NULL, "a brace that closes nothing: }} is one");
		} else if (how == MESSAGE_LINE && controls((unsigned char)*p)) {
			rc = wrong(&f, p, NULL, "one line is expected: no line break, no tab");
		} else {
			buf_putc(out, *p++);
		}
		if (rc == 0 && out->len - before > max_bytes)
			rc = err_set(err, -EINVAL, ERR_BAD_JOB, "template",
				     "%s is too long: at most %zu bytes, filled", place, max_bytes);
	}
	return rc;
}

/* ---- addresses ---- */

static bool is_local_char(char c)
{
	return isalnum((unsigned char)c) || (c && strchr("!#$%&'*+-/=?^_`{|}~.", c));
}

static const char *domain_problem(const char *s)
{
	bool dotted = false;

	while (*s) {
		size_t n = strcspn(s, ".");

		if (n == 0 || n > LABEL_MAX || s[0] == '-' || s[n - 1] == '-')
			return "has a domain that is none";
		for (size_t i = 0; i < n; i++)
			if (!isalnum((unsigned char)s[i]) && s[i] != '-')
				return "has a domain that is none (other letters are written in punycode, xn--…)";
		dotted |= s[n] == '.';
		s += n + (s[n] == '.');
		if (!*s && s[-1] == '.')
			return "ends in a dot";
	}
	return dotted ? NULL : "has no dot in its domain";
}

const char *message_email_problem(const char *s)
{
	const char *at = strrchr(s, '@');
	size_t n = at ? (size_t)(at - s) : 0;

	if (strlen(s) > EMAIL_MAX)
		return "is too long: at most 254 bytes";
	for (const char *p = s; *p; p++)
		if (controls((unsigned char)*p))
			return "holds a control character";
	if (!at)
		return "has no @";
	if (n == 0 || n > LOCAL_MAX)
		return "needs 1 to 64 bytes before the @";
	for (size_t i = 0; i < n; i++)
		if (!is_local_char(s[i]))
			return "has a character before the @ that none has";
	if (s[0] == '.' || at[-1] == '.' || strstr(s, ".."))
		return "has a dot where none may be";
	return at[1] ? domain_problem(at + 1) : "has no domain";
}

const char *message_phone_problem(const char *s)
{
	size_t n = strlen(s);

	if (s[0] != '+')
		return "must begin with + and the country's code, as +351912345678";
	if (strspn(s + 1, "0123456789") != n - 1)
		return "must be + and digits alone, as +351912345678";
	if (n < 8 || n > 16 || s[1] == '0')
		return "is no number of E.164: + and 7 to 15 digits, the first not 0";
	return NULL;
}

const char *message_token_problem(const char *s)
{
	if (!*s || strlen(s) > TOKEN_MAX)
		return "must be 1 to 4096 bytes";
	for (; *s; s++)
		if (*s <= ' ' || *s > '~')
			return "holds a character that no token has";
	return NULL;
}
