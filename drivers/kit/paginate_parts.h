/* Inside of paginate: what paginate_*.c share. */
#ifndef DRIVERS_KIT_PAGINATE_PARTS_H
#define DRIVERS_KIT_PAGINATE_PARTS_H

#include "drivers/kit/body.h"
#include "drivers/kit/paginate.h"

#define PAGER_OWN_PARAMS 2 /* limit, and offset, page or cursor */
#define PAGER_NUMBER_MAX 24

/* A set of hashes: the pages and cursors that were seen. */
struct seen {
	uint64_t *v;
	size_t cap, n;
};
void seen_clear(struct seen *s);
bool seen_add(struct seen *s, uint64_t hash); /* false: it was there */

/* ---- paginate_query.c: templates filled in, once a scan ---- */
struct page_query {
	struct buf path, tail;   /* tail: what stands behind {cursor}, where that is in the path */
	struct manifest_pair *v; /* names borrowed from the manifest, values owned */
	int n;
	cJSON *body; /* of a "post", without the paging's own members; NULL: a "get" */
};
void page_query_clear(struct page_query *q);
/* extra: room left for the paging's own parameters. -EINVAL. */
int page_query_init(struct page_query *q, struct caller *c, const struct pager_options *o,
		    int extra, struct err *err) __attribute__((warn_unused_result));
/* One item by its id, and many by theirs (joined): path and query alone.  -EINVAL, and then there is nothing to clear. */
int item_query_init(struct page_query *q, struct caller *c, const struct manifest_collection *coll,
		    const char *id, struct err *err) __attribute__((warn_unused_result));
int batch_query_init(struct page_query *q, struct caller *c, const struct manifest_batch *b,
		     const char *ids, struct err *err) __attribute__((warn_unused_result));
/* A manifest's time format: iso8601 iso8601_ms epoch epoch_ms, or strftime. Appends. */
void format_time(const char *format, int64_t us, struct buf *out);

struct pager {
	struct caller *c;
	const struct manifest_collection *coll;
	const struct manifest_paging *p;
	char *parent_id; /* for messages; NULL if none */
	struct page_query query;
	int64_t asked; /* items, by the pages so far */
	int64_t next;  /* offset or page number */
	char *cursor;  /* what leads to the next page: cursor, key, address; NULL: the first page */
	int64_t cursor_at_ms; /* when it was given, Redis' clock */
	int number;           /* pages so far */
	int size;             /* of a page, as is asked for */
	int largest;  /* page so far: what "short" means where the partner decides the size */
	int back;     /* records of the next page that were on the last one (rescan_overlap) */
	int restarts; /* since a cursor had expired */
	int64_t records, total;     /* seen; -1 unknown */
	int64_t since_us, until_us; /* of this window (paginate_window.c); until 0: to now */
	cJSON *parent;              /* kept for the windows that follow */
	bool windowed, moves;       /* windows are asked for; the next page is of the next one */
	bool ended;
	bool guessed, prove; /* its end is a guess; none will be taken for it */
	bool shorter, hole;  /* a page was shorter than one before it; and one followed */
	int filled;          /* pages with records */
	const char *told;    /* the place it was given is not the one it goes on from: why */
	char why_not[160];   /* incomplete: why */
	struct seen pages, cursors;
};

void page_init(struct page *p, int number);
bool pager_has_size(const struct pager *p);
void pager_where(const struct pager *p, struct err *err);
const char *paging_kind_name(enum paging_kind kind);

void pager_to_start(struct pager *p); /* before the first page */

/* ---- paginate_window.c: from `since` to now, in steps ---- */
void pager_window_init(struct pager *p, const struct pager_options *o);
int pager_window_query(struct pager *p, struct err *err) __attribute__((warn_unused_result));
/* After a page, and before the next one. */
void pager_window_end(struct pager *p, struct page *out);
int pager_window_next(struct pager *p, struct err *err) __attribute__((warn_unused_result));
void pager_window_state(const struct pager *p, cJSON *state);
int pager_window_resume(struct pager *p, const cJSON *state, struct err *err)
	__attribute__((warn_unused_result));

/* ---- paginate_state.c: what outlives an attempt ---- */
/* false: it is of another list, and means nothing here. */
bool pager_resume(struct pager *p, const cJSON *state);
/* Smaller pages are more pages: what counts is how many items were asked for. */
bool pager_is_over(const struct pager *p);

/* ---- paginate_request.c: the call of a page ---- */
struct page_request {
	struct call_spec spec;
	struct buf path, body;
	char size[PAGER_NUMBER_MAX], next[PAGER_NUMBER_MAX];
};
/* spec points into the pager and into out. -EINVAL. */
int page_request_init(struct page_request *out, struct pager *p, struct err *err)
	__attribute__((warn_unused_result));
void page_request_clear(struct page_request *q);
/* Sets a member of a body, which takes v; a dot leads into an object.  Something else that stands in the way is replaced. */
void body_set(cJSON *body, const char *name, cJSON *v);

/* ---- paginate_next.c: what an answer says of the next page ---- */
/* The page is counted, and the pager stands behind it.  -EBADMSG: the list goes round, or leads nowhere. */
int pager_take(struct pager *p, struct page *out, struct err *err)
	__attribute__((warn_unused_result));
/* ---- paginate_hook.c ---- */
/* Left empty where there is none: by the manifest's path, or as the driver's C says.  -EBADMSG. */
int next_page_cursor(const struct pager *p, const struct page *page, struct buf *out,
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

#endif
