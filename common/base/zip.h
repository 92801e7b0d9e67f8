/* zlib, in the one form we need: a text whose length is kept elsewhere.  Nothing here waits. */
#ifndef COMMON_BASE_ZIP_H
#define COMMON_BASE_ZIP_H

#include <stddef.h>

#include "common/base/buf.h"

/* Appends. */
void zip_pack(const void *p, size_t n, struct buf *out);
/* Appends `size` bytes, what was packed.  -EBADMSG: damaged, or not of that size. */
int zip_unpack(const void *p, size_t n, size_t size, struct buf *out)
	__attribute__((warn_unused_result));

#endif
