/* What is kept in a session, where it is ours alone: limits of time, and prepared statements.  Behind a pooler that
 * gives a transaction to any server (PgBouncer) neither may be: there each transaction sets its own limits, and sends
 * its text.  A pooler makes up the key by which requests are cancelled, so the process id in it is not the server's. */
#include <errno.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/log.h"
#include "common/base/mem.h"
#include "common/io/pg_conn.h"

#define PLACES 8 /* where a text may stand in the table */

enum prepared { PREPARED_NO, PREPARED_ASKED, PREPARED_YES, PREPARED_REFUSED };

/* ---- texts ---- */

static bool is_type(Oid known, const struct pg_param *v)
{
	return v->type == known || (!v->type && !v->bytes);
}

static bool is_like(const struct pg_text *t, const char *sql, int n, const struct pg_param *v)
{
	if (t->n != n || strcmp(t->sql, sql) != 0)
		return false;
	for (int i = 0; i < n; i++)
		if (!is_type(t->types[i], &v[i]))
			return false;
	return true;
}

static void text_set(struct pg_text *t, const char *sql, int n, const struct pg_param *v)
{
	free(t->sql);
	free(t->types);
	t->at = sql;
	t->sql = mem_strdup(sql);
	t->n = n;
	t->types = mem_zalloc((size_t)(n + 1) * sizeof(t->types[0]));
	for (int i = 0; i < n; i++)
		t->types[i] = v[i].type;
	t->uses = 1;
}

/* Found by where it stands, for most texts are the program's own; that it still says the same is compared. A text that came
 * once gives way, one that came again stays: its number is its name on the servers. */
static struct pg_text *text_of(struct pg *p, const char *sql, int n, const struct pg_param *v)
{
	uint64_t hash = (uint64_t)(uintptr_t)sql * 0x9e3779b97f4a7c15u >> 40;
	struct pg_text *room = NULL;

	if (!p->texts)
		p->texts = mem_zalloc(PG_TEXTS * sizeof(p->texts[0]));
	for (int i = 0; i < PLACES; i++) {
		struct pg_text *t = &p->texts[(hash + (uint64_t)i) % PG_TEXTS];

		if (t->at == sql && is_like(t, sql, n, v)) {
			t->uses += t->uses < PG_PREPARE_AT;
			return t;
		}
		if (!room && t->uses < PG_PREPARE_AT)
			room = t;
	}
	if (room)
		text_set(room, sql, n, v);
	return room;
}

void pg_texts_free(struct pg *p)
{
	for (int i = 0; p->texts && i < PG_TEXTS; i++) {
		free(p->texts[i].sql);
		free(p->texts[i].types);
	}
	free(p->texts);
}

/* ---- prepared ---- */

static void name_of(const struct pg *p, const struct pg_text *t, char name[16])
{
	snprintf(name, 16, "longshore_%d", (int)(t - p->texts));
}

/* The session and its state may be gone where rc says that the connection is. */
static void on_prepared(int rc, PGresult **results, int n, const struct err *err, void *arg)
{
	uint8_t *state = arg;

	for (int i = 0; i < n; i++)
		PQclear(results[i]);
	if (rc != -ECONNRESET)
		*state = rc == 0 ? PREPARED_YES : PREPARED_REFUSED;
}

/* A request of its own, after the one that brought the text: if that one fails, nothing of this is skipped. */
static void prepare(struct pg_conn *c, const struct pg_text *t)
{
	uint8_t *state = &c->prepared[t - c->pool->texts];
	char name[16];

	name_of(c->pool, t, name);
	*state = PREPARED_REFUSED;
	if (c->state != PG_UP || !PQsendPrepare(c->db, name, t->sql, t->n, t->types))
		return;
	*state = PREPARED_ASKED;
	pg_conn_sync(c, pg_request_new(1, on_prepared, state));
}

bool pg_session_prepared(struct pg_conn *c, const char *sql, int n, const struct pg_param *v,
			 char name[16])
{
	struct pg_text *t = c->direct ? text_of(c->pool, sql, n, v) : NULL;
	uint8_t state = t ? c->prepared[t - c->pool->texts] : PREPARED_REFUSED;

	if (state == PREPARED_YES)
		name_of(c->pool, t, name);
	else if (state == PREPARED_NO && t->uses >= PG_PREPARE_AT)
		c->to_prepare = t;
	return state == PREPARED_YES;
}

void pg_session_after(struct pg_conn *c)
{
	const struct pg_text *t = c->to_prepare;

	c->to_prepare = NULL;
	if (t)
		prepare(c, t);
}

/* ---- a session begins ---- */

static void on_answer(int rc, PGresult **results, int n, const struct err *err, void *arg)
{
	struct pg_conn *c = arg;

	if (rc == -ECONNRESET)
		return; /* of c itself too */
	if (rc == 0) {
		c->direct = strcmp(PQgetvalue(results[0], 0, 0), "t") == 0;
		PQclear(results[0]);
		log_event(LOG_DEBUG, "postgres_session", LS("url", c->pool->shown),
			  LS("kind", c->direct ? "direct" : "pooled"));
	}
	c->greeting = false;
	pg_pool_up(c->pool);
}

/* What waits for a lock (somebody's migration) is refused by the server before the watchdog gives the connection up: it would
 * wait on there, and every new try beside it.  Only where nobody has set it for the role or the database. */
static char *limits(int64_t timeout_ms, const char *when, const char *local)
{
	return mem_printf("CASE WHEN %scurrent_setting('lock_timeout') = '0' THEN"
			  " set_config('lock_timeout', '%lld', %s) END,"
			  " CASE WHEN %scurrent_setting('statement_timeout') = '0' THEN"
			  " set_config('statement_timeout', '%lld', %s) END",
			  when, (long long)timeout_ms / 3, local, when,
			  (long long)timeout_ms * 11 / 12, local);
}

char *pg_session_bounds(int64_t timeout_ms)
{
	char *sql, *both;

	if (timeout_ms < PG_BOUNDED_MS)
		return NULL;
	both = limits(timeout_ms, "", "true");
	sql = mem_printf("SELECT %s", both);
	free(both);
	return sql;
}

void pg_session_begin(struct pg_conn *c)
{
	char pid[24], when[64], *both = NULL, *sql;

	c->direct = false;
	c->greeting = true;
	c->to_prepare = NULL;
	memset(c->prepared, PREPARED_NO, sizeof(c->prepared));
	snprintf(pid, sizeof(pid), "%d", PQbackendPID(c->db));
	snprintf(when, sizeof(when), "pg_backend_pid() = %s AND ", pid);
	if (c->pool->bounds)
		both = limits(c->pool->timeout_ms, when, "false");
	sql = mem_printf("SELECT pg_backend_pid() = %s%s%s", pid, both ? ", " : "",
			 both ? both : "");
	/* Where it cannot be sent the sync alone is answered: then the session counts as a pooler's. */
	(void)PQsendQueryParams(c->db, sql, 0, NULL, NULL, NULL, NULL, 0);
	pg_conn_sync(c, pg_request_new(1, on_answer, c));
	free(both);
	free(sql);
}
