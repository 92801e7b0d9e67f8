/* Credentials and tokens.  A token is shared by all workers: sealed in Redis (token:{partner}:ID) and refreshed 5 min
 * before it ends by one worker over the cluster (a lease with an owner; the others wait for its token, or use the old one
 * while it is valid).  Mints are counted in Redis and Postgres before the call is sent; the token is stored before it is used.
 * A token endpoint that fails is left alone for a while by all workers.
 *
 * Keys, all of the partner's slot: token:{p}:ID, tokenlock:{p}:ID, tokenfail:{p}:ID (JSON: when it failed, how often in a
 * row, why), mints:{p}:ID (zset), cred:{p}:ID (the sealed credential, 1 h; delete it where a credential is changed),
 * grant:{p}:ID (a pair of tokens on its way to Postgres). */
#ifndef DRIVERS_KIT_AUTH_H
#define DRIVERS_KIT_AUTH_H

#include "drivers/kit/call.h"

struct auth_store; /* inside the door: process cache of tokens and credentials, bounded */
struct auth_store *auth_store_new(struct redis *r, struct pg *p, struct keyring *k,
				  const char *epoch, bool beats);
void auth_store_free(struct auth_store *a);

/* Waits.  Makes sure that the process has a credential, or a token that may be used now.
 * -EACCES: broken for good (err ERR_AUTH, the integration was marked); -EAGAIN: mint limit or token endpoint down (ERR_HOLD, ERR_TRANSIENT
 * or ERR_RATE_LIMIT, with retry_after_ms); -EREMOTEIO: the token endpoint's answer, classified; -ECONNRESET and the like from the stores. */
int auth_prepare(struct auth_store *a, struct caller *c, struct err *err)
	__attribute__((warn_unused_result));
/* Does not wait.  Appends the header value or query value that authenticates (auth.prefix + token, "Basic …"); nothing for AUTH_NONE.  *version
 * names what was used.  -EAGAIN: it went stale since auth_prepare.  out is the caller's: secret_free_buf. */
int auth_value(struct auth_store *a, struct caller *c, struct buf *out, uint64_t *version,
	       struct err *err) __attribute__((warn_unused_result));
/* Waits.  The partner refused that version (401).  0: something else is there to be tried (or will be after auth_prepare); -EALREADY:
 * nothing else to try (the credential is what it was; the token is only just minted). */
int auth_refused(struct auth_store *a, struct caller *c, uint64_t version, struct err *err)
	__attribute__((warn_unused_result));
/* Waits.  An operator has mended the integration: what all workers remember of its failure and its old
 * credential is dropped; their own memory follows within 5 s. */
int auth_forget(struct redis *r, const char *partner, int64_t integration_id, int64_t deadline_ms,
		struct err *err) __attribute__((warn_unused_result));
/* Waits.  Uses what would die unused: asks for another token, or makes a small call.  Errors as of auth_prepare and call. */
int auth_keep_alive(struct caller *c, struct err *err) __attribute__((warn_unused_result));
/* Waits.  What Redis holds of an integration under another key than the first: its token moves, as does a pair of tokens that
 * waits for Postgres; its cached credential is dropped.  One that does not open is left: workers take it for missing, and it ends with its time to live. */
struct auth_rekeyed {
	int64_t tokens, pairs, dropped, closed;
};
int auth_rekey(struct redis *r, struct pg *p, const struct keyring *k, const char *partner,
	       int64_t id, int64_t deadline_ms, struct auth_rekeyed *out, struct err *err)
	__attribute__((warn_unused_result));
/* Waits.  The key of such a pair, "" where none waits. */
int auth_pair_key(struct redis *r, const char *partner, int64_t id, char out[CRYPTO_KEY_ID_BYTES],
		  int64_t deadline_ms, struct err *err) __attribute__((warn_unused_result));
/* auth_trial.c.  The store of a door of its own: all it does is with these credentials, which are stored nowhere; a token is
 * asked for, and counted, as any.  -EINVAL: what the manifest needs is not there. */
int auth_trial(struct auth_store *a, struct caller *c, const struct secret *json, struct err *err)
	__attribute__((warn_unused_result));
/* Waits.  They are stored now: the trial's token is everybody's, the old one and the cached credential are gone. */
int auth_trial_keep(struct auth_store *a, struct caller *c, struct err *err)
	__attribute__((warn_unused_result));
/* Whether a token that one of them brought is what the other would bring: of a webhook's secret nothing hangs on it. */
bool auth_same_login(const struct manifest *m, const struct secret *one,
		     const struct secret *other);
/* Waits.  As if nobody had asked for a token, but for the count. */
int auth_drop(struct redis *r, const char *partner, int64_t integration_id, int64_t deadline_ms,
	      struct err *err) __attribute__((warn_unused_result));
/* What a person is to do about an integration whose auth is broken.  Appends. */
void auth_todo(const struct manifest *m, int64_t integration_id, struct buf *out);
/* Checks a credential's JSON against the manifest's `needs`; err names the missing ones. Does not wait. */
int auth_credentials_check(const struct manifest *m, const cJSON *credentials, struct err *err)
	__attribute__((warn_unused_result));

#endif
