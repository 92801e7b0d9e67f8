#include <assert.h>
#include <endian.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/mem.h"
#include "common/io/pg.h"

void pg_params_init(struct pg_params *p)
{
	p->n = 0;
}

void pg_params_clear(struct pg_params *p)
{
	for (int i = 0; i < p->n; i++)
		free(p->v[i].bytes);
	p->n = 0;
}

static void add(struct pg_params *p, Oid type, char *bytes, size_t len, int format)
{
	assert(p->n < (int)ARRAY_LEN(p->v));
	p->v[p->n++] = (struct pg_param){
		.type = type, .bytes = bytes, .len = (int)len, .format = format
	};
}

void pg_text_n(struct pg_params *p, const char *s, size_t n)
{
	add(p, 0, s ? mem_strndup(s, n) : NULL, s ? n : 0, 0);
}

void pg_text(struct pg_params *p, const char *s)
{
	pg_text_n(p, s, s ? strlen(s) : 0);
}

void pg_int(struct pg_params *p, int64_t n)
{
	uint64_t be = htobe64((uint64_t)n);
	char *bytes = mem_alloc(sizeof(be));

	memcpy(bytes, &be, sizeof(be));
	add(p, PG_INT8, bytes, sizeof(be), 1);
}

void pg_null(struct pg_params *p)
{
	add(p, 0, NULL, 0, 0);
}

void pg_bool(struct pg_params *p, bool b)
{
	char *bytes = mem_alloc(1);

	*bytes = (char)b;
	add(p, PG_BOOL, bytes, 1, 1);
}

void pg_binary(struct pg_params *p, Oid type, struct buf *bytes)
{
	size_t len = bytes->len;

	add(p, type, buf_detach(bytes), len, 1);
}
