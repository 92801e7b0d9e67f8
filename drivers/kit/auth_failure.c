#include "drivers/kit/auth_store.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/log.h"
#include "common/base/mem.h"
#include "common/io/loop.h"

#define FAILURE_MAX_MS (60 * 60 * 1000LL)
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

static void remember(struct auth_entry *e, int rc, const struct err *err, int64_t for_ms)
{
	e->failed_rc = rc;
	e->failed = *err;
	e->failed_until_ms = loop_now_ms() + for_ms;
}

/* What the others get: a job that has not failed itself does not pay with a retry for one that did. */
static int as_told(struct auth_entry *e, const cJSON *seen, int64_t left_ms)
{
	const char *text = json_str(seen, "text"), *rule = json_str(seen, "rule"), *class = json_str(seen, "class");
	enum err_class is = class ? err_class_parse(class) : ERR_CLASS_COUNT;
	bool waits = is == ERR_TRANSIENT || is == ERR_RATE_LIMIT || is == ERR_HOLD || is == ERR_CLASS_COUNT;
	struct err why = { 0 };
	int rc = waits ? -EAGAIN : is == ERR_AUTH ? -EACCES : -EREMOTEIO;

	err_set(&why, rc, waits ? ERR_HOLD : is, rule ? rule : "token", "%s", text ? text : "the token endpoint failed");
	why.retry_after_ms = left_ms;
	remember(e, rc, &why, left_ms);
	return rc;
}

/* The last failure as all workers know it, or NULL. */
static cJSON *failure_get(struct auth_store *a, struct caller *c)
{
	char *key = auth_key("tokenfail", c);
	redisReply *reply = NULL;
	cJSON *seen = NULL;

	if (redis_callv(a->redis, &reply, loop_now_ms() + REDIS_PATIENCE_MS, NULL, "GET", key, NULL) == 0) {
		if (reply->type == REDIS_REPLY_STRING && json_parse(reply->str, reply->len, 4096, &seen, NULL) < 0)
			seen = NULL;
		freeReplyObject(reply);
	}
	free(key);
	return seen;
}

int failure_recall(struct auth_store *a, struct caller *c, struct auth_entry *e, struct err *err)
{
	cJSON *seen = failure_get(a, c);
	int64_t until_ms = 0, left_ms;
	int rc = 0;

	if (seen && json_int(seen, "until_ms", &until_ms)) {
		left_ms = until_ms - redis_now_ms(a->redis);
		if (left_ms > 0)
			rc = as_told(e, seen, left_ms);
	}
	cJSON_Delete(seen);
	if (rc < 0 && err)
		*err = e->failed;
	return rc;
}

static void failure_put(struct auth_store *a, struct caller *c, const struct err *err, int64_t in_a_row, int64_t for_ms)
{
	char *key = auth_key("tokenfail", c);
	struct redis_args args;
	struct buf text = BUF_INIT;

	buf_printf(&text, "{\"until_ms\":%lld,\"in_a_row\":%lld,\"class\":\"%s\",\"rule\":",
		   (long long)(redis_now_ms(a->redis) + for_ms), (long long)in_a_row, err_class_name(err->class));
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
void failure_note(struct auth_store *a, struct caller *c, struct auth_entry *e, int rc, const struct err *err)
{
	const struct manifest *m = c->driver->manifest;
	struct err shown = *err;
	int64_t in_a_row = 0, for_ms;
	cJSON *seen;

	if (rc == -ECANCELED || rc == -ETIMEDOUT || rc == -ECONNRESET)
		return;
	if (err->class == ERR_HOLD) {
		for_ms = err->retry_after_ms > 0 && err->retry_after_ms < FAILURE_KEPT_MS ? err->retry_after_ms : FAILURE_KEPT_MS;
		remember(e, rc, err, for_ms);
		return;
	}
	seen = failure_get(a, c);
	if (seen)
		(void)json_int(seen, "in_a_row", &in_a_row);
	cJSON_Delete(seen);
	for_ms = rc == -EACCES ? FAILURE_KEPT_MS : pause_ms(m, ++in_a_row);
	if (err->retry_after_ms > for_ms)
		for_ms = err->retry_after_ms;
	failure_put(a, c, err, in_a_row, for_ms);
	if (rc == -EAGAIN)
		shown.class = ERR_HOLD;
	shown.retry_after_ms = rc == -EAGAIN ? for_ms : err->retry_after_ms;
	remember(e, rc, &shown, for_ms);
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

int auth_broken(struct auth_store *a, struct caller *c, const char *reason, struct err *err)
{
	const struct integration *i = c->integration;
	const char *partner = c->driver->manifest->title ? c->driver->manifest->title : c->driver->manifest->partner;
	char *scope = mem_printf("integration:%lld", (long long)i->id), *what, *todo;
	struct err why = { 0 };
	int rc;

	what = mem_printf("%s refuses the credentials of integration %lld%s%s: %s", partner, (long long)i->id,
			  i->company ? " of " : "", i->company ? i->company : "", reason);
	todo = mem_printf("Get valid credentials from the customer or the partner's console, then: longshore integration rotate"
			  " %lld --credentials FILE", (long long)i->id);
	rc = integration_set_status(a->pg, i->id, "auth_broken", reason, &why);
	if (rc == 0)
		rc = alert_raise(a->pg, "auth_broken", "critical", scope, what, todo, &why);
	if (rc < 0)
		log_event(LOG_ERROR, "auth_broken_not_marked", LS("reason", why.text));
	log_event(LOG_ERROR, "auth_broken", LI("integration_id", i->id), LS("reason", reason));
	err_set(err, -EACCES, ERR_AUTH, "auth_broken", "%s", what);
	free(scope);
	free(what);
	free(todo);
	return -EACCES;
}
