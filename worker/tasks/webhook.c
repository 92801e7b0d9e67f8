#include "worker/tasks/webhook.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/id.h"
#include "common/base/log.h"
#include "common/base/mem.h"
#include "common/base/metrics.h"
#include "common/io/co.h"
#include "common/io/loop.h"
#include "common/queue/intake.h"
#include "common/queue/turn.h"

#define EVENT_NAME_MAX 200
#define TURN_MIN_MS 10000
#define TURN_AGAIN_MS \
	200 /* somebody else is about the same item: looked at again in so long, and up to … */
#define TURN_SPREAD_MS 400
#define NOT_THERE_MS 1000 /* the partner was asked and knows of none: nobody asks again so soon */
#define DEAD_WAIT_MS 5000

/* ---- what the job says ---- */

static int refuse(struct attempt *a, const char *field, const char *wanted)
{
	return err_set(&a->err, -EINVAL, ERR_BAD_JOB, "args",
		       "process_webhook needs args.%s: %s; events of partners come in by"
		       " POST /webhooks/%s/%lld",
		       field, wanted, a->partner, (long long)a->job.integration_id);
}

static int read_args(struct hook *h)
{
	struct attempt *a = h->a;
	const cJSON *args = a->job.args;
	const char *id = args ? json_str(args, "event_id") : NULL;
	const char *event = args ? json_str(args, "event") : NULL;

	if (!id || !*id || strlen(id) > WEBHOOK_ID_MAX_BYTES)
		return refuse(a, "event_id", "a text of 1 to 512 bytes");
	if (!event || strlen(event) > EVENT_NAME_MAX)
		return refuse(a, "event", "a text of at most 200 bytes");
	h->body = json_path(args, "body");
	h->sealed = json_str(args, "sealed");
	if (!h->body && !h->sealed)
		return refuse(a, "body", "the event, as JSON");
	if (!json_int(args, "received_us", &h->row.received_us) || h->row.received_us <= 0)
		return refuse(a, "received_us", "when it came in, in microseconds since 1970");
	if (!json_int(args, "happened_us", &h->row.happened_us) || h->row.happened_us < 0)
		h->row.happened_us = 0;
	h->row.event_id = id;
	h->row.event = event;
	h->row.believed = json_bool(args, "believed", false);
	return 0;
}

/* Sealed by whoever has another manifest, or pushed by hand: without its body nothing but credentials can be had of it.  Its job is kept as it
 * is, for a replay where the manifest is the same.  What this version alone does not know is unknown to it, like any other. */
static int check_sealed(struct hook *h)
{
	struct attempt *a = h->a;
	const struct manifest *m = a->driver->manifest;

	if (!h->sealed || (h->e && h->e->act == EVENT_CREDENTIALS_ROTATED) ||
	    (!h->e && event_brings_credentials(m, h->row.event)))
		return 0;
	return err_set(
		&a->err, -EINVAL, ERR_BAD_JOB, "args.sealed",
		"args.sealed is of events that bring credentials; of %.60s this worker's manifest says %s%s%s: replay it when that is what whoever took it in has",
		h->row.event, h->e ? "\"do\": \"" : "nothing", h->e ? h->row.action : "",
		h->e ? "\"" : "");
}

/* Of an event that brings credentials nothing is kept; of one whose body becomes a row all is; else what is personal goes. */
static void keep_body(struct hook *h)
{
	const struct manifest *m = h->a->driver->manifest;
	cJSON *masked = NULL;

	if (h->sealed || (h->e && h->e->act == EVENT_CREDENTIALS_ROTATED))
		return;
	if (!h->e || h->e->act != EVENT_UPSERT || !h->row.believed)
		masked = event_masked(m, h->e, h->body);
	json_print(masked ? masked : h->body, &h->body_text);
	h->row.body = buf_str(&h->body_text);
	cJSON_Delete(masked);
}

static void find_item(struct hook *h, const cJSON *args)
{
	struct buf id = BUF_INIT;

	h->c = manifest_collection(h->a->driver->manifest, h->e->collection);
	h->row.collection = h->c->name;
	h->row.row_table = row_table_name(h->c->table);
	if (event_id_of_job(h->e, h->c, args, &id)) {
		h->id = arena_printf(h->a->arena, "%s", buf_str(&id));
		h->row.external_id =
			arena_printf(h->a->arena, "%s%s", h->c->id_prefix, buf_str(&id));
	}
	buf_clear(&id);
}

/* Ours, of the address that a report came to; of one that is done again the row has it. */
static const char *reference(const struct attempt *a)
{
	const char *said = json_str(a->job.args, "reference");

	if (!a->driver->manifest->webhooks.callback_param)
		return NULL;
	return said ? said : json_str(a->job.args, "row_id");
}

