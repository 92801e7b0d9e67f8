#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/mem.h"
#include "common/store/store.h"
#include "scheduler/cli/job_find.h"
#include "scheduler/cli/letters.h"

static const char *queue, *state, *integration;
static int64_t limit;

int options_job_list(struct config_option *out)
{
	out[0] = (struct config_option){ .name = "queue",
					 .value_name = "Q",
					 .help = "guesty, guesty:high … (default: all)",
					 .out = &queue };
	out[1] = (struct config_option){ .name = "state",
					 .value_name = "S",
					 .help = "ready, held, delayed, in_flight or dead"
						 " (default: all but dead)",
					 .out = &state };
	out[2] = (struct config_option){ .name = "integration",
					 .value_name = "ID",
					 .help = "of one integration",
					 .out = &integration };
	out[3] = (struct config_option){ .name = "limit",
					 .value_name = "N",
					 .help = "at most so many",
					 .type = CONFIG_INT,
					 .fallback = "100",
					 .min = 1,
					 .max = 100000,
					 .out = &limit };
	return 4;
}

static const struct out_column job_columns[] = {
	{ "ID", "id", false },
	{ "QUEUE", "queue", false },
	{ "TASK", "task", false },
	{ "INTEGRATION", "integration_id", true },
	{ "STATE", "state", false },
	{ "AGE S", "age_s", true },
	{ "ATTEMPTS", "attempts", true },
	{ "SINCE", "since", false },
	{ "DUE", "due", false },
	{ "WORKER", "worker", false },
	{ "WHY", "why", false },
};

/* ---- job list ---- */

struct listing {
	const struct view *view;
	cJSON *rows;
	enum lane lane;
	int64_t left;
};

static bool list_one(const struct job_seen *j, void *arg)
{
	struct listing *l = arg;
	bool held = j->place == JOB_READY && view_holds(l->view, j->integration);

	if (l->lane && j->lane != l->lane)
		return true;
	if (state && j->place == JOB_READY && strcmp(state, held ? "held" : "ready") != 0)
		return true;
	cJSON_AddItemToArray(l->rows, job_row(l->view, j));
	return --l->left > 0;
}

/* "ready" and "held" stand in the same place. */
static bool wants(enum job_place p)
{
	return !state || strcmp(state, place_name(p)) == 0 ||
	       (p == JOB_READY && strcmp(state, "held") == 0);
}

static int list_queue(struct cli *c, const char *partner, const struct job_filter *f, cJSON *rows)
{
	static const enum job_place order[] = { JOB_IN_FLIGHT, JOB_READY, JOB_DELAYED };
	struct listing l = { .rows = rows,
			     .lane = f->lane,
			     .left = limit - cJSON_GetArraySize(rows) };
	struct err err = { 0 };
	struct view v;
	int rc;

	if (l.left <= 0)
		return 0;
	rc = view_open(c, partner, &v);
	if (rc)
		return rc;
	l.view = &v;
	for (int i = 0; i < 3 && rc == 0; i++) {
		if (wants(order[i]))
			rc = queue_look(v.queue, order[i], f, list_one, &l, &err);
	}
	view_close(&v);
	return rc < 0 ? cli_error(c, rc, &err, "job list") : 0;
}

static int list_dead(struct cli *c, const char *partner, const struct job_filter *f, cJSON *rows)
{
	struct letter_filter lf = { .partner = partner,
				    .integration = f->integration > 0 ? f->integration : 0,
				    .limit = (int)limit };
	struct letters found = { 0 };
	int rc = cli_pg(c);

	if (rc == 0)
		rc = letters_find(c, &lf, &found);
	for (int i = 0; i < found.n && rc == 0; i++)
		cJSON_AddItemToArray(rows, letter_row(&found.v[i], redis_now_ms(c->redis)));
	letters_clear(&found);
	return rc;
}

static int list_filter(struct cli *c, struct queue_name *name, struct job_filter *f)
{
	int rc = 0;

	if (state && strcmp(state, "ready") && strcmp(state, "held") && strcmp(state, "delayed") &&
	    strcmp(state, "in_flight") && strcmp(state, "dead"))
		return cli_misused(c,
				   "--state: ready, held, delayed, in_flight or dead, not \"%s\"",
				   state);
	if (integration)
		rc = parse_id(c, "--integration", integration, &f->integration);
	if (rc == 0 && queue)
		rc = parse_queue(c, queue, name);
	f->lane = name->lane;
	if (rc == 0)
		rc = cli_drivers(c);
	return rc ? rc : cli_redis(c);
}

