/* A scan of one collection into its table: pages stream, each page's rows are stored before the checkpoint moves past
 * it, and children of a page are queued before that too, so a worker that dies anywhere costs one repeated page. */
#ifndef WORKER_TASKS_IMPORT_H
#define WORKER_TASKS_IMPORT_H

#include "drivers/kit/map.h"
#include "drivers/kit/paginate.h"
#include "worker/sink.h"
#include "worker/tasks/tasks.h"

struct import {
	struct attempt *a;
	const struct manifest_collection *collection;
	const char *mode;
	struct run
		run; /* counts of the whole job; written at its end, and once a second meanwhile */
	int64_t run_written_ms;
	int64_t newest_us; /* newest partner_updated_at stored by this scan */
	bool yielded;      /* the soft limit: the job goes on in another attempt */
	bool incomplete;
	bool resumed; /* it began in an earlier attempt */
};

/* page.c: stores the items of one page (records, or one fetched item), with what is embedded in them, and queues what
 * hangs on them.  Waits. parent_id NULL: a top-level collection. */
int import_page(struct import *im, const struct page *p, const char *parent_id)
	__attribute__((warn_unused_result));

#endif
