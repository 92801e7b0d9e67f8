/* Walks a collection page by page; memory does not grow with it (but for 8 bytes a page).  Guards: the same cursor or the same
 * page twice is a data error; short_page counts raw records; a stated total is checked; a scan that ended short is incomplete; max_pages. */
#ifndef DRIVERS_KIT_PAGINATE_H
#define DRIVERS_KIT_PAGINATE_H

#include "drivers/kit/call.h"

struct pager;
struct page {
	struct call_result result; /* owns the JSON the records point into */
	const cJSON **records;
	int n;               /* borrowed from result.json; array owned by the page */
	int number;          /* from 1 */
	int64_t observed_us; /* when its request was sent, Redis' clock */
	int64_t text_bytes;  /* of its JSON: at most so much text is in its rows */
	int64_t total;       /* -1 unknown */
	bool last;
	struct buf
		exchange; /* after -EREMOTEIO and -EBADMSG: what was said, for the dead letter (call_exchange_print) */
};
void page_clear(struct page *p); /* also after a failure */

struct pager_options {
	const struct manifest_collection *collection;
	const char *parent_id; /* each: for {parent.id}; else NULL */
	const cJSON *parent;   /* other {parent.X}: an object of the parent's row, or NULL */
	int64_t since_us;      /* incremental: 0 = full */
	int64_t until_us; /* {until}; 0 = now (the pager itself goes in steps, where the manifest has some) */
	const cJSON *resume; /* state of pager_state, or NULL: from the start */
	int size;            /* items a page; 0 = the manifest's; more than that is not asked for */
};
int pager_new(struct caller *c, const struct pager_options *o, struct pager **out, struct err *err)
	__attribute__((warn_unused_result)); /* -EINVAL */
void pager_free(struct pager *p);
/* Waits.  1: *out holds the next page; 0: the scan has ended (pager_complete tells how); <0 as call(), -EBADMSG data error.  After a
 * failure but -EBADMSG the same page may be asked for again. */
int pager_next(struct pager *p, struct page *out, struct err *err)
	__attribute__((warn_unused_result));
/* How many items a page asks for; 0 where the partner decides. */
int pager_size(const struct pager *p);
/* Asks for smaller pages from here on, half the size or less.  false: they can't be smaller. */
bool pager_shrink(struct pager *p);
/* Asks for pages of at most size, at most the manifest's: where pages are counted, of a size that fits where they stand. */
void pager_resize(struct pager *p, int size);
/* Waits.  Tells the partner that what is on the page is stored, where the kind is ack_queue; call it once it is.  As call(); page->exchange
 * as after pager_next.  Who dies before it gets the same items again. */
int pager_ack(struct pager *p, struct page *page, struct err *err)
	__attribute__((warn_unused_result));
/* The answer that was just refused stands for an empty list.  true: of a window, and pager_next goes on with the next one. */
bool pager_skip_window(struct pager *p);
bool pager_complete(const struct pager *p, const char **why_not); /* after 0 */
/* The scan is complete by a page that came short, and nothing else says that the list ends there. */
bool pager_guessed(const struct pager *p);
/* Then: asks on, until a page is empty (or one comes again, from a partner that knows no pages). */
void pager_go_on(struct pager *p);
/* After a complete scan: that what it did not give is not in the list, as far as that was read so far. */
bool pager_proves(const struct pager *p, const char **why_not);
int64_t pager_records(const struct pager *p); /* that it gave, over all attempts */
int pager_filled(const struct pager *p);      /* pages with some */
/* Says once what happened to the place it was to go on from, or since: NULL: nothing. */
const char *pager_told(const struct pager *p);
cJSON *pager_state(
	const struct pager *p); /* where the next page starts, under 1 KiB; the caller's */
/* One item by its id through `detail`. Waits. *item is the caller's page (page.records[0]). -ENOENT: the partner says 404. */
int fetch_item(struct caller *c, const struct manifest_collection *coll, const char *external_id,
	       struct page *out, struct err *err) __attribute__((warn_unused_result));
/* Up to detail.batch.max items by their ids, in one call. Waits.  *out: those that the partner gave, in its order; as
 * pager_next. */
int fetch_items(struct caller *c, const struct manifest_collection *coll, const char *const *ids,
		int n, struct page *out, struct err *err) __attribute__((warn_unused_result));

#endif
