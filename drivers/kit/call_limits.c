/* Which limits a call is under: the scopes of its route, worked out once, and one more set for each group of endpoints. */
#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/mem.h"
#include "drivers/kit/call_door.h"

#define FLIGHT_SLACK_MS \
	5000 /* a call whose worker died counts as under way this long after its total timeout */
#define HOST_BYTES_MAX 90
#define EGRESS_BYTES_MAX 40

struct group_limits {
	struct group_limits *next;
	const char *group; /* the manifest's */
	struct limit_set set;
};

/* A whole number times a decimal share may fall a hair short of the whole number it means. */
int64_t limit_share(int64_t n, double share)
{
	int64_t ours = (int64_t)((double)n * share + 1e-9);

	return ours > 1 ? ours : 1;
}

static struct limit_tier tier_of(const struct manifest_limit *l)
{
	return (struct limit_tier){
		.limit = limit_share(l->rate, l->share),
		.window_ms = l->window_ms,
		.kind = l->kind,
		.burst = limit_share(l->burst, l->share),
		.units = l->weight,
		.charged = l->weight_header != NULL,
		.documented = l->kind == LIMIT_BUCKET ? l->burst : l->rate,
	};
}

static int add_tiers(struct limit_scope *s, const struct manifest *m, enum limit_scope_kind kind,
		     const char *group, struct err *err)
{
	for (int i = 0; i < m->n_limits; i++) {
		const struct manifest_limit *l = &m->limits[i];

		if (l->scope != kind || (group && strcmp(l->group, group) != 0))
			continue;
		if (s->n_tiers == LIMIT_TIERS_MAX)
			return err_set(err, -EINVAL, ERR_INTERNAL, "manifest",
				       "more than %d limits of one scope", LIMIT_TIERS_MAX);
		s->tiers[s->n_tiers++] = tier_of(l);
	}
	return 0;
}

static const char *const kind_words[] = { [SCOPE_PARTNER] = "partner",
					  [SCOPE_INTEGRATION] = "integration",
					  [SCOPE_EGRESS] = "egress",
					  [SCOPE_ENDPOINTS] = "endpoints" };

/* A scope that bounds nothing is left out: it would cost Redis for each permit. */
static int add_scope(struct route *r, int held, enum limit_scope_kind kind, int flight,
		     struct err *err)
{
	const struct manifest *m = r->driver->manifest;
	struct limit_scope *s = &r->limits.scopes[r->limits.n_scopes];
	int rc;

	snprintf(s->kind, sizeof(s->kind), "%s", kind_words[kind]);
	s->shared = kind != SCOPE_INTEGRATION;
	s->flight = flight;
	s->flight_ttl_ms = m->total_ms + FLIGHT_SLACK_MS;
	rc = add_tiers(s, m, kind, NULL, err);
	if (rc < 0 || (s->n_tiers == 0 && s->flight == 0))
		return rc;
	r->bounded = true;
	r->scope_of[held] = r->limits.n_scopes++;
	return 0;
}

static bool has_group(const struct route *r, const char *group)
{
	for (const struct group_limits *g = r->groups; g; g = g->next)
		if (strcmp(g->group, group) == 0)
			return true;
	return false;
}

/* The route's own scopes and that of the group. */
static int add_group(struct route *r, const char *group, const char *host, int n, int64_t id,
		     struct err *err)
{
	struct group_limits *g = mem_new(struct group_limits);
	struct limit_scope *s = &g->set.scopes[r->limits.n_scopes];

	g->next = r->groups;
	r->groups = g;
	g->group = group;
	g->set = r->limits;
	memset(s, 0, sizeof(*s));
	snprintf(s->name, sizeof(s->name), "%.*s:i%lld:%s", n, host, (long long)id, group);
	snprintf(s->kind, sizeof(s->kind), "endpoints:%s", group);
	g->set.n_scopes++;
	return add_tiers(s, r->driver->manifest, SCOPE_ENDPOINTS, group, err);
}

/* Scopes are named after the host that answers, so that a sandbox has limits of its own.  Where
 * nothing is bounded the integration's scope is there still: a Retry-After holds it. */
int route_limits(struct route *r, const struct caller *c, struct err *err)
{
	const struct manifest *m = r->driver->manifest;
	const char *base = buf_str(&r->roots.base), *host = strstr(base, "://");
	struct limit_scope *s = r->limits.scopes;
	int n, rc;

	host = host ? host + 3 : base;
	n = (int)strcspn(host, "/");
	if (n > HOST_BYTES_MAX)
		return err_set(err, -EINVAL, ERR_CLIENT, "settings",
			       "the base URL's host is too long");
	r->limits.partner = m->partner;
	r->limits.who = c->integration->id;
	snprintf(s->name, sizeof(s->name), "%.*s:partner", n, host);
	rc = add_scope(r, HELD_PARTNER, SCOPE_PARTNER, m->concurrency_partner, err);
	s = &r->limits.scopes[r->limits.n_scopes];
	snprintf(s->name, sizeof(s->name), "%.*s:e:%.*s", n, host, EGRESS_BYTES_MAX,
		 c->door->egress);
	if (rc == 0)
		rc = add_scope(r, HELD_EGRESS, SCOPE_EGRESS, 0, err);
	s = &r->limits.scopes[r->limits.n_scopes];
	snprintf(s->name, sizeof(s->name), "%.*s:i%lld", n, host, (long long)c->integration->id);
	if (rc == 0)
		rc = add_scope(r, HELD_INTEGRATION, SCOPE_INTEGRATION, m->concurrency_integration,
			       err);
	if (rc == 0 && r->limits.n_scopes == 0)
		r->scope_of[HELD_INTEGRATION] = r->limits.n_scopes++;
	for (int i = 0; rc == 0 && i < m->n_limits; i++)
		if (m->limits[i].group && !has_group(r, m->limits[i].group))
			rc = add_group(r, m->limits[i].group, host, n, c->integration->id, err);
	return rc;
}

