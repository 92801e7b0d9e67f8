/* libcrypto, in the few forms we need.  Sealing is AES-256-GCM with a random 96-bit nonce; the
 * key's id stands in clear before it and is bound in, together with the caller's context
 * (integration id and purpose), so that a ciphertext moved to another row does not open:
 *   "v1." key-id "." base64(nonce | ciphertext | tag)
 * Keys: lines of `id base64-of-32-bytes` in LONGSHORE_SECRET_KEY_FILE (first encrypts, all
 * decrypt; the file must not be readable by others), or LONGSHORE_SECRET_KEY (one key, base64, id
 * "env") for development.  Nothing here waits. */
#ifndef COMMON_BASE_CRYPTO_H
#define COMMON_BASE_CRYPTO_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/base/buf.h"
#include "common/base/err.h"
#include "common/base/secret.h"

struct keyring;

/* file may be "" (then the environment's LONGSHORE_SECRET_KEY is used).  -ENOKEY: none given;
 * -EINVAL: malformed, short, duplicate id; -EACCES: readable by others.  err says which line and
 * what to do. */
int keyring_load(const char *file, struct keyring **out, struct err *err)
	__attribute__((warn_unused_result));
void keyring_free(struct keyring *k);

int crypto_seal(const struct keyring *k, const char *context, const void *plain, size_t len,
		struct buf *out) __attribute__((warn_unused_result));
/* -ENOKEY: sealed with a key we do not have; -EBADMSG: altered, or another context; -EINVAL:
 * malformed. */
int crypto_open(const struct keyring *k, const char *context, const char *sealed,
		struct secret *out) __attribute__((warn_unused_result));

#define CRYPTO_KEY_ID_BYTES 32 /* with its NUL */
/* The id of a key; 0 is the one that encrypts; NULL behind the last.  Ids are no secrets. */
const char *keyring_id(const struct keyring *k, int i);
bool keyring_has(const struct keyring *k, const char *id);
/* The id of the key that a text was sealed with; "" and false: it is no sealed text. */
bool crypto_key_id(const char *sealed, char out[CRYPTO_KEY_ID_BYTES]);
/* The same plain text under the first key.  Appends.  As crypto_open. */
int crypto_reseal(const struct keyring *k, const char *context, const char *sealed, struct buf *out)
	__attribute__((warn_unused_result));

#define SHA256_BYTES 32
void crypto_sha256(const void *p, size_t n, uint8_t out[SHA256_BYTES]);
void crypto_sha1_hex(const void *p, size_t n, char out[41]);    /* Redis names scripts so */
void crypto_hex(const uint8_t *p, size_t n, char *out);         /* 2n + 1 bytes */
uint64_t crypto_hash64(const void *p, size_t n, uint64_t seed); /* FNV-1a style, not secret */

/* Both append.  Encoding: standard alphabet, padded.  Decoding: url alphabet and missing padding
 * are fine; -EINVAL. */
void base64_encode(struct buf *out, const void *p, size_t n);
int base64_decode(const char *s, size_t len, struct buf *out) __attribute__((warn_unused_result));

#endif
