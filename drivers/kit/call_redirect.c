/* Redirects are followed by us, not by libcurl: each hop takes a permit of its own, and the credential goes to no other
 * host, scheme or port than the one that was asked (E5). */
#include <string.h>
#include <strings.h>

#include "drivers/kit/call_door.h"

static size_t origin_of(const char *url)
{
	const char *host = strstr(url, "://");

	return host ? (size_t)(host + 3 - url) + strcspn(host + 3, "/?#") : 0;
}

static bool is_redirect(const struct call_spec *spec, const struct http_response *h)
{
	return (h->status == 301 || h->status == 302 || h->status == 303 || h->status == 307 ||
		h->status == 308) &&
	       strcmp(spec->method, "GET") == 0;
}

bool redirect_target(const struct route *r, const struct call_spec *spec,
		     const struct http_response *h, struct buf *out)
{
	const char *to = is_redirect(spec, h) ? http_response_header(h, "location") : NULL;
	struct buf from = BUF_INIT;
	bool same = false;
	size_t n;

	if (!to || route_url(r, spec, NULL, NULL, &from, NULL) < 0)
		goto out;
	n = origin_of(buf_str(&from));
	if (to[0] == '/' && to[1] != '/') {
		buf_append(out, from.data, n);
		same = true;
	} else {
		same = n > 0 && origin_of(to) == n && strncasecmp(to, from.data, n) == 0;
	}
	if (same)
		buf_append(out, to, strcspn(to, "#"));
out:
	buf_clear(&from);
	return same;
}
