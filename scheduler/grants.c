#include "scheduler/grants.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/log.h"
#include "common/base/mem.h"
#include "common/io/loop.h"
#include "common/store/grant.h"
#include "drivers/kit/auth.h"

#define LOOK_MS (10 * 60 * 1000)
#define FIRST_LOOK_MS 5000
#define ANNOUNCE_MS (7 * 86400000LL)
#define KIND "grant_lapses"
#define USES_MAX 50 /* of a look: the others have half of their time left */

struct looking {
	struct scheduler *s;
	const struct driver *driver;
	struct pg_array lapsing; /* scopes of alerts */
	int64_t *use;            /* integrations */
	int n_use;
	bool failed;
};

static int64_t announce_ms(int64_t whole_ms)
{
	return whole_ms / 4 < ANNOUNCE_MS ? whole_ms / 4 : ANNOUNCE_MS;
}

static bool is_signed_in_to(const struct manifest *m)
{
	return m->auth.kind == AUTH_OAUTH2_CODE || m->auth.kind == AUTH_OAUTH2_DEVICE;
}

static void announce(struct looking *l, const struct grant_seen *g, int64_t left_ms,
		     const char *why)
{
	const struct manifest *m = l->driver->manifest;
	char scope[48], *what;
	struct buf todo = BUF_INIT;
	struct err err = { 0 };

	snprintf(scope, sizeof(scope), "integration:%lld", (long long)g->integration);
	pg_array_text(&l->lapsing, scope, strlen(scope));
	what = mem_printf("what %s allowed us for integration %lld%s%s ends in %lld hours: %s",
			  m->title, (long long)g->integration, *g->company ? " of " : "",
			  g->company, (long long)(left_ms > 0 ? left_ms / 3600000 : 0), why);
	auth_todo(m, g->integration, &todo);
	if (alert_raise(l->s->pg, KIND, "warning", scope, what, buf_str(&todo), &err) < 0) {
		l->failed = true;
		log_event(LOG_WARN, "alert_not_written", LS("kind", KIND), LS("reason", err.text));
	}
	buf_clear(&todo);
	free(what);
}

/* Collected first: nothing is asked of a partner while rows are read. */
struct found {
	struct looking *l;
	struct grant_seen *v;
	int n;
};

static void see(const struct grant_seen *g, void *arg)
{
	struct found *f = arg;

	f->v = mem_realloc(f->v, (size_t)(f->n + 1) * sizeof(*f->v));
	f->v[f->n] = *g;
	f->v[f->n++].company = mem_strdup(g->company);
}

static void judge(struct looking *l, const struct grant_seen *g)
{
	int64_t dies_ms = l->driver->manifest->auth.refresh.dies_unused_ms;

	if (!g->paired && is_signed_in_to(l->driver->manifest))
		return; /* nobody has allowed anything yet */
	if (g->lapses_in_ms <= ANNOUNCE_MS)
		announce(l, g, g->lapses_in_ms, "it was given for a time");
	else if (dies_ms && dies_ms - g->idle_ms <= announce_ms(dies_ms))
		announce(l, g, dies_ms - g->idle_ms, "it was not used, and could not be used now");
	if (dies_ms && g->idle_ms >= dies_ms / 2 && l->n_use < USES_MAX)
		l->use[l->n_use++] = g->integration;
}

static void use_one(struct looking *l, int64_t id)
{
	struct integration i = { 0 };
	struct err err = { 0 };
	struct caller c = { .door = l->s->door, .driver = l->driver, .integration = &i };
	int rc = integration_get(l->s->pg, id, &i, &err);

	if (rc == 0)
		rc = auth_keep_alive(&c, &err);
	log_event(rc < 0 ? LOG_WARN : LOG_INFO, rc < 0 ? "grant_not_used" : "grant_used",
		  LI("integration_id", id), LS("reason", rc < 0 ? err.text : NULL));
	integration_clear(&i);
}

static void look_at(struct looking *l)
{
	int64_t dies_ms = l->driver->manifest->auth.refresh.dies_unused_ms;
	struct found f = { .l = l };
	struct err err = { 0 };

	l->n_use = 0;
	if (grants_each(l->s->pg, l->driver->manifest->partner, dies_ms ? dies_ms / 2 : INT64_MAX,
			ANNOUNCE_MS, see, &f, &err) < 0) {
		l->failed = true;
		log_event(LOG_WARN, "grants_not_read", LS("reason", err.text));
	}
	for (int i = 0; i < f.n; i++) {
		judge(l, &f.v[i]);
		free(f.v[i].company);
	}
	free(f.v);
	for (int i = 0; i < l->n_use && l->s->keyring && !l->s->stopping; i++)
		use_one(l, l->use[i]);
}

void grants_look(struct scheduler *s)
{
	struct looking l = { .s = s };
	struct err err = { 0 };

	l.use = mem_zalloc(USES_MAX * sizeof(*l.use));
	pg_array_init(&l.lapsing, PG_TEXT);
	for (int i = 0; i < driver_set_count(s->drivers); i++) {
		l.driver = driver_at(s->drivers, i);
		if (l.driver->manifest->auth.refresh.dies_unused_ms ||
		    is_signed_in_to(l.driver->manifest))
			look_at(&l);
	}
	if (!l.failed && alert_resolve_others(s->pg, KIND, &l.lapsing, &err) < 0)
		log_event(LOG_WARN, "alert_not_resolved", LS("kind", KIND), LS("reason", err.text));
	pg_array_clear(&l.lapsing);
	free(l.use);
}

static void run(void *arg)
{
	struct scheduler *s = arg;
	int64_t pause_ms = FIRST_LOOK_MS;

	while (scheduler_sleep(s, pause_ms) == 0) {
		bool leads = leader_is_me(s) && redis_is_up(s->redis) && pg_is_up(s->pg);

		if (leads)
			grants_look(s);
		pause_ms = leads ? LOOK_MS : FIRST_LOOK_MS;
	}
}

int grants_start(struct scheduler *s)
{
	return scheduler_spawn(s, "grants", run, s);
}
