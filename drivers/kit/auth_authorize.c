#include "drivers/kit/auth_authorize.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/id.h"
#include "common/base/log.h"
#include "common/base/mem.h"
#include "common/io/loop.h"
#include "common/store/grant.h"
#include "drivers/kit/auth_grant.h"
#include "drivers/kit/call_door.h"
#include "drivers/kit/control.h"
#include "drivers/kit/subst.h"

#define STATE_TTL "600" /* seconds: a person signs in, reads, agrees */
#define TICKET_TTL "86400"
#define STATE_MAX_BYTES 8192
#define CONTEXT_MAX 80

/* ---- random texts and their names ---- */

static void url_base64(const void *p, size_t n, struct buf *out)
{
	size_t start = out->len;

	base64_encode(out, p, n);
	while (out->len > start && out->data[out->len - 1] == '=')
		out->data[--out->len] = '\0';
	for (size_t i = start; i < out->len; i++)
		out->data[i] = out->data[i] == '+' ? '-' : out->data[i] == '/' ? '_' : out->data[i];
}

static void random_text(char out[AUTHORIZE_TOKEN_BYTES])
{
	uint8_t bytes[32];
	struct buf text = BUF_INIT;

	random_bytes(bytes, sizeof(bytes));
	url_base64(bytes, sizeof(bytes), &text);
	memcpy(out, text.data, AUTHORIZE_TOKEN_BYTES);
	secret_free_buf(&text);
	secret_zero(bytes, sizeof(bytes));
}

/* Redis keeps the hash alone: who reads it cannot answer in a person's place. */
static char *key_of(const char *prefix, const char *text)
{
	uint8_t sum[SHA256_BYTES];
	char hex[2 * SHA256_BYTES + 1];

	crypto_sha256(text, strlen(text), sum);
	crypto_hex(sum, sizeof(sum), hex);
	return mem_printf("oauth:{longshore}:%s%s", prefix, hex);
}

/* ---- tickets ---- */

int authorize_ticket_new(struct redis *r, int64_t integration, char out[AUTHORIZE_TOKEN_BYTES],
			 struct err *err)
{
	char number[24], *key;
	int rc;

	random_text(out);
	key = key_of("ticket:", out);
	snprintf(number, sizeof(number), "%lld", (long long)integration);
	rc = redis_callv(r, NULL, loop_now_ms() + REDIS_PATIENCE_MS, err, "SET", key, number, "EX",
			 TICKET_TTL, NULL);
	free(key);
	return rc;
}

int authorize_ticket_check(struct redis *r, int64_t integration, const char *ticket,
			   struct err *err)
{
	char *key = key_of("ticket:", ticket);
	redisReply *reply = NULL;
	int rc = redis_callv(r, &reply, loop_now_ms() + REDIS_PATIENCE_MS, err, "GET", key, NULL);

	if (rc == 0 &&
	    (reply->type != REDIS_REPLY_STRING || strtoll(reply->str, NULL, 10) != integration))
		rc = err_set(err, -EACCES, ERR_AUTH, "ticket",
			     "this link has ended, or is another integration's");
	freeReplyObject(reply);
	free(key);
	return rc;
}

/* ---- states ---- */

void authorize_state_clear(struct authorize_state *s)
{
	secret_clear(&s->verifier);
	free(s->redirect_uri);
	*s = (struct authorize_state){ 0 };
}

void authorize_browser_new(char out[AUTHORIZE_TOKEN_BYTES])
{
	random_text(out);
}

static int state_put(struct caller *c, const char *state, const char *verifier,
		     const char *redirect_uri, const char *browser, struct err *err)
{
	struct door *d = c->door;
	struct buf json = BUF_INIT, sealed = BUF_INIT;
	char *key = key_of("", state);
	int rc;

	buf_reserve(&json, 1024);
	buf_printf(&json,
		   "{\"integration_id\":%lld,\"verifier\":\"%s\",\"browser\":\"%s\","
		   "\"redirect_uri\":",
		   (long long)c->integration->id, verifier, browser);
	json_quote(&json, redirect_uri, strlen(redirect_uri));
	buf_putc(&json, '}');
	rc = d->keyring ? crypto_seal(d->keyring, key, json.data, json.len, &sealed) : -ENOKEY;
	if (rc < 0)
		err_set(err, rc, ERR_INTERNAL, "secret key",
			"the state of an authorization cannot be encrypted: is a secret key set?");
	else
		rc = redis_callv(d->redis, NULL, loop_now_ms() + REDIS_PATIENCE_MS, err, "SET", key,
				 sealed.data, "EX", STATE_TTL, NULL);
	secret_free_buf(&json);
	buf_clear(&sealed);
	free(key);
	return rc;
}

