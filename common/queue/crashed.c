/* What a supervisor needs to settle a job on behalf of a process that died. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/mem.h"
#include "common/queue/impl.h"

/* EPOCH:NUMBER:LANE:INTEGRATION says where the job came from. */
static int place_parse(const char *id, struct lease *l)
{
	const char *colon = strchr(id, ':');
	long long number, integration;
	int lane;

	if (!colon || strlen(id) >= sizeof(l->id) ||
	    sscanf(colon, ":%lld:%d:%lld", &number, &lane, &integration) != 3 || lane < LANE_HIGH ||
	    lane > LANE_LOW)
		return -EINVAL;
	snprintf(l->id, sizeof(l->id), "%s", id);
	l->lane = (enum lane)lane;
	l->integration = integration;
	return 0;
}

static int member_take(struct lease *l, const redisReply *member)
{
	int64_t routed;

	l->member = mem_strndup(member->str, member->len);
	return job_member_parse(l->member, member->len, &l->header, &routed, &l->payload,
				&l->payload_len);
}

int queue_lease_find(struct queue *q, const char *id, struct lease *out, int64_t deadline_ms,
		     struct err *err)
{
	struct lease l = { .queue = q };
	redisReply *member = NULL;
	int rc = place_parse(id, &l);

	if (rc < 0)
		return err_set(err, rc, ERR_INTERNAL, "lease", "no lease: %s", id);
	rc = redis_callv(q->r, &member, deadline_ms, err, "HGET", q->keys.flight, id, NULL);
	if (rc < 0)
		return rc;
	if (!reply_is(member, REDIS_REPLY_STRING))
		rc = err_set(err, -ENOENT, ERR_INTERNAL, "lease", "not in flight: %s", id);
	else if (member_take(&l, member) < 0)
		rc = err_set(err, -EBADMSG, ERR_INTERNAL, "lease", "a malformed job: %s", id);
	freeReplyObject(member);
	if (rc < 0)
		lease_clear(&l);
	else
		*out = l;
	return rc;
}
