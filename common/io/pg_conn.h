/* Inside of the Postgres pool: what pg.c (requests, queue, growth), pg_conn.c (one connection,
 * libpq's pipeline), pg_session.c (what a session keeps) and pg_dial.c (names to addresses, start, backoff) share.  Nobody else
 * includes this.  Nothing here waits; everything runs on the loop or on the stack of the
 * coroutine that called pg_send. */
#ifndef COMMON_IO_PG_CONN_H
#define COMMON_IO_PG_CONN_H

#include <event2/event.h>
#include <stdbool.h>
#include <stdint.h>

#include "common/base/failpoint.h"
#include "common/base/secret.h"
#include "common/io/loop.h"
#include "common/io/pg.h"

enum {
	PG_HOSTS_MAX = 8,
	/* Requests under way on one connection; the rest waits unsent, and so is safe if it is
	 * lost. */
	PG_DEPTH = 64,
	/* The same while another connection is being dialled that could take its share. */
	PG_DEPTH_GROWING = 4,
	PG_AGE_MS = 20,        /* so long at its oldest request weighs like one request more */
	PG_CONNECT_MS = 10000, /* one attempt, names included; several hosts share it */
	PG_BACKOFF_MIN_MS = 50,
	PG_BACKOFF_MAX_MS = 2000,
	/* A connection beyond the first that nobody used for so long is closed. */
	PG_IDLE_MS = 60000,
	/* A pool with less patience is left to its watchdog alone. */
	PG_BOUNDED_MS = 10000,
	/* A server that has become read-only is left for another so often at most. */
	PG_LEAVE_MS = 2000,
	PG_TELL_MS = 10000, /* between two lines about refusals */
	PG_TEXTS = 256,     /* that may be prepared */
	PG_PREPARE_AT = 2,  /* times that a text must have come */
	PG_CONNECTIONS_MAX = 64
};

/* One that sessions may know by its number. */
struct pg_text {
	const char *at; /* where it stood, compared and never read */
	char *sql;
	int n; /* parameters */
	Oid *types;
	int uses;
};

/* A statement kept until a connection is up. */
struct pg_kept {
	char *sql;
	int n;
	struct pg_param *v;
};

struct pg_request {
	struct pg_request *next;
	int n, got;           /* statements, results that came */
	bool bounded;         /* the result of pg->bounds is still to come */
	PGresult *unbounded;  /* its refusal; NULL: none */
	bool by_name;         /* a statement of it was prepared before */
	struct pg_kept *kept; /* n of them while it waits unsent, else NULL */
	int64_t since_ms;     /* when it was queued */
	pg_cb cb;
	void *arg;
	FAILPOINT_FIELD
	PGresult *results[];
};

struct pg_queue {
	struct pg_request *head, **tail;
	int n;
};

enum pg_state {
	PG_DOWN,
	PG_RESOLVING,
	PG_CONNECTING,
	PG_UP,
	PG_DOOMED, /* broken: takes nothing more, and is closed from the loop, not under a caller */
};

struct pg_conn {
	struct pg *pool;
	enum pg_state state;
	PGconn *db;
	struct event *read, *write; /* made anew with each socket */
	struct pg_queue sent;       /* in the order of the answers */
	int64_t busy_since_ms;      /* of the oldest request, or the last byte since */
	int64_t used_ms;
	int64_t attempt_ms; /* when the attempt began */
	struct pg_lookup *lookup;
	int host; /* being looked up */
	char address[PG_HOSTS_MAX][64];
	char why[256]; /* what broke it */
	/* pg_session.c */
	bool greeting; /* the first request of all, for PgBouncer (to 1.18 at least) mixes up what is sent behind it */
	bool direct; /* the session is ours alone; else one request at a time */
	const struct pg_text *to_prepare;
	uint8_t prepared[PG_TEXTS];
};

struct pg_waiter {
	struct pg_waiter *next;
	struct completion *done;
	int rc;
};