static int state_open(const struct keyring *k, const char *key, const char *sealed,
		      struct authorize_state *out)
{
	struct secret text = SECRET_INIT;
	cJSON *json = NULL;
	const char *verifier, *uri, *browser;
	int rc = k ? crypto_open(k, key, sealed, &text) : -ENOKEY;

	if (rc == 0)
		rc = json_parse(secret_reveal(&text), text.len, STATE_MAX_BYTES, &json, NULL);
	verifier = rc == 0 ? json_str(json, "verifier") : NULL;
	uri = rc == 0 ? json_str(json, "redirect_uri") : NULL;
	browser = rc == 0 ? json_str(json, "browser") : NULL;
	if (verifier && uri && browser && json_int(json, "integration_id", &out->integration)) {
		secret_set(&out->verifier, verifier, strlen(verifier));
		secret_zero((char *)verifier, strlen(verifier));
		out->redirect_uri = mem_strdup(uri);
		snprintf(out->browser, sizeof(out->browser), "%s", browser);
	} else {
		rc = -EINVAL;
	}
	secret_clear(&text);
	cJSON_Delete(json);
	return rc;
}

int authorize_take(struct redis *r, const struct keyring *k, const char *state,
		   struct authorize_state *out, struct err *err)
{
	char *key = key_of("", state);
	redisReply *reply = NULL;
	int rc =
		redis_callv(r, &reply, loop_now_ms() + REDIS_PATIENCE_MS, err, "GETDEL", key, NULL);

	if (rc == 0 &&
	    (reply->type != REDIS_REPLY_STRING || state_open(k, key, reply->str, out) < 0))
		rc = err_set(err, -ENOENT, ERR_AUTH, "state",
			     "this sign-in is not known here: it took longer than ten minutes, was"
			     " used already, or was not begun here");
	freeReplyObject(reply);
	free(key);
	return rc;
}

/* ---- the address ---- */

struct asked {
	struct caller *c;
	const struct credential *credential;
	struct buf keep;
};

static const char *asked_value(const char *name, void *arg)
{
	struct asked *k = arg;

	if (strncmp(name, "cred.", 5) == 0)
		return credential_field(k->credential, name + 5);
	if (strncmp(name, "cfg.", 4) == 0)
		return cfg_text(k->c->driver->manifest, k->c->integration, name + 4, &k->keep);
	return NULL;
}

static void add_param(struct buf *url, const char *name, const char *value)
{
	buf_putc(url, strchr(url->data, '?') ? '&' : '?');
	http_escape(url, name, strlen(name));
	buf_putc(url, '=');
	http_escape(url, value, strlen(value));
}

static void add_challenge(struct buf *url, const char *verifier)
{
	struct buf challenge = BUF_INIT;
	uint8_t sum[SHA256_BYTES];

	crypto_sha256(verifier, strlen(verifier), sum);
	url_base64(sum, sizeof(sum), &challenge);
	add_param(url, "code_challenge", challenge.data);
	add_param(url, "code_challenge_method", "S256");
	buf_clear(&challenge);
}

static int add_manifest_params(struct caller *c, const struct credential *credential,
			       struct buf *url, struct err *err)
{
	const struct manifest_pairs *p = &c->driver->manifest->auth.authorize_params;
	struct asked look = { c, credential, BUF_INIT };
	int rc = 0;

	for (int i = 0; i < p->n && rc == 0; i++) {
		struct buf value = BUF_INIT;

		rc = subst(p->v[i].value, SUBST_RAW, asked_value, &look, &value, err);
		if (rc == 0)
			add_param(url, p->v[i].name, buf_str(&value));
		buf_clear(&value);
	}
	buf_clear(&look.keep);
	return rc;
}

int authorize_begin(struct caller *c, const char *redirect_uri, const char *browser,
		    struct buf *url, struct err *err)
{
	const struct manifest *m = c->driver->manifest;
	char state[AUTHORIZE_TOKEN_BYTES], verifier[AUTHORIZE_TOKEN_BYTES];
	struct auth_entry *e = auth_entry_ref(c->door->auth, c);
	const char *client;
	int rc = credential_need(c->door->auth, c, e, true, NULL, err);

