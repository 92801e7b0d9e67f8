/* Inside of auth: a grant opened, for auth_grant.c (which spends it) and auth_authorize.c (which makes it). */
#ifndef DRIVERS_KIT_AUTH_GRANT_H
#define DRIVERS_KIT_AUTH_GRANT_H

#include "drivers/kit/auth_token_call.h"

#define SEED_BYTES 65

/* Names the refresh token that stands in the credential, without telling it: one that a person stores later begins a new
 * grant.  "" where there is none. */
void grant_seed_of(const struct credential *c, char out[SEED_BYTES]);
/* What a pair that waits in Redis for Postgres is bound to: the integration, and the generation that it makes. */
#define RESCUE_CONTEXT_MAX 48
void rescue_context(int64_t id, int64_t generation, char out[RESCUE_CONTEXT_MAX]);
/* The pair as it is sealed.  refresh NULL: none. */
void grant_print(const char *refresh, const struct token *t, const char *seed, struct secret *out);

/* auth_authorize.c.  Both wait.  Any token call in a person's name; what the answer says is in *out. */
int authorize_ask(struct caller *c, struct auth_entry *e, const struct token_ask *ask,
		  struct call_result *r, struct err *out) __attribute__((warn_unused_result));
/* The answer of the token endpoint becomes the grant, whatever was there. */
int authorize_grant(struct caller *c, struct auth_entry *e, struct call_result *r, struct err *err)
	__attribute__((warn_unused_result));

#endif
