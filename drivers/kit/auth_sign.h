/* Requests that are signed: an HMAC over a template, in headers (auth.sign). */
#ifndef DRIVERS_KIT_AUTH_SIGN_H
#define DRIVERS_KIT_AUTH_SIGN_H

#include "drivers/kit/call_door.h"

struct signing {
	struct http_header headers[EXCHANGE_MORE_MAX];
	struct buf values[EXCHANGE_MORE_MAX];
	int n;
};
void signing_clear(struct signing *s);
/* Does not wait: the credential is there since auth_prepare (-EAGAIN: it went stale).  url is whole, as it will be sent. */
int auth_sign(struct caller *c, const struct call_spec *spec, const char *url, struct signing *out,
	      struct err *err) __attribute__((warn_unused_result));

#endif
