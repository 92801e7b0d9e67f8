/* Webhook schemes by known answers, as the partners' documents and libraries give them, and what must not pass. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>

#include "common/base/crypto.h"
#include "common/base/hmac.h"
#include "drivers/kit/form.h"
#include "drivers/kit/verify.h"

#define HEADERS_MAX 8

struct sent {
	const char *header[HEADERS_MAX][2];
	const char *body, *url, *path_secret;
	bool form;
	int64_t now_s;
};

static const char *find(const char *name, void *arg)
{
	const struct sent *s = arg;

	for (int i = 0; i < HEADERS_MAX && s->header[i][0]; i++)
		if (strcasecmp(s->header[i][0], name) == 0)
			return s->header[i][1];
	return NULL;
}

static enum verify_verdict ask(const struct manifest_verify *v, const char *credentials,
			       struct sent *s)
{
	struct verify_secrets secrets = { .n = 0 };
	struct secret json = SECRET_INIT;
	struct verify_request q = { .method = "POST",
				    .url = s->url ? s->url : "https://x.example/webhooks/p/1",
				    .path_secret = s->path_secret,
				    .headers = { find, s },
				    .body = s->body ? s->body : "",
				    .len = s->body ? strlen(s->body) : 0,
				    .form = s->form,
				    .now_ms = s->now_s * 1000 };
	enum verify_verdict verdict;
	char text[160];

	secret_set(&json, credentials, strlen(credentials));
	assert_int_equal(verify_secrets_read(&secrets, v->key ? v->key : "webhook_secret", &json),
			 0);
	verdict = verify(v, &secrets, &q, text);
	assert_true(verdict == VERIFY_GENUINE ? !text[0] : text[0] != 0);
	assert_null(strstr(text, "secret-"));
	secret_clear(&json);
	verify_secrets_clear(&secrets);
	return verdict;
}

static void test_standard(void **state)
{
	const struct manifest_verify v = { .scheme = VERIFY_STANDARD, .tolerance_ms = 300000 };
	const char *good = "{\"webhook_secret\": \"whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw\"}";
	const char *bare = "{\"webhook_secret\": \"MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw\"}";
	struct sent s = {
		.header = { { "webhook-id", "msg_p5jXN8AQM9LWM0D4loKWxJek" },
			    { "webhook-timestamp", "1614265330" },
			    { "webhook-signature",
			      "v1,bm90IHRoaXMgb25l v2,x v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=" } },
		.body = "{\"test\": 2432232314}",
		.now_s = 1614265330
	};

	assert_int_equal(ask(&v, good, &s), VERIFY_GENUINE);
	assert_int_equal(ask(&v, bare, &s), VERIFY_GENUINE);
	assert_int_equal(ask(&v, "{\"webhook_secret\": \"whsec_bm90aGluZw==\"}", &s), VERIFY_WRONG);
	assert_int_equal(ask(&v, "{}", &s), VERIFY_NO_SECRET);
	assert_int_equal(ask(&v, "{\"webhook_secret\": 7}", &s), VERIFY_NO_SECRET);
	s.now_s += 300;
	assert_int_equal(ask(&v, good, &s), VERIFY_GENUINE);
	s.now_s += 1;
	assert_int_equal(ask(&v, good, &s), VERIFY_OLD);
	s.now_s -= 602;
	assert_int_equal(ask(&v, good, &s), VERIFY_OLD); /* a clock ahead of ours */
	s.header[1][1] = "1614265331";
	assert_int_equal(ask(&v, good, &s), VERIFY_WRONG);
	s.header[2][0] = "webhook-sig";
	assert_int_equal(ask(&v, good, &s), VERIFY_MISSING);
}

