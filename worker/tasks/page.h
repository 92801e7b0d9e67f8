/* The rows that a page came to, while it is stored (page.c) and what hangs on them is queued (children.c). */
#ifndef WORKER_TASKS_PAGE_H
#define WORKER_TASKS_PAGE_H

#include "worker/tasks/import.h"

struct rows {
	const struct manifest_collection *c;
	struct row *v;
	const cJSON **items;
	enum row_outcome *outcomes;
	int n, cap;
	struct rows *gone; /* those that say they are deleted; NULL in that one */
	const char *
		*seen; /* ids of items that were there and are no row of these: set aside, stale */
	int n_seen;
	int unnamed;        /* items of which nobody can tell which row they are */
	const char **heirs; /* of gone ones: what they live on in, since just now */
	int n_heirs;
};

/* The partner's own id of a parent, without our prefix. */
static inline const char *rows_partner_id(const struct rows *parents, int i)
{
	return parents->v[i].external_id + strlen(parents->c->id_prefix);
}

/* Waits.  Queues the jobs that read `c` of those parents of which it is due. */
int children_queue(struct import *im, const struct manifest_collection *c,
		   const struct rows *parents) __attribute__((warn_unused_result));

#endif
