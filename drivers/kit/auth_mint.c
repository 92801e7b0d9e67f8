#include "drivers/kit/auth_store.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "common/base/clock.h"
#include "common/base/id.h"
#include "common/base/log.h"
#include "common/base/mem.h"
#include "common/io/loop.h"
#include "drivers/kit/call_door.h"
#include "drivers/kit/classify.h"
#include "drivers/kit/subst.h"

#define TOKEN_LIFE_MAX_MS (10 * 366 * 86400000LL)

/* ---- the count ---- */

static int limit_of(const struct manifest *m)
{
	int limit = (int)((double)m->auth.mint_count * m->auth.mint_share + 1e-9);

	return limit > 1 ? limit : 1;
}

static int mint_held(const struct manifest *m, int64_t now_ms, int64_t wait_ms, struct err *err)
{
	char iso[CLOCK_ISO_MAX];

	err_set(err, -EAGAIN, ERR_HOLD, "mint limit",
		"the token endpoint allows %d in %lld s, of which we use %d; next mint possible at %s",
		m->auth.mint_count, (long long)(m->auth.mint_window_ms / 1000), limit_of(m),
		clock_iso(now_ms + wait_ms, iso));
	if (err)
		err->retry_after_ms = wait_ms > 0 ? wait_ms : 1;
	return -EAGAIN;
}

/* 0 counted, -EAGAIN full: *wait_ms. */
static int count_in_redis(struct auth_store *a, struct caller *c, const char *id, int64_t *wait_ms,
			  struct err *err)
{
	const struct manifest *m = c->driver->manifest;
	char *key = auth_key("mints", c);
	struct redis_args args;
	redisReply *reply = NULL;
	int rc;

	redis_args_init(&args);
	redis_arg(&args, key);
	redis_arg_int(&args, limit_of(m));
	redis_arg_int(&args, m->auth.mint_window_ms);
	redis_arg(&args, id);
	rc = redis_call_script(a->redis, &lua_mint, 1, &args, &reply,
			       loop_now_ms() + REDIS_PATIENCE_MS, err);
	redis_args_clear(&args);
	free(key);
	if (rc < 0)
		return rc;
	if (reply->type != REDIS_REPLY_ARRAY || reply->elements != 2)
		rc = err_set(err, -EPROTO, ERR_INTERNAL, "redis",
			     "the mint script answered something else");
	else if (reply->element[0]->integer == 0) {
		*wait_ms = reply->element[1]->integer;
		rc = -EAGAIN;
	}
	freeReplyObject(reply);
	return rc;
}

static void uncount_in_redis(struct auth_store *a, struct caller *c, const char *id)
{
	char *key = auth_key("mints", c);
	struct redis_args args;

	redis_args_init(&args);
	redis_arg(&args, "ZREM");
	redis_arg(&args, key);
	redis_arg(&args, id);
	redis_send(a->redis, &args, NULL, NULL);
	redis_args_clear(&args);
	free(key);
}

/* In both stores before the call: each keeps the bound alone when the other is lost. */
static int count_mint(struct auth_store *a, struct caller *c, struct err *err)
{
	const struct manifest *m = c->driver->manifest;
	struct err why = { 0 };
	char id[ID_LEN + 1];
	int64_t wait_ms = 0;
	int rc;

	if (m->auth.mint_count <= 0)
		return 0;
	id_new(id);
	rc = count_in_redis(a, c, id, &wait_ms, &why);
	if (rc == 0) {
		rc = credential_count_mint(a->pg, c->integration->id, limit_of(m),
					   m->auth.mint_window_ms, &why);
		if (rc < 0)
			uncount_in_redis(a, c, id);
		wait_ms = why.retry_after_ms;
	}
	if (rc == -EAGAIN)
		return mint_held(m, redis_now_ms(a->redis), wait_ms, err);
	if (rc < 0 && err)
		*err = why;
	return rc;
}

/* ---- the request ---- */

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
		return setting_text(l->c->integration, name + 4, &l->keep);
	return NULL;
}

