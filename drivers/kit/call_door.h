/* Inside the door: what call_*.c and auth_*.c share, and nobody else includes.
 *
 * A route is what every call of one integration has in common, worked out once: URL roots, headers,
 * limits.  It is found by the integration's id and thrown away when its fingerprint (driver, base URL,
 * environment, the settings the manifest uses) no longer fits.  Calls under way keep theirs by a reference. */
#ifndef DRIVERS_KIT_CALL_DOOR_H
#define DRIVERS_KIT_CALL_DOOR_H

#include "common/base/arena.h"
#include "common/base/metrics.h"
#include "drivers/kit/auth.h"
#include "drivers/kit/call.h"
#include "drivers/kit/call_idmap.h"

#define DOOR_ROUTES_MAX 10000
#define DOOR_HEADERS_MAX 24    /* manifest headers with Accept and User-Agent */
#define DOOR_ENDPOINTS_MAX 100 /* series by endpoint; later ones are counted as "other" */
#define DOOR_BODY_MAX_BYTES (16 * 1024 * 1024)
#define DOOR_PERMIT_WAIT_MS 3000
#define DOOR_PERMIT_STALE_MS 60 /* between grant and handing over; older permits are given back */
#define DOOR_TOKEN_TOTAL_MS 30000

struct endpoint;

/* What one call has passed: the breaker of its host, and of its group of endpoints. */
struct guard {
	struct breaker *b[2];
	struct breaker_pass pass[2];
	int n;
};

/* One a partner: the pool, and the handles of its series. */
struct door_partner {
	struct door_partner *next;
	char *name;
	struct http_pool *pool;
	struct metric *waits;
	struct endpoint *endpoints;
	int n_endpoints;
};

struct door {
	struct redis *redis;
	struct pg *pg;
	struct keyring *keyring;
	int64_t permit_wait_ms;
	char *egress;
	char *public_url; /* NULL: not said */
	struct limiter *limiter;
	struct auth_store *auth;
	struct breakers *breakers;
	struct tape *tape; /* NULL: none */
	struct door_partner *partners;
	struct idmap routes; /* integration -> struct route */
};

/* Where a partner's URLs go for one integration (design.md section 3, --base-url). */
struct roots {
	struct buf base; /* stands for api.base: "http://127.0.0.1:9099/v1" */
	struct buf root; /* stands for its scheme and host: "http://127.0.0.1:9099" */
};
void roots_init(struct roots *out, const struct driver *d, const struct integration *i);
void roots_clear(struct roots *r);

enum { HELD_PARTNER, HELD_INTEGRATION, HELD_EGRESS, HELD_SCOPES };

struct group_limits;

/* What this process has told Redis of a limit that a header states. */
struct limit_told {
	const struct manifest_limit *of;
	int64_t stated, again_ms; /* loop clock: said again then, since Redis forgets */
};

struct route {
	int refs;
	uint64_t fingerprint;
	const struct driver *driver;
	struct door_partner *partner;
	struct roots roots;
	struct http_header headers[DOOR_HEADERS_MAX]; /* both strings owned */
	int n_headers;
	struct limit_set limits;
	struct group_limits *groups;        /* the same with a group of endpoints beside them */
	int scope_of[HELD_SCOPES];          /* index into limits.scopes, -1: none */
	bool bounded;                       /* there is something to ask the limiter for */
	int64_t held_until_ms[HELD_SCOPES]; /* as this process told the limiter; Redis' clock */
	struct breaker *breaker;            /* of the host; NULL: none */
	struct breaker *group_breakers[BREAKER_GROUPS_MAX];
	int unhinted; /* 429s in a row that did not say for how long */
	struct manifest_limit_header *seen;
	int n_seen;              /* names in lower case, owned */
	struct limit_told *told; /* one for each of them */
};

/* -EINVAL with err: no base URL for this environment, a setting is missing, too many limits. */
int route_get(struct caller *c, struct route **out, struct err *err)
	__attribute__((warn_unused_result));
void route_put(struct route *r);                                             /* NULL is fine */
struct door_partner *door_partner(struct door *d, const struct manifest *m); /* found or made */
const char *setting_text(const struct integration *i, const char *name,
			 struct buf *keep); /* NULL: not set */

/* The same, or its default; NULL: neither. */
const char *cfg_text(const struct manifest *m, const struct integration *i, const char *name,
		     struct buf *keep);

/* call_limits.c */
int64_t limit_share(int64_t n, double share); /* at least 1 */
int route_limits(struct route *r, const struct caller *c, struct err *err)
	__attribute__((warn_unused_result));
void route_limits_free(struct route *r);
struct limit_set *route_limits_of(struct route *r, const char *group); /* NULL: no group */
/* Calls under way of the partner's host over all workers, from the next permit on; 0: unbounded. */
void route_partner_flight(struct route *r, int flight);
/* What the answer says that it cost, where the manifest names a header for it.  Before the permit is released. */
void route_charge(struct caller *c, struct route *r, const char *group, const struct permit *permit,
		  const struct http_response *h);

/* The whole URL of a call.  query_name and query_value: the credential, or NULL; name "": it stands in
 * the path, before the call's own.  -EINVAL: not on the partner's hosts. */
int route_url(const struct route *r, const struct call_spec *spec, const char *query_name,
	      const char *query_value, struct buf *out, struct err *err)
	__attribute__((warn_unused_result));