	if (rc == 0) {
		random_text(state);
		random_text(verifier);
		call_person_url(c->driver, c->integration, m->auth.authorize_url, url);
		client = credential_field(&e->credential, "client_id");
		add_param(url, "response_type", "code");
		add_param(url, "client_id", client ? client : "");
		add_param(url, "redirect_uri", redirect_uri);
		add_param(url, "state", state);
		add_challenge(url, verifier);
		rc = add_manifest_params(c, &e->credential, url, err);
	}
	if (rc == 0)
		rc = state_put(c, state, verifier, redirect_uri, browser, err);
	secret_zero(verifier, sizeof(verifier));
	auth_entry_unref(e);
	return rc;
}

/* ---- the grant ---- */

int authorize_grant(struct caller *c, struct auth_entry *e, struct call_result *r, struct err *err)
{
	const struct manifest *m = c->driver->manifest;
	struct auth_store *a = c->door->auth;
	const char *refresh = token_answer_refresh(m, r->json);
	int64_t lapses_ms = token_answer_lapses_ms(r->json);
	struct secret pair = SECRET_INIT;
	struct token t = { 0 };
	struct err why = { 0 };
	char seed[SEED_BYTES];
	int rc = token_answer_read(m, &r->http, r->json, redis_now_ms(a->redis), &t, err);

	if (rc < 0)
		return rc;
	grant_seed_of(&e->credential, seed);
	grant_print(refresh, &t, seed, &pair);
	rc = grant_put(a->pg, a->keyring, c->integration->id, GRANT_ANEW, &pair,
		       lapses_ms ? lapses_ms : m->auth.refresh.lapses_ms, err);
	secret_clear(&pair);
	if (rc < 0) {
		token_clear(&t);
		return rc;
	}
	log_event(LOG_INFO, "granted", LI("integration_id", c->integration->id),
		  LS("renewable", refresh ? "yes" : "no"));
	token_take(a, e, &t);
	if (token_store(a, c, e, &why) < 0) /* Postgres has it */
		log_event(LOG_WARN, "token_not_stored", LS("reason", why.text));
	failure_forget(a, c, e);
	return 0;
}

int authorize_ask(struct caller *c, struct auth_entry *e, const struct token_ask *ask,
		  struct call_result *r, struct err *out)
{
	struct auth_store *a = c->door->auth;
	int rc = credential_need(a, c, e, false, NULL, out);

	return rc < 0 ? rc : token_call(c, &e->credential, ask, r, out);
}

int authorize_code(struct caller *c, const struct authorize_state *s, const char *code,
		   struct err *err)
{
	struct token_ask ask = { .grant_type = "authorization_code",
				 .fields = { { "code", code },
					     { "redirect_uri", s->redirect_uri },
					     { "code_verifier", secret_reveal(&s->verifier) } },
				 .n_fields = 3 };
	struct auth_entry *e = auth_entry_ref(c->door->auth, c);
	struct secret once = SECRET_INIT;
	struct call_result r;
	struct err why = { 0 };
	int rc = token_count(c->door->auth, c, true, &why);

	secret_set(&once, code, strlen(code)); /* a partner may say it back to us */
	call_result_init(&r);
	if (rc == 0)
		rc = authorize_ask(c, e, &ask, &r, &why);
	if (rc == 0 && why.class != ERR_NONE)
		rc = -EREMOTEIO;
	if (rc == 0)
		rc = authorize_grant(c, e, &r, &why);
	call_result_clear(&r);
	secret_clear(&once);
	auth_entry_unref(e);
	if (rc < 0 && err)
		*err = why;
	return rc;
}

/* ---- afterwards ---- */

int auth_mended(struct redis *r, struct pg *p, const struct driver *d, int64_t integration_id,
		int64_t deadline_ms, struct err *err)
{
	struct integration i = { 0 };
	char scope[48];
	int rc = integration_get(p, integration_id, &i, err);

	if (rc < 0)
		return rc;
	snprintf(scope, sizeof(scope), "integration:%lld", (long long)integration_id);
	if (strcmp(i.status, "auth_broken") == 0)
		rc = integration_set_status(p, integration_id, "active", NULL, err);
	if (rc == 0)
		rc = alert_resolve(p, "auth_broken", scope, err);
	if (rc == 0)
		rc = alert_resolve(p, "grant_lapses", scope, err);
	if (rc == 0)
		rc = auth_forget(r, i.partner, integration_id, deadline_ms, err);
	if (rc == 0)
		rc = control_mirror(r, p, d, i.partner, false, deadline_ms, err);
	integration_clear(&i);
	return rc;
}
