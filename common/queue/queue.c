#include "common/queue/queue.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/clock.h"
#include "common/base/id.h"
#include "common/base/mem.h"
#include "common/queue/impl.h"

static void (*wrote_fn)(const char *partner);

void queue_on_wrote(void (*fn)(const char *partner))
{
	wrote_fn = fn;
}

void queue_wrote(const char *partner)
{
	if (wrote_fn)
		wrote_fn(partner);
}

bool queue_name_is_valid(const char *partner)
{
	size_t n = partner ? strlen(partner) : 0;

	return n > 0 && n <= PARTNER_MAX &&
	       strspn(partner, "abcdefghijklmnopqrstuvwxyz0123456789_") == n;
}

static void key(char out[KEY_MAX], const char *what, const char *partner, const char *suffix)
{
	snprintf(out, KEY_MAX, "%s:{%s}%s", what, partner, suffix);
}

void queue_keys_init(struct queue_keys *k, const char *partner)
{
	memset(k, 0, sizeof(*k));
	key(k->queue[LANE_HIGH], "queue", partner, ":high");
	key(k->queue[LANE_NORMAL], "queue", partner, "");
	key(k->queue[LANE_LOW], "queue", partner, ":low");
	key(k->ready[LANE_HIGH], "ready", partner, ":high");
	key(k->ready[LANE_NORMAL], "ready", partner, ":normal");
	key(k->ready[LANE_LOW], "ready", partner, ":low");
	key(k->ring[LANE_HIGH], "ring", partner, ":high");
	key(k->ring[LANE_NORMAL], "ring", partner, ":normal");
	key(k->ring[LANE_LOW], "ring", partner, ":low");
	key(k->flight, "flight", partner, "");
	key(k->busy, "busy", partner, "");
	key(k->control, "control", partner, "");
	key(k->seq, "seq", partner, "");
	key(k->fence, "fence", partner, "");
	key(k->delayed, "delayed", partner, "");
	key(k->dead, "dead", partner, "");
	key(k->outbox, "outbox", partner, "");
	key(k->breakers, "breaker", partner, "");
	key(k->packed, "packed", partner, "");
}

void args_lanes(struct redis_args *a, const char keys[4][KEY_MAX])
{
	for (int l = LANE_HIGH; l <= LANE_LOW; l++)
		redis_arg(a, keys[l]);
}

struct queue *queue_new(struct redis *r, const char *partner, const char *epoch)
{
	struct queue *q = mem_new(struct queue);

	q->r = r;
	snprintf(q->partner, sizeof(q->partner), "%s", partner);
	queue_keys_init(&q->keys, q->partner);
	if (epoch) {
		snprintf(q->epoch, sizeof(q->epoch), "%s", epoch);
		snprintf(q->worker, sizeof(q->worker), "worker:{%s}:%s", q->partner, q->epoch);
	}
	q->next_number = 1;
	q->partner_cap = -1;
	q->pending_tail = &q->pending;
	q->intake_tail = &q->intake;
	return q;
}

void queue_free(struct queue *q)
{
	if (!q)
		return;
	settle_free(q);
	intake_free(q);
	relay_detach(q);
	held_clear(&q->held);
	free(q);
}

const char *queue_partner(const struct queue *q)
{
	return q->partner;
}

int queue_held(const struct queue *q)
{
	return (int)q->held.count;
}

bool header_id_is_valid(const char *id)
{
	size_t n = id ? strlen(id) : 0;

	for (size_t i = 0; i < n; i++) {
		if (id[i] <= ' ' || id[i] > '~')
			return false;
	}
	return n > 0 && n < JOB_ID_MAX;
}

void member_rest_print(struct buf *out, const char *id, int64_t integration, int64_t born_ms,
		       const char *origin, const char *payload, size_t len)
{
	buf_putc(out, ' ');
	buf_putint(out, integration);
	buf_putc(out, ' ');
	buf_puts(out, id);
	buf_puts(out, " 0 0 ");
	buf_putint(out, born_ms);
	if (origin && header_id_is_valid(origin))
		buf_printf(out, HEADER_ORIGIN "%s", origin);
	buf_putc(out, '\n');
	buf_append(out, payload, len);
}

