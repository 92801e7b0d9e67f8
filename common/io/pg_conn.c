/* One connection, in pipeline mode.  Of each statement libpq yields its result, then NULL; of
 * each sync one PGRES_PIPELINE_SYNC without a NULL after it.  So results are counted, and a
 * second NULL in a row means that nothing more is there (PQgetResult would not say so otherwise,
 * nor block). */
#include "common/io/pg_conn.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "common/base/log.h"
#include "common/base/mem.h"

/* libpq's words, without its second line of advice. */
static void note(struct pg_conn *c, const char *text)
{
	if (c->why[0])
		return;
	snprintf(c->why, sizeof(c->why), "%s", text);
	c->why[strcspn(c->why, "\r\n")] = '\0';
}

static void drop(struct event **ev)
{
	if (*ev)
		event_free(*ev);
	*ev = NULL;
}

static void on_doom(void *arg)
{
	struct pg_conn *c = arg;

	pg_conn_close(c, c->why);
}

static void doom(struct pg_conn *c, const char *why)
{
	if (c->state != PG_UP)
		return;
	note(c, why);
	c->state = PG_DOOMED;
	c->pool->n_up--;
	loop_defer(on_doom, c);
}

static void flush(struct pg_conn *c)
{
	int left;

	if (c->state != PG_UP)
		return;
	left = PQflush(c->db);
	if (left < 0)
		doom(c, PQerrorMessage(c->db));
	else if (left > 0)
		event_add(c->write, NULL);
}

static void on_write(evutil_socket_t fd, short what, void *arg)
{
	flush(arg);
}

/* The server (or libpq itself, then without a SQLSTATE) has given the connection up, not the
 * statement. */
static bool is_end_of_connection(const PGresult *res)
{
	const char *severity = PQresultErrorField(res, PG_DIAG_SEVERITY_NONLOCALIZED);

	return !PQresultErrorField(res, PG_DIAG_SQLSTATE) ||
	       (severity && (strcmp(severity, "FATAL") == 0 || strcmp(severity, "PANIC") == 0));
}

/* One that became a standby, or whose database was made read-only, stays so for this connection: the next one may find the
 * primary (target_session_attrs), or the setting changed back. */
static void leave_if_read_only(struct pg_conn *c, const struct err *err)
{
	struct pg *p = c->pool;
	int64_t now = loop_now_ms();

	if (strcmp(err->rule, "25006") != 0 || (p->left_ms && now - p->left_ms < PG_LEAVE_MS))
		return;
	p->left_ms = now;
	doom(c, "the server is read-only");
}

/* What a session knows is not good any more: a new one knows nothing. */
static void leave_if_lost(struct pg_conn *c, const struct pg_request *r, const struct err *err)
{
	if (pg_request_is_lost(r, err))
		doom(c, "a prepared statement is not good any more");
}

static void take_sync(struct pg_conn *c)
{
	struct pg_request *r = pg_queue_pop(&c->sent);
	struct err err = { 0 };

	c->used_ms = c->pool->last_ok_ms = loop_now_ms();
	failpoint_after(r);
	if (pg_request_verdict(r, &err) == 0) {
		pg_pool_accepted(c->pool);
	} else if (err.class == ERR_TRANSIENT) {
		pg_pool_refused(c->pool, &err);
		leave_if_read_only(c, &err);
		leave_if_lost(c, r, &err);
	}
	pg_request_end(r, 0, NULL);
}

/* Of pg->bounds: nobody wants it, unless it says why the rest is refused. */
static void take_bounds(struct pg_request *r, PGresult *res)
{
	r->bounded = false;
	if (PQresultStatus(res) == PGRES_FATAL_ERROR)
		r->unbounded = res;
	else
		PQclear(res);
}

static void take(struct pg_conn *c, PGresult *res)
{
	struct pg_request *r = c->sent.head;

	switch (PQresultStatus(res)) {
	case PGRES_PIPELINE_SYNC:
		PQclear(res);
		take_sync(c);
		return;
	case PGRES_COPY_IN:
	case PGRES_COPY_OUT:
	case PGRES_COPY_BOTH:
		doom(c, "COPY cannot run in a pipeline");
		break;
	case PGRES_FATAL_ERROR:
		if (is_end_of_connection(res)) {
			doom(c, PQresultErrorMessage(res));
			break;
		}
		/* fallthrough */
	default:
		if (r->bounded) {
			take_bounds(r, res);
			return;
		}
		if (r->got < r->n) {
			r->results[r->got++] = res;
			return;
		}
	}
	PQclear(res);
}

static void drain(struct pg_conn *c)
{
	int nulls = 0;

	while (c->state == PG_UP && c->sent.head && nulls < 2 && !PQisBusy(c->db)) {
		PGresult *res = PQgetResult(c->db);

		if (res)
			take(c, res);
		nulls = res ? 0 : nulls + 1;
	}
}

