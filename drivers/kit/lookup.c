#include "drivers/kit/lookup.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "common/base/id.h"
#include "common/base/log.h"
#include "common/base/metrics.h"
#include "common/io/co.h"
#include "common/io/loop.h"
#include "drivers/kit/call_door.h"
#include "drivers/kit/lookup_parts.h"

#define REDIS_MS 5000
#define LEASE_SLACK_MS \
	10000 /* beside two calls: for a permit, a token, the pause of a quick retry */
#define LEASE_MAX_MS 120000
#define WAIT_SLACK_MS 5000 /* so that one who died has his lease run out first */
#define FAILED_MS 1000     /* for so long nobody else asks what has just failed */
#define FAILED_MIN_MS 100  /* of a wait for the limiter … */
#define FAILED_MAX_MS 5000 /* … which says for how long */
#define PAUSE_FIRST_MS 10  /* between looks for an answer that another process fetches */
#define PAUSE_MAX_MS 200

/* One question on its way. */
struct asking {
	struct caller *c;
	const struct lookup_ask *ask;
	const struct manifest_lookup *lookup;
	struct question q;
	char made[ID_LEN + 1];
	const char *owner;
	int64_t lease_ms, until_ms; /* until: it waits for another's answer */
	bool shared;                /* it waited for one */
	struct cache_look look;
	struct lookup_answer *out;
	struct buf *exchange;
};

static void count(const struct asking *a, const char *outcome)
{
	metric_add(
		metrics_counter(
			"integration_cache_total",
			"Lookups by where their answers came from: hit, negative, shared (another's call), stale, missing; miss: a call was made.",
			"partner", a->c->driver->manifest->partner, "name", a->lookup->name,
			"outcome", outcome, NULL),
		1);
}

/* ---- answers ---- */

static void set_reason(struct lookup_answer *out, const char *why)
{
	snprintf(out->reason, sizeof(out->reason), "%s", why);
}

static void set_missing(struct asking *a, const char *why)
{
	a->out->state = LOOKUP_MISSING;
	set_reason(a->out, why);
}

static void set_none(struct asking *a, const char *why)
{
	set_missing(a, why);
	a->out->none = true;
}

/* The entry's data, as they were kept. */
static void set_kept(struct asking *a, enum lookup_state state)
{
	a->out->state = state;
	a->out->age_ms = a->look.age_ms;
	a->out->cached = true;
	buf_clear(&a->out->data);
	a->out->data = a->look.entry.text;
	a->look.entry.text = (struct buf)BUF_INIT;
}

static bool has_data(const struct asking *a)
{
	return a->look.found && a->look.entry.kind == CACHE_DATA;
}

/* Nothing was learned: an older answer, a placeholder, or the error. */
static int fall_back(struct asking *a, int rc, struct err *err)
{
	const struct manifest *m = a->c->driver->manifest;
	bool waits = err->class == ERR_HOLD || err->class == ERR_RATE_LIMIT;

	if (rc == -ECANCELED || err->class == ERR_BAD_JOB || err->class == ERR_INTERNAL)
		return rc;
	if (has_data(a)) {
		set_kept(a, LOOKUP_STALE);
		set_reason(a->out, err->text);
		count(a, "stale");
	} else if (m->critical || (waits && a->ask->patient)) {
		return rc;
	} else {
		set_missing(a, err->text);
		if (a->lookup->placeholder) {
			a->out->state = LOOKUP_PLACEHOLDER;
			json_print(a->lookup->placeholder, &a->out->data);
		}
		count(a, "missing");
	}
	log_event(LOG_INFO, "lookup_degraded", LS("of", m->partner), LS("name", a->lookup->name),
		  LS("class", err_class_name(err->class)), LS("reason", err->text));
	return 0;
}

static int refused(struct asking *a, const char *why, struct err *err)
{
	err_set(err, -EREMOTEIO, ERR_CLIENT, "lookup", "%s", why);
	return fall_back(a, -EREMOTEIO, err);
}

/* What is in the cache and fresh. */
static int answer_fresh(struct asking *a, struct err *err)
{
	const char *why = buf_str(&a->look.entry.text);

	a->out->cached = true;
	if (has_data(a)) {
		count(a, a->shared ? "shared" : "hit");
		set_kept(a, LOOKUP_FRESH);
		return 0;
	}
	count(a, "negative");
	if (a->look.entry.kind == CACHE_REFUSED)
		return refused(a, why, err);
	set_none(a, why);
	return 0;
}

