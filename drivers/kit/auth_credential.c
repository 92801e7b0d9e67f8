#include "drivers/kit/auth_store.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/log.h"
#include "common/base/mem.h"
#include "common/io/loop.h"

#define CREDENTIAL_MAX_BYTES (64 * 1024)
#define CONTEXT_MAX 48

void credential_clear(struct credential *c)
{
	for (int i = 0; i < c->n; i++) {
		free(c->v[i].name);
		free(c->v[i].plain);
		secret_clear(&c->v[i].value);
	}
	free(c->v);
	*c = (struct credential){ 0 };
}

const char *credential_field(const struct credential *c, const char *name)
{
	for (int i = 0; i < c->n; i++)
		if (strcmp(c->v[i].name, name) == 0)
			return c->v[i].plain ? c->v[i].plain : secret_reveal(&c->v[i].value);
	return NULL;
}

static bool field_is_public(const char *name)
{
	size_t n = strlen(name);

	return strcmp(name, "username") == 0 || strcmp(name, "user") == 0 ||
	       strcmp(name, "email") == 0 || (n > 3 && strcmp(name + n - 3, "_id") == 0);
}

static void field_add(struct credential *c, const cJSON *v)
{
	struct credential_field *f = &c->v[c->n];
	struct buf text = BUF_INIT;

	if (!json_scalar_text(v, &text))
		return;
	memset(f, 0, sizeof(*f));
	f->name = mem_strdup(v->string);
	if (field_is_public(f->name))
		f->plain = mem_strdup(buf_str(&text));
	else
		secret_set(&f->value, buf_str(&text), text.len);
	c->n++;
	secret_free_buf(&text);
}

int credential_parse(const struct manifest *m, const struct secret *json, struct credential *out,
		     struct err *err)
{
	struct json_error bad;
	cJSON *root = NULL;
	const cJSON *v;
	int rc;

	rc = json_parse(secret_reveal(json), json->len, CREDENTIAL_MAX_BYTES, &root, &bad);
	if (rc < 0 || !cJSON_IsObject(root))
		rc = err_set(err, -EINVAL, ERR_AUTH, "credentials",
			     "the stored credentials are not a JSON object");
	else
		rc = auth_credentials_check(m, root, err);
	if (rc == 0) {
		memset(out, 0, sizeof(*out));
		out->v = mem_zalloc((size_t)(cJSON_GetArraySize(root) + 1) * sizeof(*out->v));
		cJSON_ArrayForEach (v, root)
			field_add(out, v);
	}
	json_zero(root);
	cJSON_Delete(root);
	return rc;
}

static const char *context_of(int64_t integration, char out[CONTEXT_MAX])
{
	snprintf(out, CONTEXT_MAX, "credential:%lld", (long long)integration);
	return out;
}

/* 1: *out; 0: not there, or not to be opened (another key, damaged): Postgres decides. */
static int cached_get(struct auth_store *a, struct caller *c, struct secret *out)
{
	char *key = auth_key("cred", c), context[CONTEXT_MAX];
	redisReply *reply = NULL;
	int found = 0;

	if (redis_callv(a->redis, &reply, loop_now_ms() + REDIS_PATIENCE_MS, NULL, "GET", key,
			NULL) == 0) {
		if (reply->type == REDIS_REPLY_STRING)
			found = crypto_open(a->keyring, context_of(c->integration->id, context),
					    reply->str, out) == 0;
		freeReplyObject(reply);
	}
	free(key);
	return found;
}

static void cached_put(struct auth_store *a, struct caller *c, const struct secret *json)
{
	struct buf sealed = BUF_INIT;
	struct redis_args args;
	char *key = auth_key("cred", c), context[CONTEXT_MAX];

	if (crypto_seal(a->keyring, context_of(c->integration->id, context), secret_reveal(json),
			json->len, &sealed) == 0) {
		redis_args_init(&args);
		redis_arg(&args, "SET");
		redis_arg(&args, key);
		redis_arg_bytes(&args, sealed.data, sealed.len);
		redis_arg(&args, "PX");
		redis_arg_int(&args, CREDENTIAL_CACHED_MS);
		redis_send(a->redis, &args, NULL, NULL);
		redis_args_clear(&args);
	}
	buf_clear(&sealed);
	free(key);
}

static int stored_get(struct auth_store *a, struct caller *c, struct secret *out, struct err *err)
{
	int rc = credential_get(a->pg, a->keyring, c->integration->id, out, err);

	if (rc == -ENOENT)
		return auth_broken(a, c, "no credentials are stored", err);
	if (rc == 0)
		cached_put(a, c, out);
	return rc;
}

static bool credential_same(const struct credential *a, const struct credential *b)
{
	if (a->n != b->n)
		return false;
	for (int i = 0; i < a->n; i++) {
		const char *other = credential_field(b, a->v[i].name);
		const char *own = a->v[i].plain ? a->v[i].plain : secret_reveal(&a->v[i].value);

		if (!other || !secret_equal(own, strlen(own), other, strlen(other)))
			return false;
	}
	return true;
}

static bool same_field(const struct credential *a, const struct credential *b, const char *name)
{
	const char *x = credential_field(a, name), *y = credential_field(b, name);

	return x && y ? secret_equal(x, strlen(x), y, strlen(y)) : x == y;
}

bool auth_same_login(const struct manifest *m, const struct secret *one, const struct secret *other)
{
	struct credential a = { 0 }, b = { 0 };
	int n;
	const char *const *needs = auth_needs(m, &n);
	bool same = credential_parse(m, one, &a, NULL) == 0 &&
		    credential_parse(m, other, &b, NULL) == 0 &&
		    same_field(&a, &b, "refresh_token");

	for (int i = 0; same && i < n; i++)
		same = same_field(&a, &b, needs[i]);
	credential_clear(&a);
	credential_clear(&b);
	return same;
}

static void credential_take(struct auth_store *a, struct auth_entry *e, struct credential *fresh,
			    bool *changed)
{
	bool same = credential_same(&e->credential, fresh);

	if (same) {
		credential_clear(fresh);
	} else {
		credential_clear(&e->credential);
		e->credential = *fresh;
		e->version = ++a->versions;
	}
	if (changed)
		*changed = !same;
	e->credential_until_ms = loop_now_ms() + CREDENTIAL_KEPT_MS;
}

int credential_need(struct auth_store *a, struct caller *c, struct auth_entry *e, bool anew,
		    bool *changed, struct err *err)
{
	struct secret json = SECRET_INIT;
	struct credential fresh = { 0 };
	struct err why = { 0 };
	int rc = 0;

	if (a->trial || (!anew && loop_now_ms() < e->credential_until_ms)) {
		if (changed)
			*changed = false;
		return 0;
	}
	if (anew || !cached_get(a, c, &json))
		rc = stored_get(a, c, &json, &why);
	if (rc == 0)
		rc = credential_parse(c->driver->manifest, &json, &fresh, &why);
	secret_clear(&json);
	if (rc == 0) {
		credential_take(a, e, &fresh, changed);
		return 0;
	}
	/* both stores are away: what we had is better than nothing */
	if (!anew && e->credential.n > 0 && why.class == ERR_TRANSIENT) {
		e->credential_until_ms = loop_now_ms() + CREDENTIAL_REREAD_MS;
		return 0;
	}
	if (rc == -EINVAL && why.class == ERR_AUTH)
		rc = auth_broken(a, c, why.text, &why);
	if (err)
		*err = why;
	return rc;
}
