/* Allocation that aborts when memory is gone: the one place where out-of-memory ends the process.
 * Leases and unacknowledged rows survive that, since they live in Redis and at the partner. */
#ifndef COMMON_BASE_MEM_H
#define COMMON_BASE_MEM_H

#include <stddef.h>

void *mem_alloc(size_t n) __attribute__((malloc, returns_nonnull));
void *mem_zalloc(size_t n) __attribute__((malloc, returns_nonnull)); /* zeroed */
void *mem_realloc(void *p, size_t n) __attribute__((returns_nonnull));
char *mem_strdup(const char *s) __attribute__((malloc, returns_nonnull));
char *mem_strndup(const char *s, size_t n) __attribute__((malloc, returns_nonnull));
char *mem_printf(const char *fmt, ...) __attribute__((format(printf, 1, 2), returns_nonnull));

#define mem_new(type) ((type *)mem_zalloc(sizeof(type)))
#define ARRAY_LEN(a) (sizeof(a) / sizeof((a)[0]))

#endif
