/* Refresh tokens.  One may be good for one call alone, and a partner may end the whole grant when it sees one twice, so:
 *   that generation g is being spent is in Postgres before it is sent;
 *   the pair that comes back is in Redis, then in Postgres as g + 1, before it is used;
 *   an answer that never came leaves the mark: the call may have been made.
 * Who finds the mark (the process died, the connection broke) looks for the pair in Redis, and sends the token once
 * more where there is none: nothing is lost by that which is not lost already.  A refusal then is told as what it is. */
#include "drivers/kit/auth_grant.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/clock.h"
#include "common/base/log.h"
#include "common/base/mem.h"
#include "common/io/loop.h"
#include "common/store/grant.h"
#include "drivers/kit/call_door.h"

#define PAIR_MAX_BYTES (128 * 1024)
#define RESCUE_TTL "604800" /* a week, in seconds: Postgres will be back */
#define SPENDS_MAX 5        /* processes in a row that died on it: it is the call that kills them */
#define RENEW_TRIES 3
#define OTHERS_MS 5000

/* With the sanitizers' zones a few such frames in one are too large for a coroutine's stack. */
#define APART __attribute__((noinline))

struct held {
	struct grant grant;
	struct secret refresh;
	struct token token;
	char seed[SEED_BYTES];
};

bool auth_has_grant(const struct manifest *m)
{
	return m->auth.kind == AUTH_OAUTH2_CODE || m->auth.kind == AUTH_OAUTH2_DEVICE;
}

static void held_clear(struct held *h)
{
	grant_clear(&h->grant);
	secret_clear(&h->refresh);
	token_clear(&h->token);
}

void grant_seed_of(const struct credential *c, char out[SEED_BYTES])
{
	const char *given = credential_field(c, "refresh_token");
	uint8_t sum[SHA256_BYTES];

	out[0] = '\0';
	if (!given)
		return;
	crypto_sha256(given, strlen(given), sum);
	crypto_hex(sum, sizeof(sum), out);
}

void grant_print(const char *refresh, const struct token *t, const char *seed, struct secret *out)
{
	struct buf json = BUF_INIT;

	/* never moved: no copies are left behind */
	buf_reserve(&json, (t ? t->access.len : 0) * 6 + (refresh ? strlen(refresh) : 0) * 6 + 512);
	buf_printf(&json, "{\"seed\":\"%s\"", seed);
	if (refresh) {
		buf_puts(&json, ",\"refresh_token\":");
		json_quote(&json, refresh, strlen(refresh));
	}
	if (t && t->access.len) {
		buf_putc(&json, ',');
		token_print(t, &json);
	}
	buf_putc(&json, '}');
	secret_set(out, json.data, json.len);
	secret_free_buf(&json);
}

/* The pair in its own members; -EINVAL: damaged. */
static int held_parse(struct held *h, const struct secret *pair)
{
	cJSON *root = NULL;
	const char *refresh, *seed;
	int rc = json_parse(secret_reveal(pair), pair->len, PAIR_MAX_BYTES, &root, NULL);

	if (rc < 0)
		return -EINVAL;
	refresh = json_str(root, "refresh_token");
	seed = json_str(root, "seed");
	if (seed && strlen(seed) < sizeof(h->seed))
		memcpy(h->seed, seed, strlen(seed) + 1);
	if (refresh) {
		secret_set(&h->refresh, refresh, strlen(refresh));
		secret_zero((char *)refresh, strlen(refresh));
	}
	if (json_path(root, "access_token"))
		rc = token_from(root, &h->token);
	cJSON_Delete(root);
	return rc;
}

/* ---- the pair on its way to Postgres ---- */

void rescue_context(int64_t id, int64_t generation, char out[RESCUE_CONTEXT_MAX])
{
	snprintf(out, RESCUE_CONTEXT_MAX, "rescue:%lld:%lld", (long long)id, (long long)generation);
}

