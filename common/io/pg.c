#include "common/io/pg.h"

#include <assert.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/clock.h"
#include "common/base/log.h"
#include "common/base/mem.h"
#include "common/base/metrics.h"
#include "common/io/co.h"
#include "common/io/pg_conn.h"

static bool is_dialling(const struct pg_conn *c)
{
	return c->state == PG_RESOLVING || c->state == PG_CONNECTING || c->greeting;
}

static int depth_of_all(const struct pg *p)
{
	for (int i = 0; i < p->n_conns; i++)
		if (is_dialling(&p->conns[i]))
			return PG_DEPTH_GROWING;
	return PG_DEPTH;
}

/* Where a pooler gives each transaction to any server, one request at a time: one that comes in pieces behind another is begun at the server
 * of the first, and after its end goes on at the next (PgBouncer, to 1.18 at least), which has no such statement, or another client's. */
static int depth(const struct pg_conn *c, int of_all)
{
	return c->direct ? of_all : 1;
}

/* Whatever stands behind a statement that takes long waits for it too, so its connection is
 * avoided. */
static int64_t load(const struct pg_conn *c)
{
	return c->sent.n ? c->sent.n + (loop_now_ms() - c->busy_since_ms) / PG_AGE_MS : 0;
}

static struct pg_conn *least_loaded(struct pg *p)
{
	int most = depth_of_all(p);
	struct pg_conn *best = NULL;

	for (int i = 0; i < p->n_conns; i++) {
		struct pg_conn *c = &p->conns[i];

		if (c->state == PG_UP && !c->greeting && c->sent.n < depth(c, most) &&
		    (!best || load(c) < load(best)))
			best = c;
	}
	return best;
}

static bool any_idle(const struct pg *p)
{
	for (int i = 0; i < p->n_conns; i++)
		if (p->conns[i].state == PG_UP && !p->conns[i].sent.n)
			return true;
	return false;
}

/* One connection at a time is dialled: a server that comes back is not stormed. */
static void grow(struct pg *p)
{
	struct pg_conn *spare = NULL;

	if (p->closing || !p->started || loop_timer_pending(p->retry) ||
	    (any_idle(p) && !p->queue.n))
		return;
	for (int i = p->n_conns - 1; i >= 0; i--) {
		if (is_dialling(&p->conns[i]))
			return;
		if (p->conns[i].state == PG_DOWN)
			spare = &p->conns[i];
	}
	if (spare)
		pg_dial(spare);
}

static void send_queued(struct pg *p)
{
	struct pg_conn *c;

	while (p->queue.head && (c = least_loaded(p))) {
		struct pg_request *r = pg_queue_pop(&p->queue);

		failpoint_before(r, failpoint_sql(r->kept[r->n - 1].sql));
		pg_conn_bound(c, r);
		for (int i = 0; i < r->n; i++)
			pg_conn_statement(c, r, r->kept[i].sql, r->kept[i].n, r->kept[i].v);
		pg_request_unkeep(r);
		pg_conn_sync(c, r);
		pg_session_after(c);
	}
}

void pg_pool_room(struct pg *p)
{
	grow(p); /* first: what is dialled is to have its share */
	send_queued(p);
}

void pg_pool_up(struct pg *p)
{
	struct pg_waiter *w = p->waiters;

	if (p->told_down)
		log_event(LOG_INFO, "postgres_up", LS("url", p->shown));
	p->told_down = false;
	p->backoff_ms = 0;
	p->last_error[0] = '\0';
	for (p->waiters = NULL; w; w = w->next)
		completion_done(w->done);
	pg_pool_room(p);
}

void pg_pool_down(struct pg *p, const char *why)
{
	int64_t b = p->backoff_ms ? p->backoff_ms * 2 : PG_BACKOFF_MIN_MS;

	if (p->closing)
		return;
	/* Lost for one reason, not to be had for another: both are told. */
	bool news = !p->told_down || strcmp(p->last_error, why) != 0;
	snprintf(p->last_error, sizeof(p->last_error), "%s", why);
	if (news && !p->n_up) {
		log_event(LOG_WARN, "postgres_down", LS("url", p->shown), LS("why", why));
		p->told_down = true;
	}
	p->backoff_ms = b < PG_BACKOFF_MAX_MS ? b : PG_BACKOFF_MAX_MS;
	/* Half of the pause is jitter, so that a fleet does not come at once. */
	if (!loop_timer_pending(p->retry))
		loop_timer_set(p->retry, p->backoff_ms / 2 + clock_mono_us() % (p->backoff_ms / 2));
}

