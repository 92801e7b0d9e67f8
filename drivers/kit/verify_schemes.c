/* The schemes that are more, or less, than a keyed hash over a template. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "common/base/crypto.h"
#include "common/base/hmac.h"
#include "common/base/mem.h"
#include "common/base/pubkey.h"
#include "drivers/kit/form.h"
#include "drivers/kit/verify_parts.h"

/* ---- standard_webhooks ---- */

/* "v1,BASE64 v1a,BASE64 …" */
static int split_list(const char *value, const char *version, struct span out[SIGNATURES_MAX])
{
	size_t v = strlen(version);
	int n = 0;

	while (*value && n < SIGNATURES_MAX) {
		size_t len = strcspn(value, " ");

		if (len > v + 1 && !memcmp(value, version, v) && value[v] == ',')
			out[n++] = (struct span){ value + v + 1, len - v - 1 };
		value += len + (value[len] != '\0');
	}
	return n;
}

/* The bytes of a key behind its name; false: it has another name, or is no base64. */
static bool key_bytes(const struct secret *s, const char *prefix, bool bare, struct buf *out)
{
	const char *text = secret_reveal(s);
	size_t n = strlen(prefix);

	if (strncmp(text, prefix, n) == 0)
		text += n;
	else if (!bare || strncmp(text, "whpk_", 5) == 0)
		return false;
	return base64_decode(text, strlen(text), out) == 0 && out->len > 0;
}

static bool standard_mac(const struct secret *s, const struct buf *bytes, const char *list)
{
	struct span v[SIGNATURES_MAX];
	int n = split_list(list, "v1", v);
	struct buf key = BUF_INIT;
	uint8_t mac[HMAC_BYTES_MAX];
	bool same = false;

	if (key_bytes(s, "whsec_", true, &key)) {
		size_t len = hmac(HMAC_SHA256, key.data, key.len, bytes->data, bytes->len, mac);

		for (int i = 0; i < n; i++)
			same |= signature_is(v[i], true, mac, len);
	}
	secret_free_buf(&key);
	return same;
}

static bool standard_public(const struct secret *s, const struct buf *bytes, const char *list)
{
	struct span v[SIGNATURES_MAX];
	int n = split_list(list, "v1a", v);
	struct buf key = BUF_INIT, sig = BUF_INIT;
	bool same = false;

	if (n && key_bytes(s, "whpk_", false, &key)) {
		for (int i = 0; i < n && !same; i++) {
			buf_reset(&sig);
			same = base64_decode(v[i].p, v[i].len, &sig) == 0 &&
			       pubkey_ed25519(key.data, key.len, bytes->data, bytes->len, sig.data,
					      sig.len) == 0;
		}
	}
	buf_clear(&sig);
	secret_free_buf(&key);
	return same;
}

enum verify_verdict verify_standard(const struct manifest_verify *v, const struct verify_secrets *s,
				    const struct verify_request *q, char text[TEXT_BYTES])
{
	const char *prefix = v->prefix ? v->prefix : "webhook-";
	char name[64];
	const char *id, *ts, *list;
	struct buf bytes = BUF_INIT;
	bool same = false;

	snprintf(name, sizeof(name), "%.40sid", prefix);
	id = header_need(q, name, text);
	snprintf(name, sizeof(name), "%.40stimestamp", prefix);
	ts = id ? header_need(q, name, text) : NULL;
	snprintf(name, sizeof(name), "%.40ssignature", prefix);
	list = ts ? header_need(q, name, text) : NULL;
	if (!list)
		return VERIFY_MISSING;
	buf_reserve(&bytes, q->len + 128);
	buf_puts(&bytes, id);
	buf_putc(&bytes, '.');
	buf_puts(&bytes, ts);
	buf_putc(&bytes, '.');
	buf_append(&bytes, q->body, q->len);
	for (int i = 0; i < s->n; i++)
		same |= standard_mac(&s->v[i], &bytes, list) |
			standard_public(&s->v[i], &bytes, list);
	buf_clear(&bytes);
	if (!same)
		return VERIFY_WRONG;
	return stamp_check((struct span){ ts, strlen(ts) }, q->now_ms, v->tolerance_ms, text);
}

/* ---- twilio ---- */

