/* The forms that wait, and what the server's refusals mean. */
#include <assert.h>
#include <errno.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/mem.h"
#include "common/io/co.h"
#include "common/io/pg_conn.h"

/* On the heap: a request that is under way cannot be recalled, so its late answer must find
 * this. */
struct pg_wait {
	struct completion done;
	bool orphaned;
	int rc, n;
	PGresult **results;
	struct err err;
};

static enum err_class refusal_class(const char *sqlstate)
{
	static const char *const data[] = { "22", "23" };
	static const char *const passing[] = { "08", "53", "57", "40", "55P03", "25006" };

	for (size_t i = 0; i < ARRAY_LEN(data); i++)
		if (strncmp(sqlstate, data[i], 2) == 0)
			return ERR_DATA;
	for (size_t i = 0; i < ARRAY_LEN(passing); i++)
		if (strncmp(sqlstate, passing[i], strlen(passing[i])) == 0)
			return ERR_TRANSIENT;
	return ERR_INTERNAL;
}

/* The primary message alone: DETAIL quotes whole rows. */
int pg_refused(const PGresult *res, struct err *err)
{
	const char *state = PQresultErrorField(res, PG_DIAG_SQLSTATE);
	const char *text = PQresultErrorField(res, PG_DIAG_MESSAGE_PRIMARY);
	const char *constraint = PQresultErrorField(res, PG_DIAG_CONSTRAINT_NAME);

	state = state ? state : "XX000";
	return err_set(err, -EPROTO, refusal_class(state), state, "%s%s%s%s",
		       text ? text : "refused", constraint ? " (" : "",
		       constraint ? constraint : "", constraint ? ")" : "");
}

static void on_answer(int rc, PGresult **results, int n, const struct err *err, void *arg)
{
	struct pg_wait *w = arg;

	if (w->orphaned) {
		for (int i = 0; i < n; i++)
			PQclear(results[i]);
		free(w);
		return;
	}
	w->rc = rc;
	for (int i = 0; i < n; i++)
		w->results[i] = results[i];
	if (rc < 0)
		w->err = *err;
	completion_done(&w->done);
}

int pg_exec_all(struct pg *p, const struct pg_statement *st, int n, PGresult **results,
		int64_t deadline_ms, struct err *err)
{
	struct pg_wait *w;
	int rc;

	assert(co_self());
	if (co_is_cancelled()) /* cleanup that can wait for nothing should send nothing either */
		return err_set(err, -ECANCELED, ERR_CANCELLED, "cancelled", "cancelled");
	w = mem_zalloc(sizeof(*w) + (size_t)n * sizeof(PGresult *));
	w->results = (PGresult **)(w + 1);
	w->done.waiter = co_self();
	pg_send(p, st, n, on_answer, w);
	rc = completion_wait(&w->done, "postgres", deadline_ms);
	if (rc < 0) {
		/* The pool may be gone after a wait, but then its requests have ended and rc is
		 * 0. */
		w->orphaned = !pg_unsend(p, w);
		if (!w->orphaned)
			free(w);
		return err_set(err, rc, rc == -ECANCELED ? ERR_CANCELLED : ERR_TRANSIENT,
			       "deadline",
			       rc == -ECANCELED ? "cancelled" : "no answer from Postgres in time");
	}
	rc = w->rc;
	if (rc < 0 && err)
		*err = w->err;
	for (int i = 0; i < n && rc == 0; i++)
		results[i] = w->results[i];
	free(w);
	return rc;
}

int pg_exec(struct pg *p, const char *sql, struct pg_params *params, PGresult **res,
	    int64_t deadline_ms, struct err *err)
{
	struct pg_statement st = { .sql = sql, .params = params };
	PGresult *got = NULL;
	int rc = pg_exec_all(p, &st, 1, &got, deadline_ms, err);

	if (rc < 0)
		return rc;
	if (res)
		*res = got;
	else
		PQclear(got);
	return 0;
}

int pg_execv(struct pg *p, PGresult **res, int64_t deadline_ms, struct err *err, const char *sql,
	     ...)
{
	struct pg_params params;
	const char *s;
	va_list ap;
	int rc;

	pg_params_init(&params);
	va_start(ap, sql);
	while ((s = va_arg(ap, const char *)))
		pg_text(&params, s);
	va_end(ap);
	rc = pg_exec(p, sql, &params, res, deadline_ms, err);
	pg_params_clear(&params);
	return rc;
}

int64_t pg_get_int(const PGresult *r, int row, int col)
{
	return PQgetisnull(r, row, col) ? 0 : strtoll(PQgetvalue(r, row, col), NULL, 10);
}

const char *pg_get(const PGresult *r, int row, int col)
{
	return PQgetisnull(r, row, col) ? NULL : PQgetvalue(r, row, col);
}

static int script_failed(PGconn *db, PGresult *res, struct err *err)
{
	const char *text = PQerrorMessage(db);
	int rc;

	if (res && PQresultErrorField(res, PG_DIAG_SQLSTATE)) {
		const char *at = PQresultErrorField(res, PG_DIAG_STATEMENT_POSITION);

		rc = pg_refused(res, err);
		if (err && at)
			err_set(err, 0, err->class, err->rule, "%s (at character %s)", err->text,
				at);
		return rc;
	}
	return err_set(err, -ECONNRESET, ERR_TRANSIENT, "connection", "%.*s",
		       (int)strcspn(text, "\n"), text);
}

/* The blocking form is right where it is used: a command that does one thing, before any loop
 * runs. */
int pg_run_script_blocking(const char *url, const char *sql, struct err *err)
{
	const char *const steps[] = { "begin", sql, "commit" };
	PQconninfoOption *parsed = PQconninfoParse(url, NULL);
	PGconn *db;
	int rc = 0;

	if (!parsed)
		return err_set(err, -EINVAL, ERR_INTERNAL, "database",
			       "not a Postgres URL; expected postgres://user@host:port/name");
	PQconninfoFree(parsed);
	db = PQconnectdb(url);
	if (PQstatus(db) != CONNECTION_OK)
		rc = script_failed(db, NULL, err);
	for (size_t i = 0; rc == 0 && i < ARRAY_LEN(steps); i++) {
		PGresult *res = PQexec(db, steps[i]);
		ExecStatusType status = PQresultStatus(res);

		if (status != PGRES_COMMAND_OK && status != PGRES_TUPLES_OK &&
		    status != PGRES_EMPTY_QUERY)
			rc = script_failed(db, res, err);
		PQclear(res);
	}
	PQfinish(db);
	return rc;
}
