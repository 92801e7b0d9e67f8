/* Names and sums: nothing here is secret. */
#include <openssl/evp.h>
#include <stdlib.h>

#include "common/base/crypto.h"

/* Fails only when libcrypto has no memory or no such digest: neither can be handled. */
static void digest(const EVP_MD *md, const void *p, size_t n, uint8_t *out)
{
	if (!EVP_Digest(p, n, out, NULL, md, NULL))
		abort();
}

void crypto_sha256(const void *p, size_t n, uint8_t out[SHA256_BYTES])
{
	digest(EVP_sha256(), p, n, out);
}

void crypto_sha1_hex(const void *p, size_t n, char out[41])
{
	uint8_t sum[20];

	digest(EVP_sha1(), p, n, sum);
	crypto_hex(sum, sizeof(sum), out);
}

void crypto_hex(const uint8_t *p, size_t n, char *out)
{
	static const char digits[] = "0123456789abcdef";

	for (size_t i = 0; i < n; i++) {
		*out++ = digits[p[i] >> 4];
		*out++ = digits[p[i] & 15];
	}
	*out = '\0';
}

/* FNV-1a with a final mix: its low bits alone, which tables use, are too much alike for short
 * keys. */
uint64_t crypto_hash64(const void *p, size_t n, uint64_t seed)
{
	uint64_t h = 0xcbf29ce484222325ull ^ seed;
	const uint8_t *s = p;

	for (size_t i = 0; i < n; i++)
		h = (h ^ s[i]) * 0x100000001b3ull;
	h ^= h >> 33;
	h *= 0xff51afd7ed558ccdull;
	return h ^ h >> 33;
}
