/* How a person allows us to act for an account: in the browser (authorization code with PKCE, RFC 7636) or with a code to
 * be typed in elsewhere (device grant, RFC 8628).  What comes of it is a grant, stored before it is used.
 *
 * Keys, of {longshore}: oauth:{longshore}:HASH (a state under way: sealed, 10 min, for one use),
 * oauth:{longshore}:ticket:HASH (what a link to sign in with is good for: an integration, 24 h). */
#ifndef DRIVERS_KIT_AUTH_AUTHORIZE_H
#define DRIVERS_KIT_AUTH_AUTHORIZE_H

#include "drivers/kit/call.h"

#define AUTHORIZE_TOKEN_BYTES 44 /* 32 random bytes in the url alphabet */

/* ---- in the browser ---- */
struct authorize_state {
	int64_t integration;
	struct secret verifier;
	char *redirect_uri;
	char browser[AUTHORIZE_TOKEN_BYTES]; /* whose it is: see authorize_begin */
};
void authorize_state_clear(struct authorize_state *s);
/* A name for the browser that begins to sign in, which keeps it as a cookie: who comes back with the state must be the same, or somebody
 * has been lured to connect another's account. */
void authorize_browser_new(char out[AUTHORIZE_TOKEN_BYTES]);
/* Waits.  Where to send the person; appends.  redirect_uri is the address of our own callback. */
int authorize_begin(struct caller *c, const char *redirect_uri, const char *browser,
		    struct buf *url, struct err *err) __attribute__((warn_unused_result));
/* Waits.  -ENOENT: never given out, used already, or too old. */
int authorize_take(struct redis *r, const struct keyring *k, const char *state,
		   struct authorize_state *out, struct err *err)
	__attribute__((warn_unused_result));
/* Waits.  The callback's code for a pair of tokens, which is stored.  Errors as of auth_prepare. */
int authorize_code(struct caller *c, const struct authorize_state *s, const char *code,
		   struct err *err) __attribute__((warn_unused_result));

/* Waits.  A link that anybody may open is good for one integration alone. */
int authorize_ticket_new(struct redis *r, int64_t integration, char out[AUTHORIZE_TOKEN_BYTES],
			 struct err *err) __attribute__((warn_unused_result));
int authorize_ticket_check(struct redis *r, int64_t integration, const char *ticket,
			   struct err *err) /* -EACCES */
	__attribute__((warn_unused_result));

/* ---- with a code to type in ---- */
struct device_code {
	struct secret code;
	char *user_code, *uri, *uri_complete; /* uri_complete NULL: there is none */
	int64_t interval_ms, ends_ms;         /* ends_ms: the loop's clock */
};
void device_code_clear(struct device_code *d);
int device_begin(struct caller *c, struct device_code *out, struct err *err) /* waits */
	__attribute__((warn_unused_result));
/* Waits.  0: allowed, and stored; -EINPROGRESS: not yet, wait interval_ms (which may have grown); -EACCES: refused, or
 * too late. */
int device_poll(struct caller *c, struct device_code *d, struct err *err)
	__attribute__((warn_unused_result));

/* Waits.  Auth was mended: an integration that was marked broken is active again, its alerts are resolved, what workers
 * remember is dropped, its jobs go on.  One that an operator paused stays so. */
int auth_mended(struct redis *r, struct pg *p, const struct driver *d, int64_t integration_id,
		int64_t deadline_ms, struct err *err) __attribute__((warn_unused_result));

#endif
