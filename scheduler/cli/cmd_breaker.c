#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/clock.h"
#include "common/base/mem.h"
#include "drivers/kit/control.h"
#include "scheduler/cli/jobs.h"

static int64_t for_ms;
static const char *why;

int options_breaker_open(struct config_option *out)
{
	out[0] = (struct config_option){ .name = "for",
					 .value_name = "DURATION",
					 .help = "then one call probes (default: until it is closed"
						 " by hand)",
					 .type = CONFIG_DURATION_MS,
					 .fallback = "0",
					 .out = &for_ms };
	out[1] = (struct config_option){ .name = "reason",
					 .value_name = "TEXT",
					 .help = "why, for those who wonder later",
					 .out = &why };
	return 2;
}

/* ---- as people see it ---- */

char *breaker_reason(const char *partner, const struct breaker_seen *b)
{
	const char *by = b->by_hand ? ", by hand" : "";
	char iso[CLOCK_ISO_MAX];

	if (b->state == BREAKER_HALF_OPEN)
		return mem_printf(
			"the breaker of %s for %s is half open: one job probes, the others"
			" follow if it succeeds (%s)",
			partner, b->host, b->why);
	if (!b->until_ms)
		return mem_printf(
			"the breaker of %s for %s is open until `longshore breaker close`%s:"
			" %s",
			partner, b->host, by, b->why);
	return mem_printf("the breaker of %s for %s is open until %s%s, then one job probes: %s",
			  partner, b->host, clock_iso(b->until_ms, iso), by, b->why);
}

cJSON *breaker_row(const char *partner, const struct breaker_seen *b)
{
	cJSON *row = cJSON_CreateObject();
	bool slow = b->state == BREAKER_CLOSED && b->until_ms;

	json_add_text(row, "partner", partner);
	json_add_text(row, "host", b->host);
	json_add_text(row, "state", breaker_state_name(b->state));
	json_add_time(row, "since", b->since_ms);
	json_add_time(row, "until", b->state == BREAKER_OPEN ? b->until_ms : 0);
	json_add_time(row, "slow_start_until", slow ? b->until_ms : 0);
	cJSON_AddBoolToObject(row, "by_hand", b->by_hand);
	json_add_int(row, "failures", b->failures);
	json_add_int(row, "opens", b->opens);
	json_add_text(row, "why", b->why[0] ? b->why : NULL);
	return row;
}

/* ---- what there is ---- */

/* All hosts of a partner, those without a breaker of their own in Redis as closed. */
struct hosts {
	struct queue *queue;
	struct breaker_list breakers;
	char **v;
	int n;
};

static void hosts_close(struct hosts *h)
{
	for (int i = 0; i < h->n; i++)
		free(h->v[i]);
	free(h->v);
	breaker_list_clear(&h->breakers);
	queue_free(h->queue);
}

static void add_groups(struct hosts *h, const struct manifest *m)
{
	int n = h->n;

	if (m->breaker.n_groups == 0)
		return;
	h->v = mem_realloc(h->v, sizeof(*h->v) * (size_t)(n * (1 + m->breaker.n_groups) + 1));
	for (int i = 0; i < n; i++) {
		for (int k = 0; !strchr(h->v[i], '/') && k < m->breaker.n_groups; k++) {
			char *name = mem_printf("%s/%s", h->v[i], m->breaker.groups[k].name);
			int at = 0;

			while (at < h->n && strcmp(h->v[at], name) != 0)
				at++;
			if (at < h->n)
				free(name);
			else
				h->v[h->n++] = name;
		}
	}
}

static int hosts_open(struct cli *c, const struct driver *d, struct hosts *out)
{
	struct hosts h = { .queue = queue_new(c->redis, d->manifest->partner, NULL) };
	struct breaker_homes homes = { 0 };
	struct err err = { 0 };
	int rc = breaker_list(h.queue, true, &h.breakers, cli_deadline(), &err);

	if (rc == 0)
		rc = breaker_homes(h.queue, &homes, cli_deadline(), &err);
	if (rc < 0) {
		hosts_close(&h);
		return cli_error(c, rc, &err, c->command->name);
	}
	breaker_hosts(&homes, &h.breakers, &h.v, &h.n);
	breaker_homes_clear(&homes);
	add_groups(&h, d->manifest);
	*out = h;
	return 0;
}

static struct breaker_seen of_host(const struct hosts *h, const char *host)
{
	const struct breaker_seen *b = breaker_find(&h->breakers, host);
	struct breaker_seen closed = { .state = BREAKER_CLOSED };

	if (b)
		return *b;
	snprintf(closed.host, sizeof(closed.host), "%s", host);
	return closed;
}

static int no_host(struct cli *c, const struct hosts *h, const char *partner)
{
	const char *near = c->n_words > 1
				   ? config_nearest(c->words[1], (const char *const *)h->v, h->n)
				   : NULL;

	if (h->n == 0)
		return cli_fail(c, EXIT_NOT_FOUND,
				"no host of %s is known yet: the first worker or scheduler that"
				" serves it writes them",
				partner);
	if (c->n_words > 1)
		return cli_fail(c, EXIT_NOT_FOUND, "%s calls no host \"%s\"%s%s%s", partner,
				c->words[1], near ? "; did you mean " : "", near ? near : "",
				near ? "?" : "; see `longshore breaker list`");
	return cli_misused(c, "%s calls %d hosts: say which; see `longshore breaker list %s`",
			   partner, h->n, partner);
}

