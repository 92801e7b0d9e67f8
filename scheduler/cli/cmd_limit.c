/* limit: how full the limits are, who waits, until when and why; and other ones, by hand. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/clock.h"
#include "common/base/mem.h"
#include "common/queue/queue.h"
#include "common/store/store.h"
#include "drivers/kit/call.h"
#include "drivers/kit/control.h"
#include "scheduler/cli/cli.h"

#define EGRESS_MAX 64

static const char *only_partner;
static bool all;

int options_limit_list(struct config_option *out)
{
	out[0] = (struct config_option){ .name = "partner",
					 .value_name = "P",
					 .help = "only those of a partner",
					 .out = &only_partner };
	out[1] = (struct config_option){ .name = "all",
					 .help = "also those that nothing was taken of",
					 .type = CONFIG_BOOL,
					 .out = &all };
	return 2;
}

/* What one command goes through: integrations, their scopes, each scope once. */
struct limits {
	struct cli *c;
	cJSON *rows, *fleet, *seen; /* seen: names of scopes that integrations share */
	const char *egress[EGRESS_MAX];
	int n_egress;
	bool idle_too;
	const struct driver *driver;
	const struct integration *integration;
	int rc;
	struct err err;
};

static int64_t waiting_of(const struct limits *l, const char *partner, const char *scope)
{
	const cJSON *worker, *w;
	int64_t n = 0, jobs;

	cJSON_ArrayForEach (worker, l->fleet) {
		cJSON_ArrayForEach (w, json_path(worker, "permits_awaited")) {
			const char *p = json_str(w, "partner"), *s = json_str(w, "scope");

			if (p && s && strcmp(p, partner) == 0 && strcmp(s, scope) == 0 &&
			    json_int(w, "jobs", &jobs))
				n += jobs;
		}
	}
	return n;
}

static const char *kind_word(const struct limit_tier *t)
{
	return t->kind == LIMIT_FIXED ? "fixed" : t->kind == LIMIT_BUCKET ? "bucket" : "sliding";
}

static void add_known(cJSON *row, const char *name, int64_t n, bool known)
{
	if (known)
		json_add_int(row, name, n);
	else
		cJSON_AddNullToObject(row, name);
}

static void add_tier(cJSON *row, const struct limit_tier *t, const struct limit_usage *u, int k)
{
	char window[24];

	if (t->window_ms % 1000)
		snprintf(window, sizeof(window), "%lldms", (long long)t->window_ms);
	else
		snprintf(window, sizeof(window), "%llds", (long long)t->window_ms / 1000);
	json_add_text(row, "kind", kind_word(t));
	json_add_text(row, "window", window);
	json_add_int(row, "documented", t->documented);
	json_add_int(row, "manifest", t->kind == LIMIT_BUCKET ? t->burst : t->limit);
	add_known(row, "by_hand", u->tiers[k].by_hand, u->tiers[k].by_hand > 0);
	add_known(row, "stated", u->tiers[k].stated, u->tiers[k].stated_ms > 0);
	json_add_time(row, "stated_at", u->tiers[k].stated_ms);
	add_known(row, "used_when_refused", u->tiers[k].met, u->tiers[k].met_ms > 0);
	json_add_int(row, "limit", u->tiers[k].limit);
	json_add_int(row, "used", u->tiers[k].used);
	add_known(row, "told_left", u->tiers[k].told_left, u->tiers[k].told_left >= 0);
}

/* A scope that bounds nothing but calls in flight. */
static void add_no_tier(cJSON *row)
{
	static const char *const names[] = { "kind",    "window", "documented", "manifest",
					     "by_hand", "stated", "stated_at",  "used_when_refused",
					     "limit",   "used",   "told_left" };

	for (size_t i = 0; i < ARRAY_LEN(names); i++)
		cJSON_AddNullToObject(row, names[i]);
}

