#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "common/base/crypto.h"
#include "common/base/mem.h"
#include "common/io/redis_impl.h"

/* hiredis moves what is left of its input down after each KiB of replies: small bites keep that
 * cheap. */
#define READ_BYTES (64 * 1024)
#define FEED_BYTES (8 * 1024)
#define READS_A_TURN 16
/* From here on commands leave at once instead of at the end of the turn, so that Redis works
 * beside us. */
#define FLUSH_BYTES (64 * 1024)
/* An output buffer that a burst has blown up is given back. */
#define OUT_KEPT_BYTES (1024 * 1024)

void redis_queue_init(struct redis_queue *q)
{
	q->head = NULL;
	q->tail = &q->head;
}

static void append(struct redis_queue *q, struct redis_request *request)
{
	request->next = NULL;
	*q->tail = request;
	q->tail = &request->next;
}

static struct redis_request *shift(struct redis_queue *q)
{
	struct redis_request *request = q->head;

	q->head = request->next;
	if (!q->head)
		q->tail = &q->head;
	return request;
}

void redis_queue_splice(struct redis_queue *to, struct redis_queue *from)
{
	if (!from->head)
		return;
	*to->tail = from->head;
	to->tail = from->tail;
	redis_queue_init(from);
}

void redis_tell_failed(struct redis *r, struct redis_queue *q)
{
	while (q->head) {
		struct redis_request *request = shift(q);

		if (request->cb)
			request->cb(-ECONNRESET, NULL, r->why, request->arg);
		free(request);
	}
}

/* For what is sent from a callback of redis_free: r is gone when this runs. */
static void tell_gone(void *arg)
{
	struct redis_request *request = arg;

	if (request->cb)
		request->cb(-ECONNRESET, NULL, "the connection was given up", request->arg);
	free(request);
}

static struct redis_request *new_request(redis_cb cb, void *arg, size_t tail_len)
{
	struct redis_request *request = mem_alloc(sizeof(*request) + tail_len);

	request->cb = cb;
	request->arg = arg;
	request->replies = 1;
	request->script = NULL;
	request->tail_args = 0;
	request->tail_len = tail_len;
	return request;
}

static void refuse(struct redis *r, struct redis_request *request)
{
	if (r->freed) {
		loop_defer(tell_gone, request);
		return;
	}
	append(&r->failed, request);
	redis_kick_later(r);
}

/* What was just encoded is owed an answer. */
static void owe(struct redis *r, struct redis_request *request)
{
	if (r->phase < REDIS_GREETING) { /* lost in the middle, by the flush of a part of it */
		buf_reset(&r->out);
		refuse(r, request);
		return;
	}
	append(&r->owed, request);
	redis_heed(r);
	if (r->out.len - r->out_done >= FLUSH_BYTES)
		redis_flush(r);
	else
		redis_kick_later(r);
}

static bool is_word(const struct redis_args *a, const char *word)
{
	size_t n = strlen(word);

	return a->len[0] == n && strncasecmp(a->v[0], word, n) == 0;
}

/* SUBSCRIBE and its kin are answered once per channel, and make messages possible. */
static void note_subscription(struct redis *r, const struct redis_args *a,
			      struct redis_request *request)
{
	bool in = is_word(a, "subscribe") || is_word(a, "psubscribe");

	if (!in && !is_word(a, "unsubscribe") && !is_word(a, "punsubscribe"))
		return;
	r->subscribed |= in;
	request->replies = a->n > 2 ? a->n - 1 : 1;
}

void redis_push(struct redis *r, const struct redis_args *a, redis_cb cb, void *arg)
{
	struct redis_request *request = new_request(cb, arg, 0);

	if (a->len[0] >= 9)
		note_subscription(r, a, request);
	failpoint_before(request, failpoint_command(a->n, a->v, a->len));
	redis_encode_count(&r->out, a->n);
	redis_encode_args(&r->out, a);
	owe(r, request);
}

void redis_send(struct redis *r, const struct redis_args *a, redis_cb cb, void *arg)
{
	if (r->phase != REDIS_UP)
		refuse(r, new_request(cb, arg, 0));
	else
		redis_push(r, a, cb, arg);
}

/* Sending the script itself before its first use on a connection spares a burst from all being
 * told NOSCRIPT. */
