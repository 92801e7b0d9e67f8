#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "common/base/crypto.h"
#include "common/base/mem.h"

/* 32 bytes: 0, 1, 2 … and the same from 32 on */
#define KEY_A "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8="
#define KEY_B "ICEiIyQlJicoKSorLC0uLzAxMjM0NTY3ODk6Ozw9Pj8="

static struct keyring *keys_of(const char *text, int mode, int want, const char *words)
{
	char path[] = "/tmp/test_crypto.XXXXXX";
	struct keyring *k = NULL;
	struct err err = { 0 };
	int fd = mkstemp(path), rc;

	assert_true(fd >= 0);
	assert_int_equal(write(fd, text, strlen(text)), strlen(text));
	assert_int_equal(fchmod(fd, (mode_t)mode), 0);
	close(fd);
	rc = keyring_load(path, &k, &err);
	unlink(path);
	if (rc != want)
		fail_msg("%d instead of %d: %s", rc, want, err.text);
	if (words && !strstr(err.text, words))
		fail_msg("said: %s, wanted: %s", err.text, words);
	assert_true((rc == 0) == (k != NULL));
	assert_null(strstr(err.text, "AAECAwQF"));
	return k;
}

static void key_files(void **state)
{
	keyring_free(keys_of("k1 " KEY_A "\n", 0600, 0, NULL));
	keyring_free(keys_of("# old and new\n\n  k2\t" KEY_B " \r\nk1 " KEY_A, 0640, 0, NULL));
	keys_of("k1 " KEY_A "\n", 0604, -EACCES, "chmod 600");
	keys_of("", 0600, -ENOKEY, "no key");
	keys_of("# nothing\n", 0600, -ENOKEY, "no key");
	keys_of("k1 " KEY_A "\nk1 " KEY_B "\n", 0600, -EINVAL, "line 2 of");
	keys_of("k1 AAECAwQF\n", 0600, -EINVAL, "6 bytes, 32 are needed");
	keys_of("k1 AAE!!\n", 0600, -EINVAL, "not base64");
	keys_of("\nk1\n", 0600, -EINVAL, "line 2 of");
	keys_of("k.1 " KEY_A "\n", 0600, -EINVAL, "letters, digits");
	keys_of(KEY_A "\n", 0600, -EINVAL, "expected an id");
	keyring_free(NULL);
}

static void key_of_the_environment(void **state)
{
	struct keyring *k = NULL;
	struct err err;

	unsetenv("LONGSHORE_SECRET_KEY");
	assert_int_equal(keyring_load("", &k, &err), -ENOKEY);
	assert_non_null(strstr(err.text, "LONGSHORE_SECRET_KEY_FILE"));
	setenv("LONGSHORE_SECRET_KEY", "short", 1);
	assert_int_equal(keyring_load("", &k, &err), -EINVAL);
	assert_null(strstr(err.text, "short"));
	assert_null(k);
	setenv("LONGSHORE_SECRET_KEY", KEY_A "\n", 1);
	assert_int_equal(keyring_load("", &k, NULL), 0);
	keyring_free(k);
	unsetenv("LONGSHORE_SECRET_KEY");
	assert_int_equal(keyring_load("/nonexistent/key", &k, &err), -ENOKEY);
	assert_non_null(strstr(err.text, "/nonexistent/key"));
}

static void sealed_opens(void **state)
{
	struct keyring *k = keys_of("k1 " KEY_A "\n", 0600, 0, NULL);
	char plain[300];

	for (size_t n = 0; n < sizeof(plain); n += 13) {
		struct buf one = BUF_INIT, two = BUF_INIT;
		struct secret got = SECRET_INIT;

		memset(plain, (int)n, n);
		assert_int_equal(crypto_seal(k, "7/credentials", plain, n, &one), 0);
		assert_int_equal(crypto_seal(k, "7/credentials", plain, n, &two), 0);
		assert_memory_equal(one.data, "v1.k1.", 6);
		assert_string_not_equal(one.data, two.data); /* another nonce */
		assert_int_equal(crypto_open(k, "7/credentials", one.data, &got), 0);
		assert_int_equal(got.len, n);
		assert_memory_equal(secret_reveal(&got), plain, n);
		secret_clear(&got);
		buf_clear(&one);
		buf_clear(&two);
	}
	keyring_free(k);
}

