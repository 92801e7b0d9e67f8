/* login: a token by a dialogue that only C can hold.  Its calls take permits like others, but pass no breaker: the call that needs the
 * token has passed it already, as a probe perhaps, and waits for this one. */
#include <errno.h>
#include <string.h>

#include "drivers/kit/auth_store.h"
#include "drivers/kit/call_door.h"
#include "drivers/kit/hooks.h"

struct login {
	struct auth_entry *entry;
	struct arena *arena;
	struct hook_settings settings;
	struct hook_login in;
	struct hook_answer answer;
	struct call_result r;
	const cJSON *kept;
};

static const char *credential_value(const char *name, void *arg)
{
	return credential_field(&((struct auth_entry *)arg)->credential, name);
}

static int send_with_permit(struct caller *c, struct exchange *x, struct call_result *r,
			    struct err *err)
{
	struct permit permit = { 0 };
	bool taken = false;
	int rc = permit_take(c, x->route, NULL, &permit, &taken, err);

	if (rc < 0)
		return rc;
	x->permit = taken ? &permit : NULL;
	rc = exchange_send(c, x, r, err);
	if (taken && permit.sent)
		limiter_release(c->door->limiter, &permit);
	else if (taken)
		limiter_refund(c->door->limiter, &permit);
	return rc;
}

static int ask_partner(struct caller *c, const struct hook_request *ask, struct call_result *r,
		       struct err *err)
{
	struct manifest_pair query[HOOK_FIELDS_MAX];
	struct http_header headers[HOOK_FIELDS_MAX];
	struct call_spec spec;
	struct exchange x = { .spec = &spec,
			      .total_ms = DOOR_TOKEN_TOTAL_MS,
			      .read_ms = DOOR_TOKEN_TOTAL_MS,
			      .at_token_url = true };
	int rc;

	hook_spec(ask, query, headers, &spec);
	spec.no_auth = true;
	rc = route_get(c, &x.route, err);
	if (rc == 0)
		rc = send_with_permit(c, &x, r, err);
	if (rc == -ESTALE)
		rc = err_set(err, -EAGAIN, ERR_TRANSIENT, "permit",
			     "a permit went stale before it could be used");
	if (rc == 0) {
		struct err why = { 0 };

		exchange_read(c, &x, r, &why);
		/* what it refuses is for the hook to read; what it could not answer is not */
		if (why.class == ERR_TRANSIENT || why.class == ERR_RATE_LIMIT ||
		    r->http.status == 0) {
			*err = why;
			rc = -EAGAIN;
		}
	}
	route_put(x.route);
	return rc;
}

static int token_of(struct auth_store *a, const struct manifest *m, const struct hook_token *from,
		    struct token *out, struct err *err)
{
	int64_t now_ms = redis_now_ms(a->redis);

	if (!from->token || !*from->token)
		return err_set(err, -EREMOTEIO, ERR_DATA, "login",
			       "the hook ended without a token");
	secret_set(&out->access, from->token, strlen(from->token));
	out->minted_ms = now_ms;
	out->usable_ms = now_ms + m->auth.usable_after_ms;
	out->expires_ms = now_ms + (from->life_ms > 0 ? from->life_ms : TOKEN_LIFE_DEFAULT_MS);
	return 0;
}

static int step(struct caller *c, struct login *l, struct hook_token *token, struct err *err)
{
	struct hook_request ask = { 0 };
	int rc = c->driver->hooks->login(&l->in, l->arena, &ask, token, err);

	if (rc != HOOK_ASKS)
		return rc;
	call_result_clear(&l->r); /* the hook has read it, and kept what it needs */
	call_result_init(&l->r);
	rc = ask_partner(c, &ask, &l->r, err);
	l->answer = (struct hook_answer){ &l->r.http, l->r.json };
	l->in.talk.answer = &l->answer;
	l->in.talk.step++;
	return rc < 0 ? rc : HOOK_ASKS;
}

static int dialogue(struct auth_store *a, struct caller *c, struct login *l, struct token *out,
		    struct err *err)
{
	struct hook_token token = { 0 };
	int rc = HOOK_ASKS;

	while (rc == HOOK_ASKS && l->in.talk.step <= HOOK_CALLS_MAX)
		rc = step(c, l, &token, err);
	if (rc == HOOK_ASKS)
		return err_set(err, -EINVAL, ERR_INTERNAL, "login",
			       "the hook asked for more than %d calls", HOOK_CALLS_MAX);
	return rc < 0 ? rc : token_of(a, c->driver->manifest, &token, out, err);
}

int login_token(struct auth_store *a, struct caller *c, struct auth_entry *e, struct token *out,
		bool *broken, struct err *err)
{
	struct login l = { .entry = e, .arena = arena_new() };
	int rc;

	l.settings = (struct hook_settings){ c->driver->manifest, c->integration, l.arena };
	l.in = (struct hook_login){ .credential = { credential_value, e },
				    .settings = hook_settings_of(&l.settings),
				    .now_ms = redis_now_ms(a->redis),
				    .talk.kept = &l.kept };
	call_result_init(&l.r);
	rc = dialogue(a, c, &l, out, err);
	*broken = rc == -EACCES;
	call_result_clear(&l.r);
	arena_free(l.arena);
	return *broken || rc == -EINVAL ? -EREMOTEIO : rc;
}