/* The address with the scheme's own port written out, or left away: proxies add and remove it. */
static void other_port(const char *url, struct buf *out)
{
	bool tls = strncmp(url, "https://", 8) == 0;
	const char *host = strstr(url, "://"), *colon;
	const char *port = tls ? ":443" : ":80";
	size_t n, before;

	if (!host)
		return;
	host += 3;
	n = strcspn(host, "/?#");
	colon = memchr(host, ':', n);
	if (host[0] == '[') {
		const char *close = memchr(host, ']', n);

		colon = close && close[1] == ':' ? close + 1 : NULL;
	}
	before = (size_t)(host - url) + (colon ? (size_t)(colon - host) : n);
	buf_append(out, url, before);
	if (!colon)
		buf_puts(out, port);
	buf_puts(out, host + n);
}

static bool twilio_mac(const struct verify_secrets *s, const char *url, const struct buf *form,
		       struct span sig)
{
	struct buf bytes = BUF_INIT;
	uint8_t mac[HMAC_BYTES_MAX];
	bool same = false;

	buf_puts(&bytes, url);
	buf_append(&bytes, buf_str(form), form->len);
	for (int i = 0; i < s->n; i++) {
		size_t len =
			hmac(HMAC_SHA1, s->v[i].bytes, s->v[i].len, bytes.data, bytes.len, mac);

		same |= signature_is(sig, true, mac, len);
	}
	buf_clear(&bytes);
	return same;
}

/* A body that is no form is held to the sum of it that is in the address, which is signed. */
static bool body_is_of_url(const struct verify_request *q)
{
	static const char name[] = "bodySHA256=";
	const char *at = strchr(q->url, '?');
	uint8_t sum[SHA256_BYTES];

	while (at && strncmp(at + 1, name, sizeof(name) - 1) != 0)
		at = strchr(at + 1, '&');
	if (!at)
		return false;
	at += sizeof(name);
	crypto_sha256(q->body, q->len, sum);
	return signature_is((struct span){ at, strcspn(at, "&#") }, false, sum, sizeof(sum));
}

enum verify_verdict verify_twilio(const struct manifest_verify *v, const struct verify_secrets *s,
				  const struct verify_request *q, char text[TEXT_BYTES])
{
	const char *value = header_need(q, v->header ? v->header : "x-twilio-signature", text);
	bool summed = strstr(q->url, "bodySHA256=") != NULL, same;
	struct buf form = BUF_INIT, other = BUF_INIT;
	struct form fields = { 0 };

	if (!value)
		return VERIFY_MISSING;
	if (!summed && q->form && form_read(&fields, q->body, q->len) == 0)
		form_sorted(&fields, &form);
	other_port(q->url, &other);
	same = twilio_mac(s, q->url, &form, (struct span){ value, strlen(value) }) |
	       twilio_mac(s, buf_str(&other), &form, (struct span){ value, strlen(value) });
	/* of a body that is neither signed nor summed nothing may be believed */
	if (summed ? !body_is_of_url(q) : !q->form && q->len)
		same = false;
	form_clear(&fields);
	buf_clear(&form);
	buf_clear(&other);
	return same ? VERIFY_GENUINE : VERIFY_WRONG;
}

/* ---- sendgrid ---- */

enum verify_verdict verify_sendgrid(const struct manifest_verify *v, const struct verify_secrets *s,
				    const struct verify_request *q, char text[TEXT_BYTES])
{
	const char *value =
		header_need(q, v->header ? v->header : "x-twilio-email-event-webhook-signature",
			    text);
	const char *ts =
		value ? header_need(q, "x-twilio-email-event-webhook-timestamp", text) : NULL;
	struct buf bytes = BUF_INIT, sig = BUF_INIT;
	bool same = false;

	if (!ts)
		return VERIFY_MISSING;
	buf_puts(&bytes, ts);
	buf_append(&bytes, q->body, q->len);
	if (base64_decode(value, strlen(value), &sig) == 0)
		for (int i = 0; i < s->n && !same; i++)
			same = pubkey_ecdsa(secret_reveal(&s->v[i]), bytes.data, bytes.len,
					    buf_str(&sig), sig.len) == 0;
	buf_clear(&bytes);
	buf_clear(&sig);
	if (!same)
		return VERIFY_WRONG;
	return stamp_check((struct span){ ts, strlen(ts) }, q->now_ms, v->tolerance_ms, text);
}

