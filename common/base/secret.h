/* Secrets have a type without a printf form, are zeroed when cleared, and register their value so
 * that logs, errors and recorded exchanges show *** in their place.  Values under 6 bytes are not
 * registered (they would redact half the world).  Nothing here waits. */
#ifndef COMMON_BASE_SECRET_H
#define COMMON_BASE_SECRET_H

#include <stdbool.h>
#include <stddef.h>

#include "common/base/buf.h"

struct secret {
	char *bytes; /* owned, NUL-terminated; use secret_reveal */
	size_t len;
};

#define SECRET_INIT     \
	{               \
		NULL, 0 \
	}

void secret_set(struct secret *s, const void *bytes,
		size_t len);         /* copies, registers for redaction */
void secret_clear(struct secret *s); /* zeroes, unregisters (counted) */
const char *secret_reveal(
	const struct secret *s); /* borrowed; "" if empty; only where it is sent or encrypted */
bool secret_equal(const void *a, size_t alen, const void *b,
		  size_t blen);      /* constant time in the content */
void secret_zero(void *p, size_t n); /* not optimised away */
void secret_free_buf(struct buf *b); /* zeroes, then buf_clear */

/* Replaces every registered value in place by *** (also base64 and percent-encoded forms of it). */
void secret_redact(struct buf *b);
bool secret_in(const char *s,
	       size_t len); /* would secret_redact change these bytes? About 1 ns a byte. */

/* No core dumps, no ptrace by others: called first thing by each daemon. */
void secret_harden_process(void);

#endif
