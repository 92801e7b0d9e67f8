/* incremental.step: a partner that takes only so long a span of time is asked for one window after the other, from
 * `since` to now; each is a scan of its own, and the last one has no end. */
#include "drivers/kit/paginate_parts.h"

#include "common/base/mem.h"
#include "drivers/kit/call_door.h"

static int64_t step_us(const struct pager *p)
{
	return p->coll->incremental.step_ms * 1000;
}

/* The end of a window from `since`; 0: it reaches to now. */
static int64_t end_us(const struct pager *p, int64_t since_us)
{
	int64_t until_us = since_us + step_us(p);

	return until_us < door_asked_us(p->c->door) ? until_us : 0;
}

void pager_window_init(struct pager *p, const struct pager_options *o)
{
	p->since_us = o->since_us;
	if (step_us(p) == 0 || o->since_us <= 0)
		return;
	p->parent = o->parent ? cJSON_Duplicate(o->parent, true) : NULL;
	p->until_us = end_us(p, o->since_us);
	p->windowed = true;
}

/* Its templates are filled in for the window it is in. */
int pager_window_query(struct pager *p, struct err *err)
{
	struct pager_options o = { .collection = p->coll,
				   .parent_id = p->parent_id,
				   .parent = p->parent,
				   .since_us = p->since_us,
				   .until_us = p->until_us };

	page_query_clear(&p->query);
	return page_query_init(&p->query, p->c, &o, PAGER_OWN_PARAMS, err);
}

/* A window that was seen whole is followed by the next. */
void pager_window_end(struct pager *p, struct page *out)
{
	if (!p->ended || !p->until_us || p->why_not[0])
		return;
	p->ended = false;
	p->moves = true;
	out->last = false;
}

bool pager_skip_window(struct pager *p)
{
	if (!p->until_us || p->number > 0 || p->ended)
		return false;
	p->moves = true;
	return true;
}

int pager_window_next(struct pager *p, struct err *err)
{
	if (!p->moves)
		return 0;
	p->since_us = p->until_us;
	p->until_us = end_us(p, p->since_us);
	p->moves = false;
	pager_to_start(p);
	return pager_window_query(p, err);
}

void pager_window_state(const struct pager *p, cJSON *state)
{
	if (!p->windowed)
		return;
	cJSON_AddNumberToObject(state, "since", (double)p->since_us);
	cJSON_AddNumberToObject(state, "until", (double)p->until_us);
	if (p->moves)
		cJSON_AddBoolToObject(state, "moves", true);
}

int pager_window_resume(struct pager *p, const cJSON *state, struct err *err)
{
	int64_t since_us = 0, until_us = 0;

	if (!p->windowed || !json_int(state, "since", &since_us) || since_us <= 0)
		return 0;
	(void)json_int(state, "until", &until_us);
	p->since_us = since_us;
	p->until_us = until_us;
	p->moves = until_us && json_bool(state, "moves", false);
	return pager_window_query(p, err);
}
