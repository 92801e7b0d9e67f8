#include "worker/settle.h"

#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/id.h"
#include "common/base/log.h"
#include "common/base/mem.h"
#include "common/base/metrics.h"
#include "common/io/co.h"
#include "common/io/loop.h"
#include "common/store/store.h"
#include "worker/integrations.h"
#include "worker/lot.h"
#include "worker/outcome.h"
#include "worker/pool.h"
#include "worker/request.h"

/* ---- the table: what a class leads to (E2) ---- */
enum policy { RETRY, WAIT, BURY, AUTH, DISCARD, HAND_BACK, SHRINK, SUSPEND };
static const struct {
	enum policy policy;
	int64_t base_ms,
		max_ms; /* RETRY: 2^n x base, full jitter, at most max; WAIT: base where nothing says how long */
	bool alert;
} table[ERR_CLASS_COUNT] = {
	[ERR_TRANSIENT] = { RETRY, 60000, 30 * 60000, false },
	[ERR_RATE_LIMIT] = { WAIT, 60000, 0, false },
	[ERR_CLIENT] = { BURY, 0, 0, false },
	[ERR_AUTH] = { AUTH, 5000, 0, false },
	[ERR_DATA] = { BURY, 0, 0, false },
	[ERR_INTERNAL] = { RETRY, 60000, 30 * 60000, true },
	[ERR_LIMIT] = { RETRY, 60000, 30 * 60000, false },
	[ERR_POISON] = { BURY, 0, 0, true },
	[ERR_EXPIRED] = { DISCARD, 0, 0, false },
	[ERR_BAD_JOB] = { BURY, 0, 0, false },
	[ERR_HOLD] = { WAIT, 1000, 0, false },
	[ERR_CANCELLED] = { HAND_BACK, 0, 0, false },
	[ERR_MEMORY] = { SHRINK, 1000, 0, false },
};
#define NETWORK_BASE_MS 30000
#define NETWORK_MAX_MS (15 * 60000)
#define DEFAULT_RETRIES 3
#define HOLD_MIN_MS 100 /* a job that is held again and again costs little */
#define STORE_WAIT_MS 5000
#define SUSPENDED_WAIT_MS 5000 /* by then the pause is known to all: it waits in its lane */
#define SMALLER 10             /* a page that was too large is asked for in so many */
#define HOLD_MAX_MS \
	(24LL * 3600 * 1000) /* a partner that says "in 40 years" is asked again tomorrow */

/* What the manifest says is to be done goes before what the class leads to. */
static enum policy policy_of(const struct err *e)
{
	switch (e->action) {
	case ACT_RETRY:
	case ACT_RESET_PAGING:
		return RETRY;
	case ACT_HOLD:
		return WAIT;
	case ACT_DEAD:
	case ACT_SET_ASIDE: /* what is to be set aside is the job itself */
	case ACT_SKIP:
	case ACT_NOT_THERE:
		return BURY;
	case ACT_SUSPEND:
		return SUSPEND;
	default:
		return table[e->class].policy;
	}
}

static int64_t backoff_ms(const struct err *e, int attempts)
{
	bool network = !strncmp(e->rule, "network", 7);
	enum err_class class = table[e->class].policy == RETRY ? e->class : ERR_TRANSIENT;
	int64_t base = network ? NETWORK_BASE_MS : table[class].base_ms;
	int64_t max = network ? NETWORK_MAX_MS : table[class].max_ms;
	int64_t top = base << (attempts < 16 ? attempts : 16), ms;

	if (top > max)
		top = max;
	ms = 1 + random_below((unsigned)top); /* full jitter */
	return ms > e->retry_after_ms ? ms : e->retry_after_ms;
}

static void add_children(struct attempt *a, struct settlement *s)
{
	for (int i = 0; i < a->n_children; i++) {
		struct attempt_child *c = &a->children[i];

		c->push.payload = c->payload.data;
		c->push.len = c->payload.len;
		if (c->kin)
			settlement_add_kin(s, c->partner, &c->push);
		else
			settlement_add_child(s, c->partner, &c->push);
	}
}

/* An outcome is told once, where it is decided. */
static void count(const struct attempt *a, const char *outcome)
{
	static struct metrics_kept outcomes, durations;
	const char *partner = queue_partner(a->lease.queue);
	/* A task that nobody knows must not make a label of what outsiders wrote. */
	const char *task = a->label ? a->label : "unknown";
	struct metric **total = metrics_keep(&outcomes, partner, a->label, outcome),
		      **time = metrics_keep(&durations, partner, a->label, NULL);

	if (!*total)
		*total =
			metrics_counter("integration_tasks_total", "Attempts by outcome.",
					"partner", partner, "task", task, "outcome", outcome, NULL);
	if (!*time)
		*time = metrics_histogram("integration_task_duration_seconds",
					  "Time of an attempt.", "partner", partner, "task", task,
					  NULL);
	metric_add(*total, 1);
	metric_observe(*time, (loop_now_ms() - a->started_ms) / 1000.0);
}

