#include "drivers/kit/call_door.h"

#include <errno.h>
#include <string.h>

#include "common/base/clock.h"
#include "common/base/id.h"
#include "common/base/log.h"
#include "common/base/mem.h"
#include "common/io/co.h"
#include "common/io/loop.h"
#include "drivers/kit/tape.h"

#define QUICK_RETRY_MIN_MS 200
#define QUICK_RETRY_MAX_MS 1500
#define QUICK_RETRY_ROOM_MS 1000 /* what must be left of the job's time after the pause */
#define REDIRECTS_MAX 3
#define PERMIT_TRIES 3 /* permits that went stale before they could be used */

/* What one call needs on its way. */
struct going {
	struct caller *c;
	const struct call_spec *spec;
	struct route *route;
	bool with_auth;
	uint64_t version; /* of the credential that was sent */
	struct guard guard;
	bool sent; /* and the call ended one way or the other */
};

/* The job's clock stands still while it waits for a permit; the worker may move the deadline meanwhile, so that
 * only differences are applied. */
static void deadline_shift(int64_t ms)
{
	struct co *co = co_self();
	int64_t deadline = co_deadline(co);

	if (deadline != CO_NO_DEADLINE)
		co_set_deadline(co, deadline + ms);
}

int permit_take(struct caller *c, struct route *r, const char *group, struct permit *out,
		bool *taken, struct err *err)
{
	struct limit_set *set = route_limits_of(r, group);
	int64_t max = c->door->permit_wait_ms, room = max + QUICK_RETRY_ROOM_MS;
	int64_t began = clock_mono_ms(), wait_ms = 0, waited;
	int rc;

	*taken = false;
	if (!c->door->limiter || (!r->bounded && !group && r->held_until_ms[HELD_INTEGRATION] == 0))
		return 0;
	set->high = c->high;
	deadline_shift(room);
	rc = limiter_acquire(c->door->limiter, set, max, out, &wait_ms, NULL, CO_NO_DEADLINE, err);
	waited = clock_mono_ms() - began;
	deadline_shift(waited - room);
	c->permit_waited_ms += waited;
	metric_observe(r->partner->waits, (double)waited / 1000.0);
	if (rc == -EAGAIN)
		err->retry_after_ms = wait_ms > 0 ? wait_ms : 1;
	*taken = rc == 0;
	return rc;
}

/* A permit of a window must be used soon, or it counts in another window than the partner's; a place among the calls
 * under way has no age.  It is no older than its asking, whatever we think of Redis' clock: the first look at that one
 * may be off by half of a slow answer's time. */
static bool is_fresh(const struct going *g, const struct permit *permit)
{
	const struct limit_set *set = route_limits_of(g->route, g->spec->group);
	int tiers = 0;

	for (int i = 0; i < set->n_scopes; i++)
		tiers += set->scopes[i].n_tiers;
	return !tiers || clock_mono_us() - permit->asked_us <= DOOR_PERMIT_STALE_MS * 1000 ||
	       redis_now_ms(g->c->door->redis) - permit->granted_ms <= DOOR_PERMIT_STALE_MS;
}

static int permit_stale(struct err *err)
{
	return err_hold(err, QUICK_RETRY_ROOM_MS, "permit",
			"permits went stale before they could be used");
}

/* The credential is read after the permit is there: it may have changed while we waited for it. */
static int permit_and_credential(struct going *g, struct permit *permit, bool *taken,
				 struct buf *auth, struct err *err)
{
	struct auth_store *store = g->c->door->auth;

	for (int i = 0; i < PERMIT_TRIES; i++) {
		bool fresh;
		int rc = g->with_auth ? auth_prepare(store, g->c, err) : 0;

		if (rc == 0)
			rc = permit_take(g->c, g->route, g->spec->group, permit, taken, err);
		if (rc < 0)
			return rc;
		secret_free_buf(auth);
		if (g->with_auth)
			rc = auth_value(store, g->c, auth, &g->version, err);
		fresh = !*taken || is_fresh(g, permit);
		if (rc == 0 && fresh)
			return 0;
		if (*taken)
			limiter_refund(g->c->door->limiter, permit);
		if (rc < 0 && rc != -EAGAIN)
			return rc;
	}
	return permit_stale(err);
}

/* What was not sent (no connection, too old by then) gives its place back. */
static void permit_end(const struct going *g, struct permit *permit)
{
	if (permit->sent)
		limiter_release(g->c->door->limiter, permit);
	else
		limiter_refund(g->c->door->limiter, permit);
}

/* What the answer says of the budget, while the permit is still ours. */
static void permit_learn(const struct going *g, const struct permit *permit,
			 const struct http_response *h)
{
	if (h->status == 0)
		return;
	route_charge(g->c, g->route, g->spec->group, permit, h);
	route_heed(g->c, g->route, g->spec->group, permit, h);
	route_learn(g->c, g->route, g->spec->group, h);
	if (h->status < 400)
		limiter_eased(g->c->door->limiter, permit);
}