static void load_once(struct redis *r, struct redis_script *s)
{
	struct redis_args a;

	for (int i = 0; i < r->n_loaded; i++)
		if (r->loaded[i] == s)
			return;
	if (r->n_loaded == r->cap_loaded) {
		r->cap_loaded = r->cap_loaded ? 2 * r->cap_loaded : 16;
		r->loaded = mem_realloc(r->loaded,
					(size_t)r->cap_loaded * sizeof(struct redis_script *));
	}
	r->loaded[r->n_loaded++] = s;
	redis_args_init(&a);
	redis_arg(&a, "SCRIPT");
	redis_arg(&a, "LOAD");
	redis_arg(&a, s->source);
	redis_push(r, &a, NULL, NULL); /* if it is refused, EVAL does it */
	redis_args_clear(&a);
}

static void encode_script(struct redis *r, const char *verb, const char *body,
			  const struct redis_request *request)
{
	redis_encode_count(&r->out, 2 + request->tail_args);
	redis_encode_string(&r->out, verb, strlen(verb));
	redis_encode_string(&r->out, body, strlen(body));
	buf_append(&r->out, request->tail, request->tail_len);
}

void redis_send_script(struct redis *r, struct redis_script *s, int n_keys,
		       const struct redis_args *a, redis_cb cb, void *arg)
{
	static struct buf tail; /* kept between calls: this path is hot */
	struct redis_request *request;
	struct redis_args keys;

	if (r->phase != REDIS_UP) {
		refuse(r, new_request(cb, arg, 0));
		return;
	}
	if (!s->sha[0])
		crypto_sha1_hex(s->source, strlen(s->source), s->sha);
	load_once(r, s);
	buf_reset(&tail);
	redis_args_init(&keys);
	redis_arg_int(&keys, n_keys);
	redis_encode_args(&tail, &keys);
	redis_args_clear(&keys);
	redis_encode_args(&tail, a);
	request = new_request(cb, arg, tail.len);
	memcpy(request->tail, tail.data, tail.len);
	request->tail_args = 1 + a->n;
	request->script = s;
	failpoint_before(request, failpoint_script(s->name));
	encode_script(r, "EVALSHA", s->sha, request);
	owe(r, request);
	if (tail.cap > OUT_KEPT_BYTES)
		buf_clear(&tail);
}

static void keep_out_small(struct redis *r)
{
	if (r->out_done == r->out.len) {
		r->out_done = 0;
		if (r->out.cap > OUT_KEPT_BYTES)
			buf_clear(&r->out);
		else
			buf_reset(&r->out);
	} else if (r->out_done > OUT_KEPT_BYTES && r->out_done > r->out.len / 2) {
		r->out.len -= r->out_done;
		memmove(r->out.data, r->out.data + r->out_done, r->out.len);
		r->out_done = 0;
	}
}

void redis_flush(struct redis *r)
{
	int rc = REDIS_NET_GO_ON;

	if (r->phase < REDIS_GREETING)
		return;
	while (rc == REDIS_NET_GO_ON && r->out_done < r->out.len) {
		size_t taken;

		rc = redis_net_send(&r->net, r->out.data + r->out_done, r->out.len - r->out_done,
				    &taken);
		r->out_done += taken;
	}
	if (rc == -EPIPE)
		return; /* why it hung up may still be there to read; the end comes after it */
	if (rc < 0) {
		redis_lost(r, redis_net_reason(&r->net, rc));
		return;
	}
	keep_out_small(r);
	if (rc == REDIS_NET_WAIT_WRITABLE)
		event_add(r->writable, NULL);
}

/* Before 7, Redis says what a script's own command was refused with behind words of its own: "ERR Error running script (call to
 * f_…): @user_script:4: @user_script: 4: -READONLY You can't write …". */
const char *redis_error_word(const char *text)
{
	static const char of_script[] = "ERR Error running script";
	const char *at =
		strncmp(text, of_script, sizeof(of_script) - 1) == 0 ? strstr(text, ": -") : NULL;

	return at ? at + 3 : text;
}

static bool begins(const redisReply *reply, const char *with)
{
	return strncmp(redis_error_word(reply->str), with, strlen(with)) == 0;
}

