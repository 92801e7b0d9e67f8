/* `longshore integration sync`: an import now, for the person who waits for it: in the high lane, before what the clock has
 * started. */
#include <stdio.h>
#include <string.h>

#include "common/base/id.h"
#include "common/queue/queue.h"
#include "common/store/schedule.h"
#include "common/store/store.h"
#include "drivers/kit/plan.h"
#include "scheduler/cli/push_wait.h"

static bool full, force, children;
static int64_t wait_ms;

int options_integration_sync(struct config_option *out)
{
	out[0] = (struct config_option){ .name = "full",
					 .help = "everything, not only what changed since the last"
						 " import",
					 .type = CONFIG_BOOL,
					 .out = &full };
	out[1] = (struct config_option){ .name = "force",
					 .help = "what the partner says now wins over rows that"
						 " claim to be newer: its clock ran ahead",
					 .type = CONFIG_BOOL,
					 .out = &force };
	out[2] = (struct config_option){
		.name = "children",
		.help = "everything, and what hangs on each item by calls of"
			" its own, changed or not: jobs of it were lost",
		.type = CONFIG_BOOL,
		.out = &children
	};
	out[3] = push_wait_option(&wait_ms);
	return 4;
}

/* What does not keep the job from being queued, but from running now. */
static int tell_pause(struct cli *c, const struct integration *i)
{
	cJSON *row = NULL;
	struct err err = { 0 };
	int rc = pause_of(c->pg, i->id, &row, &err);
	const char *level = row ? json_str(row, "level") : NULL;

	if (rc < 0)
		return cli_error(c, rc, &err, c->command->name);
	if (strcmp(i->status, "auth_broken") == 0)
		fprintf(stderr, "It waits: integration %lld is auth_broken: %s\n", (long long)i->id,
			i->status_reason ? i->status_reason : "");
	else if (level && strcmp(level, "scheduling") != 0)
		fprintf(stderr, "It waits: the %s is paused: %s\n", level,
			json_str(row, "reason") ? json_str(row, "reason") : "");
	cJSON_Delete(row);
	return 0;
}

/* Several tasks only where there are no resources: the first is waited for. */
static int push(struct cli *c, const struct integration *i, const struct plan *plan)
{
	struct queue *q = queue_new(c->redis, i->partner, NULL);
	struct buf payloads[2] = { BUF_INIT, BUF_INIT };
	struct queue_push v[2];
	char ids[2][ID_LEN + 1];
	cJSON *args = cJSON_CreateObject();
	struct err err = { 0 };
	bool whole = full || children || plan->always_full || !i->last_success_ms;
	int rc;

	json_add_text(args, "mode", whole && plan_can_be_full(plan) ? "full" : "incremental");
	if (force)
		cJSON_AddTrueToObject(args, "force");
	if (children)
		cJSON_AddStringToObject(args, CHILDREN_ARG, "all");
	for (int k = 0; k < plan->n_tasks; k++) {
		id_new(ids[k]);
		job_print(&payloads[k], plan->tasks[k], i->id, args, 0, NULL);
		if (wait_ms)
			job_print_result_ttl(&payloads[k], wait_ms / 1000 + PUSH_RESULT_MORE_S);
		v[k] = (struct queue_push){ .lane = LANE_HIGH,
					    .integration = i->id,
					    .id = ids[k],
					    .payload = payloads[k].data,
					    .len = payloads[k].len };
	}
	rc = queue_enqueue(q, v, plan->n_tasks, cli_deadline(), &err);
	if (rc < 0)
		rc = cli_error(c, rc, &err, c->command->name);
	else if (wait_ms)
		rc = push_wait(c, q, ids[0], wait_ms);
	else
		rc = out_value(c, "id", cJSON_CreateString(ids[0]));
	for (int k = 0; k < 2; k++)
		buf_clear(&payloads[k]);
	cJSON_Delete(args);
	queue_free(q);
	return rc;
}

static int sync_one(struct cli *c, const struct integration *i)
{
	const struct driver *d = NULL, *own;
	static struct plan plan; /* too large for a stack; one command, one plan */
	struct err err = { 0 };
	int rc = cli_driver(c, i->partner, &d);

	if (rc)
		return rc;
	own = d ? driver_for(d, i->id, i->settings, NULL, &err) : NULL;
	/* Of what is wrong with its schedule `integration show` tells; what is to be imported is known without it. */
	if (!own || (plan_make(own->manifest, i->settings, 0, &plan, &err) < 0 &&
		     plan_make(own->manifest, NULL, 0, &plan, &err) < 0))
		return cli_fail(c, EXIT_FAILED, "%s: %s", c->command->name, err.text);
	if (!plan.n_tasks)
		return cli_misused(c,
				   "%s lists nothing that could be imported: it answers questions",
				   i->partner);
	rc = cli_redis(c);
	if (rc == 0)
		rc = tell_pause(c, i);
	return rc ? rc : push(c, i, &plan);
}

int cmd_integration_sync(struct cli *c)
{
	struct integration i;
	struct err err = { 0 };
	int64_t id;
	int rc = parse_id(c, "integration", c->words[0], &id);

	if (rc == 0)
		rc = cli_pg(c);
	if (rc)
		return rc;
	rc = integration_get(c->pg, id, &i, &err);
	if (rc < 0)
		return cli_error(c, rc, &err, c->command->name);
	rc = sync_one(c, &i);
	integration_clear(&i);
	return rc;
}
