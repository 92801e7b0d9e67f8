#include "worker/tasks/units.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/mem.h"
#include "common/io/co.h"
#include "common/io/loop.h"

/* How far beyond the first that is not done a branch may be: bits of a->beyond, which is kept as a positive number. */
#define AHEAD_MAX 62

static struct {
	int busy, most;
} branches;

void units_set_branches(int most)
{
	branches.most = most < UNITS_BRANCHES_MAX ? most : UNITS_BRANCHES_MAX;
}

struct work {
	struct import *im; /* the job's */
	const struct units *u;
	int64_t base, count; /* items before the first unit; units */
	int64_t low, next;   /* the first unit that is not done; the next to begin */
	uint64_t done;       /* bit n: unit low + n */
	int64_t done_now;    /* by this attempt */
	int n_branches;      /* with the attempt's own */
	int64_t waited_ms;   /* for permits, by all of them */
	int rc;              /* the first error, and what it was */
	struct err err;
	bool stop, late; /* late: the hard limit */
};

struct branch {
	struct work *w;
	struct attempt a;
	struct import im;
};

/* ---- what a branch is ---- */

static void branch_init(struct branch *l, struct work *w)
{
	l->w = w;
	l->a = *w->im->a;
	l->a.is_branch = true;
	l->a.exchange = l->a.result = (struct buf)BUF_INIT;
	l->a.children = NULL;
	l->a.n_children = 0;
	l->a.err = (struct err){ 0 };
	l->a.caller.calls = l->a.caller.permit_waited_ms = 0;
	l->im = *w->im;
	l->im.a = &l->a;
	l->im.place = (struct place){ 0 };
	l->im.note = NULL;
	l->im.run.processed = 0;
	memset(&l->im.run.counts, 0, sizeof(l->im.run.counts));
}

/* Its figures go to the job. */
static void branch_add_up(struct branch *l)
{
	struct import *im = l->w->im;
	struct run_counts *to = &im->run.counts, *from = &l->im.run.counts;
	struct attempt *a = im->a;

	im->run.processed += l->im.run.processed;
	to->added += from->added;
	to->updated += from->updated;
	to->unchanged += from->unchanged;
	to->stale += from->stale;
	to->undeleted += from->undeleted;
	to->failed += from->failed;
	to->pages += from->pages;
	to->deleted += from->deleted;
	l->im.run.processed = 0;
	memset(from, 0, sizeof(*from));
	im->incomplete = im->incomplete || l->im.incomplete;
	if (l->im.note)
		import_note(im, "%s", l->im.note);
	l->im.note = NULL;
	a->caller.calls += l->a.caller.calls;
	a->caller.observed_us = l->a.caller.observed_us;
	a->caller.permit_waited_ms += l->a.caller.permit_waited_ms / l->w->n_branches;
	l->w->waited_ms += l->a.caller.permit_waited_ms;
	l->a.caller.calls = l->a.caller.permit_waited_ms = 0;
	a->unclean = a->unclean || l->a.unclean;
	a->spawned = a->spawned || l->a.spawned;
	if (l->a.page_size)
		a->page_size = l->a.page_size;
}

/* ---- which unit is next ---- */

static void keep_place(struct work *w)
{
	struct attempt *a = w->im->a;

	while (w->done & 1) {
		w->done >>= 1;
		w->low++;
	}
	a->step = w->base + w->low * w->u->per;
	if (a->step > w->u->n)
		a->step = w->u->n;
	a->beyond = w->u->per == 1 ? (int64_t)w->done : 0;
}

static bool next_unit(struct work *w, int64_t *unit)
{
	if (w->stop)
		return false;
	while (w->next < w->count && w->next - w->low < 64 && w->done >> (w->next - w->low) & 1)
		w->next++;
	if (w->next >= w->count || w->next - w->low > AHEAD_MAX)
		return false;
	if (w->done_now > 0 && attempt_should_yield(w->im->a)) {
		w->im->yielded = w->stop = true;
		return false;
	}
	*unit = w->next++;
	return true;
}

