#include "drivers/kit/auth_store.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/log.h"
#include "common/base/mem.h"
#include "common/io/loop.h"

#define FAILURE_MAX_MS (60 * 60 * 1000LL)
#define RECALL_MS \
	5000 /* the process's own memory: then Redis is asked again, where an operator may have cleared it */
#define FAILURE_REMEMBERED_MS (2 * FAILURE_MAX_MS) /* how long "in a row" reaches back */

/* An endpoint that is down for an hour must not eat the tokens of a day: each failure in a row
 * doubles the pause, and where tokens are counted it is quadrupled. */
static int64_t pause_ms(const struct manifest *m, int64_t in_a_row)
{
	int64_t ms = FAILURE_KEPT_MS;

	for (int64_t i = 1; i < in_a_row && ms < FAILURE_MAX_MS; i++)
		ms *= m->auth.mint_count > 0 ? 4 : 2;
	return ms < FAILURE_MAX_MS ? ms : FAILURE_MAX_MS;
}

/* What is remembered of a failure.  A job that has not failed itself waits, rather than pay with a retry for
 * one that did; nor may a memory mark an integration as broken that somebody has just mended.  Only what
 * waiting does not help (a wrong scope, an answer without a token) is the same for everyone. */
static int remember(struct auth_entry *e, enum err_class class, const char *rule, const char *text,
		    int64_t for_ms)
{
	bool same = class == ERR_CLIENT || class == ERR_DATA || class == ERR_INTERNAL;

	e->failed_rc = same ? -EREMOTEIO : -EAGAIN;
	err_set(&e->failed, 0, same ? class : ERR_HOLD, rule, "%s", text);
	e->failed.where[0] = '\0';
	e->failed.retry_after_ms = same ? 0 : for_ms;
	e->again_ms = loop_now_ms() + for_ms;
	e->failed_until_ms = loop_now_ms() + (for_ms < RECALL_MS ? for_ms : RECALL_MS);
	return e->failed_rc;
}

/* The last failure as all workers know it, or NULL. */
static cJSON *failure_get(struct auth_store *a, struct caller *c)
{
	char *key = auth_key("tokenfail", c);
	redisReply *reply = NULL;
	cJSON *seen = NULL;

	if (redis_callv(a->redis, &reply, loop_now_ms() + REDIS_PATIENCE_MS, NULL, "GET", key,
			NULL) == 0) {
		if (reply->type == REDIS_REPLY_STRING &&
		    json_parse(reply->str, reply->len, 4096, &seen, NULL) < 0)
			seen = NULL;
		freeReplyObject(reply);
	}
	free(key);
	return seen;
}

int failure_recall(struct auth_store *a, struct caller *c, struct auth_entry *e, struct err *err)
{
	cJSON *seen = failure_get(a, c);
	const char *text = seen ? json_str(seen, "text") : NULL;
	const char *rule = seen ? json_str(seen, "rule") : NULL;
	const char *class = seen ? json_str(seen, "class") : NULL;
	int64_t until_ms = 0, left_ms = 0;
	int rc = 0;

	if (seen && json_int(seen, "until_ms", &until_ms))
		left_ms = until_ms - redis_now_ms(a->redis);
	if (left_ms > 0 && text && rule && class) {
		rc = remember(e, err_class_parse(class), rule, text, left_ms);
		*err = e->failed;
	}
	cJSON_Delete(seen);
	return rc;
}

static void failure_put(struct auth_store *a, struct caller *c, const struct err *err,
			int64_t in_a_row, int64_t for_ms)
{
	char *key = auth_key("tokenfail", c);
	struct redis_args args;
	struct buf text = BUF_INIT;

	buf_printf(&text, "{\"until_ms\":%lld,\"in_a_row\":%lld,\"class\":\"%s\",\"rule\":",
		   (long long)(redis_now_ms(a->redis) + for_ms), (long long)in_a_row,
		   err_class_name(err->class));
	json_quote(&text, err->rule, strlen(err->rule));
	buf_puts(&text, ",\"text\":");
	json_quote(&text, err->text, strlen(err->text));
	buf_putc(&text, '}');
	secret_redact(&text);
	redis_args_init(&args);
	redis_arg(&args, "SET");
	redis_arg(&args, key);
	redis_arg_bytes(&args, text.data, text.len);
	redis_arg(&args, "PX");
	redis_arg_int(&args, FAILURE_REMEMBERED_MS);
	redis_send(a->redis, &args, NULL, NULL);
	redis_args_clear(&args);
	buf_clear(&text);
	free(key);
}

