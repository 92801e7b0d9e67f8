#include "common/base/buf.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/mem.h"

#define BUF_MIN_BYTES 64

void buf_clear(struct buf *b)
{
	free(b->data);
	*b = (struct buf)BUF_INIT;
}

void buf_reset(struct buf *b)
{
	b->len = 0;
	if (b->data)
		b->data[0] = '\0';
}

static void __attribute__((noinline)) buf_grow(struct buf *b, size_t need)
{
	size_t cap = b->cap ? b->cap : BUF_MIN_BYTES;

	while (cap < need)
		cap = cap > SIZE_MAX / 2 ? need : cap * 2;
	b->data = mem_realloc(b->data, cap);
	b->cap = cap;
}

void buf_reserve(struct buf *b, size_t extra)
{
	assert(extra < SIZE_MAX - b->len - 1);
	if (b->len + extra + 1 > b->cap)
		buf_grow(b, b->len + extra + 1);
}

/* p may lie inside b itself: growing would pull it away from under us. */
void buf_append(struct buf *b, const void *p, size_t n)
{
	const char *src = p;

	if (n == 0 && b->data)
		return;
	if (b->data && src >= b->data && src < b->data + b->cap) {
		size_t at = (size_t)(src - b->data);

		buf_reserve(b, n);
		src = b->data + at;
	} else {
		buf_reserve(b, n);
	}
	if (n)
		memmove(b->data + b->len, src, n);
	b->len += n;
	b->data[b->len] = '\0';
}

void buf_puts(struct buf *b, const char *s)
{
	buf_append(b, s, strlen(s));
}

void buf_putc(struct buf *b, char c)
{
	buf_reserve(b, 1);
	b->data[b->len++] = c;
	b->data[b->len] = '\0';
}

void buf_putint(struct buf *b, int64_t n)
{
	static const char pairs[] = "00010203040506070809101112131415161718192021222324"
				    "25262728293031323334353637383940414243444546474849"
				    "50515253545556575859606162636465666768697071727374"
				    "75767778798081828384858687888990919293949596979899";
	char text[24];
	char *p = text + sizeof(text);
	uint64_t u = n < 0 ? 0 - (uint64_t)n : (uint64_t)n;

	while (u >= 100) {
		p -= 2;
		memcpy(p, pairs + u % 100 * 2, 2);
		u /= 100;
	}
	if (u >= 10) {
		p -= 2;
		memcpy(p, pairs + u * 2, 2);
	} else {
		*--p = (char)('0' + u);
	}
	if (n < 0)
		*--p = '-';
	buf_append(b, p, (size_t)(text + sizeof(text) - p));
}

void buf_vprintf(struct buf *b, const char *fmt, va_list ap)
{
	va_list again;
	size_t room;
	int n;

	va_copy(again, ap);
	buf_reserve(b, BUF_MIN_BYTES);
	room = b->cap - b->len;
	n = vsnprintf(b->data + b->len, room, fmt, ap);
	if (n < 0) { /* a bad wide character: nothing is added */
		b->data[b->len] = '\0';
	} else if ((size_t)n >= room) {
		buf_reserve(b, (size_t)n);
		n = vsnprintf(b->data + b->len, (size_t)n + 1, fmt, again);
	}
	va_end(again);
	if (n > 0)
		b->len += (size_t)n;
}

void buf_printf(struct buf *b, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	buf_vprintf(b, fmt, ap);
	va_end(ap);
}

char *buf_detach(struct buf *b)
{
	char *p;

	buf_append(b, "", 0);
	p = b->data;
	*b = (struct buf)BUF_INIT;
	return p;
}

const char *buf_str(const struct buf *b)
{
	return b->data ? b->data : "";
}
