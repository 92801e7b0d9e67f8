/* Addresses of ours that a partner is told with a call, so that it says there what became of that call (webhooks.callback): each names
 * our request, by which the report finds it although the answer, and with it the partner's own name for it, was lost. */
#ifndef DRIVERS_KIT_CALLBACK_H
#define DRIVERS_KIT_CALLBACK_H

#include "drivers/kit/call.h"

/* PUBLIC-URL/webhooks/PARTNER/INTEGRATION, or what the integration's setting says in its place, with the reference as a parameter.
 * NULL: none of both is known, or the manifest has no callback.  Overwrites keep; good until that changes. */
const char *callback_url(const struct caller *c, const char *reference, struct buf *keep);

/* Without a reference, of the partner's app where it has one address for all.  Appends. */
void callback_address(const struct manifest *m, int64_t integration, const char *public_url,
		      struct buf *out);

#endif