void route_limits_free(struct route *r)
{
	for (struct group_limits *g = r->groups, *next; g; g = next) {
		next = g->next;
		free(g);
	}
}

void route_partner_flight(struct route *r, int flight)
{
	int scope = r->scope_of[HELD_PARTNER];

	if (scope < 0)
		return;
	r->limits.scopes[scope].flight = flight;
	for (struct group_limits *g = r->groups; g; g = g->next)
		g->set.scopes[scope].flight = flight;
}

struct limit_set *route_limits_of(struct route *r, const char *group)
{
	for (struct group_limits *g = r->groups; group && g; g = g->next)
		if (strcmp(g->group, group) == 0)
			return &g->set;
	return &r->limits;
}

/* ---- what a call really cost ---- */

static int64_t cost_of(const struct http_response *h, const char *header)
{
	const char *text = http_response_header(h, header);
	char *end = NULL;
	double n = text ? strtod(text, &end) : 0;

	return text && end != text && n >= 0 && n < 1e9 ? (int64_t)ceil(n) : -1;
}

static const char *cost_header(const struct manifest *m, const struct limit_tier *t,
			       const char *group)
{
	for (int i = 0; i < m->n_limits; i++) {
		const struct manifest_limit *l = &m->limits[i];

		if (l->weight_header && l->window_ms == t->window_ms &&
		    (!l->group || (group && strcmp(l->group, group) == 0)))
			return l->weight_header;
	}
	return NULL;
}

void route_charge(struct caller *c, struct route *r, const char *group, const struct permit *permit,
		  const struct http_response *h)
{
	struct limit_set *set = route_limits_of(r, group);

	for (int i = 0; i < set->n_scopes; i++) {
		for (int k = 0; k < set->scopes[i].n_tiers; k++) {
			struct limit_tier *t = &set->scopes[i].tiers[k];
			const char *header =
				t->charged ? cost_header(r->driver->manifest, t, group) : NULL;
			int64_t cost = header ? cost_of(h, header) : -1;

			if (cost < 0)
				continue;
			limiter_charge(c->door->limiter, permit, i, t->window_ms,
				       cost - permit->units[i][k]);
			/* The next one is taken to cost as much as the dearest yet. */
			if (cost > t->units)
				t->units = cost < t->limit ? cost : t->limit;
		}
	}
}

/* ---- for people ---- */

static const char *scope_word(const struct route *r, int scope)
{
	static const char *const words[] = { [HELD_PARTNER] = "partner",
					     [HELD_INTEGRATION] = "integration",
					     [HELD_EGRESS] = "egress" };

	for (int i = 0; i < HELD_SCOPES; i++)
		if (r->scope_of[i] == scope)
			return words[i];
	return "";
}

static void tell(const struct route *r, limits_fn fn, void *arg)
{
	for (int i = 0; i < r->limits.n_scopes; i++)
		fn(scope_word(r, i), &r->limits.scopes[i], arg);
	for (const struct group_limits *g = r->groups; g; g = g->next) {
		char *word = mem_printf("endpoints:%s", g->group);

		fn(word, &g->set.scopes[g->set.n_scopes - 1], arg);
		free(word);
	}
}

int limits_each(const struct driver *d, const struct integration *i, const char *egress,
		limits_fn fn, void *arg, struct err *err)
{
	struct door door = { .egress = (char *)egress };
	struct caller c = { .door = &door, .driver = d, .integration = i };
	struct route *r = mem_new(struct route);
	int rc;

	r->driver = d;
	for (int k = 0; k < HELD_SCOPES; k++)
		r->scope_of[k] = -1;
	roots_init(&r->roots, d, i);
	rc = route_limits(r, &c, err);
	if (rc == 0)
		tell(r, fn, arg);
	route_limits_free(r);
	roots_clear(&r->roots);
	free(r);
	return rc;
}

struct print_waiting {
	struct buf *out;
	int n;
};

static void print_waiting(const char *partner, const char *scope, int jobs, void *arg)
{
	struct print_waiting *p = arg;

	if (p->n == DOOR_WAITING_SHOWN)
		return;
	buf_puts(p->out, p->n++ ? ",{\"partner\":" : "{\"partner\":");
	json_quote(p->out, partner, strlen(partner));
	buf_puts(p->out, ",\"scope\":");
	json_quote(p->out, scope, strlen(scope));
	buf_printf(p->out, ",\"jobs\":%d}", jobs);
}

const char *door_egress(const struct door *d)
{
	return d->egress;
}

void door_print_waiting(const struct door *d, struct buf *out)
{
	struct print_waiting p = { out, 0 };

	buf_putc(out, '[');
	limiter_waiting(d->limiter, print_waiting, &p);
	buf_putc(out, ']');
}
