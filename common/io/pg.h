/* Postgres: a small pool of non-blocking libpq connections in pipeline mode.  Works through
 * PgBouncer in transaction mode: one transaction a sync, settings within it alone.  Where the server
 * itself answers, a text that comes again is prepared, and how long a statement may wait is set once.
 *
 * A request is one or more statements that stand or fall together (one implicit transaction,
 * ended by one sync).  Many requests may be under way on a connection (behind a pooler one); an
 * error hits only its own.  Connections are opened as needed, again with backoff when lost.  A request that was
 * under way when the connection was lost ends with -ECONNRESET: committed or not is unknown, so
 * callers send only what may run twice. */
#ifndef COMMON_IO_PG_H
#define COMMON_IO_PG_H

#include <libpq-fe.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/base/buf.h"
#include "common/base/err.h"

struct pg;

struct pg_options {
	const char *url;              /* copied; shown without the password */
	const char *application_name; /* copied */
	int max_connections;          /* 0 = 4 */
	int64_t timeout_ms;           /* watchdog for a request under way; 0 = 60,000 */
};

/* -EINVAL.  Does not connect yet: the first request or pg_wait_up does, and from then on one
 * connection is kept. */
int pg_new(const struct pg_options *o, struct pg **out, struct err *err)
	__attribute__((warn_unused_result));
void pg_free(struct pg *p);                /* requests end with -ECONNRESET; not from a pg_cb */
bool pg_is_up(const struct pg *p);         /* a connection is ready */
bool pg_has_failed(const struct pg *p);    /* no connection, and not for want of an answer yet */
int64_t pg_last_ok_ms(const struct pg *p); /* loop_now_ms of the last answer; 0 never */
const char *pg_url_shown(const struct pg *p);
/* Waits.  -ETIMEDOUT with the server's own words, -ECANCELED, -ECONNRESET (freed meanwhile). */
int pg_wait_up(struct pg *p, int64_t deadline_ms, struct err *err)
	__attribute__((warn_unused_result));

/* Parameters of one statement.  Text or binary; copied. */
struct pg_params {
	int n;
	struct pg_param {
		Oid type;
		char *bytes;
		int len, format;
	} v[64]; /* type 0: the server decides */
};
void pg_params_init(struct pg_params *p);
void pg_params_clear(struct pg_params *p);
void pg_text(struct pg_params *p, const char *s); /* NULL is SQL NULL */
void pg_text_n(struct pg_params *p, const char *s, size_t n);
void pg_int(struct pg_params *p, int64_t n); /* int8 */
void pg_null(struct pg_params *p);
void pg_bool(struct pg_params *p, bool b);
void pg_binary(struct pg_params *p, Oid type, struct buf *bytes); /* takes the buffer's memory */

/* A one-dimensional array in binary, built element by element, for unnest($1). */
struct pg_array {
	Oid element; /* PG_INT8, PG_TEXT … */
	int n, nulls;
	struct buf bytes;
};
enum {
	PG_BOOL = 16,
	PG_BYTEA = 17,
	PG_INT8 = 20,
	PG_TEXT = 25,
	PG_JSON = 114,
	PG_FLOAT8 = 701,
	PG_DATE = 1082,
	PG_TIMESTAMPTZ = 1184,
	PG_JSONB = 3802
};
void pg_array_init(struct pg_array *a, Oid element);
void pg_array_clear(struct pg_array *a);
void pg_array_null(struct pg_array *a);
void pg_array_int8(struct pg_array *a, int64_t v);
/* Also for JSON, JSONB (which gets its version byte) and bytea. */
void pg_array_text(struct pg_array *a, const char *s, size_t n);
void pg_array_float8(struct pg_array *a, double v);
void pg_array_bool(struct pg_array *a, bool v);
void pg_array_time_us(struct pg_array *a, int64_t unix_us); /* timestamptz */
void pg_array_date(struct pg_array *a, int32_t unix_days);  /* date */
/* Adds it as the next parameter and clears it. */
void pg_array_param(struct pg_params *p, struct pg_array *a);

/* One statement.  Waits.  *res (PQclear by the caller; NULL is fine) has text results.
 * 0 | -ECONNRESET (unknown outcome) | -EPROTO (refused: err->text has the message, err->rule the
 * SQLSTATE) | -ETIMEDOUT | -ECANCELED (in both it may still run, unless it was not sent yet).
 * Class of a refusal: 22, 23 data; 08, 53, 57, 40, 55P03, 25006 transient; else internal. */
int pg_exec(struct pg *p, const char *sql, struct pg_params *params, PGresult **res,
	    int64_t deadline_ms, struct err *err) __attribute__((warn_unused_result));
/* Printf-free short form: all parameters as text, ended by NULL (a NULL parameter can't be given
 * so). Waits. */
int pg_execv(struct pg *p, PGresult **res, int64_t deadline_ms, struct err *err, const char *sql,
	     ...) __attribute__((sentinel, warn_unused_result));

/* Several statements in one transaction.  Waits.  results[i] as above, all NULL on failure. */
struct pg_statement {
	const char *sql;
	struct pg_params *params;
};
int pg_exec_all(struct pg *p, const struct pg_statement *st, int n, PGresult **results,
		int64_t deadline_ms, struct err *err) __attribute__((warn_unused_result));

/* The callback form of pg_exec_all: returns at once; cb runs on the loop with n results it must
 * PQclear (rc 0), or none.  Statements and params are copied into the connection (or kept until
 * one is up).  While no connection is up the request waits, up to the timeout: -ETIMEDOUT here
 * says that it was never sent. */
typedef void (*pg_cb)(int rc, PGresult **results, int n, const struct err *err, void *arg);
void pg_send(struct pg *p, const struct pg_statement *st, int n, pg_cb cb, void *arg);

/* Values of a text result; row/col as PQgetvalue. */
int64_t pg_get_int(const PGresult *r, int row, int col); /* 0 for NULL */
const char *pg_get(const PGresult *r, int row, int col); /* NULL for NULL; borrowed */

/* For `longshore migrate` alone: runs a whole script in one transaction over an own blocking
 * connection. */
int pg_run_script_blocking(const char *url, const char *sql, struct err *err)
	__attribute__((warn_unused_result));

#endif
