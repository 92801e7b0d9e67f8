/* What is read from the answer of a token endpoint. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "common/base/mem.h"
#include "drivers/kit/auth_token_call.h"

#define NOW_MS INT64_C(1700000000000)

static int64_t left(const char *claims)
{
	struct buf token = BUF_INIT;
	int64_t ms;

	buf_puts(&token, "eyJhbGciOiJub25lIn0.");
	base64_encode(&token, claims, strlen(claims));
	for (size_t i = 0; i < token.len; i++) /* the url alphabet, unpadded */
		token.data[i] = token.data[i] == '+'   ? '-'
				: token.data[i] == '/' ? '_'
						       : token.data[i];
	while (token.data[token.len - 1] == '=')
		token.data[--token.len] = '\0';
	buf_puts(&token, ".c2lnbmF0dXJl");
	ms = jwt_left_ms(buf_str(&token), NOW_MS);
	buf_clear(&token);
	return ms;
}

static void test_jwt(void **state)
{
	assert_int_equal(left("{\"exp\":1700003600,\"x\":\"\u00ff?>?>\"}"), 3600000);
	assert_int_equal(left("{\"exp\":1700003600.5}"), 3600500);
	assert_int_equal(left("{\"exp\":\"1700003600\"}"), 3600000);
	/* handed out some time after it was issued */
	assert_int_equal(left("{\"iat\":1699999000,\"exp\":1700003600}"), 3600000);
	/* the partner's clock is ahead, behind, and behind by more than the life */
	assert_int_equal(left("{\"iat\":1700000600,\"exp\":1700004200}"), 3600000);
	assert_int_equal(left("{\"iat\":1699999400,\"exp\":1700003000}"), 3000000);
	assert_int_equal(left("{\"iat\":1699990000,\"exp\":1699993600}"), 3600000);
	assert_int_equal(left("{\"iat\":1700003600,\"exp\":1700000000}"), 0);
	assert_int_equal(left("{\"exp\":1699999999}"), 0);
	assert_int_equal(left("{\"exp\":1e300}"), 0);
	assert_int_equal(left("{\"exp\":null}"), 0);
	assert_int_equal(left("{}"), 0);
	assert_int_equal(left("[]"), 0);
	assert_int_equal(left("not JSON"), 0);
	assert_int_equal(jwt_left_ms("", NOW_MS), 0);
	assert_int_equal(jwt_left_ms("opaque-token", NOW_MS), 0);
	assert_int_equal(jwt_left_ms("a.b", NOW_MS), 0);
	assert_int_equal(jwt_left_ms("a.!!!.c", NOW_MS), 0);
	assert_int_equal(jwt_left_ms("..", NOW_MS), 0);
}

static void reads(struct manifest_auth auth, const char *headers, size_t headers_len,
		  const char *json, const char *access, int64_t life_ms)
{
	struct manifest m = { .partner = "acme", .auth = auth };
	struct http_response h = { .status = 200 };
	struct token t = { 0 };
	struct err err = { 0 };
	cJSON *tree = NULL;
	int rc;

	if (headers)
		buf_append(&h.headers, headers, headers_len);
	if (json)
		assert_int_equal(json_parse(json, strlen(json), 4096, &tree, NULL), 0);
	rc = token_answer_read(&m, &h, tree, NOW_MS, &t, &err);
	if (access) {
		assert_int_equal(rc, 0);
		assert_string_equal(secret_reveal(&t.access), access);
		assert_int_equal(t.minted_ms, NOW_MS);
		assert_int_equal(t.expires_ms - NOW_MS, life_ms);
	} else {
		assert_int_equal(rc, -EREMOTEIO);
		assert_int_equal(err.class, ERR_DATA);
		assert_non_null(strstr(err.text, "has no"));
	}
	token_clear(&t);
	cJSON_Delete(tree);
	http_response_clear(&h);
}

static void test_answers(void **state)
{
	static const struct manifest_auth seconds = { .expires_path = "expires_in" },
					  at = { .expires = EXPIRES_AT, .expires_path = "end" },
					  jwt = { .expires = EXPIRES_JWT, .token_path = "jwt" },
					  header = { .token_path = "header:x-token" };

	reads(seconds, NULL, 0, "{\"access_token\":\"a\",\"expires_in\":\"86400\"}", "a", 86400000);
	/* Hostaway's page says 24 months, its answer 731 days: what is answered counts */
	reads(seconds, NULL, 0, "{\"access_token\":\"a\",\"expires_in\":63158400}", "a",
	      63158400000);
	reads(seconds, NULL, 0, "{\"access_token\":\"a\"}", "a", 3600000);
	reads(seconds, NULL, 0, "{\"access_token\":\"a\",\"expires_in\":-5}", "a", 3600000);
	reads(seconds, NULL, 0, "{\"access_token\":\"a\",\"expires_in\":{}}", "a", 3600000);
	reads(seconds, NULL, 0, "{\"access_token\":\"a\",\"expires_in\":\"nan\"}", "a", 3600000);
	reads(seconds, NULL, 0, "{\"access_token\":\"a\",\"expires_in\":9999999999}", "a",
	      10 * 366 * 86400000LL);
	reads(seconds, NULL, 0, "{\"access_token\":\"\"}", NULL, 0);
	reads(seconds, NULL, 0, "{\"access_token\":7}", NULL, 0);
	reads(seconds, NULL, 0, "[]", NULL, 0);
	reads(seconds, NULL, 0, NULL, NULL, 0);
	reads(at, NULL, 0, "{\"access_token\":\"a\",\"end\":1700001800}", "a", 1800000);
	reads(at, NULL, 0, "{\"access_token\":\"a\",\"end\":\"2023-11-14T22:43:20Z\"}", "a",
	      1800000);
	reads(at, NULL, 0, "{\"access_token\":\"a\",\"end\":\"yesterday\"}", "a", 3600000);
	reads(jwt, NULL, 0, "{\"jwt\":\"e30.eyJleHAiOjE3MDAwMDE4MDB9.x\"}",
	      "e30.eyJleHAiOjE3MDAwMDE4MDB9.x", 1800000);
	/* its own word, where the answer has another */
	reads(jwt, NULL, 0, "{\"jwt\":\"e30.eyJleHAiOjE3MDAwMDE4MDB9.x\",\"expires_in\":60}",
	      "e30.eyJleHAiOjE3MDAwMDE4MDB9.x", 1800000);
	reads(jwt, NULL, 0, "{\"jwt\":\"opaque\"}", "opaque", 3600000);
	reads(header, "x-token\0abc", sizeof("x-token\0abc"), NULL, "abc", 3600000);
	reads(header, "x-other\0abc", sizeof("x-other\0abc"), NULL, NULL, 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_jwt),
		cmocka_unit_test(test_answers),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
