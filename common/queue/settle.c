/* Settlements are gathered for 2 ms or 500 jobs, then go to Redis in scripts of bounded size: plain successes
 * by finish.lua, the rest by settle.lua.  A batch is sent again until Redis has answered it:
 * the lease ids make that harmless. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/log.h"
#include "common/base/mem.h"
#include "common/queue/settle_impl.h"

#define RETRY_FIRST_MS 50
#define RETRY_MAX_MS 2000

/* What one script settles. */
struct settle_batch {
	struct queue *q; /* NULL: the queue is gone, the answer has no reader */
	struct settlement **jobs;
	int n;
	bool plain; /* finish.lua */
	int64_t retry_ms;
	struct loop_timer *timer;
	struct settle_batch *next, **prev;
};

/* ---- batches ---- */

static void batch_send(struct settle_batch *b);

static void batch_unlink(struct settle_batch *b)
{
	*b->prev = b->next;
	if (b->next)
		b->next->prev = b->prev;
}

static void batch_free(struct settle_batch *b)
{
	for (int i = 0; i < b->n; i++)
		settlement_free(b->jobs[i]);
	loop_timer_free(b->timer);
	free(b->jobs);
	free(b);
}

static void batch_retry(void *arg)
{
	struct settle_batch *b = arg;

	if (redis_is_up(b->q->r))
		batch_send(b);
	else
		loop_timer_set(b->timer, RETRY_FIRST_MS);
}

/* Never dropped, whatever Redis says (full, read-only, loading): said once, then tried until it works. */
static void batch_failed(struct settle_batch *b, int rc, const char *text)
{
	if (!b->q->settle_failing && text)
		log_event(LOG_ERROR, "settle_refused", LS("partner", b->q->partner),
			  LS("error", text), LI("jobs", b->n), LI("rc", rc));
	b->q->settle_failing = b->q->settle_failing || text;
	b->retry_ms = b->retry_ms ? b->retry_ms * 2 : RETRY_FIRST_MS;
	if (b->retry_ms > RETRY_MAX_MS)
		b->retry_ms = RETRY_MAX_MS;
	if (!b->timer)
		b->timer = loop_timer_new(batch_retry, b);
	loop_timer_set(b->timer, text ? b->retry_ms : RETRY_FIRST_MS);
}

static void job_settled(struct settle_batch *b, int i, bool held)
{
	struct settlement *s = b->jobs[i];

	lease_forget(&s->lease);
	s->lease.queue = NULL;
	b->q->n_unsettled--;
	if (s->cb)
		s->cb(held, s->arg);
}

/* finish.lua counts by group: a group that is not whole was lost, or was finished by an earlier sending. */
static void finish_read(struct settle_batch *b, const redisReply *reply)
{
	size_t group = 0;

	for (int i = 0; i < b->n; group++) {
		int64_t integration = b->jobs[i]->lease.integration;
		int k = 1;

		while (i + k < b->n && b->jobs[i + k]->lease.integration == integration)
			k++;
		bool held = group < reply->elements && reply_int(reply->element[group]) == k;
		for (int end = i + k; i < end; i++)
			job_settled(b, i, held);
	}
}

static void batch_answered(int rc, redisReply *reply, const char *text, void *arg)
{
	struct settle_batch *b = arg;
	bool outbox = false;

	if (!b->q) {
		if (reply)
			freeReplyObject(reply);
		batch_free(b);
		return;
	}
	if (rc < 0) {
		batch_failed(b, rc, rc == -ECONNRESET ? NULL : text);
		return;
	}
	struct queue *q = b->q;
	if (q->settle_failing)
		log_event(LOG_INFO, "settle_works_again", LS("partner", q->partner));
	q->settle_failing = false;
	batch_unlink(b);
	if (b->plain) {
		finish_read(b, reply);
	} else {
		for (int i = 0; i < b->n; i++) {
			outbox = outbox || b->jobs[i]->outbox;
			job_settled(b, i,
				    (size_t)i < reply->elements &&
					    reply_int(reply->element[i]) == 1);
		}
	}
	freeReplyObject(reply);
	batch_free(b);
	if (outbox)
		relay_soon(q);
}

