/* Is what Redis holds what common/README.md says it is?  For `longshore doctor`. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/queue/impl.h"
#include "common/queue/look.h"

#define STRANDED_SLICE 200

static int recount(struct queue *q, bool repair, struct queue_check *out, struct err *err)
{
	struct redis_args a;
	redisReply *reply = NULL;

	redis_args_init(&a);
	redis_arg(&a, q->keys.flight);
	redis_arg(&a, q->keys.busy);
	redis_arg(&a, repair ? "1" : "0");
	int rc = redis_call_script(q->r, &lua_recount, 2, &a, &reply, loop_now_ms() + LOOK_STEP_MS,
				   err);
	redis_args_clear(&a);
	if (rc < 0)
		return rc;
	if (reply_is(reply, REDIS_REPLY_ARRAY) && reply->elements == 3) {
		out->miscounted = reply_int(reply->element[0]);
		out->in_flight = reply_int(reply->element[1]);
		out->odd_leases = reply_int(reply->element[2]);
	}
	freeReplyObject(reply);
	return 0;
}

/* One slice of one lane; *after is where the next begins, "" at the end. */
static int stranded_slice(struct queue *q, int lane, bool repair, char after[24], int64_t *n,
			  struct err *err)
{
	struct redis_args a;
	redisReply *reply = NULL;

	redis_args_init(&a);
	redis_arg(&a, q->keys.control);
	redis_arg(&a, q->keys.busy);
	redis_arg(&a, q->keys.ready[lane]);
	redis_arg(&a, q->keys.ring[lane]);
	redis_arg(&a, q->keys.breakers);
	redis_arg(&a, after);
	redis_arg_int(&a, STRANDED_SLICE);
	redis_arg(&a, repair ? "1" : "0");
	int rc = redis_call_script(q->r, &lua_stranded, 5, &a, &reply, loop_now_ms() + LOOK_STEP_MS,
				   err);
	redis_args_clear(&a);
	if (rc < 0)
		return rc;
	after[0] = '\0';
	if (reply_is(reply, REDIS_REPLY_ARRAY) && reply->elements == 2) {
		*n += reply_int(reply->element[0]);
		snprintf(after, 24, "%s", reply->element[1]->str);
	}
	freeReplyObject(reply);
	return 0;
}

/* Without control nobody is below a cap: nothing is said of rings then. */
static int stranded(struct queue *q, bool repair, struct queue_check *out, struct err *err)
{
	int rc = 0;

	for (int lane = LANE_HIGH; lane <= LANE_LOW && rc == 0; lane++) {
		char after[24] = "-1";

		while (rc == 0 && after[0])
			rc = stranded_slice(q, lane, repair, after, &out->stranded, err);
	}
	if (repair && out->stranded)
		queue_wrote(q->partner);
	return rc;
}

int queue_check(struct queue *q, bool repair, struct queue_check *out, struct err *err)
{
	struct queue_check c = { 0 };
	int rc = recount(q, repair, &c, err);

	if (rc == 0)
		rc = stranded(q, repair, &c, err);
	if (rc == 0)
		*out = c;
	return rc;
}

/* ---- names ---- */

/* What may stand before {p}, and whether more may follow.  A new kind of key goes here and into common/README.md. */
static const struct known {
	const char *name;
	bool more;
} known[] = {
	{ "queue", true },  { "ready", true },   { "ring", true },      { "delayed", false },
	{ "dead", false },  { "flight", false }, { "busy", false },     { "control", false },
	{ "seq", false },   { "fence", false },  { "outbox", false },   { "limit", true },
	{ "seen", true },   { "worker", true },  { "workers", false },  { "role", true },
	{ "token", true },  { "cred", true },    { "tokenlock", true }, { "tokenfail", true },
	{ "grant", true },  { "mints", true },   { "breaker", true },   { "cache", true },
	{ "unique", true }, { "result", true },  { "idem", true },      { "run", true },
	{ "ended", false }, { "packed", false }, { "oauth", true },     { "turn", true },
	{ "beat", false },
};

static const struct known *known_find(const char *key, size_t n)
{
	for (size_t i = 0; i < sizeof(known) / sizeof(*known); i++) {
		if (strlen(known[i].name) == n && memcmp(known[i].name, key, n) == 0)
			return &known[i];
	}
	return NULL;
}

static bool is_lane(const char *rest, bool internal)
{
	return (!internal && !*rest) || strcmp(rest, ":high") == 0 || strcmp(rest, ":low") == 0 ||
	       (internal && strcmp(rest, ":normal") == 0);
}

/* NULL: as it should be, or another program's. */
static const char *judge(const char *key, known_partner_fn is_partner, void *arg)
{
	size_t n = strcspn(key, ":");
	const struct known *k = known_find(key, n);
	const char *tag = strstr(key, ":{"), *end = tag ? strchr(tag, '}') : NULL;
	char partner[PARTNER_MAX + 1];

	if (!end || end - tag - 2 > PARTNER_MAX)
		return k && n == 5 && memcmp(key, "queue", 5) == 0 && key[n]
			       ? "a list that nobody serves: a queue's name has its partner in braces"
			       : NULL;
	snprintf(partner, sizeof(partner), "%.*s", (int)(end - tag - 2), tag + 2);
	if (!is_partner(partner, arg))
		return k && tag == key + n
			       ? "there is no driver for this partner here: nobody serves it"
			       : NULL;
	if (!k || tag != key + n)
		return "not a name that Longshore knows";
	if (strcmp(k->name, "queue") == 0 && !is_lane(end + 1, false))
		return "no such lane: nobody serves it";
	if ((strcmp(k->name, "ready") == 0 || strcmp(k->name, "ring") == 0) &&
	    !is_lane(end + 1, true))
		return "no such lane";
	return !k->more && end[1] ? "not a name that Longshore knows" : NULL;
}

int keys_check(struct redis *r, known_partner_fn is_partner, odd_key_fn fn, void *arg,
	       int64_t *looked, struct err *err)
{
	char cursor[32] = "0";
	int64_t n = 0;

	do {
		redisReply *reply = NULL;
		int rc = redis_callv(r, &reply, loop_now_ms() + LOOK_STEP_MS, err, "SCAN", cursor,
				     "COUNT", "1000", NULL);

		if (rc < 0)
			return rc;
		snprintf(cursor, sizeof(cursor), "%s", reply->element[0]->str);
		for (size_t i = 0; i < reply->element[1]->elements; i++, n++) {
			const char *key = reply->element[1]->element[i]->str;
			const char *what = judge(key, is_partner, arg);

			if (what)
				fn(key, what, arg);
		}
		freeReplyObject(reply);
	} while (strcmp(cursor, "0") != 0);
	*looked = n;
	return 0;
}
