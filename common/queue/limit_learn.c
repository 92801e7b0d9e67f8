#include "common/queue/limit_learn.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/mem.h"
#include "common/queue/limit_impl.h"

/* KEYS and the scope's name; the ops follow. */
static void learn_args(struct redis_args *args, struct buf *keys, const char *partner,
		       const char *name)
{
	size_t hand;

	buf_printf(keys, "limit:{%s}:%s:set", partner, name);
	buf_putc(keys, '\0');
	hand = keys->len;
	buf_printf(keys, "limit:{%s}:hand", partner);
	redis_args_init(args);
	redis_arg(args, keys->data);
	redis_arg(args, keys->data + hand);
	redis_arg(args, name);
}

static void learn_op(struct redis_args *args, const char *op, int64_t window_us, int64_t a,
		     int64_t b)
{
	redis_arg(args, op);
	redis_arg_int(args, window_us);
	redis_arg_int(args, a);
	redis_arg_int(args, b);
}

/* ---- set by hand ---- */

static int set_one(struct redis *r, const char *partner, const char *name, int64_t window_us,
		   int64_t calls, int64_t deadline_ms, struct err *err)
{
	struct redis_args args;
	struct buf keys = BUF_INIT;
	int rc;

	learn_args(&args, &keys, partner, name);
	learn_op(&args, "h", window_us, calls, 0);
	rc = redis_call_script(r, &lua_learn, 2, &args, NULL, deadline_ms, err);
	redis_args_clear(&args);
	buf_clear(&keys);
	return rc;
}

static bool is_set(const struct limit_by_hand *v, int n, const char *name, int64_t window_us)
{
	for (int i = 0; i < n; i++)
		if (v[i].window_ms * 1000 == window_us && strcmp(v[i].name, name) == 0)
			return true;
	return false;
}

/* What the index has and Postgres has not: whoever took it back there died before he could here. */
static int drop_others(struct redis *r, const char *partner, const struct limit_by_hand *v, int n,
		       int64_t deadline_ms, struct err *err)
{
	char *key = mem_printf("limit:{%s}:hand", partner);
	redisReply *fields = NULL;
	int rc = redis_callv(r, &fields, deadline_ms, err, "HKEYS", key, NULL);

	free(key);
	if (rc < 0)
		return rc;
	for (size_t i = 0; rc == 0 && reply_is(fields, REDIS_REPLY_ARRAY) && i < fields->elements;
	     i++) {
		char *name = NULL;
		int64_t window_us = strtoll(fields->element[i]->str, &name, 10);

		if (*name == ' ' && !is_set(v, n, name + 1, window_us))
			rc = set_one(r, partner, name + 1, window_us, 0, deadline_ms, err);
	}
	freeReplyObject(fields);
	return rc;
}

int limit_mirror(struct redis *r, const char *partner, const struct limit_by_hand *v, int n,
		 int64_t deadline_ms, struct err *err)
{
	int rc = drop_others(r, partner, v, n, deadline_ms, err);

	for (int i = 0; rc == 0 && i < n; i++)
		rc = set_one(r, partner, v[i].name, v[i].window_ms * 1000, v[i].calls, deadline_ms,
			     err);
	return rc;
}

/* ---- learned ---- */

/* A log counts calls, everything else units (tier_args). */
static bool is_log(const struct limit_tier *t)
{
	return t->kind == LIMIT_SLIDING && !t->charged &&
	       (t->limit <= LIMIT_LOG_CALLS || t->window_ms <= LIMIT_LOG_WINDOW_MS);
}

void limit_stated(struct redis *r, const char *partner, const char *name,
		  const struct limit_tier *t, int64_t stated, int64_t ours)
{
	struct redis_args args;
	struct buf keys = BUF_INIT;

	if (ours > 0 && t->units > 1 && is_log(t))
		ours = ours / t->units > 1 ? ours / t->units : 1;
	learn_args(&args, &keys, partner, name);
	learn_op(&args, "t", t->window_ms * 1000, stated, ours);
	redis_send_script(r, &lua_learn, 2, &args, NULL, NULL);
	redis_args_clear(&args);
	buf_clear(&keys);
}

int limit_met(struct redis *r, const char *partner, const struct limit_scope *s,
	      int64_t deadline_ms, struct err *err)
{
	struct limit_usage u;
	struct redis_args args;
	struct buf keys = BUF_INIT;
	int rc = s->n_tiers ? limit_usage(r, partner, s, &u, deadline_ms, err) : 0;

	if (rc < 0 || s->n_tiers == 0)
		return rc;
	learn_args(&args, &keys, partner, s->name);
	for (int k = 0; k < s->n_tiers; k++)
		learn_op(&args, "m", s->tiers[k].window_ms * 1000, u.tiers[k].used, 0);
	rc = redis_call_script(r, &lua_learn, 2, &args, NULL, deadline_ms, err);
	redis_args_clear(&args);
	buf_clear(&keys);
	return rc;
}

int limit_seed(struct redis *r, const char *partner, const struct limit_scope *s,
	       const int64_t used[LIMIT_TIERS_MAX], int64_t deadline_ms, struct err *err)
{
	struct redis_args args;
	struct buf keys = BUF_INIT;
	size_t sum;
	int rc;

	buf_printf(&keys, "limit:{%s}:%s", partner, s->name);
	buf_putc(&keys, '\0');
	sum = keys.len;
	buf_printf(&keys, "limit:{%s}:%s:sum", partner, s->name);
	redis_args_init(&args);
	redis_arg(&args, keys.data);
	redis_arg(&args, keys.data + sum);
	tier_args(&args, s);
	for (int k = 0; k < s->n_tiers; k++)
		redis_arg_int(&args, is_log(&s->tiers[k]) && s->tiers[k].units > 1
					     ? used[k] / s->tiers[k].units
					     : used[k]);
	rc = redis_call_script(r, &lua_seed, 2, &args, NULL, deadline_ms, err);
	redis_args_clear(&args);
	buf_clear(&keys);
	return rc;
}
