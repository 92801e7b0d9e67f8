/* Notifications (sql/0024): what somebody is told, by which channels in which order, and what became of each attempt.
 *
 * An attempt is an outbound request (request.h), made in one statement with its row here, so that whoever dies there is one or none.
 * All functions with a struct pg wait, and may run twice. */
#ifndef COMMON_STORE_NOTIFICATION_H
#define COMMON_STORE_NOTIFICATION_H

#include "common/store/store.h"

/* ---- what a company wants ---- */
struct notify_settings {
	int64_t channels[8]; /* integrations, the first choice first */
	int n_channels;
	int64_t patience_ms;
	const char *quiet_from, *quiet_until, *tz; /* "22:00"; NULL: no quiet hours, UTC */
	int64_t rate, rate_ms;                     /* 0: none */
};
/* -EINVAL: Postgres does not know the time zone, or no time of day. */
int notify_settings_put(struct pg *p, int64_t company_id, const struct notify_settings *s,
			struct err *err) __attribute__((warn_unused_result));
/* The integrations alone, in order.  -ENOENT. */
int notify_channels(struct pg *p, int64_t company_id, int64_t out[8], int *n, struct err *err)
	__attribute__((warn_unused_result));

/* ---- templates ---- */
/* company 0: everybody's; parts: JSON. */
int notify_template_put(struct pg *p, int64_t company_id, const char *name, const char *parts,
			struct err *err) __attribute__((warn_unused_result));
int notify_template_drop(struct pg *p, int64_t company_id, const char *name, struct err *err)
	__attribute__((warn_unused_result)); /* -ENOENT */
/* The company's own, else everybody's; *out is the caller's.  -ENOENT. */
int notify_template_get(struct pg *p, int64_t company_id, const char *name, cJSON **out,
			struct err *err) __attribute__((warn_unused_result));

/* ---- one of them ---- */
struct notification_new {
	int64_t company_id, attempts;
	const char *entry, *fingerprint, *template, *recipient, *job_id;
	const char *fingerprint_before; /* as the version before wrote it of the same args */
	const char *
		plan; /* JSON: a list of {"channel", "partner", "integration_id", "action", "steps", "args"} */
	bool urgent, in_doubt;
};
/* Writes it unless its entry is there; *id is its id either way, *same whether it has these args.  When it may be sent is decided
 * here, one after another for each recipient. */
int notification_add(struct pg *p, const struct notification_new *n, int64_t *id, bool *same,
		     struct err *err) __attribute__((warn_unused_result));

/* What was asked by HTTP, as an outbound request that is done: its notifications are there (ids: a JSON list).  *id is its own, the same
 * for the same entry. */
int notification_request(struct pg *p, const struct notification_new *n, const char *args,
			 const char *ids, int64_t *id, struct err *err)
	__attribute__((warn_unused_result));

/* ---- what goes on ---- */
struct notification_due {
	int64_t id, attempt, attempts;
	char state[16]; /* of the attempt's request; "": there is none yet */
	char tells[8];  /* as outbound_requests has it */
};
/* Those that wait to be begun, or whose attempt has ended; *out is the caller's (free). */
int notification_due(struct pg *p, int limit, struct notification_due **out, int *n,
		     struct err *err) __attribute__((warn_unused_result));
/* The next attempt, as a request that is still to be queued; *request_id 0: somebody else has begun it. */
int notification_begin(struct pg *p, const struct notification_due *d, int64_t *request_id,
		       struct err *err) __attribute__((warn_unused_result));
/* state: sent | failed; NULL: it stays as it is until the request ends otherwise. */
int notification_end(struct pg *p, const struct notification_due *d, const char *state,
		     struct err *err) __attribute__((warn_unused_result));
/* Ends attempts whose patience is over and of which nothing was ever sent, so that the next channel has its turn.  A job of
 * theirs that comes up later finds its deadline passed.  *n of them. */
int notification_give_up(struct pg *p, int limit, int64_t *n, struct err *err)
	__attribute__((warn_unused_result));
/* Before an attempt is sent.  One that had failed may be tried again, by a replay of its dead letter or a person's word: not once the
 * next channel has had its turn. */
struct notification_look {
	bool went_on;
	int64_t quiet_ms; /* it is quiet for so long; 0: it is not */
};
int notification_look(struct pg *p, int64_t id, int64_t request_id, struct notification_look *out,
		      struct err *err) __attribute__((warn_unused_result));

/* ---- what partners tell of it, and of requests that are no notification's ---- */
struct notification_report {
	int64_t integration_id;
	const char *external_id; /* NULL: not said */
	const char *reference;   /* ours, the request's number; NULL: not said */
	const char *delivery;    /* sent | delivered | failed */
	const char *reason;      /* NULL: none */
	int64_t at_us;
};
/* What came later never goes back: delivered and failed stay.  -ENOENT: it is of no request (yet).  *unknown: the request that nobody
 * knew of, and that was sent, as is plain now; 0: none.  One that is still under way is marked (request_step.told). */
int notification_told(struct pg *p, const struct notification_report *r, int64_t *unknown,
		      struct err *err) __attribute__((warn_unused_result));

/* Newest first, an attempt an object (borrowed). */
struct notification_filter {
	int64_t id, company_id;
	const char *state; /* NULL: any */
	int limit;         /* 0: 50 */
};
typedef void (*notification_fn)(const cJSON *row, void *arg);
int notification_each(struct pg *p, const struct notification_filter *f, notification_fn fn,
		      void *arg, struct err *err) __attribute__((warn_unused_result));

#endif
