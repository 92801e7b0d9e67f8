/* Signatures that are checked with the signer's public key.  Nothing here waits. */
#ifndef COMMON_BASE_PUBKEY_H
#define COMMON_BASE_PUBKEY_H

#include <stddef.h>

/* 0 it is the signature of these bytes | -EACCES it is not | -EINVAL the key is none. */
/* Ed25519: a key of 32 bytes. */
int pubkey_ed25519(const void *key, size_t key_len, const void *p, size_t n, const void *sig,
		   size_t sig_len) __attribute__((warn_unused_result));
/* ECDSA with SHA-256: a key as SubjectPublicKeyInfo, base64 of DER or PEM; a signature in DER. */
int pubkey_ecdsa(const char *key, const void *p, size_t n, const void *sig, size_t sig_len)
	__attribute__((warn_unused_result));

struct buf;
/* A JWT of these claims (JSON), signed with our own RSA key (PEM, PKCS #8 or PKCS #1).  Appends.  -EINVAL: the key is none. */
int pubkey_jwt_rs256(const char *key_pem, const char *claims, struct buf *out)
	__attribute__((warn_unused_result));

#endif
