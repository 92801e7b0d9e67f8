#include "tests/sandbox/window.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/clock.h"
#include "common/base/mem.h"

static int tier_parse(const char *word, struct tier *out)
{
	char *slash;
	int64_t length_ms;
	long long limit = strtoll(word, &slash, 10);

	if (slash == word || *slash != '/' || limit <= 0)
		return -EINVAL;
	if (clock_parse_duration(slash + 1, &length_ms) < 0 || length_ms <= 0)
		return -EINVAL;
	*out = (struct tier){ limit, length_ms * 1000 };
	return 0;
}

int tiers_parse(const char *text, struct tier out[TIERS_MAX])
{
	char *copy, *save = NULL;
	int n = 0, rc = 0;

	if (strcmp(text, "none") == 0)
		return 0;
	copy = mem_strdup(text);
	for (char *word = strtok_r(copy, ",", &save); word; word = strtok_r(NULL, ",", &save)) {
		rc = n < TIERS_MAX ? tier_parse(word, &out[n]) : -EINVAL;
		if (rc < 0)
			break;
		n++;
	}
	free(copy);
	if (rc < 0 || n == 0)
		return -EINVAL;
	return n;
}

void window_init(struct window *w, struct tier tier)
{
	*w = (struct window){ .tier = tier };
}

void window_clear(struct window *w)
{
	free(w->at);
	window_init(w, w->tier);
}

int64_t window_count(struct window *w, int64_t now_us)
{
	while (w->n && now_us - w->at[w->head] >= w->tier.length_us) {
		w->head = (w->head + 1) % w->cap;
		w->n--;
	}
	return (int64_t)w->n;
}

int64_t window_wait_us(struct window *w, int64_t now_us)
{
	size_t blocking;

	if (window_count(w, now_us) < w->tier.limit)
		return 0;
	blocking = (w->head + w->n - (size_t)w->tier.limit) % w->cap;
	return w->at[blocking] + w->tier.length_us - now_us;
}

static void window_grow(struct window *w)
{
	size_t cap = w->cap ? w->cap * 2 : 16;
	int64_t *at = mem_alloc(cap * sizeof(*at));

	for (size_t i = 0; i < w->n; i++)
		at[i] = w->at[(w->head + i) % w->cap];
	free(w->at);
	w->at = at;
	w->head = 0;
	w->cap = cap;
}

void window_add(struct window *w, int64_t now_us)
{
	window_count(w, now_us);
	if (w->n == w->cap)
		window_grow(w);
	w->at[(w->head + w->n++) % w->cap] = now_us;
	if ((int64_t)w->n > w->most)
		w->most = (int64_t)w->n;
}