static const char *why_of(const struct limit_scope *s, const struct limit_usage *u, int64_t tier_ms)
{
	if (u->hold_ms > 0 && u->hold_ms >= tier_ms)
		return u->hold_why[0] ? u->hold_why : "held";
	if (tier_ms > 0)
		return "full";
	return s->flight > 0 && u->in_flight >= s->flight ? "calls in flight" : NULL;
}

static cJSON *row_of(const struct limits *l, const char *word, const struct limit_scope *s,
		     const struct limit_usage *u, int k)
{
	cJSON *row = cJSON_CreateObject();
	const char *partner = l->driver->manifest->partner;
	int64_t tier_ms = k < s->n_tiers ? (u->tiers[k].wait_us + 999) / 1000 : 0;
	int64_t wait_ms = tier_ms > u->hold_ms ? tier_ms : u->hold_ms;

	json_add_text(row, "partner", partner);
	json_add_int(row, "integration_id", l->integration->id);
	json_add_text(row, "scope", word);
	json_add_text(row, "name", s->name);
	if (k < s->n_tiers)
		add_tier(row, &s->tiers[k], u, k);
	else
		add_no_tier(row);
	json_add_int(row, "in_flight", u->in_flight);
	json_add_int(row, "in_flight_cap", s->flight);
	json_add_int(row, "waiting", waiting_of(l, partner, s->name));
	json_add_int(row, "wait_ms", wait_ms);
	json_add_time(row, "until", wait_ms > 0 ? u->now_us / 1000 + wait_ms : 0);
	json_add_text(row, "why", why_of(s, u, tier_ms));
	cJSON_AddNumberToObject(row, "pace_s", (double)u->pace_us / 1e6);
	json_add_int(row, "refusals", u->refusals);
	json_add_time(row, "refused_at", u->refused_ms);
	json_add_text(row, "refused_why", u->refusals ? u->refused_why : NULL);
	return row;
}

static bool in_use(const struct limit_scope *s, const struct limit_usage *u)
{
	bool used = u->hold_ms > 0 || u->in_flight > 0 || u->pace_us > 0 || u->refusals > 0;

	for (int k = 0; k < s->n_tiers; k++)
		used = used || u->tiers[k].used > 0 || u->tiers[k].by_hand > 0 ||
		       (u->tiers[k].stated > 0 && u->tiers[k].stated < s->tiers[k].documented);
	return used;
}

static bool is_shared(const char *word)
{
	return strcmp(word, "partner") == 0 || strcmp(word, "egress") == 0;
}

static void add_scope(const char *word, const struct limit_scope *s, void *arg)
{
	struct limits *l = arg;
	struct limit_usage u;

	if (l->rc < 0 || (is_shared(word) && cJSON_HasObjectItem(l->seen, s->name)))
		return;
	if (is_shared(word))
		cJSON_AddTrueToObject(l->seen, s->name);
	l->rc = limit_usage(l->c->redis, l->driver->manifest->partner, s, &u, cli_deadline(),
			    &l->err);
	if (l->rc < 0 || (!l->idle_too && !in_use(s, &u)))
		return;
	for (int k = 0; k < s->n_tiers || k == 0; k++)
		cJSON_AddItemToArray(l->rows, row_of(l, word, s, &u, k));
}

static void add_integration(const struct integration *i, void *arg)
{
	struct limits *l = arg;

	const struct driver *version;
	struct driver *own = NULL;
	struct buf problems = BUF_INIT;

	l->driver = driver_find(l->c->drivers, i->partner);
	l->integration = i;
	/* overrides that do not fit any more: nothing is called, and the manifest's limits are shown */
	if (l->driver && (version = driver_for(l->driver, i->id, i->settings, NULL, NULL)))
		l->driver = version;
	if (l->driver && i->overrides &&
	    driver_overlaid(l->driver, "overrides", i->overrides, &own, &problems) == 0)
		l->driver = own;
	buf_clear(&problems);
	for (int k = 0; l->driver && l->rc == 0 && k < l->n_egress; k++)
		l->rc = limits_each(l->driver, i, l->egress[k], add_scope, l, &l->err);
	driver_overlaid_free(own);
}

