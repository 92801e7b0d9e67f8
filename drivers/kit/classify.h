/* Which class an answer is: the manifest's errors[] first, then the table of E1.  One function, no state. */
#ifndef DRIVERS_KIT_CLASSIFY_H
#define DRIVERS_KIT_CLASSIFY_H

#include "common/io/http.h"
#include "drivers/kit/manifest.h"

/* A server of mail that may take it later: it is there, which is all that a breaker asks. */
#define RULE_SMTP_LATER "smtp 4yz"

/* Fills *out: class ERR_NONE for success, else class, rule, retry_after_ms (rate_limit), text with the partner's own message where it is found
 * (error.message, message, error, errors[0].message). now_ms: for dates in Retry-After; server_date header is used to cancel clock skew. */
void classify(const struct manifest *m, const struct http_response *r, const cJSON *json,
	      bool at_token_url, int64_t now_ms, struct err *out);
bool rule_matches(const struct manifest_rule *rule, const struct http_response *r,
		  const cJSON *json, bool at_token_url);
/* Retry-After and kin: seconds, epoch (s, ms), HTTP date, ISO. 0 = none usable. */
int64_t retry_after_ms(const struct manifest *m, const struct http_response *r, int64_t now_ms);

#endif
