/* An import's beginning and end, and what is told of it: its row in `runs`, its outcome, the integration's last success. */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "common/base/log.h"
#include "common/base/mem.h"
#include "common/io/loop.h"
#include "worker/fresh.h"
#include "worker/memory.h"
#include "worker/outcome.h"
#include "worker/tasks/import.h"

#define NOTE_MAX 800 /* and one more: a checkpoint stays small */
#define PROGRESS_MS 1000
#define TOUCH_MS 5000 /* integrations.last_success: at most so often a process */

static void note_memory(struct import *im)
{
	int64_t now = memory_resident();

	if (now > im->run.worker_peak_bytes)
		im->run.worker_peak_bytes = now;
}

/* What whoever asked for the outcome is told, beside how it ended. */
static void tell_result(const struct import *im)
{
	const struct run_counts *c = &im->run.counts;
	struct buf *out = &im->a->result;

	if (!outcome_is_wanted(im->a))
		return;
	const struct {
		const char *name;
		int64_t n;
	} v[] = { { "run", im->run.id },         { "processed", im->run.processed },
		  { "added", c->added },         { "updated", c->updated },
		  { "unchanged", c->unchanged }, { "stale", c->stale },
		  { "undeleted", c->undeleted }, { "deleted", c->deleted },
		  { "failed", c->failed },       { "pages", c->pages },
		  { "calls", c->calls } };
	buf_reset(out);
	for (size_t i = 0; i < ARRAY_LEN(v); i++)
		buf_printf(out, "%s\"%s\":%lld", i ? "," : "{", v[i].name, (long long)v[i].n);
	buf_printf(out, ",\"complete\":%s}", im->incomplete ? "false" : "true");
}

void import_note(struct import *im, const char *fmt, ...)
{
	char text[400];
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(text, sizeof(text), fmt, ap);
	va_end(ap);
	if (im->note && (strstr(im->note, text) || strlen(im->note) > NOTE_MAX))
		return;
	im->note = im->note ? arena_printf(im->a->arena, "%s; %s", im->note, text)
			    : arena_strdup(im->a->arena, text);
}

/* error NULL: none. */
static int write_run(struct import *im, const char *state, const char *error)
{
	/* What it says is what became of the items; this attempt finds them unchanged. */
	if (im->a->run_told && strcmp(state, "failed") != 0)
		return 0;
	im->run.state = state;
	im->run.note = error ? error : im->note;
	im->run.finished_ms = strcmp(state, "running") ? redis_now_ms(im->a->worker->redis) : 0;
	im->run.counts.calls = im->calls_before + im->a->caller.calls;
	note_memory(im);
	im->run_written_ms = loop_now_ms();
	im->told = true;
	return sink_run(im->a->worker->sink, &im->run, attempt_deadline_ms(im->a), &im->a->err);
}

int import_progress(struct import *im)
{
	note_memory(im);
	return loop_now_ms() - im->run_written_ms >= PROGRESS_MS ? write_run(im, "running", NULL)
								 : 0;
}

static int read_args(struct import *im, struct attempt *a)
{
	const cJSON *force = a->job.args ? json_path(a->job.args, "force") : NULL;
	const cJSON *children = a->job.args ? json_path(a->job.args, CHILDREN_ARG) : NULL;

	if (force && !cJSON_IsBool(force))
		return err_set(&a->err, -EINVAL, ERR_BAD_JOB, "args.force",
			       "args.force must be true or false");
	if (children && (!cJSON_IsString(children) || strcmp(children->valuestring, "all") != 0))
		return err_set(&a->err, -EINVAL, ERR_BAD_JOB, "args.children",
			       "args.children can only be \"all\"");
	im->force = cJSON_IsTrue(force);
	im->all_children = children;
	return 0;
}

int import_begin(struct import *im, struct attempt *a)
{
	int rc = task_mode(a, &im->mode);

	if (rc == 0)
		rc = read_args(im, a);

	im->a = a;
	im->resumed = a->run_id != 0;
	if (rc == 0)
		rc = task_run(a);
	im->run = (struct run){ .id = a->run_id,
				.root_id = a->job.run_id,
				.integration_id = a->integration->id,
				.task = a->job.task,
				.mode = im->mode,
				.job_id = a->job_id,
				.worker = a->worker->epoch,
				.started_ms = attempt_began_ms(a),
				.total = -1 };
	im->run_written_ms = loop_now_ms();
	im->redo = a->unclean;
	return rc;
}

/* An integration that was deleted meanwhile has nothing to tell.  Marked before the wait: the jobs that end meanwhile
 * would else all queue up for the lock of that one row. */
static int touch_success(struct attempt *a)
{
	static struct {
		int64_t id, at_ms;
	} last[64];
	int slot = a->integration->id % 64, rc;

	if (last[slot].id == a->integration->id && loop_now_ms() - last[slot].at_ms < TOUCH_MS)
		return 0;
	last[slot].id = a->integration->id;
	last[slot].at_ms = loop_now_ms();
	rc = integration_touch_success(a->worker->pg, a->integration->id, &a->err);
	if (rc < 0)
		last[slot].id = 0;
	return rc == -ENOENT ? 0 : rc;
}

/* What the run's row says of an attempt that failed; the error stays as it was. */
static void tell_failure(struct import *im)
{
	struct attempt *a = im->a;
	struct err first = a->err;
	bool waits = first.class == ERR_HOLD || first.class == ERR_RATE_LIMIT;

	/* One that had to wait before its first page, or for another one that scans the same, has not begun: it may still be
	 * superseded. */
	if (waits && !im->resumed && (!im->run.counts.pages || (im->taken && !im->place.written))) {
		a->run_id = 0;
		if (im->told && write_run(im, "incomplete", first.text) < 0)
			log_event(LOG_WARN, "run_not_written", LS("reason", a->err.text));
		a->err = first;
		return;
	}
	if (!waits)
		place_release(im);
	if (write_run(im, waits ? "running" : "failed", first.text) < 0)
		log_event(LOG_WARN, "run_not_written", LS("reason", a->err.text));
	a->err = first;
}

int import_end(struct import *im, int rc)
{
	if (rc == 0 && !im->yielded && !im->incomplete)
		rc = touch_success(im->a);
	if (rc == 0 && !im->yielded && !im->incomplete && !im->resumed)
		fresh_success(im->a, im->mode, im->run.started_ms);
	if (rc == 0)
		rc = write_run(im,
			       im->yielded      ? "running"
			       : im->incomplete ? "incomplete"
						: "done",
			       NULL);
	else if (rc != -ECANCELED && rc != -ECONNRESET && rc != -ESTALE)
		tell_failure(im);
	if (!im->yielded)
		tell_result(im);
	place_clear(&im->place);
	return rc;
}
