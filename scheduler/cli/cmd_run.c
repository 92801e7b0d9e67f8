#include <string.h>

#include "common/queue/run.h"
#include "common/store/run_end.h"
#include "common/store/sweep.h"
#include "scheduler/cli/cli.h"

static const char *list_integration, *list_root, *list_state;
static int64_t limit;

int options_run_list(struct config_option *out)
{
	out[0] = (struct config_option){ .name = "integration",
					 .value_name = "ID",
					 .help = "of one integration",
					 .out = &list_integration };
	out[1] = (struct config_option){ .name = "root",
					 .value_name = "ID",
					 .help = "that run and its parts",
					 .out = &list_root };
	out[2] = (struct config_option){ .name = "state",
					 .value_name = "S",
					 .help = "running, done, failed or incomplete",
					 .out = &list_state };
	out[3] = (struct config_option){ .name = "limit",
					 .value_name = "N",
					 .help = "at most so many, newest first",
					 .type = CONFIG_INT,
					 .fallback = "50",
					 .min = 1,
					 .max = 10000,
					 .out = &limit };
	return 4;
}

struct rows {
	struct cli *c;
	cJSON *list;
	int rc;
};

/* What of it is open is known by Redis alone, until its end is written down. */
static int add_open(struct cli *c, int64_t id, const char *home, cJSON *row)
{
	static const char *const keys[] = { "descendants_done", "descendants_dead",
					    "descendants_dropped" };
	struct queue *q = queue_new(c->redis, home, NULL);
	struct run_open o = { 0 };
	struct err err = { 0 };
	int rc = queue_run_look(q, id, &o, cli_deadline(), &err);
	const int64_t n[] = { o.done, o.dead, o.dropped };

	queue_free(q);
	if (rc < 0)
		return cli_error(c, rc, &err, c->command->name);
	if (!o.known)
		return 0;
	cJSON_ReplaceItemInObjectCaseSensitive(row, "open", cJSON_CreateNumber((double)o.open));
	for (int i = 0; i < 3; i++)
		cJSON_ReplaceItemInObjectCaseSensitive(row, keys[i],
						       cJSON_CreateNumber((double)n[i]));
	return 0;
}

static void on_run(int64_t id, const char *home, bool ended, cJSON *row, void *arg)
{
	struct rows *r = arg;
	cJSON *copy = cJSON_Duplicate(row, true);

	if (home && !ended)
		cJSON_AddNullToObject(copy, "open");
	else
		cJSON_AddNumberToObject(copy, "open", 0);
	if (home && !ended && r->rc == 0)
		r->rc = add_open(r->c, id, home, copy);
	cJSON_AddItemToArray(r->list, copy);
}

static int find(struct cli *c, const struct run_filter *f, cJSON **out)
{
	struct rows r = { .c = c, .list = cJSON_CreateArray() };
	struct err err = { 0 };
	int rc = cli_redis(c);

	if (rc == 0)
		rc = cli_pg(c);
	if (rc == 0) {
		rc = run_each(c->pg, f, on_run, &r, &err);
		rc = rc < 0 ? cli_error(c, rc, &err, c->command->name) : r.rc;
	}
	if (rc)
		cJSON_Delete(r.list);
	else
		*out = r.list;
	return rc;
}

int cmd_run_list(struct cli *c)
{
	static const struct out_column columns[] = {
		{ "RUN", "id", true },
		{ "ROOT", "root_id", true },
		{ "TASK", "task", false },
		{ "PARTNER", "partner", false },
		{ "INTEGRATION", "integration_id", true },
		{ "STATE", "state", false },
		{ "PROCESSED", "processed", true },
		{ "OF", "total", true },
		{ "FAILED", "failed", true },
		{ "OPEN", "open", true },
		{ "ENDED", "ended", false },
		{ "SECONDS", "duration_s", true },
		{ "STARTED", "started_at", false },
	};
	struct run_filter f = { .state = list_state, .limit = (int)limit };
	cJSON *list = NULL;
	int rc = 0;

	if (list_integration)
		rc = parse_id(c, "--integration", list_integration, &f.integration_id);
	if (rc == 0 && list_root)
		rc = parse_id(c, "--root", list_root, &f.root_id);
	if (rc == 0 && list_state && strcmp(list_state, "running") && strcmp(list_state, "done") &&
	    strcmp(list_state, "failed") && strcmp(list_state, "incomplete"))
		rc = cli_misused(c, "--state: running, done, failed or incomplete, not \"%s\"",
				 list_state);
	if (rc == 0)
		rc = find(c, &f, &list);
	return rc ? rc : out_list(c, list, columns, 13, "no runs");
}

static void on_part(const char *state, int64_t n, void *arg)
{
	json_add_int(arg, state, n);
}

int cmd_run_show(struct cli *c)
{
	struct run_filter f = { .limit = 1 };
	struct err err = { 0 };
	cJSON *list = NULL, *parts;
	int rc = parse_id(c, "run", c->words[0], &f.id);

	if (rc == 0)
		rc = find(c, &f, &list);
	if (rc)
		return rc;
	cJSON *row = cJSON_DetachItemFromArray(list, 0);
	cJSON_Delete(list);
	if (!row)
		return cli_fail(c, EXIT_NOT_FOUND,
				"there is no run %s; `longshore run list` shows them", c->words[0]);
	parts = cJSON_CreateObject();
	cJSON_AddItemToObject(row, "parts", parts);
	rc = run_parts(c->pg, f.id, on_part, parts, &err);
	if (rc < 0) {
		cJSON_Delete(row);
		return cli_error(c, rc, &err, "run show");
	}
	return out_object(c, row);
}

static int count_runs(struct cli *c, int64_t id, int *n)
{
	struct run_filter f = { .id = id, .limit = 1 };
	cJSON *list = NULL;
	int rc = find(c, &f, &list);

	if (rc == 0)
		*n = cJSON_GetArraySize(list);
	cJSON_Delete(list);
	return rc;
}

/* Nothing of the run is held. */
static int nothing_held(struct cli *c, int64_t id, const struct brake_outcome *o)
{
	int n = 0;
	int rc = o->state[0] ? 0 : count_runs(c, id, &n);

	if (rc)
		return rc;
	if (!o->state[0] && n == 0)
		return cli_fail(c, EXIT_NOT_FOUND,
				"there is no run %lld; `longshore run list` shows them",
				(long long)id);
	if (!o->state[0])
		return cli_fail(c, EXIT_FAILED, "run %lld held no deletions", (long long)id);
	if (!strcmp(o->state, "confirmed"))
		return cli_fail(c, EXIT_FAILED, "the deletions of run %lld were confirmed already",
				(long long)id);
	return cli_fail(
		c, EXIT_FAILED,
		"a later scan (run %lld) has decided anew what is gone: of run %lld nothing is"
		" held any more",
		(long long)o->newer_id, (long long)id);
}

int cmd_run_confirm_deletes(struct cli *c)
{
	struct brake_outcome o = { 0 };
	struct err err = { 0 };
	int64_t id;
	int rc = parse_id(c, "run", c->words[0], &id);

	if (rc == 0)
		rc = cli_pg(c);
	if (rc)
		return rc;
	rc = brake_confirm(c->pg, id, &o, &err);
	if (rc < 0)
		return cli_error(c, rc, &err, "run confirm-deletes");
	if (!o.held)
		return nothing_held(c, id, &o);
	return out_value(c, "deleted", cJSON_CreateNumber((double)o.deleted));
}
