#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/mem.h"
#include "common/queue/impl.h"

#define WORKERS_KEY "workers:{longshore}"
#define FORGET_MS (3600 * 1000) /* a process not seen for so long is no longer listed */
#define FLEET_PAGE 200

static char *worker_key(const char *epoch)
{
	return mem_printf("worker:{longshore}:%s", epoch);
}

/* Two plain commands in one round trip, the second one's answer stands for both: a script that reads Redis' clock costs
 * twice as many, and an idle worker sends little else. */
int fleet_beat(struct redis *r, const char *epoch, const char *info_json, int64_t deadline_ms,
	       struct err *err)
{
	struct redis_args a;
	char *key = worker_key(epoch);

	redis_args_init(&a);
	redis_arg(&a, "SET");
	redis_arg(&a, key);
	redis_arg(&a, info_json);
	redis_arg(&a, "PX");
	redis_arg_int(&a, QUEUE_HEARTBEAT_MS);
	redis_send(r, &a, NULL, NULL);
	redis_args_clear(&a);
	redis_args_init(&a);
	redis_arg(&a, "ZADD");
	redis_arg(&a, WORKERS_KEY);
	redis_arg_int(&a, redis_now_ms(r));
	redis_arg(&a, epoch);
	int rc = redis_call(r, &a, NULL, deadline_ms, err);
	redis_args_clear(&a);
	free(key);
	return rc;
}

int fleet_leave(struct redis *r, const char *epoch, int64_t deadline_ms, struct err *err)
{
	char *key = worker_key(epoch);
	int rc = redis_callv(r, NULL, deadline_ms, err, "DEL", key, NULL);

	if (rc == 0)
		rc = redis_callv(r, NULL, deadline_ms, err, "ZREM", WORKERS_KEY, epoch, NULL);
	free(key);
	return rc;
}

/* A claim in {longshore} may have made the key before the first beat did: alive, and nothing said yet. */
static const char *info_of(const redisReply *v)
{
	if (v->type != REDIS_REPLY_STRING)
		return NULL;
	return v->str[0] == '{' ? v->str : "{}";
}

/* epochs: epoch, score, epoch, score … */
static int page_tell(struct redis *r, redisReply *const *epochs, size_t n, fleet_fn fn, void *arg,
		     int64_t deadline_ms, struct err *err)
{
	struct redis_args a;
	redisReply *infos = NULL;
	char **keys = mem_zalloc(n * sizeof(*keys));

	redis_args_init(&a);
	redis_arg(&a, "MGET");
	for (size_t i = 0; i < n; i++) {
		keys[i] = worker_key(epochs[2 * i]->str);
		redis_arg(&a, keys[i]);
	}
	int rc = redis_call(r, &a, &infos, deadline_ms, err);
	redis_args_clear(&a);
	for (size_t i = 0; i < n; i++)
		free(keys[i]);
	free(keys);
	if (rc < 0)
		return rc;
	for (size_t i = 0; i < n && i < infos->elements; i++)
		fn(epochs[2 * i]->str, (int64_t)strtod(epochs[2 * i + 1]->str, NULL),
		   info_of(infos->element[i]), arg);
	freeReplyObject(infos);
	return 0;
}

int fleet_each(struct redis *r, fleet_fn fn, void *arg, int64_t deadline_ms, struct err *err)
{
	redisReply *all = NULL;
	char before[32];

	snprintf(before, sizeof(before), "(%lld", (long long)(redis_now_ms(r) - FORGET_MS));
	int rc = redis_callv(r, NULL, deadline_ms, err, "ZREMRANGEBYSCORE", WORKERS_KEY, "-inf",
			     before, NULL);
	if (rc == 0)
		rc = redis_callv(r, &all, deadline_ms, err, "ZRANGE", WORKERS_KEY, "0", "-1",
				 "WITHSCORES", NULL);
	if (rc < 0)
		return rc;
	for (size_t at = 0; rc == 0 && at + 1 < all->elements; at += 2 * FLEET_PAGE) {
		size_t left = (all->elements - at) / 2;

		rc = page_tell(r, all->element + at, left < FLEET_PAGE ? left : FLEET_PAGE, fn, arg,
			       deadline_ms, err);
	}
	freeReplyObject(all);
	return rc;
}

/* ---- roles ---- */

static int role_call(struct redis *r, const char *role, const char *owner, int64_t ttl_ms,
		     int64_t *token, int64_t deadline_ms, struct err *err)
{
	struct redis_args a;
	redisReply *reply = NULL;
	char *key = mem_printf("role:{longshore}:%s", role), *last = mem_printf("%s:token", key);

	redis_args_init(&a);
	redis_arg(&a, key);
	redis_arg(&a, last);
	redis_arg(&a, owner);
	redis_arg_int(&a, ttl_ms);
	int rc = redis_call_script(r, &lua_role, 2, &a, &reply, deadline_ms, err);
	redis_args_clear(&a);
	free(key);
	free(last);
	if (rc < 0)
		return rc;
	*token = reply_int(reply);
	freeReplyObject(reply);
	return 0;
}

int role_hold(struct redis *r, const char *role, const char *owner, int64_t ttl_ms, int64_t *token,
	      int64_t deadline_ms, struct err *err)
{
	int64_t got = 0;
	int rc = role_call(r, role, owner, ttl_ms > 0 ? ttl_ms : 1, &got, deadline_ms, err);

	if (rc < 0)
		return rc;
	if (!got)
		return 0;
	if (token)
		*token = got;
	return 1;
}

int role_leave(struct redis *r, const char *role, const char *owner, int64_t deadline_ms,
	       struct err *err)
{
	int64_t none;

	return role_call(r, role, owner, 0, &none, deadline_ms, err);
}
