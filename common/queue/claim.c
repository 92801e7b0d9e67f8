#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/log.h"
#include "common/base/mem.h"
#include "common/io/co.h"
#include "common/queue/impl.h"

#define QUANTUM 10 /* jobs an integration gets in one visit of the ring; more in large claims */
#define QUANTUM_LARGE 20
#define BIG_REPLY_BYTES (1024 * 1024)
#define BIG_REPLY_WANT 4 /* jobs to ask for after such a reply: 1 MiB each costs Redis 8 ms */
#define PASSED_OVER_MAX \
	16 /* claims in a row that left lower lanes waiting, then one goes the other way */
#define ADMIT_ROUNDS_MAX \
	100 /* a flood of raw pushes may put claims off for this many slices, no longer */
#define RECONCILE_AGAIN_MS 10000

void lease_forget(const struct lease *l)
{
	if (l->queue)
		held_remove(&l->queue->held, lease_number(l->id));
}

void lease_clear(struct lease *l)
{
	if (!l)
		return;
	lease_forget(l);
	free(l->member);
	memset(l, 0, sizeof(*l));
}

int64_t lease_number(const char *id)
{
	const char *colon = strchr(id, ':');

	return colon ? strtoll(colon + 1, NULL, 10) : 0;
}

/* ---- raw intake ---- */

static void admit_args(struct queue *q, struct redis_args *a, enum lane lane, int max)
{
	redis_args_init(a);
	redis_arg(a, q->keys.queue[lane]);
	redis_arg(a, q->keys.ready[lane]);
	redis_arg(a, q->keys.ring[lane]);
	redis_arg(a, q->keys.seq);
	redis_arg(a, q->keys.packed);
	redis_arg_int(a, max < QUEUE_SLICE_JOBS ? max : QUEUE_SLICE_JOBS);
	redis_arg_int(a, QUEUE_SLICE_BYTES);
	redis_arg_int(a, lane);
}

/* One slice; *moved grows, *left is what stays in the public lane. */
static int admit_slice(struct queue *q, enum lane lane, int max, int *moved, int64_t *left,
		       int64_t deadline_ms, struct err *err)
{
	struct redis_args a;
	redisReply *reply = NULL;

	admit_args(q, &a, lane, max);
	int rc = redis_call_script(q->r, &lua_admit, 5, &a, &reply, deadline_ms, err);
	redis_args_clear(&a);
	if (rc < 0)
		return rc;
	if (reply_is(reply, REDIS_REPLY_ARRAY) && reply->elements == 2) {
		*moved += (int)reply_int(reply->element[0]);
		*left = reply_int(reply->element[1]);
	} else {
		*left = 0;
	}
	freeReplyObject(reply);
	queue_wrote(q->partner);
	return 0;
}

int queue_admit(struct queue *q, int max, int *moved, int64_t deadline_ms, struct err *err)
{
	int rc = 0, total = 0;

	for (int lane = LANE_HIGH; lane <= LANE_LOW && rc == 0; lane++) {
		int64_t left = 1;

		while (rc == 0 && left > 0 && total < max)
			rc = admit_slice(q, (enum lane)lane, max - total, &total, &left,
					 deadline_ms, err);
	}
	if (rc == 0 && moved)
		*moved = total;
	return rc;
}

/* Sent before a claim without waiting for the answer: the claim tells what is left. */
static void admit_ahead(struct queue *q)
{
	for (int lane = LANE_HIGH; lane <= LANE_LOW; lane++) {
		struct redis_args a;

		if (!(q->raw_lanes & (1u << (lane - 1))))
			continue;
		admit_args(q, &a, (enum lane)lane, QUEUE_SLICE_JOBS);
		redis_send_script(q->r, &lua_admit, 5, &a, NULL, NULL);
		redis_args_clear(&a);
	}
}

/* ---- claiming ---- */

static const char *lane_order(struct queue *q)
{
	if (q->passed_over < PASSED_OVER_MAX)
		return "123";
	q->passed_over = 0;
	q->rotate_low = !q->rotate_low;
	return q->rotate_low ? "321" : "213";
}

