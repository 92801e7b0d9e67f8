/* What a person has allowed us at a partner: the pair of tokens, sealed with the context "grant:ID".  A refresh token may be
 * good for one call alone, so that it is written down that it is being spent before it is sent (grant_spend), and
 * the new pair before it is used (grant_put).  Generations fence: who holds an old pair writes nothing.
 * All functions wait; errors as in store.h. */
#ifndef COMMON_STORE_GRANT_H
#define COMMON_STORE_GRANT_H

#include "common/store/store.h"

struct grant {
	int64_t generation;
	struct secret pair; /* JSON; empty: none, only its use is known */
	int64_t granted_ms, used_ms;
	int64_t lapses_ms;   /* 0: not known */
	int64_t spending_ms; /* it may have been spent by a call of then; 0: no */
	int64_t spending_age_ms;
	char *spending_by; /* who began that call and has not said how it ended; NULL */
	int spends;        /* calls in a row whose process did not live to tell */
};
void grant_clear(struct grant *g);

/* -ENOENT: none; -ENOKEY, -EBADMSG, -EINVAL: it does not open. */
int grant_get(struct pg *p, const struct keyring *k, int64_t integration_id, struct grant *out,
	      struct err *err) __attribute__((warn_unused_result));
/* Its generation alone, for who has no key to it.  -ENOENT. */
int grant_generation(struct pg *p, int64_t integration_id, int64_t *out, struct err *err)
	__attribute__((warn_unused_result));
/* -ESTALE: another generation by now. */
int grant_spend(struct pg *p, int64_t integration_id, int64_t generation, const char *by,
		struct err *err) __attribute__((warn_unused_result));
/* The call is over, and it brought no pair: the token was refused or never sent (maybe_spent false), or nobody knows. */
int grant_unspend(struct pg *p, int64_t integration_id, int64_t generation, bool maybe_spent,
		  struct err *err) __attribute__((warn_unused_result));
/* The pair after `generation` (-1: a person granted it anew, whatever was there).  lapses_in_ms 0: as it stands, or not known.
 * -ESTALE: another came first. */
#define GRANT_ANEW (-1)
int grant_put(struct pg *p, const struct keyring *k, int64_t integration_id, int64_t generation,
	      const struct secret *pair, int64_t lapses_in_ms, struct err *err)
	__attribute__((warn_unused_result));
/* A right without a pair of tokens was used: a key, a long-lived refresh token. */
int grant_touch(struct pg *p, int64_t integration_id, struct err *err)
	__attribute__((warn_unused_result));

/* Rights that were last used, or end, before a moment, of one partner's integrations, in order of id; at most 1,000.
 * A key counts as used when its integration last succeeded, or when it was stored. */
struct grant_seen {
	int64_t integration, idle_ms;
	int64_t lapses_in_ms; /* INT64_MAX: not known */
	char *company;        /* borrowed for the call */
	bool paired;
};
typedef void (*grant_fn)(const struct grant_seen *g, void *arg);
int grants_each(struct pg *p, const char *partner, int64_t idle_ms, int64_t lapses_within_ms,
		grant_fn fn, void *arg, struct err *err) __attribute__((warn_unused_result));

#endif