/* RFC 8032's first key, as a public key of v1a. */
static void test_standard_public(void **state)
{
	const struct manifest_verify v = { .scheme = VERIFY_STANDARD, .tolerance_ms = 300000 };
	struct sent s = { .header = { { "webhook-id", "msg_1" },
				      { "webhook-timestamp", "1614265330" },
				      { "webhook-signature", "v1a,AAAA" } },
			  .body = "x",
			  .now_s = 1614265330 };

	assert_int_equal(
		ask(&v,
		    "{\"webhook_secret\": \"whpk_11qYAYKxCrfVS/7TyWQHOg7hcvPapiMlrwIaaPcHURo=\"}",
		    &s),
		VERIFY_WRONG);
	assert_int_equal(ask(&v, "{\"webhook_secret\": \"whpk_short\"}", &s), VERIFY_WRONG);
}

static void test_slack(void **state)
{
	const struct manifest_verify v = { .scheme = VERIFY_SLACK, .tolerance_ms = 300000 };
	struct sent s = {
		.header = { { "X-Slack-Signature",
			      "v0=a2114d57b48eac39b9ad189dd8316235a7b4a8d21a10bd27519666489c69b503" },
			    { "X-Slack-Request-Timestamp", "1531420618" } },
		.body = "token=xyzz0WbapA4vBCDEFasx0q6G&team_id=T1DC2JH3J&team_domain=testteamnow&"
			"channel_id=G8PSS9T3V&channel_name=foobar&user_id=U2CERLKJA&user_name="
			"roadrunner&command=%2Fwebhook-collect&text=&response_url=https%3A%2F%2F"
			"hooks.slack.com%2Fcommands%2FT1DC2JH3J%2F397700885554%2F"
			"96rGlfmibIGlgcZRskXaIFfN&trigger_id=398738663015.47445629121."
			"803a0bc887a14d10d2c447fce8b6703c",
		.form = true,
		.now_s = 1531420618
	};
	const char *good = "{\"webhook_secret\": \"8f742231b10e8888abcd99yyyzzz85a5\"}";

	assert_int_equal(ask(&v, good, &s), VERIFY_GENUINE);
	s.header[1][1] = "1531420619";
	assert_int_equal(ask(&v, good, &s), VERIFY_WRONG);
	s.header[0][1] = "v1=a2114d57b48eac39b9ad189dd8316235a7b4a8d21a10bd27519666489c69b503";
	assert_int_equal(ask(&v, good, &s), VERIFY_MISSING);
}

static void test_twilio(void **state)
{
	const struct manifest_verify v = { .scheme = VERIFY_TWILIO };
	struct sent s = {
		.header = { { "X-Twilio-Signature", "RSOYDt4T1cUTdK1PDd93/VVr8B8=" } },
		.url = "https://mycompany.com/myapp.php?foo=1&bar=2",
		.body = "Digits=1234&To=%2B18005551212&From=%2B14158675309&Caller=%2B14158675309"
			"&CallSid=CA1234567890ABCDE",
		.form = true
	};
	const char *good = "{\"webhook_secret\": \"12345\"}";

	assert_int_equal(ask(&v, good, &s), VERIFY_GENUINE);
	s.url = "https://mycompany.com:443/myapp.php?foo=1&bar=2"; /* as a proxy may show it */
	assert_int_equal(ask(&v, good, &s), VERIFY_GENUINE);
	s.url = "https://mycompany.com:8443/myapp.php?foo=1&bar=2";
	assert_int_equal(ask(&v, good, &s), VERIFY_GENUINE); /* the port alone is forgiven */
	s.url = "http://mycompany.com/myapp.php?foo=1&bar=2";
	assert_int_equal(ask(&v, good, &s), VERIFY_WRONG);
	s.url = "https://mycompany.com/myapp.php?foo=1&bar=2";
	s.form = false; /* a body that is neither signed nor summed */
	assert_int_equal(ask(&v, good, &s), VERIFY_WRONG);
}

/* Signs as the manifest says, with both notations. */
static void sign(enum hmac_alg alg, bool base64, const char *key, const char *text, char *out)
{
	uint8_t mac[HMAC_BYTES_MAX];
	size_t n = hmac(alg, key, strlen(key), text, strlen(text), mac);
	struct buf b = BUF_INIT;

	if (base64) {
		base64_encode(&b, mac, n);
		memcpy(out, b.data, b.len + 1);
	} else {
		crypto_hex(mac, n, out);
	}
	buf_clear(&b);
}

