#include "drivers/kit/verify.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/clock.h"
#include "common/base/crypto.h"
#include "common/base/mem.h"
#include "drivers/kit/verify_parts.h"

#define SECRET_BYTES_MAX 4096
#define CREDENTIALS_BYTES_MAX (64 * 1024)

/* ---- secrets ---- */

void verify_secrets_clear(struct verify_secrets *s)
{
	for (int i = 0; i < s->n; i++)
		secret_clear(&s->v[i]);
	s->n = 0;
}

static void secrets_add(struct verify_secrets *out, const cJSON *v)
{
	size_t n = cJSON_IsString(v) ? strlen(v->valuestring) : 0;

	if (n == 0 || n > SECRET_BYTES_MAX || out->n == VERIFY_SECRETS_MAX)
		return;
	out->v[out->n] = (struct secret)SECRET_INIT;
	secret_set(&out->v[out->n++], v->valuestring, n);
}

static void secrets_of(struct verify_secrets *out, const cJSON *credentials, const char *name)
{
	const cJSON *v = cJSON_GetObjectItemCaseSensitive(credentials, name), *one;

	secrets_add(out, v);
	if (cJSON_IsArray(v))
		cJSON_ArrayForEach (one, v)
			secrets_add(out, one);
}

int verify_secrets_read(struct verify_secrets *out, const char *key, const struct secret *json)
{
	char *previous = mem_printf("%s_previous", key);
	cJSON *tree = NULL;
	int rc = json_parse(secret_reveal(json), json->len, CREDENTIALS_BYTES_MAX, &tree, NULL);

	if (rc == 0 && cJSON_IsObject(tree)) {
		secrets_of(out, tree, key);
		secrets_of(out, tree, previous);
	} else {
		rc = -EINVAL;
	}
	json_zero(tree);
	cJSON_Delete(tree);
	free(previous);
	return rc;
}

/* ---- what the schemes share ---- */

const char *header_need(const struct verify_request *q, const char *name, char text[TEXT_BYTES])
{
	const char *v = hook_value(&q->headers, name);

	if (!v || !*v) {
		snprintf(text, TEXT_BYTES, "the header %.80s is missing", name);
		return NULL;
	}
	return v;
}

enum verify_verdict stamp_check(struct span ts, int64_t now_ms, int64_t tolerance_ms,
				char text[TEXT_BYTES])
{
	char copy[STAMP_MAX], iso[CLOCK_ISO_MAX];
	int64_t us, off;

	if (ts.len == 0 || ts.len >= sizeof(copy)) {
		snprintf(text, TEXT_BYTES, "the signature's time is missing");
		return VERIFY_MISSING;
	}
	memcpy(copy, ts.p, ts.len);
	copy[ts.len] = '\0';
	if (clock_parse_time(copy, &us, NULL) < 0) {
		snprintf(text, TEXT_BYTES, "the signature's time is no time");
		return VERIFY_MISSING;
	}
	off = us / 1000 - now_ms;
	if (off <= tolerance_ms && off >= -tolerance_ms)
		return VERIFY_GENUINE;
	snprintf(
		text, TEXT_BYTES,
		"signed more than %lld s %s; it is %s here: sign each attempt anew, or set your clock",
		(long long)(tolerance_ms / 1000), off < 0 ? "ago" : "ahead",
		clock_iso(now_ms, iso));
	return VERIFY_OLD;
}

static int hex_digit(char c)
{
	return c >= '0' && c <= '9'                 ? c - '0'
	       : (c | 32) >= 'a' && (c | 32) <= 'f' ? (c | 32) - 'a' + 10
						    : -1;
}

static bool hex_decode(struct span s, uint8_t *out, size_t len)
{
	if (s.len != 2 * len)
		return false;
	for (size_t i = 0; i < len; i++) {
		int high = hex_digit(s.p[2 * i]), low = hex_digit(s.p[2 * i + 1]);

		if (high < 0 || low < 0)
			return false;
		out[i] = (uint8_t)(high << 4 | low);
	}
	return true;
}

bool signature_is(struct span s, bool base64, const void *mac, size_t len)
{
	struct buf bytes = BUF_INIT;
	uint8_t hex[64];
	bool same = false;

	if (!base64)
		return len <= sizeof(hex) && hex_decode(s, hex, len) &&
		       secret_equal(hex, len, mac, len);
	if (s.len <= 2 * len && base64_decode(s.p, s.len, &bytes) == 0)
		same = secret_equal(bytes.data, bytes.len, mac, len);
	buf_clear(&bytes);
	return same;
}

/* ---- */

const char *verify_verdict_name(enum verify_verdict v)
{
	static const char *const names[] = { "genuine", "missing_signature", "bad_signature",
					     "old_signature", "no_secret" };

	return names[v];
}

bool verify_is_proof(enum verify_scheme s)
{
	return s != VERIFY_URL_SECRET && s != VERIFY_NOTHING;
}

static enum verify_verdict verify_by(const struct manifest_verify *v,
				     const struct verify_secrets *s, const struct verify_request *q,
				     char text[TEXT_BYTES])
{
	switch (v->scheme) {
	case VERIFY_STANDARD:
		return verify_standard(v, s, q, text);
	case VERIFY_STRIPE:
	case VERIFY_SLACK:
	case VERIFY_GITHUB:
	case VERIFY_SHOPIFY:
	case VERIFY_HMAC:
		return verify_mac(v, s, q, text);
	case VERIFY_TWILIO:
		return verify_twilio(v, s, q, text);
	case VERIFY_SENDGRID:
		return verify_sendgrid(v, s, q, text);
	case VERIFY_SHA256_SUFFIX:
		return verify_suffix(v, s, q, text);
	case VERIFY_BASIC:
		return verify_basic(v, s, q, text);
	case VERIFY_HEADER_TOKEN:
		return verify_token(v, s, q, text);
	case VERIFY_URL_SECRET:
		return verify_path(v, s, q, text);
	case VERIFY_NOTHING:
		return VERIFY_GENUINE;
	case VERIFY_NO_WEBHOOKS:
		break;
	}
	return VERIFY_NO_SECRET;
}

/* Without a secret of ours the same work is done with one that nobody has: an answer's time does not tell who has none. */
enum verify_verdict verify(const struct manifest_verify *v, const struct verify_secrets *s,
			   const struct verify_request *q, char text[160])
{
	static char nobody[] = "whsec_bm9ib2R5J3Mgc2VjcmV0IGlzIHRoaXMgb25l";
	const struct verify_secrets none = { { { nobody, sizeof(nobody) - 1 } }, 1 };
	char own[TEXT_BYTES] = "";
	enum verify_verdict verdict = verify_by(v, s->n ? s : &none, q, own);

	if (!s->n && v->scheme != VERIFY_NOTHING && verdict != VERIFY_MISSING)
		verdict = VERIFY_NO_SECRET;
	if (verdict == VERIFY_WRONG || verdict == VERIFY_NO_SECRET)
		snprintf(own, sizeof(own), "the signature is not right");
	if (text)
		memcpy(text, own, sizeof(own));
	return verdict;
}