static int claim_call(struct queue *q, int want, bool force, redisReply **reply,
		      int64_t deadline_ms, struct err *err)
{
	struct redis_args a;
	int quantum = q->big_reply ? 1 : want >= 100 ? QUANTUM_LARGE : QUANTUM;

	redis_args_init(&a);
	args_lanes(&a, q->keys.queue);
	args_lanes(&a, q->keys.ready);
	args_lanes(&a, q->keys.ring);
	redis_arg(&a, q->keys.flight);
	redis_arg(&a, q->keys.busy);
	redis_arg(&a, q->keys.control);
	redis_arg(&a, q->worker);
	redis_arg(&a, q->keys.fence);
	redis_arg(&a, q->keys.breakers);
	redis_arg(&a, q->keys.packed);
	redis_arg_int(&a, want);
	redis_arg(&a, q->epoch);
	redis_arg_int(&a, q->next_number);
	redis_arg_int(&a, QUEUE_HEARTBEAT_MS);
	redis_arg_int(&a, quantum);
	redis_arg(&a, lane_order(q));
	redis_arg(&a, force ? "1" : "0");
	/* Whatever becomes of the answer, these numbers are used up. */
	q->next_number += want;
	int rc = redis_call_script(q->r, &lua_claim, 16, &a, reply, deadline_ms, err);
	redis_args_clear(&a);
	if (rc < 0 && rc != -EPROTO) {
		q->lost_claim = true;
		q->reconcile_again_ms = 0;
	}
	return rc;
}

/* A member that is none of ours is handed out whole, as a payload that the parser will refuse. */
static void lease_fill(struct lease *l, redisReply *member)
{
	char *bytes = member->str;
	size_t len = member->len;
	int64_t integration;

	member->str = NULL; /* ours now: one long job must not pin the whole answer */
	l->member = bytes;
	if (job_member_parse(bytes, len, &l->header, &integration, &l->payload, &l->payload_len) <
	    0) {
		log_event(LOG_ERROR, "job_member_malformed", LS("partner", l->queue->partner),
			  LS("lease", l->id));
		memcpy(l->header.id, "malformed", sizeof("malformed"));
		l->payload = bytes;
		l->payload_len = len;
	}
}

static char *put_int(char *p, int64_t n)
{
	char digits[20];
	int k = 0;

	do {
		digits[k++] = (char)('0' + n % 10);
		n /= 10;
	} while (n > 0);
	while (k > 0)
		*p++ = digits[--k];
	return p;
}

/* epoch:number:lane:integration; EPOCH_MAX leaves room for the numbers. */
static void lease_id_print(char *out, const struct queue *q, int64_t number, int lane,
			   int64_t integration)
{
	size_t n = strlen(q->epoch);

	memcpy(out, q->epoch, n);
	out += n;
	*out++ = ':';
	out = put_int(out, number);
	*out++ = ':';
	out = put_int(out, lane);
	*out++ = ':';
	out = put_int(out, integration);
	*out = '\0';
}

struct claim_head {
	int64_t generation, fence, first;
};

static int leases_fill(struct queue *q, redisReply *reply, const struct claim_head *head,
		       struct lease *leases, int room, size_t *bytes)
{
	int n = 0;

	for (size_t at = 7; at + 3 <= reply->elements;) {
		int64_t lane = reply_int(reply->element[at]),
			integration = reply_int(reply->element[at + 1]);
		int64_t k = reply_int(reply->element[at + 2]);

		at += 3;
		for (; k > 0 && at < reply->elements && n < room; k--, at++, n++) {
			struct lease *l = &leases[n];

			l->queue = q;
			l->lane = (enum lane)lane;
			l->integration = integration;
			l->generation = head->generation;
			l->fence = head->fence;
			lease_id_print(l->id, q, head->first + n, (int)lane, integration);
			*bytes += reply->element[at]->len;
			lease_fill(l, reply->element[at]);
			held_add(&q->held, head->first + n);
		}
	}
	return n;
}

static void claim_take(struct queue *q, redisReply *reply, int64_t first, int want,
		       struct claim_result *out)
{
	struct claim_head head = {
		.generation = reply_int(reply->element[1]),
		.fence = reply_int(reply->element[3]),
		.first = first,
	};
	int64_t flying = reply_int(reply->element[4]), rings = reply_int(reply->element[5]);
	size_t bytes = 0;

	q->partner_cap = reply_int(reply->element[2]);
	if (reply->elements > 7) {
		out->leases = mem_zalloc((size_t)want * sizeof(*out->leases));
		out->n = leases_fill(q, reply, &head, out->leases, want, &bytes);
		q->claimed += out->n;
		q->beat_ms = loop_now_ms();
	}
	out->at_partner_cap = rings > 0 && flying >= q->partner_cap;
	out->more = rings > 0 && !out->at_partner_cap;
	q->big_reply = bytes > BIG_REPLY_BYTES;
	q->passed_over = reply_int(reply->element[6]) ? q->passed_over + 1 : 0;
}