static int answer_stale(struct asking *a)
{
	a->out->refresh = a->look.state == CACHE_REFRESH;
	count(a, "stale");
	set_kept(a, LOOKUP_STALE);
	set_reason(a->out, "it is being fetched anew");
	return 0;
}

/* ---- fetching ---- */

static void keep(struct asking *a, enum cache_kind kind, const char *text, size_t len,
		 int64_t sent_ms)
{
	const struct manifest_lookup *l = a->lookup;
	bool data = kind == CACHE_DATA;
	struct cache_life life = { .ttl_ms = data ? l->ttl_ms : l->negative_ms,
				   .stale_ms = data ? l->stale_ms : 0 };
	struct err err = { 0 };

	if (data && l->revalidate)
		life.soft_ms = l->ttl_ms < l->stale_ms ? l->ttl_ms : l->stale_ms;
	/* What was fetched is answered all the same. */
	if (cache_put(a->c->door->redis, &a->q.key, a->owner, kind, text, len, sent_ms, &life,
		      loop_now_ms() + REDIS_MS, &err) < 0)
		log_event(LOG_WARN, "answer_not_kept", LS("of", a->c->driver->manifest->partner),
			  LS("name", l->name), LS("reason", err.text));
}

static int64_t failed_ms(const struct err *e)
{
	int64_t ms = e->retry_after_ms;

	if (e->class != ERR_HOLD && e->class != ERR_RATE_LIMIT)
		return FAILED_MS;
	return ms < FAILED_MIN_MS ? FAILED_MIN_MS : ms > FAILED_MAX_MS ? FAILED_MAX_MS : ms;
}

static int failed(struct asking *a, int rc, struct err *err)
{
	struct redis *r = a->c->door->redis;

	/* Our own time was over, or Redis was away: that says nothing to others. */
	if (rc == -ECANCELED || rc == -ETIMEDOUT || rc == -ECONNRESET) {
		cache_leave(r, &a->q.key, a->owner);
		return rc;
	}
	cache_fail(r, &a->q.key, a->owner, err, failed_ms(err));
	return fall_back(a, rc, err);
}

static int fetched(struct asking *a, const struct call_result *r, struct err *err)
{
	struct buf *data = &a->out->data;
	int rc = lookup_data(a->lookup, r->json, data, err);

	if (rc == 0 && data->len > CACHE_MAX_BYTES)
		rc = err_set(
			err, -EBADMSG, ERR_DATA, "answer size",
			"the answer of %s has %zu KiB, at most %d KiB are taken: narrow it by \"result\" and \"map\"",
			a->lookup->get, data->len >> 10, CACHE_MAX_BYTES >> 10);
	if (rc == 0) {
		a->out->state = LOOKUP_FRESH;
		keep(a, CACHE_DATA, data->data, data->len, r->observed_us / 1000);
		return 0;
	}
	buf_reset(data);
	if (rc != -ENODATA)
		return failed(a, rc, err);
	keep(a, CACHE_NONE, "not found", strlen("not found"), r->observed_us / 1000);
	set_none(a, "not found");
	return 0;
}

/* A failure behind a breaker, or one that opened it, comes as a hold: of a job that waits for it there would be no end. */
static int as_failure(const struct call_result *r, int rc, struct err *err)
{
	if (err->class != ERR_HOLD ||
	    (strcmp(err->rule, "breaker") != 0 && !r->http.status && !r->http.failure))
		return rc;
	err->class = ERR_TRANSIENT;
	err->retry_after_ms = 0;
	return -EREMOTEIO;
}

static int not_fetched(struct asking *a, const struct call_result *r, int rc, struct err *err)
{
	int64_t sent_ms = r->observed_us / 1000;

	if (err->class == ERR_CLIENT && call_found_none(rc, r, err)) {
		keep(a, CACHE_NONE, "not found", strlen("not found"), sent_ms);
		set_none(a, "not found");
		return 0;
	}
	/* A refusal is remembered only where there is nothing better to lose. */
	if (rc == -EREMOTEIO && err->class == ERR_CLIENT && !has_data(a)) {
		keep(a, CACHE_REFUSED, err->text, strlen(err->text), sent_ms);
		return fall_back(a, rc, err);
	}
	return failed(a, as_failure(r, rc, err), err);
}

