/* Work that is made by the clock: marked and pushed in one script, so that two schedulers that both believe to lead make it once. */
#include <errno.h>
#include <stdio.h>

#include "common/queue/impl.h"

int queue_enqueue_once(struct queue *q, const struct queue_push *v, int64_t ttl_ms, bool *fresh,
		       int64_t deadline_ms, struct err *err)
{
	struct buf rest = BUF_INIT;
	redisReply *reply = NULL;
	struct redis_args a;
	char seen[PARTNER_MAX + JOB_ID_MAX + 16];

	snprintf(seen, sizeof(seen), "seen:{%s}:%s", q->partner, v->id);
	member_rest_print(&rest, v->id, v->integration, redis_now_ms(q->r), v->origin, v->payload,
			  v->len);
	redis_args_init(&a);
	args_lanes(&a, q->keys.ready);
	args_lanes(&a, q->keys.ring);
	redis_arg(&a, q->keys.seq);
	redis_arg(&a, q->keys.delayed);
	redis_arg(&a, seen);
	redis_arg_int(&a, ttl_ms);
	redis_arg_int(&a, v->lane);
	redis_arg_int(&a, v->integration);
	redis_arg_int(&a, v->run_at_ms > 0 ? v->run_at_ms : 0);
	redis_arg_bytes(&a, rest.data, rest.len);
	int rc = redis_call_script(q->r, &lua_enqueue, 9, &a, &reply, deadline_ms, err);
	if (rc == 0) {
		*fresh = reply->type == REDIS_REPLY_INTEGER && reply->integer == 1;
		freeReplyObject(reply);
	}
	redis_args_clear(&a);
	buf_clear(&rest);
	queue_wrote(q->partner);
	return rc;
}
