/* Texts that are not UTF-8.  One whose charset is stated as Latin-1 or Windows-1252 is read as that; of any other, what is
 * no UTF-8 becomes U+FFFD, so that one broken name does not hold up a whole list (an id with it in is set aside: map.c).  Pure. */
#ifndef DRIVERS_KIT_CHARSET_H
#define DRIVERS_KIT_CHARSET_H

#include <stdbool.h>
#include <stddef.h>

#include "common/base/buf.h"

#define CHARSET_BROKEN "\xef\xbf\xbd" /* U+FFFD */

/* content_type: the header, or NULL.  false: it is UTF-8 as it is (out is left alone); true: *out has it mended, at most three times as long.
 * *how: "windows-1252" or "replaced". */
bool charset_mend(const char *content_type, const char *s, size_t len, struct buf *out,
		  const char **how);

#endif
