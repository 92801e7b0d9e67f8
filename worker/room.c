#include "worker/room.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/id.h"
#include "common/base/mem.h"
#include "common/io/loop.h"

#define LOOK_MS 1000
#define CALL_MS 10000
#define SOME_MS 1000
#define NONE_MS 4000
#define KNOWN_MAX 1024 /* forgotten all at once when there are more: each costs one look */

/* One a lane that something was queued into; partners are those of the integrations, so they are few. */
struct known {
	char partner[44];
	enum lane lane;
	int64_t room, at_ms;
};
static struct known *v;
static int n;

static struct known *known_of(const char *partner, enum lane lane)
{
	for (int i = 0; i < n; i++)
		if (v[i].lane == lane && !strcmp(v[i].partner, partner))
			return &v[i];
	if (n == KNOWN_MAX)
		n = 0;
	v = mem_realloc(v, (size_t)(n + 1) * sizeof(*v));
	v[n] = (struct known){ .lane = lane };
	snprintf(v[n].partner, sizeof(v[n].partner), "%s", partner);
	return &v[n++];
}

int room_in(struct attempt *a, const char *partner, enum lane lane, int64_t *room)
{
	struct known *k = known_of(partner, lane);
	int64_t waiting = 0, asked_ms = loop_now_ms();
	int rc;

	if (!k->at_ms || asked_ms - k->at_ms >= LOOK_MS) {
		rc = queue_waiting(a->worker->redis, partner, lane, &waiting, asked_ms + CALL_MS,
				   &a->err);
		if (rc < 0)
			return rc;
		k = known_of(partner, lane); /* the array may have moved meanwhile */
		/* Of several that asked at once the first answer counts: what was taken since is off it. */
		if (k->at_ms < asked_ms) {
			k->room = a->worker->lane_bound - waiting;
			k->at_ms = loop_now_ms();
		}
	}
	*room = k->room;
	return 0;
}

void room_take(const char *partner, enum lane lane, int64_t taken)
{
	known_of(partner, lane)->room -= taken;
}

int64_t room_pause_ms(bool some)
{
	int64_t ms = some ? SOME_MS : NONE_MS;

	return ms + random_below((unsigned)(2 * ms));
}