/* The outgoing addresses are those of the workers there are. */
static void find_egress(struct limits *l)
{
	const cJSON *worker;

	cJSON_ArrayForEach (worker, l->fleet) {
		const char *name = json_str(worker, "egress");
		int k = 0;

		while (name && k < l->n_egress && strcmp(l->egress[k], name) != 0)
			k++;
		if (name && k == l->n_egress && k < EGRESS_MAX)
			l->egress[l->n_egress++] = name;
	}
	if (l->n_egress == 0)
		l->egress[l->n_egress++] = "";
}

static int limits_open(struct cli *c, struct limits *l)
{
	struct cli_workers w = { 0 };
	struct err err = { 0 };
	int rc = cli_drivers(c);

	memset(l, 0, sizeof(*l));
	l->c = c;
	if (rc == 0)
		rc = cli_pg(c);
	if (rc == 0)
		rc = cli_redis(c);
	if (rc)
		return rc;
	w.rows = cJSON_CreateArray();
	w.now_ms = redis_now_ms(c->redis);
	rc = fleet_each(c->redis, cli_add_worker, &w, cli_deadline(), &err);
	if (rc < 0) {
		cJSON_Delete(w.rows);
		return cli_error(c, rc, &err, c->command->name);
	}
	l->fleet = w.rows;
	l->rows = cJSON_CreateArray();
	l->seen = cJSON_CreateObject();
	find_egress(l);
	return 0;
}

static void limits_close(struct limits *l)
{
	cJSON_Delete(l->fleet);
	cJSON_Delete(l->seen);
}

static const struct out_column columns[] = {
	{ "PARTNER", "partner", false },
	{ "SCOPE", "scope", false },
	{ "INTEGRATION", "integration_id", true },
	{ "WINDOW", "window", true },
	{ "MANIFEST", "documented", true },
	{ "STATED", "stated", true },
	{ "AT 429", "used_when_refused", true },
	{ "LIMIT", "limit", true },
	{ "USED", "used", true },
	{ "IN FLIGHT", "in_flight", true },
	{ "WAITING", "waiting", true },
	{ "UNTIL", "until", false },
	{ "WHY", "why", false },
	{ "PACE S", "pace_s", true },
};

static int limits_end(struct limits *l, const char *none)
{
	limits_close(l);
	if (l->rc < 0) {
		cJSON_Delete(l->rows);
		return cli_error(l->c, l->rc, &l->err, l->c->command->name);
	}
	return out_list(l->c, l->rows, columns, ARRAY_LEN(columns), none);
}

int cmd_limit_list(struct cli *c)
{
	struct limits l;
	int rc = limits_open(c, &l), read;
	struct err err = { 0 };

	if (rc)
		return rc;
	l.idle_too = all;
	read = integration_each(c->pg, 0, only_partner, NULL, add_integration, &l, &err);
	if (read < 0) {
		l.rc = read;
		l.err = err;
	}
	return limits_end(&l, "no limit is in use; --all shows all there are");
}

static int get(struct cli *c, struct integration *out)
{
	struct err err = { 0 };
	int64_t id;
	int rc = parse_id(c, "integration", c->words[0], &id);

	if (rc == 0)
		rc = cli_pg(c);
	if (rc)
		return rc;
	rc = integration_get(c->pg, id, out, &err);
	return rc < 0 ? cli_error(c, rc, &err, c->command->name) : 0;
}

int cmd_limit_show(struct cli *c)
{
	struct integration i;
	struct limits l;
	int rc = get(c, &i);

	if (rc)
		return rc;
	rc = limits_open(c, &l);
	if (rc == 0) {
		l.idle_too = true;
		add_integration(&i, &l);
		rc = limits_end(&l, "its calls are under no limit");
	}
	integration_clear(&i);
	return rc;
}