/* ---- those that sign nothing, or everything with a plain sum ---- */

static bool behind_prefix(const char *value, const char *prefix, struct span *out)
{
	size_t n = prefix ? strlen(prefix) : 0;

	if (strncmp(value, prefix ? prefix : "", n) != 0)
		return false;
	*out = (struct span){ value + n, strlen(value + n) };
	return true;
}

enum verify_verdict verify_suffix(const struct manifest_verify *v, const struct verify_secrets *s,
				  const struct verify_request *q, char text[TEXT_BYTES])
{
	const char *value = header_need(q, v->header, text);
	uint8_t sum[SHA256_BYTES];
	bool same = false;
	struct span sig;

	if (!value || !behind_prefix(value, v->prefix, &sig))
		return value ? VERIFY_WRONG : VERIFY_MISSING;
	for (int i = 0; i < s->n; i++) {
		struct buf bytes = BUF_INIT;

		buf_append(&bytes, q->body, q->len);
		buf_append(&bytes, s->v[i].bytes, s->v[i].len);
		crypto_sha256(bytes.data, bytes.len, sum);
		same |= signature_is(sig, false, sum, sizeof(sum));
		secret_free_buf(&bytes);
	}
	return same ? VERIFY_GENUINE : VERIFY_WRONG;
}

/* Sums are compared, so that neither content nor length shows in the time. */
static bool same_text(const char *a, size_t alen, const char *b, size_t blen)
{
	uint8_t x[SHA256_BYTES], y[SHA256_BYTES];

	crypto_sha256(a, alen, x);
	crypto_sha256(b, blen, y);
	return secret_equal(x, sizeof(x), y, sizeof(y));
}

enum verify_verdict verify_basic(const struct manifest_verify *v, const struct verify_secrets *s,
				 const struct verify_request *q, char text[TEXT_BYTES])
{
	const char *value = header_need(q, v->header ? v->header : "authorization", text);
	struct buf said = BUF_INIT;
	bool same = false;

	if (!value)
		return VERIFY_MISSING;
	if (strncasecmp(value, "Basic ", 6) == 0) {
		value += 6 + strspn(value + 6, " ");
		if (base64_decode(value, strlen(value), &said) < 0)
			buf_reset(&said);
	}
	for (int i = 0; i < s->n && said.len; i++) {
		const char *own = secret_reveal(&s->v[i]), *from = said.data;
		const char *colon = memchr(said.data, ':', said.len);

		if (!memchr(own, ':', s->v[i].len))
			from = colon ? colon + 1 : from + said.len;
		same |= same_text(from, (size_t)(said.data + said.len - from), own, s->v[i].len);
	}
	secret_free_buf(&said);
	return same ? VERIFY_GENUINE : VERIFY_WRONG;
}

enum verify_verdict verify_token(const struct manifest_verify *v, const struct verify_secrets *s,
				 const struct verify_request *q, char text[TEXT_BYTES])
{
	const char *value = header_need(q, v->header, text);
	bool same = false;
	struct span said;

	if (!value || !behind_prefix(value, v->prefix, &said))
		return value ? VERIFY_WRONG : VERIFY_MISSING;
	for (int i = 0; i < s->n; i++)
		same |= same_text(said.p, said.len, s->v[i].bytes, s->v[i].len);
	return same ? VERIFY_GENUINE : VERIFY_WRONG;
}

enum verify_verdict verify_path(const struct manifest_verify *v, const struct verify_secrets *s,
				const struct verify_request *q, char text[TEXT_BYTES])
{
	static const char name[] = "sha256:";
	const char *said = q->path_secret ? q->path_secret : "";
	uint8_t sum[SHA256_BYTES];
	bool same = false;

	crypto_sha256(said, strlen(said), sum);
	for (int i = 0; i < s->n; i++) {
		const char *own = secret_reveal(&s->v[i]);

		if (strncmp(own, name, sizeof(name) - 1) != 0)
			continue;
		own += sizeof(name) - 1;
		same |= signature_is((struct span){ own, strlen(own) }, false, sum, sizeof(sum));
	}
	return same && *said ? VERIFY_GENUINE : VERIFY_WRONG;
}