static void test_general(void **state)
{
	const struct manifest_verify v = { .scheme = VERIFY_HMAC,
					   .alg = VERIFY_SHA512,
					   .base64 = true,
					   .header = "x-sig",
					   .split = "ts=,h1=,h2=",
					   .id = "x-id",
					   .signed_bytes = "{method}|{url}|{id}|{ts}|{body}",
					   .key = "signing_key",
					   .tolerance_ms = 60000 };
	const char *good = "{\"signing_key\": [\"secret-new\", 7, \"secret-more\"],"
			   " \"signing_key_previous\": \"secret-old\"}";
	const char *keys[] = { "secret-new", "secret-more", "secret-old" };
	char mac[200], header[600];
	struct sent s = { .header = { { "X-Sig", header }, { "X-Id", "a.b" } },
			  .body = "{\"a\":1}",
			  .now_s = 1700000000 };

	for (int i = 0; i < 3; i++) {
		sign(HMAC_SHA512, true, keys[i],
		     "POST|https://x.example/webhooks/p/1|a.b|1700000000|{\"a\":1}", mac);
		snprintf(header, sizeof(header), "ts=1700000000;h1=AAAA; h2=%s,h3=x", mac);
		assert_int_equal(ask(&v, good, &s), VERIFY_GENUINE);
	}
	snprintf(header, sizeof(header), "ts=1700000000;h3=%s", mac);
	assert_int_equal(ask(&v, good, &s), VERIFY_MISSING);
	snprintf(header, sizeof(header), "h1=%s", mac);
	assert_int_equal(ask(&v, good, &s), VERIFY_MISSING);
	snprintf(header, sizeof(header), "ts=1700000001;h1=%s", mac);
	assert_int_equal(ask(&v, good, &s), VERIFY_WRONG);
	snprintf(header, sizeof(header), "ts=1700000000;h1=%s", mac);
	s.now_s += 61;
	assert_int_equal(ask(&v, good, &s), VERIFY_OLD);
}

static void test_presets(void **state)
{
	static const struct {
		enum verify_scheme scheme;
		const char *header, *prefix;
		bool base64;
	} all[] = { { VERIFY_GITHUB, "X-Hub-Signature-256", "sha256=", false },
		    { VERIFY_SHOPIFY, "X-Shopify-Hmac-Sha256", "", true } };
	char mac[200], header[300];

	for (int i = 0; i < 2; i++) {
		const struct manifest_verify v = { .scheme = all[i].scheme };
		struct sent s = { .header = { { all[i].header, header } }, .body = "body" };

		sign(HMAC_SHA256, all[i].base64, "secret-1", "body", mac);
		snprintf(header, sizeof(header), "%s%s", all[i].prefix, mac);
		assert_int_equal(ask(&v, "{\"webhook_secret\": \"secret-1\"}", &s), VERIFY_GENUINE);
		s.body = "bodx";
		assert_int_equal(ask(&v, "{\"webhook_secret\": \"secret-1\"}", &s), VERIFY_WRONG);
	}
	sign(HMAC_SHA256, false, "secret-1", "1700000000.body", mac);
	snprintf(header, sizeof(header), "t=1700000000,v1=00,v1=%s,v0=11", mac);
	struct sent s = { .header = { { "stripe-signature", header } },
			  .body = "body",
			  .now_s = 1700000000 };
	const struct manifest_verify stripe = { .scheme = VERIFY_STRIPE, .tolerance_ms = 300000 };
	assert_int_equal(ask(&stripe, "{\"webhook_secret\": \"secret-1\"}", &s), VERIFY_GENUINE);
	/* two times: the first is the one that is signed */
	snprintf(header, sizeof(header), "t=1700000001,t=1700000000,v1=%s", mac);
	assert_int_equal(ask(&stripe, "{\"webhook_secret\": \"secret-1\"}", &s), VERIFY_WRONG);
}