/* A line now and then says what it is, with the count of those since the last. */
void pg_pool_refused(struct pg *p, const struct err *err)
{
	int64_t now = loop_now_ms();

	metric_add(metrics_counter(
			   "longshore_postgres_refused_total",
			   "Statements that Postgres refused for now, and that are sent again.",
			   "sqlstate", err->rule, NULL),
		   1);
	p->refused_ms = now;
	p->n_refused++;
	if (p->told_ms && now - p->told_ms < PG_TELL_MS && !strncmp(p->told_state, err->rule, 7))
		return;
	snprintf(p->told_state, sizeof(p->told_state), "%.7s", err->rule);
	log_event(LOG_WARN, "postgres_refuses", LS("sqlstate", err->rule), LS("reason", err->text),
		  LI("times", p->n_refused));
	p->told_ms = now;
	p->n_refused = 0;
}

/* Others may be refused still (a lock is on one table): it is over when there was none for a while. */
void pg_pool_accepted(struct pg *p)
{
	if (!p->told_ms || loop_now_ms() - p->refused_ms < PG_TELL_MS / 2)
		return;
	log_event(LOG_INFO, "postgres_accepts", LI("times", p->n_refused));
	p->told_ms = p->n_refused = 0;
}

static void on_retry(void *arg)
{
	pg_pool_room(arg);
}

static int connect_ms(const struct pg *p)
{
	int most = p->timeout_ms < PG_CONNECT_MS ? (int)p->timeout_ms : PG_CONNECT_MS;

	return most / (p->n_hosts > 1 ? p->n_hosts : 1);
}

static void check_conn(struct pg_conn *c, int64_t now)
{
	struct pg *p = c->pool;
	char why[80];

	if (c->state == PG_UP && c->sent.head && now - c->busy_since_ms > p->timeout_ms) {
		snprintf(why, sizeof(why), "nothing heard for %lld ms", (long long)p->timeout_ms);
		pg_conn_close(c, why);
	} else if (is_dialling(c) && now - c->attempt_ms > connect_ms(p)) {
		/* One that takes connections and says nothing would keep libpq from the others. */
		if (p->n_hosts)
			p->first_host = (p->first_host + 1) % p->n_hosts;
		snprintf(why, sizeof(why), "no connection within %d ms", connect_ms(p));
		pg_conn_close(c, why);
	} else if (c->state == PG_UP && !c->sent.head && c != p->conns &&
		   now - c->used_ms > PG_IDLE_MS) {
		pg_conn_retire(c);
	}
}

/* Nothing here is told of silence by libpq: a frozen server looks like a slow one until this
 * looks. */
static void on_tick(void *arg)
{
	struct pg *p = arg;
	int64_t now = loop_now_ms();
	struct err err;

	for (int i = 0; i < p->n_conns; i++)
		check_conn(&p->conns[i], now);
	while (p->queue.head && now - p->queue.head->since_ms > p->timeout_ms) {
		err_set(&err, 0, ERR_TRANSIENT, "connection", "not sent within %lld ms: %s",
			(long long)p->timeout_ms,
			p->last_error[0] ? p->last_error : "all connections are busy");
		pg_request_end(pg_queue_pop(&p->queue), -ETIMEDOUT, &err);
	}
}

static void start(struct pg *p)
{
	int64_t every = p->timeout_ms / 8;

	if (!p->started)
		loop_timer_every(p->tick, every < 20 ? 20 : every > 500 ? 500 : every);
	p->started = true;
}

