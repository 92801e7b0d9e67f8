/* Time.  `_ms` is milliseconds.  Monotonic time is for deadlines and durations inside the process;
 * real time (since 1970) is for what others read.  What hosts must agree on (limits, observed_at)
 * comes from Redis' TIME, never from here.  Nothing here waits. */
#ifndef COMMON_BASE_CLOCK_H
#define COMMON_BASE_CLOCK_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

int64_t clock_mono_ms(void);
int64_t clock_mono_us(void);
int64_t clock_real_ms(void);
int64_t clock_real_us(void);

/* Writes 2026-11-21T08:15:30.123Z; returns out. */
#define CLOCK_ISO_MAX 32
char *clock_iso(int64_t real_ms, char out[CLOCK_ISO_MAX]);

/* "250ms" "30s" "15m" "4h" "7d" or a bare number of seconds -> ms.  0 or -EINVAL; *out untouched
 * on failure. */
int clock_parse_duration(const char *s, int64_t *out_ms) __attribute__((warn_unused_result));

/* A partner's date: ISO 8601 with or without zone, fraction, time ("2026-11-21",
 * "2026-11-21T08:15Z", "2026-11-21 08:15:30+02:00"), RFC 7231 HTTP date, or an epoch in s / ms /
 * us by size. No zone means UTC.  `*date_only` (may be NULL) tells that there was no time of day. 
 * 0 or -EINVAL. */
int clock_parse_time(const char *s, int64_t *out_us, bool *date_only)
	__attribute__((warn_unused_result));

#endif
