#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/id.h"
#include "common/base/mem.h"
#include "common/queue/impl.h"

#define OPEN_SLICE 200 /* integrations a script looks at */
#define COUNT_SLICE 400

static int control_write(struct queue *q, const struct queue_control *c, const char *token,
			 bool *changed, int64_t deadline_ms, struct err *err)
{
	struct redis_args a;
	redisReply *reply = NULL;

	redis_args_init(&a);
	redis_arg(&a, q->keys.control);
	redis_arg(&a, token);
	redis_arg_int(&a, c->generation);
	redis_arg_int(&a, c->partner_cap);
	redis_arg_int(&a, c->default_cap);
	for (int i = 0; i < c->n_over; i++) {
		redis_arg_int(&a, c->over[i].integration);
		redis_arg_int(&a, c->over[i].cap);
	}
	int rc = redis_call_script(q->r, &lua_control, 1, &a, &reply, deadline_ms, err);
	redis_args_clear(&a);
	if (rc < 0)
		return rc;
	*changed = reply_int(reply) == 1;
	freeReplyObject(reply);
	return 0;
}

/* One slice of one lane; *after is where the next begins, "" at the end. */
static int open_slice(struct queue *q, int lane, char after[24], const char *token,
		      int64_t deadline_ms, struct err *err)
{
	struct redis_args a;
	redisReply *reply = NULL;

	redis_args_init(&a);
	redis_arg(&a, q->keys.control);
	redis_arg(&a, q->keys.busy);
	redis_arg(&a, q->keys.ready[lane]);
	redis_arg(&a, q->keys.ring[lane]);
	redis_arg(&a, after);
	redis_arg_int(&a, OPEN_SLICE);
	redis_arg(&a, token);
	int rc = redis_call_script(q->r, &lua_open, 4, &a, &reply, deadline_ms, err);
	redis_args_clear(&a);
	if (rc < 0)
		return rc;
	after[0] = '\0';
	if (reply_is(reply, REDIS_REPLY_ARRAY) && reply->elements == 2 &&
	    reply->element[1]->len < 24)
		memcpy(after, reply->element[1]->str, reply->element[1]->len + 1);
	freeReplyObject(reply);
	return 0;
}

int queue_control_set(struct queue *q, const struct queue_control *c, int64_t deadline_ms,
		      struct err *err)
{
	char token[ID_LEN + 1];
	bool changed = false;

	for (int i = 0; i < c->n_over; i++) {
		if (c->over[i].integration <= 0 || c->over[i].cap < 0)
			return err_set(err, -EINVAL, ERR_INTERNAL, "control",
				       "a cap of integration %lld",
				       (long long)c->over[i].integration);
	}
	id_new(token);
	int rc = control_write(q, c, token, &changed, deadline_ms, err);
	/* Cut short here, the token stays in control, and whoever sets it next walks again. */
	for (int lane = LANE_HIGH; rc == 0 && changed && lane <= LANE_LOW; lane++) {
		char after[24] = "-1";

		while (rc == 0 && after[0])
			rc = open_slice(q, lane, after, lane == LANE_LOW ? token : "", deadline_ms,
					err);
	}
	if (changed)
		queue_wrote(q->partner);
	return rc;
}

/* ---- looking ---- */

static int depth_read(struct queue *q, struct queue_depth *d, int64_t deadline_ms, struct err *err)
{
	struct redis_args a;
	redisReply *reply = NULL;

	redis_args_init(&a);
	args_lanes(&a, q->keys.queue);
	args_lanes(&a, q->keys.ready);
	args_lanes(&a, q->keys.ring);
	redis_arg(&a, q->keys.delayed);
	redis_arg(&a, q->keys.flight);
	redis_arg(&a, q->keys.dead);
	int rc = redis_call_script(q->r, &lua_depth, 12, &a, &reply, deadline_ms, err);
	redis_args_clear(&a);
	if (rc < 0)
		return rc;
	if (!reply_is(reply, REDIS_REPLY_ARRAY) || reply->elements != 9) {
		freeReplyObject(reply);
		return err_set(err, -EPROTO, ERR_INTERNAL, "redis",
			       "depth: an answer of another form");
	}
	d->delayed = reply_int(reply->element[0]);
	d->in_flight = reply_int(reply->element[1]);
	d->dead = reply_int(reply->element[2]);
	for (int lane = LANE_HIGH; lane <= LANE_LOW; lane++) {
		d->ready[lane] = reply_int(reply->element[1 + 2 * lane]);
		d->oldest_age_ms[lane] = reply_int(reply->element[2 + 2 * lane]);
	}
	freeReplyObject(reply);
	return 0;
}

