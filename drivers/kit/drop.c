/* On the text, before any parser: a body that is no XML at all is kept for people too (dead letters), and must not tell either. */
#include "drivers/kit/drop.h"

#include <stdbool.h>
#include <string.h>
#include <strings.h>

struct tag {
	const char *name; /* without its prefix */
	size_t name_len, end;
	bool closes, alone; /* </x>, <x/> */
};

/* To after `mark`, or to the end of a text that was cut. */
static size_t after(const char *s, size_t i, size_t len, const char *mark)
{
	const char *at = memmem(s + i, len - i, mark, strlen(mark));

	return at ? (size_t)(at - s) + strlen(mark) : len;
}

static bool begins(const char *s, size_t i, size_t len, const char *with)
{
	return len - i >= strlen(with) && memcmp(s + i, with, strlen(with)) == 0;
}

/* From its "<" on.  A "<" ends it, also in quotes, where XML has none: a quote that never closes hides nothing. */
static struct tag tag_read(const char *s, size_t i, size_t len)
{
	struct tag t = { 0 };
	size_t p = i + 1, start;
	char quote = '\0';

	t.closes = p < len && s[p] == '/';
	p += t.closes;
	start = p;
	while (p < len && !strchr(" \t\r\n/><", s[p])) {
		p++;
		if (s[p - 1] == ':')
			start = p;
	}
	t.name = s + start;
	t.name_len = p - start;
	for (; p < len && s[p] != '<' && (quote || s[p] != '>'); p++) {
		if (quote ? s[p] == quote : s[p] == '"' || s[p] == '\'')
			quote = quote ? '\0' : s[p];
	}
	t.alone = p < len && s[p] == '>' && s[p - 1] == '/';
	t.end = p < len && s[p] == '>' ? p + 1 : p;
	return t;
}

static bool is_named(const struct tag *t, const char *name)
{
	return strlen(name) == t->name_len && strncasecmp(name, t->name, t->name_len) == 0;
}

static const char *dropped_name(const struct tag *t, const char *const *names, int n)
{
	for (int i = 0; i < n; i++)
		if (is_named(t, names[i]))
			return names[i];
	return NULL;
}

/* To after the end of the element whose first tag ends at i. */
static size_t element_end(const char *s, size_t i, size_t len, const char *name)
{
	struct tag t;

	for (int depth = 1; i < len && depth > 0;) {
		if (s[i] != '<') {
			i++;
		} else if (begins(s, i, len, "<!--")) {
			i = after(s, i, len, "-->");
		} else if (begins(s, i, len, "<![CDATA[")) {
			i = after(s, i, len, "]]>");
		} else {
			t = tag_read(s, i, len);
			if (is_named(&t, name) && !t.alone)
				depth += t.closes ? -1 : 1;
			i = t.end;
		}
	}
	return i;
}

void drop_elements(const char *const *names, int n, struct buf *body)
{
	size_t kept = 0, len = body->len;
	char *s = body->data;
	const char *name;
	struct tag t;

	if (n == 0 || len == 0)
		return;
	if (memchr(s, '\0', len))
		len = 0;
	for (size_t i = 0; i < len;) {
		if (s[i] != '<') {
			s[kept++] = s[i++];
			continue;
		}
		t = tag_read(s, i, len);
		name = dropped_name(&t, names, n);
		if (name) {
			i = t.closes || t.alone ? t.end : element_end(s, t.end, len, name);
			continue;
		}
		/* byte by byte: what stands in a comment or in CDATA is looked at too */
		s[kept++] = s[i++];
	}
	explicit_bzero(s + kept, body->len - kept);
	body->len = kept;
}