static void log_outcome(const struct attempt *a, enum log_level level, const char *event,
			int64_t again_in_ms)
{
	const struct err *e = &a->err;
	int64_t ms = loop_now_ms() - a->started_ms;

	if (!e->class)
		log_event(level, event, LI("dur_ms", ms));
	else
		log_event(level, event, LI("dur_ms", ms), LS("class", err_class_name(e->class)),
			  LS("rule", e->rule), LS("where", e->where[0] ? e->where : NULL),
			  LS("error", e->text), LI("attempt", a->lease.header.attempts + 1),
			  LI("again_in_ms", again_in_ms));
}

static void on_settled(bool held, void *arg)
{
	if (!held)
		log_event(
			LOG_WARN, "lease_lost", LS("partner", arg),
			LS("reason",
			   "another worker has the job: what this attempt did counts as not done"));
}

static void hand_over(struct attempt *a, struct settlement *s)
{
	struct queue *q = a->lease.queue; /* settlement_of left it there */

	queue_settle(q, s, on_settled, (void *)queue_partner(q));
}

static struct settlement *settlement_of(struct attempt *a, enum settle_kind kind)
{
	struct queue *q = a->lease.queue;
	struct job_header h = a->lease.header;
	struct settlement *s = settlement_new(&a->lease, kind);

	a->lease.queue = q;
	a->lease.header = h; /* what it borrows lives until the settlement is handed over */
	settlement_set_keys(s, &a->keys,
			    kind == SETTLE_DELAY                 ? KEY_WAITS
			    : kind == SETTLE_DONE && !a->skipped ? KEY_SUCCEEDED
								 : KEY_FREED);
	return s;
}

static bool written(struct attempt *a, enum job_end end, const char *letter_id);

static void bury(struct attempt *a)
{
	int64_t now = redis_now_ms(a->worker->redis);
	struct buf letter = BUF_INIT;
	char id[ID_LEN + 1];

	id_new(id);
	if (!written(a, JOB_DEAD, id))
		return;
	letter_print(a, id, now, &letter);
	log_outcome(a, LOG_WARN, "job_dead", 0);
	count(a, "dead");
	struct settlement *s = settlement_of(a, SETTLE_DEAD);
	settlement_set_letter(s, now, id, letter.data, letter.len);
	outcome_settle(a, s, JOB_DEAD);
	hand_over(a, s);
	buf_clear(&letter);
}

static bool is_ours(const char *word, size_t n)
{
	static const char *const ours[] = { RAN,        RAN_AUTH,   RAN_RUN,  RAN_AT,
					    RAN_BEYOND, RAN_FANNED, RAN_SMALL };

	for (size_t i = 0; i < ARRAY_LEN(ours); i++)
		if (n >= strlen(ours[i]) && !memcmp(word, ours[i], strlen(ours[i])))
			return true;
	return false;
}

/* The header as it goes on: words of others are kept, ours are written anew. */
static void header_extend(const struct attempt *a, struct job_header *h, struct buf *extra)
{
	const char *end = h->extra + h->extra_len, *next;
	/* A place beyond children goes only with them: an attempt that comes to fail clears them, and goes_on. */
	int64_t step = a->goes_on && a->next_step ? a->next_step : a->step;
	int64_t fanned = a->goes_on && a->next_fanned ? a->next_fanned : a->fanned;

	for (const char *p = h->extra; p < end; p = next) {
		next = memchr(p + 1, ' ', (size_t)(end - p - 1));
		next = next ? next : end;
		if (!is_ours(p, (size_t)(next - p)))
			buf_append(extra, p, (size_t)(next - p));
	}
	buf_puts(extra, a->unclean ? RAN "2" : RAN "1");
	if (a->auth_refused)
		buf_puts(extra, RAN_AUTH "1");
	if (a->run_id)
		buf_printf(extra, RAN_RUN "%lld", (long long)a->run_id);
	if (step)
		buf_printf(extra, RAN_AT "%lld", (long long)step);
	if (a->beyond)
		buf_printf(extra, RAN_BEYOND "%lld", (long long)a->beyond);
	if (a->small)
		buf_printf(extra, RAN_SMALL "%d", a->small);
	if (fanned)
		buf_printf(extra, RAN_FANNED "%lld", (long long)fanned);
	h->extra = extra->data;
	h->extra_len = extra->len;
}

/* The children of a job that goes on: its run knows them from here. */
static void add_kin(struct attempt *a, struct settlement *s)
{
	add_children(a, s);
	outcome_settle(a, s, JOB_DONE);
}

