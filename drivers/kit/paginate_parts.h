/* Inside of paginate: what paginate_*.c share. */
#ifndef DRIVERS_KIT_PAGINATE_PARTS_H
#define DRIVERS_KIT_PAGINATE_PARTS_H

#include "drivers/kit/paginate.h"

void page_init(struct page *p, int number);

/* ---- paginate_query.c: templates filled in, once a scan ---- */
struct page_query {
	struct buf path;
	struct manifest_pair *v; /* names borrowed from the manifest, values owned */
	int n;
};
void page_query_clear(struct page_query *q);
/* extra: room left for the paging's own parameters. -EINVAL. */
int page_query_init(struct page_query *q, struct caller *c, const struct pager_options *o,
		    int extra, struct err *err) __attribute__((warn_unused_result));
int item_path(struct caller *c, const struct manifest_collection *coll, const char *id,
	      struct buf *out, struct err *err) __attribute__((warn_unused_result));
/* A manifest's time format: iso8601 iso8601_ms epoch epoch_ms, or strftime. Appends. */
void format_time(const char *format, int64_t us, struct buf *out);

/* ---- paginate_hook.c ---- */
/* out is what was found, and becomes what the driver's C says.  -EBADMSG. */
int next_page_asked(const struct driver_hooks *h, const struct hook_page *in, struct buf *out,
		    struct err *err) __attribute__((warn_unused_result));

/* ---- paginate_records.c: what is in an answer ---- */
/* The page's array is filled. -EBADMSG: the answer is not as the manifest says. */
int page_records(struct page *p, const struct manifest_collection *coll, struct err *err)
	__attribute__((warn_unused_result));
/* A path into the body, or header:NAME. false: absent. */
bool answer_text(const struct call_result *r, const char *path, struct buf *out);
int64_t answer_int(const struct call_result *r, const char *path, int64_t fallback);
/* Of the records' ids, or of the whole body where they have none. */
uint64_t page_hash(const struct page *p, const struct manifest_collection *coll);

/* A set of hashes: the pages and cursors that were seen. */
struct seen {
	uint64_t *v;
	size_t cap, n;
};
void seen_clear(struct seen *s);
bool seen_add(struct seen *s, uint64_t hash); /* false: it was there */

#endif