static void test_sums_and_tokens(void **state)
{
	const struct manifest_verify suffix = { .scheme = VERIFY_SHA256_SUFFIX, .header = "x-sum" };
	const struct manifest_verify path = { .scheme = VERIFY_URL_SECRET };
	const struct manifest_verify basic = { .scheme = VERIFY_BASIC };
	uint8_t sum[SHA256_BYTES];
	char hex[2 * SHA256_BYTES + 1], stored[128];
	struct sent s = { .header = { { "X-Sum", hex } }, .body = "body" };

	crypto_sha256("bodysecret-1", 12, sum);
	crypto_hex(sum, sizeof(sum), hex);
	assert_int_equal(ask(&suffix, "{\"webhook_secret\": \"secret-1\"}", &s), VERIFY_GENUINE);
	hex[5] ^= 1;
	assert_int_equal(ask(&suffix, "{\"webhook_secret\": \"secret-1\"}", &s), VERIFY_WRONG);

	crypto_sha256("of-the-address", 14, sum);
	crypto_hex(sum, sizeof(sum), hex);
	snprintf(stored, sizeof(stored), "{\"webhook_secret\": \"sha256:%s\"}", hex);
	s.path_secret = "of-the-address";
	assert_int_equal(ask(&path, stored, &s), VERIFY_GENUINE);
	assert_int_equal(ask(&path, "{\"webhook_secret\": \"of-the-address\"}", &s), VERIFY_WRONG);
	s.path_secret = NULL;
	assert_int_equal(ask(&path, stored, &s), VERIFY_WRONG);

	s.header[0][0] = "Authorization";
	s.header[0][1] = "Basic dXNlcjpwYXNz"; /* user:pass */
	assert_int_equal(ask(&basic, "{\"webhook_secret\": \"user:pass\"}", &s), VERIFY_GENUINE);
	assert_int_equal(ask(&basic, "{\"webhook_secret\": \"pass\"}", &s), VERIFY_GENUINE);
	assert_int_equal(ask(&basic, "{\"webhook_secret\": \"other:pass\"}", &s), VERIFY_WRONG);
	s.header[0][1] = "Basic dXNlcg=="; /* user */
	assert_int_equal(ask(&basic, "{\"webhook_secret\": \"user\"}", &s), VERIFY_WRONG);
	assert_false(verify_is_proof(VERIFY_URL_SECRET) || verify_is_proof(VERIFY_NOTHING));
	assert_true(verify_is_proof(VERIFY_BASIC) && verify_is_proof(VERIFY_STRIPE));
}

static void test_forms(void **state)
{
	static const char *const bad[] = { "a=%", "a=%4", "%zz=1", "a=1&b=%f" };
	const char *text = "b=2&a=%41+%2B&&=v&a=x&a=x&n&b=1&bad=%ff%00";
	struct buf out = BUF_INIT, many = BUF_INIT;
	struct form f;

	assert_int_equal(form_read(&f, text, strlen(text)), 0);
	form_sorted(&f, &out);
	assert_string_equal(buf_str(&out), "vaA +axb1b2bad\xff"); /* up to the NUL */
	buf_reset(&out);
	form_json(&f, &out);
	assert_string_equal(
		buf_str(&out),
		"{\"b\":[\"2\",\"1\"],\"a\":[\"A +\",\"x\",\"x\"],\"\": \"v\",\"n\": \"\","
		"\"bad\": \"\xef\xbf\xbd\xef\xbf\xbd\"}");
	form_clear(&f);
	for (size_t i = 0; i < sizeof(bad) / sizeof(*bad); i++)
		assert_int_equal(form_read(&f, bad[i], strlen(bad[i])), -EINVAL);
	for (int i = 0; i <= FORM_FIELDS_MAX; i++)
		buf_printf(&many, "f%d=1&", i);
	assert_int_equal(form_read(&f, many.data, many.len), -E2BIG);
	buf_clear(&many);
	buf_clear(&out);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_standard), cmocka_unit_test(test_standard_public),
		cmocka_unit_test(test_slack),    cmocka_unit_test(test_twilio),
		cmocka_unit_test(test_general),  cmocka_unit_test(test_presets),
		cmocka_unit_test(test_forms),    cmocka_unit_test(test_sums_and_tokens),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
