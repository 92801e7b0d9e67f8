/* Redirects are followed by us, not by libcurl: each hop takes a permit of its own, and the credential goes to no other
 * host, scheme or port than the one that was asked (E5). */
#include <string.h>
#include <strings.h>

#include "drivers/kit/call_door.h"
#include "drivers/kit/paginate_link.h"

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
	struct buf from = BUF_INIT, url = BUF_INIT;
	struct err err = { 0 };
	bool same = false;
	size_t n;

	if (!to || route_url(r, spec, NULL, NULL, &from, NULL) < 0 ||
	    url_follow(buf_str(&from), to, &url, &err) < 0)
		goto out;
	n = url_origin_len(from.data);
	same = n > 0 && url_origin_len(url.data) == n && strncasecmp(url.data, from.data, n) == 0;
	if (same)
		buf_append(out, url.data, url.len);
out:
	buf_clear(&from);
	buf_clear(&url);
	return same;
}
