#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/mem.h"
#include "common/queue/queue.h"
#include "common/store/schedule.h"
#include "common/store/store.h"
#include "scheduler/cli/cli.h"

#define LEADER_KEY "role:{longshore}:scheduler" /* "TOKEN NAME"; role_hold writes it */

/* What is counted for a partner as a whole stands in the row of its normal lane, so that sums
 * are right. */
static void add_lane(cJSON *rows, const char *partner, enum lane lane, const struct queue_depth *d)
{
	cJSON *row = cJSON_CreateObject();
	char *name = lane == LANE_NORMAL ? mem_strdup(partner)
					 : mem_printf("%s:%s", partner, lane_name(lane));
	bool whole = lane == LANE_NORMAL;

	json_add_text(row, "queue", name);
	json_add_int(row, "ready", d->ready[lane] - d->held_in[lane]);
	json_add_int(row, "delayed", whole ? d->delayed : 0);
	json_add_int(row, "held", d->held_in[lane]);
	json_add_int(row, "in_flight", whole ? d->in_flight : 0);
	json_add_int(row, "dead", whole ? d->dead : 0);
	cJSON_AddNumberToObject(row, "oldest_age_s", (double)d->oldest_age_ms[lane] / 1000);
	cJSON_AddItemToArray(rows, row);
	free(name);
}

int cli_add_queue(struct cli *c, cJSON *rows, const char *partner, struct err *err)
{
	struct queue *q = queue_new(c->redis, partner, NULL);
	struct queue_depth d;
	int rc = queue_depth(q, &d, cli_deadline(), err);

	queue_free(q);
	if (rc < 0)
		return rc;
	add_lane(rows, partner, LANE_HIGH, &d);
	add_lane(rows, partner, LANE_NORMAL, &d);
	add_lane(rows, partner, LANE_LOW, &d);
	return 0;
}

static int add_queues(struct cli *c, cJSON *status, struct err *err)
{
	cJSON *rows = cJSON_AddArrayToObject(status, "queues");
	int rc = cli_add_queue(c, rows, LONGSHORE_PARTNER, err);

	for (int i = 0; i < driver_set_count(c->drivers) && rc == 0; i++)
		rc = cli_add_queue(c, rows, driver_at(c->drivers, i)->manifest->partner, err);
	return rc;
}

/* The worker's own words (partners, jobs in flight, version), with who and when before them. */
void cli_add_worker(const char *epoch, int64_t last_beat_ms, const char *info_json, void *arg)
{
	struct cli_workers *w = arg;
	cJSON *row = cJSON_CreateObject(), *info = NULL, *v;

	json_add_text(row, "worker", epoch);
	cJSON_AddBoolToObject(row, "alive", info_json != NULL);
	cJSON_AddNumberToObject(row, "last_beat_s", (double)(w->now_ms - last_beat_ms) / 1000);
	if (info_json &&
	    json_parse(info_json, strlen(info_json), FLEET_INFO_MAX_BYTES, &info, NULL) == 0) {
		while ((v = info->child)) {
			cJSON_DetachItemViaPointer(info, v);
			if (cJSON_HasObjectItem(row, v->string))
				cJSON_Delete(v);
			else
				cJSON_AddItemToObject(row, v->string, v);
		}
	}
	cJSON_Delete(info);
	cJSON_AddItemToArray(w->rows, row);
}

static int add_leader(struct cli *c, cJSON *status, struct err *err)
{
	redisReply *reply = NULL;
	const char *name = NULL;
	int rc = redis_callv(c->redis, &reply, cli_deadline(), err, "GET", LEADER_KEY, NULL);

	if (rc < 0)
		return rc;
	if (reply->type == REDIS_REPLY_STRING)
		name = strchr(reply->str, ' ');
	json_add_text(status, "leader", name ? name + 1 : NULL);
	freeReplyObject(reply);
	return 0;
}

static void add_health(const char *health, int64_t integrations, void *arg)
{
	json_add_int(arg, health, integrations);
}

