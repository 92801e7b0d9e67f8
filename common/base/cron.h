/* Times as crontab has them: five fields (minute, hour, day of the month, month, day of the week), each `*`, a number or
 * name, a range, a list of those, with steps (`*` or a range, then `/15`).  Where both days are restricted either will do, as
 * cron has it.
 *
 * A time of day that never comes (clocks go forward) is taken an hour later; one that comes twice is taken once, the first
 * time; where every hour is named, the hours that pass count, so that neither is left out nor doubled.  Nothing here waits. */
#ifndef COMMON_BASE_CRON_H
#define COMMON_BASE_CRON_H

#include <stdbool.h>
#include <stdint.h>

#include "common/base/zone.h"

#define CRON_MAX 128 /* bytes of text */
#define CRON_WHY_MAX 200

struct cron {
	uint64_t minutes; /* bit n: minute n, and so on */
	uint32_t hours, days, months, weekdays;
	bool any_day, any_weekday; /* the field began with `*` */
};

/* 0, or -EINVAL and why: which field, what stands there, what is expected. */
int cron_parse(const char *text, struct cron *out, char why[CRON_WHY_MAX])
	__attribute__((warn_unused_result));
/* The first time after `after_s` (seconds since 1970, in UTC).  zone NULL: UTC. */
int64_t cron_next_s(const struct cron *c, const struct zone *z, int64_t after_s);

#endif