/* Into the delayed set; charged or not is in `attempts`. */
static void delay(struct attempt *a, int attempts, int64_t ms, const char *outcome)
{
	struct job_header h = a->lease.header;
	struct buf extra = BUF_INIT;

	request_goes_on(a, ms);
	log_outcome(a, LOG_INFO, "job_later", ms);
	count(a, outcome);
	h.attempts = attempts;
	header_extend(a, &h, &extra);
	struct settlement *s = settlement_of(a, SETTLE_DELAY);
	settlement_set_header(s, &h);
	settlement_set_due(s, redis_now_ms(a->worker->redis) + ms);
	if (a->goes_on)
		add_kin(a, s);
	hand_over(a, s);
	buf_clear(&extra);
}

/* Ready again, before what is new; no retry used. */
static void give_back(struct attempt *a, const char *event, const char *outcome)
{
	struct job_header h = a->lease.header;
	struct buf extra = BUF_INIT;

	log_outcome(a, LOG_INFO, event, 0);
	count(a, outcome);
	header_extend(a, &h, &extra);
	struct settlement *s = settlement_of(a, SETTLE_AGAIN);
	settlement_set_header(s, &h);
	if (a->goes_on)
		add_kin(a, s);
	hand_over(a, s);
	buf_clear(&extra);
}

/* An outbound request is tried until its deadline, unless it says how often. */
static int retries_of(const struct attempt *a)
{
	if (a->job.max_retries >= 0)
		return a->job.max_retries;
	if (!a->request)
		return DEFAULT_RETRIES;
	return a->request->retries >= 0 ? a->request->retries : INT_MAX;
}

static void retry(struct attempt *a)
{
	int attempts = a->lease.header.attempts;
	int64_t ms = backoff_ms(&a->err, attempts);

	if (a->job.no_retry || attempts >= retries_of(a) ||
	    (a->request && !request_may_retry(a, ms)))
		bury(a);
	else
		delay(a, attempts + 1, ms, "retry");
}

/* More than it may hold: once more with pages of a tenth; then, or where nothing can be smaller, that is that.  The attempt
 * that asks for smaller pages halves them by itself as far as it must. */
static void shrink(struct attempt *a)
{
	bool again = !header_number(&a->lease.header, RAN_SMALL) && a->page_size > 1;

	if (!again) {
		bury(a);
		return;
	}
	a->small = a->page_size > SMALLER ? a->page_size / SMALLER : 1;
	delay(a, a->lease.header.attempts, table[a->err.class].base_ms, "retry");
}

static void wait_for(struct attempt *a)
{
	int64_t ms =
		a->err.retry_after_ms > 0 ? a->err.retry_after_ms : table[a->err.class].base_ms;

	if (ms < HOLD_MIN_MS)
		ms = HOLD_MIN_MS;
	delay(a, a->lease.header.attempts, ms < HOLD_MAX_MS ? ms : HOLD_MAX_MS, "held");
}

/* 401 after a fresh token: once more after 5 s; then the integration is marked, its jobs wait unharmed (cap 0), a
 * human is told.  -EACCES: whoever found the credentials refused for good has marked it already. */
static void auth(struct attempt *a, int rc)
{
	int64_t id = attempt_integration(a);
	bool marked = rc == -EACCES || integrations_is_broken(a->worker, id);
	bool broken = marked || a->auth_refused;

	if (broken)
		integrations_mark_broken(a->worker, id, marked ? NULL : a->err.text);
	a->auth_refused = !broken; /* once it is mended the job may be refused once again */
	delay(a, a->lease.header.attempts, table[ERR_AUTH].base_ms, broken ? "held" : "retry");
}

/* The partner has locked the account out: calls make it worse, and only a person can mend it. */
static void suspend(struct attempt *a)
{
	integrations_suspend(a->worker, attempt_integration(a), &a->err);
	delay(a, a->lease.header.attempts, SUSPENDED_WAIT_MS, "held");
}

static void raise_alert(struct attempt *a)
{
	struct err err = { 0 };
	const char *partner = queue_partner(a->lease.queue);

	if (co_is_cancelled())
		return;
	if (alert_raise(
		    a->worker->pg, "internal_error", "critical", partner, a->err.text,
		    "look at the dead letter or the worker's log: this is a fault of Longshore's, not of the partner",
		    &err) < 0)
		log_event(LOG_WARN, "alert_not_written", LS("kind", "internal_error"),
			  LS("reason", err.text));
}

static void done(struct attempt *a, const char *outcome)
{
	enum job_end end = a->skipped ? JOB_DROPPED : JOB_DONE;

	if (!written(a, end, NULL))
		return;
	log_outcome(a, LOG_INFO, "job_done", 0);
	count(a, outcome);
	struct settlement *s = settlement_of(a, SETTLE_DONE);
	add_children(a, s);
	outcome_settle(a, s, end);
	hand_over(a, s);
}

