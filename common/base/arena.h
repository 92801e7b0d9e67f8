/* A bump allocator for what lives as long as one attempt at a job (or one manifest): everything
 * dies together in arena_free.  Blocks grow from 4 KiB; a request over a quarter of a block gets a
 * block of its own.  Memory is zeroed and aligned to 16.  Nothing here waits. */
#ifndef COMMON_BASE_ARENA_H
#define COMMON_BASE_ARENA_H

#include <stddef.h>

struct arena;

struct arena *arena_new(void);
void arena_free(struct arena *a); /* NULL is fine */
void *arena_alloc(struct arena *a, size_t n) __attribute__((returns_nonnull));
char *arena_strdup(struct arena *a, const char *s); /* NULL gives NULL */
char *arena_strndup(struct arena *a, const char *s, size_t n);
char *arena_printf(struct arena *a, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
size_t arena_bytes(const struct arena *a); /* allocated from the system so far */

#define arena_new_of(a, type) ((type *)arena_alloc((a), sizeof(type)))

#endif