static void finish_args(const struct settle_batch *b, struct redis_args *a)
{
	for (int i = 0; i < b->n;) {
		const struct lease *l = &b->jobs[i]->lease;
		int k = 1;

		while (i + k < b->n && b->jobs[i + k]->lease.integration == l->integration)
			k++;
		redis_arg(a, strrchr(l->id, ':') + 1);
		redis_arg_int(a, k);
		for (int end = i + k; i < end; i++)
			redis_arg(a, b->jobs[i]->lease.id);
	}
}

static void op_args(struct redis_args *a, const char *op, enum lane lane, int64_t integration,
		    int64_t number, const struct buf *bytes)
{
	redis_arg(a, op);
	redis_arg_int(a, lane);
	redis_arg_int(a, integration);
	redis_arg_int(a, number);
	redis_arg_bytes(a, buf_str(bytes), bytes->len);
}

static void settle_args(const struct settlement *s, int first_key, struct redis_args *a)
{
	const struct lease *l = &s->lease;

	redis_arg(a, l->id);
	redis_arg(a, strrchr(l->id, ':') + 1);
	redis_arg_int(a, s->n_child_ops + s->n_keys + s->n_notes + (s->kind != SETTLE_DONE));
	/* The outcome comes first: settle.lua looks at it to know whether it needs the member. */
	if (s->kind == SETTLE_AGAIN)
		op_args(a, "again", l->lane, s->integration, 0, &s->header);
	else if (s->kind == SETTLE_DELAY)
		op_args(a, "delay", l->lane, s->integration, s->due_ms, &s->header);
	else if (s->kind == SETTLE_DEAD)
		op_args(a, "dead", l->lane, s->integration, s->failed_at_ms, &s->letter);
	settle_child_args(s, a);
	settle_key_ops(s, first_key, a);
	settle_note_ops(s, first_key + s->n_keys, a);
}

static int keys_of(const struct settlement *s)
{
	return s->n_keys + s->n_note_keys;
}

static void batch_send(struct settle_batch *b)
{
	const struct queue_keys *k = &b->q->keys;
	struct redis_args a;

	redis_args_init(&a);
	redis_arg(&a, k->flight);
	redis_arg(&a, k->busy);
	redis_arg(&a, k->control);
	args_lanes(&a, k->ready);
	args_lanes(&a, k->ring);
	if (b->plain) {
		finish_args(b, &a);
		redis_send_script(b->q->r, &lua_finish, 9, &a, batch_answered, b);
	} else {
		redis_arg(&a, k->delayed);
		redis_arg(&a, k->dead);
		redis_arg(&a, k->outbox);
		redis_arg(&a, k->seq);
		redis_arg(&a, k->packed);
		int n_keys = 14;
		for (int i = 0; i < b->n; n_keys += keys_of(b->jobs[i++])) {
			settle_key_names(b->jobs[i], &a);
			settle_note_names(b->jobs[i], &a);
		}
		for (int i = 0, key = 15; i < b->n; key += keys_of(b->jobs[i++]))
			settle_args(b->jobs[i], key, &a);
		redis_send_script(b->q->r, &lua_settle, n_keys, &a, batch_answered, b);
	}
	redis_args_clear(&a);
}

/* Takes the jobs of the array over. */
static void batch_start(struct queue *q, struct settlement **jobs, int n, bool plain)
{
	struct settle_batch *b = mem_new(struct settle_batch);

	b->q = q;
	b->jobs = mem_alloc((size_t)n * sizeof(*b->jobs));
	memcpy(b->jobs, jobs, (size_t)n * sizeof(*b->jobs));
	b->n = n;
	b->plain = plain;
	for (int i = 0; i < n && !plain; i++)
		settle_children_pack(jobs[i]);
	b->next = q->batches;
	b->prev = &q->batches;
	if (b->next)
		b->next->prev = &b->next;
	q->batches = b;
	batch_send(b);
}

/* ---- gathering ---- */