/* 1: raw pushes must be admitted first. */
static int claim_once(struct queue *q, int want, bool force, struct claim_result *out,
		      int64_t deadline_ms, struct err *err)
{
	redisReply *reply = NULL;
	int64_t first = lease_number_at(redis_now_us(q->r));

	if (first > q->next_number)
		q->next_number = first;
	first = q->next_number;
	admit_ahead(q);
	int rc = claim_call(q, want, force, &reply, deadline_ms, err);
	if (rc < 0)
		return rc;
	if (!reply_is(reply, REDIS_REPLY_ARRAY) || reply->elements < 1) {
		rc = err_set(err, -EPROTO, ERR_INTERNAL, "redis",
			     "claim: an answer of another form");
	} else if (reply->elements == 1) {
		out->no_control = true;
	} else if (reply->elements == 2) {
		q->raw_lanes = (unsigned)reply_int(reply->element[1]);
		rc = 1;
	} else {
		claim_take(q, reply, first, want, out);
	}
	freeReplyObject(reply);
	return rc;
}

int queue_claim(struct queue *q, int want, struct claim_result *out, int64_t deadline_ms,
		struct err *err)
{
	struct claim_result result = { 0 };
	int rc = 0;

	if (want < 1 || !q->epoch[0])
		return err_set(err, -EINVAL, ERR_INTERNAL, "claim",
			       "nothing asked for, or a queue without epoch");
	if (q->lost_claim || (q->reconcile_again_ms && loop_now_ms() >= q->reconcile_again_ms))
		rc = queue_reconcile(q, deadline_ms, err);
	if (rc < 0)
		return rc;
	want = q->big_reply && want > BIG_REPLY_WANT ? BIG_REPLY_WANT
	       : want > CLAIM_MAX                    ? CLAIM_MAX
						     : want;
	unsigned admitted = q->raw_lanes;
	for (int round = 0;; round++) {
		rc = claim_once(q, want, round >= ADMIT_ROUNDS_MAX, &result, deadline_ms, err);
		if (rc != 1)
			break;
		admitted = q->raw_lanes;
	}
	if (rc < 0)
		return rc;
	/* Lanes that were needed this time are admitted ahead the next time too, once. */
	q->raw_lanes = admitted && result.n > 0 ? admitted : 0;
	*out = result;
	return 0;
}

/* ---- leases nobody here knows ---- */

/* Appends the leases of this epoch that are not held, up to a slice; *at walks through the fields. */
static void strangers(const struct queue *q, const redisReply *fields, size_t *at,
		      struct redis_args *a)
{
	size_t prefix = strlen(q->epoch);
	int n = 0;

	for (; *at < fields->elements && n < SETTLE_SCRIPT_JOBS; ++*at) {
		const redisReply *f = fields->element[*at];

		if (f->len <= prefix || f->str[prefix] != ':' ||
		    memcmp(f->str, q->epoch, prefix) != 0)
			continue;
		if (held_has(&q->held, lease_number(f->str)))
			continue;
		redis_arg_bytes(a, f->str, f->len);
		n++;
	}
}

int queue_reconcile(struct queue *q, int64_t deadline_ms, struct err *err)
{
	bool first = q->lost_claim;
	redisReply *fields = NULL;
	int back = 0;
	int rc = redis_callv(q->r, &fields, deadline_ms, err, "HKEYS", q->keys.flight, NULL);

	if (rc < 0)
		return rc;
	for (size_t at = 0;
	     rc == 0 && reply_is(fields, REDIS_REPLY_ARRAY) && at < fields->elements;) {
		struct redis_args leases;

		redis_args_init(&leases);
		strangers(q, fields, &at, &leases);
		rc = reap_leases(q, q->worker, false, &leases, &back, deadline_ms, err);
		redis_args_clear(&leases);
	}
	freeReplyObject(fields);
	if (rc < 0)
		return rc;
	q->lost_claim = false;
	q->reconcile_again_ms = first ? loop_now_ms() + RECONCILE_AGAIN_MS : 0;
	if (back > 0)
		log_event(LOG_WARN, "claims_reconciled", LS("partner", q->partner),
			  LI("jobs", back));
	return 0;
}

static void beat_word(struct queue *q, const char *command, const char *value, const char *flag)
{
	struct redis_args a;

	redis_args_init(&a);
	redis_arg(&a, command);
	redis_arg(&a, q->worker);
	if (value) {
		redis_arg(&a, value);
		redis_arg(&a, "PX");
	}
	redis_arg_int(&a, QUEUE_HEARTBEAT_MS);
	if (flag)
		redis_arg(&a, flag);
	redis_send(q->r, &a, NULL, NULL);
	redis_args_clear(&a);
}

void queue_beat(struct queue *q)
{
	if (!q->held.count || loop_now_ms() - q->beat_ms < 1000)
		return;
	q->beat_ms = loop_now_ms();
	/* In {longshore} the key's value describes the worker to the fleet: only its life is renewed. */
	if (strcmp(q->partner, LONGSHORE_PARTNER) == 0) {
		beat_word(q, "SET", "1", "NX");
		beat_word(q, "PEXPIRE", NULL, NULL);
	} else {
		beat_word(q, "SET", "1", NULL);
	}
}
