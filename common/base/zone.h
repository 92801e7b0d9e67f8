/* Time zones by name ("Europe/Berlin"), read from the system's database (TZif files of tzdata), and fixed ones ("UTC",
 * "+02:00").  Nothing of the process is changed for it (no TZ, no tzset), so that any coroutine may ask for any zone.
 * A zone is read once and stays: what is borrowed from here is good for as long as the process.  Nothing here waits,
 * but for the disk at the first use of a name. */
#ifndef COMMON_BASE_ZONE_H
#define COMMON_BASE_ZONE_H

#include <stddef.h>
#include <stdint.h>

struct zone;

/* NULL: no such zone here (or no tzdata). */
const struct zone *zone_get(const char *name);
const char *zone_name(const struct zone *z); /* as it was asked for */
/* Seconds to add to UTC for the time of day there.  z NULL: UTC. */
int64_t zone_offset_s(const struct zone *z, int64_t utc_s);
/* The instant of a time of day there, as seconds that count as if it were UTC.  One that comes twice (clocks go back) is
 * the earlier; one that never comes (clocks go forward) is read with the offset before the change. */
int64_t zone_to_utc_s(const struct zone *z, int64_t local_s);

/* What zone_get reads files with.  NULL: not TZif; freed with zone_free. */
struct zone *zone_parse(const char *name, const uint8_t *data, size_t len);
void zone_free(struct zone *z);

#endif
