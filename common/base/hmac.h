/* Keyed hashes, as partners sign with them.  Nothing here waits. */
#ifndef COMMON_BASE_HMAC_H
#define COMMON_BASE_HMAC_H

#include <stddef.h>
#include <stdint.h>

enum hmac_alg { HMAC_SHA256, HMAC_SHA1, HMAC_SHA512 };
#define HMAC_BYTES_MAX 64

size_t hmac(enum hmac_alg alg, const void *key, size_t key_len, const void *p, size_t n,
	    uint8_t out[HMAC_BYTES_MAX]); /* how many bytes it has */

#endif