static bool is_plain(const struct settlement *s)
{
	return s->kind == SETTLE_DONE && !s->children && !s->n_keys && !s->notes;
}

static int by_integration(const void *a, const void *b)
{
	const struct settlement *x = *(struct settlement *const *)a,
				*y = *(struct settlement *const *)b;

	if (x->lease.integration != y->lease.integration)
		return x->lease.integration < y->lease.integration ? -1 : 1;
	int64_t m = lease_number(x->lease.id), n = lease_number(y->lease.id);
	return m < n ? -1 : m > n;
}

static bool grouped(struct settlement *const *jobs, int n)
{
	for (int i = 1; i < n; i++) {
		if (jobs[i - 1]->lease.integration > jobs[i]->lease.integration)
			return false;
	}
	return true;
}

/* Slices of the rest: bounded jobs, children and bytes, though a single job goes whole however large. */
static void settle_slices(struct queue *q, struct settlement **jobs, int n)
{
	for (int from = 0; from < n;) {
		int k = 0, children = 0;
		size_t bytes = 0;

		do {
			children += jobs[from + k]->n_children;
			bytes += jobs[from + k]->bytes;
			k++;
		} while (from + k < n && k < SETTLE_SCRIPT_JOBS &&
			 children < SETTLE_SCRIPT_CHILDREN && bytes < SETTLE_SCRIPT_BYTES);
		batch_start(q, jobs + from, k, false);
		from += k;
	}
}

static void flush(void *arg)
{
	struct queue *q = arg;
	int n = q->n_pending, plain = 0, first = 0, rest = 0;

	if (!n)
		return;
	struct settlement **jobs = mem_alloc((size_t)n * sizeof(*jobs));
	for (struct settlement *s = q->pending; s; s = s->next)
		plain += is_plain(s);
	for (struct settlement *s = q->pending; s; s = s->next)
		jobs[is_plain(s) ? first++ : plain + rest++] = s;
	q->pending = NULL;
	q->pending_tail = &q->pending;
	q->n_pending = 0;
	loop_timer_stop(q->linger);
	if (!grouped(jobs, plain))
		qsort(jobs, (size_t)plain, sizeof(*jobs), by_integration);
	if (plain)
		batch_start(q, jobs, plain, true);
	settle_slices(q, jobs + plain, n - plain);
	free(jobs);
	queue_wrote(q->partner);
}

void queue_settle(struct queue *q, struct settlement *s, settled_fn cb, void *arg)
{
	s->cb = cb;
	s->arg = arg;
	s->bytes += s->letter.len;
	if ((s->kind == SETTLE_AGAIN || s->kind == SETTLE_DELAY) && !s->header.len)
		settlement_set_header(s, &s->lease.header);
	/* Redis has the payload: no script needs it from here. */
	free(s->lease.member);
	s->lease.member = NULL;
	s->lease.payload = NULL;
	s->lease.payload_len = 0;
	*q->pending_tail = s;
	q->pending_tail = &s->next;
	q->n_pending++;
	q->n_unsettled++;
	if (!q->linger)
		q->linger = loop_timer_new(flush, q);
	if (q->n_pending >= SETTLE_BATCH_JOBS)
		flush(q);
	else if (q->n_pending == 1)
		loop_timer_set(q->linger, SETTLE_LINGER_MS);
}

int queue_unsettled(const struct queue *q)
{
	return q->n_unsettled;
}

/* The queue goes: answers under way find no reader, what was not sent is left to the reaper. */
void settle_free(struct queue *q)
{
	loop_timer_free(q->linger);
	while (q->pending) {
		struct settlement *s = q->pending;

		q->pending = s->next;
		settlement_free(s);
	}
	while (q->batches) {
		struct settle_batch *b = q->batches;

		batch_unlink(b);
		for (int i = 0; i < b->n; i++) {
			lease_forget(&b->jobs[i]->lease);
			b->jobs[i]->lease.queue = NULL;
		}
		b->q = NULL;
		if (b->timer && loop_timer_pending(b->timer))
			batch_free(b);
	}
}
