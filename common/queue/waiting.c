/* How much waits in one lane, for producers that stop at a bound (Q13). */
#include <stdio.h>
#include <string.h>

#include "common/queue/impl.h"

static int count(struct redis *r, const char *command, const char *key, int64_t *n,
		 int64_t deadline_ms, struct err *err)
{
	redisReply *reply = NULL;
	int rc = redis_callv(r, &reply, deadline_ms, err, command, key, NULL);

	if (rc < 0)
		return rc;
	*n += reply_int(reply);
	freeReplyObject(reply);
	return 0;
}

/* Members, and the jobs that share one with others. */
static int ready_count(struct redis *r, const struct queue_keys *k, enum lane lane, int64_t *n,
		       int64_t deadline_ms, struct err *err)
{
	char field[8];
	redisReply *packed = NULL;
	int rc = count(r, "ZCARD", k->ready[lane], n, deadline_ms, err);

	if (rc < 0 || *n == 0)
		return rc;
	snprintf(field, sizeof(field), "%d", (int)lane);
	rc = redis_callv(r, &packed, deadline_ms, err, "HGET", k->packed, field, NULL);
	if (rc < 0)
		return rc;
	*n += reply_int(packed);
	freeReplyObject(packed);
	return 0;
}

/* Raw pushes stand in the list for moments only, and may be of another type by somebody's mistake:
 * what `ready` holds is what counts. */
int queue_waiting(struct redis *r, const char *partner, enum lane lane, int64_t *out,
		  int64_t deadline_ms, struct err *err)
{
	struct queue_keys k;
	int64_t n = 0;
	int rc;

	queue_keys_init(&k, partner);
	rc = ready_count(r, &k, lane, &n, deadline_ms, err);
	if (rc == 0 && !strcmp(partner, LONGSHORE_PARTNER))
		rc = count(r, "ZCARD", k.delayed, &n, deadline_ms, err);
	if (rc == 0)
		*out = n;
	return rc;
}
