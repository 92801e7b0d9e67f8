#include "common/io/mail_reply.h"

#include <ctype.h>
#include <errno.h>
#include <string.h>

#define LINE_MAX_BYTES 1000 /* RFC 5321 has 512 */

void mail_reply_clear(struct mail_reply *r)
{
	buf_clear(&r->text);
	buf_clear(&r->line);
	*r = (struct mail_reply){ 0 };
}

static void begin(struct mail_reply *r)
{
	buf_reset(&r->text);
	buf_reset(&r->line);
	r->code = 0;
	r->ended = false;
	r->read = 0;
}

static int end_line(struct mail_reply *r)
{
	const char *s = buf_str(&r->line);
	size_t n = r->line.len;

	if (n > 0 && s[n - 1] == '\r')
		n--;
	if (n < 3 || s[0] < '2' || s[0] > '5' || !isdigit((unsigned char)s[1]) ||
	    !isdigit((unsigned char)s[2]) || (n > 3 && s[3] != ' ' && s[3] != '-'))
		return -EBADMSG;
	r->code = (s[0] - '0') * 100 + (s[1] - '0') * 10 + (s[2] - '0');
	r->ended = n == 3 || s[3] == ' ';
	if (r->text.len + n + 1 <= MAIL_REPLY_TEXT_MAX) {
		if (r->text.len)
			buf_putc(&r->text, '\n');
		for (size_t i = 0; i < n; i++)
			buf_putc(&r->text, (unsigned char)s[i] < ' ' || s[i] == 0x7f ? ' ' : s[i]);
	}
	buf_reset(&r->line);
	return 0;
}

int mail_reply_feed(struct mail_reply *r, const char *s, size_t n)
{
	int rc = 0;

	for (size_t i = 0; i < n && rc == 0; i++) {
		if (r->ended)
			begin(r);
		if (++r->read > MAIL_REPLY_BYTES_MAX)
			return -EBADMSG;
		if (s[i] == '\n')
			rc = end_line(r);
		else if (r->line.len < LINE_MAX_BYTES)
			buf_putc(&r->line, s[i]);
	}
	return rc;
}

static bool ends_word(char c)
{
	return isspace((unsigned char)c) || (c && strchr("<>()[],;:\"", c));
}

void mail_reply_mask(const char *s, size_t len, struct buf *out)
{
	const char *end = s + len;

	while (s < end) {
		size_t n = 0;

		while (s + n < end && !ends_word(s[n]))
			n++;
		if (n && memchr(s, '@', n))
			buf_puts(out, "***");
		else
			buf_append(out, s, n);
		s += n;
		if (s < end)
			buf_putc(out, *s++);
	}
}

void mail_reply_tell(const struct mail_reply *r, struct buf *out)
{
	mail_reply_mask(buf_str(&r->text), r->text.len, out);
}