/* count.lua's answer; grows sum, by lane. */
static int count_call(struct queue *q, const struct redis_args *a, int64_t sum[4],
		      int64_t deadline_ms, struct err *err)
{
	redisReply *reply = NULL;
	int rc = redis_call_script(q->r, &lua_count, 3, a, &reply, deadline_ms, err);

	if (rc < 0)
		return rc;
	for (int lane = LANE_HIGH; lane <= LANE_LOW && (size_t)lane <= reply->elements; lane++)
		sum[lane] += reply_int(reply->element[lane - 1]);
	freeReplyObject(reply);
	return 0;
}

/* Ready jobs of the integrations whose cap is (not) 0: of control's fields from *at on, one slice. */
static int count_slice(struct queue *q, const redisReply *control, size_t *at, bool paused,
		       int64_t sum[4], int64_t deadline_ms, struct err *err)
{
	struct redis_args a;
	int n = 0, rc = 0;

	redis_args_init(&a);
	args_lanes(&a, q->keys.ready);
	for (; *at + 1 < control->elements && n < COUNT_SLICE; *at += 2) {
		const redisReply *f = control->element[*at], *v = control->element[*at + 1];

		if (f->str[0] < '0' || f->str[0] > '9' || (reply_int(v) == 0) != paused)
			continue;
		redis_arg_bytes(&a, f->str, f->len);
		n++;
	}
	if (n > 0)
		rc = count_call(q, &a, sum, deadline_ms, err);
	redis_args_clear(&a);
	return rc;
}

static int64_t control_number(const redisReply *control, const char *field, int64_t fallback)
{
	for (size_t i = 0; i + 1 < control->elements; i += 2) {
		if (strcmp(control->element[i]->str, field) == 0)
			return reply_int(control->element[i + 1]);
	}
	return fallback;
}

static int zero_count(struct queue *q, int64_t sum[4], int64_t deadline_ms, struct err *err)
{
	struct redis_args a;

	redis_args_init(&a);
	args_lanes(&a, q->keys.ready);
	redis_arg(&a, "0");
	int rc = count_call(q, &a, sum, deadline_ms, err);
	redis_args_clear(&a);
	return rc;
}

/* A paused partner holds all; a default of 0 all but those with a cap of their own and jobs of no integration. */
static int held_count(struct queue *q, const redisReply *control, struct queue_depth *d,
		      int64_t deadline_ms, struct err *err)
{
	int64_t all = d->ready[LANE_HIGH] + d->ready[LANE_NORMAL] + d->ready[LANE_LOW];
	int64_t sum[4] = { 0 };
	bool none = control_number(control, "partner", 1) == 0;
	bool paused = control_number(control, "default", 1) > 0;
	int rc = 0;

	if (all == 0)
		return 0;
	for (size_t at = 0; rc == 0 && !none && at + 1 < control->elements;)
		rc = count_slice(q, control, &at, paused, sum, deadline_ms, err);
	if (rc == 0 && !none && !paused)
		rc = zero_count(q, sum, deadline_ms, err);
	if (rc < 0)
		return rc;
	for (int lane = LANE_HIGH; lane <= LANE_LOW; lane++) {
		int64_t held = paused && !none ? sum[lane] : d->ready[lane] - sum[lane];

		/* Both were counted apart: jobs came and went in between. */
		d->held_in[lane] = held < 0 ? 0 : held > d->ready[lane] ? d->ready[lane] : held;
		d->held += d->held_in[lane];
	}
	return 0;
}

int queue_depth(struct queue *q, struct queue_depth *out, int64_t deadline_ms, struct err *err)
{
	struct queue_depth d = { 0 };
	redisReply *control = NULL;
	int rc = depth_read(q, &d, deadline_ms, err);

	if (rc == 0)
		rc = redis_callv(q->r, &control, deadline_ms, err, "HGETALL", q->keys.control,
				 NULL);
	if (rc < 0)
		return rc;
	if (reply_is(control, REDIS_REPLY_ARRAY))
		rc = held_count(q, control, &d, deadline_ms, err);
	freeReplyObject(control);
	if (rc == 0)
		*out = d;
	return rc;
}