static void altered_does_not_open(void **state)
{
	struct keyring *k = keys_of("k1 " KEY_A "\n", 0600, 0, NULL);
	struct buf sealed = BUF_INIT, raw = BUF_INIT, changed = BUF_INIT;
	struct secret got = SECRET_INIT;

	assert_int_equal(crypto_seal(k, "7/credentials", "hunter2!", 8, &sealed), 0);
	assert_int_equal(crypto_open(k, "8/credentials", sealed.data, &got), -EBADMSG);
	assert_int_equal(base64_decode(sealed.data + 6, sealed.len - 6, &raw), 0);
	assert_int_equal(raw.len, 12 + 8 + 16);
	for (size_t i = 0; i < raw.len; i++) {
		raw.data[i] ^= 1;
		buf_reset(&changed);
		buf_puts(&changed, "v1.k1.");
		base64_encode(&changed, raw.data, raw.len);
		assert_int_equal(crypto_open(k, "7/credentials", changed.data, &got), -EBADMSG);
		raw.data[i] ^= 1;
	}
	buf_reset(&changed);
	buf_puts(&changed, "v1.k1.");
	base64_encode(&changed, raw.data, raw.len - 1);
	assert_int_equal(crypto_open(k, "7/credentials", changed.data, &got), -EBADMSG);
	assert_null(got.bytes);
	buf_clear(&sealed);
	buf_clear(&raw);
	buf_clear(&changed);
	keyring_free(k);
}

static void malformed_is_refused(void **state)
{
	static const char *const bad[] = { "",           "v1",         "v1.",
					   "v1.k1",      "v1.k1.",     "v1.k1.!!!!",
					   "v2.k1.AAAA", "v1.k1.AAAA", "hunter2" };
	struct keyring *k = keys_of("k1 " KEY_A "\n", 0600, 0, NULL);
	struct secret got = SECRET_INIT;

	for (size_t i = 0; i < ARRAY_LEN(bad); i++)
		assert_int_equal(crypto_open(k, "c", bad[i], &got), -EINVAL);
	assert_null(got.bytes);
	keyring_free(k);
}

static void keys_rotate(void **state)
{
	struct keyring *old = keys_of("k1 " KEY_A "\n", 0600, 0, NULL);
	struct keyring *both = keys_of("k2 " KEY_B "\nk1 " KEY_A "\n", 0600, 0, NULL);
	struct keyring *new = keys_of("k2 " KEY_B "\n", 0600, 0, NULL);
	struct keyring *false_one = keys_of("k1 " KEY_B "\n", 0600, 0, NULL);
	struct buf sealed = BUF_INIT;
	struct secret got = SECRET_INIT;

	assert_int_equal(crypto_seal(old, "c", "value", 5, &sealed), 0);
	assert_int_equal(crypto_open(both, "c", sealed.data, &got), 0);
	assert_string_equal(secret_reveal(&got), "value");
	secret_clear(&got);
	assert_int_equal(crypto_open(new, "c", sealed.data, &got), -ENOKEY);
	assert_int_equal(crypto_open(false_one, "c", sealed.data, &got), -EBADMSG);
	buf_reset(&sealed);
	assert_int_equal(crypto_seal(both, "c", "value", 5, &sealed), 0);
	assert_memory_equal(sealed.data, "v1.k2.", 6);
	assert_int_equal(crypto_open(new, "c", sealed.data, &got), 0);
	secret_clear(&got);
	buf_clear(&sealed);
	keyring_free(old);
	keyring_free(both);
	keyring_free(new);
	keyring_free(false_one);
}

