/* A growable byte buffer.  `data` is always NUL-terminated after the first append (the NUL is not
 * counted in `len`), so it can be handed to C string functions; it may hold any bytes.
 * Out of memory aborts (see mem.h): no caller checks for it.  Nothing here waits. */
#ifndef COMMON_BASE_BUF_H
#define COMMON_BASE_BUF_H

#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

struct buf {
	char *data; /* owned; NULL while empty */
	size_t len, cap;
};

#define BUF_INIT           \
	{                  \
		NULL, 0, 0 \
	}

void buf_clear(struct buf *b);                 /* frees; the buffer may be used again */
void buf_reset(struct buf *b);                 /* len = 0, keeps the memory */
void buf_reserve(struct buf *b, size_t extra); /* room for `extra` more bytes and the NUL */
void buf_append(struct buf *b, const void *p, size_t n);
void buf_puts(struct buf *b, const char *s);
void buf_putc(struct buf *b, char c);
void buf_putint(struct buf *b, int64_t n); /* decimal, faster than buf_printf */
void buf_printf(struct buf *b, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
void buf_vprintf(struct buf *b, const char *fmt, va_list ap) __attribute__((format(printf, 2, 0)));
char *buf_detach(struct buf *b);          /* caller becomes owner (free); never NULL */
const char *buf_str(const struct buf *b); /* borrowed until the next change; "" when empty */

#endif
