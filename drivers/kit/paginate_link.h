/* Addresses that an answer brings: where the next page is.  Pure: bytes of a partner go in, nothing is called.  Whether the
 * partner may lead there at all is for the door to say (call_url.c: only hosts of the manifest). */
#ifndef DRIVERS_KIT_PAGINATE_LINK_H
#define DRIVERS_KIT_PAGINATE_LINK_H

#include <stdbool.h>
#include <stddef.h>

#include "common/base/buf.h"
#include "common/base/err.h"

/* The target of the first rel="next" of a Link header (RFC 8288), as it stands there; appended.  false: it has none. */
bool link_next(const char *header, struct buf *out);
/* What `ref` (an address, or a path, or a query) means where it was found at `base`, an http address; appended, without
 * its fragment and with what must not stand in an address escaped.  -EBADMSG: none of http, a host with a user in it, control characters, "/../". */
int url_resolve(const char *base, const char *ref, struct buf *out, struct err *err)
	__attribute__((warn_unused_result));
/* The same of a redirect's Location: "/../" is taken as RFC 3986 says. */
int url_follow(const char *base, const char *ref, struct buf *out, struct err *err)
	__attribute__((warn_unused_result));
/* Takes a parameter out of the query of an address. */
void url_drop_param(struct buf *url, const char *name);
size_t url_origin_len(const char *url); /* of "https://host:port"; 0: it is none */

#endif
