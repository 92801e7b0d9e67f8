/* The end of runs, and what is kept of jobs that ended. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/mem.h"
#include "common/queue/impl.h"
#include "common/queue/run.h"

#define ENDED_STEP "100"
#define COUNTERS 3

static const char *const counters[COUNTERS] = { "n done", "n dead", "n dropped" };

static void run_key(const struct queue *q, int64_t run, char out[KEY_MAX + 24])
{
	snprintf(out, KEY_MAX + 24, "run:{%s}:%lld", q->partner, (long long)run);
}

static void ended_key(const struct queue *q, char out[KEY_MAX])
{
	snprintf(out, KEY_MAX, "ended:{%s}", q->partner);
}

/* "AT DONE DEAD DROPPED"; what reads otherwise was written by hand, and is an end all the same. */
static struct run_end end_read(const char *run, const char *text)
{
	struct run_end e = { .run = strtoll(run, NULL, 10) };
	int64_t *const v[] = { &e.at_ms, &e.done, &e.dead, &e.dropped };
	char *p = (char *)text;

	for (int i = 0; i < 4; i++)
		*v[i] = strtoll(p, &p, 10);
	return e;
}

int queue_runs_ended(struct queue *q, run_end_fn fn, void *arg, int64_t deadline_ms,
		     struct err *err)
{
	char key[KEY_MAX], cursor[32] = "0";
	int rc = 0;

	ended_key(q, key);
	do {
		redisReply *reply = NULL;

		rc = redis_callv(q->r, &reply, deadline_ms, err, "HSCAN", key, cursor, "COUNT",
				 ENDED_STEP, NULL);
		if (rc < 0)
			return rc;
		const redisReply *v = reply->element[1];
		snprintf(cursor, sizeof(cursor), "%s", reply->element[0]->str);
		for (size_t i = 0; i + 1 < v->elements && rc == 0; i += 2) {
			struct run_end e = end_read(v->element[i]->str, v->element[i + 1]->str);

			rc = fn(&e, arg);
		}
		freeReplyObject(reply);
	} while (rc == 0 && strcmp(cursor, "0") != 0);
	return rc;
}

int queue_run_forget(struct queue *q, int64_t run, int64_t deadline_ms, struct err *err)
{
	char key[KEY_MAX], field[24];

	ended_key(q, key);
	snprintf(field, sizeof(field), "%lld", (long long)run);
	return redis_callv(q->r, NULL, deadline_ms, err, "HDEL", key, field, NULL);
}

static int look_open(struct queue *q, int64_t run, struct run_open *out, int64_t deadline_ms,
		     struct err *err)
{
	char key[KEY_MAX + 24];
	int64_t *const v[COUNTERS] = { &out->done, &out->dead, &out->dropped };
	redisReply *size = NULL, *n = NULL;

	run_key(q, run, key);
	int rc = redis_callv(q->r, &size, deadline_ms, err, "HLEN", key, NULL);
	if (rc < 0)
		return rc;
	out->open = reply_int(size);
	out->known = out->open > 0;
	freeReplyObject(size);
	if (!out->known)
		return 0;
	rc = redis_callv(q->r, &n, deadline_ms, err, "HMGET", key, counters[0], counters[1],
			 counters[2], NULL);
	if (rc < 0)
		return rc;
	for (size_t i = 0; i < COUNTERS && i < n->elements; i++) {
		if (reply_is(n->element[i], REDIS_REPLY_STRING))
			out->open--;
		*v[i] = reply_int(n->element[i]);
	}
	freeReplyObject(n);
	return 0;
}

/* First the open ones, then the list of ends: a run moves in that direction. */
int queue_run_look(struct queue *q, int64_t run, struct run_open *out, int64_t deadline_ms,
		   struct err *err)
{
	struct run_open o = { 0 };
	redisReply *reply = NULL;
	char key[KEY_MAX], field[24];
	int rc = look_open(q, run, &o, deadline_ms, err);

	if (rc == 0 && !o.known) {
		ended_key(q, key);
		snprintf(field, sizeof(field), "%lld", (long long)run);
		rc = redis_callv(q->r, &reply, deadline_ms, err, "HGET", key, field, NULL);
	}
	if (rc < 0)
		return rc;
	if (reply && reply_is(reply, REDIS_REPLY_STRING)) {
		struct run_end e = end_read(field, reply->str);

		o = (struct run_open){ true, 0, e.done, e.dead, e.dropped };
	}
	freeReplyObject(reply);
	*out = o;
	return 0;
}

int queue_result(struct queue *q, const char *id, struct buf *out, int64_t deadline_ms,
		 struct err *err)
{
	struct buf key = BUF_INIT;
	redisReply *reply = NULL;

	buf_printf(&key, "result:{%s}:%s", q->partner, id);
	int rc = redis_callv(q->r, &reply, deadline_ms, err, "GET", buf_str(&key), NULL);
	buf_clear(&key);
	if (rc < 0)
		return rc;
	rc = reply_is(reply, REDIS_REPLY_STRING) ? 0 : -ENOENT;
	if (rc == 0)
		buf_append(out, reply->str, reply->len);
	freeReplyObject(reply);
	return rc;
}
