#include "worker/tasks/owed.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/log.h"
#include "common/base/mem.h"
#include "common/base/metrics.h"
#include "common/io/loop.h"

#define REDIS_WAIT_MS 5000

static void say(const char *partner, const char *reason, int64_t n)
{
	metric_add(metrics_counter("integration_imports_left_out_total",
				   "Scheduled imports that were not queued: one catch-up follows.",
				   "partner", partner, "reason", reason, NULL),
		   (double)n);
	log_event(LOG_INFO, "imports_left_out", LS("of", partner), LS("reason", reason),
		  LI("imports", n));
}

/* One look at a partner's breakers for all integrations of a company. */
static int partner_at(struct attempt *a, struct owed *o, const char *name, int *at)
{
	struct breaker_list l = { 0 };
	struct breaker_homes h = { 0 };
	struct queue *q;
	int rc, i = 0;

	while (i < o->n_partners && strcmp(o->partners[i].partner, name) != 0)
		i++;
	*at = i;
	if (i < o->n_partners)
		return 0;
	q = queue_new(a->worker->redis, name, NULL);
	rc = breaker_list(q, false, &l, loop_now_ms() + REDIS_WAIT_MS, &a->err);
	if (rc == 0 && l.n)
		rc = breaker_homes(q, &h, loop_now_ms() + REDIS_WAIT_MS, &a->err);
	queue_free(q);
	if (rc < 0) {
		breaker_list_clear(&l);
		return rc;
	}
	o->partners = mem_realloc(o->partners, sizeof(*o->partners) * (size_t)(i + 1));
	memset(&o->partners[i], 0, sizeof(o->partners[i]));
	snprintf(o->partners[i].partner, sizeof(o->partners[i].partner), "%s", name);
	o->partners[i].breakers = l;
	o->partners[i].homes = h;
	o->n_partners++;
	return 0;
}

int owed_look(struct attempt *a, struct owed *o, const char *partner)
{
	int at;

	return partner_at(a, o, partner, &at);
}

int owed_check(struct attempt *a, struct owed *o, int64_t integration, const char *partner)
{
	const struct breaker_seen *b;
	const char *host;
	int at, rc = partner_at(a, o, partner, &at);

	if (rc < 0)
		return rc;
	host = breaker_home(&o->partners[at].homes, integration);
	b = host ? breaker_find(&o->partners[at].breakers, host) : NULL;
	if (!b || b->state != BREAKER_OPEN)
		return 0;
	o->partners[at].left_out++;
	o->ids = mem_realloc(o->ids, sizeof(*o->ids) * (size_t)(o->n + 1));
	o->ids[o->n++] = integration;
	return 1;
}

int owed_write(struct attempt *a, struct owed *o)
{
	int rc = catchup_owe(a->worker->pg, o->ids, o->n, &a->err);

	for (int i = 0; i < o->n_partners && rc == 0; i++)
		if (o->partners[i].left_out)
			say(o->partners[i].partner, "breaker", o->partners[i].left_out);
	return rc;
}

void owed_clear(struct owed *o)
{
	for (int i = 0; i < o->n_partners; i++) {
		breaker_list_clear(&o->partners[i].breakers);
		breaker_homes_clear(&o->partners[i].homes);
	}
	free(o->partners);
	free(o->ids);
	*o = (struct owed){ 0 };
}

static void broken(const char *partner, int64_t n, void *arg)
{
	say(partner, "auth_broken", n);
}

int owed_broken(struct attempt *a)
{
	return catchup_owe_broken(a->worker->pg, broken, NULL, &a->err);
}