/* Why was logged where it was found out. */
static void skip(struct attempt *a)
{
	if (!written(a, JOB_DROPPED, NULL))
		return;
	count(a, a->skipped);
	struct settlement *s = settlement_of(a, SETTLE_DONE);
	outcome_settle(a, s, JOB_DROPPED);
	hand_over(a, s);
}

/* Redis or Postgres is away, or refuses for now: no fault of the job's, however long it takes.  A partner's
 * failures come as -EREMOTEIO or -EAGAIN. */
static bool store_failed(const struct attempt *a, int rc)
{
	return rc == -ECONNRESET ||
	       ((rc == -EPROTO || rc == -ETIMEDOUT) && a->err.class == ERR_TRANSIENT);
}

static void hold_for_store(struct attempt *a)
{
	a->err.class = ERR_HOLD;
	if (a->err.retry_after_ms < STORE_WAIT_MS)
		a->err.retry_after_ms = STORE_WAIT_MS;
}

/* What Postgres is to know of an end it knows before the job goes; false: it could not be told, and the job waits. */
static bool written(struct attempt *a, enum job_end end, const char *letter_id)
{
	struct err first = a->err;
	int rc = end == JOB_DEAD && a->on_dead ? a->on_dead(a) : 0;

	if (rc == 0 && end != JOB_DONE)
		rc = request_ends(a, letter_id);
	if (rc == 0)
		rc = outcome_write(a, end);
	if (rc == 0) {
		a->err = first;
		return true;
	}
	a->goes_on = false;
	attempt_children_clear(a);
	if (rc == -ECANCELED || rc == -ESTALE) {
		a->err.class = ERR_CANCELLED;
		give_back(a, "job_handed_back", "handed_back");
	} else {
		hold_for_store(a);
		wait_for(a);
	}
	return false;
}

/* Writers wait for a store that is away until their time is over. */
static void over_the_limit(struct attempt *a)
{
	bool away = !redis_is_up(a->worker->redis) || !pg_is_up(a->worker->pg);
	/* Up, but it refuses for now (a full disk, read-only, a lock): what it says goes on. */
	bool refused = a->err.class == ERR_TRANSIENT &&
		       (!strcmp(a->err.rule, LOT_WAITED) || !strcmp(a->err.rule, "deadline"));
	struct err said = a->err;

	away = away || refused;
	err_set(&a->err, 0, ERR_LIMIT, "hard limit", "ran over its hard limit of %lld s%s%s%s",
		(long long)a->worker->hard_limit_ms / 1000,
		away ? ", waiting for Redis or Postgres" : "", refused ? ": " : "",
		refused ? said.text : "");
	if (away)
		hold_for_store(a);
}

/* What a task left unsaid: an errno without a class. */
static void complete(struct attempt *a, int rc)
{
	if (rc == -ECANCELED || rc == -ESTALE) /* stopped, or the job was given to another */
		a->err.class = ERR_CANCELLED;
	else if (rc == -ETIMEDOUT && loop_now_ms() >= attempt_deadline_ms(a))
		over_the_limit(a);
	else if (store_failed(a, rc))
		hold_for_store(a);
	else if (a->err.class == ERR_NONE)
		err_set(&a->err, rc, ERR_INTERNAL, "unclassified", "%s failed: %s",
			a->job.task ? a->job.task : "job", strerror(-rc));
}

static void go_on(struct attempt *a)
{
	if (a->later_ms)
		delay(a, a->lease.header.attempts, a->later_ms, "put_off");
	else
		give_back(a, "job_goes_on", "continued");
}

/* An attempt that is done: its children are queued with it. */
static void settle_done(struct attempt *a)
{
	if (a->skipped)
		skip(a);
	else if (!a->goes_on)
		done(a, "done");
	else if (written(a, JOB_DONE, NULL))
		go_on(a);
}

void settle(struct attempt *a, int rc)
{
	if (rc == 0) {
		settle_done(a);
		return;
	}
	a->goes_on = false;
	attempt_children_clear(a);
	complete(a, rc);
	if (table[a->err.class].alert)
		raise_alert(a);
	switch (policy_of(&a->err)) {
	case RETRY:
		retry(a);
		break;
	case WAIT:
		wait_for(a);
		break;
	case SHRINK:
		shrink(a);
		break;
	case BURY:
		bury(a);
		break;
	case AUTH:
		auth(a, rc);
		break;
	case SUSPEND:
		suspend(a);
		break;
	case DISCARD:
		a->skipped = "expired"; /* no success: its keys are free */
		done(a, a->skipped);
		break;
	case HAND_BACK:
		give_back(a, "job_handed_back", "handed_back");
		break;
	}
}
