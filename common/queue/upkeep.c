#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/log.h"
#include "common/base/mem.h"
#include "common/queue/impl.h"

/* ---- promote ---- */

/* Half of a slice: members are cut and put together anew, about 10 us each on a busy machine. */
#define PROMOTE_JOBS (QUEUE_SLICE_JOBS / 2)

static int promote_slice(struct queue *q, redisReply **reply, int64_t deadline_ms, struct err *err)
{
	struct redis_args a;

	redis_args_init(&a);
	redis_arg(&a, q->keys.delayed);
	args_lanes(&a, q->keys.ready);
	args_lanes(&a, q->keys.ring);
	redis_arg(&a, q->keys.seq);
	redis_arg_int(&a, PROMOTE_JOBS);
	redis_arg_int(&a, QUEUE_SLICE_BYTES);
	int rc = redis_call_script(q->r, &lua_promote, 8, &a, reply, deadline_ms, err);
	redis_args_clear(&a);
	return rc;
}

int queue_promote(struct queue *q, int *moved, int64_t *next_due_ms, int64_t deadline_ms,
		  struct err *err)
{
	int total = 0;

	for (;;) {
		redisReply *reply = NULL;
		int rc = promote_slice(q, &reply, deadline_ms, err);

		if (rc < 0)
			return rc;
		if (!reply_is(reply, REDIS_REPLY_ARRAY) || reply->elements != 3) {
			freeReplyObject(reply);
			return err_set(err, -EPROTO, ERR_INTERNAL, "redis",
				       "promote: an answer of another form");
		}
		int64_t k = reply_int(reply->element[0]), due = reply_int(reply->element[1]);
		int64_t now = reply_int(reply->element[2]);

		freeReplyObject(reply);
		total += (int)k;
		if (k > 0)
			queue_wrote(q->partner);
		if (k > 0 && due && due <= now)
			continue;
		if (moved)
			*moved = total;
		if (next_due_ms)
			*next_due_ms = due;
		return 0;
	}
}

/* ---- reap ---- */

/* One script over as many leases as its slice of bytes bears; *looked says how far it came, -1: alive. */
static int reap_slice(struct queue *q, const char *worker, bool if_dead,
		      const struct redis_args *leases, int from, int64_t *looked, int *back,
		      int64_t deadline_ms, struct err *err)
{
	struct redis_args a;
	redisReply *reply = NULL;

	redis_args_init(&a);
	redis_arg(&a, worker);
	redis_arg(&a, q->keys.flight);
	redis_arg(&a, q->keys.busy);
	args_lanes(&a, q->keys.ready);
	args_lanes(&a, q->keys.ring);
	redis_arg(&a, if_dead ? "dead" : "own");
	redis_arg_int(&a, QUEUE_SLICE_BYTES);
	for (int i = from; i < leases->n && i < from + SETTLE_SCRIPT_JOBS; i++)
		redis_arg_bytes(&a, leases->v[i], leases->len[i]);
	int rc = redis_call_script(q->r, &lua_reap, 9, &a, &reply, deadline_ms, err);
	redis_args_clear(&a);
	if (rc < 0)
		return rc;
	*looked = -1;
	if (reply_is(reply, REDIS_REPLY_ARRAY) && reply->elements == 2) {
		*looked = reply_int(reply->element[0]);
		*back += (int)reply_int(reply->element[1]);
	}
	freeReplyObject(reply);
	queue_wrote(q->partner);
	return 0;
}

int reap_leases(struct queue *q, const char *worker, bool if_dead, const struct redis_args *leases,
		int *back, int64_t deadline_ms, struct err *err)
{
	int rc = 0;

	for (int from = 0; rc == 0 && from < leases->n;) {
		int64_t looked = 0;

		rc = reap_slice(q, worker, if_dead, leases, from, &looked, back, deadline_ms, err);
		if (rc == 0 && looked <= 0)
			break;
		from += (int)looked;
	}
	return rc;
}

static size_t epoch_len(const redisReply *field)
{
	const char *colon = memchr(field->str, ':', field->len);

	return colon ? (size_t)(colon - field->str) : 0;
}

static bool same_epoch(const redisReply *a, const redisReply *b)
{
	size_t n = epoch_len(a);

	return n == epoch_len(b) && memcmp(a->str, b->str, n) == 0;
}

static int by_epoch(const void *a, const void *b)
{
	const redisReply *x = *(redisReply *const *)a, *y = *(redisReply *const *)b;
	size_t n = x->len < y->len ? x->len : y->len;
	int d = memcmp(x->str, y->str, n);

	return d ? d : x->len < y->len ? -1 : x->len > y->len;
}

static bool epoch_is(const redisReply *field, const char *epoch)
{
	size_t n = epoch_len(field);

	return n == strlen(epoch) && memcmp(field->str, epoch, n) == 0;
}

/* All leases of one epoch, fields[0 … n-1]. */
static int reap_epoch(struct queue *q, redisReply **fields, size_t n, int *back,
		      int64_t deadline_ms, struct err *err)
{
	struct redis_args leases;
	size_t len = epoch_len(fields[0]);
	char *worker = mem_printf("worker:{%s}:%.*s", q->partner, (int)len, fields[0]->str);
	int before = *back;

	redis_args_init(&leases);
	for (size_t i = 0; i < n; i++)
		redis_arg_bytes(&leases, fields[i]->str, fields[i]->len);
	int rc = reap_leases(q, worker, true, &leases, back, deadline_ms, err);
	if (*back > before)
		log_event(LOG_WARN, "jobs_reaped", LS("partner", q->partner), LS("worker", worker),
			  LI("jobs", *back - before));
	redis_args_clear(&leases);
	free(worker);
	return rc;
}

static int reap_fields(struct queue *q, redisReply *all, const char *only_epoch, int *back,
		       int64_t deadline_ms, struct err *err)
{
	int rc = 0;

	qsort(all->element, all->elements, sizeof(all->element[0]), by_epoch);
	for (size_t from = 0; rc == 0 && from < all->elements;) {
		redisReply **f = all->element + from;
		size_t n = 1;

		while (from + n < all->elements && same_epoch(f[0], f[n]))
			n++;
		if (epoch_len(f[0]) && (!only_epoch || epoch_is(f[0], only_epoch)))
			rc = reap_epoch(q, f, n, back, deadline_ms, err);
		from += n;
	}
	return rc;
}

int queue_reap(struct queue *q, const char *only_epoch, int *reaped, int64_t deadline_ms,
	       struct err *err)
{
	redisReply *all = NULL;
	int rc = 0, back = 0;

	if (only_epoch) {
		char *worker = mem_printf("worker:{%s}:%s", q->partner, only_epoch);

		rc = redis_callv(q->r, NULL, deadline_ms, err, "DEL", worker, NULL);
		free(worker);
	}
	/* HKEYS: the hash is bounded by the partner's cap, and the payloads stay where they are. */
	if (rc == 0)
		rc = redis_callv(q->r, &all, deadline_ms, err, "HKEYS", q->keys.flight, NULL);
	if (rc < 0)
		return rc;
	if (reply_is(all, REDIS_REPLY_ARRAY) && all->elements > 0)
		rc = reap_fields(q, all, only_epoch, &back, deadline_ms, err);
	freeReplyObject(all);
	if (rc == 0 && reaped)
		*reaped = back;
	return rc;
}
