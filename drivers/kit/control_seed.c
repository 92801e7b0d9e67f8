/* The limiter's logs are gone with Redis' data: what Postgres knows of calls takes their place, before anybody claims. */
#include <stdlib.h>
#include <string.h>

#include "common/base/log.h"
#include "common/base/mem.h"
#include "common/queue/limit_learn.h"
#include "common/store/store.h"
#include "drivers/kit/call.h"
#include "drivers/kit/control.h"

#define WINDOWS_MAX 16
#define SHARED_MAX 32 /* a partner's hosts */

/* A scope that integrations share, and what all of them have called. */
struct shared {
	struct limit_scope scope;
	int64_t used[LIMIT_TIERS_MAX];
};

struct seeding {
	struct redis *redis;
	const struct driver *driver;
	const struct integration *integration;
	struct calls_known *known;
	int n, at; /* by integration; the first of this one */
	struct shared *shared;
	int n_shared;
	int64_t deadline_ms;
	int rc;
	struct err err;
};

static int64_t known_of(const struct seeding *s, int64_t window_ms)
{
	for (int i = s->at; i < s->n && s->known[i].integration == s->integration->id; i++)
		if (s->known[i].window_ms == window_ms)
			return s->known[i].calls;
	return 0;
}

static int64_t units_of(const struct limit_tier *t)
{
	return t->units > 1 ? t->units : 1;
}

static struct shared *shared_of(struct seeding *s, const struct limit_scope *scope)
{
	for (int i = 0; i < s->n_shared; i++)
		if (strcmp(s->shared[i].scope.name, scope->name) == 0)
			return &s->shared[i];
	if (s->n_shared == SHARED_MAX)
		return NULL;
	s->shared[s->n_shared] = (struct shared){ .scope = *scope };
	return &s->shared[s->n_shared++];
}

static void seed_scope(const char *word, const struct limit_scope *scope, void *arg)
{
	struct seeding *s = arg;
	struct shared own = { .scope = *scope }, *to = &own;

	/* Which call went out from which address Postgres does not know. */
	if (s->rc < 0 || strcmp(word, "egress") == 0 || scope->n_tiers == 0)
		return;
	if (strcmp(word, "partner") == 0 && !(to = shared_of(s, scope)))
		return;
	for (int k = 0; k < scope->n_tiers; k++)
		to->used[k] += known_of(s, scope->tiers[k].window_ms) * units_of(&scope->tiers[k]);
	if (to == &own)
		s->rc = limit_seed(s->redis, s->driver->manifest->partner, scope, own.used,
				   s->deadline_ms, &s->err);
}

static void seed_integration(const struct integration *i, void *arg)
{
	struct seeding *s = arg;

	while (s->at < s->n && s->known[s->at].integration < i->id)
		s->at++;
	if (s->rc < 0 || s->at == s->n || s->known[s->at].integration != i->id)
		return;
	s->integration = i;
	s->rc = limits_each(s->driver, i, "", seed_scope, s, &s->err) < 0 ? 0 : s->rc;
}

static int seed_shared(struct seeding *s)
{
	for (int i = 0; s->rc == 0 && i < s->n_shared; i++)
		s->rc = limit_seed(s->redis, s->driver->manifest->partner, &s->shared[i].scope,
				   s->shared[i].used, s->deadline_ms, &s->err);
	return s->rc;
}

static int windows_of(const struct manifest *m, int64_t out[WINDOWS_MAX])
{
	int n = 0;

	for (int i = 0; i < m->n_limits && n < WINDOWS_MAX; i++) {
		int k = 0;

		while (k < n && out[k] != m->limits[i].window_ms)
			k++;
		if (k == n)
			out[n++] = m->limits[i].window_ms;
	}
	return n;
}

int control_seed(struct redis *r, struct pg *p, const struct driver *d, int64_t deadline_ms,
		 struct err *err)
{
	struct seeding s = { .redis = r, .driver = d, .deadline_ms = deadline_ms };
	const char *partner = d->manifest->partner;
	int64_t windows[WINDOWS_MAX];
	int n = windows_of(d->manifest, windows), rc;

	if (n == 0)
		return 0;
	rc = calls_lately(p, partner, windows, n, &s.known, &s.n, err);
	if (rc < 0)
		return rc;
	if (s.n) {
		s.shared = mem_zalloc(sizeof(*s.shared) * SHARED_MAX);
		rc = integration_each(p, 0, partner, NULL, seed_integration, &s, err);
		if (rc == 0 && (rc = seed_shared(&s)) < 0 && err)
			*err = s.err;
		free(s.shared);
		log_event(LOG_WARN, "limits_seeded", LS("partner", partner), LI("from", s.n),
			  LS("reason", "Redis has lost its data"));
	}
	free(s.known);
	return rc;
}
