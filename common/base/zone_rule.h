/* The rule behind a zone's last known change, as TZif files end in it: "CET-1CEST,M3.5.0,M10.5.0/3". */
#ifndef COMMON_BASE_ZONE_RULE_H
#define COMMON_BASE_ZONE_RULE_H

#include <stdbool.h>
#include <stdint.h>

struct zone_day {
	char kind;            /* M: month, week, day; J: day of the year 1 to 365; 0: 0 to 365 */
	int month, week, day; /* day: of the week, or of the year */
	int32_t at_s;         /* after midnight there */
};
struct zone_rule {
	bool there, summer; /* summer: clocks change */
	int32_t winter_s, summer_s;
	struct zone_day begin, end;
};

bool zone_rule_parse(const char *text, struct zone_rule *out);
int32_t zone_rule_offset_s(const struct zone_rule *r, int64_t utc_s);

#endif