int64_t reply_int(const redisReply *r)
{
	if (r->type == REDIS_REPLY_INTEGER)
		return r->integer;
	if (r->type == REDIS_REPLY_STRING)
		return strtoll(r->str, NULL, 10);
	return 0;
}

bool reply_is(const redisReply *r, int type)
{
	return r && r->type == type;
}

/* ---- pushing ---- */

static int pushes_check(const struct queue_push *v, int n, struct err *err)
{
	if (n < 0 || n > CLAIM_MAX)
		return err_set(err, -EINVAL, ERR_INTERNAL, "enqueue", "%d jobs at once; at most %d",
			       n, CLAIM_MAX);
	for (int i = 0; i < n; i++) {
		if (v[i].len > JOB_MAX_BYTES)
			return err_set(err, -EINVAL, ERR_BAD_JOB, "job",
				       "%zu bytes; a job has at most %d", v[i].len, JOB_MAX_BYTES);
		if (v[i].id && !header_id_is_valid(v[i].id))
			return err_set(err, -EINVAL, ERR_BAD_JOB, "job",
				       "an id has 1 to %d printable characters without blanks",
				       JOB_ID_MAX - 1);
		if (v[i].lane < LANE_HIGH || v[i].lane > LANE_LOW || v[i].integration < 0)
			return err_set(err, -EINVAL, ERR_INTERNAL, "enqueue",
				       "no such lane or integration");
	}
	return 0;
}

static int enqueue_slice(struct queue *q, const struct queue_push *v, int n,
			 const struct buf *rests, int64_t deadline_ms, struct err *err)
{
	struct redis_args a;

	redis_args_init(&a);
	args_lanes(&a, q->keys.ready);
	args_lanes(&a, q->keys.ring);
	redis_arg(&a, q->keys.seq);
	redis_arg(&a, q->keys.delayed);
	redis_arg_int(&a, SEEN_TTL_MS);
	for (int i = 0; i < n; i++) {
		redis_arg_int(&a, v[i].lane);
		redis_arg_int(&a, v[i].integration);
		redis_arg_int(&a, v[i].run_at_ms > 0 ? v[i].run_at_ms : 0);
		redis_arg_bytes(&a, rests[i].data, rests[i].len);
	}
	int rc = redis_call_script(q->r, &lua_enqueue, 8, &a, NULL, deadline_ms, err);
	redis_args_clear(&a);
	queue_wrote(q->partner);
	return rc;
}

/* How many of n go together: a slice of bytes. */
static int slice_of(const struct queue_push *v, int n)
{
	size_t bytes = 0;

	for (int i = 0; i < n && i < QUEUE_SLICE_JOBS; i++) {
		bytes += v[i].len;
		if (bytes > QUEUE_SLICE_BYTES)
			return i + 1;
	}
	return n < QUEUE_SLICE_JOBS ? n : QUEUE_SLICE_JOBS;
}

static int enqueue_from(struct queue *q, const struct queue_push *v, int n, int64_t deadline_ms,
			struct err *err)
{
	struct buf *rests = mem_zalloc((size_t)n * sizeof(*rests));
	int64_t now = redis_now_ms(q->r);
	char made[ID_LEN + 1];

	for (int i = 0; i < n; i++) {
		if (!v[i].id)
			id_new(made);
		member_rest_print(&rests[i], v[i].id ? v[i].id : made, v[i].integration, now,
				  v[i].origin, v[i].payload, v[i].len);
	}
	int rc = enqueue_slice(q, v, n, rests, deadline_ms, err);
	for (int i = 0; i < n; i++)
		buf_clear(&rests[i]);
	free(rests);
	return rc;
}

int queue_enqueue(struct queue *q, const struct queue_push *v, int n, int64_t deadline_ms,
		  struct err *err)
{
	int rc = pushes_check(v, n, err);

	for (int done = 0; rc == 0 && done < n;) {
		int k = slice_of(v + done, n - done);

		rc = enqueue_from(q, v + done, k, deadline_ms, err);
		done += k;
	}
	return rc;
}