int pg_new(const struct pg_options *o, struct pg **out, struct err *err)
{
	int n = o->max_connections > 0 ? o->max_connections : 4;
	struct pg *p;
	int rc;

	if (n > PG_CONNECTIONS_MAX)
		n = PG_CONNECTIONS_MAX;
	p = mem_zalloc(sizeof(*p) + (size_t)n * sizeof(p->conns[0]));
	rc = pg_dial_parse(p, o->url, err);
	if (rc < 0) {
		pg_dial_clear(p);
		free(p);
		return rc;
	}
	p->application_name = mem_strdup(o->application_name ? o->application_name : "longshore");
	p->timeout_ms = o->timeout_ms > 0 ? o->timeout_ms : 60000;
	p->bounds = pg_session_bounds(p->timeout_ms);
	p->n_conns = n;
	p->retry = loop_timer_new(on_retry, p);
	p->tick = loop_timer_new(on_tick, p);
	pg_queue_init(&p->queue);
	for (int i = 0; i < n; i++)
		pg_conn_init(&p->conns[i], p);
	*out = p;
	return 0;
}

void pg_free(struct pg *p)
{
	struct pg_request *r;
	struct pg_waiter *w;
	struct err err;

	if (!p)
		return;
	p->closing = true;
	err_set(&err, 0, ERR_TRANSIENT, "connection", "the connection pool was closed");
	for (int i = 0; i < p->n_conns; i++)
		pg_conn_clear(&p->conns[i]);
	while ((r = pg_queue_pop(&p->queue)))
		pg_request_end(r, -ECONNRESET, &err);
	for (w = p->waiters; w; w = w->next) {
		w->rc = -ECONNRESET;
		completion_done(w->done);
	}
	loop_timer_free(p->retry);
	loop_timer_free(p->tick);
	pg_dial_clear(p);
	free(p->application_name);
	free(p->bounds);
	pg_texts_free(p);
	free(p);
}

bool pg_is_up(const struct pg *p)
{
	return p->n_up > 0;
}

int64_t pg_last_ok_ms(const struct pg *p)
{
	return p->last_ok_ms;
}

const char *pg_url_shown(const struct pg *p)
{
	return p->shown;
}

static void forget_waiter(struct pg *p, struct pg_waiter *w)
{
	for (struct pg_waiter **at = &p->waiters; *at; at = &(*at)->next)
		if (*at == w) {
			*at = w->next;
			return;
		}
}

int pg_wait_up(struct pg *p, int64_t deadline_ms, struct err *err)
{
	struct completion done = { .waiter = co_self() };
	struct pg_waiter w = { .next = p->waiters, .done = &done };
	int rc;

	if (p->n_up)
		return 0;
	start(p);
	p->waiters = &w;
	grow(p);
	rc = completion_wait(&done, "postgres", deadline_ms);
	if (rc == 0 && w.rc == 0)
		return 0;
	if (rc == 0) /* the pool is gone */
		return err_set(err, w.rc, ERR_TRANSIENT, "connection",
			       "the connection pool was closed");
	forget_waiter(p, &w);
	return err_set(err, rc, ERR_TRANSIENT, "connection", "Postgres at %s: %s", p->shown,
		       p->last_error[0] ? p->last_error : "no answer yet");
}

bool pg_has_failed(const struct pg *p)
{
	return p->last_error[0];
}

void pg_send(struct pg *p, const struct pg_statement *st, int n, pg_cb cb, void *arg)
{
	struct pg_request *r = pg_request_new(n, cb, arg);
	struct pg_conn *c;

	assert(n > 0 && !p->closing);
	start(p);
	c = p->queue.n ? NULL : least_loaded(p);
	if (c) {
		failpoint_before(r, failpoint_sql(st[n - 1].sql));
		pg_conn_bound(c, r);
		for (int i = 0; i < n; i++)
			pg_conn_statement(c, r, st[i].sql, st[i].params ? st[i].params->n : 0,
					  st[i].params ? st[i].params->v : NULL);
		pg_conn_sync(c, r);
		pg_session_after(c);
	} else {
		pg_request_keep(r, st);
		pg_queue_push(&p->queue, r);
	}
	if (!c || c->sent.n > 1)
		grow(p);
}

/* A request of which nothing was sent can be taken back. */
bool pg_unsend(struct pg *p, void *arg)
{
	struct pg_request **at = &p->queue.head;
	struct pg_request *r;

	while (*at && (*at)->arg != arg)
		at = &(*at)->next;
	r = *at;
	if (!r)
		return false;
	*at = r->next;
	if (!r->next)
		p->queue.tail = at;
	p->queue.n--;
	pg_request_free(r);
	return true;
}
