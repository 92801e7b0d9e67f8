/* One asynchronous Redis connection that keeps itself up: resolves, connects, AUTHs, SELECTs,
 * names itself, and does so again with backoff (50 ms to 2 s, jitter) whenever it is lost.
 * hiredis 0.14 has no timeouts, so a watchdog closes a connection that owes a reply for more
 * than `timeout_ms`.
 *
 * URL: redis://[user[:password]@]host[:port][/db] or unix:/path[?db=N] (with a login
 * unix://[user]:password@/path), rediss:// (TLS; also ?cacert=FILE).
 *
 * A lost connection answers every command under way with -ECONNRESET: executed or not is
 * unknown.  All of Longshore's scripts may be sent again.  So does a server that is loading or has
 * become a replica (nothing was executed; the connection is made anew).  Commands that block in
 * Redis for longer than timeout_ms are cut off by the watchdog.  Replies are hiredis' redisReply,
 * owned by whoever receives them. */
#ifndef COMMON_IO_REDIS_H
#define COMMON_IO_REDIS_H

#include <hiredis/hiredis.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/base/buf.h"
#include "common/base/err.h"

struct redis;

struct redis_options {
	const char *url;         /* copied */
	const char *client_name; /* CLIENT SETNAME; copied */
	int64_t timeout_ms;      /* 0 = 5000 */
	/* Called on the loop each time the connection is ready / was lost (before a reconnect is
	 * tried). NULL is fine. */
	void (*on_up)(struct redis *r, void *arg);
	void (*on_down)(struct redis *r, const char *why, void *arg);
	/* Pub/sub messages ("message" and invalidations) when this connection subscribed.
	 * Borrowed. */
	void (*on_message)(struct redis *r, const redisReply *message, void *arg);
	void *arg;
};

/* -EINVAL with a text for a bad URL.  Connects from the loop; does not wait. */
int redis_new(const struct redis_options *o, struct redis **out, struct err *err)
	__attribute__((warn_unused_result));
void redis_free(struct redis *r); /* NULL is fine; callbacks under way get -ECONNRESET */
bool redis_is_up(const struct redis *r);
const char *redis_url_shown(const struct redis *r); /* without the password; borrowed */
int redis_wait_up(struct redis *r, int64_t deadline_ms)
	__attribute__((warn_unused_result));       /* waits; -ETIMEDOUT */
void redis_drop(struct redis *r, const char *why); /* closes and reconnects (watchdog, tests) */

/* Arguments, built without copying strings: `p` must stay valid until the command was given to
 * redis_send or redis_call (which copy them into the connection's buffer). Numbers are kept
 * inside. */
#define REDIS_ARGS_INLINE 24
struct redis_args {
	int n, cap;
	const char **v;
	size_t *len;
	const char *v0[REDIS_ARGS_INLINE];
	size_t len0[REDIS_ARGS_INLINE];
	struct redis_number *numbers; /* freed by clear */
};
void redis_args_init(struct redis_args *a);
void redis_args_clear(struct redis_args *a);
void redis_arg(struct redis_args *a, const char *s); /* NUL-terminated */
void redis_arg_bytes(struct redis_args *a, const void *p, size_t n);
void redis_arg_int(struct redis_args *a, int64_t n);

/* A Lua script, embedded at build time from common/queue/lua (any other .lua folder the Makefile
 * lists). */
struct redis_script {
	const char *name;   /* "claim" */
	const char *source; /* whole text */
	char sha[41];       /* filled at first use */
};

/* rc 0: reply is not NULL and not an error, owned by the callback (freeReplyObject).
 * -ECONNRESET: unknown outcome, also at once while the connection is down.  -EPROTO: Redis
 * refused it; `text` says why ("WRONGTYPE …"). */
typedef void (*redis_cb)(int rc, redisReply *reply, const char *text, void *arg);

void redis_send(struct redis *r, const struct redis_args *a, redis_cb cb,
		void *arg); /* cb NULL: answer ignored */
/* EVALSHA, falling back to EVAL by itself on NOSCRIPT. args: keys first, then arguments. */
void redis_send_script(struct redis *r, struct redis_script *s, int n_keys,
		       const struct redis_args *a, redis_cb cb, void *arg);

/* The waiting forms.  *reply is the caller's (freeReplyObject); untouched on failure; NULL is
 * fine if not wanted. -ECONNRESET, -EPROTO (err has Redis' text; ERR_TRANSIENT where it refuses for
 * now: it is full, or cannot save), -ETIMEDOUT, -ECANCELED (the command may still run). */
int redis_call(struct redis *r, const struct redis_args *a, redisReply **reply, int64_t deadline_ms,
	       struct err *err) __attribute__((warn_unused_result));
int redis_call_script(struct redis *r, struct redis_script *s, int n_keys,
		      const struct redis_args *a, redisReply **reply, int64_t deadline_ms,
		      struct err *err) __attribute__((warn_unused_result));
/* Short form: words separated by NULL: redis_callv(r, &reply, dl, err, "GET", key, NULL). Waits. */
int redis_callv(struct redis *r, redisReply **reply, int64_t deadline_ms, struct err *err, ...)
	__attribute__((sentinel, warn_unused_result));

/* Redis' clock minus ours, kept fresh by a TIME every 10 s while up: what "now" all hosts agree
 * on. */
int64_t redis_now_ms(const struct redis *r);
int64_t redis_now_us(const struct redis *r);
/* By how much that may be off, either way: half the round trip that told it. */
int64_t redis_clock_error_us(const struct redis *r);
/* The server's run_id seen at the last connect, "" if none yet; changes when Redis restarted.
 * Monotonic ms since it is the same and has answered without an outage of over 3 s. */
const char *redis_run_id(const struct redis *r);
int64_t redis_same_run_ms(const struct redis *r);

#endif
