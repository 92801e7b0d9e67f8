#include "common/io/mail_dialogue.h"

#include <ctype.h>
#include <string.h>
#include <strings.h>

#include "common/base/crypto.h"
#include "common/base/json.h"
#include "common/base/mem.h"
#include "common/base/secret.h"
#include "common/io/mail_login.h"
#include "common/io/mail_reply.h"

#define HIDDEN "***"
#define SAID_BYTES 512   /* of a line; what is longer is a login, and hidden */
#define HEARD_BYTES 1000 /* of a line; three times as much where its bytes are no UTF-8 */

void mail_dialogue_clear(struct mail_dialogue *d)
{
	buf_clear(&d->lines);
	secret_free_buf(&d->heard);
	*d = (struct mail_dialogue){ 0 };
}

static bool has_room(const struct mail_dialogue *d)
{
	return d->n < MAIL_DIALOGUE_LINES_MAX;
}

static void put(struct mail_dialogue *d, char who, const struct buf *text)
{
	if (!has_room(d))
		return;
	buf_printf(&d->lines, "%c: ", who);
	buf_append(&d->lines, buf_str(text), text->len);
	buf_putc(&d->lines, '\n');
	d->n++;
}

static bool begins(const char *s, size_t n, const char *word)
{
	size_t len = strlen(word);

	return n >= len && strncasecmp(s, word, len) == 0 &&
	       (n == len || s[len] == ' ' || word[len - 1] == ':');
}

/* ---- ours ---- */

/* How long it is changes with each word of the message, and tells nobody anything. */
static void show_envelope(const char *s, size_t n, struct buf *out)
{
	const char *size = memmem(s, n, " SIZE=", 6);

	mail_reply_mask(s, size ? (size_t)(size - s) : n, out);
	if (size)
		buf_puts(out, " SIZE=" HIDDEN);
}

/* "AUTH PLAIN", and not what follows. */
static void show_login(const char *s, size_t n, struct buf *out)
{
	size_t word = n > 5 ? 5 : n;

	while (word < n && s[word] != ' ')
		word++;
	buf_append(out, s, word);
	if (word < n)
		buf_puts(out, " " HIDDEN);
}

static void show(const char *s, size_t n, struct buf *out)
{
	static const char *const plain[] = { "STARTTLS", "DATA", "QUIT", ".", MAIL_SAID_MESSAGE };

	for (size_t i = 0; i < ARRAY_LEN(plain); i++)
		if (n == strlen(plain[i]) && strncasecmp(s, plain[i], n) == 0) {
			buf_puts(out, plain[i]);
			return;
		}
	if (begins(s, n, "MAIL FROM:") || begins(s, n, "RCPT TO:"))
		show_envelope(s, n, out);
	else if (begins(s, n, "AUTH"))
		show_login(s, n, out);
	else if (begins(s, n, "EHLO") || begins(s, n, "HELO"))
		buf_printf(out, "%.4s " HIDDEN, s);
	else
		buf_puts(out, HIDDEN);
}

void mail_dialogue_show(const char *line, size_t n, struct buf *out)
{
	char clean[SAID_BYTES];

	n = n < sizeof(clean) ? n : sizeof(clean);
	for (size_t i = 0; i < n; i++) {
		if (line[i] == '\r' || line[i] == '\n')
			n = i;
		else
			clean[i] = line[i] >= ' ' && line[i] < 0x7f ? line[i] : '?';
	}
	show(clean, n, out);
	secret_zero(clean, sizeof(clean));
}

void mail_dialogue_said(struct mail_dialogue *d, const char *line, size_t n)
{
	struct buf text = BUF_INIT;

	mail_dialogue_show(line, n, &text);
	put(d, 'C', &text);
	d->greets = begins(buf_str(&text), text.len, "EHLO") ||
		    begins(buf_str(&text), text.len, "HELO");
	buf_clear(&text);
}

/* ---- the server's ---- */

/* A challenge may hold the user's name, or what a login is made of; the reason for a refusal is JSON. */
static void show_challenge(const char *s, struct buf *out)
{
	struct buf reason = BUF_INIT, clean = BUF_INIT;

	buf_puts(out, "334 ");
	mail_login_reason(s, &reason);
	if (reason.len && reason.data[0] == '{') {
		secret_redact(&reason);
		mail_reply_mask(reason.data, reason.len, &clean);
		base64_encode(out, clean.data, clean.len);
	} else if (strlen(s) > 4) {
		buf_puts(out, HIDDEN);
	}
	secret_free_buf(&reason);
	buf_clear(&clean);
}

/* "250-mail.example.com Hello our.host [our address]": its first word. */
static void show_greeting(const char *s, size_t n, struct buf *out)
{
	size_t word = n > 4 ? 4 : n;

	while (word < n && s[word] != ' ')
		word++;
	mail_reply_mask(s, word, out);
	if (word < n)
		buf_puts(out, " " HIDDEN);
}

static void end_line(struct mail_dialogue *d)
{
	struct buf line = BUF_INIT, text = BUF_INIT;

	utf8_append_clean(&line, buf_str(&d->heard), d->heard.len);
	for (size_t i = 0; i < line.len; i++)
		if ((unsigned char)line.data[i] < ' ' || line.data[i] == 0x7f)
			line.data[i] = ' ';
	secret_redact(&line);
	if (strncmp(buf_str(&line), "334", 3) == 0)
		show_challenge(line.data, &text);
	else if (d->greets)
		show_greeting(buf_str(&line), line.len, &text);
	else
		mail_reply_mask(buf_str(&line), line.len, &text);
	d->greets = false;
	put(d, 'S', &text);
	secret_free_buf(&line);
	buf_clear(&text);
	buf_reset(&d->heard);
}

void mail_dialogue_heard(struct mail_dialogue *d, const char *s, size_t n)
{
	for (size_t i = 0; i < n && has_room(d); i++) {
		if (s[i] == '\n')
			end_line(d);
		else if (s[i] != '\r' && d->heard.len < HEARD_BYTES)
			buf_putc(&d->heard, s[i]);
	}
}

/* ---- read again ---- */

bool mail_dialogue_add(struct mail_dialogue *d, const char *line)
{
	size_t n = strlen(line);

	if ((line[0] != 'C' && line[0] != 'S') || n < 3 || strncmp(line + 1, ": ", 2) != 0 ||
	    n > MAIL_DIALOGUE_LINE_BYTES || !has_room(d))
		return false;
	for (size_t i = 0; i < n; i++)
		if (iscntrl((unsigned char)line[i]))
			return false;
	buf_append(&d->lines, line, n);
	buf_putc(&d->lines, '\n');
	d->n++;
	return true;
}
