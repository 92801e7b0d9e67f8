#include <errno.h>
#include <string.h>

#include "common/base/mem.h"
#include "drivers/kit/outbound.h"
#include "scheduler/cli/cli.h"

#define KEPT_MAX_BYTES (64 * 1024)

static const char *list_partner, *list_action, *list_state, *list_integration, *kept_text;
static int64_t limit;

int options_request_list(struct config_option *out)
{
	out[0] = (struct config_option){
		.name = "partner", .value_name = "P", .help = "of one partner", .out = &list_partner
	};
	out[1] = (struct config_option){
		.name = "action", .value_name = "A", .help = "of one action", .out = &list_action
	};
	out[2] = (struct config_option){
		.name = "state",
		.value_name = "S",
		.help = "pending, running, done, failed, unknown, undone; open; late",
		.out = &list_state
	};
	out[3] = (struct config_option){ .name = "integration",
					 .value_name = "ID",
					 .help = "of one integration",
					 .out = &list_integration };
	out[4] = (struct config_option){ .name = "limit",
					 .value_name = "N",
					 .help = "at most so many, newest first",
					 .type = CONFIG_INT,
					 .fallback = "50",
					 .min = 1,
					 .max = 10000,
					 .out = &limit };
	return 5;
}

int options_request_resolve(struct config_option *out)
{
	out[0] = (struct config_option){
		.name = "kept",
		.value_name = "JSON",
		.help = "with done: what the step keeps, such as {\"ticket_id\": \"T-17\"}",
		.out = &kept_text
	};
	return 1;
}

static void add(const cJSON *row, void *arg)
{
	cJSON_AddItemToArray(arg, cJSON_Duplicate(row, true));
}

static int find(struct cli *c, const struct request_filter *f, cJSON **out)
{
	cJSON *list = cJSON_CreateArray();
	struct err err = { 0 };
	int rc = cli_pg(c);

	if (rc == 0) {
		rc = request_each(c->pg, f, add, list, &err);
		rc = rc < 0 ? cli_error(c, rc, &err, c->command->name) : 0;
	}
	if (rc)
		cJSON_Delete(list);
	else
		*out = list;
	return rc;
}

static int check_state(const struct cli *c)
{
	enum request_state state;

	if (!list_state || request_state_parse(list_state, &state) == 0 ||
	    strcmp(list_state, "open") == 0 || strcmp(list_state, "late") == 0)
		return 0;
	return cli_misused(
		c,
		"--state: pending, running, done, failed, unknown, undone, open or late, not \"%s\"",
		list_state);
}

int cmd_request_list(struct cli *c)
{
	static const struct out_column columns[] = {
		{ "REQUEST", "id", true },
		{ "PARTNER", "partner", false },
		{ "INTEGRATION", "integration_id", true },
		{ "ACTION", "action", false },
		{ "STATE", "state", false },
		{ "LATE", "late", false },
		{ "DONE", "steps_done", true },
		{ "OF", "steps", true },
		{ "TRIES", "attempts", true },
		{ "EXTERNAL", "external_id", false },
		{ "NEXT", "next_try_at", false },
		{ "WHY", "error", false },
	};
	struct request_filter f = { .partner = list_partner,
				    .action = list_action,
				    .state = list_state,
				    .limit = (int)limit };
	cJSON *list = NULL;
	int rc = check_state(c);

	if (rc == 0 && list_integration)
		rc = parse_id(c, "--integration", list_integration, &f.integration_id);
	if (rc == 0)
		rc = find(c, &f, &list);
	return rc ? rc : out_list(c, list, columns, ARRAY_LEN(columns), "no requests");
}

static int no_request(struct cli *c)
{
	return cli_fail(c, EXIT_NOT_FOUND,
			"there is no request %s; `longshore request list` shows them", c->words[0]);
}

int cmd_request_show(struct cli *c)
{
	struct request_filter f = { .limit = 1, .whole = true };
	cJSON *list = NULL, *row;
	int rc = parse_id(c, "request", c->words[0], &f.id);

	if (rc == 0)
		rc = find(c, &f, &list);
	if (rc)
		return rc;
	row = cJSON_DetachItemFromArray(list, 0);
	cJSON_Delete(list);
	return row ? out_object(c, row) : no_request(c);
}

static int decide(struct cli *c, const char *as, const cJSON *kept)
{
	struct err err = { 0 };
	int64_t id = 0;
	int rc = parse_id(c, "request", c->words[0], &id);

	if (rc == 0)
		rc = cli_drivers(c);
	if (rc == 0)
		rc = cli_pg(c);
	if (rc == 0)
		rc = cli_redis(c);
	if (rc)
		return rc;
	rc = outbound_resolve(c->redis, c->pg, c->drivers, id, as, kept, cli_deadline(), &err);
	if (rc == -ENOENT)
		return no_request(c);
	if (rc == -EPERM)
		return cli_fail(c, EXIT_FAILED, "%s", err.text);
	if (rc == -EINVAL || rc == -EKEYREJECTED)
		return cli_misused(c, "%s", err.text);
	return rc < 0 ? cli_error(c, rc, &err, c->command->name)
		      : out_value(c, as, cJSON_CreateNumber((double)id));
}

int cmd_request_resolve(struct cli *c)
{
	const char *as = c->words[1];
	struct json_error why = { 0 };
	cJSON *kept = NULL;
	int rc = 0;

	if (strcmp(as, "done") != 0 && strcmp(as, "retry") != 0 && strcmp(as, "undo") != 0)
		return cli_misused(c, "\"%s\": done, retry or undo is expected", as);
	if (kept_text && strcmp(as, "done") != 0)
		return cli_misused(c, "--kept goes with done");
	if (kept_text && json_parse(kept_text, strlen(kept_text), KEPT_MAX_BYTES, &kept, &why) < 0)
		return cli_misused(c, "--kept: not JSON: %s at column %d", why.text, why.column);
	if (kept && !cJSON_IsObject(kept))
		rc = cli_misused(c, "--kept: an object is expected");
	if (rc == 0)
		rc = decide(c, as, kept);
	cJSON_Delete(kept);
	return rc;
}

int cmd_request_undo(struct cli *c)
{
	return decide(c, "undo", NULL);
}