static bool rescue_put(struct auth_store *a, struct caller *c, int64_t generation,
		       const struct secret *pair)
{
	char *key = auth_key("grant", c), context[RESCUE_CONTEXT_MAX];
	struct buf sealed = BUF_INIT;
	struct redis_args args;
	int rc;

	rescue_context(c->integration->id, generation, context);
	rc = crypto_seal(a->keyring, context, secret_reveal(pair), pair->len, &sealed);
	redis_args_init(&args);
	redis_arg(&args, "SET");
	redis_arg(&args, key);
	redis_arg_bytes(&args, buf_str(&sealed), sealed.len);
	redis_arg(&args, "EX");
	redis_arg(&args, RESCUE_TTL);
	if (rc == 0)
		rc = redis_call(a->redis, &args, NULL, loop_now_ms() + REDIS_PATIENCE_MS, NULL);
	if (rc == -ECANCELED) { /* the job is over; its pair is worth keeping all the same */
		redis_send(a->redis, &args, NULL, NULL);
		rc = 0;
	}
	redis_args_clear(&args);
	buf_clear(&sealed);
	free(key);
	return rc == 0;
}

/* Bound to the generation that it makes: what was left by another does not open. */
static bool rescue_get(struct auth_store *a, struct caller *c, int64_t generation,
		       struct secret *pair)
{
	char *key = auth_key("grant", c), context[RESCUE_CONTEXT_MAX];
	redisReply *reply = NULL;
	bool found = false;

	rescue_context(c->integration->id, generation, context);
	if (redis_callv(a->redis, &reply, loop_now_ms() + REDIS_PATIENCE_MS, NULL, "GET", key,
			NULL) == 0)
		found = reply->type == REDIS_REPLY_STRING &&
			crypto_open(a->keyring, context, reply->str, pair) == 0;
	freeReplyObject(reply);
	free(key);
	return found;
}

static void rescue_drop(struct auth_store *a, struct caller *c)
{
	char *key = auth_key("grant", c);
	struct redis_args args;

	redis_args_init(&args);
	redis_arg(&args, "DEL");
	redis_arg(&args, key);
	redis_send(a->redis, &args, NULL, NULL);
	redis_args_clear(&args);
	free(key);
}

/* ---- loading ---- */

/* A refresh token that stands in the credential begins a grant. */
static int seed_grant(struct auth_store *a, struct caller *c, struct auth_entry *e,
		      const char *seed, struct err *err)
{
	struct secret pair = SECRET_INIT;
	int rc;

	grant_print(credential_field(&e->credential, "refresh_token"), NULL, seed, &pair);
	rc = grant_put(a->pg, a->keyring, c->integration->id, GRANT_ANEW, &pair,
		       c->driver->manifest->auth.refresh.lapses_ms, err);
	secret_clear(&pair);
	return rc < 0 ? rc : -ESTALE; /* to be read again */
}

/* An answer that was never stored in Postgres, by whoever had it. */
static int take_rescued(struct auth_store *a, struct caller *c, struct held *h, struct err *err)
{
	struct secret pair = SECRET_INIT;
	int rc = 0;

	if (rescue_get(a, c, h->grant.generation + 1, &pair)) {
		rc = grant_put(a->pg, a->keyring, c->integration->id, h->grant.generation, &pair, 0,
			       err);
		if (rc == 0) {
			log_event(LOG_INFO, "grant_rescued",
				  LI("generation", h->grant.generation + 1));
			rescue_drop(a, c);
			rc = -ESTALE;
		}
	}
	secret_clear(&pair);
	return rc;
}

/* -ENOENT: nobody has allowed anything yet; -ESTALE: it changed, read it again. */
APART static int held_load(struct auth_store *a, struct caller *c, struct auth_entry *e,
			   struct held *h, struct err *err)
{
	char seed[SEED_BYTES];
	int rc = grant_get(a->pg, a->keyring, c->integration->id, &h->grant, err);

	if (rc < 0 && rc != -ENOENT)
		return rc;
	if (rc == 0 && h->grant.pair.len && held_parse(h, &h->grant.pair) < 0)
		return err_set(err, -EINVAL, ERR_INTERNAL, "grant",
			       "the stored tokens of integration %lld are damaged",
			       (long long)c->integration->id);
	grant_seed_of(&e->credential, seed);
	if (a->trial && seed[0] && strcmp(seed, h->seed) != 0)
		return err_set(
			err, -EACCES, ERR_AUTH, "grant",
			"they have another refresh token, which cannot be tried without spending it: leave it"
			" out to keep the one that is there, or begin with it by `longshore"
			" integration resume %lld --credentials FILE`",
			(long long)c->integration->id);
	if (seed[0] && strcmp(seed, h->seed) != 0)
		return seed_grant(a, c, e, seed, err);
	if (rc < 0 || !h->grant.pair.len)
		return -ENOENT;
	return h->grant.spending_ms ? take_rescued(a, c, h, err) : 0;
}

