/* Inside of auth: a grant opened, for auth_grant.c (which spends it) and auth_authorize.c (which makes it). */
#ifndef DRIVERS_KIT_AUTH_GRANT_H
#define DRIVERS_KIT_AUTH_GRANT_H

#include "drivers/kit/auth_token_call.h"

#define SEED_BYTES 65

/* Names the refresh token that stands in the credential, without telling it: one that a person stores later begins a new
 * grant.  "" where there is none. */
void grant_seed_of(const struct credential *c, char out[SEED_BYTES]);
/* The pair as it is sealed.  refresh NULL: none. */
void grant_print(const char *refresh, const struct token *t, const char *seed, struct secret *out);

#endif
