/* What makes life hard for those who write: somebody else's locks, and a Postgres that goes away. Also a crowd of coroutines,
 * and a look at the tables.  Blocking calls on purpose: while one lasts the loop stands still, so that what follows it comes after. */
#ifndef TESTS_UNIT_POSTGRES_TROUBLE_H
#define TESTS_UNIT_POSTGRES_TROUBLE_H

#include "common/base/mem.h"
#include "tests/unit/postgres.h"

#ifndef PATIENCE_MS
#define PATIENCE_MS 100000
#endif

static PGconn *other; /* somebody else's session */

/* The first value of the first row as text; "" if none. Valid until the next call. */
static inline const char *other_says(const char *sql)
{
	static char text[256];
	PGresult *res;

	if (!other || PQstatus(other) != CONNECTION_OK) {
		PQfinish(other);
		other = PQconnectdb(postgres.url);
	}
	res = PQexec(other, sql);
	text[0] = '\0';
	if (PQresultStatus(res) == PGRES_TUPLES_OK && PQntuples(res))
		snprintf(text, sizeof(text), "%s", PQgetvalue(res, 0, 0));
	else if (PQresultStatus(res) == PGRES_FATAL_ERROR)
		fprintf(stderr, "%s: %s", sql, PQerrorMessage(other));
	CHECK(PQresultStatus(res) != PGRES_FATAL_ERROR);
	PQclear(res);
	return text;
}

static inline long other_counts(const char *sql)
{
	return strtol(other_says(sql), NULL, 10);
}

static inline void other_leaves(void)
{
	PQfinish(other);
	other = NULL;
}

/* Until release(), whoever writes to the table waits. */
static inline void hold(const char *table)
{
	char sql[100];

	other_says("BEGIN");
	snprintf(sql, sizeof(sql), "LOCK TABLE %s IN ACCESS EXCLUSIVE MODE", table);
	other_says(sql);
}

static inline void release(void)
{
	other_says("COMMIT");
}

/* Waits until as many sessions stand before somebody's lock. */
static inline void wait_for_waiters(int n)
{
	int64_t end = loop_now_ms() + PATIENCE_MS;

	while (other_counts(
		       "SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock'") <
	       n) {
		if (co_sleep("waiters", 10) < 0 || loop_now_ms() > end) {
			CHECK(!"nobody waits for the lock");
			return;
		}
	}
}

/* All sessions end without a word. */
static inline void postgres_crash(void)
{
	kill(postgres.pid, SIGQUIT);
	waitpid(postgres.pid, NULL, 0);
	other_leaves(); /* not before: its locks would go with it, and those who wait would be done */
}

static inline void postgres_again(void)
{
	char server[300];
	char *serve[] = { server,       "-D", postgres.data,       "-k",
			  postgres.dir, "-c", "listen_addresses=", "-c",
			  "fsync=off",  NULL };

	program(server, "postgres");
	postgres.pid = start(serve);
	for (int i = 0; i < 1000 && (!other || PQstatus(other) != CONNECTION_OK); i++) {
		PQfinish(other);
		other = PQconnectdb(postgres.url);
		if (PQstatus(other) != CONNECTION_OK)
			usleep(20000);
	}
	CHECK(PQstatus(other) == CONNECTION_OK);
}

#ifndef TESTS_UNIT_PARTNER_H /* which has a crowd of its own */
/* ---- a crowd: n coroutines at once, each runs fn with its number ---- */
struct crowd {
	void (*fn)(int i, void *arg);
	void *arg;
	int next, left;
	struct co *waiter;
	struct co *all[1000];
};

static inline void crowd_one(void *arg)
{
	struct crowd *c = arg;
	int i = c->next++;

	c->fn(i, c->arg);
	c->all[i] = NULL;
	if (--c->left == 0 && c->waiter)
		co_wake(c->waiter);
}

/* Cleared by crowd_wait. */
static inline struct crowd *crowd_start(int n, void (*fn)(int i, void *arg), void *arg)
{
	struct crowd *c = mem_new(struct crowd);

	c->fn = fn;
	c->arg = arg;
	c->left = n;
	for (int i = 0; i < n; i++) {
		c->all[i] = co_spawn("crowd", crowd_one, c);
		CHECK(c->all[i] != NULL);
	}
	return c;
}

static inline void crowd_wait(struct crowd *c)
{
	int64_t end = loop_now_ms() + PATIENCE_MS;
	int rc = 0;

	c->waiter = co_self();
	while (c->left > 0 && rc == 0)
		rc = co_wait("crowd", end);
	CHECK(c->left == 0);
	free(c);
}
#endif

static inline void ignore_applied(int number, const char *name, void *arg)
{
}

#endif
