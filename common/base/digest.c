/* Names and sums: nothing here is secret. */
#include <openssl/evp.h>
#include <stdlib.h>

#include "common/base/crypto.h"

/* Fails only when libcrypto has no memory or no such digest: neither can be handled.  The context is one for the process's life: to
 * look the digest up costs libcrypto more than a short text's sum. */
static void digest(EVP_MD_CTX **kept, const EVP_MD *md, const void *p, size_t n, uint8_t *out)
{
	if (!*kept && (!(*kept = EVP_MD_CTX_new()) || !EVP_DigestInit_ex(*kept, md, NULL)))
		abort();
	if (!EVP_DigestInit_ex(*kept, NULL, NULL) || !EVP_DigestUpdate(*kept, p, n) ||
	    !EVP_DigestFinal_ex(*kept, out, NULL))
		abort();
}

void crypto_sha256(const void *p, size_t n, uint8_t out[SHA256_BYTES])
{
	static EVP_MD_CTX *kept;

	digest(&kept, EVP_sha256(), p, n, out);
}

void crypto_sha1_hex(const void *p, size_t n, char out[41])
{
	static EVP_MD_CTX *kept;
	uint8_t sum[20];

	digest(&kept, EVP_sha1(), p, n, sum);
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
