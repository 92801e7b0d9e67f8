/* `longshore push … --wait`: the job's result, or how far it is. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "common/io/co.h"
#include "common/io/loop.h"
#include "common/queue/run.h"
#include "common/store/run_end.h"
#include "scheduler/cli/job_find.h"
#include "scheduler/cli/push_wait.h"

#define PAUSE_FIRST_MS 5
#define PAUSE_MAX_MS 500
#define WAIT_MAX_MS (12 * 3600 * 1000LL)
#define RESULT_MAX_BYTES (1024 * 1024)

struct config_option push_wait_option(int64_t *wait_ms)
{
	return (struct config_option){
		.name = "wait",
		.value_name = "DURATION",
		.help = "wait so long for its result, else say how far it is;"
			" without one: 1h",
		.type = CONFIG_DURATION_MS,
		.fallback = "0",
		.max = WAIT_MAX_MS,
		.out = wait_ms
	};
}

/* Each look is one GET; it asks less and less often.  0, -ENOENT: not yet, or an error. */
static int wait_for_result(struct queue *q, const char *id, int64_t wait_ms, struct buf *out,
			   struct err *err)
{
	int64_t end = loop_now_ms() + wait_ms, pause = PAUSE_FIRST_MS;
	int rc;

	for (;;) {
		int64_t left = end - loop_now_ms();

		/* An outage within the time is waited through. */
		rc = queue_result(q, id, out, loop_now_ms() + (left > 1000 ? left : 1000), err);
		if (rc == 0 || left <= 0 || rc == -ECANCELED)
			return rc;
		if (co_sleep("result", pause < left ? pause : left) < 0)
			return -ECANCELED;
		pause = pause * 3 / 2 < PAUSE_MAX_MS ? pause * 3 / 2 + 1 : PAUSE_MAX_MS;
	}
}

static int show_result(struct cli *c, const struct buf *text)
{
	cJSON *o = NULL;

	if (json_parse(text->data, text->len, RESULT_MAX_BYTES, &o, NULL) < 0)
		return cli_fail(c, EXIT_FAILED, "push: the job's result is no JSON: %.200s",
				buf_str(text));
	const char *state = json_str(o, "state");
	bool done = state && strcmp(state, "done") == 0;
	out_object(c, o);
	return done ? EXIT_OK : EXIT_FAILED;
}

/* ---- how far ---- */

static void keep_row(int64_t id, const char *home, bool ended, cJSON *row, void *arg)
{
	cJSON **out = arg;

	if (!*out)
		*out = cJSON_Duplicate(row, true);
}

static int find_run(struct cli *c, const char *id, cJSON **run)
{
	struct run_filter f = { .job_id = id, .state = "running", .limit = 1 };
	struct err err = { 0 };
	int rc = run_each(c->pg, &f, keep_row, run, &err);

	return rc < 0 ? cli_error(c, rc, &err, "push --wait") : 0;
}

static const char *text_at(const cJSON *o, const char *key)
{
	const char *s = json_str(o, key);

	return s ? s : "?";
}

static void print_run(const cJSON *run, struct buf *out)
{
	int64_t processed = 0, total = 0, failed = 0, id = 0;

	if (!run || !json_int(run, "id", &id) || !json_int(run, "processed", &processed))
		return;
	buf_printf(out, "; run %lld: %lld", (long long)id, (long long)processed);
	if (json_int(run, "total", &total))
		buf_printf(out, " of %lld", (long long)total);
	buf_puts(out, " items");
	if (json_int(run, "failed", &failed) && failed)
		buf_printf(out, ", %lld set aside", (long long)failed);
}

static void print_state(const cJSON *job, const cJSON *run, struct buf *out)
{
	const char *state = text_at(job, "state"), *why = json_str(job, "why[0]");

	if (strcmp(state, "in_flight") == 0)
		buf_printf(out, "it runs since %s on %s", text_at(job, "since"),
			   text_at(job, "worker"));
	else if (strcmp(state, "delayed") == 0)
		buf_printf(out, "it is delayed until %s", text_at(job, "due"));
	else if (strcmp(state, "dead") == 0)
		buf_puts(out, "it is dead");
	else
		buf_printf(out, "it waits in %s (%s)", text_at(job, "queue"), state);
	print_run(run, out);
	if (why && strcmp(state, "in_flight") != 0)
		buf_printf(out, ": %s", why);
}

static int show_progress(struct cli *c, const char *id, int64_t wait_ms, cJSON *job, cJSON *run)
{
	struct buf line = BUF_INIT;
	int rc = EXIT_FAILED;

	print_state(job, run, &line);
	if (c->json) {
		cJSON *o = cJSON_CreateObject();

		json_add_text(o, "id", id);
		json_add_text(o, "state", text_at(job, "state"));
		json_add_text(o, "text", buf_str(&line));
		cJSON_AddItemToObject(o, "job", cJSON_Duplicate(job, true));
		cJSON_AddItemToObject(o, "run",
				      run ? cJSON_Duplicate(run, true) : cJSON_CreateNull());
		out_object(c, o);
	} else {
		rc = cli_fail(c, EXIT_FAILED, "job %s is not done after %.1f s: %s", id,
			      (double)wait_ms / 1000, buf_str(&line));
	}
	buf_clear(&line);
	return rc;
}

static int how_far(struct cli *c, const char *id, int64_t wait_ms)
{
	cJSON *job = NULL, *run = NULL;
	int rc = cli_drivers(c);

	if (rc == 0)
		rc = cli_pg(c);
	if (rc == 0)
		rc = job_describe(c, id, &job);
	if (rc == 0)
		rc = find_run(c, id, &run);
	if (rc == 0)
		rc = show_progress(c, id, wait_ms, job, run);
	cJSON_Delete(job);
	cJSON_Delete(run);
	return rc;
}

int push_wait(struct cli *c, struct queue *q, const char *id, int64_t wait_ms)
{
	struct buf text = BUF_INIT;
	struct err err = { 0 };
	int rc = wait_for_result(q, id, wait_ms, &text, &err);

	if (rc == 0)
		rc = show_result(c, &text);
	else if (rc == -ENOENT)
		rc = how_far(c, id, wait_ms);
	else
		rc = cli_error(c, rc, &err, "push --wait");
	buf_clear(&text);
	return rc;
}
