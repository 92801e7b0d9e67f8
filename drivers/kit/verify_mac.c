/* A keyed hash over a template: what a manifest says with the scheme "hmac", and the presets of those that are nothing else. */
#include <stdio.h>
#include <string.h>

#include "common/base/hmac.h"
#include "common/base/mem.h"
#include "drivers/kit/form.h"
#include "drivers/kit/verify_parts.h"

struct mac_spec {
	const char *header, *prefix, *timestamp, *id, *split, *signed_bytes;
	enum hmac_alg alg;
	bool base64;
};

static const struct mac_spec presets[] = {
	[VERIFY_STRIPE] = { "stripe-signature", NULL, NULL, NULL, "t=,v1=", "{ts}.{body}",
			    HMAC_SHA256, false },
	[VERIFY_SLACK] = { "x-slack-signature", "v0=", "x-slack-request-timestamp", NULL, NULL,
			   "v0:{ts}:{body}", HMAC_SHA256, false },
	[VERIFY_GITHUB] = { "x-hub-signature-256", "sha256=", NULL, NULL, NULL, "{body}",
			    HMAC_SHA256, false },
	[VERIFY_SHOPIFY] = { "x-shopify-hmac-sha256", NULL, NULL, NULL, NULL, "{body}", HMAC_SHA256,
			     true },
};

static struct mac_spec spec_of(const struct manifest_verify *v)
{
	static const enum hmac_alg algs[] = { [VERIFY_SHA1] = HMAC_SHA1,
					      [VERIFY_SHA256] = HMAC_SHA256,
					      [VERIFY_SHA512] = HMAC_SHA512 };
	struct mac_spec m;

	if (v->scheme == VERIFY_HMAC)
		return (struct mac_spec){ v->header, v->prefix,       v->timestamp, v->id,
					  v->split,  v->signed_bytes, algs[v->alg], v->base64 };
	m = presets[v->scheme];
	if (v->header)
		m.header = v->header;
	if (v->prefix)
		m.prefix = v->prefix;
	return m;
}

static bool begins(struct span s, const char *with, size_t n)
{
	return s.len >= n && memcmp(s.p, with, n) == 0;
}

static struct span without(struct span s, size_t n)
{
	return (struct span){ s.p + n, s.len - n };
}

static void add_signature(struct signature_parts *out, struct span s, const char *prefix)
{
	size_t n = prefix ? strlen(prefix) : 0;

	if (s.len && begins(s, prefix ? prefix : "", n) && out->n < SIGNATURES_MAX)
		out->v[out->n++] = without(s, n);
}

/* One word of the header: of split's names the first means the time (where there are several), the others signatures. */
static void add_word(struct signature_parts *out, struct span word, const char *split,
		     const char *prefix)
{
	bool several = strchr(split, ',') != NULL;
	const char *name = split;

	for (int i = 0; *name; i++) {
		size_t n = strcspn(name, ",");

		if (n && begins(word, name, n)) {
			if (i > 0 || !several)
				add_signature(out, without(word, n), prefix);
			else if (!out->ts.p)
				out->ts = without(word, n);
			return;
		}
		name += n + (name[n] == ',');
	}
}

static void take_apart(struct signature_parts *out, const char *value, const struct mac_spec *m)
{
	while (*value) {
		size_t n = strcspn(value, ", ;");

		if (n && m->split)
			add_word(out, (struct span){ value, n }, m->split, m->prefix);
		else if (n)
			add_signature(out, (struct span){ value, n }, m->prefix);
		value += n + (value[n] != '\0');
	}
}

static bool parts_read(struct signature_parts *out, const struct mac_spec *m,
		       const struct verify_request *q, char text[TEXT_BYTES])
{
	const char *value = header_need(q, m->header, text), *ts = NULL, *id = NULL;

	if (!value || (m->timestamp && !(ts = header_need(q, m->timestamp, text))) ||
	    (m->id && !(id = header_need(q, m->id, text))))
		return false;
	take_apart(out, value, m);
	if (ts)
		out->ts = (struct span){ ts, strlen(ts) };
	if (id)
		out->id = (struct span){ id, strlen(id) };
	if (out->n == 0 || (m->split && strchr(m->split, ',') && !out->ts.p)) {
		snprintf(text, TEXT_BYTES, "the header %.40s does not read like %.40s…", m->header,
			 m->split    ? m->split
			 : m->prefix ? m->prefix
				     : "a signature");
		return false;
	}
	return true;
}

static void put_name(struct buf *out, const char *name, size_t n, const struct signature_parts *p,
		     const struct verify_request *q)
{
	struct form form = { 0 };

	if (n == 4 && !memcmp(name, "body", n))
		buf_append(out, q->body, q->len);
	else if (n == 3 && !memcmp(name, "url", n))
		buf_puts(out, q->url);
	else if (n == 2 && !memcmp(name, "id", n) && p->id.p)
		buf_append(out, p->id.p, p->id.len);
	else if (n == 2 && !memcmp(name, "ts", n) && p->ts.p)
		buf_append(out, p->ts.p, p->ts.len);
	else if (n == 6 && !memcmp(name, "method", n))
		buf_puts(out, q->method);
	else if (n == 11 && !memcmp(name, "sorted_form", n) && q->form &&
		 form_read(&form, q->body, q->len) == 0)
		form_sorted(&form, out);
	form_clear(&form);
}

/* Not subst(): a body may hold any bytes. */
static void signed_text(const char *t, const struct signature_parts *p,
			const struct verify_request *q, struct buf *out)
{
	buf_reserve(out, q->len + 128);
	while (*t) {
		size_t n = *t == '{' ? strcspn(t, "}") : 0;

		if (n && t[n]) {
			put_name(out, t + 1, n - 1, p, q);
			t += n + 1;
		} else {
			buf_putc(out, *t++);
		}
	}
}

enum verify_verdict verify_mac(const struct manifest_verify *v, const struct verify_secrets *s,
			       const struct verify_request *q, char text[TEXT_BYTES])
{
	struct mac_spec m = spec_of(v);
	struct signature_parts p = { 0 };
	struct buf bytes = BUF_INIT;
	uint8_t mac[HMAC_BYTES_MAX];
	bool same = false, whole = strcmp(m.signed_bytes, "{body}") == 0;

	if (!parts_read(&p, &m, q, text))
		return VERIFY_MISSING;
	if (!whole)
		signed_text(m.signed_bytes, &p, q, &bytes);
	for (int i = 0; i < s->n; i++) {
		size_t len =
			hmac(m.alg, s->v[i].bytes, s->v[i].len, whole ? q->body : buf_str(&bytes),
			     whole ? q->len : bytes.len, mac);

		for (int k = 0; k < p.n; k++)
			same |= signature_is(p.v[k], m.base64, mac, len);
	}
	buf_clear(&bytes);
	if (!same)
		return VERIFY_WRONG;
	return p.ts.p ? stamp_check(p.ts, q->now_ms, v->tolerance_ms, text) : VERIFY_GENUINE;
}
