/* The one door to every partner: permit for each tier, credential attached at send time, explicit timeouts, metrics, log line,
 * header feedback (Retry-After holds everyone), error classification; one quick retry of a repeatable GET within 2 s; a 401
 * refreshes the token once.  Nothing else in the process speaks HTTP to a partner. */
#ifndef DRIVERS_KIT_CALL_H
#define DRIVERS_KIT_CALL_H

#include "common/base/arena.h"
#include "common/base/budget.h"
#include "common/base/crypto.h"
#include "common/io/http.h"
#include "common/io/pg.h"
#include "common/io/redis.h"
#include "common/queue/limiter.h"
#include "common/store/store.h"
#include "drivers/driver.h"

struct tape;
struct door; /* one a process: HTTP pools by partner, token cache, limiter */
struct door_options {
	struct redis *redis;
	struct pg *pg;
	struct keyring *keyring; /* borrowed */
	const char *epoch;
	bool beats; /* the epoch has a heartbeat, whose end says that this process is dead */
	int64_t permit_wait_ms; /* longer waits give the job back; 0 = 3,000 */
	const char *
		public_url; /* ours, as partners see it, without a slash at its end; NULL: not said */
	const char *egress; /* who shares this host's outgoing address; NULL = the host's name */
	/* Recording, or in the network's place (then redis and pg may be NULL: no permits, breakers, credentials); borrowed; NULL: none. */
	struct tape *tape;
};
struct door *door_new(const struct door_options *o);
void door_free(struct door *d);
/* Manifests or drivers were read anew: nothing worked out from the old ones is used again.  Does not wait. */
void door_forget(struct door *d);

/* Who calls: one attempt at a job.  Made by the worker; borrowed by the door. */
struct caller {
	struct door *door;
	const struct driver *driver;
	const struct integration *integration;
	bool high;                /* a person waits for it */
	int64_t permit_waited_ms; /* grows: does not count against the job's time limit (the door moves the coroutine's deadline by it) */
	int64_t calls;            /* sent */
	struct budget *
		memory; /* of the job: answers that would pass it fail with ERR_MEMORY; NULL: no limit */
	int64_t observed_us; /* out: when the last request was sent, on Redis' clock */
};

/* For a request whose effect must not come twice: what is written down before it may reach the partner. */
struct call_mark {
	int (*write)(
		void *arg, struct
		err *err); /* waits; with the permit in hand, before each sending; < 0: it is not sent */
	void *arg;
	int64_t good_ms; /* it is not sent later than this after the mark was begun: a process that slept has lost its job */
	int64_t until_ms; /* the door's: on the monotonic clock */
	bool handed;      /* out: the last sending may have reached the partner */
	int written;      /* out: how often */
	bool refused;     /* out: the last write said no; -ESTALE is an end then */
};

struct call_spec {
	const char *endpoint; /* template for metrics and logs: "/listings/{id}" */
	const char *method;   /* "GET" */
	const char *group;    /* of endpoints, with limits of its own; NULL: none */
	const char *path;     /* substituted; or an absolute URL on the partner's hosts */
	const struct manifest_pair *query;
	int n_query; /* values substituted already, unescaped */
	const char *body;
	size_t body_len;
	const char *content_type; /* NULL: none */
	const char *mail_from,
		*mail_to; /* the body is a mail from one to the other; NULL: it is none */
	const struct http_header *headers; /* beside the manifest's; at most HOOK_FIELDS_MAX */
	int n_headers;
	bool no_auth;           /* the token call itself */
	bool repeatable;        /* GETs are */
	struct call_mark *mark; /* NULL: none */
};
struct call_result {
	struct http_response http;
	cJSON *json;           /* parsed body (after decode_body), or NULL when there was none */
	int64_t observed_us;   /* when it was sent, on Redis' clock */
	struct budget *memory; /* what body and tree were taken from */
	uint32_t body_bytes, tree_bytes; /* bodies have at most 16 MiB, trees of them under 4 GiB */
};
void call_result_clear(struct call_result *r);
/* After a call that ended so: the partner has none of what was asked for.  A 404, a 410, or what the manifest says is one. */
bool call_found_none(int rc, const struct call_result *r, const struct err *e);
/* The body goes, the tree stays. */
void call_result_drop_body(struct call_result *r);

/* Waits.  0: status and rules say success.  Else -EREMOTEIO (the partner's answer, classified), -EAGAIN (hold: err.class ERR_HOLD or
 * ERR_RATE_LIMIT with retry_after_ms), -ETIMEDOUT, -ECANCELED, -ECONNRESET (Redis or Postgres lost on the way).
 * On -EREMOTEIO r keeps the exchange for the dead letter. */
int call(struct caller *c, const struct call_spec *spec, struct call_result *r, struct err *err)
	__attribute__((warn_unused_result));

/* The limits that calls of an integration are under, as the manifest says: fn("integration", scope, arg) for each scope. */
typedef void (*limits_fn)(const char *word, const struct limit_scope *s, void *arg);
int limits_each(const struct driver *d, const struct integration *i, const char *egress,
		limits_fn fn, void *arg, struct err *err) __attribute__((warn_unused_result));
/* Who waits for a permit in this process, as a JSON array; the first 50.  Appends. */
#define DOOR_WAITING_SHOWN 50
const char *door_egress(const struct door *d);
void door_print_waiting(const struct door *d, struct buf *out);

/* The exchange for a dead letter: method, URL, status, headers, bodies cut at 4 KiB, secrets removed. JSON object text, appended. */
void call_exchange_print(const struct caller *c, const struct call_spec *spec,
			 const struct call_result *r, struct buf *out);

/* The manifest's URL roots with the integration's base_url in their place (design.md section 3: every URL on the host of api.base moves). Appends. */
void call_base_url(const struct driver *d, const struct integration *i, struct buf *out);
/* An address that a person's browser is sent to, moved with the base URL as calls are.  Appends. */
void call_person_url(const struct driver *d, const struct integration *i, const char *url,
		     struct buf *out);
/* The host (with its port, where it has one) of that base URL: what limits and breakers are named after.  Appends; nothing
 * where there is no such environment. */
void call_host(const struct driver *d, const struct integration *i, struct buf *out);

#endif