int cmd_job_list(struct cli *c)
{
	struct job_filter f = { .integration = -1 };
	struct queue_name name = { .lane = 0 };
	cJSON *rows;
	int rc = list_filter(c, &name, &f);

	if (rc)
		return rc;
	rows = cJSON_CreateArray();
	if (state && strcmp(state, "dead") == 0) {
		rc = list_dead(c, queue ? name.partner : NULL, &f, rows);
	} else if (queue) {
		rc = list_queue(c, name.partner, &f, rows);
	} else {
		rc = list_queue(c, LONGSHORE_PARTNER, &f, rows);
		for (int i = 0; i < driver_set_count(c->drivers) && rc == 0; i++)
			rc = list_queue(c, driver_at(c->drivers, i)->manifest->partner, &f, rows);
	}
	if (rc) {
		cJSON_Delete(rows);
		return rc;
	}
	return out_list(c, rows, job_columns, 11, "no jobs");
}

/* ---- one job ---- */

static int open_all(struct cli *c)
{
	int rc = cli_drivers(c);

	if (rc == 0)
		rc = cli_redis(c);
	return rc ? rc : cli_pg(c);
}

static void print_job(const cJSON *o)
{
	const cJSON *reason;

	cJSON_ArrayForEach (reason, o) {
		struct buf b = BUF_INIT;

		if (cJSON_IsNull(reason) || strcmp(reason->string, "why") == 0)
			continue;
		if (!json_scalar_text(reason, &b))
			json_print(reason, &b);
		printf("%-16s %s\n", reason->string, buf_str(&b));
		buf_clear(&b);
	}
	cJSON_ArrayForEach (reason, json_path(o, "why"))
		printf("%-16s %s\n", "why", reason->valuestring);
}

int cmd_job_show(struct cli *c)
{
	cJSON *o = NULL;
	int rc = open_all(c);

	if (rc == 0)
		rc = job_describe(c, c->words[0], &o);
	if (rc)
		return rc;
	if (c->json)
		out_json(o);
	else
		print_job(o);
	cJSON_Delete(o);
	return EXIT_OK;
}

static int refuse_running(const struct cli *c, const struct found_job *j)
{
	return cli_fail(c, EXIT_FAILED,
			"job %s is running on %s: it ends by itself, at its hard time limit at the"
			" latest; `longshore integration pause` or `longshore pause` keep others"
			" from starting",
			c->words[0], j->seen.epoch);
}

static int cancel(struct cli *c, const struct found_job *j)
{
	struct burials *b = mem_new(struct burials);
	int64_t done = 0;
	int rc;

	b->driver = driver_find(c->drivers, j->view.partner);
	b->class = "cancelled";
	b->error = "cancelled by an operator";
	burials_add(b, &j->view, &j->seen);
	rc = burials_settle(c, &j->view, b, &done);
	free(b);
	if (rc)
		return rc;
	if (!done)
		return cli_fail(c, EXIT_FAILED,
				"job %s has moved on meanwhile; see `longshore job show`",
				c->words[0]);
	return out_value(c, "cancelled", cJSON_CreateNumber(1));
}

int cmd_job_cancel(struct cli *c)
{
	struct found_job *j = NULL;
	int rc = open_all(c);

	if (rc == 0)
		rc = job_find(c, c->words[0], &j);
	if (rc)
		return rc;
	rc = j->seen.place == JOB_IN_FLIGHT ? refuse_running(c, j) : cancel(c, j);
	found_job_free(j);
	return rc;
}

static int retry(struct cli *c, const struct found_job *j)
{
	struct err err = { 0 };
	int rc;

	if (j->seen.place == JOB_IN_FLIGHT)
		return cli_fail(c, EXIT_FAILED, "job %s is running already, on %s", c->words[0],
				j->seen.epoch);
	if (j->seen.place == JOB_READY)
		return cli_fail(
			c, EXIT_FAILED,
			"job %s is ready already; `longshore job show` says what it waits for",
			c->words[0]);
	rc = queue_hasten(j->view.queue, &j->seen, &err);
	if (rc == -ENOENT)
		return cli_fail(c, EXIT_FAILED,
				"job %s has moved on meanwhile; see `longshore job show`",
				c->words[0]);
	return rc < 0 ? cli_error(c, rc, &err, "job retry")
		      : out_value(c, "retried", cJSON_CreateNumber(1));
}

int cmd_job_retry(struct cli *c)
{
	struct found_job *j = NULL;
	int rc = open_all(c);

	if (rc == 0)
		rc = job_find(c, c->words[0], &j);
	if (rc)
		return rc;
	rc = retry(c, j);
	found_job_free(j);
	return rc;
}
