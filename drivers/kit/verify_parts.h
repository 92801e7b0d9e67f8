/* Inside of verify: what verify*.c share.  Nobody else includes it. */
#ifndef DRIVERS_KIT_VERIFY_PARTS_H
#define DRIVERS_KIT_VERIFY_PARTS_H

#include "drivers/kit/verify.h"

#define SIGNATURES_MAX 16
#define STAMP_MAX 40

struct span {
	const char *p;
	size_t len;
};

/* What a request says of its signature, taken out of its headers. */
struct signature_parts {
	struct span v[SIGNATURES_MAX]; /* candidates, without their prefixes */
	int n;
	struct span ts, id; /* p NULL: the scheme has none */
};

#define TEXT_BYTES 160 /* of verify's text */

/* A header's value, or NULL with text saying that it is missing. */
const char *header_need(const struct verify_request *q, const char *name, char text[TEXT_BYTES]);
/* VERIFY_GENUINE: it is within the tolerance of now. */
enum verify_verdict stamp_check(struct span ts, int64_t now_ms, int64_t tolerance_ms,
				char text[TEXT_BYTES]);
/* Decodes a signature and compares: hex of either case, or base64. */
bool signature_is(struct span s, bool base64, const void *mac, size_t len);

/* verify_mac.c: a keyed hash over a template, as most partners do it */
enum verify_verdict verify_mac(const struct manifest_verify *v, const struct verify_secrets *s,
			       const struct verify_request *q, char text[TEXT_BYTES]);
/* verify_schemes.c */
enum verify_verdict verify_standard(const struct manifest_verify *v, const struct verify_secrets *s,
				    const struct verify_request *q, char text[TEXT_BYTES]);
enum verify_verdict verify_twilio(const struct manifest_verify *v, const struct verify_secrets *s,
				  const struct verify_request *q, char text[TEXT_BYTES]);
enum verify_verdict verify_sendgrid(const struct manifest_verify *v, const struct verify_secrets *s,
				    const struct verify_request *q, char text[TEXT_BYTES]);
enum verify_verdict verify_suffix(const struct manifest_verify *v, const struct verify_secrets *s,
				  const struct verify_request *q, char text[TEXT_BYTES]);
enum verify_verdict verify_basic(const struct manifest_verify *v, const struct verify_secrets *s,
				 const struct verify_request *q, char text[TEXT_BYTES]);
enum verify_verdict verify_token(const struct manifest_verify *v, const struct verify_secrets *s,
				 const struct verify_request *q, char text[TEXT_BYTES]);
enum verify_verdict verify_path(const struct manifest_verify *v, const struct verify_secrets *s,
				const struct verify_request *q, char text[TEXT_BYTES]);

#endif
