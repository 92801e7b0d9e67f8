#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/id.h"
#include "common/base/mem.h"
#include "common/queue/breaker.h"
#include "common/queue/impl.h"

#define OPEN_SLICE 200 /* integrations a script looks at */
#define COUNT_SLICE 400

/* "host:7" as field names, kept in `names` until the command was sent. */
static void host_args(struct redis_args *a, const struct queue_control *c, struct buf *names)
{
	size_t at = 0;

	if (c->host) {
		redis_arg(a, "host");
		redis_arg(a, c->host);
	}
	if (c->past_breakers) {
		redis_arg(a, "past");
		redis_arg(a, "1");
	}
	for (int i = 0; i < c->n_hosts; i++) {
		buf_printf(names, "host:%lld", (long long)c->hosts[i].integration);
		buf_putc(names, '\0');
	}
	for (int i = 0; i < c->n_hosts; i++) {
		redis_arg(a, names->data + at);
		redis_arg(a, c->hosts[i].host);
		at += strlen(names->data + at) + 1;
	}
}

static int control_write(struct queue *q, const struct queue_control *c, const char *token,
			 bool *changed, int64_t deadline_ms, struct err *err)
{
	struct buf names = BUF_INIT;
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
	host_args(&a, c, &names);
	int rc = redis_call_script(q->r, &lua_control, 1, &a, &reply, deadline_ms, err);
	redis_args_clear(&a);
	buf_clear(&names);
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

/* Whoever may run goes into the rings; the last slice ends the change that `token` began. */
static int open_all(struct queue *q, const char *token, int64_t deadline_ms, struct err *err)
{
	int rc = 0;

	for (int lane = LANE_HIGH; rc == 0 && lane <= LANE_LOW; lane++) {
		char after[24] = "-1";

		while (rc == 0 && after[0])
			rc = open_slice(q, lane, after, lane == LANE_LOW ? token : "", deadline_ms,
					err);
	}
	queue_wrote(q->partner);
	return rc;
}

int queue_open(struct queue *q, int64_t deadline_ms, struct err *err)
{
	return open_all(q, "", deadline_ms, err);
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
	return rc == 0 && changed ? open_all(q, token, deadline_ms, err) : rc;
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
	redis_arg(&a, q->keys.packed);
	int rc = redis_call_script(q->r, &lua_depth, 13, &a, &reply, deadline_ms, err);
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
	int rc = redis_call_script(q->r, &lua_count, 4, a, &reply, deadline_ms, err);

	if (rc < 0)
		return rc;
	for (int lane = LANE_HIGH; lane <= LANE_LOW && (size_t)lane <= reply->elements; lane++)
		sum[lane] += reply_int(reply->element[lane - 1]);
	freeReplyObject(reply);
	return 0;
}

/* Who is held: cap 0, or behind a breaker that is not closed. */
struct holds {
	const redisReply *control;
	struct breaker_list shut;
	bool default_cap_0, default_shut, any_shut;
};

static const redisReply *control_field(const redisReply *control, const char *field)
{
	for (size_t i = 0; i + 1 < control->elements; i += 2) {
		if (strcmp(control->element[i]->str, field) == 0)
			return control->element[i + 1];
	}
	return NULL;
}

static bool is_shut(const struct holds *h, const redisReply *host)
{
	const struct breaker_seen *s = host ? breaker_find(&h->shut, host->str) : NULL;

	return s && s->state != BREAKER_CLOSED;
}

/* An integration that control names: by its cap, by its host, or both. */
struct named {
	int64_t integration;
	const redisReply *cap, *host;
};

static int by_integration(const void *a, const void *b)
{
	const struct named *x = a, *y = b;

	return (x->integration > y->integration) - (x->integration < y->integration);
}

/* Each once, in order; the caller's. */
static struct named *named_of(const redisReply *control, bool hosts, size_t *n)
{
	struct named *v = mem_zalloc((control->elements / 2 + 1) * sizeof(*v));
	size_t all = 0, kept = 0;

	for (size_t i = 0; i + 1 < control->elements; i += 2) {
		const char *f = control->element[i]->str;
		bool host = strncmp(f, "host:", 5) == 0;

		if (host ? !hosts : *f < '0' || *f > '9')
			continue;
		v[all].integration = strtoll(host ? f + 5 : f, NULL, 10);
		*(host ? &v[all].host : &v[all].cap) = control->element[i + 1];
		all++;
	}
	if (all)
		qsort(v, all, sizeof(*v), by_integration);
	for (size_t i = 0; i < all; i++) {
		struct named *last = kept ? &v[kept - 1] : NULL;

		if (!last || last->integration != v[i].integration) {
			v[kept++] = v[i];
			continue;
		}
		last->cap = last->cap ? last->cap : v[i].cap;
		last->host = last->host ? last->host : v[i].host;
	}
	*n = kept;
	return v;
}

static bool holds_named(const struct holds *h, const struct named *n)
{
	if (n->cap ? reply_int(n->cap) == 0 : h->default_cap_0)
		return true;
	return n->host ? is_shut(h, n->host) : h->default_shut;
}

/* Ready jobs of those that are held (or not): of v from *at on, one slice. */
static int count_slice(struct queue *q, const struct holds *h, const struct named *v, size_t n,
		       size_t *at, bool held, int64_t sum[4], int64_t deadline_ms, struct err *err)
{
	struct redis_args a;
	int asked = 0, rc = 0;

	redis_args_init(&a);
	args_lanes(&a, q->keys.ready);
	redis_arg(&a, q->keys.packed);
	for (; *at < n && asked < COUNT_SLICE; ++*at) {
		if (holds_named(h, &v[*at]) != held)
			continue;
		redis_arg_int(&a, v[*at].integration);
		asked++;
	}
	if (asked > 0)
		rc = count_call(q, &a, sum, deadline_ms, err);
	redis_args_clear(&a);
	return rc;
}

static int64_t control_number(const redisReply *control, const char *field, int64_t fallback)
{
	const redisReply *value = control_field(control, field);

	return value ? reply_int(value) : fallback;
}

static int zero_count(struct queue *q, int64_t sum[4], int64_t deadline_ms, struct err *err)
{
	struct redis_args a;

	redis_args_init(&a);
	args_lanes(&a, q->keys.ready);
	redis_arg(&a, q->keys.packed);
	redis_arg(&a, "0");
	int rc = count_call(q, &a, sum, deadline_ms, err);
	redis_args_clear(&a);
	return rc;
}

/* A paused partner holds all; where integrations are held unless control says otherwise, all but those and the jobs of none. */
static int held_count(struct queue *q, const struct holds *h, struct queue_depth *d,
		      int64_t deadline_ms, struct err *err)
{
	int64_t all = d->ready[LANE_HIGH] + d->ready[LANE_NORMAL] + d->ready[LANE_LOW];
	bool none = control_number(h->control, "partner", 1) == 0;
	bool most = h->default_cap_0 || h->default_shut;
	int64_t sum[4] = { 0 };
	struct named *v;
	size_t n;
	int rc = 0;

	if (all == 0)
		return 0;
	v = named_of(h->control, h->any_shut, &n);
	for (size_t at = 0; rc == 0 && !none && at < n;)
		rc = count_slice(q, h, v, n, &at, !most, sum, deadline_ms, err);
	free(v);
	if (rc == 0 && !none && most)
		rc = zero_count(q, sum, deadline_ms, err);
	if (rc < 0)
		return rc;
	for (int lane = LANE_HIGH; lane <= LANE_LOW; lane++) {
		int64_t held = !most && !none ? sum[lane] : d->ready[lane] - sum[lane];

		/* Both were counted apart: jobs came and went in between. */
		d->held_in[lane] = held < 0 ? 0 : held > d->ready[lane] ? d->ready[lane] : held;
		d->held += d->held_in[lane];
	}
	return 0;
}

int queue_control_lost(struct queue *q, bool *lost, int64_t deadline_ms, struct err *err)
{
	redisReply *reply = NULL;
	int rc = redis_callv(q->r, &reply, deadline_ms, err, "HEXISTS", q->keys.control, "gen",
			     NULL);

	*lost = rc == 0 && reply_int(reply) == 0;
	freeReplyObject(reply);
	return rc;
}

int queue_depth(struct queue *q, struct queue_depth *out, int64_t deadline_ms, struct err *err)
{
	struct queue_depth d = { 0 };
	struct holds h = { 0 };
	redisReply *control = NULL;
	int rc = depth_read(q, &d, deadline_ms, err);

	if (rc == 0)
		rc = redis_callv(q->r, &control, deadline_ms, err, "HGETALL", q->keys.control,
				 NULL);
	if (rc == 0)
		rc = breaker_list(q, false, &h.shut, deadline_ms, err);
	if (rc == 0 && reply_is(control, REDIS_REPLY_ARRAY)) {
		h.control = control;
		h.default_cap_0 = control_number(control, "default", 1) == 0;
		bool past = control_field(control, "past") != NULL;

		for (int i = 0; i < h.shut.n && !past; i++)
			h.any_shut = h.any_shut || h.shut.v[i].state != BREAKER_CLOSED;
		h.default_shut = !past && is_shut(&h, control_field(control, "host"));
		rc = held_count(q, &h, &d, deadline_ms, err);
	}
	freeReplyObject(control);
	breaker_list_clear(&h.shut);
	if (rc == 0)
		*out = d;
	return rc;
}