static void add_field(const struct manifest *m, const char *name, const char *value,
		      struct buf *body)
{
	if (m->auth.send_json) {
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

static int token_body(struct caller *c, const struct credential *credential, struct buf *body,
		      struct err *err)
{
	const struct manifest *m = c->driver->manifest;
	struct lookup look = { c, credential, BUF_INIT };
	static const char *const own[] = { "client_id", "client_secret" };
	int n, rc = 0;
	const char *const *needs = auth_needs(m, &n);

	buf_reserve(body, 4096); /* seldom moved: few copies are left behind */
	if (!in_params(m, "grant_type"))
		add_field(m, "grant_type", "client_credentials", body);
	for (int i = 0; i < 2 && !m->auth.secret_in_basic; i++) {
		const char *value = credential_field(credential, own[i]);

		if (!value && i < n)
			value = credential_field(credential, needs[i]);
		if (value && !in_params(m, own[i]))
			add_field(m, own[i], value, body);
	}
	for (int i = 0; i < m->auth.params.n && rc == 0; i++) {
		struct buf value = BUF_INIT;

		rc = subst(m->auth.params.v[i].value, SUBST_RAW, lookup_value, &look, &value, err);
		if (rc == 0)
			add_field(m, m->auth.params.v[i].name, buf_str(&value), body);
		secret_free_buf(&value);
	}
	if (m->auth.send_json)
		buf_putc(body, '}');
	buf_clear(&look.keep);
	return rc < 0 ? -EINVAL : 0;
}

static void basic_header(const struct manifest *m, const struct credential *credential,
			 struct buf *out)
{
	int n;
	const char *const *needs = auth_needs(m, &n);
	const char *id = credential_field(credential, "client_id"),
		   *key = credential_field(credential, "client_secret");
	struct buf pair = BUF_INIT;

	if (!id)
		id = credential_field(credential, needs[0]);
	if (!key && n > 1)
		key = credential_field(credential, needs[1]);
	buf_printf(&pair, "%s:%s", id ? id : "", key ? key : "");
	buf_puts(out, "Basic ");
	base64_encode(out, pair.data, pair.len);
	secret_free_buf(&pair);
}

static const char *token_endpoint(const char *url)
{
	const char *host = strstr(url, "://"), *path = host ? strchr(host + 3, '/') : url;

	return path ? path : "/";
}

/* Waits.  0: *r is the exchange, *out its class.  Not inlined: with the sanitizers' zones two such frames in one are too large
 * for a coroutine's stack. */
__attribute__((noinline)) static int token_call(struct caller *c,
						const struct credential *credential,
						struct call_result *r, struct err *out)
{
	const struct manifest *m = c->driver->manifest;
	struct call_spec spec = { .endpoint = token_endpoint(m->auth.token_url),
				  .method = "POST",
				  .path = m->auth.token_url,
				  .no_auth = true };
	struct exchange x = { .spec = &spec,
			      .auth_name = "Authorization",
			      .total_ms = DOOR_TOKEN_TOTAL_MS,
			      .read_ms = DOOR_TOKEN_TOTAL_MS,
			      .at_token_url = true };
	struct buf body = BUF_INIT, basic = BUF_INIT;
	int rc = route_get(c, &x.route, out);

	if (rc == 0)
		rc = token_body(c, credential, &body, out);
	if (rc == 0) {
		spec.body = buf_str(&body);
		spec.body_len = body.len;
		spec.content_type = m->auth.send_json ? "application/json"
						      : "application/x-www-form-urlencoded";
		if (m->auth.secret_in_basic)
			basic_header(m, credential, &basic);
		x.auth_header = basic.len ? buf_str(&basic) : NULL;
		rc = exchange_send(c, &x, r, out);
	}
	if (rc == 0)
		exchange_read(c, &x, r, out);
	route_put(x.route);
	secret_free_buf(&body);
	secret_free_buf(&basic);
	return rc;
}

/* ---- the answer ---- */

static bool says_broken(const struct manifest *m, const struct call_result *r)
{
	const char *error = r->json ? json_str(r->json, "error") : NULL;

	for (int i = 0; i < m->auth.n_broken_on; i++)
		if (rule_matches(&m->auth.broken_on[i], &r->http, r->json, true))
			return true;
	return m->auth.n_broken_on == 0 && error &&
	       (strcmp(error, "invalid_client") == 0 || strcmp(error, "invalid_grant") == 0);
}

/* From now; what cannot be read is an hour. */
static int64_t life_ms(const struct manifest *m, const cJSON *json, int64_t now_ms)
{
	const cJSON *v = m->auth.expires_path ? json_path(json, m->auth.expires_path) : NULL;
	struct buf text = BUF_INIT;
	int64_t ms = 0, at_us;
	double seconds;

	if (m->auth.expires == EXPIRES_FIXED) {
		ms = m->auth.expires_fixed_ms;
	} else if (v && json_scalar_text(v, &text)) {
		seconds = strtod(buf_str(&text), NULL);
		if (m->auth.expires == EXPIRES_SECONDS && seconds > 0 && seconds < 1e10)
			ms = (int64_t)(seconds * 1000);
		else if (m->auth.expires == EXPIRES_AT &&
			 clock_parse_time(buf_str(&text), &at_us, NULL) == 0)
			ms = at_us / 1000 - now_ms;
	}
	buf_clear(&text);
	if (ms <= 0)
		ms = TOKEN_LIFE_DEFAULT_MS;
	return ms < TOKEN_LIFE_MAX_MS ? ms : TOKEN_LIFE_MAX_MS;
}

static int token_read(struct auth_store *a, const struct manifest *m, struct call_result *r,
		      struct token *out, struct err *err)
{
	const char *path = m->auth.token_path ? m->auth.token_path : "access_token";
	const char *access = r->json ? json_str(r->json, path) : NULL;
	int64_t now_ms = redis_now_ms(a->redis);

	if (!access || !*access)
		return err_set(err, -EREMOTEIO, ERR_DATA, "token",
			       "the token endpoint's answer has no %s", path);
	secret_set(&out->access, access, strlen(access));
	out->minted_ms = now_ms;
	out->usable_ms = now_ms + m->auth.usable_after_ms;
	out->expires_ms = now_ms + life_ms(m, r->json, now_ms);
	return 0;
}

static void count_outcome(const struct manifest *m, const char *outcome)
{
	metric_add(metrics_counter("longshore_token_mints_total", "Tokens asked of partners.",
				   "partner", m->partner, "outcome", outcome, NULL),
		   1);
}

/* Waits.  *broken: the answer says that these credentials are refused for good. */
static int mint_once(struct auth_store *a, struct caller *c, struct auth_entry *e,
		     struct token *out, bool *broken, struct err *err)
{
	const struct manifest *m = c->driver->manifest;
	struct call_result r;
	struct err why = { 0 };
	int rc = count_mint(a, c, &why);

	call_result_init(&r);
	*broken = false;
	if (rc == 0 && m->auth.kind == AUTH_HOOK)
		return login_token(a, c, e, out, broken, err);
	if (rc == 0) {
		rc = token_call(c, &e->credential, &r, &why);
		*broken = rc == 0 && says_broken(m, &r);
		if (rc == 0 && why.class == ERR_NONE && !*broken)
			rc = token_read(a, m, &r, out, &why);
		else if (rc == 0)
			rc = why.class == ERR_TRANSIENT || why.class == ERR_RATE_LIMIT ? -EAGAIN
										       : -EREMOTEIO;
		count_outcome(m, rc == 0                           ? "ok"
				 : *broken                         ? "broken"
				 : r.http.status || r.http.failure ? "failed"
								   : "unknown");
	}
	if (rc == 0)
		log_event(LOG_INFO, "token_minted",
			  LI("life_s", (out->expires_ms - out->minted_ms) / 1000));
	call_result_clear(&r);
	if (rc < 0 && err)
		*err = why;
	return rc;
}

int token_mint(struct auth_store *a, struct caller *c, struct auth_entry *e, struct token *out,
	       struct err *err)
{
	bool broken, changed = false;
	struct err again;
	int rc = credential_need(a, c, e, false, NULL, err);

	if (rc < 0)
		return rc;
	rc = mint_once(a, c, e, out, &broken, err);
	if (!broken)
		return rc;
	/* the credential may have been changed since it was cached: only the one that is stored now counts */
	if (credential_need(a, c, e, true, &changed, &again) == 0 && changed) {
		rc = mint_once(a, c, e, out, &broken, err);
		if (!broken)
			return rc;
	}
	again = *err;
	return auth_broken(a, c, again.text[0] ? again.text : "the token endpoint refuses them",
			   err);
}