static void fail(struct work *w, struct branch *l, int rc, const struct err *err)
{
	if (w->rc < 0)
		return;
	w->rc = rc;
	w->err = *err;
	w->late = rc == -ETIMEDOUT && loop_now_ms() >= co_deadline(co_self());
	w->stop = true;
	buf_clear(&w->im->a->exchange);
	w->im->a->exchange = l->a.exchange;
	l->a.exchange = (struct buf)BUF_INIT;
}

static int run_unit(const struct work *w, struct import *im, int64_t unit)
{
	int64_t first = w->base + unit * w->u->per, left = w->u->n - first;

	return w->u->run(im, first, left < w->u->per ? (int)left : w->u->per, w->u->arg);
}

static int unit_done(struct work *w, int64_t unit)
{
	w->done |= UINT64_C(1) << (unit - w->low);
	w->done_now++;
	keep_place(w);
	return import_progress(w->im);
}

static void branch_run(void *arg)
{
	struct branch *l = arg;
	struct work *w = l->w;
	int64_t unit;
	int rc = 0;

	while (rc == 0 && next_unit(w, &unit)) {
		rc = run_unit(w, &l->im, unit);
		branch_add_up(l);
		if (rc < 0) {
			fail(w, l, rc, &l->a.err);
			break;
		}
		rc = unit_done(w, unit);
		if (rc < 0)
			fail(w, l, rc, &w->im->a->err);
	}
	buf_clear(&l->a.exchange);
}

/* One after the other, on the job's own import: most jobs are so, and a branch is 2 KiB of each that waits. */
static void run_alone(struct work *w)
{
	struct attempt *a = w->im->a;
	int64_t unit;

	while (w->rc == 0 && next_unit(w, &unit)) {
		w->rc = run_unit(w, w->im, unit);
		if (w->rc == 0)
			w->rc = unit_done(w, unit);
	}
	if (w->rc < 0)
		w->err = a->err;
	else
		buf_clear(&a->exchange);
}

/* ---- all ---- */

/* Pages were too large for the job's memory: one at a time is what it has room for. */
static int branches_wanted(const struct work *w)
{
	int64_t n = w->im->a->small ? 1 : w->u->parallel;

	return (int)(n < w->count ? n : w->count);
}

static void run_branches(struct work *w, int want)
{
	struct co *self = co_self();
	int n = 1;
	struct branch *all = mem_zalloc(sizeof(*all) * (size_t)want);
	struct crew_member *members = mem_zalloc(sizeof(*members) * (size_t)want);
	int64_t deadline = co_deadline(self);
	struct crew crew;

	crew_init(&crew, members);
	for (; n < want && branches.busy < branches.most; n++, branches.busy++) {
		branch_init(&all[n], w);
		if (!crew_spawn(&crew, "branch", branch_run, &all[n], &all[n].a))
			break;
	}
	w->n_branches = n;
	branch_init(&all[0], w);
	branch_run(&all[0]);
	crew_join(&crew, "branches");
	branches.busy -= n - 1;
	/* Branches wait for permits beside each other: the job's clock stood still for a share of it. */
	if (deadline != CO_NO_DEADLINE)
		co_set_deadline(self, w->late ? loop_now_ms() : deadline + w->waited_ms / n);
	free(members);
	free(all);
}

int units_run(struct import *im, const struct units *u)
{
	struct work w = { .im = im, .u = u, .base = im->a->step };
	int want;

	w.count = u->n > w.base ? (u->n - w.base + u->per - 1) / u->per : 0;
	w.done = u->per == 1 ? (uint64_t)im->a->beyond : 0;
	if (w.count == 0)
		return 0;
	want = branches_wanted(&w);
	if (want == 1)
		run_alone(&w);
	else
		run_branches(&w, want);
	if (w.rc < 0) {
		im->yielded = false;
		im->a->err = w.err;
		return w.rc;
	}
	if (im->yielded)
		attempt_continue(im->a);
	return 0;
}
