/* Writes down what settings and manifest come to, and the first start of what is new: the first import of an integration
 * that was just added begins within a moment, those of many that were added at once begin one after the other. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/log.h"
#include "common/base/mem.h"
#include "scheduler/beat.h"

#define PAGE 500
#define FIRST_APART_MS 50 /* 20 first imports a second */

static struct {
	bool all;        /* going through everything */
	int64_t after;   /* as far as it has got */
	int64_t last_ms; /* the latest first start that was given out */
} self;

void beat_replan(void)
{
	self.all = true;
	self.after = 0;
}

static bool nothing(struct plan *out, const char *why)
{
	*out = (struct plan){ 0 };
	snprintf(out->why, sizeof(out->why), "%s", why);
	return false;
}

bool beat_plan_of(const struct scheduler *s, const struct schedule *row, struct plan *out)
{
	const struct driver *base = driver_find(s->drivers, row->partner), *d;
	struct err err = { 0 };

	if (!base)
		return nothing(out, "the scheduler has no driver of this partner");
	if (!row->company)
		return nothing(out, "it belongs to no company: it answers questions");
	d = driver_for(base, row->integration, row->settings, NULL, &err);
	if (plan_make((d ? d : base)->manifest, row->settings,
		      s->import_every_ms > 0 ? s->import_every_ms : 0, out, &err) < 0)
		return nothing(out, err.text);
	if (!row->registered)
		plan_without_webhooks(out);
	return out->strategy != STRATEGY_NONE;
}

/* One that is owed stays owed, by whatever plan; one whose plan has changed is due at that one's next slot. */
static int64_t first_start(const struct schedule *row, const struct plan *p, bool same,
			   int64_t now_ms)
{
	if (row->next_ms && (same || row->next_ms <= now_ms))
		return row->next_ms;
	if (row->next_ms || row->last_success_ms)
		return plan_next_ms(p, row->integration, now_ms);
	self.last_ms =
		self.last_ms + FIRST_APART_MS > now_ms ? self.last_ms + FIRST_APART_MS : now_ms;
	return self.last_ms;
}

static void plan_one(struct scheduler *s, const struct schedule *row, int64_t now_ms,
		     struct plan *p, struct buf *text, struct schedule_plan *out)
{
	bool any = beat_plan_of(s, row, p);

	plan_print(p, text);
	*out = (struct schedule_plan){ .of = row,
				       .plan = buf_str(text),
				       .strategy = strategy_name(p->strategy),
				       .every = any ? p->every : NULL,
				       .reason = p->why,
				       .full_every_ms = p->full_every_ms };
	if (!any)
		return;
	out->next_ms = first_start(row, p, row->plan && strcmp(row->plan, out->plan) == 0, now_ms);
	out->next_full = plan_is_full(p, row->integration, out->next_ms, row->full_ms);
}

/* Those of a page whose plan is not what stands there. */
static int plan_page(struct scheduler *s, const struct schedules *page, struct err *err)
{
	struct schedule_plan *v = mem_alloc(sizeof(*v) * (size_t)(page->n + 1));
	struct plan *plans = mem_alloc(sizeof(*plans) * (size_t)(page->n + 1));
	struct buf *texts = mem_zalloc(sizeof(*texts) * (size_t)(page->n + 1));
	int64_t now = redis_now_ms(s->redis);
	int n = 0, rc;

	for (int i = 0; i < page->n; i++) {
		const struct schedule *row = &page->v[i];

		plan_one(s, row, now, &plans[i], &texts[i], &v[n]);
		if (!row->plan || strcmp(row->plan, v[n].plan) != 0)
			n++;
	}
	rc = schedules_plan(s->pg, v, n, err);
	for (int i = 0; i < page->n; i++)
		buf_clear(&texts[i]);
	free(texts);
	free(plans);
	free(v);
	if (rc == 0 && n)
		log_event(LOG_DEBUG, "planned", LI("integrations", n));
	return rc;
}

int beat_plan_some(struct scheduler *s, struct err *err)
{
	struct schedules page = { 0 };
	bool all = self.all;
	int rc = schedules_to_plan(s->pg, all, all ? self.after : 0, PAGE, &page, err);
	bool more = page.n == PAGE;

	if (rc < 0)
		return rc;
	rc = plan_page(s, &page, err);
	if (rc == 0 && all) {
		self.after = more ? page.v[page.n - 1].integration : 0;
		self.all = more;
		more = true; /* those that changed meanwhile */
	}
	schedules_clear(&page);
	return rc < 0 ? rc : more;
}
