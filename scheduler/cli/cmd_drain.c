/* drain, before workers are replaced: nothing more is started by the clock, and what is queued is waited for.  What is delayed, paused or
 * behind a breaker is waited for by nobody: it is as safe where it is. */
#include <stdio.h>
#include <string.h>

#include "common/io/co.h"
#include "common/io/loop.h"
#include "common/queue/queue.h"
#include "common/store/schedule.h"
#include "common/store/store.h"
#include "scheduler/cli/cli.h"

#define DRAIN_DEFAULT "300s"
#define DRAIN_MAX_MS (24LL * 3600 * 1000)
#define LOOK_MS 1000
#define PAUSES_MAX 1000
#define QUIET_LOOKS 2 /* what is on its way from one queue to another stands in none for a moment */

static int64_t for_ms;
static const char *reason;

int options_drain(struct config_option *out)
{
	out[0] = (struct config_option){ .name = "for",
					 .value_name = "DURATION",
					 .help = "waits for so long at most",
					 .type = CONFIG_DURATION_MS,
					 .fallback = DRAIN_DEFAULT,
					 .min = 1,
					 .max = DRAIN_MAX_MS,
					 .out = &for_ms };
	out[1] = (struct config_option){ .name = "reason",
					 .value_name = "TEXT",
					 .help = "why, for those who wonder later",
					 .fallback = "drain",
					 .out = &reason };
	return 2;
}

/* One that is paused already stays so as it is: until when, and why. */
static int pause_scheduling(struct cli *c)
{
	struct pause pause = { .reason = reason, .by = cli_myself() };
	cJSON *all = NULL;
	const cJSON *v;
	bool is = false;
	struct err err = { 0 };
	int rc = pauses_list(c->pg, PAUSES_MAX, &all, &err);

	cJSON_ArrayForEach (v, all)
		is = is || (json_str(v, "level") && !strcmp(json_str(v, "level"), "scheduling"));
	cJSON_Delete(all);
	if (rc == 0 && !is)
		rc = scheduling_pause(c->pg, &pause, &err);
	return rc < 0 ? cli_error(c, rc, &err, "drain") : 0;
}

struct left {
	int64_t ready, in_flight, delayed, held;
	char where[200]; /* the partners that have some of the first two */
};

static void add_where(struct left *l, const char *partner)
{
	size_t n = strlen(l->where);

	snprintf(l->where + n, sizeof(l->where) - n, "%s%s", n ? ", " : "", partner);
}

static int add_left(struct cli *c, struct left *l, const char *partner, struct err *err)
{
	struct queue *q = queue_new(c->redis, partner, NULL);
	struct queue_depth d;
	int64_t ready = 0;
	int rc = queue_depth(q, &d, cli_deadline(), err);

	queue_free(q);
	if (rc < 0)
		return rc;
	for (enum lane lane = LANE_HIGH; lane <= LANE_LOW; lane++) {
		ready += d.ready[lane] - d.held_in[lane];
		l->held += d.held_in[lane];
	}
	l->ready += ready;
	l->in_flight += d.in_flight;
	l->delayed += d.delayed;
	if (ready || d.in_flight)
		add_where(l, partner);
	return 0;
}

static int look(struct cli *c, struct left *l, struct err *err)
{
	int rc;

	*l = (struct left){ 0 };
	if (c->n_words)
		return add_left(c, l, c->words[0], err);
	rc = add_left(c, l, LONGSHORE_PARTNER, err);
	for (int i = 0; i < driver_set_count(c->drivers) && rc == 0; i++)
		rc = add_left(c, l, driver_at(c->drivers, i)->manifest->partner, err);
	return rc;
}

static int tell(struct cli *c, const struct left *l, int64_t waited_ms)
{
	bool drained = !l->ready && !l->in_flight;
	cJSON *o;

	if (!drained && !c->json)
		return cli_fail(c, EXIT_FAILED,
				"not drained after %.1f s: %lld jobs could run and %lld do, of %s;"
				" nothing is started by the clock until `longshore resume"
				" --scheduling`",
				(double)waited_ms / 1000, (long long)l->ready,
				(long long)l->in_flight, l->where);
	o = cJSON_CreateObject();
	cJSON_AddBoolToObject(o, "drained", drained);
	json_add_int(o, "ready", l->ready);
	json_add_int(o, "in_flight", l->in_flight);
	json_add_int(o, "delayed", l->delayed);
	json_add_int(o, "held", l->held);
	cJSON_AddNumberToObject(o, "waited_s", (double)waited_ms / 1000);
	out_object(c, o);
	return drained ? EXIT_OK : EXIT_FAILED;
}

static int wait_drained(struct cli *c)
{
	int64_t began = loop_now_ms(), end = began + for_ms, left_ms;
	struct err err = { 0 };
	struct left l;
	int quiet = 0, rc;

	do {
		rc = look(c, &l, &err);
		if (rc < 0)
			return cli_error(c, rc, &err, "drain");
		quiet = l.ready || l.in_flight ? 0 : quiet + 1;
		left_ms = end - loop_now_ms();
	} while (quiet < QUIET_LOOKS && left_ms > 0 &&
		 co_sleep("drain", left_ms < LOOK_MS ? left_ms : LOOK_MS) == 0);
	return tell(c, &l, loop_now_ms() - began);
}

int cmd_drain(struct cli *c)
{
	const struct driver *d = NULL;
	int rc = c->n_words ? cli_driver(c, c->words[0], &d) : cli_drivers(c);

	if (rc == 0)
		rc = cli_redis(c);
	if (rc == 0)
		rc = cli_pg(c);
	if (rc == 0)
		rc = pause_scheduling(c);
	return rc ? rc : wait_drained(c);
}