static int hook_read(struct hook *h, struct attempt *a)
{
	int rc;

	*h = (struct hook){ .a = a };
	if (!a->driver->manifest->webhooks.event)
		return err_set(&a->err, -EINVAL, ERR_BAD_JOB, "no such operation",
			       "partner %s sends no webhooks: its manifest declares none",
			       a->partner);
	rc = read_args(h);
	if (rc < 0)
		return rc;
	h->row.integration_id = a->integration->id;
	h->row.generation = a->lease.generation;
	h->row.partner = a->partner;
	h->row.job_id = a->job_id;
	h->e = event_find(a->driver->manifest, h->row.event);
	if (h->e)
		h->row.action = event_action(h->e->act);
	rc = check_sealed(h);
	if (rc < 0)
		return rc;
	if (h->e && h->e->collection)
		find_item(h, a->job.args);
	else if (h->e && h->e->act == EVENT_DELIVERY)
		h->row.external_id = reference(a);
	h->happened_us = event_happened_us(h->c, h->row.happened_us, h->row.received_us);
	keep_body(h);
	return 0;
}

static void hook_clear(struct hook *h)
{
	buf_clear(&h->body_text);
}

/* ---- what is told of it ---- */

static void count(const struct hook *h, enum webhook_state state)
{
	static struct metrics_kept ends, times;
	const char *partner = h->row.partner, *name = webhook_state_name(state);
	struct metric **total = metrics_keep(&ends, partner, name, NULL),
		      **time = metrics_keep(&times, partner, NULL, NULL);

	if (!*total)
		*total = metrics_counter("webhooks_processed_total",
					 "Events of webhooks by what became of them.", "partner",
					 partner, "state", name, NULL);
	if (!*time)
		*time = metrics_histogram("webhook_processing_seconds",
					  "From when an event came in to when it was done.",
					  "partner", partner, NULL);
	metric_add(*total, 1);
	metric_observe(*time, (double)(h->row.processed_us - h->row.received_us) / 1e6);
}

static void count_failure(const struct hook *h, const char *type)
{
	static struct metrics_kept kept;
	struct metric **m = metrics_keep(&kept, h->row.partner, type, NULL);

	if (!*m)
		*m = metrics_counter("webhook_failures_total", "Webhooks that failed, by why.",
				     "partner", h->row.partner, "error_type", type, NULL);
	metric_add(*m, 1);
}

static int write_row(struct hook *h, enum webhook_state state, const char *reason)
{
	struct attempt *a = h->a;

	h->row.state = state;
	h->row.reason = reason;
	h->row.processed_us = state == WEBHOOK_RECEIVED ? 0 : redis_now_us(a->worker->redis);
	return sink_webhook(a->worker->sink, &h->row, attempt_deadline_ms(a), &a->err);
}

int hook_begin(struct hook *h)
{
	int rc;

	/* A later attempt says it again: the one before may have died between its claim and this. */
	if (h->told)
		return 0;
	rc = write_row(h, WEBHOOK_RECEIVED, NULL);
	h->told = rc == 0;
	return rc;
}

int hook_end(struct hook *h, enum webhook_state state, const char *reason)
{
	int rc = write_row(h, state, reason);

	if (rc < 0)
		return rc;
	count(h, state);
	if (state == WEBHOOK_FAILED)
		count_failure(h, "data");
	log_event(state == WEBHOOK_FAILED || state == WEBHOOK_UNKNOWN ? LOG_WARN : LOG_INFO,
		  "webhook_processed", LS("event", h->row.event), LS("event_id", h->row.event_id),
		  LS("action", h->row.action), LS("item", h->row.external_id),
		  LS("state", webhook_state_name(state)), LS("reason", reason));
	return 0;
}

int hook_wait(struct hook *h, const char *reason)
{
	static const int waits_ms[] = { 1000, 4000, 12000, 30000 };
	struct attempt *a = h->a;
	int rc;

	if (a->step >= (int64_t)ARRAY_LEN(waits_ms))
		return hook_end(h, WEBHOOK_UNMATCHED, reason);
	rc = write_row(h, WEBHOOK_WAITING, reason);
	if (rc < 0)
		return rc;
	rc = err_set(&a->err, -EAGAIN, ERR_HOLD, "unmatched", "%s: looked for again", reason);
	a->err.retry_after_ms = waits_ms[a->step++];
	return rc;
}

/* The job dies, and this is what Postgres knows of the event.  What was no event has no row. */
static int tell_dead(struct attempt *a)
{
	struct err first = a->err;
	struct hook h;
	int rc;

	if (attempt_deadline_ms(a) < loop_now_ms() + DEAD_WAIT_MS)
		co_set_deadline(co_self(), loop_now_ms() + DEAD_WAIT_MS);
	rc = hook_read(&h, a);
	if (rc == 0) {
		rc = write_row(&h, WEBHOOK_FAILED, first.text);
		if (rc == -EPROTO && a->err.class == ERR_DATA) {
			log_event(LOG_ERROR, "webhook_not_written", LS("reason", a->err.text));
			rc = 0; /* it would be refused for ever */
		}
		if (rc == 0) {
			count(&h, WEBHOOK_FAILED);
			count_failure(&h, err_class_name(first.class));
		}
	} else {
		rc = 0;
	}
	hook_clear(&h);
	if (rc == 0)
		a->err = first;
	return rc;
}