/* ---- spending ---- */

static int lost(struct auth_store *a, struct caller *c, const struct held *h, const char *then,
		struct err *err)
{
	char iso[CLOCK_ISO_MAX];
	char *reason =
		mem_printf("the refresh token was sent at %s and no answer was kept (the process "
			   "died, or the connection broke): %s",
			   clock_iso(h->grant.spending_ms, iso), then);
	int rc = auth_broken(a, c, reason, err);

	free(reason);
	return rc;
}

APART static int grant_refused(struct auth_store *a, struct caller *c, struct auth_entry *e,
			       const struct held *h, struct err *err)
{
	struct grant now = { 0 };
	struct err again = { 0 }, why = *err;
	bool changed = false;

	/* only what is stored now counts: another pair, another secret */
	if (grant_get(a->pg, a->keyring, c->integration->id, &now, &again) == 0 &&
	    now.generation != h->grant.generation)
		changed = true;
	grant_clear(&now);
	if (changed || (credential_need(a, c, e, true, &changed, &again) == 0 && changed))
		return -ESTALE;
	if (h->grant.spending_ms)
		return lost(a, c, h, "the partner does not take it again", err);
	return auth_broken(a, c, why.text[0] ? why.text : "the refresh token is refused", err);
}

/* Stored before it is used: in Redis, then in Postgres.  One of them is enough to go on with. */
APART static int held_store(struct auth_store *a, struct caller *c, struct held *h,
			    const char *refresh, int64_t lapses_in_ms, const struct token *t,
			    struct err *err)
{
	struct secret pair = SECRET_INIT;
	struct err why = { 0 };
	bool rescued;
	int rc;

	if (!refresh && c->driver->manifest->auth.refresh.keep_if_absent)
		refresh = secret_reveal(&h->refresh);
	grant_print(refresh, t, h->seed, &pair);
	rescued = rescue_put(a, c, h->grant.generation + 1, &pair);
	for (int i = 0; i < 2; i++) {
		rc = grant_put(a->pg, a->keyring, c->integration->id, h->grant.generation, &pair,
			       lapses_in_ms, &why);
		if (rc != -ECONNRESET)
			break;
	}
	secret_clear(&pair);
	if (rc == 0)
		rescue_drop(a, c);
	if (rc == -ESTALE || rc == 0)
		return rc;
	log_event(LOG_ERROR, "grant_not_stored", LS("reason", why.text),
		  LS("doing", rescued ? "Redis has it until Postgres is back" : "it is lost"));
	if (rescued)
		return 0;
	*err = why;
	return rc;
}

/* The call is over and brought nothing.  Where that cannot be written down the mark stays, which is on the safe side; so
 * does that of an earlier call. */
static void note_unspent(struct auth_store *a, struct caller *c, const struct held *h,
			 bool maybe_spent)
{
	struct err err = { 0 };

	if (c->driver->manifest->auth.refresh.single_use &&
	    grant_unspend(a->pg, c->integration->id, h->grant.generation,
			  maybe_spent || h->grant.spending_ms > 0, &err) < 0)
		log_event(LOG_WARN, "grant_not_noted", LS("reason", err.text));
}

/* What came back of a refresh. */
struct back {
	struct call_result r;
	bool handed;
};

APART static int refresh_read(struct auth_store *a, struct caller *c, struct auth_entry *e,
			      struct held *h, struct back *b, struct token *out, struct err *err)
{
	const struct manifest *m = c->driver->manifest;
	bool broken = token_says_broken(m, &b->r);
	int rc;

