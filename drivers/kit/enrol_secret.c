/* The secret that webhooks are verified with: made here, or told by the partner; kept with the credentials. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/crypto.h"
#include "common/base/id.h"
#include "common/base/mem.h"
#include "drivers/kit/enrol_parts.h"
#include "drivers/kit/subst.h"

#define SECRET_BYTES 32
#define CREDENTIALS_MAX_BYTES (64 * 1024)
#define TRIES 3 /* somebody else changes the credentials at the same time */

static const struct manifest_verify *verify_of(const struct enrolling *r)
{
	return &r->e->c->driver->manifest->webhooks.verify;
}

/* ---- the credentials ---- */

static void free_tree(cJSON *tree)
{
	cJSON *v;

	cJSON_ArrayForEach (v, tree)
		if (cJSON_IsString(v))
			secret_zero(v->valuestring, strlen(v->valuestring));
	cJSON_Delete(tree);
}

/* *sealed names what was read; NULL: there are none. */
static int read_credentials(struct enrolling *r, cJSON **tree, char **sealed, struct err *err)
{
	struct enrol *e = r->e;
	struct secret json = SECRET_INIT;
	int rc = credential_sealed(e->pg, e->c->integration->id, sealed, err);

	if (rc == 0 && *sealed)
		rc = credential_get(e->pg, e->keyring, e->c->integration->id, &json, err);
	if (rc == 0 && !*sealed)
		*tree = cJSON_CreateObject();
	else if (rc == 0 && (json_parse(secret_reveal(&json), json.len, CREDENTIALS_MAX_BYTES, tree,
					NULL) < 0 ||
			     !cJSON_IsObject(*tree)))
		rc = err_set(err, -EBADMSG, ERR_INTERNAL, "credentials",
			     "the stored credentials are no JSON object");
	secret_clear(&json);
	return rc;
}

static bool is_there(const cJSON *v)
{
	return (cJSON_IsString(v) && *v->valuestring) || (cJSON_IsArray(v) && v->child);
}

static bool holds(const cJSON *v, const char *text)
{
	const cJSON *c;

	if (cJSON_IsString(v))
		return strcmp(v->valuestring, text) == 0;
	cJSON_ArrayForEach (c, v)
		if (cJSON_IsString(c) && strcmp(c->valuestring, text) == 0)
			return true;
	return false;
}

int enrolling_read_secrets(struct enrolling *r, struct err *err)
{
	cJSON *tree = NULL;
	char *sealed = NULL;
	const cJSON *v;
	int rc;

	if (verify_of(r)->scheme == VERIFY_NOTHING)
		return 0;
	if (!r->e->keyring)
		return err_set(err, -ENOKEY, ERR_INTERNAL, "webhooks",
			       "no secret key was given, and a webhook's secret is kept under it");
	rc = read_credentials(r, &tree, &sealed, err);
	v = rc == 0 ? cJSON_GetObjectItemCaseSensitive(tree, verify_of(r)->key) : NULL;
	r->has_secret = is_there(v);
	if (r->in_path && cJSON_IsString(v))
		snprintf(r->stored, sizeof(r->stored), "%s", v->valuestring);
	free_tree(tree);
	free(sealed);
	return rc;
}

/* The new one; what was good stays good beside it. */
static void put_secret(cJSON *tree, const char *key, const char *text)
{
	char *before = mem_printf("%s_previous", key);
	cJSON *was = cJSON_DetachItemFromObjectCaseSensitive(tree, key);

	if (is_there(was)) {
		cJSON_DeleteItemFromObjectCaseSensitive(tree, before);
		cJSON_AddItemToObject(tree, before, was);
	} else {
		cJSON_Delete(was);
	}
	cJSON_AddStringToObject(tree, key, text);
	free(before);
}

static int store_once(struct enrolling *r, const char *text, struct err *err)
{
	struct secret json = SECRET_INIT;
	struct buf out = BUF_INIT;
	cJSON *tree = NULL;
	char *sealed = NULL;
	int rc = read_credentials(r, &tree, &sealed, err);

	if (rc == 0 && !holds(cJSON_GetObjectItemCaseSensitive(tree, verify_of(r)->key), text)) {
		put_secret(tree, verify_of(r)->key, text);
		json_print(tree, &out);
		secret_set(&json, out.data, out.len);
		rc = credential_amend(r->e->pg, r->e->keyring, r->e->c->integration->id, sealed,
				      &json, err);
	}
	secret_clear(&json);
	secret_free_buf(&out);
	free_tree(tree);
	free(sealed);
	return rc;
}

static int store(struct enrolling *r, const char *text, struct err *err)
{
	int rc = -ESTALE;

	for (int i = 0; i < TRIES && rc == -ESTALE; i++)
		rc = store_once(r, text, err);
	r->has_secret = r->has_secret || rc == 0;
	return rc;
}

