#include <stdlib.h>
#include <string.h>

#include "common/base/mem.h"
#include "common/io/redis_impl.h"

/* Numbers must stay where they are while the list of pointers grows: they come in chunks. */
#define NUMBERS_A_CHUNK 16
#define NUMBER_BYTES 21 /* -9223372036854775808 and a NUL */

struct redis_number {
	struct redis_number *next;
	int used;
	char text[NUMBERS_A_CHUNK][NUMBER_BYTES];
};

void redis_args_init(struct redis_args *a)
{
	a->n = 0;
	a->cap = REDIS_ARGS_INLINE;
	a->v = a->v0;
	a->len = a->len0;
	a->numbers = NULL;
}

void redis_args_clear(struct redis_args *a)
{
	while (a->numbers) {
		struct redis_number *chunk = a->numbers;

		a->numbers = chunk->next;
		free(chunk);
	}
	if (a->v != a->v0) {
		free(a->v);
		free(a->len);
	}
	redis_args_init(a);
}

static void grow(struct redis_args *a)
{
	bool inside = a->v == a->v0;

	a->cap *= 2;
	a->v = mem_realloc(inside ? NULL : a->v, (size_t)a->cap * sizeof(*a->v));
	a->len = mem_realloc(inside ? NULL : a->len, (size_t)a->cap * sizeof(*a->len));
	if (inside) {
		memcpy(a->v, a->v0, sizeof(a->v0));
		memcpy(a->len, a->len0, sizeof(a->len0));
	}
}

void redis_arg_bytes(struct redis_args *a, const void *p, size_t n)
{
	if (a->n == a->cap)
		grow(a);
	a->v[a->n] = p;
	a->len[a->n++] = n;
}

void redis_arg(struct redis_args *a, const char *s)
{
	redis_arg_bytes(a, s, strlen(s));
}

/* Writes n in decimal at out; returns the end. */
static char *put_number(char *out, int64_t n)
{
	uint64_t left = n < 0 ? -(uint64_t)n : (uint64_t)n;
	char digits[20];
	int count = 0;

	do
		digits[count++] = (char)('0' + left % 10);
	while ((left /= 10) > 0);
	if (n < 0)
		*out++ = '-';
	while (count > 0)
		*out++ = digits[--count];
	return out;
}

void redis_arg_int(struct redis_args *a, int64_t n)
{
	struct redis_number *chunk = a->numbers;
	char *text;

	if (!chunk || chunk->used == NUMBERS_A_CHUNK) {
		chunk = mem_alloc(sizeof(*chunk));
		chunk->used = 0;
		chunk->next = a->numbers;
		a->numbers = chunk;
	}
	text = chunk->text[chunk->used++];
	redis_arg_bytes(a, text, (size_t)(put_number(text, n) - text));
}

void redis_encode_count(struct buf *out, int n)
{
	char text[24], *end = text;

	*end++ = '*';
	end = put_number(end, n);
	*end++ = '\r';
	*end++ = '\n';
	buf_append(out, text, (size_t)(end - text));
}

static char *put_string(char *w, const void *p, size_t n)
{
	*w++ = '$';
	w = put_number(w, (int64_t)n);
	*w++ = '\r';
	*w++ = '\n';
	if (n > 0)
		memcpy(w, p, n);
	w += n;
	*w++ = '\r';
	*w++ = '\n';
	return w;
}

void redis_encode_string(struct buf *out, const void *p, size_t n)
{
	buf_reserve(out, n + 32);
	out->len = (size_t)(put_string(out->data + out->len, p, n) - out->data);
}

void redis_encode_args(struct buf *out, const struct redis_args *a)
{
	size_t room = 0;
	char *w;

	for (int i = 0; i < a->n; i++)
		room += a->len[i] + 32; /* $, at most 20 digits, twice \r\n */
	buf_reserve(out, room);
	w = out->data + out->len;
	for (int i = 0; i < a->n; i++)
		w = put_string(w, a->v[i], a->len[i]);
	out->len = (size_t)(w - out->data);
}
