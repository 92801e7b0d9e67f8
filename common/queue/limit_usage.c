/* Looking at limits, and changing them by hand.  For people: nothing here is asked for a call. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/mem.h"
#include "common/queue/limit_impl.h"

#define HEAD 8
#define EACH 10

static void keys_args(struct redis_args *args, char *keys[5], const char *partner, const char *name)
{
	static const char *const suffix[] = { "", ":flight", ":hold", ":sum", ":set" };

	redis_args_init(args);
	for (int i = 0; i < 5; i++) {
		keys[i] = mem_printf("limit:{%s}:%s%s", partner, name, suffix[i]);
		redis_arg(args, keys[i]);
	}
}

static void usage_read(const redisReply *r, const struct limit_scope *s, struct limit_usage *out)
{
	*out = (struct limit_usage){ .now_us = reply_int(r->element[0]),
				     .hold_ms = reply_int(r->element[1]),
				     .in_flight = reply_int(r->element[3]),
				     .pace_us = reply_int(r->element[4]),
				     .refusals = reply_int(r->element[5]),
				     .refused_ms = reply_int(r->element[6]) };
	snprintf(out->hold_why, sizeof(out->hold_why), "%s", r->element[2]->str);
	snprintf(out->refused_why, sizeof(out->refused_why), "%s", r->element[7]->str);
	for (int k = 0; k < s->n_tiers; k++) {
		redisReply *const *e = r->element + HEAD + EACH * k;

		out->tiers[k].limit = reply_int(e[0]);
		out->tiers[k].used = reply_int(e[1]);
		out->tiers[k].wait_us = reply_int(e[2]);
		out->tiers[k].told_left = reply_int(e[3]);
		out->tiers[k].told_until_us = reply_int(e[4]);
		out->tiers[k].by_hand = reply_int(e[5]);
		out->tiers[k].stated = reply_int(e[6]);
		out->tiers[k].stated_ms = reply_int(e[7]);
		out->tiers[k].met = reply_int(e[8]);
		out->tiers[k].met_ms = reply_int(e[9]);
	}
}

int limit_usage(struct redis *r, const char *partner, const struct limit_scope *s,
		struct limit_usage *out, int64_t deadline_ms, struct err *err)
{
	struct redis_args args;
	redisReply *reply = NULL;
	char *keys[5];
	int rc;

	keys_args(&args, keys, partner, s->name);
	tier_args(&args, s);
	rc = redis_call_script(r, &lua_usage, 5, &args, &reply, deadline_ms, err);
	redis_args_clear(&args);
	for (int i = 0; i < 5; i++)
		free(keys[i]);
	if (rc < 0)
		return rc;
	if (!reply_is(reply, REDIS_REPLY_ARRAY) ||
	    reply->elements != (size_t)(HEAD + EACH * s->n_tiers))
		rc = err_set(err, -EPROTO, ERR_INTERNAL, "usage", "an answer of no known form");
	else
		usage_read(reply, s, out);
	freeReplyObject(reply);
	return rc;
}

void limiter_waiting(const struct limiter *l, limit_waiting_fn fn, void *arg)
{
	for (int i = 0; i < LIMIT_BUCKETS; i++)
		for (const struct limit_agent *a = l->buckets[i]; a; a = a->next)
			if (a->n_waiting > 0 && a->n_scopes > 0)
				fn(a->partner, a->scopes[a->n_scopes - 1].name, a->n_waiting, arg);
}
