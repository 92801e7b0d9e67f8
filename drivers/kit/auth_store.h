/* Inside of auth: what auth_*.c share. */
#ifndef DRIVERS_KIT_AUTH_STORE_H
#define DRIVERS_KIT_AUTH_STORE_H

#include "common/io/co.h"
#include "drivers/kit/auth.h"
#include "drivers/kit/call_idmap.h"

#define AUTH_ENTRIES_MAX 10000
#define CREDENTIAL_KEPT_MS 60000     /* opened, in the process */
#define CREDENTIAL_CACHED_MS 3600000 /* sealed, in Redis (A3) */
#define CREDENTIAL_REREAD_MS 5000
#define TOKEN_LOCK_MS 35000 /* the token call's 30 s and the way to Redis and back */
#define GRANT_STORE_MS 30000
#define TOKEN_LIFE_DEFAULT_MS 3600000
#define TOKEN_YOUNG_MS 60000  /* refused at this age, another one would be as well */
#define FAILURE_KEPT_MS 30000 /* a token endpoint that failed is left alone so long, then longer */
#define REDIS_PATIENCE_MS 5000

/* Names as the manifest's `needs` have them.  Public ones (client_id, a user name) are not secrets: nothing
 * is gained by blanking them out of every log line. */
struct credential {
	struct credential_field {
		char *name;
		char *plain;
		struct secret value;
	} * v; /* one of plain, value */
	int n;
};
void credential_clear(struct credential *c);
const char *credential_field(const struct credential *c,
			     const char *name); /* NULL: none; borrowed */

/* Times of tokens are Redis' clock, times of the cache the loop's. */
struct token {
	struct secret access;
	int64_t expires_ms, usable_ms, minted_ms;
};

struct auth_entry {
	int64_t integration;
	int refs;         /* those inside of auth_*; only unused ones are dropped */
	uint64_t version; /* grows with each new token or credential */
	struct gate gate; /* one at a time asks Redis, Postgres or the partner */
	bool renewing;
	int64_t of_version; /* of the integration's credentials (integrations.credential_version) */
	struct credential credential;
	int64_t credential_until_ms; /* 0: none */
	int64_t reread_until_ms;     /* after a refusal: Postgres was asked already */
	struct token token;
	int64_t refused_minted_ms; /* a token of then, or older, was refused */
	int64_t store_again_ms;    /* the token is not in Redis: try then; 0: it is */
	int failed_rc;             /* 0: none */
	struct err failed;
	int64_t failed_until_ms; /* remembered so long … */
	int64_t again_ms;        /* … and when it is worth another try */
};

struct auth_store {
	struct redis *redis;
	struct pg *pg;
	struct keyring *keyring;
	char *epoch;
	bool beats;
	uint64_t versions;
	struct idmap entries;
	bool trial; /* auth_trial.c: of one call with credentials that are stored nowhere yet */
};

/* common/queue/lua: a compare-and-delete, and the counter of mints */
extern struct redis_script lua_unlock, lua_mint;

/* auth.c.  What the process knows of an integration; not dropped while it is held. */
struct auth_entry *auth_entry_ref(struct auth_store *a, const struct caller *c);
void auth_entry_unref(struct auth_entry *e);

char *auth_key(const char *what, const struct caller *c); /* "token:{guesty}:7"; the caller's */
const char *const *auth_needs(const struct manifest *m,
			      int *n); /* the manifest's, or what the kind asks for */

/* auth_credential.c.  Waits.  anew: as Postgres has it now, whatever is cached; *changed tells. */
int credential_need(struct auth_store *a, struct caller *c, struct auth_entry *e, bool anew,
		    bool *changed, struct err *err) __attribute__((warn_unused_result));

/* auth_token.c.  All wait but the first three. */
bool token_is_valid(const struct auth_store *a, const struct auth_entry *e);
bool token_is_due(const struct auth_store *a, const struct auth_entry *e,
		  const struct manifest *m); /* to be refreshed */
void token_clear(struct token *t);
/* Is a token that stands elsewhere good for anything, and not older than what we have? */
bool token_may_serve(const struct auth_store *a, const struct auth_entry *e, const struct token *t);
void token_take(struct auth_store *a, struct auth_entry *e,
		struct token *t); /* becomes the entry's */
/* Members of a JSON object, without its braces; and back: -EINVAL. */
void token_print(const struct token *t, struct buf *out);
int token_from(const cJSON *root, struct token *out) __attribute__((warn_unused_result));
int token_renew(struct auth_store *a, struct caller *c, struct auth_entry *e, struct err *err)
	__attribute__((warn_unused_result));
/* Takes what Redis has, if that is valid.  1 taken (also: the same again), 0 nothing there, <0.  *sealed (may be NULL): as it stands there. */
int token_fetch(struct auth_store *a, struct caller *c, struct auth_entry *e, struct buf *sealed,
		struct err *err) __attribute__((warn_unused_result));
int token_store(struct auth_store *a, struct caller *c, struct auth_entry *e, struct err *err)
	__attribute__((warn_unused_result));

int64_t token_lock_ms(const struct caller *c); /* how long one may take, its stores included */
/* Who asks, as locks and marks name him: "EPOCH:…", the caller's; and whether such a one is known to be dead (waits). */
char *token_owner(struct auth_store *a);
bool token_owner_is_dead(struct auth_store *a, const char *owner);

/* auth_mint.c.  Waits.  Asks the partner: counted, sent, read.  0: the token is in *out; 1: another one was found, which is the entry's now. */
int token_mint(struct auth_store *a, struct caller *c, struct auth_entry *e, struct token *out,
	       struct err *err) __attribute__((warn_unused_result));

/* hook_login.c.  Waits.  As token_mint, by the dialogue of the driver's C. */
int login_token(struct auth_store *a, struct caller *c, struct auth_entry *e, struct token *out,
		bool *broken, struct err *err) __attribute__((warn_unused_result));

/* auth_trial.c */
/* Waits.  In the place of token_renew: a token of the candidate's own, counted as any, stored nowhere. */
int trial_renew(struct auth_store *a, struct caller *c, struct auth_entry *e, struct err *err)
	__attribute__((warn_unused_result));
int credential_parse(const struct manifest *m, const struct secret *json, struct credential *out,
		     struct err *err) __attribute__((warn_unused_result)); /* auth_credential.c */
/* auth_grant.c.  As token_mint, with a refresh token. */
bool auth_has_grant(const struct manifest *m);
bool auth_has_token(const struct manifest *m); /* auth.c */
int grant_renew(struct auth_store *a, struct caller *c, struct auth_entry *e, struct token *out,
		struct err *err) __attribute__((warn_unused_result));

/* auth_failure.c: the token endpoint's failures, shared by all workers. */
int failure_recall(struct auth_store *a, struct caller *c, struct auth_entry *e,
		   struct err *err) /* waits; 0: none */
	__attribute__((warn_unused_result));
void failure_note(struct auth_store *a, struct caller *c, struct auth_entry *e, int rc,
		  const struct err *err); /* waits */
void failure_forget(struct auth_store *a, struct caller *c,
		    struct auth_entry *e); /* does not wait */
/* Waits.  Marks the integration and raises the alert. Returns -EACCES, err filled. */
int auth_broken(struct auth_store *a, struct caller *c, const char *reason, struct err *err);

#endif
