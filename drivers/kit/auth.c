#include "drivers/kit/auth_store.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/clock.h"
#include "common/base/log.h"
#include "common/base/mem.h"
#include "common/io/loop.h"

#define STORE_AGAIN_MS 10000

struct auth_store *auth_store_new(struct redis *r, struct pg *p, struct keyring *k,
				  const char *epoch, bool beats)
{
	struct auth_store *a = mem_new(struct auth_store);

	a->redis = r;
	a->pg = p;
	a->keyring = k;
	a->epoch = mem_strdup(epoch ? epoch : "");
	a->beats = epoch && beats;
	return a;
}

static void entry_free(struct auth_entry *e)
{
	credential_clear(&e->credential);
	token_clear(&e->token);
	free(e);
}

static bool drop_unused(void *value, void *arg)
{
	struct auth_entry *e = value;

	if (e->refs > 0)
		return false;
	entry_free(e);
	return true;
}

void auth_store_free(struct auth_store *a)
{
	if (!a)
		return;
	idmap_sweep(&a->entries, drop_unused, NULL);
	idmap_clear(&a->entries);
	free(a->epoch);
	free(a);
}

struct auth_entry *auth_entry_ref(struct auth_store *a, const struct caller *c)
{
	struct auth_entry *e = idmap_get(&a->entries, c->integration->id);

	if (!e) {
		if (a->entries.n >= AUTH_ENTRIES_MAX)
			idmap_sweep(&a->entries, drop_unused, NULL);
		e = mem_new(struct auth_entry);
		e->integration = c->integration->id;
		gate_init(&e->gate, 1);
		idmap_put(&a->entries, e->integration, e);
	}
	e->refs++;
	return e;
}

void auth_entry_unref(struct auth_entry *e)
{
	e->refs--;
}

char *auth_key(const char *what, const struct caller *c)
{
	return mem_printf("%s:{%s}:%lld", what, c->driver->manifest->partner,
			  (long long)c->integration->id);
}

bool auth_has_token(const struct manifest *m)
{
	return m->auth.kind == AUTH_OAUTH2_CLIENT || m->auth.kind == AUTH_TWO_STEP ||
	       m->auth.kind == AUTH_HOOK || m->auth.kind == AUTH_OAUTH2_JWT || auth_has_grant(m);
}

const char *const *auth_needs(const struct manifest *m, int *n)
{
	*n = m->auth.n_needs;
	return m->auth.needs;
}

int auth_credentials_check(const struct manifest *m, const cJSON *credentials, struct err *err)
{
	struct buf missing = BUF_INIT;
	int n, rc = 0;
	const char *const *needs = auth_needs(m, &n);

	for (int i = 0; i < n; i++) {
		const cJSON *v = cJSON_GetObjectItemCaseSensitive(credentials, needs[i]);
		struct buf text = BUF_INIT;

		/* a mail relay may ask for no login: empty texts say so */
		if (!v || !json_scalar_text(v, &text) || (text.len == 0 && m->body != BODY_MAIL))
			buf_printf(&missing, "%s%s", missing.len ? ", " : "", needs[i]);
		secret_free_buf(&text);
	}
	if (missing.len)
		rc = err_set(err, -EINVAL, ERR_AUTH, "credentials",
			     "%s needs %s in its credentials", m->partner, missing.data);
	buf_clear(&missing);
	return rc;
}

static bool failure_stands(const struct auth_entry *e)
{
	return e->failed_rc < 0 && loop_now_ms() < e->failed_until_ms;
}

static int failure_again(const struct auth_entry *e, struct err *err)
{
	*err = e->failed;
	if (err->class == ERR_HOLD)
		err->retry_after_ms = e->again_ms - loop_now_ms();
	return e->failed_rc;
}

/* One at a time, and whoever stood in the row meanwhile finds it done. */
static int token_prepare_alone(struct auth_store *a, struct caller *c, struct auth_entry *e,
			       struct err *err)
{
	const struct manifest *m = c->driver->manifest;
	struct err why = { 0 };
	int rc;

	if (token_is_valid(a, e) && !token_is_due(a, e, m))
		return 0;
	if (failure_stands(e)) {
		rc = failure_again(e, &why);
	} else {
		e->renewing = true;
		rc = token_renew(a, c, e, &why);
		e->renewing = false;
		if (rc < 0 && rc != -ECANCELED && rc != -ETIMEDOUT && token_is_valid(a, e))
			log_event(LOG_WARN, "token_refresh_failed", LS("reason", why.text),
				  LS("doing", "the old token is used until it ends"));
	}
	if (rc < 0 && rc != -ECANCELED && rc != -EACCES && token_is_valid(a, e))
		return 0;
	if (rc < 0 && err)
		*err = why;
	return rc;
}

