/* Inside of the store: one statement as all files here send it.  Nobody else includes this. */
#ifndef COMMON_STORE_QUERY_H
#define COMMON_STORE_QUERY_H

#include "common/base/err.h"
#include "common/io/pg.h"

/* An upper bound of one statement, connecting included; the coroutine's own deadline may come
 * first. */
#define QUERY_TIMEOUT_MS 30000
int64_t query_deadline(void);

/* All wait.  params (NULL: none) are cleared whatever happens; res may be NULL. */
int query(struct pg *p, const char *sql, struct pg_params *params, PGresult **res, struct err *err)
	__attribute__((warn_unused_result));
/* As query, but -ENOENT (err untouched) where no row came or was touched. */
int query_some(struct pg *p, const char *sql, struct pg_params *params, PGresult **res,
	       struct err *err) __attribute__((warn_unused_result));
/* The same, and of each row its text and its number, borrowed for the call. */
typedef void (*query_pair_fn)(const char *text, int64_t n, void *arg);
int query_pairs(struct pg *p, const char *sql, struct pg_params *params, query_pair_fn fn,
		void *arg, struct err *err) __attribute__((warn_unused_result));

/* Of an UPDATE that only a row takes which is still open: *was_open says whether there was one. */
int query_open(struct pg *p, const char *sql, struct pg_params *params, bool *was_open,
	       struct err *err) __attribute__((warn_unused_result));
/* rc, but where no row was touched (-ENOENT) what that means, with err. */
int query_no_integration(int rc, int64_t id, struct err *err); /* -ENOENT */
int query_stale_claim(int rc, struct err *err);                /* -ESTALE, of a request */

bool query_bool(const PGresult *r, int row, int col); /* false for NULL */
/* NULL for NULL; the caller's (free). */
char *query_dup(const PGresult *r, int row, int col);
/* Adds 0 as SQL NULL: how the structs of store.h say "none". */
void query_id(struct pg_params *p, int64_t id);
/* Partners say our own secrets back to us: what is told by outsiders goes into arrays through these.  NULL is SQL NULL. */
void query_add_text(struct pg_array *a, const char *s);
void query_add_json(struct pg_array *a, const char *s);

/* Of the integration $1: status $2, for the reason $3. */
#define INTEGRATION_STATUS(paused_by, paused_until)                                           \
	"UPDATE integrations SET status_since = CASE WHEN status = $2 THEN status_since ELSE" \
	" now() END, status = $2, status_reason = $3, paused_by = " paused_by                 \
	", paused_until = " paused_until " WHERE id = $1"

/* Of an INSERT INTO alerts AS a: the same (kind, scope) is one row, open again. */
#define ALERT_AGAIN                                                                              \
	" ON CONFLICT (kind, scope) DO UPDATE SET severity = excluded.severity, what ="          \
	" excluded.what, todo = excluded.todo, state = 'open', last_seen = now(), resolved_at =" \
	" NULL, since = CASE a.state WHEN 'open' THEN a.since ELSE now() END, count = CASE"      \
	" a.state WHEN 'open' THEN a.count + 1 ELSE 1 END"

#endif
