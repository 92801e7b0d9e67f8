/* What one job holds in memory, counted where the large pieces are made (bodies, trees, rows): no allocator of
 * its own, so a count, not a measure.  Not counted: what is small by its own bounds (the job's payload as a
 * tree, children, texts of errors).  NULL stands for one without a limit.  Nothing here waits. */
#ifndef COMMON_BASE_BUDGET_H
#define COMMON_BASE_BUDGET_H

#include <stdbool.h>
#include <stdint.h>

struct budget {
	int64_t limit; /* bytes; 0: none */
	int64_t held, peak;
};

/* false: it would pass the limit; nothing was taken. */
bool budget_take(struct budget *b, int64_t bytes) __attribute__((warn_unused_result));
void budget_give(struct budget *b, int64_t bytes);
int64_t budget_left(const struct budget *b); /* INT64_MAX without a limit */

#endif
