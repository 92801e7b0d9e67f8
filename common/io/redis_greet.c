/* The first words on a connection, all in one go: AUTH, SELECT, CLIENT SETNAME, INFO server,
 * TIME, PING.  PING comes last and tells a server that is still loading, or wants a password,
 * from one that serves. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/clock.h"
#include "common/base/id.h"
#include "common/base/log.h"
#include "common/io/redis_impl.h"

#define TIMES_REFUSED_MAX 5
#define OUTAGE_MS 3000

static void say(struct redis *r, redis_cb cb, const char *a, const char *b, const char *c)
{
	struct redis_args args;

	redis_args_init(&args);
	redis_arg(&args, a);
	if (b)
		redis_arg(&args, b);
	if (c)
		redis_arg(&args, c);
	redis_push(r, &args, cb, r);
	redis_args_clear(&args);
}

static void give_up(struct redis *r, const char *what, const char *text)
{
	char why[sizeof(r->why)];

	snprintf(why, sizeof(why), "%s: %.200s", what, text);
	redis_lost(r, why);
}

/* A callback that gets -ECONNRESET here came with the loss of the connection: there is nothing
 * left to do. */
static void on_auth(int rc, redisReply *reply, const char *text, void *arg)
{
	freeReplyObject(reply);
	if (rc == -EPROTO)
		give_up(arg, "AUTH refused", text);
}

static void on_select(int rc, redisReply *reply, const char *text, void *arg)
{
	freeReplyObject(reply);
	if (rc == -EPROTO)
		give_up(arg, "SELECT refused", text);
}

/* The same server counts as another if it was out of reach for longer than a reconnect takes: one that was frozen comes
 * back with its old id, and nobody's heartbeats reached it meanwhile. */
static void set_run_id(struct redis *r, const char *id, size_t n)
{
	bool same = n == strlen(r->run_id) && memcmp(r->run_id, id, n) == 0;

	if (same && loop_now_ms() - r->served_ms < OUTAGE_MS)
		return;
	if (n >= sizeof(r->run_id))
		n = sizeof(r->run_id) - 1;
	memcpy(r->run_id, id, n);
	r->run_id[n] = '\0';
	r->run_since_ms = loop_now_ms();
}

/* Where INFO is refused each connect counts as another server: whoever waits for the same one
 * waits longer, never too short. */
static void invent_run_id(struct redis *r)
{
	char id[ID_LEN + 1];

	id_new(id);
	set_run_id(r, id, ID_LEN);
	if (r->said_no_info)
		return;
	r->said_no_info = true;
	log_event(LOG_WARN, "redis_info_refused", LS("url", r->url.shown), LS("error", r->no_info),
		  LS("effect", "restarts of Redis are not told from reconnects"));
}

static void on_info(int rc, redisReply *reply, const char *text, void *arg)
{
	static const char field[] = "run_id:";
	struct redis *r = arg;
	const char *at = rc == 0 && reply->str ? strstr(reply->str, field) : NULL;

	if (at) {
		at += sizeof(field) - 1;
		set_run_id(r, at, strcspn(at, "\r\n"));
	} else {
		snprintf(r->no_info, sizeof(r->no_info), "%s", text ? text : "no run_id in it");
	}
	freeReplyObject(reply);
}

/* Half the round trip is taken for the way here.  A sample much slower than the best (we or
 * Redis were busy) is worse than the offset we have, but clocks drift: after some of them one is
 * believed. */
static void note_time(struct redis *r, int64_t server_us)
{
	int64_t now_us = clock_mono_us(), rtt_us = now_us - r->time_sent_us;

	if (r->has_time && rtt_us > 2 * r->best_rtt_us + 1000 &&
	    ++r->times_refused <= TIMES_REFUSED_MAX)
		return;
	if (!r->has_time || rtt_us < r->best_rtt_us || r->times_refused > 0)
		r->best_rtt_us = rtt_us;
	r->times_refused = 0;
	r->offset_us = server_us - (now_us - rtt_us / 2);
	r->error_us = rtt_us / 2;
	r->has_time = true;
}

static void on_time(int rc, redisReply *reply, const char *text, void *arg)
{
	struct redis *r = arg;

	if (rc == 0 && reply->type == REDIS_REPLY_ARRAY && reply->elements == 2 &&
	    reply->element[0]->str && reply->element[1]->str)
		note_time(r, strtoll(reply->element[0]->str, NULL, 10) * 1000000 +
				     strtoll(reply->element[1]->str, NULL, 10));
	freeReplyObject(reply);
	if (rc != -EPROTO || strncmp(text, "NOPERM", 6) != 0 || r->said_no_time)
		return;
	r->said_no_time = true;
	log_event(LOG_WARN, "redis_time_refused", LS("url", r->url.shown), LS("error", text),
		  LS("effect", "this host's clock is used, which others may not share"));
}

void redis_ask_time(struct redis *r)
{
	/* A connection that subscribed may say little else (RESP2), but the watchdog wants to
	 * hear from it. */
	if (r->subscribed) {
		say(r, NULL, "PING", NULL, NULL);
		return;
	}
	r->time_sent_us = clock_mono_us(); /* the caller flushes at once */
	say(r, on_time, "TIME", NULL, NULL);
}

static void on_ping(int rc, redisReply *reply, const char *text, void *arg)
{
	struct redis *r = arg;

	freeReplyObject(reply);
	/* Not being allowed to PING (NOPERM) is no reason not to work. */
	if (rc == -ECONNRESET)
		return;
	if (rc < 0 && strncmp(text, "NOPERM", 6) != 0) {
		redis_lost(r, text);
		return;
	}
	if (r->no_info[0])
		invent_run_id(r);
	redis_is_ready(r);
}

static void say_auth(struct redis *r)
{
	const char *password = secret_reveal(&r->url.password);

	if (r->url.user)
		say(r, on_auth, "AUTH", r->url.user, password);
	else if (r->url.password.len > 0)
		say(r, on_auth, "AUTH", password, NULL);
}

void redis_greet(struct redis *r)
{
	char db[16];

	r->no_info[0] = '\0';
	say_auth(r);
	if (r->url.db > 0) {
		snprintf(db, sizeof(db), "%d", r->url.db);
		say(r, on_select, "SELECT", db, NULL);
	}
	if (r->client_name)
		say(r, NULL, "CLIENT", "SETNAME", r->client_name);
	say(r, on_info, "INFO", "server", NULL);
	r->times_refused =
		TIMES_REFUSED_MAX; /* it may be another server: its first answer counts */
	redis_ask_time(r);
	say(r, on_ping, "PING", NULL, NULL);
	redis_flush(r);
}
