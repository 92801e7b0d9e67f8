/* One request from its arrival to its answer: logged, hit by the faults that were ordered for it, made to wait
 * the simulated latency, answered exactly once.  Handlers run in coroutines; functions that say so wait. */
#ifndef TESTS_SANDBOX_EXCHANGE_H
#define TESTS_SANDBOX_EXCHANGE_H

#include <stdbool.h>
#include <stdint.h>

#include "common/base/buf.h"
#include "common/io/co.h"
#include "common/io/httpd.h"
#include "tests/sandbox/account.h"
#include "tests/sandbox/faults.h"
#include "tests/sandbox/journal.h"
#include "tests/sandbox/rng.h"

struct exchange;

/* What all requests share. */
struct sandbox {
	struct accounts *accounts;
	struct journal *journal;
	struct faults *faults;
	struct content_plan plan;
	int64_t latency_ms, jitter_ms;
	struct rng rng;             /* jitter */
	struct exchange *under_way; /* list of those in a handler, cancelled when we stop */
	bool stopping;
};

struct exchange {
	struct sandbox *sandbox;
	struct httpd_request *q;
	struct account *account; /* as its token says; NULL: none or unknown */
	int64_t arrived_us;
	uint64_t seq;  /* in the journal */
	bool admitted; /* counted in account->in_flight */
	bool answered;
	struct fault fault; /* what was ordered for it; all zero: nothing */
	struct co *co;
	struct exchange *prev, *next;
};

/* Takes a request in.  Returns false when it was answered already (a fault).  May wait (a fault's delay). */
bool exchange_begin(struct exchange *x, struct sandbox *s, struct httpd_request *q);
void exchange_end(struct exchange *x);
/* Waits for the simulated latency.  false: we are stopping, nothing more to do. */
bool exchange_latency(struct exchange *x) __attribute__((warn_unused_result));

void exchange_reply(struct exchange *x, int status, const struct buf *json);
void exchange_reply_as(struct exchange *x, int status, const char *content_type,
		       const struct buf *body);
/* {"error": …, "message": …}; retry_after_us 0 leaves the header out. */
void exchange_refuse(struct exchange *x, int status, const char *error, const char *message,
		     int64_t retry_after_us);
/* X-RateLimit-Limit-Second and its like. */
void exchange_limit_headers(struct exchange *x);
const char *exchange_token(const struct exchange *x); /* after "Bearer ", or NULL; borrowed */

/* Joins a sandbox's list of requests under way (what exchange_begin does, for handlers without a journal entry). */
void exchange_enlist(struct exchange *x, struct sandbox *s);
void exchange_leave(struct exchange *x);
bool sandbox_latency(struct sandbox *s)
	__attribute__((warn_unused_result)); /* waits; false: stopping */

/* The routes. */
void guesty_routes(struct httpd *h, struct sandbox *s);
void open_meteo_routes(struct httpd *h, struct sandbox *s);
void nominatim_routes(struct httpd *h, struct sandbox *s);
void frankfurter_routes(struct httpd *h, struct sandbox *s);
void hostaway_routes(struct httpd *h, struct sandbox *s);
void hostaway_free(void);
void cloudbeds_routes(struct httpd *h, struct sandbox *s);
void cloudbeds_free(void);
void booking_connectivity_routes(struct httpd *h, struct sandbox *s);
void booking_demand_routes(struct httpd *h, struct sandbox *s);
void airbnb_routes(struct httpd *h, struct sandbox *s);
void control_routes(struct httpd *h, struct sandbox *s);

#endif