/* What came before the end of the connection still counts: drained first, closed after. */
static void on_read(evutil_socket_t fd, short what, void *arg)
{
	struct pg_conn *c = arg;
	bool alive = PQconsumeInput(c->db);

	c->busy_since_ms = loop_now_ms();
	if (!c->sent.head && alive)
		PQisBusy(c->db); /* parses notices and the farewell of a server that shuts down */
	drain(c);
	if (!alive || PQstatus(c->db) == CONNECTION_BAD)
		doom(c, PQerrorMessage(c->db));
	flush(c);
	if (c->pool->queue.n)
		pg_pool_room(c->pool);
}

/* A FATAL between two requests comes as a notice. */
static void on_notice(void *arg, const char *text)
{
	struct pg_conn *c = arg;

	if (strncmp(text, "FATAL", 5) == 0)
		note(c, text);
	else
		log_event(LOG_DEBUG, "postgres_notice", LS("text", text));
}

void pg_conn_ready(struct pg_conn *c)
{
	int fd = PQsocket(c->db);

	drop(&c->read);
	c->why[0] = '\0';
	PQsetNoticeProcessor(c->db, on_notice, c);
	if (PQsetnonblocking(c->db, 1) < 0 || !PQenterPipelineMode(c->db)) {
		pg_conn_close(c, "libpq refused pipeline mode");
		return;
	}
	c->read = event_new(loop_base(), fd, EV_READ | EV_PERSIST, on_read, c);
	c->write = event_new(loop_base(), fd, EV_WRITE, on_write, c);
	event_add(c->read, NULL);
	c->state = PG_UP;
	c->used_ms = c->pool->last_ok_ms = loop_now_ms();
	c->pool->n_up++;
	pg_session_begin(c);
}

void pg_conn_statement(struct pg_conn *c, struct pg_request *r, const char *sql, int n,
		       const struct pg_param *v)
{
	enum { MAX = ARRAY_LEN(((struct pg_params *)0)->v) };
	const char *values[MAX];
	int lengths[MAX], formats[MAX];
	Oid types[MAX];
	char name[16];
	int sent;

	for (int i = 0; i < n; i++) {
		types[i] = v[i].type;
		values[i] = v[i].bytes;
		lengths[i] = v[i].len;
		formats[i] = v[i].format;
	}
	if (c->state != PG_UP)
		return;
	if (pg_session_prepared(c, sql, n, v, name)) {
		r->by_name = true;
		sent = PQsendQueryPrepared(c->db, name, n, values, lengths, formats, 0);
	} else {
		sent = PQsendQueryParams(c->db, sql, n, types, values, lengths, formats, 0);
	}
	if (!sent)
		doom(c, PQerrorMessage(c->db));
}

void pg_conn_bound(struct pg_conn *c, struct pg_request *r)
{
	if (!c->pool->bounds || c->direct)
		return;
	r->bounded = true;
	pg_conn_statement(c, r, c->pool->bounds, 0, NULL);
}

void pg_conn_sync(struct pg_conn *c, struct pg_request *r)
{
	if (!c->sent.head)
		c->busy_since_ms = loop_now_ms();
	pg_queue_push(&c->sent, r);
	if (c->state == PG_UP && !PQpipelineSync(c->db))
		doom(c, PQerrorMessage(c->db));
	flush(c);
}

/* Back to PG_DOWN; the requests under way are the caller's. */
static struct pg_queue release(struct pg_conn *c)
{
	struct pg_queue lost = c->sent;

	if (c->state == PG_UP)
		c->pool->n_up--;
	c->state = PG_DOWN;
	c->greeting = false;
	pg_queue_init(&c->sent);
	pg_dial_stop(c);
	drop(&c->read);
	drop(&c->write);
	loop_undefer(on_doom, c);
	PQfinish(c->db);
	c->db = NULL;
	return lost;
}

static void end_all(struct pg_queue *lost, const char *why)
{
	struct pg_request *r;
	struct err err;

	err_set(&err, 0, ERR_TRANSIENT, "connection",
		"the connection to Postgres was lost, the outcome is unknown: %s", why);
	while ((r = pg_queue_pop(lost)))
		pg_request_end(r, -ECONNRESET, &err);
}

/* The requests are answered last: what they call may send again, and must find the pool in
 * order. */
void pg_conn_close(struct pg_conn *c, const char *why)
{
	struct pg_queue lost;
	char text[sizeof(c->why)];

	note(c, why);
	memcpy(text, c->why, sizeof(text));
	lost = release(c);
	c->why[0] = '\0';
	pg_pool_down(c->pool, text);
	end_all(&lost, text);
}

void pg_conn_init(struct pg_conn *c, struct pg *p)
{
	c->pool = p;
	pg_queue_init(&c->sent);
}

void pg_conn_clear(struct pg_conn *c)
{
	struct pg_queue lost = release(c);

	end_all(&lost, "the pool was closed");
}

void pg_conn_retire(struct pg_conn *c)
{
	struct pg_queue none = release(c);

	(void)none;
}
