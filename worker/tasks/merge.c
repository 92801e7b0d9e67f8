#include "worker/tasks/merge.h"

#include <stdlib.h>

#include "common/base/log.h"
#include "common/base/mem.h"
#include "common/store/id_link.h"

#define LINKS_AT_ONCE 500

struct links {
	struct import *im;
	const struct merge *m;
	struct merged *out;
	int n;
	struct id_link v[LINKS_AT_ONCE];
	bool missing[LINKS_AT_ONCE];
};

static int put(const struct links *l, const struct id_link *link)
{
	struct attempt *a = l->im->a;
	struct id_link_result r = { 0 };
	int rc = id_link_put(a->worker->pg, link, &r, &a->err);

	if (rc < 0)
		return rc;
	log_event(LOG_INFO, link->split ? "item_split" : "item_merged",
		  LS("collection", l->m->c->name), LS("item", link->old_id),
		  LS("into", link->new_id), LI("children", r.children));
	return 0;
}

/* A list may name what was merged long ago with every scan: only what is new is written. */
static int flush(struct links *l)
{
	struct attempt *a = l->im->a;
	int rc = l->n ? id_links_missing(a->worker->pg, l->v, l->n, l->missing, &a->err) : 0;

	for (int i = 0; rc == 0 && i < l->n; i++) {
		if (l->missing[i])
			rc = put(l, &l->v[i]);
		/* An attempt that died may have written the link and asked for nothing. */
		if (!l->v[i].split && (l->missing[i] || l->im->redo))
			l->out->heirs[l->out->n_heirs++] = l->v[i].new_id;
	}
	l->n = 0;
	return rc;
}

static int add(struct links *l, const struct row *row, const char *const *ids, int n)
{
	int rc = l->n + n > LINKS_AT_ONCE ? flush(l) : 0;

	for (int i = 0; rc == 0 && i < n; i++)
		l->v[l->n++] =
			(struct id_link){ .integration_id = row->integration_id,
					  .table = l->m->c->table,
					  .old_id = row->external_id,
					  .new_id = ids[i],
					  .split = n > 1,
					  .observed_us = l->m->observed_us,
					  .origin = { import_source(l->im), l->im->run.id } };
	return rc;
}

/* Not by news older than the row: it has come back since, maybe. */
static bool is_so(enum row_outcome o)
{
	return o == ROW_DELETED || o == ROW_UNCHANGED;
}

int merge_links(struct import *im, const struct merge *m, struct merged *out)
{
	const struct map_context x = { .manifest = im->a->driver->manifest,
				       .collection = m->c,
				       .integration_id = im->a->integration->id,
				       .observed_us = m->observed_us,
				       .arena = m->arena,
				       .hooks = im->a->driver->hooks };
	struct links *l = mem_new(struct links);
	int rc = 0;

	l->im = im;
	l->m = m;
	l->out = out;
	for (int i = 0; rc == 0 && i < m->n; i++) {
		const char **ids;
		int n = map_merged(&x, m->items[i], &ids);

		out->merged[i] = n > 0;
		if (n && is_so(m->outcomes[i]))
			rc = add(l, &m->v[i], ids, n);
	}
	if (rc == 0)
		rc = flush(l);
	free(l);
	return rc;
}