static void store_again(struct auth_store *a, struct caller *c, struct auth_entry *e)
{
	struct err why;

	if (!e->token.access.len) /* refused since, or of other credentials */
		e->store_again_ms = 0;
	if (e->store_again_ms == 0 || loop_now_ms() < e->store_again_ms || !redis_is_up(a->redis))
		return;
	e->store_again_ms = loop_now_ms() + STORE_AGAIN_MS;
	if (token_store(a, c, e, &why) == 0)
		e->store_again_ms = 0;
}

static int wait_until_usable(struct auth_store *a, const struct auth_entry *e, struct err *err)
{
	int64_t ms = e->token.usable_ms - redis_now_ms(a->redis);
	int rc = ms > 0 ? co_sleep("token usable", ms) : 0;

	return rc < 0 ? err_set(err, rc, rc == -ECANCELED ? ERR_CANCELLED : ERR_TRANSIENT, "token",
				"ended before the new token could be used")
		      : 0;
}

static int gate_failed(int rc, struct err *err)
{
	return err_set(err, rc, rc == -ECANCELED ? ERR_CANCELLED : ERR_TRANSIENT, "token",
		       "ended while waiting for the integration's credential");
}

static int token_prepare(struct auth_store *a, struct caller *c, struct auth_entry *e,
			 struct err *err)
{
	int rc = 0;

	store_again(a, c, e);
	if (!token_is_valid(a, e) ||
	    (token_is_due(a, e, c->driver->manifest) && !e->renewing && !failure_stands(e))) {
		rc = gate_enter(&e->gate, "token", CO_NO_DEADLINE);
		if (rc < 0)
			return gate_failed(rc, err);
		rc = token_prepare_alone(a, c, e, err);
		gate_leave(&e->gate);
	}
	return rc < 0 ? rc : wait_until_usable(a, e, err);
}

static int static_prepare(struct auth_store *a, struct caller *c, struct auth_entry *e,
			  struct err *err)
{
	int rc;

	if (loop_now_ms() < e->credential_until_ms)
		return 0;
	rc = gate_enter(&e->gate, "credential", CO_NO_DEADLINE);
	if (rc < 0)
		return gate_failed(rc, err);
	if (loop_now_ms() >= e->credential_until_ms)
		rc = credential_need(a, c, e, false, NULL, err);
	gate_leave(&e->gate);
	return rc;
}

/* Somebody has changed the credentials: what is remembered of the old ones is asked for anew. */
static void entry_outdated(struct auth_store *a, struct auth_entry *e, int64_t version)
{
	e->of_version = version;
	e->failed_rc = 0;
	if (a->trial)
		return;
	e->credential_until_ms = 0;
	token_clear(&e->token);
	e->version = ++a->versions;
}

int auth_prepare(struct auth_store *a, struct caller *c, struct err *err)
{
	const struct manifest *m = c->driver->manifest;
	struct auth_entry *e;
	int rc;

	if (m->auth.kind == AUTH_NONE)
		return 0;
	e = auth_entry_ref(a, c);
	if (c->integration->credential_version > e->of_version)
		entry_outdated(a, e, c->integration->credential_version);
	rc = auth_has_token(m) ? token_prepare(a, c, e, err) : static_prepare(a, c, e, err);
	/* a token that another worker brought came without the credential, which signs */
	if (rc == 0 && auth_has_token(m) && m->hooks.sign_request)
		rc = static_prepare(a, c, e, err);
	auth_entry_unref(e);
	return rc;
}

static void append_basic(const struct auth_entry *e, const char *user, const char *password,
			 struct buf *out)
{
	const char *u = credential_field(&e->credential, user),
		   *p = credential_field(&e->credential, password);
	struct buf pair = BUF_INIT;

	buf_printf(&pair, "%s:%s", u ? u : "", p ? p : "");
	buf_puts(out, "Basic ");
	base64_encode(out, pair.data, pair.len);
	secret_free_buf(&pair);
}

/* What would end the cookie is written as in a URL. */
static void append_cookie(const char *value, struct buf *out)
{
	for (; *value; value++) {
		if (*value > ' ' && *value < 127 && !strchr("\",;\\", *value))
			buf_putc(out, *value);
		else
			http_escape(out, value, 1);
	}
}

