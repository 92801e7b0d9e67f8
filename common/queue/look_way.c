/* Why a job does not run, and who has what of a partner's caps. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/mem.h"
#include "common/queue/impl.h"
#include "common/queue/look.h"

#define WALK_MAX 200 /* integrations with ready jobs that queue_shares looks at */

static int64_t deadline(void)
{
	return loop_now_ms() + LOOK_STEP_MS;
}

/* ZCOUNT of one integration's jobs, or of all before it. */
static int count(struct queue *q, const char *key, const char *low, const char *high, int64_t *out,
		 struct err *err)
{
	redisReply *reply = NULL;
	int rc = redis_callv(q->r, &reply, deadline(), err, "ZCOUNT", key, low, high, NULL);

	if (rc < 0)
		return rc;
	*out = reply_int(reply);
	freeReplyObject(reply);
	return 0;
}

/* Jobs that share a member with others, of a lane or (not -1) of one integration there. */
static int count_packed(struct queue *q, int lane, int64_t integration, int64_t *out,
			struct err *err)
{
	char field[32];
	redisReply *reply = NULL;

	snprintf(field, sizeof(field), integration < 0 ? "%d" : "%d:%lld", lane,
		 (long long)integration);
	int rc = redis_callv(q->r, &reply, deadline(), err, "HGET", q->keys.packed, field, NULL);
	if (rc < 0)
		return rc;
	*out += reply_int(reply);
	freeReplyObject(reply);
	return 0;
}

/* Ready jobs of a lane, or of one integration there. */
static int count_ready(struct queue *q, int lane, int64_t integration, int64_t *out,
		       struct err *err)
{
	char score[24];
	int rc;

	snprintf(score, sizeof(score), "%lld", (long long)integration);
	rc = integration < 0 ? count(q, q->keys.ready[lane], "-inf", "+inf", out, err)
			     : count(q, q->keys.ready[lane], score, score, out, err);
	return rc == 0 && *out > 0 ? count_packed(q, lane, integration, out, err) : rc;
}

/* ---- one job's way ---- */

static int way_caps(struct queue *q, int64_t integration, struct job_way *w, struct err *err)
{
	redisReply *caps = NULL, *busy = NULL, *flight = NULL;
	char id[24];
	int rc;

	snprintf(id, sizeof(id), "%lld", (long long)integration);
	rc = redis_callv(q->r, &caps, deadline(), err, "HMGET", q->keys.control, "partner",
			 "default", id, NULL);
	if (rc == 0)
		rc = redis_callv(q->r, &busy, deadline(), err, "HGET", q->keys.busy, id, NULL);
	if (rc == 0)
		rc = redis_callv(q->r, &flight, deadline(), err, "HLEN", q->keys.flight, NULL);
	if (rc == 0) {
		const redisReply *own = caps->element[2];

		w->no_control = caps->element[0]->type == REDIS_REPLY_NIL;
		w->partner_cap = reply_int(caps->element[0]);
		w->cap = !integration                   ? -1
			 : own->type == REDIS_REPLY_NIL ? reply_int(caps->element[1])
							: reply_int(own);
		w->busy = reply_int(busy);
		w->in_flight = reply_int(flight);
	}
	freeReplyObject(caps);
	freeReplyObject(busy);
	freeReplyObject(flight);
	return rc;
}

static int way_row(struct queue *q, const struct job_seen *j, struct job_way *w, struct err *err)
{
	struct redis_args a;
	redisReply *reply = NULL;

	redis_args_init(&a);
	redis_arg(&a, q->keys.ready[j->lane]);
	redis_arg_bytes(&a, j->pack ? j->pack : j->member, j->pack ? j->pack_len : j->member_len);
	redis_arg_int(&a, j->integration);
	int rc = redis_call_script(q->r, &lua_row, 1, &a, &reply, deadline(), err);
	redis_args_clear(&a);
	if (rc < 0)
		return rc;
	w->before_row = reply_int(reply);
	if (w->before_row >= 0 && j->pack)
		w->before_row += j->pack_at;
	freeReplyObject(reply);
	return 0;
}

