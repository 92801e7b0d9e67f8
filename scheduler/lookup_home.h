/* Whose account a lookup is asked with: integrations and their drivers, for the HTTP API.  Rows of Postgres, kept for 5 s; where Postgres
 * is away, the last ones. */
#ifndef SCHEDULER_LOOKUP_HOME_H
#define SCHEDULER_LOOKUP_HOME_H

#include "scheduler/scheduler.h"

struct own_driver;
struct lookup_home {
	struct integration row;
	const struct driver *driver; /* the version that it has, with its overrides */
	struct own_driver *own;      /* NULL: it has no overrides */
	char *held;                  /* why nobody may be called now; NULL: one may */
	int64_t read_ms;
	int refs;
};
/* Waits.  id 0: the partner's integration of no company.  *out is borrowed until lookup_home_put, which each success owes.  -ENOENT,
 * -EINVAL with a text for people and err->rule `partner` or `integration_id`; else as pg_exec. */
int lookup_home_get(struct scheduler *s, const struct driver *d, int64_t id,
		    struct lookup_home **out, struct err *err) __attribute__((warn_unused_result));
void lookup_home_put(struct lookup_home *h); /* NULL is fine */
void lookup_home_free_all(void);

#endif
