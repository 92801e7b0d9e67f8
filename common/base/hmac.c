#include "common/base/hmac.h"

#include <limits.h>
#include <openssl/evp.h>
#include <openssl/hmac.h>
#include <stdlib.h>

size_t hmac(enum hmac_alg alg, const void *key, size_t key_len, const void *p, size_t n,
	    uint8_t out[HMAC_BYTES_MAX])
{
	const EVP_MD *md = alg == HMAC_SHA1     ? EVP_sha1()
			   : alg == HMAC_SHA512 ? EVP_sha512()
						: EVP_sha256();
	unsigned int len = 0;

	/* libcrypto has no key of NULL, and a length of int */
	if (key_len > INT_MAX || !HMAC(md, key_len ? key : "", (int)key_len, p, n, out, &len))
		abort();
	return len;
}
