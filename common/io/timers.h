/* The heap of everything that will happen at a time: 4-ary, the times beside the pointers so
 * that a walk down stays within few cache lines.  Each item knows its place, so removal needs no
 * search.  loop.c alone uses it. Nothing here waits. */
#ifndef COMMON_IO_TIMERS_H
#define COMMON_IO_TIMERS_H

#include <stdint.h>

struct timer_node {
	int place; /* in the heap; -1: not in it */
};

struct timers {
	struct timer_entry {
		int64_t at_us;
		struct timer_node *node;
	} * v;
	int n, cap;
};

void timers_set(struct timers *t, struct timer_node *node, int64_t at_us); /* adds or moves */
void timers_remove(struct timers *t, struct timer_node *node); /* harmless if not in it */
void timers_clear(struct timers *t);                           /* all leave; frees the memory */

#endif