/* ---- one at a time for each item ---- */

static int somebody_else(struct hook *h)
{
	struct attempt *a = h->a;
	int rc = hook_begin(h);

	if (rc < 0)
		return rc;
	rc = err_set(&a->err, -EAGAIN, ERR_HOLD, "same item",
		     "another event about %s %.80s is under way", h->c->name, h->id);
	a->err.retry_after_ms = TURN_AGAIN_MS + random_below(TURN_SPREAD_MS);
	return rc;
}

static int64_t turn_ms(const struct hook *h)
{
	return 2 * h->a->driver->manifest->total_ms + TURN_MIN_MS;
}

static enum event_do action(const struct hook *h)
{
	return h->row.believed ? h->e->act : EVENT_FETCH;
}

static int do_in_turn(struct hook *h)
{
	switch (action(h)) {
	case EVENT_UPSERT:
		return event_upsert(h);
	case EVENT_DELETE:
		return event_delete(h);
	default:
		return event_fetch(h);
	}
}

/* The one before found out that the partner has none, by a call that was sent after this event came in. */
static bool is_known_missing(const struct hook *h, const char *word)
{
	return *word && strtoll(word, NULL, 10) > h->row.received_us;
}

static int in_turn(struct hook *h)
{
	struct attempt *a = h->a;
	char what[WEBHOOK_ID_MAX_BYTES + 128], word[TURN_WORD_MAX];
	struct turn turn;
	int rc;

	snprintf(what, sizeof(what), "%lld %s %s", (long long)h->row.integration_id, h->c->name,
		 h->id);
	turn_init(&turn, a->partner, what, a->lease.header.id);
	rc = turn_take(a->worker->redis, &turn, turn_ms(h), word, attempt_deadline_ms(a), &a->err);
	if (rc < 0)
		return rc;
	if (rc == 0)
		return is_known_missing(h, word)
			       ? hook_wait(h, "the partner does not know it (yet)")
			       : somebody_else(h);
	h->missing_us = 0;
	rc = do_in_turn(h);
	if (h->missing_us) {
		snprintf(word, sizeof(word), "%lld", (long long)h->missing_us);
		turn_leave_word(a->worker->redis, &turn, word, NOT_THERE_MS);
	} else {
		turn_leave(a->worker->redis, &turn);
	}
	return rc;
}

static int about_item(struct hook *h)
{
	struct attempt *a = h->a;
	bool covered = false;
	int rc = 0;

	if (!h->id)
		return err_set(&a->err, -EBADMSG, ERR_DATA, "webhooks.events",
			       "the event %.60s has no id at \"%s\"", h->row.event, h->e->id);
	if (strlen(h->id) > WEBHOOK_ID_MAX_BYTES)
		return err_set(&a->err, -EBADMSG, ERR_DATA, "webhooks.events",
			       "the event %.60s has an id of %d bytes", h->row.event,
			       (int)strlen(h->id));
	/* Of a hundred events about one item ninety-nine end here, without waiting for their turn. */
	if (action(h) == EVENT_FETCH)
		rc = event_is_covered(h, &covered);
	if (rc < 0)
		return rc;
	return covered ? event_covered(h) : in_turn(h);
}

static int process(struct hook *h)
{
	if (!h->e)
		return hook_end(h, WEBHOOK_UNKNOWN, "the manifest names no such event");
	switch (h->e->act) {
	case EVENT_IGNORE:
		return hook_end(h, WEBHOOK_IGNORED, NULL);
	case EVENT_AUTH_REVOKED:
	case EVENT_CREDENTIALS_ROTATED:
		if (!h->row.believed)
			return hook_end(h, WEBHOOK_IGNORED, "it is not signed: not believed");
		return h->e->act == EVENT_AUTH_REVOKED ? event_revoked(h) : event_rotated(h);
	case EVENT_DELIVERY:
		if (!h->row.believed)
			return hook_end(h, WEBHOOK_IGNORED, "it is not signed: not believed");
		return event_delivery(h);
	default:
		return about_item(h);
	}
}

bool webhook_mends_auth(const struct attempt *a)
{
	bool is_event = a->driver && a->job.args && !strcmp(a->job.task, INTAKE_TASK);
	const char *event = is_event ? json_str(a->job.args, "event") : NULL;
	const struct manifest_event *e = event ? event_find(a->driver->manifest, event) : NULL;

	return e && e->act == EVENT_CREDENTIALS_ROTATED;
}

int task_process_webhook(struct attempt *a)
{
	struct hook h;
	int rc = hook_read(&h, a);

	if (rc == 0) {
		a->on_dead = tell_dead;
		rc = process(&h);
	}
	hook_clear(&h);
	return rc;
}
