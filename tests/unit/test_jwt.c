/* JWTs that we sign: what openssl's own verification says of them, and keys that are none. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>
#include <errno.h>
#include <openssl/bio.h>
#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/rsa.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/crypto.h"
#include "common/base/mem.h"
#include "common/base/pubkey.h"

static const char claims[] =
	"{\"iss\":\"svc@example.com\",\"aud\":\"https://oauth2.example/token\",\"iat\":1,\"exp\":3601}";

static char *pem_of(EVP_PKEY *key)
{
	BIO *bio = BIO_new(BIO_s_mem());
	char *data, *text;
	long n;

	assert_int_equal(PEM_write_bio_PrivateKey(bio, key, NULL, NULL, 0, NULL, NULL), 1);
	n = BIO_get_mem_data(bio, &data);
	text = mem_strndup(data, (size_t)n);
	BIO_free(bio);
	return text;
}

static void from_url64(const char *s, size_t n, struct buf *out)
{
	struct buf text = BUF_INIT;

	for (size_t i = 0; i < n; i++) {
		assert_null(strchr("+/=", s[i]));
		buf_putc(&text, s[i] == '-' ? '+' : s[i] == '_' ? '/' : s[i]);
	}
	while (text.len % 4)
		buf_putc(&text, '=');
	assert_int_equal(base64_decode(buf_str(&text), text.len, out), 0);
	buf_clear(&text);
}

static void a_signature_holds(void **state)
{
	EVP_PKEY *key = EVP_RSA_gen(2048);
	char *pem = pem_of(key);
	struct buf jwt = BUF_INIT, part = BUF_INIT, sig = BUF_INIT;
	EVP_MD_CTX *ctx = EVP_MD_CTX_new();
	const char *dot, *last;

	buf_puts(&jwt, "assertion=");
	assert_int_equal(pubkey_jwt_rs256(pem, claims, &jwt), 0);
	dot = strchr(jwt.data + 10, '.');
	last = strrchr(jwt.data, '.');
	assert_ptr_not_equal(dot, last);
	from_url64(jwt.data + 10, (size_t)(dot - jwt.data - 10), &part);
	assert_string_equal(buf_str(&part), "{\"alg\":\"RS256\",\"typ\":\"JWT\"}");
	buf_reset(&part);
	from_url64(dot + 1, (size_t)(last - dot - 1), &part);
	assert_string_equal(buf_str(&part), claims);
	from_url64(last + 1, strlen(last + 1), &sig);
	assert_int_equal(EVP_DigestVerifyInit(ctx, NULL, EVP_sha256(), NULL, key), 1);
	assert_int_equal(EVP_DigestVerify(ctx, (unsigned char *)sig.data, sig.len,
					  (unsigned char *)jwt.data + 10,
					  (size_t)(last - jwt.data - 10)),
			 1);
	EVP_MD_CTX_free(ctx);
	EVP_PKEY_free(key);
	free(pem);
	buf_clear(&jwt);
	buf_clear(&part);
	buf_clear(&sig);
}

static void keys_that_are_none(void **state)
{
	EVP_PKEY *ec = EVP_EC_gen("P-256");
	char *pem = pem_of(ec);
	const char *const bad[] = {
		"", "-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n", "nonsense",
		pem
	};

	for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
		struct buf jwt = BUF_INIT;

		buf_puts(&jwt, "x");
		assert_int_equal(pubkey_jwt_rs256(bad[i], claims, &jwt), -EINVAL);
		assert_int_equal(jwt.len, 1);
		buf_clear(&jwt);
	}
	EVP_PKEY_free(ec);
	free(pem);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_signature_holds),
		cmocka_unit_test(keys_that_are_none),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