/* call_redirect.c: where the answer sends a GET, on the very host that was asked.  Appends; false: nowhere that is followed. */
bool redirect_target(const struct route *r, const struct call_spec *spec,
		     const struct http_response *h, struct buf *out);

/* Waits.  Sends once, without permit or credential of its own; `auth` is the credential's header value (or query
 * value) or NULL.  0: r->http is an exchange that ended.  -ESTALE: the permit was too old when the connection was there. */
#define EXCHANGE_MORE_MAX AUTH_HEADERS_MAX
struct exchange {
	struct route *route;
	const struct call_spec *spec;
	const char *auth_header, *auth_query; /* NULL: none; the value */
	const char *auth_name;
	int64_t total_ms, read_ms;
	bool at_token_url;
	struct permit *permit;          /* NULL: none is needed */
	const struct http_header *more; /* beside the manifest's; at most EXCHANGE_MORE_MAX */
	int n_more;
	bool sign;    /* by auth.sign, as it is sent */
	bool *handed; /* set when the request is about to be written; NULL: nobody asks */
};
int exchange_send(struct caller *c, const struct exchange *x, struct call_result *r,
		  struct err *err) __attribute__((warn_unused_result));
/* call.c.  Waits.  What must not come twice is written down before it goes. */
int exchange_mark(const struct call_spec *spec, struct err *err)
	__attribute__((warn_unused_result));
/* hook_sign.c.  What the driver's C adds to a call: to its URL, and headers, of the arena. */
int exchange_sign(struct caller *c, const struct exchange *x, struct buf *url, struct arena *a,
		  struct hook_fields *headers, struct err *err) __attribute__((warn_unused_result));
/* call_chaos.c.  Waits.  As http_send, but for the share of calls that fail on purpose. */
int chaos_send(const struct caller *c, const struct exchange *x, const struct http_request *q,
	       struct http_response *out) __attribute__((warn_unused_result));
bool chaos_made(const struct http_response *h); /* this answer */
/* Parses, classifies, counts and logs what exchange_send brought.  Does not wait.  *out: class ERR_NONE is success. */
void exchange_read(struct caller *c, const struct exchange *x, struct call_result *r,
		   struct err *out);

/* Waits.  What headers and status said of limits goes to all workers.  Fills out->retry_after_ms of a rate_limit. */
void route_feedback(struct caller *c, struct route *r, const struct http_response *h,
		    struct err *out);
#define HOLD_MAX_MS (24 * 3600 * 1000LL) /* no header is believed beyond */
void route_hold(struct caller *c, struct route *r, int held, int64_t ms, const char *reason,
		bool refused);
/* The scope that a partner means: that of its limit with this window, else the widest it has a limit for. */
int route_scope_for(const struct route *r, int64_t window_ms);

/* call_remaining.c */
void route_seen(struct route *r);
void route_zero_left(struct caller *c, struct route *r, const struct http_response *h); /* waits */
/* Less is left than our own share leaves: nobody takes more than that.  Before the permit is released; does not wait. */
void route_heed(struct caller *c, struct route *r, const char *group, const struct permit *permit,
		const struct http_response *h);
/* A limit that a header states is remembered for people, and kept to where it is lower than the manifest's.  Does not wait. */
void route_learn(struct caller *c, struct route *r, const char *group,
		 const struct http_response *h);
/* "1s 14/15, 60s 100/120", or empty. */
void route_limits_seen(const struct route *r, const struct http_response *h, struct buf *out);

/* Waits.  -EAGAIN: held (err).  *taken false: nothing limits this call. */
int permit_take(struct caller *c, struct route *r, const char *group, struct permit *out,
		bool *taken, struct err *err) __attribute__((warn_unused_result));

/* Waits where a breaker is not closed.  -EAGAIN: held (err). */
int guard_enter(struct caller *c, struct route *r, const struct call_spec *spec, struct guard *out,
		struct err *err) __attribute__((warn_unused_result));
int guard_stands(const struct guard *g, struct err *err) __attribute__((
	warn_unused_result)); /* before it is sent; as guard_enter, without waiting */
bool guard_probes(const struct guard *g);
/* Waits where there is something to tell.  sent: the partner had it in its hands; rc and err are the call's. */
void guard_leave(struct guard *g, const struct route *r, bool sent, int rc, const struct err *err);
/* A failure behind a breaker that is open by now is no failure of the job's: it waits.  Returns rc, or -EAGAIN. */
int guard_judge(const struct route *r, const struct call_spec *spec, int rc, struct err *err);
void route_breakers(struct route *r, const struct caller *c);

/* call_tape.c.  In place of http_send, past the tape if there is one.  -ENOENT: a replay that has no such exchange. */
int exchange_pass(struct caller *c, const struct exchange *x, const struct http_request *q,
		  struct call_result *r, struct err *err) __attribute__((warn_unused_result));
/* Redis' clock, or the tape's while it replays; what templates say is now, which stands still on any tape. */
int64_t door_now_us(const struct door *d);
int64_t door_now_ms(const struct door *d);
int64_t door_asked_us(const struct door *d);
/* Whether a header, parameter or field of that name is a secret (call_exchange.c). */
bool exchange_hides(const struct manifest *m, const char *name);

void door_count(struct door_partner *p, const char *endpoint, const struct http_response *h);
void call_result_init(struct call_result *r);

#endif
