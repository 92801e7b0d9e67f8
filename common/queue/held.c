#include <stdlib.h>

#include "common/base/mem.h"
#include "common/queue/impl.h"

#define HELD_FIRST_SIZE 256

static size_t place(const struct held_set *h, int64_t n)
{
	/* Numbers come in a row: multiplying spreads them, so that runs do not form. */
	return (size_t)(((uint64_t)n * 0x9E3779B97F4A7C15ull) >> 32) & (h->size - 1);
}

static void put(struct held_set *h, int64_t n)
{
	size_t i = place(h, n);

	while (h->slots[i] && h->slots[i] != n)
		i = (i + 1) & (h->size - 1);
	if (!h->slots[i]) {
		h->slots[i] = n;
		h->count++;
	}
}

static void grow(struct held_set *h)
{
	struct held_set bigger = { .size = h->size ? h->size * 2 : HELD_FIRST_SIZE };

	bigger.slots = mem_zalloc(bigger.size * sizeof(*bigger.slots));
	for (size_t i = 0; i < h->size; i++) {
		if (h->slots[i])
			put(&bigger, h->slots[i]);
	}
	free(h->slots);
	*h = bigger;
}

void held_add(struct held_set *h, int64_t n)
{
	if (h->count * 2 >= h->size)
		grow(h);
	put(h, n);
}

static bool find(const struct held_set *h, int64_t n, size_t *at)
{
	if (!h->size || !n)
		return false;
	for (size_t i = place(h, n); h->slots[i]; i = (i + 1) & (h->size - 1)) {
		if (h->slots[i] == n) {
			*at = i;
			return true;
		}
	}
	return false;
}

bool held_has(const struct held_set *h, int64_t n)
{
	size_t at;

	return find(h, n, &at);
}

void held_remove(struct held_set *h, int64_t n)
{
	size_t hole;

	if (!find(h, n, &hole))
		return;
	h->count--;
	h->slots[hole] = 0;
	/* Whoever was pushed past the hole must be found without it: the rest of the run is put anew. */
	for (size_t i = (hole + 1) & (h->size - 1); h->slots[i]; i = (i + 1) & (h->size - 1)) {
		int64_t moved = h->slots[i];

		h->slots[i] = 0;
		h->count--;
		put(h, moved);
	}
}

void held_clear(struct held_set *h)
{
	free(h->slots);
	*h = (struct held_set){ 0 };
}
