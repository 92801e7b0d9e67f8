#include "worker/outcome.h"

#include <string.h>

#include "common/base/log.h"
#include "common/base/secret.h"
#include "common/io/co.h"
#include "common/io/loop.h"
#include "common/store/outcome.h"
#include "worker/lot.h"
#include "worker/runs.h"
#include "worker/sink.h"

#define WRITE_MS 5000 /* of a job whose own time is over */

static const char *const names[] = {
	[JOB_DONE] = "done", [JOB_DEAD] = "dead", [JOB_DROPPED] = "dropped"
};
static const enum run_fate fates[] = {
	[JOB_DONE] = RUN_DONE, [JOB_DEAD] = RUN_DEAD, [JOB_DROPPED] = RUN_DROPPED
};

bool outcome_is_wanted(const struct attempt *a)
{
	return a->job.record || a->job.result_ttl_s;
}

static int write_row(struct attempt *a, enum job_end end)
{
	const struct err *e = &a->err;
	struct buf error = BUF_INIT;

	buf_puts(&error, end == JOB_DEAD ? e->text : "");
	secret_redact(&error);
	struct outcome o = { .queue = queue_partner(a->lease.queue),
			     .job_id = a->job_id,
			     .task = a->job.task,
			     .integration_id = a->job.integration_id,
			     .run_id = a->run_id,
			     .state = names[end],
			     .why = end == JOB_DROPPED ? a->skipped : NULL,
			     .class = end == JOB_DEAD ? err_class_name(e->class) : NULL,
			     .error = buf_str(&error),
			     .worker = a->worker->epoch,
			     .result = buf_str(&a->result),
			     .attempts = a->lease.header.attempts + 1,
			     .first_seen_ms = a->lease.header.born_ms,
			     .ended_ms = redis_now_ms(a->worker->redis) };
	struct err refused = { 0 };
	int rc = sink_outcome(a->worker->sink, &o, attempt_deadline_ms(a), &refused);
	buf_clear(&error);
	if (rc < 0 && lot_is_poison(rc, &refused)) {
		/* It would be refused for ever: the job's end goes before its row. */
		log_event(LOG_ERROR, "outcome_not_written", LS("reason", refused.text));
		return 0;
	}
	if (rc < 0)
		a->err = refused;
	return rc;
}

int outcome_write(struct attempt *a, enum job_end end)
{
	bool root = !a->job.run_id && (a->asks || a->n_children || a->spawned);
	int rc = 0;

	if (!a->job.record && !root)
		return 0;
	if (attempt_deadline_ms(a) < loop_now_ms() + WRITE_MS)
		co_set_deadline(co_self(), loop_now_ms() + WRITE_MS);
	if (root && end != JOB_DROPPED)
		rc = runs_note_root(a, end == JOB_DEAD ? "failed"
				       : a->goes_on    ? "running"
						       : "done");
	if (rc == 0 && a->job.record && !a->goes_on)
		rc = write_row(a, end);
	return rc;
}

static void text(struct buf *out, const char *key, const char *value)
{
	if (!value || !*value)
		return;
	buf_printf(out, ",\"%s\":", key);
	json_quote(out, value, strlen(value));
}

static void result_print(const struct attempt *a, enum job_end end, struct buf *out)
{
	buf_puts(out, "{\"id\":");
	json_quote(out, a->job_id, strlen(a->job_id));
	text(out, "task", a->job.task);
	text(out, "state", names[end]);
	buf_printf(out, ",\"at\":%lld,\"attempts\":%d", (long long)redis_now_ms(a->worker->redis),
		   a->lease.header.attempts + 1);
	if (a->run_id)
		buf_printf(out, ",\"run_id\":%lld", (long long)a->run_id);
	if (end == JOB_DROPPED)
		text(out, "why", a->skipped);
	if (end == JOB_DEAD) {
		text(out, "class", err_class_name(a->err.class));
		text(out, "rule", a->err.rule);
		text(out, "error", a->err.text);
	}
	if (a->result.len) {
		buf_puts(out, ",\"result\":");
		buf_append(out, a->result.data, a->result.len);
	}
	buf_putc(out, '}');
	secret_redact(out);
}

void outcome_settle(struct attempt *a, struct settlement *s, enum job_end end)
{
	struct buf json = BUF_INIT;

	runs_settle(a, s, a->goes_on ? RUN_GOES_ON : fates[end]);
	if (!a->job.result_ttl_s || a->goes_on)
		return;
	result_print(a, end, &json);
	settlement_set_result(s, a->job_id, a->job.result_ttl_s * 1000, json.data, json.len);
	buf_clear(&json);
}
