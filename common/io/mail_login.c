#include "common/io/mail_login.h"

#include <errno.h>
#include <string.h>
#include <strings.h>

#include "common/base/crypto.h"
#include "common/base/mem.h"
#include "common/base/secret.h"

/* Both are answered in base64: an empty line, and the byte 1 (RFC 7628, 3.2.3). */
static const struct mail_login known[] = { { "XOAUTH2", "\r\n" }, { "OAUTHBEARER", "AQ==\r\n" } };

static const char *skip_code(const char *line)
{
	size_t n = strcspn(line, "\n");

	return line + (n < 4 ? n : 4);
}

static bool has_word(const char *s, size_t len, const char *word)
{
	while (len > 0) {
		size_t n = strcspn(s, " =\n");

		n = n < len ? n : len;
		if (n == strlen(word) && strncasecmp(s, word, n) == 0)
			return true;
		n += n < len;
		s += n;
		len -= n;
	}
	return false;
}

static bool offers(const char *ehlo, const char *mechanism)
{
	for (const char *line = ehlo; *line; line += strcspn(line, "\n"), line += *line == '\n') {
		const char *word = skip_code(line);

		if (strncasecmp(word, "AUTH", 4) == 0 && (word[4] == ' ' || word[4] == '=') &&
		    has_word(word + 5, strcspn(word + 5, "\n"), mechanism))
			return true;
	}
	return false;
}

const struct mail_login *mail_login_offered(const char *ehlo)
{
	for (size_t i = 0; i < ARRAY_LEN(known); i++)
		if (offers(ehlo, known[i].mechanism))
			return &known[i];
	return NULL;
}

static bool is_plain(const char *s, size_t most)
{
	size_t n = strlen(s);

	for (size_t i = 0; i < n; i++)
		if ((unsigned char)s[i] <= ' ' || (unsigned char)s[i] >= 0x7f)
			return false;
	return n > 0 && n <= most;
}

/* RFC 5801: a comma and an equals sign would end the name. */
static void put_gs2(const char *user, struct buf *out)
{
	buf_puts(out, "n,a=");
	for (; *user; user++) {
		if (*user == ',' || *user == '=')
			buf_printf(out, "=%02X", (unsigned)*user);
		else
			buf_putc(out, *user);
	}
	buf_putc(out, ',');
}

int mail_login_line(const struct mail_login *l, const char *user, const char *token,
		    const char *host, int port, struct buf *out)
{
	struct buf text = BUF_INIT;

	if (!is_plain(user, MAIL_REASON_MAX) || !is_plain(token, MAIL_TOKEN_MAX))
		return -EINVAL;
	if (l == &known[0]) {
		buf_printf(&text, "user=%s", user);
	} else {
		put_gs2(user, &text);
		buf_printf(&text, "\001host=%s\001port=%d", host, port);
	}
	buf_printf(&text, "\001auth=Bearer %s\001\001", token);
	base64_encode(out, text.data, text.len);
	buf_puts(out, "\r\n");
	secret_free_buf(&text);
	return 0;
}

void mail_login_reason(const char *reply, struct buf *out)
{
	const char *coded = skip_code(reply);
	size_t n = strcspn(coded, "\n");
	struct buf text = BUF_INIT;

	if (n > 0 && base64_decode(coded, n, &text) == 0)
		for (size_t i = 0; i < text.len && i < MAIL_REASON_MAX; i++) {
			unsigned char c = (unsigned char)text.data[i];

			if (c > ' ' && c < 0x7f)
				buf_putc(out, (char)c);
			else if (out->len && out->data[out->len - 1] != ' ')
				buf_putc(out, ' ');
		}
	while (out->len && out->data[out->len - 1] == ' ')
		out->len--;
	if (out->data)
		out->data[out->len] = '\0';
	buf_clear(&text);
}
