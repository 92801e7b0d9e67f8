#include "common/base/crypto.h"

#include <errno.h>
#include <limits.h>
#include <openssl/evp.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/id.h"
#include "common/base/keyring.h"

#define VERSION "v1."
#define NONCE_BYTES 12
#define TAG_BYTES 16

/* Bound in, not encrypted: the version, the key's id and the context.  The NUL keeps "a" + "bc" and
 * "ab" + "c" apart, since no id holds one. */
static int bind_context(EVP_CIPHER_CTX *ctx, bool sealing, const struct key *key,
			const char *context)
{
	int (*update)(EVP_CIPHER_CTX *, unsigned char *, int *, const unsigned char *, int) =
		sealing ? EVP_EncryptUpdate : EVP_DecryptUpdate;
	const void *parts[] = { VERSION, key->id, context };
	int n;

	for (int i = 0; i < 3; i++) {
		size_t len = strlen(parts[i]) + 1;

		if (len > INT_MAX || !update(ctx, NULL, &n, parts[i], (int)len))
			return -EINVAL;
	}
	return 0;
}

/* out: nonce (filled in by the caller), room for ciphertext and tag after it. */
static int encrypt(EVP_CIPHER_CTX *ctx, const struct key *key, const char *context,
		   const void *plain, size_t len, uint8_t *out)
{
	uint8_t *body = out + NONCE_BYTES;
	int n = 0, last = 0;

	if (!EVP_EncryptInit_ex(ctx, EVP_aes_256_gcm(), NULL, key->bytes, out) ||
	    bind_context(ctx, true, key, context) < 0)
		return -EINVAL;
	if (len > 0 && !EVP_EncryptUpdate(ctx, body, &n, plain, (int)len))
		return -EINVAL;
	if (!EVP_EncryptFinal_ex(ctx, body + n, &last) ||
	    !EVP_CIPHER_CTX_ctrl(ctx, EVP_CTRL_GCM_GET_TAG, TAG_BYTES, body + len))
		return -EINVAL;
	return 0;
}

int crypto_seal(const struct keyring *k, const char *context, const void *plain, size_t len,
		struct buf *out)
{
	const struct key *key = &k->keys[0];
	struct buf raw = BUF_INIT;
	EVP_CIPHER_CTX *ctx;
	int rc;

	if (len > INT_MAX / 2)
		return -E2BIG;
	ctx = EVP_CIPHER_CTX_new();
	if (!ctx)
		return -ENOMEM;
	buf_reserve(&raw, NONCE_BYTES + len + TAG_BYTES);
	random_bytes(raw.data, NONCE_BYTES);
	rc = encrypt(ctx, key, context, plain, len, (uint8_t *)raw.data);
	EVP_CIPHER_CTX_free(ctx);
	if (rc == 0) {
		buf_puts(out, VERSION);
		buf_puts(out, key->id);
		buf_putc(out, '.');
		base64_encode(out, raw.data, NONCE_BYTES + len + TAG_BYTES);
	}
	buf_clear(&raw);
	return rc;
}

/* raw: nonce | ciphertext | tag.  `plain` has room for the ciphertext's length. */
static int decrypt(EVP_CIPHER_CTX *ctx, const struct key *key, const char *context,
		   const struct buf *raw, uint8_t *plain, size_t len)
{
	uint8_t *nonce = (uint8_t *)raw->data, *body = nonce + NONCE_BYTES;
	int n = 0, last = 0;

	if (!EVP_DecryptInit_ex(ctx, EVP_aes_256_gcm(), NULL, key->bytes, nonce) ||
	    bind_context(ctx, false, key, context) < 0)
		return -EINVAL;
	if (len > 0 && !EVP_DecryptUpdate(ctx, plain, &n, body, (int)len))
		return -EBADMSG;
	if (!EVP_CIPHER_CTX_ctrl(ctx, EVP_CTRL_GCM_SET_TAG, TAG_BYTES, body + len) ||
	    !EVP_DecryptFinal_ex(ctx, plain + n, &last))
		return -EBADMSG;
	return 0;
}

static int open_raw(const struct key *key, const char *context, const struct buf *raw,
		    struct secret *out)
{
	size_t len = raw->len - NONCE_BYTES - TAG_BYTES;
	struct buf plain = BUF_INIT;
	EVP_CIPHER_CTX *ctx;
	int rc;

	if (len > INT_MAX / 2)
		return -E2BIG;
	ctx = EVP_CIPHER_CTX_new();
	if (!ctx)
		return -ENOMEM;
	buf_reserve(&plain, len);
	rc = decrypt(ctx, key, context, raw, (uint8_t *)plain.data, len);
	EVP_CIPHER_CTX_free(ctx);
	if (rc == 0)
		secret_set(out, plain.data, len);
	secret_free_buf(&plain);
	return rc;
}

int crypto_open(const struct keyring *k, const char *context, const char *sealed,
		struct secret *out)
{
	struct buf raw = BUF_INIT;
	const struct key *key;
	const char *id, *dot;
	int rc;

	if (strncmp(sealed, VERSION, strlen(VERSION)) != 0)
		return -EINVAL;
	id = sealed + strlen(VERSION);
	dot = strchr(id, '.');
	if (!dot || base64_decode(dot + 1, strlen(dot + 1), &raw) != 0 ||
	    raw.len < NONCE_BYTES + TAG_BYTES) {
		buf_clear(&raw);
		return -EINVAL;
	}
	key = keyring_find(k, id, (size_t)(dot - id));
	rc = key ? open_raw(key, context, &raw, out) : -ENOKEY;
	buf_clear(&raw);
	return rc;
}

bool crypto_key_id(const char *sealed, char out[CRYPTO_KEY_ID_BYTES])
{
	const char *id = sealed + strlen(VERSION), *dot;

	out[0] = '\0';
	if (strncmp(sealed, VERSION, strlen(VERSION)) != 0)
		return false;
	dot = strchr(id, '.');
	if (!dot || dot == id || dot - id >= CRYPTO_KEY_ID_BYTES)
		return false;
	memcpy(out, id, (size_t)(dot - id));
	out[dot - id] = '\0';
	return true;
}

int crypto_reseal(const struct keyring *k, const char *context, const char *sealed, struct buf *out)
{
	struct secret plain = SECRET_INIT;
	int rc = crypto_open(k, context, sealed, &plain);

	if (rc == 0)
		rc = crypto_seal(k, context, secret_reveal(&plain), plain.len, out);
	secret_clear(&plain);
	return rc;
}
