/* When an integration is imported by the clock: what its settings say, and where they are silent what its partner's
 * manifest can do.  Starts are slots: of an interval the whole numbers of periods since 1970, of a cron-like schedule its times,
 * both moved by a part of the jitter that is a hash of the integration's id.  So every process knows the same slots without asking
 * anybody, and starts are spread evenly.  Time is passed in.  Nothing here waits. */
#ifndef DRIVERS_KIT_PLAN_H
#define DRIVERS_KIT_PLAN_H

#include <stdbool.h>
#include <stdint.h>

#include "common/base/cron.h"
#include "common/base/err.h"
#include "common/base/json.h"
#include "drivers/kit/manifest.h"

enum strategy {
	STRATEGY_NONE, /* nothing by the clock */
	STRATEGY_WEBHOOK,
	STRATEGY_INCREMENTAL,
	STRATEGY_FULL,
	STRATEGY_DAILY, /* full, once a day */
};
const char *strategy_name(enum strategy s);

/* What becomes of slots that nobody could start in time. */
enum catch_up { CATCH_UP_ONE, CATCH_UP_SKIP, CATCH_UP_ALL };

#define PLAN_MISSED_AFTER_MS \
	15000 /* later than this a slot was missed: another leads within 10 s */

#define PLAN_TASKS_MAX 2
/* What imports all that this partner lists by itself; how many tasks: 0, it lists nothing. */
int plan_tasks(const struct manifest *m, const char *out[PLAN_TASKS_MAX]);

struct plan {
	enum strategy strategy;
	char why[512];
	const char *tasks[PLAN_TASKS_MAX]; /* what a start queues */
	int n_tasks;
	bool always_full;
	int64_t full_every_ms; /* else: the longest time between two that are full; 0: none needs to be */
	bool is_cron;
	struct cron cron;
	const struct zone *zone; /* of cron; NULL: UTC */
	int64_t every_ms;        /* 0: is_cron */
	int64_t jitter_ms;
	enum catch_up catch_up;
	char every[CRON_MAX + 1]; /* as people write it */
};

/* every_ms: of those that have no `every` of their own, in the place of what their strategy has; 0: none.
 * -EINVAL: a setting that is wrong by itself, or of which this partner is not capable; err says which and what is right. */
int plan_make(const struct manifest *m, const cJSON *settings, int64_t every_ms, struct plan *out,
	      struct err *err) __attribute__((warn_unused_result));
/* Webhooks that nobody has registered do not come: until then what would be daily is hourly. */
void plan_without_webhooks(struct plan *p);
/* Whether `name` is a setting of schedules; the i-th of them, NULL at the end. */
bool plan_has_setting(const char *name);
const char *plan_setting(int i);
/* False: the partner hands out queues alone, of which nothing can be read whole. */
bool plan_can_be_full(const struct plan *p);
/* One line that is equal for equal plans: "incremental every 15m, jitter 15m, full every 1d, catch up one". */
void plan_print(const struct plan *p, struct buf *out);
/* "1d12h" */
void plan_print_ms(int64_t ms, struct buf *out);

/* The first slot after after_ms. */
int64_t plan_next_ms(const struct plan *p, int64_t integration, int64_t after_ms);
/* The start after the one at slot_ms, when the last full one was at full_ms (0: none yet): the next slot, or where that is too far
 * for deletions to be seen an extra one. */
int64_t plan_after_ms(const struct plan *p, int64_t integration, int64_t slot_ms, int64_t full_ms);
/* Whether the start at slot_ms is a full one. */
bool plan_is_full(const struct plan *p, int64_t integration, int64_t slot_ms, int64_t full_ms);

#define PLAN_STARTS_MAX 20
struct plan_due {
	struct {
		int64_t slot_ms;
		bool full;
	} v[PLAN_STARTS_MAX]; /* to be started now, in this order */
	int n;
	int64_t missed; /* slots that are not started: those that a later one stands for, and those let go */
	int64_t next_ms; /* the earliest start that is still to come, perhaps due as well */
	bool next_full;
	int64_t full_ms; /* as it is after these */
};
/* slot_ms <= now_ms: the earliest one that was not started. */
void plan_due(const struct plan *p, int64_t integration, int64_t slot_ms, int64_t full_ms,
	      int64_t now_ms, struct plan_due *out);

#endif
