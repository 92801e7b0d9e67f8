/* Is a webhook the partner's?  The schemes of a manifest's `webhooks.verify`, as pure functions of what came, the secrets and the
 * time; every comparison of what is secret takes the same time whatever the content.
 *
 * Secrets are the credential that `verify.key` names ("webhook_secret"): a text, or a list of texts of which each is good; and
 * the same under KEY_previous ("webhook_secret_previous"): what was good before, while a rotation is under way and the
 * partner may still sign with it.  A text of them is, by scheme:
 *
 *   standard_webhooks   whsec_BASE64, or the BASE64 alone; whpk_BASE64: a public key, for signatures v1a
 *   stripe slack twilio github shopify hmac sha256_suffix   as it is
 *   sendgrid            the public key: base64 of its DER, or PEM
 *   basic               USER:PASSWORD; without a colon it is the password, of any user
 *   header_token        what stands behind `prefix` in the header
 *   url_secret          "sha256:" and the hex digits of the SHA-256 of what stands in the address
 *                       (/webhooks/{partner}/{integration_id}/SECRET, 43 characters: base64url of 32 random bytes)
 *
 * Nothing here waits. */
#ifndef DRIVERS_KIT_VERIFY_H
#define DRIVERS_KIT_VERIFY_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/base/err.h"
#include "common/base/secret.h"
#include "drivers/hooks.h"
#include "drivers/kit/manifest_events.h"

#define VERIFY_SECRETS_MAX 8
struct verify_secrets {
	struct secret v[VERIFY_SECRETS_MAX];
	int n;
};
void verify_secrets_clear(struct verify_secrets *s);
/* Adds those of an integration's credentials, which are JSON.  Those beyond the bound, and what is no text, are left out.
 * -EINVAL: they are no JSON object. */
int verify_secrets_read(struct verify_secrets *out, const char *key, const struct secret *json)
	__attribute__((warn_unused_result));

struct verify_request {
	const char *method;         /* "POST" */
	const char *url;            /* as the partner called it, with its query */
	const char *path_secret;    /* of url_secret; NULL: none in the address */
	struct hook_values headers; /* by lower-case names */
	const char *body;           /* as it came */
	size_t len;
	bool form; /* application/x-www-form-urlencoded */
	int64_t now_ms;
};
enum verify_verdict {
	VERIFY_GENUINE,
	VERIFY_MISSING, /* a header that the scheme needs is not there, or not of its form; text names it */
	VERIFY_WRONG, /* of none of the secrets */
	VERIFY_OLD, /* genuine, but signed too long ago (or ahead): a replay, or a clock that is wrong */
	VERIFY_NO_SECRET, /* none is stored, or none of the form that the scheme needs */
};
const char *verify_verdict_name(enum verify_verdict v);
/* text (may be NULL): for the partner's engineer; it says nothing that the sender of a forgery does not know. */
enum verify_verdict verify(const struct manifest_verify *v, const struct verify_secrets *s,
			   const struct verify_request *q, char text[160]);
/* Nobody proves anything by it: what such a webhook says is not believed. */
bool verify_is_proof(enum verify_scheme s);

#endif
