#include <errno.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/mem.h"
#include "common/io/co.h"
#include "common/io/redis_impl.h"

/* On the heap: a command can't be recalled, so its reply may come when the caller is gone. */
struct call {
	struct completion c;
	bool orphaned;
	int rc;
	redisReply *reply;
	char *text;
};

struct redis_up_waiter {
	struct redis_up_waiter *next;
	struct completion c;
	int rc;
};

static void on_reply(int rc, redisReply *reply, const char *text, void *arg)
{
	struct call *call = arg;

	if (call->orphaned) {
		freeReplyObject(reply);
		free(call);
		return;
	}
	call->rc = rc;
	call->reply = reply;
	call->text = text ? mem_strdup(text) : NULL;
	completion_done(&call->c);
}

/* It is full, or cannot save, or runs somebody's script: nothing was executed, and no fault is ours. */
static bool is_for_now(const char *text)
{
	static const char *const words[] = { "OOM ",        "MISCONF ",     "BUSY ",
					     "NOREPLICAS ", "CLUSTERDOWN ", "TRYAGAIN " };
	const char *word = redis_error_word(text);

	for (size_t i = 0; i < ARRAY_LEN(words); i++)
		if (strncmp(word, words[i], strlen(words[i])) == 0)
			return true;
	return false;
}

static int say_failed(struct err *err, int rc, const char *text)
{
	if (rc == -EPROTO && is_for_now(text))
		return err_set(err, rc, ERR_TRANSIENT, "redis", "Redis refuses for now: %s", text);
	if (rc == -EPROTO)
		return err_set(err, rc, ERR_INTERNAL, "redis", "Redis refused: %s", text);
	return err_set(err, rc, ERR_TRANSIENT, "redis", "no connection to Redis: %s", text);
}

static int abandon(struct call *call, int rc, struct err *err)
{
	call->orphaned = true;
	if (rc == -ECANCELED)
		return err_set(err, rc, ERR_CANCELLED, "cancelled",
			       "cancelled while waiting for Redis");
	return err_set(err, rc, ERR_TRANSIENT, "redis", "Redis did not answer in time");
}

/* Waits. */
static int finish(struct call *call, redisReply **reply, int64_t deadline_ms, struct err *err)
{
	int rc = completion_wait(&call->c, "redis", deadline_ms);

	if (rc < 0)
		return abandon(call, rc, err);
	rc = call->rc;
	if (rc < 0)
		say_failed(err, rc, call->text);
	else if (reply)
		*reply = call->reply;
	else
		freeReplyObject(call->reply);
	free(call->text);
	free(call);
	return rc;
}

static int cancelled_before(struct err *err)
{
	if (!co_is_cancelled())
		return 0;
	return err_set(err, -ECANCELED, ERR_CANCELLED, "cancelled",
		       "cancelled before Redis was asked");
}

int redis_call(struct redis *r, const struct redis_args *a, redisReply **reply, int64_t deadline_ms,
	       struct err *err)
{
	struct call *call;
	int rc = cancelled_before(err);

	if (rc < 0)
		return rc;
	call = mem_new(struct call);
	redis_send(r, a, on_reply, call);
	return finish(call, reply, deadline_ms, err);
}

int redis_call_script(struct redis *r, struct redis_script *s, int n_keys,
		      const struct redis_args *a, redisReply **reply, int64_t deadline_ms,
		      struct err *err)
{
	struct call *call;
	int rc = cancelled_before(err);

	if (rc < 0)
		return rc;
	call = mem_new(struct call);
	redis_send_script(r, s, n_keys, a, on_reply, call);
	return finish(call, reply, deadline_ms, err);
}

int redis_callv(struct redis *r, redisReply **reply, int64_t deadline_ms, struct err *err, ...)
{
	struct redis_args a;
	const char *word;
	va_list ap;
	int rc;

	redis_args_init(&a);
	va_start(ap, err);
	while ((word = va_arg(ap, const char *)))
		redis_arg(&a, word);
	va_end(ap);
	rc = redis_call(r, &a, reply, deadline_ms, err);
	redis_args_clear(&a);
	return rc;
}

void redis_wake_up_waiters(struct redis *r, int rc)
{
	while (r->up_waiters) {
		struct redis_up_waiter *w = r->up_waiters;

		r->up_waiters = w->next;
		w->rc = rc;
		completion_done(&w->c);
	}
}

int redis_wait_up(struct redis *r, int64_t deadline_ms)
{
	struct redis_up_waiter w = { .next = r->up_waiters };
	struct redis_up_waiter **p = &r->up_waiters;
	int rc;

	if (r->phase == REDIS_UP)
		return 0;
	r->up_waiters = &w;
	rc = completion_wait(&w.c, "redis up", deadline_ms);
	if (rc == 0)
		return w.rc;
	while (*p != &w)
		p = &(*p)->next;
	*p = w.next;
	return rc;
}
