#include "drivers/kit/auth_store.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/id.h"
#include "common/base/log.h"
#include "common/base/mem.h"
#include "common/io/loop.h"
#include "common/queue/queue.h"

#define TOKEN_SLACK_MS 5000 /* not sent this close to its end: it would end on the way */
#define TOKEN_MAX_BYTES (64 * 1024)
#define POLL_MIN_MS 100 /* for the token that another worker is fetching */
#define POLL_MAX_MS 500
#define STORE_TRIES 3
#define STORE_AGAIN_MS 2000
#define CONTEXT_MAX 48
#define OWNER_BEATS ":beats" /* at the end of a lock's owner: a worker with a heartbeat */

void token_clear(struct token *t)
{
	secret_clear(&t->access);
	*t = (struct token){ 0 };
}

/* 5 min before the end, or as the manifest says, at most a tenth of the life. */
static int64_t early_ms(const struct token *t, int64_t asked_ms)
{
	int64_t tenth = (t->expires_ms - t->minted_ms) / 10;

	return asked_ms < tenth ? asked_ms : tenth;
}

static bool valid(const struct auth_store *a, const struct token *t)
{
	return t->access.len > 0 &&
	       redis_now_ms(a->redis) < t->expires_ms - early_ms(t, TOKEN_SLACK_MS);
}

bool token_may_serve(const struct auth_store *a, const struct auth_entry *e, const struct token *t)
{
	return valid(a, t) && t->minted_ms > e->refused_minted_ms &&
	       t->minted_ms >= e->token.minted_ms;
}

bool token_is_valid(const struct auth_store *a, const struct auth_entry *e)
{
	return valid(a, &e->token);
}

bool token_is_due(const struct auth_store *a, const struct auth_entry *e, const struct manifest *m)
{
	return redis_now_ms(a->redis) >=
	       e->token.expires_ms - early_ms(&e->token, m->auth.early_ms);
}

static const char *context_of(const struct caller *c, char out[CONTEXT_MAX])
{
	snprintf(out, CONTEXT_MAX, "token:%lld", (long long)c->integration->id);
	return out;
}

int token_from(const cJSON *root, struct token *out)
{
	const char *access = json_str(root, "access_token");

	if (access && json_int(root, "expires_at_ms", &out->expires_ms) &&
	    json_int(root, "usable_at_ms", &out->usable_ms) &&
	    json_int(root, "minted_at_ms", &out->minted_ms)) {
		secret_set(&out->access, access, strlen(access));
		secret_zero((char *)access, strlen(access));
		return 0;
	}
	return -EINVAL;
}

static int token_parse(const struct secret *text, struct token *out)
{
	cJSON *root = NULL;
	int rc = json_parse(secret_reveal(text), text->len, TOKEN_MAX_BYTES, &root, NULL);

	if (rc == 0)
		rc = token_from(root, out);
	cJSON_Delete(root);
	return rc;
}

void token_print(const struct token *t, struct buf *out)
{
	buf_puts(out, "\"access_token\":");
	json_quote(out, secret_reveal(&t->access), t->access.len);
	buf_printf(out, ",\"expires_at_ms\":%lld,\"usable_at_ms\":%lld,\"minted_at_ms\":%lld",
		   (long long)t->expires_ms, (long long)t->usable_ms, (long long)t->minted_ms);
}

void token_take(struct auth_store *a, struct auth_entry *e, struct token *t)
{
	bool same = secret_equal(secret_reveal(&e->token.access), e->token.access.len,
				 secret_reveal(&t->access), t->access.len);

	token_clear(&e->token);
	e->token = *t;
	if (!same)
		e->version = ++a->versions;
}

/* What was sealed with a key we lack, or is damaged, counts as nothing: a new token replaces it. */
static int take_sealed(struct auth_store *a, struct caller *c, struct auth_entry *e,
		       const char *sealed)
{
	char context[CONTEXT_MAX];
	struct secret text = SECRET_INIT;
	struct token t = { 0 };
	int rc = crypto_open(a->keyring, context_of(c, context), sealed, &text);

	if (rc == 0)
		rc = token_parse(&text, &t);
	secret_clear(&text);
	if (rc < 0) {
		log_event(LOG_WARN, "token_unreadable", LI("errno", -rc));
		return 0;
	}
	if (!token_may_serve(a, e, &t)) {
		token_clear(&t);
		return 0;
	}
	token_take(a, e, &t);
	return 1;
}

int token_fetch(struct auth_store *a, struct caller *c, struct auth_entry *e, struct buf *sealed,
		struct err *err)
{
	char *key = auth_key("token", c);
	redisReply *reply = NULL;
	int rc = redis_callv(a->redis, &reply, loop_now_ms() + REDIS_PATIENCE_MS, err, "GET", key,
			     NULL);

