/* Which queues live workers serve. */
#include <string.h>

#include "common/base/json.h"
#include "scheduler/scheduler.h"

struct look {
	struct scheduler *s;
	struct serving *out;
};

/* A worker's info says which partners it serves: {"partners": ["guesty", …]}. */
static void see_worker(const char *epoch, int64_t last_beat_ms, const char *info_json, void *arg)
{
	struct look *l = arg;
	cJSON *info = NULL;
	const cJSON *p;

	if (!info_json ||
	    json_parse(info_json, strlen(info_json), FLEET_INFO_MAX_BYTES, &info, NULL) < 0)
		return;
	l->out->alive++;
	if (!json_path(info, "ends_after"))
		cJSON_ArrayForEach (p, json_path(info, "partners"))
			for (int i = 0; i < l->s->n_queues; i++)
				if (cJSON_IsString(p) &&
				    !strcmp(p->valuestring, queue_partner(l->s->queues[i])))
					l->out->by[i] = true;
	cJSON_Delete(info);
}

int serving_look(struct scheduler *s, struct serving *out, int64_t deadline_ms)
{
	struct look l = { s, out };

	memset(out, 0, sizeof(*out));
	return fleet_each(s->redis, see_worker, &l, deadline_ms, NULL);
}
