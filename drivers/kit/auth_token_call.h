/* Inside of auth: the call that answers with a token.  auth_request.c sends it, auth_answer.c reads what comes back. */
#ifndef DRIVERS_KIT_AUTH_TOKEN_CALL_H
#define DRIVERS_KIT_AUTH_TOKEN_CALL_H

#include "drivers/kit/auth_store.h"

#define TOKEN_FIELDS_MAX 4

/* Beside the client's id and secret and what the manifest adds; all borrowed. */
struct token_ask {
	const char *url;        /* NULL: auth.token_url */
	const char *grant_type; /* NULL: none; params may say another */
	struct manifest_pair fields[TOKEN_FIELDS_MAX];
	int n_fields;
	const struct manifest_pairs *params; /* NULL: auth.params */
	bool form;                           /* whatever auth.send says */
	bool *handed; /* set when the request was about to be written; NULL */
};
/* Waits.  0: *r is the exchange, *out its class. */
int token_call(struct caller *c, const struct credential *credential, const struct token_ask *ask,
	       struct call_result *r, struct err *out) __attribute__((warn_unused_result));

/* auth_mint.c.  Waits.  Counts a token about to be asked for, in both stores.  by_hand: a person asks, for whom a share was
 * kept back.  -EAGAIN: the limit (err). */
int token_count(struct auth_store *a, struct caller *c, bool by_hand, struct err *err)
	__attribute__((warn_unused_result));
/* A human must reconnect, by auth.broken_on. */
bool token_says_broken(const struct manifest *m, const struct call_result *r);
void token_outcome(const struct manifest *m, const char *outcome); /* the metric */

/* -EREMOTEIO: no token in it.  now_ms: Redis' clock. */
int token_answer_read(const struct manifest *m, const struct http_response *h, const cJSON *json,
		      int64_t now_ms, struct token *out, struct err *err)
	__attribute__((warn_unused_result));
/* How long a JWT lives from now, by its own `exp`; 0 where it does not say.  Nothing is verified: the token is the partner's
 * to judge. */
int64_t jwt_left_ms(const char *token, int64_t now_ms);
/* The refresh token of an answer, borrowed, or NULL; and how long it lives by the answer's word, 0: it does not say. */
const char *token_answer_refresh(const struct manifest *m, const cJSON *json);
int64_t token_answer_lapses_ms(const cJSON *json);

#endif