int queue_way(struct queue *q, const struct job_seen *j, struct job_way *out, struct err *err)
{
	struct job_way w = { 0 };
	int rc = way_caps(q, j->integration, &w, err);

	if (rc == 0)
		rc = way_row(q, j, &w, err);
	for (int lane = LANE_HIGH; lane < (int)j->lane && rc == 0; lane++) {
		int64_t n = 0;

		rc = count_ready(q, lane, -1, &n, err);
		w.before_lane += n;
	}
	if (rc == 0)
		*out = w;
	return rc;
}

/* ---- shares ---- */

static struct share_seen *share_of(struct shares *s, int64_t integration)
{
	for (int i = 0; i < s->n; i++) {
		if (s->v[i].integration == integration)
			return &s->v[i];
	}
	s->v = mem_realloc(s->v, sizeof(*s->v) * (size_t)(s->n + 1));
	s->v[s->n] = (struct share_seen){ .integration = integration,
					  .cap = integration ? s->default_cap : -1 };
	return &s->v[s->n++];
}

static bool is_number(const redisReply *r)
{
	return r->len > 0 && strspn(r->str, "0123456789") == r->len;
}

static void shares_caps(struct shares *s, const redisReply *control)
{
	s->no_control = control->elements == 0;
	for (size_t i = 0; i + 1 < control->elements; i += 2) {
		const char *name = control->element[i]->str;
		int64_t n = reply_int(control->element[i + 1]);

		if (strcmp(name, "partner") == 0)
			s->partner_cap = n;
		if (strcmp(name, "default") == 0)
			s->default_cap = n;
	}
	for (size_t i = 0; i + 1 < control->elements; i += 2) {
		if (is_number(control->element[i]))
			share_of(s, reply_int(control->element[i]))->cap =
				reply_int(control->element[i + 1]);
	}
}

/* Whoever stands in one lane, integration by integration: one look each, however many jobs they have. */
static int shares_ready(struct queue *q, struct shares *s, int lane, struct err *err)
{
	const char *key = q->keys.ready[lane];
	char after[24] = "-inf";

	for (int n = 0; n < WALK_MAX; n++) {
		redisReply *first = NULL;
		int rc = redis_callv(q->r, &first, deadline(), err, "ZRANGEBYSCORE", key, after,
				     "+inf", "WITHSCORES", "LIMIT", "0", "1", NULL);

		if (rc < 0)
			return rc;
		bool end = first->elements < 2;
		int64_t integration = end ? 0 : (int64_t)strtod(first->element[1]->str, NULL),
			jobs = 0;
		freeReplyObject(first);
		if (end)
			break;
		rc = count_ready(q, lane, integration, &jobs, err);
		if (rc < 0)
			return rc;
		share_of(s, integration)->ready += jobs;
		snprintf(after, sizeof(after), "(%lld", (long long)integration);
	}
	return 0;
}

static int most_ready(const void *a, const void *b)
{
	const struct share_seen *x = a, *y = b;

	if (x->ready != y->ready)
		return x->ready < y->ready ? 1 : -1;
	return x->busy != y->busy
		       ? (x->busy < y->busy ? 1 : -1)
		       : (x->integration > y->integration) - (x->integration < y->integration);
}

int queue_shares(struct queue *q, struct shares *out, struct err *err)
{
	struct shares s = { 0 };
	redisReply *control = NULL, *busy = NULL;
	int rc = redis_callv(q->r, &control, deadline(), err, "HGETALL", q->keys.control, NULL);

	if (rc == 0)
		rc = redis_callv(q->r, &busy, deadline(), err, "HGETALL", q->keys.busy, NULL);
	if (rc == 0) {
		shares_caps(&s, control);
		for (size_t i = 0; i + 1 < busy->elements; i += 2)
			share_of(&s, reply_int(busy->element[i]))->busy =
				reply_int(busy->element[i + 1]);
	}
	freeReplyObject(control);
	freeReplyObject(busy);
	for (int lane = LANE_HIGH; lane <= LANE_LOW && rc == 0; lane++)
		rc = shares_ready(q, &s, lane, err);
	if (rc < 0) {
		free(s.v);
		return rc;
	}
	if (s.n)
		qsort(s.v, (size_t)s.n, sizeof(*s.v), most_ready);
	*out = s;
	return 0;
}
