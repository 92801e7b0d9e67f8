/* The breaker's part of the door: which of them a call passes, and what its end says of the partner's health. */
#include "drivers/kit/call_door.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "common/io/co.h"
#include "drivers/kit/classify.h"

#define PROBE_SLACK_MS 5000 /* beside the call's own time: for a token, a permit */

/* Named after the host that answers, as limits are. */
void route_breakers(struct route *r, const struct caller *c)
{
	const struct manifest *m = r->driver->manifest;
	struct buf host = BUF_INIT;
	size_t n;

	if (m->breaker.rules.failures <= 0 || !c->door->breakers)
		return;
	call_host(r->driver, c->integration, &host);
	n = host.len;
	if (n < BREAKER_HOST_MAX)
		r->breaker = breaker_of(c->door->breakers, m->partner, buf_str(&host));
	for (int i = 0; r->breaker && i < m->breaker.n_groups; i++) {
		host.len = n;
		buf_printf(&host, "/%s", m->breaker.groups[i].name);
		r->group_breakers[i] = breaker_of(c->door->breakers, m->partner, buf_str(&host));
	}
	buf_clear(&host);
}

static bool is_below(const char *endpoint, const char *path)
{
	size_t n = strlen(path);

	while (n > 0 && path[n - 1] == '/')
		n--;
	return strncmp(endpoint, path, n) == 0 && strchr("/?", endpoint[n]);
}

static struct breaker *group_of(const struct route *r, const struct call_spec *spec)
{
	const struct manifest_breaker *b = &r->driver->manifest->breaker;

	for (int i = 0; r->breaker && i < b->n_groups; i++)
		for (int k = 0; k < b->groups[i].n_endpoints; k++)
			if (is_below(spec->endpoint, b->groups[i].endpoints[k]))
				return r->group_breakers[i];
	return NULL;
}

/* Calls under way over all workers grow from one to what the manifest allows. */
static void slow_start(struct route *r)
{
	const struct manifest *m = r->driver->manifest;

	route_partner_flight(r,
			     breaker_allows(r->breaker, &m->breaker.rules, m->concurrency_partner));
}

int guard_enter(struct caller *c, struct route *r, const struct call_spec *spec, struct guard *out,
		struct err *err)
{
	const struct manifest *m = r->driver->manifest;
	struct breaker *group = group_of(r, spec);
	int64_t probe_ms = m->total_ms + PROBE_SLACK_MS;
	int rc = 0;

	out->n = 0;
	if (!r->breaker)
		return 0;
	rc = breaker_enter(r->breaker, probe_ms, &out->pass[0], err);
	if (rc < 0)
		return rc;
	out->b[out->n++] = r->breaker;
	if (group)
		rc = breaker_enter(group, probe_ms, &out->pass[1], err);
	if (rc < 0)
		breaker_leave(r->breaker, &m->breaker.rules, &out->pass[0], BREAKER_NOTHING, NULL);
	else if (group)
		out->b[out->n++] = group;
	slow_start(r);
	return rc;
}

int guard_stands(const struct guard *g, struct err *err)
{
	int rc = 0;

	for (int i = 0; i < g->n && rc == 0; i++)
		rc = breaker_stands(g->b[i], &g->pass[i], err);
	return rc;
}

bool guard_probes(const struct guard *g)
{
	for (int i = 0; i < g->n; i++)
		if (g->pass[i].token[0])
			return true;
	return false;
}

/* An answer is an answer, be it a refusal.  Of what was never sent only a token that could not be fetched tells something; that no
 * connection was free tells of us. */
static enum breaker_outcome outcome_of(bool sent, int rc, const struct err *err)
{
	if (strcmp(err->rule, "network wait_timeout") == 0)
		return BREAKER_NOTHING;
	if (rc == -EREMOTEIO && err->class == ERR_TRANSIENT)
		return strcmp(err->rule, RULE_SMTP_LATER) == 0 ? BREAKER_OK : BREAKER_FAILED;
	if (!sent || (rc < 0 && rc != -EREMOTEIO && err->class != ERR_RATE_LIMIT))
		return BREAKER_NOTHING;
	return BREAKER_OK;
}

void guard_leave(struct guard *g, const struct route *r, bool sent, int rc, const struct err *err)
{
	const struct breaker_rules *rules = &r->driver->manifest->breaker.rules;
	enum breaker_outcome outcome = outcome_of(sent, rc, err);
	char why[sizeof(err->rule) + 104];

	snprintf(why, sizeof(why), "%s: %.100s", err->rule, err->text);
	for (int i = 0; i < g->n; i++) {
		bool probe = g->pass[i].token[0];
		enum breaker_outcome own = outcome;

		/* A 429 says that somebody is there, which is all a probe asks; else it says nothing. */
		if (err->class == ERR_RATE_LIMIT && !probe)
			own = BREAKER_NOTHING;
		/* Of a group only the group breaks. */
		if (i == 0 && g->n > 1 && !probe)
			own = BREAKER_NOTHING;
		breaker_leave(g->b[i], rules, &g->pass[i], own, why);
	}
	g->n = 0;
}

int guard_judge(const struct route *r, const struct call_spec *spec, int rc, struct err *err)
{
	const struct breaker *group = group_of(r, spec);

	if (rc != -EREMOTEIO || err->class != ERR_TRANSIENT || !r->breaker)
		return rc;
	if (breaker_is_closed(r->breaker) && (!group || breaker_is_closed(group)))
		return rc;
	err->class = ERR_HOLD;
	if (err->retry_after_ms < BREAKER_HOLD_MS)
		err->retry_after_ms = BREAKER_HOLD_MS;
	return -EAGAIN;
}
