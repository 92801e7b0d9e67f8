/* Postgres' binary form of a one-dimensional array: dimensions, has-null flag, element type,
 * then for the dimension its size and lower bound, then each element as length (-1 = NULL) and
 * bytes, all big-endian. */
#include <assert.h>
#include <endian.h>
#include <string.h>

#include "common/base/mem.h"
#include "common/io/pg.h"

enum {
	HEADER_BYTES = 20,
	EMPTY_BYTES = 12, /* an empty array has no dimensions */
};

#define POSTGRES_EPOCH_US INT64_C(946684800000000) /* 2000-01-01 */
#define POSTGRES_EPOCH_DAYS 10957

static void put32(char *to, uint32_t v)
{
	v = htobe32(v);
	memcpy(to, &v, sizeof(v));
}

static void append32(struct buf *b, uint32_t v)
{
	v = htobe32(v);
	buf_append(b, &v, sizeof(v));
}

static void append64(struct buf *b, uint64_t v)
{
	v = htobe64(v);
	buf_append(b, &v, sizeof(v));
}

static Oid array_type(Oid element)
{
	switch (element) {
	case PG_BOOL:
		return 1000;
	case PG_BYTEA:
		return 1001;
	case PG_INT8:
		return 1016;
	case PG_TEXT:
		return 1009;
	case PG_JSON:
		return 199;
	case PG_FLOAT8:
		return 1022;
	case PG_DATE:
		return 1182;
	case PG_TIMESTAMPTZ:
		return 1185;
	case PG_JSONB:
		return 3807;
	default:
		assert(!"an array of that type");
		return 0;
	}
}

/* The header's place is kept free at the front, so that finishing the array moves nothing. */
void pg_array_init(struct pg_array *a, Oid element)
{
	static const char room[HEADER_BYTES];

	*a = (struct pg_array){ .element = element };
	buf_append(&a->bytes, room, sizeof(room));
}

void pg_array_clear(struct pg_array *a)
{
	buf_clear(&a->bytes);
	a->n = a->nulls = 0;
}

void pg_array_null(struct pg_array *a)
{
	append32(&a->bytes, UINT32_MAX);
	a->n++;
	a->nulls++;
}

void pg_array_int8(struct pg_array *a, int64_t v)
{
	append32(&a->bytes, 8);
	append64(&a->bytes, (uint64_t)v);
	a->n++;
}

void pg_array_text(struct pg_array *a, const char *s, size_t n)
{
	bool versioned = a->element == PG_JSONB;

	append32(&a->bytes, (uint32_t)(n + versioned));
	if (versioned)
		buf_putc(&a->bytes, 1);
	buf_append(&a->bytes, s, n);
	a->n++;
}

void pg_array_float8(struct pg_array *a, double v)
{
	uint64_t bits;

	memcpy(&bits, &v, sizeof(bits));
	append32(&a->bytes, 8);
	append64(&a->bytes, bits);
	a->n++;
}

void pg_array_bool(struct pg_array *a, bool v)
{
	append32(&a->bytes, 1);
	buf_putc(&a->bytes, (char)v);
	a->n++;
}

void pg_array_time_us(struct pg_array *a, int64_t unix_us)
{
	pg_array_int8(a, unix_us - POSTGRES_EPOCH_US);
}

void pg_array_date(struct pg_array *a, int32_t unix_days)
{
	append32(&a->bytes, 4);
	append32(&a->bytes, (uint32_t)(unix_days - POSTGRES_EPOCH_DAYS));
	a->n++;
}

void pg_array_param(struct pg_params *p, struct pg_array *a)
{
	char *head = a->bytes.data;

	put32(head, a->n > 0);
	put32(head + 4, a->nulls > 0);
	put32(head + 8, a->element);
	put32(head + 12, (uint32_t)a->n);
	put32(head + 16, 1);
	if (!a->n)
		a->bytes.len = EMPTY_BYTES;
	pg_binary(p, array_type(a->element), &a->bytes);
	pg_array_clear(a);
}
