#include "common/io/timers.h"

#include <stddef.h>
#include <stdlib.h>

#include "common/base/mem.h"

#define ARITY 4

static void put(struct timers *t, int place, struct timer_entry e)
{
	t->v[place] = e;
	e.node->place = place;
}

static void sift_up(struct timers *t, int place, struct timer_entry e)
{
	while (place > 0) {
		int parent = (place - 1) / ARITY;

		if (t->v[parent].at_us <= e.at_us)
			break;
		put(t, place, t->v[parent]);
		place = parent;
	}
	put(t, place, e);
}

static void sift_down(struct timers *t, int place, struct timer_entry e)
{
	for (;;) {
		int child = place * ARITY + 1, last = child + ARITY, least = child;

		if (child >= t->n)
			break;
		for (int i = child + 1; i < last && i < t->n; i++)
			if (t->v[i].at_us < t->v[least].at_us)
				least = i;
		if (e.at_us <= t->v[least].at_us)
			break;
		put(t, place, t->v[least]);
		place = least;
	}
	put(t, place, e);
}

void timers_set(struct timers *t, struct timer_node *node, int64_t at_us)
{
	struct timer_entry e = { at_us, node };
	int place = node->place;

	if (place < 0) {
		if (t->n == t->cap) {
			t->cap = t->cap ? 2 * t->cap : 64;
			t->v = mem_realloc(t->v, (size_t)t->cap * sizeof(*t->v));
		}
		sift_up(t, t->n++, e);
		return;
	}
	if (at_us < t->v[place].at_us)
		sift_up(t, place, e);
	else
		sift_down(t, place, e);
}

void timers_remove(struct timers *t, struct timer_node *node)
{
	int place = node->place;
	struct timer_entry last;

	if (place < 0)
		return;
	node->place = -1;
	last = t->v[--t->n];
	if (place == t->n)
		return;
	if (place > 0 && last.at_us < t->v[(place - 1) / ARITY].at_us)
		sift_up(t, place, last);
	else
		sift_down(t, place, last);
}

void timers_clear(struct timers *t)
{
	for (int i = 0; i < t->n; i++)
		t->v[i].node->place = -1;
	free(t->v);
	*t = (struct timers){ 0 };
}