static void append_value(const struct manifest *m, const struct auth_entry *e, struct buf *out)
{
	int n;
	const char *const *needs = auth_needs(m, &n), *value;

	if (m->auth.kind == AUTH_SIGNED) /* auth_sign.c, when all of the request is known */
		return;
	if (m->auth.kind == AUTH_BASIC) {
		append_basic(e, needs[0], n > 1 ? needs[1] : "password", out);
		return;
	}
	value = auth_has_token(m) ? secret_reveal(&e->token.access)
				  : credential_field(&e->credential, needs[0]);
	if (m->auth.place == AUTH_IN_COOKIE)
		buf_printf(out, "%s=", m->auth.name);
	if (m->auth.place != AUTH_IN_QUERY && m->auth.prefix)
		buf_puts(out, m->auth.prefix);
	if (m->auth.place == AUTH_IN_COOKIE)
		append_cookie(value ? value : "", out);
	else
		buf_puts(out, value ? value : "");
}

int auth_value(struct auth_store *a, struct caller *c, struct buf *out, uint64_t *version,
	       struct err *err)
{
	const struct manifest *m = c->driver->manifest;
	const struct auth_entry *e;

	if (m->auth.kind == AUTH_NONE)
		return 0;
	e = idmap_get(&a->entries, c->integration->id);
	if (!e || (auth_has_token(m) ? !token_is_valid(a, e) : e->credential_until_ms == 0)) {
		err_set(err, -EAGAIN, ERR_HOLD, "credential", "the credential went stale");
		return -EAGAIN;
	}
	append_value(m, e, out);
	*version = e->version;
	return 0;
}

/* Redis may have a newer one by now; else what it has is deleted, unless that changed since it was read. */
static int token_refused(struct auth_store *a, struct caller *c, struct auth_entry *e,
			 struct err *err)
{
	uint64_t refused = e->version;
	struct buf sealed = BUF_INIT;
	struct redis_args args;
	char *key;
	int rc = token_fetch(a, c, e, &sealed, err);

	if (rc < 0 || e->version != refused)
		goto out;
	if (redis_now_ms(a->redis) - e->token.minted_ms < TOKEN_YOUNG_MS) {
		rc = err_set(err, -EALREADY, ERR_AUTH, "token",
			     "a token minted less than %d s ago was refused",
			     TOKEN_YOUNG_MS / 1000);
		goto out;
	}
	if (sealed.len) {
		key = auth_key("token", c);
		redis_args_init(&args);
		redis_arg(&args, key);
		redis_arg_bytes(&args, sealed.data, sealed.len);
		rc = redis_call_script(a->redis, &lua_unlock, 1, &args, NULL,
				       loop_now_ms() + REDIS_PATIENCE_MS, err);
		redis_args_clear(&args);
		free(key);
	}
	if (rc >= 0 && e->version == refused) {
		e->refused_minted_ms = e->token.minted_ms;
		token_clear(&e->token);
	}
out:
	buf_clear(&sealed);
	return rc < 0 ? rc : 0;
}

static int static_refused(struct auth_store *a, struct caller *c, struct auth_entry *e,
			  struct err *err)
{
	bool changed = false;
	int rc = 0;

	/* a thousand jobs that are refused at once ask Postgres once */
	if (loop_now_ms() >= e->reread_until_ms)
		rc = credential_need(a, c, e, true, &changed, err);
	e->reread_until_ms = loop_now_ms() + CREDENTIAL_REREAD_MS;
	if (rc == 0 && !changed)
		rc = err_set(err, -EALREADY, ERR_AUTH, "credential",
			     "the partner refuses the credential");
	return rc;
}

int auth_refused(struct auth_store *a, struct caller *c, uint64_t version, struct err *err)
{
	const struct manifest *m = c->driver->manifest;
	struct auth_entry *e = auth_entry_ref(a, c);
	int rc = gate_enter(&e->gate, "refused", CO_NO_DEADLINE);

	if (rc < 0) {
		rc = gate_failed(rc, err);
		goto out;
	}
	if (a->trial)
		rc = err_set(err, -EALREADY, ERR_AUTH, "credential",
			     "the partner refuses the credential");
	else if (e->version == version) /* else another call has seen to it */
		rc = auth_has_token(m) ? token_refused(a, c, e, err) : static_refused(a, c, e, err);
	gate_leave(&e->gate);
out:
	auth_entry_unref(e);
	return rc;
}
