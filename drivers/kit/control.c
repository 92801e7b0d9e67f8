#include "drivers/kit/control.h"

#include <stdlib.h>

#include "common/base/mem.h"
#include "common/queue/queue.h"
#include "common/store/store.h"

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
	};
	for (int i = 0; i < s->n_over; i++) {
		c->over[i].integration = s->over[i].integration;
		c->over[i].cap = s->over[i].cap;
	}
}

int control_mirror(struct redis *r, struct pg *p, const struct driver *d, const char *partner,
		   bool redis_lost, int64_t deadline_ms, struct err *err)
{
	struct partner_state state;
	struct queue_control control;
	struct queue *q;
	int64_t generation;
	int rc = 0;

	if (redis_lost)
		rc = partner_bump_generation(p, partner, &generation, err);
	if (rc == 0)
		rc = partner_state_get(p, partner, &state, err);
	if (rc < 0)
		return rc;
	fill(&control, &state, d);
	q = queue_new(r, partner, NULL);
	rc = queue_control_set(q, &control, deadline_ms, err);
	queue_free(q);
	free(control.over);
	partner_state_clear(&state);
	return rc;
}
