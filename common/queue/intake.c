/* Deliveries of one turn of the loop share scripts, each at most QUEUE_SLICE_JOBS events or about QUEUE_SLICE_BYTES; a delivery is
 * answered when all scripts that hold a part of it are.  Nothing is sent again from here: who is told of a failure tells
 * the partner, which comes again, and what had got through by then is known by its mark. */
#include "common/queue/intake.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/mem.h"
#include "common/queue/impl.h"

#define SEEN_KEY_MAX (PARTNER_MAX + INTAKE_HASH_CHARS + 40)

struct intake_event {
	enum lane lane;
	int64_t integration;
	char seen[SEEN_KEY_MAX];
	size_t at, len; /* of its " I HEADER\nPAYLOAD" in rests */
};

struct intake_delivery {
	struct intake_delivery *next;
	intake_fn cb;
	void *arg;
	struct buf rests;
	char *fresh;
	int n, sent, answered, rc;
	struct intake_event v[];
};

/* What one script holds of each delivery. */
struct intake_script {
	int n;
	struct intake_part {
		struct intake_delivery *of;
		int from, n;
	} v[QUEUE_SLICE_JOBS];
};

static void delivery_end(struct intake_delivery *d)
{
	d->cb(d->rc, d->rc < 0 ? NULL : d->fresh, d->n, d->arg);
	buf_clear(&d->rests);
	free(d->fresh);
	free(d);
}

/* `fresh` is of this part alone. */
static void part_answered(const struct intake_part *p, int rc, const char *fresh)
{
	struct intake_delivery *d = p->of;

	if (rc < 0)
		d->rc = rc;
	else
		memcpy(d->fresh + p->from, fresh, (size_t)p->n);
	d->answered += p->n;
	if (d->answered == d->n)
		delivery_end(d);
}

static void on_answer(int rc, redisReply *reply, const char *text, void *arg)
{
	struct intake_script *s = arg;
	const char *fresh = NULL;
	size_t all = 0;

	for (int i = 0; i < s->n; i++)
		all += (size_t)s->v[i].n;
	if (rc == 0 && reply_is(reply, REDIS_REPLY_STRING) && reply->len == all)
		fresh = reply->str;
	else if (rc == 0)
		rc = -EPROTO;
	for (int i = 0; i < s->n; i++) {
		part_answered(&s->v[i], rc, fresh);
		fresh += fresh ? s->v[i].n : 0;
	}
	freeReplyObject(reply);
	free(s);
}

static void args_part(struct redis_args *a, const struct intake_part *p, bool keys)
{
	for (int i = p->from; i < p->from + p->n; i++) {
		const struct intake_event *e = &p->of->v[i];

		if (keys) {
			redis_arg(a, e->seen);
			continue;
		}
		redis_arg_int(a, e->lane);
		redis_arg_int(a, e->integration);
		redis_arg_bytes(a, p->of->rests.data + e->at, e->len);
	}
}

static void script_send(struct queue *q, struct intake_script *s, int n)
{
	struct redis_args a;

	redis_args_init(&a);
	args_lanes(&a, q->keys.ready);
	args_lanes(&a, q->keys.ring);
	redis_arg(&a, q->keys.seq);
	for (int i = 0; i < s->n; i++)
		args_part(&a, &s->v[i], true);
	redis_arg_int(&a, INTAKE_SEEN_MS);
	for (int i = 0; i < s->n; i++)
		args_part(&a, &s->v[i], false);
	redis_send_script(q->r, &lua_take_in, 7 + n, &a, on_answer, s);
	redis_args_clear(&a);
}

/* As many events of d as there is room for; what it took. */
static int part_take(struct intake_delivery *d, struct intake_part *p, int room, size_t *bytes)
{
	*p = (struct intake_part){ d, d->sent, 0 };
	while (d->sent < d->n && p->n < room && *bytes < QUEUE_SLICE_BYTES) {
		*bytes += d->v[d->sent++].len;
		p->n++;
	}
	return p->n;
}

/* Takes deliveries off the row while there is room; those that are sent whole belong to their scripts. */
static void send_one(struct queue *q)
{
	struct intake_script *s = mem_alloc(sizeof(*s));
	size_t bytes = 0;
	int n = 0;

	s->n = 0;
	while (q->intake && n < QUEUE_SLICE_JOBS && bytes < QUEUE_SLICE_BYTES) {
		struct intake_delivery *d = q->intake;

		n += part_take(d, &s->v[s->n++], QUEUE_SLICE_JOBS - n, &bytes);
		if (d->sent < d->n)
			break;
		q->intake = d->next;
		if (!q->intake)
			q->intake_tail = &q->intake;
	}
	script_send(q, s, n);
}

static void flush(void *arg)
{
	struct queue *q = arg;

	q->intake_due = false;
	while (q->intake)
		send_one(q);
	queue_wrote(q->partner);
}

void intake_free(struct queue *q)
{
	loop_undefer(flush, q);
	while (q->intake) {
		struct intake_delivery *d = q->intake;

		q->intake = d->next;
		d->rc = -ECONNRESET;
		delivery_end(d);
	}
}

static void event_set(struct queue *q, struct intake_delivery *d, int i,
		      const struct queue_event *from, int64_t now_ms)
{
	struct intake_event *e = &d->v[i];
	int64_t ring = from->unheld ? 0 : from->integration;
	char id[INTAKE_HASH_CHARS + 4];

	e->lane = from->lane;
	e->integration = ring;
	e->at = d->rests.len;
	snprintf(id, sizeof(id), "wh-%s", from->hash);
	snprintf(e->seen, sizeof(e->seen), "seen:{%s}:wh:%lld:%s", q->partner,
		 (long long)from->integration, from->hash);
	member_rest_print(&d->rests, id, ring, now_ms, NULL, from->payload, from->len);
	e->len = d->rests.len - e->at;
}

void queue_take_in(struct queue *q, const struct queue_event *v, int n, intake_fn cb, void *arg)
{
	struct intake_delivery *d = mem_zalloc(sizeof(*d) + (size_t)n * sizeof(d->v[0]));
	int64_t now_ms = redis_now_ms(q->r);

	d->cb = cb;
	d->arg = arg;
	d->n = n;
	d->fresh = mem_alloc((size_t)n + 1);
	for (int i = 0; i < n; i++)
		event_set(q, d, i, &v[i], now_ms);
	*q->intake_tail = d;
	q->intake_tail = &d->next;
	if (!q->intake_due)
		loop_defer(flush, q);
	q->intake_due = true;
}
