#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/mem.h"
#include "common/store/store.h"
#include "scheduler/cli/jobs.h"

#define SHARES_SHOWN 20

static const char *integration;
static bool sure;

int options_queue_purge(struct config_option *out)
{
	out[0] = (struct config_option){ .name = "integration",
					 .value_name = "ID",
					 .help = "only jobs of this integration",
					 .out = &integration };
	out[1] = (struct config_option){ .name = "yes",
					 .help = "yes, these jobs are not wanted",
					 .type = CONFIG_BOOL,
					 .out = &sure };
	return 2;
}

static const struct out_column queue_columns[] = {
	{ "QUEUE", "queue", false },          { "READY", "ready", true },
	{ "DELAYED", "delayed", true },       { "HELD", "held", true },
	{ "IN FLIGHT", "in_flight", true },   { "DEAD", "dead", true },
	{ "OLDEST S", "oldest_age_s", true },
};

int cmd_queue_list(struct cli *c)
{
	struct err err = { 0 };
	cJSON *rows;
	int rc = cli_drivers(c);

	if (rc == 0)
		rc = cli_redis(c);
	if (rc)
		return rc;
	rows = cJSON_CreateArray();
	rc = cli_add_queue(c, rows, LONGSHORE_PARTNER, &err);
	for (int i = 0; i < driver_set_count(c->drivers) && rc == 0; i++)
		rc = cli_add_queue(c, rows, driver_at(c->drivers, i)->manifest->partner, &err);
	if (rc < 0) {
		cJSON_Delete(rows);
		return cli_error(c, rc, &err, "queue list");
	}
	return out_list(c, rows, queue_columns, 7, "no queues");
}

/* ---- queue show ---- */

static void add_lanes(cJSON *to, cJSON *rows, const struct queue_name *name)
{
	static const char *const suffix[] = { "", ":high", "", ":low" };
	cJSON *lanes = cJSON_AddArrayToObject(to, "lanes"), *row;
	char *wanted = mem_printf("%s%s", name->partner, suffix[name->lane]);

	while ((row = rows->child)) {
		cJSON_DetachItemViaPointer(rows, row);
		if (!name->lane || strcmp(json_str(row, "queue"), wanted) == 0)
			cJSON_AddItemToArray(lanes, row);
		else
			cJSON_Delete(row);
	}
	free(wanted);
	cJSON_Delete(rows);
}

static void add_shares(cJSON *to, const struct view *v)
{
	cJSON *rows = cJSON_AddArrayToObject(to, "integrations");

	for (int i = 0, shown = 0; i < v->shares.n && shown < SHARES_SHOWN; i++) {
		const struct share_seen *s = &v->shares.v[i];
		cJSON *row;

		if (!s->ready && !s->busy && s->cap)
			continue;
		row = cJSON_CreateObject();
		json_add_int(row, "integration_id", s->integration);
		json_add_int(row, "ready", s->ready);
		json_add_int(row, "in_flight", s->busy);
		if (s->cap >= 0)
			json_add_int(row, "cap", s->cap);
		else
			cJSON_AddNullToObject(row, "cap");
		cJSON_AddBoolToObject(row, "paused", s->cap == 0);
		cJSON_AddItemToArray(rows, row);
		shown++;
	}
}

struct gather {
	const struct view *view;
	cJSON *rows;
};

static bool gather(const struct job_seen *j, void *arg)
{
	struct gather *g = arg;

	cJSON_AddItemToArray(g->rows, job_row(g->view, j));
	return true;
}

static cJSON *describe(const struct view *v, const struct queue_name *name,
		       const struct partner_state *state, cJSON *lanes)
{
	cJSON *o = cJSON_CreateObject(), *why = cJSON_CreateArray(), *breakers;

	json_add_text(o, "queue", name->partner);
	cJSON_AddBoolToObject(o, "paused", state->paused);
	json_add_text(o, "pause_reason", state->paused ? state->pause_reason : NULL);
	json_add_int(o, "workers", v->servers);
	json_add_int(o, "in_flight", v->in_flight);
	if (v->shares.no_control) {
		cJSON_AddNullToObject(o, "partner_cap");
		cJSON_AddNullToObject(o, "integration_cap");
	} else {
		json_add_int(o, "partner_cap", v->shares.partner_cap);
		json_add_int(o, "integration_cap", v->shares.default_cap);
	}
	view_reasons(v, 0, why);
	breakers = cJSON_AddArrayToObject(o, "breakers");
	for (int i = 0; i < v->breakers.n; i++)
		cJSON_AddItemToArray(breakers, breaker_row(name->partner, &v->breakers.v[i]));
	cJSON_AddItemToObject(o, "why", why);
	add_lanes(o, lanes, name);
	add_shares(o, v);
	return o;
}