#define PAUSES_MAX 50

static int add_schedules(struct cli *c, cJSON *status, struct err *err)
{
	cJSON *summary = NULL, *pauses = NULL;
	int rc = schedules_summary(c->pg, &summary, err);

	if (rc == 0)
		rc = pauses_list(c->pg, PAUSES_MAX, &pauses, err);
	if (rc < 0) {
		cJSON_Delete(summary);
		return rc;
	}
	cJSON_AddItemToObject(status, "schedule", summary);
	cJSON_AddItemToObject(status, "pauses", pauses);
	return 0;
}

static int collect(struct cli *c, cJSON *status, struct err *err)
{
	struct cli_workers w = { .now_ms = redis_now_ms(c->redis) };
	int rc = add_queues(c, status, err);

	w.rows = cJSON_AddArrayToObject(status, "workers");
	if (rc == 0)
		rc = fleet_each(c->redis, cli_add_worker, &w, cli_deadline(), err);
	if (rc == 0)
		rc = add_leader(c, status, err);
	if (rc == 0)
		rc = health_counts(c->pg, add_health,
				   cJSON_AddObjectToObject(status, "integrations"), err);
	if (rc == 0)
		rc = add_schedules(c, status, err);
	return rc;
}

static void print_schedules(const cJSON *status)
{
	static const struct out_column pauses[] = {
		{ "PAUSED", "level", false },
		{ "PARTNER", "partner", false },
		{ "ID", "integration_id", true },
		{ "UNTIL", "until", false },
		{ "BY", "by", false },
		{ "REASON", "reason", false },
	};
	const cJSON *next = json_path(status, "schedule.next");
	int64_t due = 0, id = 0;

	if (json_int(next, "integration_id", &id))
		printf("next import: integration %lld (%s, %s) at %s\n", (long long)id,
		       json_str(next, "partner"), json_str(next, "mode"), json_str(next, "at"));
	if (json_int(status, "schedule.due", &due) && due)
		printf("%lld imports are due\n", (long long)due);
	if (cJSON_GetArraySize(json_path(status, "pauses"))) {
		puts("");
		out_table(json_path(status, "pauses"), pauses, 6);
	}
}

static void print_status(const cJSON *status)
{
	static const struct out_column queues[] = {
		{ "QUEUE", "queue", false },          { "READY", "ready", true },
		{ "DELAYED", "delayed", true },       { "HELD", "held", true },
		{ "IN FLIGHT", "in_flight", true },   { "DEAD", "dead", true },
		{ "OLDEST S", "oldest_age_s", true },
	};
	static const struct out_column workers[] = {
		{ "WORKER", "worker", false },
		{ "ALIVE", "alive", false },
		{ "LAST BEAT S", "last_beat_s", true },
	};
	const cJSON *fleet = json_path(status, "workers"), *v;
	const char *leader = json_str(status, "leader");

	out_table(json_path(status, "queues"), queues, 7);
	puts("");
	if (cJSON_GetArraySize(fleet))
		out_table(fleet, workers, 3);
	else
		puts("no workers");
	printf("\nleading scheduler: %s\nintegrations:", leader ? leader : "none");
	cJSON_ArrayForEach (v, json_path(status, "integrations"))
		printf(" %s %d", v->string, v->valueint);
	puts(cJSON_GetArraySize(json_path(status, "integrations")) ? "" : " none");
	print_schedules(status);
}

int cmd_status(struct cli *c)
{
	struct err err = { 0 };
	cJSON *status;
	int rc = cli_drivers(c);

	if (rc == 0)
		rc = cli_redis(c);
	if (rc == 0)
		rc = cli_pg(c);
	if (rc)
		return rc;
	status = cJSON_CreateObject();
	rc = collect(c, status, &err);
	if (rc < 0)
		rc = cli_error(c, rc, &err, "status");
	else if (c->json)
		out_json(status);
	else
		print_status(status);
	cJSON_Delete(status);
	return rc;
}
