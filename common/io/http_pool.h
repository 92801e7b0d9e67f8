/* Inside of the HTTP client: what http.c (one exchange) and http_pool.c (libcurl on the loop)
 * share.  Nobody else includes this.
 *
 * A pool is a row of shards, each a curl multi handle with few connections, for libcurl walks
 * all connections of a multi at the end of each transfer.  A shard is used when those before it
 * are full, so a pool with little to do keeps few connections.
 *
 * A mail's transfer ends for libcurl when the connection is there, greeted, secured and logged in: what is said then is said by
 * http_mail.c, for libcurl would block the loop until the server has taken the message.
 *
 * A transfer is an easy handle and what belongs to it.  It points into the request and response
 * of the coroutine that waits for it; that coroutine takes it out of libcurl before it returns,
 * whatever happens. */
#ifndef COMMON_IO_HTTP_POOL_H
#define COMMON_IO_HTTP_POOL_H

#include <curl/curl.h>
#include <stdbool.h>
#include <stdint.h>

#include "common/base/failpoint.h"
#include "common/io/co.h"
#include "common/io/http.h"
#include "common/io/http_host.h"
#include "common/io/loop.h"
#include "common/io/mail_dialogue.h"
#include "common/io/mail_reply.h"

struct shard {
	struct http_pool *pool;
	CURLM *multi; /* NULL until it is needed */
	long connections;
	struct loop_timer *timer;
	bool kicked; /* its zero timeout is deferred */
	int index, active;
};

/* What an easy handle is set to, so that only differences are set again. */
struct handle_state {
	bool known, tls, once;
	bool plain; /* a GET without a body: what most are */
	int64_t connect_ms;
};

/* libcurl says when it leaves each of them. */
enum transfer_phase {
	PHASE_WAITING, /* for a connection: all are in use, or one is opened that may be shared */
	PHASE_CONNECTING, /* its own */
	PHASE_SENT,       /* or being sent */
};

struct mail_wire;

struct transfer {
	struct transfer *prev, *next; /* under way, or idle by next alone */
	CURL *easy;
	struct shard *shard;
	struct handle_state set;
	struct completion done;
	bool in_multi;
	bool pool_gone; /* whoever waits must not touch the pool any more */
	bool too_large, is_head, gave_address, unwanted, is_private;
	const char *host; /* of the URL; borrowed */
	bool (*sending)(void *arg);
	void *sending_arg;
	CURLcode result;
	const char *stop; /* our own reason to have ended it: a failure's word; `error` says more */
	struct http_response *out;
	size_t max_body;
	enum transfer_phase phase;
	int64_t began_ms;
	int64_t last_ms; /* when it came to its phase, or anything moved since */
	int64_t wait_ms, connect_ms, write_ms, read_ms;
	curl_off_t sent, to_send; /* body bytes */
	struct buf head;          /* request headers, each with its NUL … */
	/* … and libcurl's list of them: one array, no allocation a header. */
	struct curl_slist *lines;
	int lines_cap;
	char given[RESOLVE_ADDR_MAX];
	char address[RESOLVE_ADDR_MAX + HTTP_HOST_NAME_MAX + 16]; /* the same for CURLOPT_RESOLVE */
	struct curl_slist address_line;
	char error[CURL_ERROR_SIZE];
	bool is_mail;         /* stays in libcurl, connected */
	bool ended;           /* the message's end may have been written */
	bool starttls, login; /* libcurl demands it, logs in */
	bool logged_in;       /* it did */
	int fd;
	const struct mail_wire *wire;
	const char *
		saying; /* what goes over it, as it is written down once some of it has gone; NULL: it was */
	size_t saying_len;
	struct mail_reply reply;
	struct buf ehlo; /* the server's last word on EHLO: what it can */
	struct mail_dialogue *dialogue;
	FAILPOINT_FIELD
};

struct http_pool {
	struct http_hosts *hosts;
	struct shard *shards;
	int n_shards, n_idle;
	struct transfer *active, *idle;
	struct loop_timer *tick;
	bool guarded; /* connects to targets alone */
};

/* The shard whose turn it is. */
struct shard *http_shard_pick(struct http_pool *p);
/* libcurl begins with it on the loop, soon; false: it refused. */
bool http_transfer_begin(struct http_pool *p, struct shard *s, struct transfer *t);
void http_transfer_end(struct transfer *t); /* takes it out of libcurl, mid-air or not */
struct transfer *http_transfer_get(struct http_pool *p);
void http_transfer_keep(struct http_pool *p, struct transfer *t); /* for the next request */
void http_transfer_free(struct transfer *t);

/* http.c: an exchange that came to no answer.  0. */
int http_failed(struct http_response *out, const char *failure, const char *detail);
const char *http_failure_word(const struct transfer *t);

/* What a mail's dialogue goes over: a connection (http_mail.c), or a dialogue that was written down (mail_replay.c). */
struct mail_wire {
	CURLcode (*send)(struct transfer *t, const char *s, size_t n, size_t *took);
	CURLcode (*recv)(struct transfer *t, char *s, size_t room, size_t *n);
	/* Waits.  For EV_READ or EV_WRITE. */
	int (*wait)(struct transfer *t, short what, int64_t end_ms);
};

/* http_mail.c */
bool http_mail_is_sendable(const struct http_request *q);
bool http_mail_demands_tls(const struct http_request *q); /* by STARTTLS */
void http_mail_prepare(struct transfer *t, const struct http_request *q);
/* Waits.  As mail_talk, over the connection that libcurl has made. */
int http_mail_talk(struct transfer *t, const struct http_request *q, int64_t end_ms)
	__attribute__((warn_unused_result));

/* mail_talk.c */
#define MAIL_ENDED 1 /* t->stop, t->result or t->reply say why */
/* Waits.  From the login by a token to the server's word on the message, which t->reply holds then.  0: that, or t->stop or
 * t->result say why not; < 0: the coroutine's time is over. */
int mail_talk(struct transfer *t, const struct http_request *q, int64_t end_ms)
	__attribute__((warn_unused_result));
/* What the server says before that: 0, or -EBADMSG. */
int mail_talk_heard(struct transfer *t, const char *s, size_t n)
	__attribute__((warn_unused_result));
int mail_talk_lost(struct transfer *t, CURLcode why, const char *text); /* MAIL_ENDED */
/* The server's last word as an answer; false: there is none. */
bool mail_talk_answer(const struct transfer *t, struct http_response *out);

#endif