static void print_queue(const cJSON *o)
{
	static const struct out_column shares[] = {
		{ "INTEGRATION", "integration_id", true },
		{ "READY", "ready", true },
		{ "IN FLIGHT", "in_flight", true },
		{ "CAP", "cap", true },
		{ "PAUSED", "paused", false },
	};
	static const struct out_column running[] = {
		{ "RUNNING", "id", false },
		{ "TASK", "task", false },
		{ "INTEGRATION", "integration_id", true },
		{ "SINCE", "since", false },
		{ "WORKER", "worker", false },
	};
	const cJSON *reason;

	out_table(json_path(o, "lanes"), queue_columns, 7);
	printf("\n%d workers serve it, %d jobs in flight; partner cap %d, per integration %d\n",
	       json_path(o, "workers")->valueint, json_path(o, "in_flight")->valueint,
	       json_path(o, "partner_cap")->valueint, json_path(o, "integration_cap")->valueint);
	if (json_str(o, "pause_reason"))
		printf("paused: %s\n", json_str(o, "pause_reason"));
	cJSON_ArrayForEach (reason, json_path(o, "why"))
		printf("%s\n", reason->valuestring);
	if (cJSON_GetArraySize(json_path(o, "integrations"))) {
		puts("");
		out_table(json_path(o, "integrations"), shares, 5);
	}
	if (cJSON_GetArraySize(json_path(o, "running"))) {
		puts("");
		out_table(json_path(o, "running"), running, 5);
	}
}

static int show(struct cli *c, const struct queue_name *name, const struct view *v)
{
	struct job_filter any = { .integration = -1 };
	struct partner_state state = { 0 };
	struct err err = { 0 };
	cJSON *lanes = cJSON_CreateArray(), *o;
	int rc = partner_state_get(c->pg, name->partner, &state, &err);

	if (rc == 0)
		rc = cli_add_queue(c, lanes, name->partner, &err);
	if (rc < 0) {
		cJSON_Delete(lanes);
		partner_state_clear(&state);
		return cli_error(c, rc, &err, "queue show");
	}
	o = describe(v, name, &state, lanes);
	partner_state_clear(&state);
	struct gather g = { v, cJSON_AddArrayToObject(o, "running") };
	rc = queue_look(v->queue, JOB_IN_FLIGHT, &any, gather, &g, &err);
	if (rc < 0)
		rc = cli_error(c, rc, &err, "queue show");
	else if (c->json)
		out_json(o);
	else
		print_queue(o);
	cJSON_Delete(o);
	return rc;
}

int cmd_queue_show(struct cli *c)
{
	struct queue_name name;
	struct view v;
	int rc = parse_queue(c, c->words[0], &name);

	if (rc == 0)
		rc = cli_redis(c);
	if (rc == 0)
		rc = cli_pg(c);
	if (rc == 0)
		rc = view_open(c, name.partner, &v);
	if (rc)
		return rc;
	rc = show(c, &name, &v);
	view_close(&v);
	return rc;
}

/* ---- queue purge ---- */

struct purge {
	struct burials *burials;
	const struct view *view;
};

static bool take(const struct job_seen *j, void *arg)
{
	struct purge *p = arg;

	return burials_add(p->burials, p->view, j);
}

static int64_t how_many(const struct view *v, const struct job_filter *f)
{
	struct queue_depth d = { 0 };
	struct err err = { 0 };

	if (f->integration >= 0)
		return view_share(v, f->integration).ready;
	if (queue_depth(v->queue, &d, cli_deadline(), &err) < 0)
		return 0;
	return f->lane ? d.ready[f->lane]
		       : d.ready[LANE_HIGH] + d.ready[LANE_NORMAL] + d.ready[LANE_LOW];
}

/* In slices, from the front, until as many are out as there were: who goes on pushing does not keep it busy for ever. */
static int purge(struct cli *c, const struct view *v, const struct job_filter *f, int64_t *done)
{
	struct burials *b = mem_new(struct burials);
	struct purge p = { b, v };
	struct err err = { 0 };
	int64_t most = how_many(v, f), before = -1;
	int rc = 0;

	b->driver = driver_find(c->drivers, v->partner);
	b->class = "purged";
	b->error = "purged from its queue by an operator";
	while (rc == 0 && *done<most && * done> before) {
		before = *done;
		rc = queue_look(v->queue, JOB_READY, f, take, &p, &err);
		if (rc < 0)
			rc = cli_error(c, rc, &err, "queue purge");
		else
			rc = burials_settle(c, v, b, done);
	}
	burials_clear(b);
	free(b);
	return rc;
}

int cmd_queue_purge(struct cli *c)
{
	struct job_filter f = { .integration = -1 };
	struct queue_name name;
	struct view v;
	int64_t done = 0;
	int rc = 0;

	if (!sure)
		return cli_misused(c, "this discards the queue's ready jobs; say --yes");
	if (integration)
		rc = parse_id(c, "--integration", integration, &f.integration);
	if (rc == 0)
		rc = parse_queue(c, c->words[0], &name);
	if (rc == 0)
		rc = cli_redis(c);
	if (rc == 0)
		rc = cli_pg(c);
	if (rc == 0)
		rc = view_open(c, name.partner, &v);
	if (rc)
		return rc;
	f.lane = name.lane;
	rc = purge(c, &v, &f, &done);
	view_close(&v);
	if (rc && done)
		fprintf(stderr, "longshore: %lld jobs were purged before that\n", (long long)done);
	return rc ? rc : out_value(c, "purged", cJSON_CreateNumber((double)done));
}
