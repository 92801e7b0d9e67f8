#include "drivers/kit/mail.h"

#include <ctype.h>
#include <errno.h>
#include <string.h>
#include <time.h>

#include "common/base/crypto.h"
#include "common/base/mem.h"
#include "drivers/kit/message.h"

#define LINE_BYTES 76      /* of base64, and of a header with its folds */
#define PLAIN_LINE_MAX 900 /* a text with longer lines goes as base64: a server may cut after 998 */
#define WORD_BYTES 39 /* that an encoded word of 75 holds; less where a character would be cut */
#define NAME_BYTES 32 /* of the key, in the message's name and the border between its parts */

static const struct member {
	const char *name;
	bool required;
} members[] = { { "from", true }, { "to", true },         { "subject", true },
		{ "text", true }, { "from_name", false }, { "reply_to", false },
		{ "html", false } };

bool mail_knows(const char *member, bool *required)
{
	for (size_t i = 0; i < ARRAY_LEN(members); i++)
		if (strcmp(members[i].name, member) == 0) {
			*required = members[i].required;
			return true;
		}
	return false;
}

/* ---- headers ---- */

static bool is_plain(const char *s)
{
	for (; *s; s++)
		if ((unsigned char)*s < ' ' || (unsigned char)*s > '~')
			return false;
	return true;
}

static void put_encoded(const char *s, struct buf *out)
{
	size_t left = strlen(s);

	while (left > 0) {
		size_t n = left < WORD_BYTES ? left : WORD_BYTES;

		while (n > 1 && n < left && ((unsigned char)s[n] & 0xc0) == 0x80)
			n--; /* a character stands in one word */
		buf_puts(out, "=?UTF-8?B?");
		base64_encode(out, s, n);
		buf_puts(out, "?=");
		s += n;
		left -= n;
		if (left > 0)
			buf_puts(out, "\r\n ");
	}
}

/* Short and plain as it is; what might be taken for an encoded word is none. */
static void put_text(const char *s, struct buf *out)
{
	if (is_plain(s) && strlen(s) < LINE_BYTES && !strstr(s, "=?"))
		buf_puts(out, s);
	else
		put_encoded(s, out);
}

static void put_name(const char *s, struct buf *out)
{
	if (!is_plain(s) || strlen(s) >= LINE_BYTES / 2 || strstr(s, "=?")) {
		put_encoded(s, out);
		return;
	}
	buf_putc(out, '"');
	for (; *s; s++) {
		if (*s == '"' || *s == '\\')
			buf_putc(out, '\\');
		buf_putc(out, *s);
	}
	buf_putc(out, '"');
}

/* The address stands in a line of its own where the name has filled the last one. */
static void put_from(const char *name, const char *from, struct buf *out)
{
	size_t line;

	buf_puts(out, "From: ");
	if (name && *name) {
		put_name(name, out);
		for (line = out->len; line > 0 && out->data[line - 1] != '\n';)
			line--;
		buf_puts(out, out->len - line + strlen(from) + 3 > LINE_BYTES ? "\r\n " : " ");
	}
	buf_printf(out, "<%s>\r\n", from);
}

/* By no locale. */
static void put_date(int64_t at_us, struct buf *out)
{
	static const char *const days[] = { "Sun", "Mon", "Tue", "Wed", "Thu", "Fri", "Sat" };
	static const char *const months[] = { "Jan", "Feb", "Mar", "Apr", "May", "Jun",
					      "Jul", "Aug", "Sep", "Oct", "Nov", "Dec" };
	time_t s = (time_t)(at_us / 1000000);
	struct tm tm;

	if (!gmtime_r(&s, &tm))
		return;
	buf_printf(out, "Date: %s, %02d %s %04d %02d:%02d:%02d +0000\r\n", days[tm.tm_wday],
		   tm.tm_mday, months[tm.tm_mon], tm.tm_year + 1900, tm.tm_hour, tm.tm_min,
		   tm.tm_sec);
}

/* ---- bodies ---- */

static bool fits_as_it_is(const char *s)
{
	size_t line = 0;

	for (; *s; s++) {
		line = *s == '\n' ? 0 : line + 1;
		if (line > PLAIN_LINE_MAX || (unsigned char)*s > '~' ||
		    ((unsigned char)*s < ' ' && !strchr("\t\r\n", *s)))
			return false;
	}
	return true;
}