	if (broken || err->class != ERR_NONE) {
		note_unspent(a, c, h, !broken && b->handed && b->r.http.status == 0);
		token_outcome(m, broken ? "broken" : b->r.http.status ? "failed" : "unknown");
		if (broken)
			return grant_refused(a, c, e, h, err);
		return err->class == ERR_TRANSIENT || err->class == ERR_RATE_LIMIT ? -EAGAIN
										   : -EREMOTEIO;
	}
	rc = token_answer_read(m, &b->r.http, b->r.json, redis_now_ms(a->redis), out, err);
	token_outcome(m, rc == 0 ? "ok" : "failed");
	if (rc < 0) {
		note_unspent(a, c, h, true);
		return rc;
	}
	log_event(LOG_INFO, "token_refreshed",
		  LI("life_s", (out->expires_ms - out->minted_ms) / 1000),
		  LI("generation", h->grant.generation + 1));
	return held_store(a, c, h, token_answer_refresh(m, b->r.json),
			  token_answer_lapses_ms(b->r.json), out, err);
}

APART static int refresh(struct auth_store *a, struct caller *c, struct auth_entry *e,
			 struct held *h, struct token *out, struct err *err)
{
	const struct manifest *m = c->driver->manifest;
	struct back b = { .handed = false };
	struct token_ask ask = { .grant_type = "refresh_token",
				 .fields = { { "refresh_token", secret_reveal(&h->refresh) } },
				 .n_fields = 1,
				 .handed = &b.handed };
	struct err why = { 0 };
	char *by = token_owner(a);
	int rc = token_count(a, c, false, &why);

	call_result_init(&b.r);
	if (rc == 0 && m->auth.refresh.single_use)
		rc = grant_spend(a->pg, c->integration->id, h->grant.generation, by, &why);
	free(by);
	if (rc == 0) {
		rc = token_call(c, &e->credential, &ask, &b.r, &why);
		if (rc == 0)
			rc = refresh_read(a, c, e, h, &b, out, &why);
		else if (!b.handed)
			note_unspent(a, c, h, false);
	}
	call_result_clear(&b.r);
	if (rc < 0) {
		token_clear(out);
		*err = why;
	}
	return rc;
}

/* The lock was lost with Redis, or ran out, and whoever had it is at it still. */
static int others_at_it(struct auth_store *a, struct caller *c, const struct held *h,
			struct err *err)
{
	if (!h->grant.spending_by || h->grant.spending_age_ms > token_lock_ms(c) ||
	    token_owner_is_dead(a, h->grant.spending_by))
		return 0;
	err_set(err, -EAGAIN, ERR_HOLD, "grant",
		"the refresh token is being spent by another worker, or by one that died");
	err->retry_after_ms = OTHERS_MS;
	return -EAGAIN;
}

static int held_use(struct auth_store *a, struct caller *c, struct auth_entry *e, struct held *h,
		    struct token *out, struct err *err)
{
	int rc;

	/* Redis has lost it; it says nothing of credentials on trial */
	if (!a->trial && token_may_serve(a, e, &h->token)) {
		token_take(a, e, &h->token);
		h->token = (struct token){ 0 };
		if (!token_is_due(a, e, c->driver->manifest))
			return 1;
	}
	if (!h->refresh.len)
		return auth_broken(
			a, c, "its token has ended, and the partner gave none to renew it with",
			err);
	if (h->grant.spends >= SPENDS_MAX)
		return lost(a, c, h, "and so it went several times in a row", err);
	rc = others_at_it(a, c, h, err);
	return rc < 0 ? rc : refresh(a, c, e, h, out, err);
}

int grant_renew(struct auth_store *a, struct caller *c, struct auth_entry *e, struct token *out,
		struct err *err)
{
	int rc = -ESTALE;

	for (int i = 0; i < RENEW_TRIES && rc == -ESTALE; i++) {
		struct held h = { .seed = "" };

		rc = held_load(a, c, e, &h, err);
		if (rc == 0)
			rc = held_use(a, c, e, &h, out, err);
		else if (rc == -ENOENT)
			rc = auth_broken(a, c, "nobody has allowed us to act for it yet", err);
		held_clear(&h);
	}
	if (rc == -ESTALE)
		rc = err_set(err, -EAGAIN, ERR_TRANSIENT, "grant",
			     "the tokens are being changed by others");
	return rc;
}
