/* Whether partners still send us what they were told to send (longshore webhook register): once a day each is asked, and told anew
 * where it has forgotten.  What cannot be repaired raises the alert webhook_registration, and is looked at again within the
 * hour.  Run by the leader; check_after in Postgres says when, so no restart asks twice. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/id.h"
#include "common/base/log.h"
#include "common/base/mem.h"
#include "common/io/loop.h"
#include "drivers/kit/enrol.h"
#include "scheduler/scheduler.h"

#define LOOK_MS 2000
#define AGAIN_MS 3600000LL
#define PERMIT_WAIT_MS 60000 /* nobody sits there and waits */
#define DUE_MAX 100
#define KIND "webhook_registration"

struct due {
	int64_t ids[DUE_MAX];
	int n;
};

static void see_due(const struct webhook_registration *r, const char *partner, void *arg)
{
	struct due *d = arg;

	if (d->n < DUE_MAX)
		d->ids[d->n++] = r->integration_id;
}

/* Noted before it is asked: whoever dies in between leaves it for later, not for ever. */
static int put_off(struct scheduler *s, int64_t id, const char *state, const char *reason,
		   struct err *err)
{
	struct webhook_registration r = { 0 };
	int rc = webhook_registration_get(s->pg, id, &r, err);

	if (rc == 0)
		rc = webhook_registration_put(s->pg, id, r.callback_url, r.webhook_id,
					      state ? state : r.state, reason, AGAIN_MS, err);
	webhook_registration_clear(&r);
	return rc;
}

static int repair(struct scheduler *s, const struct integration *i, const struct driver *d,
		  enum enrolment *how, struct err *err)
{
	struct door_options o = { .redis = s->redis,
				  .pg = s->pg,
				  .keyring = s->keyring,
				  .permit_wait_ms = PERMIT_WAIT_MS };
	struct buf problems = BUF_INIT;
	struct driver *own = NULL;
	struct caller c = { .driver = driver_for(d, i->id, i->settings, NULL, err),
			    .integration = i };
	struct enrol e = {
		.c = &c, .pg = s->pg, .keyring = s->keyring, .public_url = s->public_url
	};
	char epoch[ID_LEN + 1];
	int rc = c.driver ? 0 : -EINVAL;

	if (rc == 0 && i->overrides &&
	    driver_overlaid(c.driver, "overrides", i->overrides, &own, &problems) < 0)
		rc = err_set(err, -EINVAL, ERR_INTERNAL, "webhook", "%.*s",
			     (int)strcspn(problems.data, "\n"), problems.data);
	buf_clear(&problems);
	if (rc == 0) {
		if (own)
			c.driver = own;
		id_new(epoch);
		o.epoch = epoch;
		c.door = door_new(&o);
		rc = enrol(&e, how, err);
		door_free(c.door);
	}
	driver_overlaid_free(own);
	return rc;
}

static int tell(struct scheduler *s, int64_t id, int checked, enum enrolment how,
		const struct err *why, struct err *err)
{
	char scope[48], what[400], todo[120];

	snprintf(scope, sizeof(scope), "integration:%lld", (long long)id);
	if (checked == 0 && (how == ENROLLED_NEW || how == ENROLLED_REPLACED))
		log_event(LOG_WARN, "webhook_repaired", LI("integration_id", id),
			  LS("outcome", enrolment_name(how)));
	if (checked == 0)
		return alert_resolve(s->pg, KIND, scope, err);
	log_event(LOG_WARN, "webhook_not_checked", LI("integration_id", id),
		  LS("reason", why->text));
	/* An outage, a limit: asked again within the hour, and no alert before it says no. */
	if (why->class == ERR_HOLD || why->class == ERR_RATE_LIMIT || why->class == ERR_TRANSIENT)
		return put_off(s, id, NULL, why->text, err);
	snprintf(what, sizeof(what), "the partner may not send us its webhooks any more: %.300s",
		 why->text);
	snprintf(todo, sizeof(todo),
		 "`longshore webhook verify %lld` and `longshore webhook register %lld` say more",
		 (long long)id, (long long)id);
	checked = put_off(s, id, "missing", why->text, err);
	return checked < 0 ? checked : alert_raise(s->pg, KIND, "warning", scope, what, todo, err);
}

__attribute__((noinline)) static void check(struct scheduler *s, int64_t id)
{
	struct integration i = { 0 };
	enum enrolment how = ENROLLED_FOUND;
	struct err why = { 0 }, err = { 0 };
	const struct driver *d;
	int rc = integration_get(s->pg, id, &i, &err);

	if (rc == 0)
		rc = put_off(s, id, NULL, NULL, &err);
	d = rc == 0 ? driver_find(s->drivers, i.partner) : NULL;
	if (d) {
		rc = repair(s, &i, d, &how, &why);
		if (rc != -ECANCELED)
			rc = tell(s, id, rc, how, &why, &err);
	}
	if (rc < 0 && rc != -ECANCELED && rc != -ENOENT)
		log_event(LOG_WARN, "webhook_not_looked_at", LI("integration_id", id),
			  LS("reason", err.text));
	integration_clear(&i);
}

static void look(struct scheduler *s)
{
	struct due *d = mem_new(struct due);
	struct err err = { 0 };

	if (webhook_registration_each(s->pg, NULL, true, see_due, d, &err) < 0)
		log_event(LOG_WARN, "webhooks_not_looked_at", LS("reason", err.text));
	for (int i = 0; i < d->n && !s->stopping; i++)
		check(s, d->ids[i]);
	free(d);
}

static void run(void *arg)
{
	struct scheduler *s = arg;

	while (scheduler_sleep(s, LOOK_MS) == 0)
		if (leader_is_me(s) && redis_is_up(s->redis) && pg_is_up(s->pg) && s->public_url)
			look(s);
}

int registrations_start(struct scheduler *s)
{
	return scheduler_spawn(s, "registrations", run, s);
}