int exchange_mark(const struct call_spec *spec, struct err *err)
{
	struct call_mark *m = spec->mark;
	int rc;

	if (!m)
		return 0;
	m->handed = false;
	m->until_ms = clock_mono_ms() + m->good_ms;
	m->written++;
	rc = m->write(m->arg, err);
	m->refused = rc < 0;
	return rc;
}

/* One request, with a permit and a credential.  -ESTALE: the permit was too old when a connection was there, or the mark says that
 * another has the job. */
static int send_once(struct going *g, struct exchange *x, struct call_result *r, struct err *err)
{
	const struct manifest *m = g->c->driver->manifest;
	struct buf auth = BUF_INIT;
	struct permit permit = { 0 };
	bool taken = false;
	int rc = permit_and_credential(g, &permit, &taken, &auth, err);

	if (rc == 0) {
		rc = guard_stands(&g->guard, err);
		if (rc == 0 && !g->spec->mail_to) /* of a mail before its end */
			rc = exchange_mark(g->spec, err);
		if (rc < 0 && taken)
			permit_end(g, &permit);
	}
	if (rc == 0) {
		if (auth.len && (m->auth.place == AUTH_IN_QUERY || m->auth.place == AUTH_IN_PATH))
			x->auth_query = buf_str(&auth);
		else if (auth.len)
			x->auth_header = buf_str(&auth);
		x->permit = taken ? &permit : NULL;
		rc = exchange_send(g->c, x, r, err);
		if (rc == 0 && taken)
			permit_learn(g, &permit, &r->http);
		if (taken)
			permit_end(g, &permit);
	}
	secret_free_buf(&auth);
	return rc;
}

static bool waits(const struct err *e)
{
	return e->action == ACT_HOLD || (e->class == ERR_RATE_LIMIT && e->action == ACT_NONE);
}

/* Once, behind the breaker. 0, or as call() */
static int once(struct going *g, struct call_result *r, struct err *err)
{
	const struct manifest *m = g->c->driver->manifest;
	struct exchange x = { .route = g->route,
			      .spec = g->spec,
			      .sign = g->with_auth && m->auth.sign.template,
			      .auth_name = m->auth.place == AUTH_IN_PATH     ? ""
					   : m->auth.place == AUTH_IN_COOKIE ? "Cookie"
					   : m->auth.name                    ? m->auth.name
									     : "Authorization",
			      .total_ms = m->total_ms,
			      .read_ms = m->read_ms };
	bool stale = true;
	int rc = 0;

	for (int i = 0; i < PERMIT_TRIES && stale; i++) {
		rc = send_once(g, &x, r, err);
		stale = rc == -ESTALE && !(g->spec->mark && g->spec->mark->refused);
	}
	if (stale)
		return permit_stale(err);
	if (rc < 0)
		return rc;
	g->sent = true;
	exchange_read(g->c, &x, r, err);
	route_feedback(g->c, g->route, &r->http, err);
	return err->class == ERR_NONE ? 0 : waits(err) ? -EAGAIN : -EREMOTEIO;
}

/* The manifest's own cheap call goes before the job's.  0: the partner is there, whatever it answered. */
static int probe_first(struct going *g, struct err *err)
{
	const char *path = g->route->driver->manifest->breaker.probe;
	struct call_spec spec = {
		.endpoint = path, .method = "GET", .path = path, .repeatable = true
	};
	struct going probe = {
		.c = g->c, .spec = &spec, .route = g->route, .with_auth = g->with_auth
	};
	struct call_result r;
	int rc;

	if (!path)
		return 0;
	call_result_init(&r);
	probe.guard = g->guard;
	rc = once(&probe, &r, err);
	g->sent = probe.sent;
	call_result_clear(&r);
	if (rc == -EREMOTEIO && g->sent && err->class != ERR_TRANSIENT)
		rc = 0;
	return rc;
}

/* Once through the door. 0, or as call() */
static int go(struct going *g, struct call_result *r, struct err *err)
{
	int rc = guard_enter(g->c, g->route, g->spec, &g->guard, err);

	if (rc < 0)
		return rc;
	g->sent = false;
	if (guard_probes(&g->guard))
		rc = probe_first(g, err);
	if (rc == 0) {
		memset(err, 0, sizeof(*err));
		rc = once(g, r, err);
	}
	guard_leave(&g->guard, g->route, g->sent, rc, err);
	return rc;
}

