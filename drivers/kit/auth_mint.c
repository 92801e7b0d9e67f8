#include "drivers/kit/auth_token_call.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/clock.h"
#include "common/base/id.h"
#include "common/base/log.h"
#include "common/base/mem.h"
#include "common/io/loop.h"
#include "common/store/grant.h"
#include "drivers/kit/call_door.h"
#include "drivers/kit/classify.h"

/* ---- the count ---- */

static int limit_of(const struct manifest *m, bool by_hand)
{
	int limit = (int)((double)m->auth.mint_count * m->auth.mint_share + 1e-9);

	return by_hand ? m->auth.mint_count : limit > 1 ? limit : 1;
}

static int mint_held(const struct manifest *m, int limit, int64_t now_ms, int64_t wait_ms,
		     struct err *err)
{
	char iso[CLOCK_ISO_MAX];

	return err_hold(
		err, wait_ms > 0 ? wait_ms : 1, "mint limit",
		"the token endpoint allows %d in %lld s, of which we use %d; next mint possible at %s",
		m->auth.mint_count, (long long)(m->auth.mint_window_ms / 1000), limit,
		clock_iso(now_ms + wait_ms, iso));
}

/* 0 counted, -EAGAIN full: *wait_ms. */
static int count_in_redis(struct auth_store *a, struct caller *c, const char *id, int limit,
			  int64_t *wait_ms, struct err *err)
{
	const struct manifest *m = c->driver->manifest;
	char *key = auth_key("mints", c);
	struct redis_args args;
	redisReply *reply = NULL;
	int rc;

	redis_args_init(&args);
	redis_arg(&args, key);
	redis_arg_int(&args, limit);
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
int token_count(struct auth_store *a, struct caller *c, bool by_hand, struct err *err)
{
	const struct manifest *m = c->driver->manifest;
	struct err why = { 0 };
	char id[ID_LEN + 1];
	int64_t wait_ms = 0;
	int limit = limit_of(m, by_hand), rc;

	if (m->auth.mint_count <= 0)
		return 0;
	id_new(id);
	rc = count_in_redis(a, c, id, limit, &wait_ms, &why);
	if (rc == 0) {
		rc = credential_count_mint(a->pg, c->integration->id, limit, m->auth.mint_window_ms,
					   &why);
		if (rc < 0)
			uncount_in_redis(a, c, id);
		wait_ms = why.retry_after_ms;
	}
	if (rc == -EAGAIN)
		return mint_held(m, limit, redis_now_ms(a->redis), wait_ms, err);
	if (rc < 0 && err)
		*err = why;
	return rc;
}

/* ---- the call ---- */

bool token_says_broken(const struct manifest *m, const struct call_result *r)
{
	const char *error = r->json ? json_str(r->json, "error") : NULL;

	for (int i = 0; i < m->auth.n_broken_on; i++)
		if (rule_matches(&m->auth.broken_on[i], &r->http, r->json, true))
			return true;
	return m->auth.n_broken_on == 0 && error &&
	       (strcmp(error, "invalid_client") == 0 || strcmp(error, "invalid_grant") == 0);
}

void token_outcome(const struct manifest *m, const char *outcome)
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
	struct token_ask ask = { .grant_type =
					 m->auth.kind == AUTH_OAUTH2_CLIENT ? "client_credentials"
					 : m->auth.kind == AUTH_OAUTH2_JWT
						 ? "urn:ietf:params:oauth:grant-type:jwt-bearer"
						 : NULL };
	struct call_result r;
	struct err why = { 0 };
	int rc = token_count(a, c, false, &why);

	call_result_init(&r);
	*broken = false;
	if (rc == 0 && m->auth.kind == AUTH_HOOK)
		return login_token(a, c, e, out, broken, err);
	if (rc == 0) {
		rc = token_call(c, &e->credential, &ask, &r, &why);
		*broken = rc == 0 && token_says_broken(m, &r);
		if (rc == 0 && why.class == ERR_NONE && !*broken)
			rc = token_answer_read(m, &r.http, r.json, redis_now_ms(a->redis), out,
					       &why);
		else if (rc == 0)
			rc = why.class == ERR_TRANSIENT || why.class == ERR_RATE_LIMIT ? -EAGAIN
										       : -EREMOTEIO;
		token_outcome(m, rc == 0                           ? "ok"
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

/* What dies when it is not used: the scheduler looks after those that nobody needed for long. */
static void note_use(struct auth_store *a, struct caller *c)
{
	struct err err = { 0 };

	if (grant_touch(a->pg, c->integration->id, &err) < 0)
		log_event(LOG_WARN, "use_not_noted", LS("reason", err.text));
}

int token_mint(struct auth_store *a, struct caller *c, struct auth_entry *e, struct token *out,
	       struct err *err)
{
	bool broken, changed = false;
	struct err again;
	int rc = credential_need(a, c, e, false, NULL, err);

	if (rc < 0)
		return rc;
	if (auth_has_grant(c->driver->manifest))
		return grant_renew(a, c, e, out, err);
	rc = mint_once(a, c, e, out, &broken, err);
	if (rc == 0 && c->driver->manifest->auth.refresh.dies_unused_ms)
		note_use(a, c);
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
