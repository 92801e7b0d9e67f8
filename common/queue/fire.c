/* Starts by the clock.  beat:{p} keeps the last slot of each integration that was started, and the token of the leader that was
 * here last: mark and push are one script, so that neither two leaders nor one that died in between start a slot twice, and one
 * that was stopped for a while and goes on finds that it is none any more. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

#include "common/base/mem.h"
#include "common/queue/impl.h"

static void beat_key(const struct queue *q, char out[KEY_MAX])
{
	snprintf(out, KEY_MAX, "beat:{%s}", q->partner);
}

int queue_fire(struct queue *q, int64_t token, struct queue_start *v, int n, int64_t deadline_ms,
	       struct err *err)
{
	struct buf *rest = mem_zalloc(sizeof(*rest) * (size_t)(n + 1));
	redisReply *reply = NULL;
	char beat[KEY_MAX];
	struct redis_args a;
	int rc;

	beat_key(q, beat);
	redis_args_init(&a);
	redis_arg(&a, q->keys.ready[LANE_NORMAL]);
	redis_arg(&a, q->keys.ring[LANE_NORMAL]);
	redis_arg(&a, q->keys.seq);
	redis_arg(&a, beat);
	redis_arg_int(&a, token);
	for (int i = 0; i < n; i++) {
		member_rest_print(&rest[i], v[i].id, v[i].integration, redis_now_ms(q->r), NULL,
				  v[i].payload, v[i].len);
		redis_arg_int(&a, v[i].integration);
		redis_arg_int(&a, v[i].slot_ms);
		redis_arg_bytes(&a, rest[i].data, rest[i].len);
	}
	rc = redis_call_script(q->r, &lua_fire, 4, &a, &reply, deadline_ms, err);
	redis_args_clear(&a);
	for (int i = 0; i < n; i++)
		buf_clear(&rest[i]);
	free(rest);
	if (rc < 0)
		return rc;
	if (reply->type == REDIS_REPLY_INTEGER)
		rc = err_set(err, -ESTALE, ERR_INTERNAL, "leader",
			     "another scheduler leads by now: nothing was started");
	else if (reply->type != REDIS_REPLY_ARRAY || reply->elements != (size_t)n)
		rc = err_set(err, -EPROTO, ERR_INTERNAL, "redis",
			     "fire: an answer of another form");
	for (int i = 0; i < n && rc == 0; i++)
		v[i].fresh = reply_int(reply->element[i]) == 1;
	freeReplyObject(reply);
	queue_wrote(q->partner);
	return rc;
}

int queue_fired_known(struct queue *q, bool *known, int64_t deadline_ms, struct err *err)
{
	redisReply *reply = NULL;
	char beat[KEY_MAX];
	int rc;

	beat_key(q, beat);
	rc = redis_callv(q->r, &reply, deadline_ms, err, "HEXISTS", beat, "token", NULL);
	if (rc < 0)
		return rc;
	*known = reply_int(reply) == 1;
	freeReplyObject(reply);
	return 0;
}
