#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/mem.h"
#include "common/store/schedule.h"
#include "common/store/store.h"
#include "drivers/kit/overlay.h"
#include "scheduler/cli/cli.h"

static const char *list_company, *list_partner, *list_status;

int options_integration_list(struct config_option *out)
{
	out[0] = (struct config_option){ .name = "company",
					 .value_name = "C",
					 .help = "only those of a company (id or name)",
					 .out = &list_company };
	out[1] = (struct config_option){ .name = "partner",
					 .value_name = "P",
					 .help = "only those of a partner",
					 .out = &list_partner };
	out[2] = (struct config_option){ .name = "status",
					 .value_name = "S",
					 .help = "only active, paused or auth_broken ones",
					 .out = &list_status };
	return 3;
}

static cJSON *overrides_of(const struct integration *i)
{
	cJSON *tree = NULL;

	if (!i->overrides ||
	    json_parse(i->overrides, strlen(i->overrides), OVERLAY_MAX_BYTES, &tree, NULL) < 0)
		return cJSON_CreateNull();
	return tree;
}

static cJSON *describe(const struct integration *i)
{
	cJSON *o = cJSON_CreateObject();

	json_add_int(o, "id", i->id);
	json_add_text(o, "company", i->company);
	if (i->company_id)
		json_add_int(o, "company_id", i->company_id);
	else
		json_add_text(o, "company_id", NULL);
	json_add_text(o, "partner", i->partner);
	json_add_text(o, "environment", i->environment);
	json_add_text(o, "base_url", i->base_url);
	json_add_text(o, "status", i->status);
	json_add_text(o, "status_reason", i->status_reason);
	cJSON_AddItemToObject(o, "settings", cJSON_Duplicate(i->settings, true));
	cJSON_AddItemToObject(o, "overrides", overrides_of(i));
	json_add_time(o, "created_at", i->created_ms);
	json_add_time(o, "last_success_at", i->last_success_ms);
	return o;
}

static void list_one(const struct integration *i, void *arg)
{
	cJSON_AddItemToArray(arg, describe(i));
}

int cmd_integration_list(struct cli *c)
{
	static const struct out_column columns[] = {
		{ "ID", "id", true },
		{ "COMPANY", "company", false },
		{ "PARTNER", "partner", false },
		{ "ENVIRONMENT", "environment", false },
		{ "STATUS", "status", false },
		{ "LAST SUCCESS", "last_success_at", false },
	};
	struct err err = { 0 };
	int64_t company = 0;
	cJSON *list;
	int rc = cli_pg(c);

	if (rc)
		return rc;
	rc = list_company ? company_find(c->pg, list_company, &company, &err) : 0;
	if (rc < 0)
		return cli_error(c, rc, &err, "--company");
	list = cJSON_CreateArray();
	rc = integration_each(c->pg, company, list_partner, list_status, list_one, list, &err);
	if (rc < 0) {
		cJSON_Delete(list);
		return cli_error(c, rc, &err, "integration list");
	}
	return out_list(c, list, columns, 6,
			"no integrations; `longshore integration add --help` says how to make one");
}

/* The integration that words[0] names. 0 or the exit code. */
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

/* Of several versions of the driver, the one it has; nothing where there is one only. */
static int add_adapter(struct cli *c, const struct integration *i, cJSON *o)
{
	const struct driver *base = NULL, *own;
	const char *why = NULL;
	struct err err = { 0 };
	int rc = cli_drivers(c);

	if (rc == 0)
		base = driver_find(c->drivers, i->partner);
	if (!base || !base->manifest->n_adapters)
		return rc;
	own = driver_for(base, i->id, i->settings, &why, &err);
	json_add_text(o, "adapter", !own ? NULL : own->adapter ? own->adapter : ADAPTER_FIRST);
	json_add_text(o, "adapter_by", own ? why : err.text);
	return 0;
}

/* When it is imported next and why then, and what is paused of it. */
static int add_schedule(struct cli *c, int64_t id, cJSON *o, struct err *err)
{
	cJSON *schedule = NULL, *pause = NULL;
	int rc = schedule_row(c->pg, id, &schedule, err);

	if (rc == 0)
		rc = pause_of(c->pg, id, &pause, err);
	if (rc < 0) {
		cJSON_Delete(schedule);
		return rc;
	}
	cJSON_DeleteItemFromObject(schedule, "integration_id");
	cJSON_DeleteItemFromObject(schedule, "company");
	cJSON_DeleteItemFromObject(schedule, "partner");
	cJSON_AddItemToObject(o, "schedule", schedule);
	cJSON_AddItemToObject(o, "pause", pause ? pause : cJSON_CreateNull());
	return 0;
}

int cmd_integration_show(struct cli *c)
{
	char *health = NULL, *why = NULL;
	struct integration i;
	struct err err = { 0 };
	cJSON *o;
	int rc = get(c, &i);

	if (rc)
		return rc;
	o = describe(&i);
	rc = add_adapter(c, &i, o);
	if (rc) {
		integration_clear(&i);
		cJSON_Delete(o);
		return rc;
	}
	rc = add_schedule(c, i.id, o, &err);
	if (rc == 0)
		rc = health_get(c->pg, i.id, &health, &why, &err);
	integration_clear(&i);
	if (rc < 0) {
		cJSON_Delete(o);
		return cli_error(c, rc, &err, "integration show");
	}
	json_add_text(o, "health", health);
	json_add_text(o, "why", *why ? why : NULL);
	free(health);
	free(why);
	return out_object(c, o);
}