/* The one that was named; or the only one there is, of those that are not closed if there are any. */
static const char *pick(struct cli *c, const struct hosts *h)
{
	const char *found = NULL;
	int open = 0;

	for (int i = 0; i < h->n && c->n_words > 1; i++)
		if (strcmp(h->v[i], c->words[1]) == 0)
			return h->v[i];
	if (c->n_words > 1)
		return NULL;
	for (int i = 0; i < h->n; i++) {
		if (of_host(h, h->v[i]).state == BREAKER_CLOSED)
			continue;
		open++;
		found = h->v[i];
	}
	if (open)
		return open == 1 ? found : NULL;
	return h->n == 1 ? h->v[0] : NULL;
}

static int open_one(struct cli *c, const struct driver **d, struct hosts *h, const char **host)
{
	int rc = cli_driver(c, c->words[0], d);

	if (rc == 0 && !*d)
		rc = cli_fail(c, EXIT_NOT_FOUND, "the jobs of %s call nobody", c->words[0]);
	if (rc == 0)
		rc = cli_redis(c);
	if (rc == 0)
		rc = hosts_open(c, *d, h);
	if (rc)
		return rc;
	*host = pick(c, h);
	if (*host)
		return 0;
	rc = no_host(c, h, c->words[0]);
	hosts_close(h);
	return rc;
}

/* ---- the commands ---- */

static const struct out_column columns[] = {
	{ "PARTNER", "partner", false },  { "HOST", "host", false },
	{ "STATE", "state", false },      { "SINCE", "since", false },
	{ "UNTIL", "until", false },      { "IN A ROW", "opens", true },
	{ "FAILURES", "failures", true }, { "WHY", "why", false },
};

static int list_one(struct cli *c, const struct driver *d, cJSON *rows)
{
	struct hosts h;
	int rc = hosts_open(c, d, &h);

	if (rc)
		return rc;
	for (int i = 0; i < h.n; i++) {
		struct breaker_seen b = of_host(&h, h.v[i]);

		cJSON_AddItemToArray(rows, breaker_row(d->manifest->partner, &b));
	}
	hosts_close(&h);
	return 0;
}

int cmd_breaker_list(struct cli *c)
{
	const struct driver *d = NULL;
	cJSON *rows;
	int rc = c->n_words ? cli_driver(c, c->words[0], &d) : cli_drivers(c);

	if (rc == 0)
		rc = cli_redis(c);
	if (rc)
		return rc;
	rows = cJSON_CreateArray();
	for (int i = 0; i < driver_set_count(c->drivers) && rc == 0; i++)
		if (!c->n_words || driver_at(c->drivers, i) == d)
			rc = list_one(c, driver_at(c->drivers, i), rows);
	if (rc) {
		cJSON_Delete(rows);
		return rc;
	}
	return out_list(c, rows, columns, 8, "no hosts are known yet");
}

int cmd_breaker_show(struct cli *c)
{
	const struct driver *d;
	struct breaker_seen b;
	struct hosts h;
	const char *host;
	cJSON *row;
	int rc = open_one(c, &d, &h, &host);

	if (rc)
		return rc;
	b = of_host(&h, host);
	row = breaker_row(c->words[0], &b);
	if (b.state != BREAKER_CLOSED) {
		char *text = breaker_reason(c->words[0], &b);

		json_add_text(row, "means", text);
		free(text);
	}
	hosts_close(&h);
	return out_object(c, row);
}

/* Who calls which host, as of now: an integration may have been added a moment ago. */
static int mirror(struct cli *c)
{
	const struct driver *d;
	struct err err = { 0 };
	int rc = cli_driver(c, c->words[0], &d);

	if (rc == 0)
		rc = cli_redis(c);
	if (rc == 0)
		rc = cli_pg(c);
	if (rc || !d)
		return rc;
	rc = control_mirror(c->redis, c->pg, d, c->words[0], false, cli_deadline(), &err);
	return rc < 0 ? cli_error(c, rc, &err, c->command->name) : 0;
}

static int change(struct cli *c, bool opened)
{
	const struct driver *d;
	struct err err = { 0 };
	struct hosts h;
	const char *host;
	int rc = mirror(c);

	if (rc == 0)
		rc = open_one(c, &d, &h, &host);
	if (rc)
		return rc;
	if (opened)
		rc = breaker_open(h.queue, host, for_ms, why ? why : "opened by hand",
				  cli_deadline(), &err);
	else
		rc = breaker_close(h.queue, host, d->manifest->breaker.rules.slow_start_ms,
				   cli_deadline(), &err);
	hosts_close(&h);
	if (rc < 0)
		return cli_error(c, rc, &err, c->command->name);
	return out_value(c, "state", cJSON_CreateString(opened ? "open" : "closed"));
}

int cmd_breaker_open(struct cli *c)
{
	return change(c, true);
}

int cmd_breaker_close(struct cli *c)
{
	return change(c, false);
}