/* The stores' troubles are not the token endpoint's, and the mint limit has its own memory. */
void failure_note(struct auth_store *a, struct caller *c, struct auth_entry *e, int rc,
		  const struct err *err)
{
	int64_t in_a_row = 0, for_ms = FAILURE_KEPT_MS;
	cJSON *seen;

	if (rc == -ECANCELED || rc == -ETIMEDOUT || rc == -ECONNRESET ||
	    (rc == -EPROTO && err->class == ERR_TRANSIENT)) /* Postgres refuses for now */
		return;
	if (err->class ==
	    ERR_HOLD) { /* the mint limit: as long as it says, but asked again now and then */
		remember(e, err->class, err->rule, err->text,
			 err->retry_after_ms < for_ms ? err->retry_after_ms : for_ms);
		e->again_ms = loop_now_ms() + err->retry_after_ms;
		return;
	}
	seen = failure_get(a, c);
	if (seen)
		(void)json_int(seen, "in_a_row", &in_a_row);
	cJSON_Delete(seen);
	if (rc == -EACCES)
		e->credential_until_ms = 0; /* whoever mends it may store another */
	else
		for_ms = pause_ms(c->driver->manifest, ++in_a_row);
	if (err->retry_after_ms > for_ms)
		for_ms = err->retry_after_ms;
	failure_put(a, c, err, in_a_row, for_ms);
	remember(e, err->class, err->rule, err->text, for_ms);
}

void failure_forget(struct auth_store *a, struct caller *c, struct auth_entry *e)
{
	char *key = auth_key("tokenfail", c);
	struct redis_args args;

	e->failed_rc = 0;
	redis_args_init(&args);
	redis_arg(&args, "DEL");
	redis_arg(&args, key);
	redis_send(a->redis, &args, NULL, NULL);
	redis_args_clear(&args);
	free(key);
}

int auth_forget(struct redis *r, const char *partner, int64_t integration_id, int64_t deadline_ms,
		struct err *err)
{
	char *fail = mem_printf("tokenfail:{%s}:%lld", partner, (long long)integration_id);
	char *cred = mem_printf("cred:{%s}:%lld", partner, (long long)integration_id);
	int rc = redis_callv(r, NULL, deadline_ms, err, "DEL", fail, cred, NULL);

	free(fail);
	free(cred);
	return rc;
}

void auth_todo(const struct manifest *m, int64_t integration_id, struct buf *out)
{
	if (auth_has_grant(m))
		buf_printf(
			out,
			"let somebody who may do so sign in at the partner: longshore integration"
			" authorize %lld",
			(long long)integration_id);
	else
		buf_printf(out,
			   "check the account at the partner, store valid credentials, then: "
			   "longshore integration resume %lld",
			   (long long)integration_id);
}

int auth_broken(struct auth_store *a, struct caller *c, const char *reason, struct err *err)
{
	const struct integration *i = c->integration;
	const char *partner = c->driver->manifest->title ? c->driver->manifest->title
							 : c->driver->manifest->partner;
	char *scope = mem_printf("integration:%lld", (long long)i->id), *what, *shown;
	struct buf todo = BUF_INIT;
	struct err why = { 0 };
	int rc;

	if (a->trial) { /* nothing of the integration's is broken by it */
		free(scope);
		return err_set(err, -EACCES, ERR_AUTH, "auth_broken", "%s", reason);
	}
	what = mem_printf("%s %s integration %lld%s%s: %s", partner,
			  auth_has_grant(c->driver->manifest) ? "does not let us act for"
							      : "refuses the credentials of",
			  (long long)i->id, i->company ? " of " : "", i->company ? i->company : "",
			  reason);
	auth_todo(c->driver->manifest, i->id, &todo);
	shown = mem_printf("%s; %s", reason, buf_str(&todo));
	rc = integration_stop(a->pg, i->id, "auth_broken",
			      &(struct stop){ shown, "auth_broken", scope, what, buf_str(&todo) },
			      &why);
	if (rc < 0)
		log_event(LOG_ERROR, "auth_broken_not_marked", LS("reason", why.text));
	log_event(LOG_ERROR, "auth_broken", LI("integration_id", i->id), LS("reason", reason));
	err_set(err, -EACCES, ERR_AUTH, "auth_broken", "%s", what);
	free(scope);
	free(what);
	free(shown);
	buf_clear(&todo);
	return -EACCES;
}