/* This server can't serve us now, but another address or moment may: a replica after a failover,
 * one that is still loading, a full one.  Nothing was executed. */
static bool wants_another(const redisReply *error)
{
	return begins(error, "READONLY ") || begins(error, "LOADING ") ||
	       begins(error, "MASTERDOWN ") || begins(error, "ERR max number of clients");
}

/* 0: the request goes on. */
static int refused(struct redis *r, struct redis_request *request, const redisReply *error)
{
	if (request->script && begins(error, "NOSCRIPT")) {
		encode_script(r, "EVAL", request->script->source, request);
		request->script = NULL; /* EVAL can't be told so again */
		owe(r, request);
		return 0;
	}
	if (wants_another(error)) {
		append(&r->failed, request); /* before those that were sent after it */
		redis_lost(r, error->str);
		return 0;
	}
	return -EPROTO;
}

static void answer(struct redis *r, struct redis_request *request, redisReply *reply)
{
	int rc = reply->type == REDIS_REPLY_ERROR ? -EPROTO : 0;

	if (rc < 0 && refused(r, request, reply) == 0) {
		freeReplyObject(reply);
		return;
	}
	failpoint_after(request);
	if (rc == 0 && request->cb)
		request->cb(0, reply, NULL, request->arg);
	else if (request->cb)
		request->cb(rc, NULL, reply->str, request->arg);
	if (rc < 0 || !request->cb)
		freeReplyObject(reply);
	free(request);
}

static bool is_message(const redisReply *reply)
{
	const redisReply *kind;

#ifdef REDIS_REPLY_PUSH
	if (reply->type == REDIS_REPLY_PUSH)
		return true;
#endif
	if (reply->type != REDIS_REPLY_ARRAY || reply->elements < 3)
		return false;
	kind = reply->element[0];
	return kind->type == REDIS_REPLY_STRING &&
	       (strcmp(kind->str, "message") == 0 || strcmp(kind->str, "pmessage") == 0);
}

static void take(struct redis *r, redisReply *reply)
{
	if (r->subscribed && is_message(reply)) {
		if (r->o.on_message)
			r->o.on_message(r, reply, r->o.arg);
		freeReplyObject(reply);
		return;
	}
	if (!r->owed.head) {
		/* "ERR max number of clients reached", or a timeout's farewell. */
		redis_lost(r, reply->type == REDIS_REPLY_ERROR
				      ? reply->str
				      : "Redis said what nobody asked for");
		freeReplyObject(reply);
		return;
	}
	if (reply->type != REDIS_REPLY_ERROR && --r->owed.head->replies > 0) {
		freeReplyObject(reply);
		return;
	}
	answer(r, shift(&r->owed), reply);
}

/* false: this connection is no more, a callback may have ended it. */
static bool feed(struct redis *r, const char *p, size_t n, unsigned epoch)
{
	void *reply = NULL;

	redisReaderFeed(r->reader, p, n);
	for (;;) {
		if (redisReaderGetReply(r->reader, &reply) != REDIS_OK) {
			redis_lost(r, r->reader->errstr);
			return false;
		}
		if (!reply)
			return true;
		take(r, reply);
		if (r->epoch != epoch || r->freed)
			return false;
	}
}

void redis_read(struct redis *r)
{
	static char bytes[READ_BYTES];
	unsigned epoch = r->epoch;

	r->depth++;
	/* TLS may hold decrypted bytes that the socket doesn't show: it is read until it has
	 * none. */
	for (int reads = 0; reads < READS_A_TURN || r->net.tls; reads++) {
		ssize_t got = redis_net_recv(&r->net, bytes, sizeof(bytes));
		bool on = got > 0;

		if (got < 0)
			redis_lost(r, redis_net_reason(&r->net, (int)got));
		else if (on)
			r->heard_ms = loop_now_ms();
		for (size_t done = 0; on && done < (size_t)got; done += FEED_BYTES) {
			size_t left = (size_t)got - done;

			on = feed(r, bytes + done, left < FEED_BYTES ? left : FEED_BYTES, epoch);
		}
		if (!on || (!r->net.tls && (size_t)got < sizeof(bytes)))
			break;
	}
	if (r->net.tls && r->out_done < r->out.len)
		redis_kick_later(r); /* what waited for the end of the handshake */
	redis_leave(r);
}