/* ---- limit set ---- */

struct setting {
	const char *word;
	int64_t window_ms;
	char names[EGRESS_MAX][160];
	const char *list[EGRESS_MAX];
	int n;
};

static void add_name(struct setting *set, const char *name)
{
	snprintf(set->names[set->n], sizeof(set->names[0]), "%s", name);
	set->list[set->n] = set->names[set->n];
	set->n++;
}

static void find_scope(const char *word, const struct limit_scope *s, void *arg)
{
	struct setting *set = arg;

	for (int k = 0; strcmp(word, set->word) == 0 && k < s->n_tiers && set->n < EGRESS_MAX; k++)
		if (s->tiers[k].window_ms == set->window_ms)
			add_name(set, s->name);
}

static int parse_set(struct cli *c, struct setting *set, int64_t *limit)
{
	set->word = c->words[1];
	*limit = 0;
	if (clock_parse_duration(c->words[2], &set->window_ms) < 0 || set->window_ms <= 0)
		return cli_misused(c, "WINDOW reads like 1s, 60s or 1h, not \"%s\"", c->words[2]);
	return strcmp(c->words[3], "default") == 0 ? 0 : parse_id(c, "CALLS", c->words[3], limit);
}

/* Of outgoing addresses those too whose workers are gone; their names differ in the end only. */
static char *egress_prefix(const struct driver *d, const struct integration *i,
			   const struct setting *set)
{
	struct buf host = BUF_INIT;

	if (strcmp(set->word, "egress") != 0)
		return NULL;
	call_host(d, i, &host);
	buf_puts(&host, ":e:");
	return buf_detach(&host);
}

static int store_set(struct cli *c, const struct driver *d, const struct integration *i,
		     const struct setting *set, int64_t limit, struct err *err)
{
	struct limit_override o = { .partner = i->partner,
				    .scope = set->word,
				    .integration_id = i->id,
				    .window_ms = set->window_ms,
				    .calls = limit };
	char *prefix;
	int rc;

	if (limit > 0)
		return limit_override_put(c->pg, &o, set->list, set->n, err);
	prefix = egress_prefix(d, i, set);
	rc = limit_override_drop(c->pg, &o, set->list, set->n, prefix, err);
	free(prefix);
	return rc;
}

static int write_set(struct cli *c, struct limits *l, const struct integration *i,
		     struct setting *set, int64_t limit)
{
	const struct driver *d = NULL;
	struct err err = { 0 };
	int rc = cli_driver(c, i->partner, &d);

	if (rc)
		return rc;
	set->n = 0;
	for (int k = 0; rc == 0 && k < l->n_egress; k++)
		rc = limits_each(d, i, l->egress[k], find_scope, set, &err);
	if (rc == 0 && set->n == 0)
		return cli_fail(c, EXIT_NOT_FOUND,
				"the manifest of %s has no limit \"%s\" with the window %s; see"
				" `longshore limit show %s`",
				i->partner, set->word, c->words[2], c->words[0]);
	if (rc == 0)
		rc = store_set(c, d, i, set, limit, &err);
	if (rc == 0)
		rc = control_mirror(c->redis, c->pg, d, i->partner, false, cli_deadline(), &err);
	return rc < 0 ? cli_error(c, rc, &err, "limit set") : 0;
}

int cmd_limit_set(struct cli *c)
{
	struct setting *set = mem_new(struct setting);
	struct integration i;
	struct limits l;
	int64_t limit;
	int rc = parse_set(c, set, &limit);

	if (rc == 0)
		rc = get(c, &i);
	if (rc) {
		free(set);
		return rc;
	}
	rc = limits_open(c, &l);
	if (rc == 0) {
		rc = write_set(c, &l, &i, set, limit);
		cJSON_Delete(l.rows);
		limits_close(&l);
	}
	integration_clear(&i);
	free(set);
	return rc ? rc : out_value(c, "limit", cJSON_CreateString(c->words[3]));
}