static void known_digests(void **state)
{
	uint8_t sum[SHA256_BYTES];
	char hex[SHA256_BYTES * 2 + 1];

	crypto_sha256("abc", 3, sum);
	crypto_hex(sum, sizeof(sum), hex);
	assert_string_equal(hex,
			    "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
	crypto_sha1_hex("return 1", 8, hex);
	assert_string_equal(hex, "e0e1f9fabfc9d4800c877a703b823ac0578ff8db");
	crypto_sha1_hex("", 0, hex);
	assert_string_equal(hex, "da39a3ee5e6b4b0d3255bfef95601890afd80709");
	crypto_hex(NULL, 0, hex);
	assert_string_equal(hex, "");
}

static void hashes_spread(void **state)
{
	int hits[64] = { 0 };

	assert_true(crypto_hash64("a", 1, 0) != crypto_hash64("a", 1, 1));
	assert_true(crypto_hash64("a", 1, 0) == crypto_hash64("a", 1, 0));
	for (int i = 0; i < 64000; i++)
		hits[crypto_hash64(&i, sizeof(i), 7) & 63]++;
	for (int i = 0; i < 64; i++)
		assert_in_range(hits[i], 740, 1260); /* 1000 +- 8 standard deviations */
}

static void base64_known(void **state)
{
	static const char *const rows[][2] = { { "", "" },
					       { "f", "Zg==" },
					       { "fo", "Zm8=" },
					       { "foo", "Zm9v" },
					       { "foob", "Zm9vYg==" },
					       { "fooba", "Zm9vYmE=" },
					       { "foobar", "Zm9vYmFy" },
					       { "\xfb\xff", "+/8=" } };
	static const char *const bad[] = { "A",    "AAAAA",    "A===",      "AA=",  "AAA==",
					   "A A=", "AA\n=",    "Zh==",      "Zm9=", "=",
					   "====", "Zg==Zg==", "\xc3\xa9zz" };
	struct buf b = BUF_INIT;

	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		size_t len = strlen(rows[i][1]);

		buf_reset(&b);
		base64_encode(&b, rows[i][0], strlen(rows[i][0]));
		assert_string_equal(b.data, rows[i][1]);
		buf_reset(&b);
		assert_int_equal(base64_decode(rows[i][1], len, &b), 0);
		assert_string_equal(b.data, rows[i][0]);
		while (len && rows[i][1][len - 1] == '=')
			len--;
		buf_reset(&b);
		assert_int_equal(base64_decode(rows[i][1], len, &b), 0); /* without padding */
		assert_string_equal(b.data, rows[i][0]);
	}
	buf_reset(&b);
	assert_int_equal(base64_decode("-_8", 3, &b), 0);
	assert_string_equal(b.data, "\xfb\xff");
	for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
		buf_reset(&b);
		buf_puts(&b, "kept");
		if (base64_decode(bad[i], strlen(bad[i]), &b) != -EINVAL)
			fail_msg("taken: %s", bad[i]);
		assert_string_equal(b.data, "kept");
	}
	buf_clear(&b);
}

static void base64_round_trip(void **state)
{
	uint8_t p[257];

	for (size_t n = 0; n < sizeof(p); n++) {
		struct buf text = BUF_INIT, back = BUF_INIT;

		p[n] = (uint8_t)(n * 37);
		base64_encode(&text, p, n);
		assert_int_equal(text.len, (n + 2) / 3 * 4);
		assert_int_equal(base64_decode(text.data, text.len, &back), 0);
		assert_int_equal(back.len, n);
		assert_memory_equal(back.data, p, n);
		buf_clear(&text);
		buf_clear(&back);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(key_files),
		cmocka_unit_test(key_of_the_environment),
		cmocka_unit_test(sealed_opens),
		cmocka_unit_test(altered_does_not_open),
		cmocka_unit_test(malformed_is_refused),
		cmocka_unit_test(keys_rotate),
		cmocka_unit_test(known_digests),
		cmocka_unit_test(hashes_spread),
		cmocka_unit_test(base64_known),
		cmocka_unit_test(base64_round_trip),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