	free(key);
	if (rc < 0)
		return rc;
	if (reply->type == REDIS_REPLY_STRING) {
		if (sealed)
			buf_append(sealed, reply->str, reply->len);
		rc = take_sealed(a, c, e, reply->str);
	}
	freeReplyObject(reply);
	return rc;
}

static int token_seal(struct auth_store *a, struct caller *c, const struct token *t,
		      struct buf *out)
{
	struct buf json = BUF_INIT;
	char context[CONTEXT_MAX];
	int rc;

	buf_reserve(&json, t->access.len * 6 + 256); /* never moved: no copies are left behind */
	buf_putc(&json, '{');
	token_print(t, &json);
	buf_putc(&json, '}');
	rc = crypto_seal(a->keyring, context_of(c, context), json.data, json.len, out);
	secret_free_buf(&json);
	return rc;
}

int token_store(struct auth_store *a, struct caller *c, struct auth_entry *e, struct err *err)
{
	int64_t life_ms = e->token.expires_ms - redis_now_ms(a->redis);
	struct buf sealed = BUF_INIT;
	struct redis_args args;
	char *key;
	int rc = token_seal(a, c, &e->token, &sealed);

	if (rc < 0)
		return err_set(err, rc, ERR_INTERNAL, "secret key",
			       "the token could not be encrypted");
	key = auth_key("token", c);
	redis_args_init(&args);
	redis_arg(&args, "SET");
	redis_arg(&args, key);
	redis_arg_bytes(&args, sealed.data, sealed.len);
	redis_arg(&args, "PX");
	redis_arg_int(&args, life_ms > 1 ? life_ms : 1);
	rc = redis_call(a->redis, &args, NULL, loop_now_ms() + REDIS_PATIENCE_MS, err);
	if (rc == -ECANCELED) /* the job is over; its token is worth keeping all the same */
		redis_send(a->redis, &args, NULL, NULL);
	redis_args_clear(&args);
	buf_clear(&sealed);
	free(key);
	return rc;
}

/* A few a day are to be had: with Redis away for a moment the token is kept, and stored as soon as it is back. */
static void store_or_later(struct auth_store *a, struct caller *c, struct auth_entry *e)
{
	struct err why = { 0 };
	int rc = token_store(a, c, e, &why);

	for (int i = 1; i < STORE_TRIES && rc == -ECONNRESET; i++)
		if (redis_wait_up(a->redis, loop_now_ms() + STORE_AGAIN_MS) == 0)
			rc = token_store(a, c, e, &why);
	e->store_again_ms = rc < 0 && rc != -ECANCELED ? loop_now_ms() + STORE_AGAIN_MS : 0;
	if (rc < 0)
		log_event(LOG_WARN, "token_not_stored", LS("reason", why.text));
}

/* A pair of tokens is stored twice before it is used. */
int64_t token_lock_ms(const struct caller *c)
{
	return TOKEN_LOCK_MS + (auth_has_grant(c->driver->manifest) ? GRANT_STORE_MS : 0);
}

static int lock(struct auth_store *a, const char *key, const char *owner, int64_t life_ms,
		struct err *err)
{
	redisReply *reply = NULL;
	char life[24];
	int rc;

	snprintf(life, sizeof(life), "%lld", (long long)life_ms);
	rc = redis_callv(a->redis, &reply, loop_now_ms() + REDIS_PATIENCE_MS, err, "SET", key,
			 owner, "NX", "PX", life, NULL);
	if (rc < 0)
		return rc;
	rc = reply->type == REDIS_REPLY_STATUS ? 1 : 0;
	freeReplyObject(reply);
	return rc;
}

static void unlock(struct auth_store *a, const char *key, const char *owner)
{
	struct redis_args args;

	redis_args_init(&args);
	redis_arg(&args, key);
	redis_arg(&args, owner);
	redis_send_script(a->redis, &lua_unlock, 1, &args, NULL, NULL);
	redis_args_clear(&args);
}

/* With the lock held.  Whoever held it before may have brought a token, or found out that there is none. */
static int renew_locked(struct auth_store *a, struct caller *c, struct auth_entry *e,
			struct err *err)
{
	struct token fresh = { 0 };
	int rc = token_fetch(a, c, e, NULL, err);

