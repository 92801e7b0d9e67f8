#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/mem.h"
#include "scheduler/cli/jobs.h"

static const struct out_column worker_columns[] = {
	{ "WORKER", "worker", false },
	{ "HOST", "host", false },
	{ "PID", "pid", true },
	{ "VERSION", "version", false },
	{ "ALIVE", "alive", false },
	{ "LAST BEAT S", "last_beat_s", true },
	{ "IN FLIGHT", "in_flight", true },
	{ "OF", "concurrency", true },
	{ "PARTNERS", "partners", false },
};

static int fleet(struct cli *c, cJSON **rows)
{
	struct cli_workers w = { 0 };
	struct err err = { 0 };
	int rc = cli_redis(c);

	if (rc)
		return rc;
	w.rows = cJSON_CreateArray();
	w.now_ms = redis_now_ms(c->redis);
	rc = fleet_each(c->redis, cli_add_worker, &w, cli_deadline(), &err);
	if (rc < 0) {
		cJSON_Delete(w.rows);
		return cli_error(c, rc, &err, c->command->name);
	}
	*rows = w.rows;
	return 0;
}

int cmd_worker_list(struct cli *c)
{
	cJSON *rows;
	int rc = fleet(c, &rows);

	return rc ? rc : out_list(c, rows, worker_columns, 9, "no workers");
}

/* ---- worker show ---- */

struct held {
	const struct view *view;
	const char *epoch;
	cJSON *rows;
};

static bool take(const struct job_seen *j, void *arg)
{
	struct held *h = arg;

	if (strcmp(j->epoch, h->epoch) == 0)
		cJSON_AddItemToArray(h->rows, job_row(h->view, j));
	return true;
}

static int held_of(struct cli *c, const char *partner, const char *epoch, cJSON *rows)
{
	struct job_filter any = { .integration = -1 };
	struct err err = { 0 };
	struct view v;
	int rc = view_open(c, partner, &v);

	if (rc)
		return rc;
	struct held h = { &v, epoch, rows };
	rc = queue_look(v.queue, JOB_IN_FLIGHT, &any, take, &h, &err);
	view_close(&v);
	return rc < 0 ? cli_error(c, rc, &err, "worker show") : 0;
}

static void print_worker(const cJSON *o)
{
	static const struct out_column jobs[] = {
		{ "JOB", "id", false },      { "QUEUE", "queue", false },
		{ "TASK", "task", false },   { "INTEGRATION", "integration_id", true },
		{ "SINCE", "since", false }, { "ATTEMPTS", "attempts", true },
	};
	const cJSON *v;

	cJSON_ArrayForEach (v, o) {
		struct buf b = BUF_INIT;

		if (strcmp(v->string, "jobs") == 0)
			continue;
		if (!json_scalar_text(v, &b))
			json_print(v, &b);
		printf("%-16s %s\n", v->string, buf_str(&b));
		buf_clear(&b);
	}
	puts("");
	if (cJSON_GetArraySize(json_path(o, "jobs")))
		out_table(json_path(o, "jobs"), jobs, 6);
	else
		puts("no jobs");
}

/* Of every partner there is a driver for: a worker that died may hold what it no longer says it serves. */
static int add_jobs(struct cli *c, const char *epoch, cJSON *worker)
{
	cJSON *rows = cJSON_AddArrayToObject(worker, "jobs");
	int rc = held_of(c, LONGSHORE_PARTNER, epoch, rows);

	for (int i = 0; i < driver_set_count(c->drivers) && rc == 0; i++)
		rc = held_of(c, driver_at(c->drivers, i)->manifest->partner, epoch, rows);
	return rc;
}

int cmd_worker_show(struct cli *c)
{
	cJSON *rows = NULL, *row, *mine = NULL;
	int rc = cli_drivers(c);

	if (rc == 0)
		rc = fleet(c, &rows);
	if (rc)
		return rc;
	cJSON_ArrayForEach (row, rows) {
		if (strcmp(json_str(row, "worker"), c->words[0]) == 0)
			mine = row;
	}
	if (!mine)
		rc = cli_fail(c, EXIT_NOT_FOUND, "no worker \"%s\"; see `longshore worker list`",
			      c->words[0]);
	else
		rc = add_jobs(c, c->words[0], mine);
	if (rc == 0 && c->json)
		out_json(mine);
	else if (rc == 0)
		print_worker(mine);
	cJSON_Delete(rows);
	return rc;
}
