/* sign_request: what is added to a call when it is about to be sent. */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "common/base/crypto.h"
#include "common/base/id.h"
#include "drivers/kit/auth_store.h"
#include "drivers/kit/call_door.h"
#include "drivers/kit/hooks.h"

#define NONCE_BYTES 16

struct fields {
	struct auth_store *store;
	int64_t integration;
};

static const char *credential_value(const char *name, void *arg)
{
	const struct fields *f = arg;
	const struct auth_entry *e = idmap_get(&f->store->entries, f->integration);

	return e ? credential_field(&e->credential, name) : NULL;
}

static bool breaks_line(const struct hook_fields *f)
{
	for (int i = 0; i < f->n; i++)
		if (strpbrk(f->v[i].name, "\r\n") || strpbrk(f->v[i].value, "\r\n"))
			return true;
	return false;
}

static void add_query(const struct hook_fields *f, struct buf *url)
{
	for (int i = 0; i < f->n; i++) {
		buf_putc(url, strchr(buf_str(url), '?') ? '&' : '?');
		http_escape(url, f->v[i].name, strlen(f->v[i].name));
		buf_putc(url, '=');
		http_escape(url, f->v[i].value, strlen(f->v[i].value));
	}
}

int exchange_sign(struct caller *c, const struct exchange *x, struct buf *url, struct arena *a,
		  struct hook_fields *headers, struct err *err)
{
	struct fields f = { c->door->auth, c->integration->id };
	struct hook_settings settings = { c->driver->manifest, c->integration, a };
	struct hook_signed out = { 0 };
	uint8_t random[NONCE_BYTES];
	char *nonce = arena_alloc(a, 2 * NONCE_BYTES + 1); /* the hook may hand it back */
	const struct hook_signing in = { .method = x->spec->method,
					 .url = buf_str(url),
					 .body = x->spec->body ? x->spec->body : "",
					 .body_len = x->spec->body ? x->spec->body_len : 0,
					 .credential = { credential_value, &f },
					 .settings = hook_settings_of(&settings),
					 .now_ms = door_now_ms(c->door),
					 .nonce = nonce };
	int rc;

	random_bytes(random, sizeof(random));
	crypto_hex(random, sizeof(random), nonce);
	rc = c->driver->hooks->sign_request(&in, a, &out, err);
	if (rc == 0 && (breaks_line(&out.headers) || breaks_line(&out.query)))
		rc = err_set(err, -EINVAL, ERR_INTERNAL, "sign_request", "a line break in a field");
	if (rc < 0)
		return rc;
	add_query(&out.query, url);
	*headers = out.headers;
	return 0;
}
