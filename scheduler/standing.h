/* Memory of the fleet's processes, as their beats tell it (Q9), apart from Redis and Postgres. */
#ifndef SCHEDULER_STANDING_H
#define SCHEDULER_STANDING_H

#include <stdbool.h>
#include <stdint.h>

#define STANDING_HOSTS_MAX 256 /* those with a large process; more of them say no more */
#define STANDING_ALERT_BYTES (1024LL * 1024 * 1024)
#define STANDING_RESOLVE_BYTES (STANDING_ALERT_BYTES * 9 / 10) /* so that it does not come and go */

struct standing_host {
	char host[64];
	int64_t bytes, pid; /* of its largest process at this look, 0: none was seen */
	bool open;          /* its alert */
};
struct standing {
	struct standing_host v[STANDING_HOSTS_MAX];
	int n;
};

void standing_begin(struct standing *s);
/* What one process says of itself: {"host": …, "pid": …, "rss_bytes": …}. */
void standing_see(struct standing *s, const char *info_json);
/* After a look: true: the alert is to be raised (again); false and open: resolved. */
bool standing_is_over(const struct standing_host *h);

#endif
