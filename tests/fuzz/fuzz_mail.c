/* What a server of mail replies, whole or in pieces, comes to the same, and no address of it is told; a mail whose texts anybody may
 * choose has the headers that it has, each once, and is of seven bits in lines that any server takes; and a dialogue that somebody wrote down comes
 * to an answer, a failure or a problem, and is taken only from its end on. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/crypto.h"
#include "common/base/mem.h"
#include "common/io/mail_login.h"
#include "common/io/mail_replay.h"
#include "common/io/mail_reply.h"
#include "drivers/kit/mail.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void need(bool holds)
{
	if (!holds)
		abort();
}

static void replies(const char *s, size_t n)
{
	struct mail_reply whole = { 0 }, pieces = { 0 };
	struct buf told = BUF_INIT;
	int rc = mail_reply_feed(&whole, s, n), again = 0;

	for (size_t i = 0; i < n && again == 0; i++)
		again = mail_reply_feed(&pieces, s + i, 1);
	need(rc == again && (rc == 0 || rc == -EBADMSG));
	need(whole.code == pieces.code && whole.ended == pieces.ended);
	need(whole.code == 0 || (whole.code >= 200 && whole.code <= 599));
	need(whole.text.len <= MAIL_REPLY_TEXT_MAX);
	mail_reply_tell(&whole, &told);
	need(!memchr(buf_str(&told), '@', told.len));
	buf_clear(&told);
	mail_reply_clear(&whole);
	mail_reply_clear(&pieces);
}

/* Whatever a server offers, and whyever it refuses; and whoever logs in says one line. */
static void logins(const char *s)
{
	static const char ehlo[] = "250-x\n250 AUTH XOAUTH2";
	const struct mail_login *l = mail_login_offered(s);
	struct buf out = BUF_INIT, text = BUF_INIT;

	need(!l || strstr(s, "AUTH") || strcasestr(s, "auth"));
	mail_login_reason(s, &out);
	need(out.len <= MAIL_REASON_MAX);
	for (size_t i = 0; i < out.len; i++)
		need(out.data[i] >= ' ' && out.data[i] < 0x7f);
	buf_reset(&out);
	if (mail_login_line(l ? l : mail_login_offered(ehlo), s, s, "localhost", 587, &out) == 0) {
		need(strcspn(out.data, "\r\n") == out.len - 2);
		need(base64_decode(out.data, out.len - 2, &text) == 0);
		need(strstr(buf_str(&text), "\001auth=Bearer ") && text.data[text.len - 1] == 1);
	}
	buf_clear(&out);
	buf_clear(&text);
}

/* Of the head, in lines of their own. */
static int count(const char *mail, const char *line)
{
	const char *end = strstr(mail, "\r\n\r\n");
	int n = strncmp(mail, line + 2, strlen(line + 2)) == 0;

	for (const char *p = mail; (p = strstr(p, line)) && p < end; p++)
		n++;
	return n;
}

static void mail_is_sound(const char *mail, size_t len)
{
	size_t line = 0;

	need(strlen(mail) == len && strstr(mail, "\r\n\r\n"));
	for (size_t i = 0; i < len; i++) {
		unsigned char c = (unsigned char)mail[i];

		need(c < 0x80 && (c >= ' ' || c == '\t' || c == '\r' || c == '\n'));
		need((c == '\n') == (i > 0 && mail[i - 1] == '\r'));
		line = c == '\n' ? 0 : line + 1;
		need(line < 998);
	}
	need(count(mail, "\r\nTo: ") == 1 && count(mail, "\r\nSubject: ") == 1);
	need(count(mail, "\r\nBcc: ") == 0 && count(mail, "\r\nFrom: ") == 1);
}