/* A line ends in CRLF, whichever way it ended. */
static void put_lines(const char *s, struct buf *out)
{
	for (; *s; s++) {
		if (*s == '\r' && s[1] == '\n')
			continue;
		if (*s == '\n' || *s == '\r')
			buf_puts(out, "\r\n");
		else
			buf_putc(out, *s);
	}
	if (out->len < 2 || out->data[out->len - 1] != '\n')
		buf_puts(out, "\r\n");
}

static void put_base64(const struct buf *text, struct buf *out)
{
	size_t step = LINE_BYTES / 4 * 3;

	for (size_t at = 0; at < text->len; at += step) {
		base64_encode(out, text->data + at, text->len - at < step ? text->len - at : step);
		buf_puts(out, "\r\n");
	}
}

static void put_part(const char *type, const char *s, struct buf *out)
{
	struct buf text = BUF_INIT;
	bool plain = fits_as_it_is(s);

	put_lines(s, &text);
	buf_printf(out,
		   "Content-Type: text/%s; charset=utf-8\r\nContent-Transfer-Encoding: %s\r\n\r\n",
		   type, plain ? "7bit" : "base64");
	if (plain)
		buf_append(out, text.data, text.len);
	else
		put_base64(&text, out);
	buf_clear(&text);
}

/* The border holds a hash that no text knows. */
static void put_bodies(const char *text, const char *html, const char *key, struct buf *out)
{
	if (!html) {
		put_part("plain", text, out);
		return;
	}
	buf_printf(out,
		   "Content-Type: multipart/alternative; boundary=\"=_%.*s\"\r\n\r\n--=_%.*s\r\n",
		   NAME_BYTES, key, NAME_BYTES, key);
	put_part("plain", text, out);
	buf_printf(out, "--=_%.*s\r\n", NAME_BYTES, key);
	put_part("html", html, out);
	buf_printf(out, "--=_%.*s--\r\n", NAME_BYTES, key);
}

/* ---- all of it ---- */

static int wrong(struct err *err, const char *name, const char *what)
{
	return err_set(err, -EINVAL, ERR_BAD_JOB, "mail", "the mail's %s %s", name, what);
}

/* One line: whoever gave it may have hoped for more. */
static const char *line_problem(const char *s)
{
	for (; *s; s++)
		if ((unsigned char)*s < ' ' || *s == 0x7f)
			return "holds a line break or another character that controls";
	return NULL;
}

static int look_at(const cJSON *v, const char *name, bool required, struct err *err)
{
	const cJSON *c = cJSON_GetObjectItemCaseSensitive(v, name);
	bool address = !strcmp(name, "from") || !strcmp(name, "to") || !strcmp(name, "reply_to");
	const char *problem = NULL;

	if (!c || cJSON_IsNull(c))
		return required ? wrong(err, name, "is missing") : 0;
	if (!cJSON_IsString(c))
		return wrong(err, name, "is no text");
	if (address)
		problem = message_email_problem(c->valuestring);
	else if (strcmp(name, "text") != 0 && strcmp(name, "html") != 0)
		problem = line_problem(c->valuestring);
	return problem ? wrong(err, name, problem) : 0;
}

int mail_write(const cJSON *v, const char *key, int64_t at_us, struct buf *out, const char **from,
	       const char **to, struct err *err)
{
	const char *name = json_str(v, "from_name"), *reply_to = json_str(v, "reply_to");
	const char *domain;
	int rc = 0;

	for (size_t i = 0; i < ARRAY_LEN(members) && rc == 0; i++)
		rc = look_at(v, members[i].name, members[i].required, err);
	if (rc < 0)
		return rc;
	*from = json_str(v, "from");
	*to = json_str(v, "to");
	domain = strrchr(*from, '@') + 1;
	put_date(at_us, out);
	buf_printf(out, "Message-ID: <%.*s@%s>\r\n", NAME_BYTES, key, domain);
	put_from(name, *from, out);
	buf_printf(out, "To: <%s>\r\n", *to);
	if (reply_to)
		buf_printf(out, "Reply-To: <%s>\r\n", reply_to);
	buf_puts(out, "Subject: ");
	put_text(json_str(v, "subject"), out);
	buf_puts(out, "\r\nAuto-Submitted: auto-generated\r\nMIME-Version: 1.0\r\n");
	put_bodies(json_str(v, "text"), json_str(v, "html"), key, out);
	return 0;
}
