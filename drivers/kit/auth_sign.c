#include "drivers/kit/auth_sign.h"

#include <errno.h>
#include <string.h>

#include "common/base/clock.h"
#include "common/base/hmac.h"
#include "common/base/id.h"
#include "drivers/kit/auth_store.h"
#include "drivers/kit/subst.h"

#define NONCE_BYTES 16

/* What the names of a template stand for, for one request. */
struct request {
	const struct caller *c;
	const struct credential *credential;
	const char *method;
	struct buf path, query, body, ts, nonce, body_hash, signature, keep;
};

static void request_clear(struct request *q)
{
	buf_clear(&q->path);
	secret_free_buf(&q->query);
	secret_free_buf(&q->body);
	buf_clear(&q->ts);
	buf_clear(&q->nonce);
	buf_clear(&q->body_hash);
	buf_clear(&q->signature);
	buf_clear(&q->keep);
}

static const char *request_value(const char *name, void *arg)
{
	struct request *q = arg;
	const struct {
		const char *name;
		const char *value;
	} own[] = {
		{ "method", q->method },
		{ "path", buf_str(&q->path) },
		{ "query", buf_str(&q->query) },
		{ "body", buf_str(&q->body) },
		{ "ts", buf_str(&q->ts) },
		{ "nonce", buf_str(&q->nonce) },
		{ "body_sha256", buf_str(&q->body_hash) },
		{ "signature", buf_str(&q->signature) },
	};

	for (size_t i = 0; i < sizeof(own) / sizeof(*own); i++)
		if (strcmp(own[i].name, name) == 0)
			return own[i].value;
	if (strncmp(name, "cred.", 5) == 0)
		return credential_field(q->credential, name + 5);
	if (strncmp(name, "cfg.", 4) == 0)
		return cfg_text(q->c->driver->manifest, q->c->integration, name + 4, &q->keep);
	return NULL;
}

static void hex_of(const uint8_t *p, size_t n, struct buf *out)
{
	char hex[2 * HMAC_BYTES_MAX + 1];

	crypto_hex(p, n, hex);
	buf_puts(out, hex);
}

static void stamp(const struct manifest_sign *s, int64_t now_ms, struct buf *out)
{
	char iso[CLOCK_ISO_MAX];

	if (s->ts == SIGN_TS_ISO)
		buf_puts(out, clock_iso(now_ms, iso));
	else
		buf_putint(out, s->ts == SIGN_TS_EPOCH ? now_ms / 1000 : now_ms);
}

static void request_init(struct request *q, struct caller *c, const struct call_spec *spec,
			 const char *url)
{
	const char *host = strstr(url, "://"), *path;
	size_t n;
	uint8_t bytes[SHA256_BYTES];

	path = host ? strchr(host + 3, '/') : NULL;
	n = path ? strcspn(path, "?") : 0;
	buf_append(&q->path, path ? path : "/", path ? n : 1);
	if (path && path[n] == '?')
		buf_puts(&q->query, path + n + 1);
	if (spec->body)
		buf_append(&q->body, spec->body, spec->body_len);
	crypto_sha256(spec->body ? spec->body : "", spec->body ? spec->body_len : 0, bytes);
	hex_of(bytes, SHA256_BYTES, &q->body_hash);
	random_bytes(bytes, NONCE_BYTES);
	hex_of(bytes, NONCE_BYTES, &q->nonce);
	stamp(&c->driver->manifest->auth.sign, redis_now_ms(c->door->redis), &q->ts);
}

static int sign(struct request *q, const struct manifest_sign *s, struct err *err)
{
	const char *key = credential_field(q->credential, s->key);
	uint8_t mac[HMAC_BYTES_MAX];
	struct buf text = BUF_INIT;
	size_t n;
	int rc = subst(s->template, SUBST_RAW, request_value, q, &text, err);

	if (rc == 0) {
		n = hmac(s->alg, key ? key : "", key ? strlen(key) : 0, buf_str(&text), text.len,
			 mac);
		if (s->base64)
			base64_encode(&q->signature, mac, n);
		else
			hex_of(mac, n, &q->signature);
	}
	secret_free_buf(&text);
	return rc;
}

void signing_clear(struct signing *s)
{
	for (int i = 0; i < s->n; i++)
		secret_free_buf(&s->values[i]);
	s->n = 0;
}

static int add_headers(struct request *q, const struct manifest_pairs *p, struct signing *out,
		       struct err *err)
{
	int rc = 0;

	for (int i = 0; i < p->n && i < EXCHANGE_MORE_MAX && rc == 0; i++) {
		out->values[i] = (struct buf)BUF_INIT;
		out->n = i + 1;
		rc = subst(p->v[i].value, SUBST_RAW, request_value, q, &out->values[i], err);
		out->headers[i] = (struct http_header){ p->v[i].name, buf_str(&out->values[i]) };
	}
	return rc;
}

int auth_sign(struct caller *c, const struct call_spec *spec, const char *url, struct signing *out,
	      struct err *err)
{
	const struct manifest_sign *s = &c->driver->manifest->auth.sign;
	struct auth_entry *e = auth_entry_ref(c->door->auth, c);
	struct request q = { .c = c, .credential = &e->credential, .method = spec->method };
	int rc;

	out->n = 0;
	if (e->credential_until_ms == 0) {
		rc = err_set(err, -EAGAIN, ERR_HOLD, "credential", "the credential went stale");
	} else {
		request_init(&q, c, spec, url);
		rc = sign(&q, s, err);
		if (rc == 0)
			rc = add_headers(&q, &s->headers, out, err);
		request_clear(&q);
	}
	auth_entry_unref(e);
	return rc < 0 && rc != -EAGAIN ? -EINVAL : rc;
}
