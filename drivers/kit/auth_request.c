/* The token call: what is sent. */
#include "drivers/kit/auth_token_call.h"

#include <errno.h>
#include <string.h>

#include "common/base/pubkey.h"
#include "drivers/kit/call_door.h"
#include "drivers/kit/subst.h"

struct lookup {
	const struct caller *c;
	const struct credential *credential;
	struct buf keep;
};

static const char *lookup_value(const char *name, void *arg)
{
	struct lookup *l = arg;

	if (strncmp(name, "cred.", 5) == 0)
		return credential_field(l->credential, name + 5);
	if (strncmp(name, "cfg.", 4) == 0)
		return cfg_text(l->c->driver->manifest, l->c->integration, name + 4, &l->keep);
	return NULL;
}

/* What is being put together. */
struct asking {
	struct caller *c;
	const struct credential *credential;
	const struct token_ask *ask;
	bool json;
	struct buf body; /* of a GET: what stands behind the ? */
	struct buf url, basic;
	struct buf values[EXCHANGE_MORE_MAX]; /* of auth.headers */
	struct http_header headers[EXCHANGE_MORE_MAX];
	int n_headers;
};

static void asking_clear(struct asking *k)
{
	secret_free_buf(&k->body);
	secret_free_buf(&k->url);
	secret_free_buf(&k->basic);
	for (int i = 0; i < k->n_headers; i++)
		secret_free_buf(&k->values[i]);
}

static void add_field(struct asking *k, const char *name, const char *value)
{
	struct buf *body = &k->body;

	if (k->json) {
		buf_putc(body, body->len ? ',' : '{');
		json_quote(body, name, strlen(name));
		buf_putc(body, ':');
		json_quote(body, value, strlen(value));
		return;
	}
	if (body->len)
		buf_putc(body, '&');
	http_escape(body, name, strlen(name));
	buf_putc(body, '=');
	http_escape(body, value, strlen(value));
}

static bool in_params(const struct manifest *m, const char *name)
{
	for (int i = 0; i < m->auth.params.n; i++)
		if (strcmp(m->auth.params.v[i].name, name) == 0)
			return true;
	return false;
}

/* The client's id and secret, under whatever names the credential has them. */
static const char *client_field(const struct manifest *m, const struct credential *credential,
				int i)
{
	static const char *const own[] = { "client_id", "client_secret" };
	const char *value = credential_field(credential, own[i]);
	int n;
	const char *const *needs = auth_needs(m, &n);

	return !value && i < n ? credential_field(credential, needs[i]) : value;
}

static void add_client(struct asking *k)
{
	const struct manifest *m = k->c->driver->manifest;
	static const char *const own[] = { "client_id", "client_secret" };

	for (int i = 0; i < 2 && !m->auth.secret_in_basic; i++) {
		const char *value = client_field(m, k->credential, i);

		if (value && !in_params(m, own[i]))
			add_field(k, own[i], value);
	}
}

/* A login says what the manifest says; where that is nothing, the credential by its own names. */
static void add_login(struct asking *k)
{
	const struct manifest *m = k->c->driver->manifest;
	int n;
	const char *const *needs = auth_needs(m, &n);

	if (m->auth.params.n || m->auth.headers.n || m->auth.secret_in_basic)
		return;
	for (int i = 0; i < n; i++) {
		const char *value = credential_field(k->credential, needs[i]);

		add_field(k, needs[i], value ? value : "");
	}
}

static int add_pairs(struct asking *k, const struct manifest_pairs *p, struct lookup *look,
		     struct err *err)
{
	int rc = 0;

	for (int i = 0; i < p->n && rc == 0; i++) {
		struct buf value = BUF_INIT;

		rc = subst(p->v[i].value, SUBST_RAW, lookup_value, look, &value, err);
		if (rc == 0)
			add_field(k, p->v[i].name, buf_str(&value));
		secret_free_buf(&value);
	}
	return rc;
}

static int add_headers(struct asking *k, struct lookup *look, struct err *err)
{
	const struct manifest_pairs *p = &k->c->driver->manifest->auth.headers;
	int rc = 0;

	for (int i = 0; i < p->n && i < EXCHANGE_MORE_MAX && rc == 0; i++) {
		k->values[i] = (struct buf)BUF_INIT;
		k->n_headers = i + 1;
		rc = subst(p->v[i].value, SUBST_RAW, lookup_value, look, &k->values[i], err);
		k->headers[i] = (struct http_header){ p->v[i].name, buf_str(&k->values[i]) };
	}
	return rc;
}

static void basic_header(struct asking *k)
{
	const struct manifest *m = k->c->driver->manifest;
	const char *id = client_field(m, k->credential, 0),
		   *key = client_field(m, k->credential, 1);
	struct buf pair = BUF_INIT;

	buf_printf(&pair, "%s:%s", id ? id : "", key ? key : "");
	buf_puts(&k->basic, "Basic ");
	base64_encode(&k->basic, pair.data, pair.len);
	secret_free_buf(&pair);
}

#define JWT_LIFE_S 3600

static void put_claim(struct buf *out, const char *name, const char *value)
{
	buf_putc(out, out->len ? ',' : '{');
	json_quote(out, name, strlen(name));
	buf_putc(out, ':');
	json_quote(out, value, strlen(value));
}

