/* A partner that has locked us out: nobody calls until a person has spoken with it (R3). */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/log.h"
#include "common/base/mem.h"
#include "common/io/co.h"
#include "common/io/loop.h"
#include "drivers/kit/control.h"
#include "worker/integrations.h"

#define MIRROR_MS 5000

/* Partners lock out what they count: with limits of the partner as a whole that is all of us. */
static bool is_of_partner(const struct driver *d, const struct integration *i)
{
	bool whole = false;

	for (int n = 0; n < d->manifest->n_limits; n++)
		whole |= d->manifest->limits[n].scope == SCOPE_PARTNER ||
			 d->manifest->limits[n].scope == SCOPE_EGRESS;
	return whole && strcmp(i->environment, "production") == 0;
}

/* The pause and the alert that says why: whoever sees one finds the other. */
static int stop(struct worker *w, const struct integration *i, bool whole, const char *reason,
		struct err *err)
{
	char number[24];
	const char *who = whole ? i->partner : number;
	char *scope, *what, *todo;
	int rc;

	snprintf(number, sizeof(number), "%lld", (long long)i->id);
	scope = mem_printf("%s:%s", whole ? "partner" : "integration", who);
	what = mem_printf("%s has suspended us (%s %s): %s", i->partner,
			  whole ? "partner" : "integration", who, reason);
	todo = mem_printf(
		"nobody calls it until you say so: find out from the partner why and until when,"
		" lower the share in its limits, then: longshore %s %s",
		whole ? "resume" : "integration resume", who);
	const struct stop s = { reason, "suspended", scope, what, todo };
	rc = whole ? partner_stop(w->pg, i->partner, &s, err)
		   : integration_stop(w->pg, i->id, "paused", &s, err);
	if (rc == 0)
		log_event(LOG_ERROR, "suspended", LS("scope", scope), LS("reason", reason));
	free(scope);
	free(what);
	free(todo);
	return rc;
}

void integrations_suspend(struct worker *w, int64_t id, const struct err *why)
{
	const struct integration *i = NULL;
	const struct driver *d = NULL;
	struct err err = { 0 };
	char *reason;
	bool whole;
	int rc;

	if (co_is_cancelled())
		return;
	reason = mem_printf("suspended by the partner: %s (%s)", why->text, why->rule);
	rc = integrations_get(w, id, &i, &err);
	if (rc == 0) {
		d = driver_find(w->drivers, i->partner);
		whole = d && is_of_partner(d, i);
		rc = stop(w, i, whole, reason, &err);
		if (rc == 0)
			rc = control_mirror(w->redis, w->pg, d, i->partner, false,
					    loop_now_ms() + MIRROR_MS, &err);
	}
	integrations_forget(id);
	integrations_put(i);
	if (rc < 0)
		log_event(LOG_WARN, "suspension_not_marked", LI("integration", id),
			  LS("reason", err.text));
	free(reason);
}
