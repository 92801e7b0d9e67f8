#include "common/base/arena.h"

#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/mem.h"

/* What most jobs need: thousands of them wait at once, each with its own. */
#define ARENA_FIRST_BYTES 1024
#define ARENA_BLOCK_MAX_BYTES (256 * 1024)
#define ARENA_ALIGN 16

struct arena_block {
	struct arena_block *next;
	size_t size; /* whole block, this header included */
} __attribute__((aligned(ARENA_ALIGN)));

/* Lives at the start of its first block: a small job costs one allocation. */
struct arena {
	struct arena_block *blocks; /* the last one is the first, which holds this struct */
	char *at, *end;             /* the free part of the current block */
	size_t next_size, total;
} __attribute__((aligned(ARENA_ALIGN)));

static size_t align_up(size_t n)
{
	return (n + ARENA_ALIGN - 1) & ~(size_t)(ARENA_ALIGN - 1);
}

struct arena *arena_new(void)
{
	struct arena_block *block = mem_zalloc(ARENA_FIRST_BYTES);
	struct arena *a = (struct arena *)(block + 1);

	block->size = ARENA_FIRST_BYTES;
	a->blocks = block;
	a->at = (char *)(a + 1);
	a->end = (char *)block + ARENA_FIRST_BYTES;
	a->next_size = ARENA_FIRST_BYTES * 2;
	a->total = ARENA_FIRST_BYTES;
	return a;
}

void arena_free(struct arena *a)
{
	struct arena_block *b, *next;

	if (!a)
		return;
	for (b = a->blocks; b; b = next) {
		next = b->next;
		free(b);
	}
}

static struct arena_block *block_add(struct arena *a, size_t size)
{
	struct arena_block *b = mem_zalloc(size);

	b->size = size;
	b->next = a->blocks;
	a->blocks = b;
	a->total += size;
	return b;
}

void *arena_alloc(struct arena *a, size_t n)
{
	struct arena_block *b;
	void *p;

	if (n > SIZE_MAX / 2)
		abort(); /* a negative length somewhere above */
	n = align_up(n ? n : 1);
	if (n <= (size_t)(a->end - a->at)) {
		p = a->at;
		a->at += n;
		return p;
	}
	if (n > a->next_size / 4)
		return block_add(a, sizeof(*b) + n) + 1;
	b = block_add(a, a->next_size);
	if (a->next_size < ARENA_BLOCK_MAX_BYTES)
		a->next_size *= 2;
	p = b + 1;
	a->at = (char *)p + n;
	a->end = (char *)b + b->size;
	return p;
}

char *arena_strndup(struct arena *a, const char *s, size_t n)
{
	size_t len;
	char *p;

	if (!s)
		return NULL;
	len = strnlen(s, n);
	p = arena_alloc(a, len + 1);
	memcpy(p, s, len);
	return p;
}

char *arena_strdup(struct arena *a, const char *s)
{
	return s ? arena_strndup(a, s, strlen(s)) : NULL;
}

char *arena_printf(struct arena *a, const char *fmt, ...)
{
	va_list ap, again;
	char *p;
	int n;

	va_start(ap, fmt);
	va_copy(again, ap);
	n = vsnprintf(NULL, 0, fmt, ap);
	p = arena_alloc(a, n < 0 ? 1 : (size_t)n + 1);
	if (n > 0)
		vsnprintf(p, (size_t)n + 1, fmt, again);
	va_end(again);
	va_end(ap);
	return p;
}

size_t arena_bytes(const struct arena *a)
{
	return a->total;
}
