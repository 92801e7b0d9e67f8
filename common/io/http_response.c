/* What comes back, and how texts get into a URL: the parts of the HTTP client that need no
 * libcurl. */
#include <string.h>

#include "common/io/http.h"

void http_response_init(struct http_response *r)
{
	*r = (struct http_response){ 0 };
}

void http_response_clear(struct http_response *r)
{
	buf_clear(&r->body);
	buf_clear(&r->headers);
	*r = (struct http_response){ 0 };
}

const char *http_response_header(const struct http_response *r, const char *name_lower)
{
	const char *at = r->headers.data, *end = at + r->headers.len;

	while (at && at < end) {
		const char *value = at + strlen(at) + 1;

		if (strcmp(at, name_lower) == 0)
			return value;
		at = value + strlen(value) + 1;
	}
	return NULL;
}

static bool is_unreserved(unsigned char c)
{
	return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
	       c == '-' || c == '.' || c == '_' || c == '~';
}

void http_escape(struct buf *out, const char *s, size_t n)
{
	static const char hex[] = "0123456789ABCDEF";

	for (size_t i = 0; i < n; i++) {
		unsigned char c = (unsigned char)s[i];

		if (is_unreserved(c)) {
			buf_putc(out, (char)c);
		} else {
			char code[3] = { '%', hex[c >> 4], hex[c & 15] };

			buf_append(out, code, sizeof(code));
		}
	}
}