/* Goes again with a permit of its own.  Where it could not be sent the first answer stands. */
static int go_again(struct going *g, struct call_result *r, struct err *err)
{
	struct call_result first = *r;
	struct err why = *err;
	int rc;

	call_result_init(r);
	memset(err, 0, sizeof(*err));
	rc = go(g, r, err);
	if (rc < 0 && r->http.status == 0 && !r->http.failure && rc != -ECANCELED &&
	    rc != -ETIMEDOUT && rc != -ESTALE) {
		call_result_clear(r);
		*r = first;
		*err = why;
		return -EREMOTEIO;
	}
	call_result_clear(&first);
	return rc;
}

/* Elsewhere on the same host; where else it stands as it is. */
static int follow(struct going *g, struct call_result *r, struct err *err, int rc)
{
	const struct call_spec *first = g->spec;
	struct call_spec spec = *first;
	struct buf at = BUF_INIT, to = BUF_INIT;

	for (int i = 0; i < REDIRECTS_MAX && rc == -EREMOTEIO && !strcmp(err->rule, "status 3xx") &&
			redirect_target(g->route, g->spec, &r->http, &to);
	     i++) {
		buf_clear(&at);
		at = to;
		to = (struct buf)BUF_INIT;
		spec.path = buf_str(&at);
		spec.n_query = 0; /* the address says it all */
		g->spec = &spec;
		rc = go_again(g, r, err);
	}
	g->spec = first;
	buf_clear(&at);
	buf_clear(&to);
	return rc;
}

/* Cut off on the way, more often than not: a page that is not what it should be says so again. */
static bool is_garbled(const struct err *e)
{
	static const char *const rules[] = { "json", "jsonl", "csv", "xml" };

	for (size_t i = 0; i < ARRAY_LEN(rules); i++)
		if (e->class == ERR_DATA && strcmp(e->rule, rules[i]) == 0)
			return true;
	return false;
}

static bool quick_retry_fits(const struct going *g, const struct err *e, int64_t pause_ms)
{
	bool again = e->action == ACT_RETRY ||
		     (e->action == ACT_NONE && (e->class == ERR_TRANSIENT || is_garbled(e)));

	if (!again || !g->spec->repeatable || strcmp(g->spec->method, "GET") != 0)
		return false;
	if (e->retry_after_ms > QUICK_RETRY_MAX_MS)
		return false;
	return co_deadline(co_self()) - loop_now_ms() > pause_ms + QUICK_RETRY_ROOM_MS;
}

static int quick_retry(struct going *g, struct call_result *r, struct err *err)
{
	int64_t pause_ms =
		QUICK_RETRY_MIN_MS + random_below(QUICK_RETRY_MAX_MS - QUICK_RETRY_MIN_MS);
	int rc;

	if (!quick_retry_fits(g, err, pause_ms))
		return -EREMOTEIO;
	if (pause_ms < err->retry_after_ms)
		pause_ms = err->retry_after_ms;
	if (tape_replays(g->c->door->tape))
		pause_ms = 0;
	rc = co_sleep("quick retry", pause_ms);
	if (rc < 0)
		return err_set(err, rc, rc == -ECANCELED ? ERR_CANCELLED : ERR_TRANSIENT, "call",
			       "ended while waiting to try again");
	return follow(g, r, err, go_again(g, r, err));
}

/* A 401: a new token, once.  The refusal stands where there is nothing new to try. */
static int refused(struct going *g, struct call_result *r, struct err *err)
{
	struct err why = { 0 };
	int rc;

	if (tape_replays(g->c->door->tape) && tape_was_asked_again(g->c->door->tape))
		return follow(g, r, err, go_again(g, r, err));
	if (!g->with_auth)
		return -EREMOTEIO;
	rc = auth_refused(g->c->door->auth, g->c, g->version, &why);
	if (rc == -ECANCELED || rc == -ETIMEDOUT) {
		*err = why;
		return rc;
	}
	if (rc < 0) {
		log_event(LOG_WARN, "auth_refused", LS("endpoint", g->spec->endpoint),
			  LS("reason", why.text));
		return -EREMOTEIO;
	}
	return follow(g, r, err, go_again(g, r, err));
}

int call(struct caller *c, const struct call_spec *spec, struct call_result *r, struct err *err)
{
	struct going g = { .c = c,
			   .spec = spec,
			   .with_auth = !spec->no_auth &&
					c->driver->manifest->auth.kind != AUTH_NONE &&
					!tape_replays(c->door->tape) };
	struct err e = { 0 };
	int rc;

	call_result_init(r);
	rc = route_get(c, &g.route, &e);
	if (rc == 0) {
		rc = follow(&g, r, &e, go(&g, r, &e));
		if (rc == -EREMOTEIO &&
		    (e.action == ACT_REFRESH || (e.class == ERR_AUTH && e.action == ACT_NONE)))
			rc = refused(&g, r, &e);
		else if (rc == -EREMOTEIO)
			rc = quick_retry(&g, r, &e);
		rc = guard_judge(g.route, spec, rc, &e);
		route_put(g.route);
	}
	if (err)
		*err = e;
	return rc;
}
