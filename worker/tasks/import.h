/* A scan of one collection into its table: pages stream, each page's rows are stored before the
 * checkpoint moves past it, and children of a page are queued before that too, so a worker that
 * dies anywhere costs one repeated page. */
#ifndef WORKER_TASKS_IMPORT_H
#define WORKER_TASKS_IMPORT_H

#include "drivers/kit/map.h"
#include "drivers/kit/paginate.h"
#include "worker/sink.h"
#include "worker/tasks/tasks.h"

/* Where the scan of a collection stands; what of it outlives the attempt is its checkpoint. */
struct place {
	int64_t since_us;  /* what complete scans cover: an incremental one asks from here */
	int64_t asked_us;  /* since when this scan asks; 0 = everything */
	int64_t began_us;  /* when its first page was asked for */
	int64_t newest_us; /* newest partner_updated_at that it stored */
	int looks;         /* full readings of the list before this one (sweep.h) */
	int64_t unnamed;   /* items of which nobody could tell which row they are */
	cJSON *scan;       /* the next page, as the pager says; NULL: from the start */
	bool complete;     /* an earlier attempt at this job scanned it to the end */
	bool ended_short;  /* that end, or this scan's, was not that of the list */
	bool looked;       /* nobody else was scanning it when we began */
	bool written;      /* the checkpoint is this job's */
};

struct import {
	struct attempt *a;
	const struct manifest_collection *collection;
	const char *mode;
	enum row_source source; /* ROW_UNTOLD: as the mode says */
	struct run run;         /* counts of the whole job; written at its end, and once a second */
	int64_t run_written_ms;
	int64_t calls_before; /* of earlier attempts */
	struct place place;   /* in the collection */
	/* Of an event that brought the item itself: its own time, which stands for that of an item that has none; 0: there is none. */
	int64_t happened_us;
	bool redo;    /* this page may be stored already, and what hangs on it not queued */
	bool yielded; /* the soft limit: the job goes on in another attempt */
	bool incomplete;
	bool taken;   /* another job is scanning: this one waits for its turn */
	bool told;    /* the run's row was written by this attempt */
	bool proving; /* what this scan does not see is gone (sweep.h) */
	bool force;   /* args.force: its rows win by when they were observed alone */
	bool all_children; /* args.children: what hangs on an item is due though the item did not change */
	struct sweep_parents *
		parents; /* whose lists were read whole, and not swept yet; NULL: it is no scan of parents */
	const char *note; /* what the run's row says beside how it ended; NULL: nothing */
	bool resumed;     /* it began in an earlier attempt */
	struct schema_faults *faults; /* of the page that is mapped now; NULL: none (schema.h) */
};

/* import_run.c: an import's beginning and end: its run, what is told of it.  Wait. */
int import_begin(struct import *im, struct attempt *a) __attribute__((warn_unused_result));
int import_end(struct import *im, int rc) __attribute__((warn_unused_result));
/* Waits, once a second: what the run's row says meanwhile. */
int import_progress(struct import *im) __attribute__((warn_unused_result));
/* Added to what the run's row says, once each. */
void import_note(struct import *im, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

/* scan.c: reads the list of a collection from its place (of one parent: from its first page) to its end, or until the attempt is to
 * go on in another (yielded).  Waits. */
int import_scan(struct import *im, const struct manifest_collection *c, const char *parent_id)
	__attribute__((warn_unused_result));
/* The exchange that failed goes into the dead letter, if it comes to one. */
void import_keep_exchange(struct attempt *a, struct page *p);

/* page.c: stores the items of one page (records, or one fetched item), with what is embedded in
 * them, and queues what hangs on them.  Waits.  parent_id NULL: a top-level collection. */
int import_page(struct import *im, const struct page *p, const char *parent_id)
	__attribute__((warn_unused_result));

/* What the history says of its rows. */
enum row_source import_source(const struct import *im);

/* bound.c: before a page of `parents`, whose items get jobs of their own.  Waits.  -EAGAIN (ERR_HOLD): a
 * lane that they go to is full. */
int import_room(struct import *im, const struct manifest_collection *parents)
	__attribute__((warn_unused_result));

/* Names the import that this job is, or is a part of: of all its attempts the same.  Borrowed from the attempt. */
const char *import_id(const struct attempt *a);

/* action.c: what the manifest says is to be done about an answer (errors[].action). */
/* skip: the answer is as good as an empty list.  Before import_skipped. */
bool import_skips(const struct import *im, int rc);
/* Whether the scan is complete all the same: yes where it was the first page, for then there is nothing. */
bool import_skipped(struct import *im, const struct pager *pg, const char **why_not);
/* Waits.  reset_paging: the place is forgotten, the next attempt begins at the first page.  *rc: where that failed. */
void import_reset(struct import *im, int *rc);
/* Waits.  One item by itself: set_aside, skip.  0, or rc. */
int import_item_refused(struct import *im, const char *id, int rc)
	__attribute__((warn_unused_result));

/* place.c.  One job at a time scans a collection of an integration: another one that comes
 * meanwhile is held (-EAGAIN, ERR_HOLD) until the first is done or has not moved for long.  All
 * wait; else as checkpoint_get and checkpoint_put. */
int place_find(struct import *im) __attribute__((warn_unused_result));
/* The rows before `scan` are stored: moves the checkpoint there.  Takes scan. */
int place_move(struct import *im, cJSON *scan) __attribute__((warn_unused_result));
/* Its place is gone: it begins anew, and the run says why. */
int place_restart(struct import *im, const char *why) __attribute__((warn_unused_result));
/* The scan has ended: the next incremental one starts from what this one covers, if it was complete. */
int place_end(struct import *im, bool complete) __attribute__((warn_unused_result));
/* The scan pauses: nobody else may take it for one that lost its turn. */
void place_keep(struct import *im);
/* The attempt failed: this job may come back to its place, but others need not wait for it. */
void place_release(struct import *im);
void place_clear(struct place *p);

#endif
