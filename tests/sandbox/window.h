/* A sliding window that is exact: the times of what was counted within the last `length_us`.  This is the
 * partner's side of a rate limit, written apart from Longshore's own limiter so that one can judge
 * the other.  Time is passed in.  Nothing here waits. */
#ifndef TESTS_SANDBOX_WINDOW_H
#define TESTS_SANDBOX_WINDOW_H

#include <stddef.h>
#include <stdint.h>

#define TIERS_MAX 6

struct tier {
	int64_t limit, length_us;
};

/* "15/1s,120/60s,5000/1h", or "none".  Returns how many tiers, or -EINVAL. */
int tiers_parse(const char *text, struct tier out[TIERS_MAX]) __attribute__((warn_unused_result));

struct window {
	struct tier tier;
	int64_t *at; /* ring of times, oldest at head */
	size_t head, n, cap;
	int64_t most; /* the largest count there ever was */
};

void window_init(struct window *w, struct tier tier);
void window_clear(struct window *w); /* forgets the times; the tier stays */
int64_t window_count(struct window *w, int64_t now_us);
int64_t window_wait_us(struct window *w, int64_t now_us); /* 0: there is room now */
void window_add(struct window *w, int64_t now_us);

#endif
