/* What the files redis_*.c share; nobody else includes it.
 *
 * redis.c        the connection's life: connect, lose, try again, watchdog
 * redis_greet.c  what is said first on a connection (AUTH, SELECT, …), and Redis' clock
 * redis_send.c   commands out, replies in, scripts
 * redis_call.c   the forms that wait
 * redis_args.c   arguments and their encoding
 * redis_net.c    the socket, redis_tls.c TLS on it; redis_url.c where it leads
 *
 * Of hiredis only the reader is used.  Its asynchronous context frees each reply after the
 * callback (0.14), has no timeouts, aborts on a reply nobody asked for, and frees itself in the
 * middle of a failed connect; here a request is one allocation in a queue, and a reply belongs
 * to whoever gets it. */
#ifndef COMMON_IO_REDIS_IMPL_H
#define COMMON_IO_REDIS_IMPL_H

#include "common/base/failpoint.h"
#include "common/io/loop.h"
#include "common/io/redis.h"
#include "common/io/redis_net.h"
#include "common/io/redis_url.h"

/* One command under way.  `tail` repeats the arguments of a script, from the number of keys on:
 * EVAL needs them when EVALSHA finds the script gone. */
struct redis_request {
	struct redis_request *next;
	redis_cb cb; /* NULL: nobody listens */
	void *arg;
	int replies; /* still to come; a SUBSCRIBE gets one per channel */
	struct redis_script *script;
	int tail_args;
	size_t tail_len;
	FAILPOINT_FIELD
	char tail[];
};

struct redis_queue {
	struct redis_request *head, **tail;
};

enum redis_phase {
	REDIS_DOWN,       /* `retry` is set */
	REDIS_RESOLVING,  /* `attempt` is under way */
	REDIS_CONNECTING, /* the socket becomes writable */
	REDIS_GREETING,   /* AUTH, SELECT, INFO, TIME, PING: until PING's answer */
	REDIS_UP,
};

/* A name being looked up can't be recalled; it finds r NULL when nobody wants it any more. */
struct redis_attempt {
	struct redis *r;
};

struct redis_up_waiter;

struct redis {
	struct redis_url url;
	struct redis_options o; /* its url and client_name are not used */
	char *client_name;
	enum redis_phase phase;
	unsigned epoch; /* moves on when a connection ends: the reading loop up the stack sees it */
	int depth;      /* callbacks under way that were called from here … */
	bool freed;     /* … the last of which frees r, if redis_free was called in one */

	struct redis_attempt *attempt;
	struct redis_net net;
	struct event *readable, *writable;
	redisReader *reader;
	struct buf out;
	size_t out_done; /* of out, this much is sent */
	bool kicked;     /* redis_kick is deferred */

	struct redis_queue owed;    /* sent, in order of their replies */
	struct redis_queue failed;  /* to be told -ECONNRESET by the next kick */
	struct redis_queue failing; /* being told */
	bool tell_down;
	bool subscribed;
	int64_t heard_ms; /* last byte, or when the first reply came to be owed */

	int64_t served_ms; /* heard_ms of the connection before this one */

	struct loop_timer *watchdog, *retry, *tick;
	int64_t backoff_ms, up_since_ms;
	char why[256]; /* it was lost, or could not be had */
	bool said_down;
	int64_t down_since_ms, said_ms;
	struct redis_up_waiter *up_waiters;

	bool has_time;
	int64_t time_sent_us, offset_us, error_us, best_rtt_us;
	int times_refused;
	char run_id[64];
	int64_t run_since_ms;
	char no_info[96]; /* why INFO did not tell it; "" if it did */
	bool said_no_info, said_no_time;

	struct redis_script **loaded; /* that this connection was told of */
	int n_loaded, cap_loaded;
};

/* redis.c */
void redis_lost(struct redis *r, const char *why);
void redis_is_ready(struct redis *r); /* the greeting ended well */
void redis_kick_later(struct redis *r);
void redis_leave(struct redis *r); /* depth - 1; frees r if it was the last */
void redis_heed(struct redis *r);  /* a reply came to be owed: the watchdog looks */

/* redis_greet.c */
void redis_greet(struct redis *r);
void redis_ask_time(struct redis *r); /* flush after it: the answer is timed */

/* redis_send.c */
void redis_queue_init(struct redis_queue *q);
void redis_queue_splice(struct redis_queue *to, struct redis_queue *from);
void redis_tell_failed(struct redis *r, struct redis_queue *q);
void redis_push(struct redis *r, const struct redis_args *a, redis_cb cb,
		void *arg); /* connected, up or not yet */
void redis_flush(struct redis *r);
void redis_read(struct redis *r);
const char *redis_error_word(const char *text); /* "READONLY You can't …"; borrowed */

/* redis_call.c */
void redis_wake_up_waiters(struct redis *r, int rc);

/* redis_args.c: the encoding of commands */
void redis_encode_count(struct buf *out, int n);
void redis_encode_string(struct buf *out, const void *p, size_t n);
void redis_encode_args(struct buf *out, const struct redis_args *a);

#endif