/* ---- made here ---- */

static bool names_secret(const char *template)
{
	char name[SUBST_NAME_MAX];

	while (template && subst_next(&template, name))
		if (strcmp(name, "webhook.secret") == 0)
			return true;
	return false;
}

static bool names_secret_in(const cJSON *v)
{
	const cJSON *c;

	if (cJSON_IsString(v) && names_secret(v->valuestring))
		return true;
	cJSON_ArrayForEach (c, v)
		if (names_secret_in(c))
			return true;
	return false;
}

/* The partner is told it when it is told where to send. */
static bool is_ours_to_make(const struct enrolling *r)
{
	const struct manifest_request *q = &r->e->c->driver->manifest->webhooks.enrol;

	for (int i = 0; i < q->query.n; i++)
		if (names_secret(q->query.v[i].value))
			return true;
	return names_secret(request_path(q, NULL)) || names_secret_in(q->json);
}

static void base64url(struct buf *b)
{
	while (b->len && b->data[b->len - 1] == '=')
		b->data[--b->len] = '\0';
	for (size_t i = 0; i < b->len; i++)
		b->data[i] = b->data[i] == '+' ? '-' : b->data[i] == '/' ? '_' : b->data[i];
}

static void make(struct secret *out, bool standard)
{
	uint8_t bytes[SECRET_BYTES];
	struct buf text = BUF_INIT;

	random_bytes(bytes, sizeof(bytes));
	if (standard)
		buf_puts(&text, "whsec_");
	base64_encode(&text, bytes, sizeof(bytes));
	if (!standard)
		base64url(&text);
	secret_set(out, text.data, text.len);
	secret_zero(bytes, sizeof(bytes));
	secret_free_buf(&text);
}

static void hash_of(const char *secret, size_t n, char out[80])
{
	uint8_t digest[SHA256_BYTES];
	char hex[2 * SHA256_BYTES + 1];

	crypto_sha256(secret, n, digest);
	crypto_hex(digest, SHA256_BYTES, hex);
	snprintf(out, 80, "sha256:%s", hex);
}

/* Of a secret in the address only the hash is kept. */
static int make_address(struct enrolling *r, struct err *err)
{
	char hash[80];

	make(&r->url_secret, false);
	free(r->url);
	r->url = mem_printf("%s/%s", r->address, secret_reveal(&r->url_secret));
	hash_of(secret_reveal(&r->url_secret), r->url_secret.len, hash);
	return store(r, hash, err);
}

int enrolling_make_secret(struct enrolling *r, struct err *err)
{
	const struct manifest_verify *v = verify_of(r);

	if (v->scheme == VERIFY_NOTHING || request_path(&v->secret, NULL))
		return 0;
	if (r->in_path)
		return make_address(r, err);
	if (is_ours_to_make(r)) {
		make(&r->secret, v->scheme == VERIFY_STANDARD);
		return store(r, secret_reveal(&r->secret), err);
	}
	if (r->has_secret)
		return 0;
	return err_set(
		err, -EINVAL, ERR_CLIENT, "webhooks",
		"the credentials have no \"%s\", and neither does the partner tell it nor can it be told one:"
		" give it with `longshore integration rotate`",
		v->key);
}

bool enrolling_has_secret(const struct enrolling *r)
{
	return r->has_secret || verify_of(r)->scheme == VERIFY_NOTHING;
}

bool enrolling_knows_secret(const struct enrolling *r, const char *url)
{
	char hash[80];

	if (request_path(&verify_of(r)->secret, NULL)) /* it tells whoever asks */
		return true;
	if (!r->in_path)
		return enrolling_has_secret(r);
	url += strlen(r->address) + 1;
	hash_of(url, strcspn(url, "?#"), hash);
	return strcmp(hash, r->stored) == 0;
}

/* ---- told by the partner ---- */

int enrolling_fetch_secret(struct enrolling *r, struct err *err)
{
	const struct manifest_verify *v = verify_of(r);
	struct secret told = SECRET_INIT;
	struct call_result answer;
	const char *text;
	int rc;

	if (!request_path(&v->secret, NULL))
		return 0;
	rc = enrolling_ask(r, &v->secret, &answer, err);
	text = rc == 0 && answer.json ? json_str(answer.json, v->secret_path) : NULL;
	if (text && *text)
		secret_set(&told, text, strlen(text));
	call_result_clear(&answer);
	if (rc == 0 && !told.len)
		rc = err_set(err, -EBADMSG, ERR_DATA, "webhooks.verify.secret",
			     "the partner told no secret at \"%s\"", v->secret_path);
	if (rc == 0)
		rc = store(r, secret_reveal(&told), err);
	secret_clear(&told);
	return rc;
}
