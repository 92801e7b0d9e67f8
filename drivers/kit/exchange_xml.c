/* Secrets in XML, by the names of elements and attributes.  Textual, since a body may be cut, broken, or no XML at all but
 * what a web server made up: where it is not sure what belongs to what, more is hidden and not less. */
#include "drivers/kit/exchange_xml.h"

#include <ctype.h>
#include <string.h>
#include <strings.h>

struct hiding {
	xml_hides_fn hides;
	void *arg;
	struct buf *out;
	const char *name; /* of the element whose text is hidden; NULL: none is */
	size_t len;
	int depth; /* elements of that name in one another */
};

bool looks_like_xml(const char *s, size_t len)
{
	size_t i = len >= 3 && memcmp(s, "\xef\xbb\xbf", 3) == 0 ? 3 : 0;

	while (i < len && isspace((unsigned char)s[i]))
		i++;
	return i < len && s[i] == '<';
}

static bool ends_name(char c)
{
	return isspace((unsigned char)c) || strchr("/>=<\"'", c);
}

static size_t name_len(const char *s, size_t len)
{
	size_t n = 0;

	while (n < len && !ends_name(s[n]))
		n++;
	return n;
}

/* Without the prefix of its namespace, which everybody chooses for himself. */
static const char *local_name(const char *s, size_t *n)
{
	const char *colon = memchr(s, ':', *n);

	if (!colon)
		return s;
	*n -= (size_t)(colon + 1 - s);
	return colon + 1;
}

static bool is_hidden(const struct hiding *h, const char *s, size_t n)
{
	s = local_name(s, &n);
	return h->hides(s, n, h->arg);
}

/* Where `end` ends from s on; len: it does not. */
static size_t until(const char *s, size_t len, const char *end)
{
	size_t n = strlen(end);

	for (size_t i = 0; i + n <= len; i++)
		if (memcmp(s + i, end, n) == 0)
			return i + n;
	return len;
}

static bool begins(const char *s, size_t len, const char *with)
{
	size_t n = strlen(with);

	return len >= n && memcmp(s, with, n) == 0;
}

static void put_text(struct hiding *h, const char *s, size_t len)
{
	bool blank = true;

	for (size_t i = 0; i < len; i++)
		blank &= isspace((unsigned char)s[i]) != 0;
	if (h->name && !blank)
		buf_puts(h->out, "***");
	else
		buf_append(h->out, s, len);
}

/* A value in quotes, or what stands there without: HTML may. */
static size_t value_len(const char *s, size_t len)
{
	const char *end;
	size_t n = 0;

	if (len && (*s == '"' || *s == '\'')) {
		end = memchr(s + 1, *s, len - 1);
		return end ? (size_t)(end + 1 - s) : len;
	}
	while (n < len && !isspace((unsigned char)s[n]) && s[n] != '>')
		n++;
	return n;
}

/* =value behind a name; how long it is. */
static size_t put_value(struct hiding *h, const char *s, size_t len, bool hidden)
{
	size_t at = 0, n;

	while (at < len && isspace((unsigned char)s[at]))
		at++;
	if (at == len || s[at] != '=')
		return 0;
	at++;
	while (at < len && isspace((unsigned char)s[at]))
		at++;
	n = value_len(s + at, len - at);
	if (hidden)
		buf_puts(h->out, "=\"***\"");
	else
		buf_append(h->out, s, at + n);
	return at + n;
}

/* From behind the element's name to behind its >.  all: each value is hidden.  *empty: it ends in />. */
static size_t put_attributes(struct hiding *h, const char *s, size_t len, bool all, bool *empty)
{
	size_t i = 0;

	*empty = false;
	while (i < len && s[i] != '>' && s[i] != '<') {
		size_t n = name_len(s + i, len - i);

		*empty = s[i] == '/';
		if (!n) {
			buf_putc(h->out, s[i++]);
			continue;
		}
		buf_append(h->out, s + i, n);
		i += n;
		i += put_value(h, s + i, len - i, all || is_hidden(h, s + i - n, n));
	}
	if (i < len && s[i] == '>')
		buf_putc(h->out, s[i++]);
	return i;
}

static bool is_of_name(const struct hiding *h, const char *s, size_t n)
{
	s = local_name(s, &n);
	return n == h->len && strncasecmp(s, h->name, n) == 0;
}

static size_t put_opening(struct hiding *h, const char *s, size_t len)
{
	size_t n = name_len(s + 1, len - 1), at = 1 + n;
	bool same = h->name && is_of_name(h, s + 1, n), fresh, empty;

	fresh = !h->name && is_hidden(h, s + 1, n);
	buf_append(h->out, s, at);
	at += put_attributes(h, s + at, len - at, h->name || fresh, &empty);
	if (same && !empty) {
		h->depth++;
	} else if (fresh && !empty) {
		h->len = n;
		h->name = local_name(s + 1, &h->len);
		h->depth = 1;
	}
	return at;
}

static size_t put_closing(struct hiding *h, const char *s, size_t len)
{
	size_t n = name_len(s + 2, len - 2), end = until(s, len, ">");

	if (h->name && is_of_name(h, s + 2, n) && --h->depth == 0)
		h->name = NULL;
	buf_append(h->out, s, end);
	return end;
}

/* What begins with <, and is no element: in one that is hidden it is text too. */
static size_t put_other(struct hiding *h, const char *s, size_t len)
{
	size_t end = begins(s, len, "<![CDATA[") ? until(s, len, "]]>")
		     : begins(s, len, "<!--")    ? until(s, len, "-->")
		     : begins(s, len, "<?")      ? until(s, len, "?>")
		     : begins(s, len, "<!")      ? until(s, len, ">")
						 : 1;

	put_text(h, s, end);
	return end;
}

void xml_hide(const char *s, size_t len, xml_hides_fn hides, void *arg, struct buf *out)
{
	struct hiding h = { .hides = hides, .arg = arg, .out = out };

	for (size_t i = 0; i < len;) {
		const char *tag = memchr(s + i, '<', len - i);
		size_t text = tag ? (size_t)(tag - s) - i : len - i;

		if (text) {
			put_text(&h, s + i, text);
			i += text;
		} else if (len - i > 2 && s[i + 1] == '/') {
			i += put_closing(&h, s + i, len - i);
		} else if (len - i > 1 && !strchr("!?", s[i + 1]) && !ends_name(s[i + 1])) {
			i += put_opening(&h, s + i, len - i);
		} else {
			i += put_other(&h, s + i, len - i);
		}
	}
}