static int fetch(struct asking *a, struct err *err)
{
	struct call_spec spec = question_call(a->lookup, &a->q);
	struct call_result r;
	struct flight flight;
	int rc;

	flight_begin(&flight, a->q.key.entry);
	count(a, "miss");
	rc = call(a->c, &spec, &r, err);
	if (rc < 0 && rc != -ECANCELED && (r.http.status || r.http.failure) && a->exchange)
		call_exchange_print(a->c, &spec, &r, a->exchange);
	rc = rc == 0 ? fetched(a, &r, err) : not_fetched(a, &r, rc, err);
	call_result_clear(&r);
	flight_end(&flight);
	return rc;
}

/* ---- the way ---- */

/* Whoever has no time left, or may not call. */
static int kept(struct asking *a, struct err *err)
{
	if (a->look.state == CACHE_MINE)
		cache_leave(a->c->door->redis, &a->q.key, a->owner);
	if (a->look.state == CACHE_FRESH)
		return answer_fresh(a, err);
	err_set(err, -EAGAIN, ERR_HOLD, "lookup", "%s", a->ask->kept_only);
	return fall_back(a, -EAGAIN, err);
}

static int waited_too_long(struct asking *a, struct err *err)
{
	err_set(err, -EREMOTEIO, ERR_TRANSIENT, "lookup",
		"another worker has been asking %s of %s for too long", a->lookup->name,
		a->c->driver->manifest->partner);
	return fall_back(a, -EREMOTEIO, err);
}

/* 1: look again. */
static int step(struct asking *a, int64_t pause_ms, struct err *err)
{
	int rc;

	if (a->ask->kept_only)
		return kept(a, err);
	switch (a->look.state) {
	case CACHE_FRESH:
		return answer_fresh(a, err);
	case CACHE_STALE:
	case CACHE_REFRESH:
		return answer_stale(a);
	case CACHE_MINE:
		return fetch(a, err);
	case CACHE_FAILED:
		*err = a->look.failure;
		rc = err->class == ERR_HOLD || err->class == ERR_RATE_LIMIT ? -EAGAIN : -EREMOTEIO;
		return fall_back(a, rc, err);
	case CACHE_WAIT:
		break;
	}
	if (loop_now_ms() >= a->until_ms)
		return waited_too_long(a, err);
	a->shared = true;
	rc = flight_wait(a->q.key.entry, pause_ms, a->until_ms);
	return rc < 0 ? rc : 1;
}

static int ask_until_answered(struct asking *a, struct err *err)
{
	int64_t pause = PAUSE_FIRST_MS;
	int rc;

	do {
		rc = cache_look(a->c->door->redis, &a->q.key, a->owner, a->lease_ms,
				a->ask->refresh, &a->look, loop_now_ms() + REDIS_MS, err);
		if (rc == 0)
			rc = step(a, pause, err);
		cache_look_clear(&a->look);
		pause = pause * 3 / 2 < PAUSE_MAX_MS ? pause * 3 / 2 : PAUSE_MAX_MS;
	} while (rc == 1);
	return rc;
}

static void set_times(struct asking *a)
{
	int64_t lease = 2 * a->c->driver->manifest->total_ms + LEASE_SLACK_MS;
	int64_t wait = a->ask->wait_ms;

	a->lease_ms = lease < LEASE_MAX_MS ? lease : LEASE_MAX_MS;
	a->until_ms = loop_now_ms() + (wait ? wait : a->lease_ms + WAIT_SLACK_MS);
}

int lookup(struct caller *c, const struct lookup_ask *ask, struct lookup_answer *out,
	   struct buf *exchange, struct err *err)
{
	struct asking a = {
		.c = c, .ask = ask, .lookup = ask->lookup, .out = out, .exchange = exchange
	};
	struct err e = { 0 };
	int rc;

	memset(out, 0, sizeof(*out));
	rc = question_make(c, ask->lookup, ask->params, &a.q, &e);
	if (rc == 0) {
		id_new(a.made);
		a.owner = ask->owner ? ask->owner : a.made;
		set_times(&a);
		rc = ask_until_answered(&a, &e);
		question_clear(&a.q);
	}
	if (rc < 0) {
		lookup_answer_clear(out);
		if (err)
			*err = e;
	}
	return rc;
}
