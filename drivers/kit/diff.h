/* How two JSON values differ, with paths.  Rows, which have an external_id, are told by it, not by where they stand.  Nothing here
 * waits. */
#ifndef DRIVERS_KIT_DIFF_H
#define DRIVERS_KIT_DIFF_H

#include "common/base/json.h"

#define DIFF_MAX 50 /* differences told; beyond them nobody reads on */

/* Appends {"path", "text", "expected", "found"} for each difference. */
void json_diff(const char *path, const cJSON *expected, const cJSON *found, cJSON *problems);
/* The first difference as a line for people; "" where there is none.  Appends. */
void json_diff_line(const cJSON *expected, const cJSON *found, struct buf *out);

#endif
