/* Ends pauses whose time is over, once a second: in Postgres, then in the control hashes that claims look at (who dies in
 * between leaves that to the next mirroring). */
#include "common/base/log.h"
#include "common/base/mem.h"
#include "common/io/loop.h"
#include "common/store/schedule.h"
#include "drivers/kit/control.h"
#include "scheduler/scheduler.h"

#include <stdlib.h>
#include <string.h>

#define LOOK_MS 1000
#define STEP_MS 5000

struct lifted {
	char **partners; /* each once */
	int n;
};

static void see(const char *partner, int64_t integration, void *arg)
{
	struct lifted *l = arg;

	log_event(LOG_INFO, "pause_over", LS("of", partner ? partner : "scheduling"),
		  LI("integration", integration));
	if (!partner)
		return;
	for (int i = 0; i < l->n; i++)
		if (strcmp(l->partners[i], partner) == 0)
			return;
	l->partners = mem_realloc(l->partners, sizeof(*l->partners) * (size_t)(l->n + 1));
	l->partners[l->n++] = mem_strdup(partner);
}

static void look(struct scheduler *s)
{
	struct lifted l = { 0 };
	struct err err = { 0 };
	int rc = pauses_lift(s->pg, see, &l, &err);

	for (int i = 0; i < l.n; i++) {
		const struct driver *d = driver_find(s->drivers, l.partners[i]);

		if (rc == 0 && d)
			rc = control_mirror(s->redis, s->pg, d, l.partners[i], false,
					    loop_now_ms() + STEP_MS, &err);
		free(l.partners[i]);
	}
	free(l.partners);
	if (rc < 0)
		log_event(LOG_WARN, "pauses_not_ended", LS("reason", err.text));
}

static void run(void *arg)
{
	struct scheduler *s = arg;

	do {
		if (leader_is_me(s) && redis_is_up(s->redis) && pg_is_up(s->pg))
			look(s);
	} while (scheduler_sleep(s, LOOK_MS) == 0);
}

int pauses_start(struct scheduler *s)
{
	return scheduler_spawn(s, "pauses", run, s);
}
