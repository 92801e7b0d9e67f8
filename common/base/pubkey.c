#include "common/base/pubkey.h"

#include <errno.h>
#include <openssl/err.h>
#include <openssl/bio.h>
#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/x509.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/crypto.h"

#define KEY_BYTES_MAX 4096

/* Takes key.  What libcrypto has queued of errors is nobody's: others must not find it. */
static int verify_with(EVP_PKEY *key, const EVP_MD *md, const void *p, size_t n, const void *sig,
		       size_t sig_len)
{
	EVP_MD_CTX *ctx = EVP_MD_CTX_new();
	int rc = -EINVAL;

	if (!ctx)
		abort(); /* out of memory */
	if (key && EVP_DigestVerifyInit(ctx, NULL, md, NULL, key) == 1)
		rc = EVP_DigestVerify(ctx, sig, sig_len, p, n) == 1 ? 0 : -EACCES;
	EVP_MD_CTX_free(ctx);
	EVP_PKEY_free(key);
	ERR_clear_error();
	return rc;
}

int pubkey_ed25519(const void *key, size_t key_len, const void *p, size_t n, const void *sig,
		   size_t sig_len)
{
	EVP_PKEY *k = EVP_PKEY_new_raw_public_key(EVP_PKEY_ED25519, NULL, key, key_len);

	return verify_with(k, NULL, p, n, sig, sig_len);
}

/* The base64 between the lines of PEM, or all of it; without blanks. */
static void key_text(const char *s, struct buf *out)
{
	const char *begin = strstr(s, "-----BEGIN"), *end;

	if (begin) {
		begin = strstr(begin + 10, "-----");
		s = begin ? begin + 5 : "";
	}
	end = strstr(s, "-----END");
	for (; *s && s != end && out->len < KEY_BYTES_MAX; s++)
		if (!strchr(" \t\r\n", *s))
			buf_putc(out, *s);
}

int pubkey_ecdsa(const char *key, const void *p, size_t n, const void *sig, size_t sig_len)
{
	struct buf text = BUF_INIT, der = BUF_INIT;
	const unsigned char *at;
	EVP_PKEY *k = NULL;

	key_text(key, &text);
	if (base64_decode(buf_str(&text), text.len, &der) == 0 && der.len) {
		at = (const unsigned char *)der.data;
		k = d2i_PUBKEY(NULL, &at, (long)der.len);
	}
	buf_clear(&text);
	buf_clear(&der);
	if (k && EVP_PKEY_get_base_id(k) != EVP_PKEY_EC) {
		EVP_PKEY_free(k);
		k = NULL;
	}
	return verify_with(k, EVP_sha256(), p, n, sig, sig_len);
}

/* ---- our own signatures ---- */

/* As base64 has it in URLs, without padding. */
static void put_url64(struct buf *out, const void *p, size_t n)
{
	struct buf text = BUF_INIT;

	base64_encode(&text, p, n);
	for (size_t i = 0; i < text.len && text.data[i] != '='; i++)
		buf_putc(out, text.data[i] == '+' ? '-' : text.data[i] == '/' ? '_' : text.data[i]);
	buf_clear(&text);
}

/* A key behind a passphrase is none: nobody is here to be asked. */
static int no_passphrase(char *buf, int size, int writing, void *arg)
{
	(void)buf;
	(void)size;
	(void)writing;
	(void)arg;
	return -1;
}

static EVP_PKEY *read_rsa(const char *pem)
{
	BIO *bio = BIO_new_mem_buf(pem, -1);
	EVP_PKEY *key;

	if (!bio)
		abort(); /* out of memory */
	key = PEM_read_bio_PrivateKey(bio, NULL, no_passphrase, NULL);
	BIO_free(bio);
	if (key && EVP_PKEY_get_base_id(key) != EVP_PKEY_RSA) {
		EVP_PKEY_free(key);
		key = NULL;
	}
	return key;
}

int pubkey_jwt_rs256(const char *key_pem, const char *claims, struct buf *out)
{
	static const char head[] = "{\"alg\":\"RS256\",\"typ\":\"JWT\"}";
	EVP_PKEY *key = read_rsa(key_pem);
	EVP_MD_CTX *ctx = EVP_MD_CTX_new();
	unsigned char sig[1024]; /* of a key of 8192 bits */
	size_t n = sizeof(sig), start = out->len;
	int rc = -EINVAL;

	if (!ctx)
		abort(); /* out of memory */
	put_url64(out, head, sizeof(head) - 1);
	buf_putc(out, '.');
	put_url64(out, claims, strlen(claims));
	if (key && EVP_PKEY_get_size(key) <= (int)sizeof(sig) &&
	    EVP_DigestSignInit(ctx, NULL, EVP_sha256(), NULL, key) == 1 &&
	    EVP_DigestSign(ctx, sig, &n, (const unsigned char *)out->data + start,
			   out->len - start) == 1) {
		buf_putc(out, '.');
		put_url64(out, sig, n);
		rc = 0;
	} else {
		out->len = start;
	}
	EVP_MD_CTX_free(ctx);
	EVP_PKEY_free(key);
	ERR_clear_error();
	return rc;
}