static void mails(const char *s)
{
	cJSON *v = cJSON_CreateObject();
	struct buf out = BUF_INIT;
	const char *from, *to;
	struct err err = { 0 };
	int rc;

	cJSON_AddStringToObject(v, "from", "desk@example.com");
	cJSON_AddStringToObject(v, "to", "ann@example.com");
	cJSON_AddStringToObject(v, "from_name", strpbrk(s, "\r\n") ? "x" : s);
	cJSON_AddStringToObject(v, "subject", s);
	cJSON_AddStringToObject(v, "text", s);
	cJSON_AddStringToObject(v, "html", s);
	rc = mail_write(v, "0123456789abcdef0123456789abcdef", 0, &out, &from, &to, &err);
	need(rc == 0 || (rc == -EINVAL && *err.text));
	need(rc < 0 || !strpbrk(s, "\r\n"));
	if (rc == 0)
		mail_is_sound(buf_str(&out), out.len);
	buf_reset(&out);
	cJSON_ReplaceItemInObject(v, "subject", cJSON_CreateString("s"));
	cJSON_ReplaceItemInObject(v, "from_name", cJSON_CreateString("n"));
	need(mail_write(v, "0123456789abcdef0123456789abcdef", 0, &out, &from, &to, &err) == 0);
	mail_is_sound(buf_str(&out), out.len);
	cJSON_ReplaceItemInObject(v, "to", cJSON_CreateString(s));
	if (mail_write(v, "k", 0, &out, &from, &to, &err) == 0)
		need(!strpbrk(to, "<> \r\n"));
	buf_clear(&out);
	cJSON_Delete(v);
}

/* Whatever was said, what is written down can be read again, and tells no address. */
static void written_down(const char *s, size_t n)
{
	struct mail_dialogue d = { 0 }, again = { 0 };

	mail_dialogue_said(&d, s, n < 40 ? n : 40);
	mail_dialogue_heard(&d, s, n);
	mail_dialogue_said(&d, s, n);
	need(!memchr(buf_str(&d.lines), '@', d.lines.len));
	need(utf8_is_valid(d.lines.data, d.lines.len));
	for (const char *line = d.lines.data; *line; line += strcspn(line, "\n") + 1) {
		char *text = mem_strndup(line, strcspn(line, "\n"));

		need(mail_dialogue_add(&again, text));
		free(text);
	}
	need(again.lines.len == d.lines.len);
	mail_dialogue_clear(&d);
	mail_dialogue_clear(&again);
}

static bool has_end(const struct mail_dialogue *d)
{
	return strstr(buf_str(&d->lines), "\nC: .\n") != NULL;
}

static void replayed(const struct mail_dialogue *d, int how)
{
	static const char body[] = "Subject: x\r\n\r\n.\r\n";
	const struct http_mail mail = { .from = "desk@example.com",
					.to = "ann@example.com",
					.user = how & 1 ? "***" : NULL,
					.token = how & 1 ? "***" : NULL,
					.plain = how & 2 };
	const struct http_request q = {
		.url = "smtp://h/", .mail = &mail, .body = body, .body_len = strlen(body)
	};
	struct mail_replay r = { .dialogue = d, .failure = how & 4 ? "timeout" : NULL };
	struct http_response out;
	int rc;

	http_response_init(&out);
	rc = mail_replay(&r, &q, &out);
	need(rc == 0 || rc == -EBADMSG);
	need(r.line >= 0 && r.line <= d->n && (rc == 0) == (r.problem.len == 0));
	need(rc != 0 || (out.status ? out.mail && !out.failure : out.failure != NULL));
	need(rc != 0 || out.unsent || has_end(d));
	need(rc != 0 || out.status == 0 || out.status >= 400 || !out.unsent);
	buf_clear(&r.problem);
	http_response_clear(&out);
}

static void dialogues(const char *s)
{
	struct mail_dialogue d = { 0 };

	while (*s) {
		char *line = mem_strndup(s, strcspn(s, "\n"));

		(void)!mail_dialogue_add(&d, line);
		free(line);
		s += strcspn(s, "\n");
		s += *s == '\n';
	}
	for (int how = 0; how < 8; how++)
		replayed(&d, how);
	mail_dialogue_clear(&d);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	char *text = mem_strndup(size ? (const char *)data : "", size);

	replies((const char *)data, size);
	mails(text);
	logins(text);
	written_down((const char *)data, size);
	dialogues(text);
	free(text);
	return 0;
}
