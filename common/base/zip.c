#include "common/base/zip.h"

#include <errno.h>
#include <stdlib.h>
#include <zlib.h>

/* JSON shrinks to a fifth at any level; the higher ones only take longer. */
#define LEVEL 1

void zip_pack(const void *p, size_t n, struct buf *out)
{
	uLongf len = compressBound(n);

	buf_reserve(out, len);
	/* The room is what zlib asks for, so only memory could be missing. */
	if (compress2((Bytef *)out->data + out->len, &len, p, n, LEVEL) != Z_OK)
		abort();
	out->len += len;
	out->data[out->len] = '\0';
}

int zip_unpack(const void *p, size_t n, size_t size, struct buf *out)
{
	uLongf len = size;

	buf_reserve(out, size);
	if (uncompress((Bytef *)out->data + out->len, &len, p, n) != Z_OK || len != size) {
		out->data[out->len] = '\0';
		return -EBADMSG;
	}
	out->len += len;
	out->data[out->len] = '\0';
	return 0;
}