struct pg {
	PQconninfoOption *parsed; /* of the URL, with the defaults of the environment */
	struct secret password;   /* registered, so that no log shows it */
	char *application_name, *shown;
	char *bounds; /* a statement before those of each request: how long they may wait; NULL: none */
	int64_t timeout_ms;
	char *host[PG_HOSTS_MAX], *port[PG_HOSTS_MAX];
	int n_hosts, first_host; /* where an attempt begins: not at one that does not answer */
	int n_conns, n_up;
	bool started, closing, told_down;
	int64_t backoff_ms, last_ok_ms;
	int64_t refused_ms, told_ms,
		left_ms; /* last refusal that passes, when it was told, when one read-only was left */
	int64_t n_refused; /* since it was told */
	struct loop_timer *retry, *tick;
	struct pg_queue queue; /* unsent */
	struct pg_waiter *waiters;
	char last_error[256], told_state[8];
	struct pg_text *texts; /* PG_TEXTS, in a table; NULL: none yet */
	struct pg_conn conns[];
};

/* pg_request.c */
void pg_queue_init(struct pg_queue *q);
void pg_queue_push(struct pg_queue *q, struct pg_request *r);
struct pg_request *pg_queue_pop(struct pg_queue *q);
struct pg_request *pg_request_new(int n, pg_cb cb, void *arg);
void pg_request_keep(struct pg_request *r, const struct pg_statement *st); /* copies them */
void pg_request_unkeep(struct pg_request *r);
void pg_request_free(struct pg_request *r);
/* 0, or the first refusal among its results. */
int pg_request_verdict(const struct pg_request *r, struct err *err);
/* What it named is not good any more: the plan no longer fits the tables, or somebody has thrown it away (DISCARD ALL). */
bool pg_request_is_lost(const struct pg_request *r, const struct err *err);
/* Calls back and frees.  rc 0: the results are handed over, unless one is a refusal. */
void pg_request_end(struct pg_request *r, int rc, const struct err *err);

/* pg.c */
void pg_pool_up(struct pg *p);   /* a connection became ready */
void pg_pool_room(struct pg *p); /* one has room again: sends what is queued, grows */
/* Takes back the queued request with that arg; false: it is sent. */
bool pg_unsend(struct pg *p, void *arg);
void pg_pool_down(struct pg *p, const char *why); /* one was lost, or could not be had */

/* The server refuses for now: told, and counted. */
void pg_pool_refused(struct pg *p, const struct err *err);
void pg_pool_accepted(struct pg *p);

/* pg_conn.c */
void pg_conn_init(struct pg_conn *c, struct pg *p);
void pg_conn_clear(struct pg_conn *c);  /* its requests end with -ECONNRESET */
void pg_conn_retire(struct pg_conn *c); /* closes one that is idle */
void pg_conn_ready(struct pg_conn *c);  /* connected: pipeline mode, events */
void pg_conn_statement(struct pg_conn *c, struct pg_request *r, const char *sql, int n,
		       const struct pg_param *v);
/* Before the statements of r. */
void pg_conn_bound(struct pg_conn *c, struct pg_request *r);
/* Ends the statements of r, and takes it. */
void pg_conn_sync(struct pg_conn *c, struct pg_request *r);
/* From the loop alone; its requests end with -ECONNRESET. */
void pg_conn_close(struct pg_conn *c, const char *why);

/* pg_session.c */
/* The statement that bounds a transaction; NULL: it is left to the watchdog. The caller frees it. */
char *pg_session_bounds(int64_t timeout_ms);
void pg_session_begin(struct pg_conn *c); /* when it was answered: pg_pool_up */
/* True: name is what the server knows the statement by. */
bool pg_session_prepared(struct pg_conn *c, const char *sql, int n, const struct pg_param *v,
			 char name[16]);
void pg_session_after(struct pg_conn *c); /* a request was sent: prepares what it brought */
void pg_texts_free(struct pg *p);

/* pg_dial.c */
int pg_dial_parse(struct pg *p, const char *url, struct err *err)
	__attribute__((warn_unused_result));
void pg_dial_clear(struct pg *p);
void pg_dial(struct pg_conn *c); /* starts to connect */
void pg_dial_stop(struct pg_conn *c);

/* pg_exec.c */
/* Fills err from the server's answer; -EPROTO. */
int pg_refused(const PGresult *res, struct err *err);

#endif