	if (rc < 0 || (rc > 0 && !token_is_due(a, e, c->driver->manifest)))
		return rc;
	rc = failure_recall(a, c, e, err);
	if (rc < 0)
		return rc;
	rc = token_mint(a, c, e, &fresh, err);
	if (rc < 0) {
		failure_note(a, c, e, rc, err);
		return rc;
	}
	if (rc == 0)
		token_take(a, e, &fresh);
	store_or_later(a, c, e);
	failure_forget(a, c, e);
	return 0;
}

/* The token call must not be cut off by the end of one job's time: the token would be lost, and counted. */
static void deadline_shift(int64_t ms)
{
	struct co *co = co_self();
	int64_t deadline = co_deadline(co);

	if (deadline != CO_NO_DEADLINE)
		co_set_deadline(co, deadline + ms);
}

static int renew_with_lock(struct auth_store *a, struct caller *c, struct auth_entry *e,
			   const char *key, const char *owner, struct err *err)
{
	int rc;

	deadline_shift(token_lock_ms(c));
	rc = renew_locked(a, c, e, err);
	deadline_shift(-token_lock_ms(c));
	unlock(a, key, owner);
	return rc;
}

/* Its heartbeat is gone, and Redis has been there long enough for a living one to have come back.  Who has none is not
 * known to be dead. */
bool token_owner_is_dead(struct auth_store *a, const char *owner)
{
	const char *end = strchr(owner, ':');
	size_t n = strlen(owner), tail = strlen(OWNER_BEATS);
	redisReply *beat = NULL;
	bool dead = false;
	char *worker;

	if (!end || n < tail || strcmp(owner + n - tail, OWNER_BEATS) != 0 ||
	    redis_same_run_ms(a->redis) < QUEUE_HEARTBEAT_MS + QUEUE_REAP_GRACE_MS)
		return false;
	worker = mem_printf("worker:{longshore}:%.*s", (int)(end - owner), owner);
	if (redis_callv(a->redis, &beat, loop_now_ms() + REDIS_PATIENCE_MS, NULL, "EXISTS", worker,
			NULL) == 0)
		dead = beat->type == REDIS_REPLY_INTEGER && beat->integer == 0;
	freeReplyObject(beat);
	free(worker);
	return dead;
}

char *token_owner(struct auth_store *a)
{
	char id[ID_LEN + 1];

	id_new(id);
	return mem_printf("%s:%s%s", a->epoch, id, a->beats ? OWNER_BEATS : "");
}

/* Nobody waits for the end of a lock whose worker is known to be dead. */
static bool unlock_dead(struct auth_store *a, const char *key)
{
	redisReply *reply = NULL;
	bool dead;

	if (redis_callv(a->redis, &reply, loop_now_ms() + REDIS_PATIENCE_MS, NULL, "GET", key,
			NULL) < 0)
		return false;
	dead = reply->type == REDIS_REPLY_STRING && token_owner_is_dead(a, reply->str);
	if (dead) {
		log_event(LOG_WARN, "token_lock_of_a_dead_worker", LS("owner", reply->str));
		unlock(a, key, reply->str);
	}
	freeReplyObject(reply);
	return dead;
}

int token_renew(struct auth_store *a, struct caller *c, struct auth_entry *e, struct err *err)
{
	int64_t until_ms = loop_now_ms() + token_lock_ms(c), pause_ms = POLL_MIN_MS;
	char *key, *owner;
	int rc;

	if (a->trial)
		return trial_renew(a, c, e, err);
	key = auth_key("tokenlock", c);
	owner = token_owner(a);
	for (;;) {
		rc = token_fetch(a, c, e, NULL, err);
		if (rc < 0 || (rc > 0 && !token_is_due(a, e, c->driver->manifest)))
			break;
		rc = lock(a, key, owner, token_lock_ms(c), err);
		if (rc > 0)
			rc = renew_with_lock(a, c, e, key, owner, err);
		else if (rc == 0 && unlock_dead(a, key))
			continue;
		else if (rc == 0 && !token_is_valid(a, e) && loop_now_ms() < until_ms) {
			rc = co_sleep("another's token", pause_ms);
			pause_ms = pause_ms * 2 < POLL_MAX_MS ? pause_ms * 2 : POLL_MAX_MS;
			if (rc == 0)
				continue;
			err_set(err, rc, rc == -ECANCELED ? ERR_CANCELLED : ERR_TRANSIENT, "token",
				"ended while another worker was fetching the token");
		} else if (rc == 0 && !token_is_valid(a, e)) {
			rc = err_set(err, -EAGAIN, ERR_TRANSIENT, "token",
				     "another worker has been fetching the token for %lld s",
				     (long long)token_lock_ms(c) / 1000);
		}
		break;
	}
	free(owner);
	free(key);
	return rc < 0 ? rc : 0;
}
