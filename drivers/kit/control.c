#include "drivers/kit/control.h"

#include <stdlib.h>
#include <string.h>

#include "common/base/mem.h"
#include "common/queue/limit_learn.h"
#include "common/queue/queue.h"
#include "common/store/store.h"
#include "drivers/kit/call.h"

static char *host_of(const struct driver *d, char *environment, char *base_url)
{
	struct integration i = { .environment = environment, .base_url = base_url };
	struct buf host = BUF_INIT;

	call_host(d, &i, &host);
	if (host.len)
		return buf_detach(&host);
	buf_clear(&host);
	return NULL;
}

/* Whose jobs a breaker holds.  Most integrations call the host of the manifest's production. */
static void fill_hosts(struct queue_control *c, const struct partner_state *s,
		       const struct driver *d)
{
	static char production[] = "production";

	c->host = host_of(d, production, NULL);
	c->hosts = mem_alloc(sizeof(*c->hosts) * (size_t)(s->n_homes + 1));
	for (int i = 0; i < s->n_homes; i++) {
		char *host = host_of(d, s->homes[i].environment, s->homes[i].base_url);

		if (!host || (c->host && strcmp(host, c->host) == 0)) {
			free(host);
			continue;
		}
		c->hosts[c->n_hosts].integration = s->homes[i].integration;
		c->hosts[c->n_hosts++].host = host;
	}
}

static void control_clear(struct queue_control *c)
{
	free(c->over);
	free((char *)c->host);
	for (int i = 0; i < c->n_hosts; i++)
		free(c->hosts[i].host);
	free(c->hosts);
}

static void fill(struct queue_control *c, const struct partner_state *s, const struct driver *d)
{
	const struct manifest *m = d ? d->manifest : NULL;

	*c = (struct queue_control){
		.generation = s->generation,
		.partner_cap = s->paused ? 0
			       : m       ? m->jobs_partner
					 : QUEUE_DEFAULT_PARTNER_CAP,
		.default_cap = m ? m->jobs_integration : QUEUE_DEFAULT_INTEGRATION_CAP,
		.over = mem_alloc(sizeof(*c->over) * (size_t)(s->n_over + 1)),
		.n_over = s->n_over,
		/* What only answers questions may know the answer. */
		.past_breakers = m && m->n_lookups && !m->n_collections,
	};
	for (int i = 0; i < s->n_over; i++) {
		c->over[i].integration = s->over[i].integration;
		c->over[i].cap = s->over[i].cap;
	}
	if (d)
		fill_hosts(c, s, d);
}

static int mirror_limits(struct redis *r, const char *partner, const struct partner_state *s,
			 int64_t deadline_ms, struct err *err)
{
	struct limit_by_hand *v = mem_alloc(sizeof(*v) * (size_t)(s->n_limits + 1));
	int rc;

	for (int i = 0; i < s->n_limits; i++)
		v[i] = (struct limit_by_hand){ s->limits[i].name, s->limits[i].window_ms,
					       s->limits[i].calls };
	rc = limit_mirror(r, partner, v, s->n_limits, deadline_ms, err);
	free(v);
	return rc;
}

int control_mirror(struct redis *r, struct pg *p, const struct driver *d, const char *partner,
		   bool redis_lost, int64_t deadline_ms, struct err *err)
{
	struct queue *q = queue_new(r, partner, NULL);
	struct partner_state state;
	struct queue_control control;
	int64_t generation;
	int rc = 0;

	/* Whoever writes it first where it is missing begins a generation: what was queued in the one before is queued again. */
	if (!redis_lost)
		rc = queue_control_lost(q, &redis_lost, deadline_ms, err);
	if (rc == 0 && redis_lost)
		rc = partner_bump_generation(p, partner, &generation, err);
	if (rc == 0 && redis_lost && d)
		rc = control_seed(r, p, d, deadline_ms, err);
	if (rc == 0)
		rc = partner_state_get(p, partner, &state, err);
	if (rc < 0) {
		queue_free(q);
		return rc;
	}
	/* First the limits: where Redis has lost all, nobody claims before control is there. */
	rc = mirror_limits(r, partner, &state, deadline_ms, err);
	if (rc == 0) {
		fill(&control, &state, d);
		rc = queue_control_set(q, &control, deadline_ms, err);
		control_clear(&control);
	}
	queue_free(q);
	partner_state_clear(&state);
	return rc;
}