/* Who asks, of whom, until when; what the manifest's params say besides (a scope) are claims too. */
static int put_claims(struct asking *k, struct lookup *look, struct buf *out, struct err *err)
{
	const struct manifest *m = k->c->driver->manifest;
	const char *who = credential_field(k->credential, "client_email");
	int64_t now_s = door_now_us(k->c->door) / 1000000;
	int rc = 0;

	if (!in_params(m, "iss"))
		put_claim(out, "iss", who ? who : "");
	if (!in_params(m, "aud"))
		put_claim(out, "aud", m->auth.token_url);
	for (int i = 0; i < m->auth.params.n && rc == 0; i++) {
		struct buf value = BUF_INIT;

		rc = subst(m->auth.params.v[i].value, SUBST_RAW, lookup_value, look, &value, err);
		if (rc == 0)
			put_claim(out, m->auth.params.v[i].name, buf_str(&value));
		secret_free_buf(&value);
	}
	buf_printf(out, ",\"iat\":%lld,\"exp\":%lld}", (long long)now_s,
		   (long long)now_s + JWT_LIFE_S);
	return rc;
}

static int add_assertion(struct asking *k, struct lookup *look, struct err *err)
{
	const char *key = credential_field(k->credential, "private_key");
	struct buf claims = BUF_INIT, jwt = BUF_INIT;
	int rc = put_claims(k, look, &claims, err);

	if (rc == 0 && pubkey_jwt_rs256(key ? key : "", buf_str(&claims), &jwt) < 0)
		rc = err_set(err, -EINVAL, ERR_AUTH, "private_key",
			     "the credential's private_key is no RSA key in PEM");
	if (rc == 0)
		add_field(k, "assertion", buf_str(&jwt));
	secret_free_buf(&claims);
	secret_free_buf(&jwt);
	return rc;
}

static int put_together(struct asking *k, struct err *err)
{
	const struct manifest *m = k->c->driver->manifest;
	const struct token_ask *ask = k->ask;
	struct lookup look = { k->c, k->credential, BUF_INIT };
	int rc;

	buf_reserve(&k->body, 4096); /* seldom moved: few copies are left behind */
	if (ask->grant_type && !in_params(m, "grant_type"))
		add_field(k, "grant_type", ask->grant_type);
	if (m->auth.kind == AUTH_TWO_STEP)
		add_login(k);
	else if (m->auth.kind != AUTH_OAUTH2_JWT)
		add_client(k);
	for (int i = 0; i < ask->n_fields; i++)
		add_field(k, ask->fields[i].name, ask->fields[i].value);
	if (m->auth.kind == AUTH_OAUTH2_JWT)
		rc = add_assertion(k, &look, err);
	else
		rc = add_pairs(k, ask->params ? ask->params : &m->auth.params, &look, err);
	if (rc == 0)
		rc = add_headers(k, &look, err);
	if (k->json)
		buf_puts(&k->body, k->body.len ? "}" : "{}");
	if (m->auth.secret_in_basic)
		basic_header(k);
	buf_clear(&look.keep);
	return rc < 0 ? -EINVAL : 0;
}

static const char *token_endpoint(const char *url)
{
	const char *host = strstr(url, "://"), *path = host ? strchr(host + 3, '/') : url;

	return path ? path : "/";
}

static void spec_of(struct asking *k, const char *url, struct call_spec *spec)
{
	const struct manifest *m = k->c->driver->manifest;

	*spec = (struct call_spec){ .endpoint = token_endpoint(url),
				    .method = m->auth.get ? "GET" : "POST",
				    .path = url,
				    .no_auth = true };
	if (!m->auth.get) {
		spec->body = buf_str(&k->body);
		spec->body_len = k->body.len;
		spec->content_type =
			k->json ? "application/json" : "application/x-www-form-urlencoded";
	} else if (k->body.len) {
		buf_printf(&k->url, "%s%c%s", url, strchr(url, '?') ? '&' : '?', k->body.data);
		spec->path = k->url.data;
	}
}

/* Not inlined: with the sanitizers' zones two such frames in one are too large for a coroutine's stack. */
__attribute__((noinline)) int token_call(struct caller *c, const struct credential *credential,
					 const struct token_ask *ask, struct call_result *r,
					 struct err *out)
{
	const struct manifest *m = c->driver->manifest;
	struct asking k = { .c = c,
			    .credential = credential,
			    .ask = ask,
			    .json = m->auth.send_json && !ask->form };
	struct call_spec spec;
	struct exchange x = { .spec = &spec,
			      .auth_name = "Authorization",
			      .total_ms = DOOR_TOKEN_TOTAL_MS,
			      .read_ms = DOOR_TOKEN_TOTAL_MS,
			      .at_token_url = true,
			      .handed = ask->handed };
	int rc = route_get(c, &x.route, out);

	if (rc == 0)
		rc = put_together(&k, out);
	if (rc == 0) {
		spec_of(&k, ask->url ? ask->url : m->auth.token_url, &spec);
		x.auth_header = k.basic.len ? buf_str(&k.basic) : NULL;
		x.more = k.headers;
		x.n_more = k.n_headers;
		rc = exchange_send(c, &x, r, out);
	}
	if (rc == 0)
		exchange_read(c, &x, r, out);
	route_put(x.route);
	asking_clear(&k);
	return rc;
}
