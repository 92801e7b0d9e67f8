/* Events that partners told us of by themselves, and what became of them (webhook_events).  Written by the worker that does
 * them (worker/sink gathers), looked at by the leading scheduler and the command. */
#ifndef COMMON_STORE_WEBHOOK_H
#define COMMON_STORE_WEBHOOK_H

#include "common/store/store.h"

enum webhook_state {
	WEBHOOK_RECEIVED,
	WEBHOOK_WAITING,
	WEBHOOK_UNMATCHED,
	WEBHOOK_DONE,
	WEBHOOK_COALESCED,
	WEBHOOK_STALE,
	WEBHOOK_IGNORED,
	WEBHOOK_UNKNOWN,
	WEBHOOK_FAILED
};
const char *webhook_state_name(enum webhook_state s);
int webhook_state_parse(const char *name, enum webhook_state *out)
	__attribute__((warn_unused_result)); /* -EINVAL */

#define WEBHOOK_ID_MAX_BYTES 512 /* of an event's id */

/* Strings are borrowed; NULL and 0 = none. */
struct webhook_event {
	int64_t integration_id, generation;
	const char *event_id, *partner, *event, *action, *collection, *row_table, *external_id,
		*job_id, *reason;
	const char *body; /* JSON */
	int64_t happened_us, received_us, processed_us;
	bool believed;
	enum webhook_state state;
};
/* n at once.  An event that was received and is not done yet never overwrites what became of it, unless it came once more since. */
const char *webhook_upsert_sql(void);
void webhook_upsert_params(struct pg_params *out, const struct webhook_event *v, int n);

/* ---- what is looked at ---- */
struct webhook_filter {
	const char *partner, *event_id;
	int64_t integration_id, since_us;
	unsigned states; /* bits by enum webhook_state; 0: any */
	/* Behind this one, in the order of (received, integration, event id). */
	int64_t after_us, after_integration;
	const char *after_id; /* NULL: from the start */
	int limit;
};
struct webhook_seen {
	struct webhook_event e;
	int64_t attempts;
};
struct webhook_list {
	struct webhook_seen *v; /* texts are borrowed from the list */
	int n;
	PGresult *rows;
};
void webhook_list_clear(struct webhook_list *l);
/* All wait; *out is the caller's. */
int webhook_each(struct pg *p, const struct webhook_filter *f, struct webhook_list *out,
		 struct err *err) __attribute__((warn_unused_result));
/* Unmatched events whose record is there by now, behind (integration, id), of the next `slice` unmatched ones.  *after_*: where that
 * slice ended; integration 0: all were looked at. */
struct webhook_place {
	int64_t integration_id;
	char id[WEBHOOK_ID_MAX_BYTES + 1];
};
int webhook_matched(struct pg *p, struct webhook_place *at, int slice, struct webhook_list *out,
		    struct err *err) __attribute__((warn_unused_result));
/* Events that are open in an older generation of their partner's keys than now: Redis was lost, and their jobs with it. */
int webhook_lost(struct pg *p, int limit, struct webhook_list *out, struct err *err)
	__attribute__((warn_unused_result));
/* It has a job again: received, in the generation of now, unless it was done meanwhile (attempts differ). */
int webhook_queued_again(struct pg *p, int64_t integration_id, const char *event_id,
			 int64_t attempts, const char *reason, struct err *err)
	__attribute__((warn_unused_result));
/* At most `slice` of those that came before an instant go for good. */
int webhook_expire(struct pg *p, int64_t before_us, int slice, int64_t *gone, struct err *err)
	__attribute__((warn_unused_result));
/* Of the last hour, by partner: events that have ended, and those of them that failed. */
typedef void (*webhook_rate_fn)(const char *partner, int64_t ended, int64_t failed, void *arg);
int webhook_rates(struct pg *p, webhook_rate_fn fn, void *arg, struct err *err)
	__attribute__((warn_unused_result));

/* ---- one row, as an event meets it ---- */
struct row_held {
	bool deleted, has_partner_updated;
	int64_t partner_updated_us, observed_us;
};
/* -ENOENT: there is none. */
int row_held(struct pg *p, enum row_table t, int64_t integration_id, const char *external_id,
	     struct row_held *out, struct err *err) __attribute__((warn_unused_result));
/* Marks it as deleted, where the news is newer than what it holds, by the guard of the row tables.  partner_us: when the partner says
 * that it happened, 0: it does not; observed_us: when we knew.  -ENOENT: it is not there, is deleted already, or newer. */
int row_delete(struct pg *p, enum row_table t, int64_t integration_id, const char *external_id,
	       int64_t partner_us, int64_t observed_us, struct err *err)
	__attribute__((warn_unused_result));
/* When the credentials of an integration were changed last, by whatever hand; 0: not known. */
int credentials_since_us(struct pg *p, int64_t integration_id, int64_t *out, struct err *err)
	__attribute__((warn_unused_result));

/* ---- registration.c: where partners were told to send them ---- */
struct webhook_registration {
	int64_t integration_id;
	char *callback_url, *webhook_id, *state, *reason;  /* owned */
	int64_t registered_ms, checked_ms, check_after_ms; /* 0: never */
};
void webhook_registration_clear(struct webhook_registration *r);
int webhook_registration_get(struct pg *p, int64_t integration_id, struct webhook_registration *out,
			     struct err *err) __attribute__((warn_unused_result));
/* The row as it is to be; strings borrowed.  checked: just now. */
int webhook_registration_put(struct pg *p, int64_t integration_id, const char *callback_url,
			     const char *webhook_id, const char *state, const char *reason,
			     int64_t again_in_ms, struct err *err)
	__attribute__((warn_unused_result));
int webhook_registration_drop(struct pg *p, int64_t integration_id, struct err *err)
	__attribute__((warn_unused_result)); /* -ENOENT */
typedef void (*webhook_registration_fn)(const struct webhook_registration *r, const char *partner,
					void *arg);
/* due: those that are to be looked at now, of active integrations; at most 100.  partner NULL: of any. */
int webhook_registration_each(struct pg *p, const char *partner, bool due,
			      webhook_registration_fn fn, void *arg, struct err *err)
	__attribute__((warn_unused_result));

#endif
