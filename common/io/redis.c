#include "common/io/redis.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/clock.h"
#include "common/base/id.h"
#include "common/base/log.h"
#include "common/base/mem.h"
#include "common/io/redis_impl.h"
#include "common/io/resolve.h"

#define TIMEOUT_MS 5000
#define BACKOFF_FIRST_MS 50
#define BACKOFF_MAX_MS 2000
#define STEADY_MS 2000 /* up for so long, the next loss begins with the first backoff again */
#define TICK_MS 10000  /* TIME */
#define SAID_EVERY_MS 30000

static void say_down(struct redis *r)
{
	int64_t now_ms = loop_now_ms();

	if (r->said_down && now_ms - r->said_ms < SAID_EVERY_MS)
		return;
	if (!r->said_down)
		r->down_since_ms = now_ms;
	r->said_down = true;
	r->said_ms = now_ms;
	log_event(LOG_WARN, "redis_down", LS("url", r->url.shown), LS("why", r->why),
		  LI("for_ms", now_ms - r->down_since_ms));
}

static void say_up(struct redis *r)
{
	if (r->said_down)
		log_event(LOG_INFO, "redis_up", LS("url", r->url.shown),
			  LI("after_ms", loop_now_ms() - r->down_since_ms));
	else
		log_event(LOG_INFO, "redis_up", LS("url", r->url.shown));
	r->said_down = false;
}

static void close_socket(struct redis *r)
{
	if (r->attempt)
		r->attempt->r = NULL;
	r->attempt = NULL;
	if (r->readable)
		event_free(r->readable);
	if (r->writable)
		event_free(r->writable);
	r->readable = r->writable = NULL;
	redis_net_close(&r->net);
	if (r->reader)
		redisReaderFree(r->reader);
	r->reader = NULL;
	buf_reset(&r->out);
	r->out_done = 0;
	r->n_loaded = 0;
	r->subscribed = false;
	r->phase = REDIS_DOWN;
	r->epoch++;
	redis_queue_splice(&r->failed, &r->owed);
}

/* Half of it is chance, so that a fleet does not come back as one. */
static int64_t next_delay_ms(struct redis *r, bool was_up)
{
	int64_t delay_ms;

	if (was_up && loop_now_ms() - r->up_since_ms >= STEADY_MS)
		r->backoff_ms = BACKOFF_FIRST_MS;
	delay_ms = r->backoff_ms / 2 + (int64_t)random_below((unsigned)(r->backoff_ms / 2 + 1));
	r->backoff_ms = 2 * r->backoff_ms < BACKOFF_MAX_MS ? 2 * r->backoff_ms : BACKOFF_MAX_MS;
	return delay_ms;
}

/* The one way a connection ends.  Nobody is called from here: the requests are told by the next
 * kick. */
void redis_lost(struct redis *r, const char *why)
{
	bool was_up = r->phase == REDIS_UP;

	if (r->phase == REDIS_DOWN)
		return;
	snprintf(r->why, sizeof(r->why), "%s", why); /* before the reader goes, which may own it */
	if (was_up)
		r->served_ms = r->heard_ms;
	close_socket(r);
	loop_timer_stop(r->watchdog);
	loop_timer_stop(r->tick);
	if (r->freed)
		return;
	r->tell_down |= was_up;
	say_down(r);
	loop_timer_set(r->retry, next_delay_ms(r, was_up));
	redis_kick_later(r);
}

static void destroy(struct redis *r)
{
	loop_timer_free(r->watchdog);
	loop_timer_free(r->retry);
	loop_timer_free(r->tick);
	redis_url_clear(&r->url);
	buf_clear(&r->out);
	free(r->client_name);
	free(r->loaded);
	free(r);
}

void redis_leave(struct redis *r)
{
	if (--r->depth == 0 && r->freed)
		destroy(r);
}

/* At the end of a turn: what was written goes out, and who lost his request hears of it. */
static void kick(void *arg)
{
	struct redis *r = arg;

	r->kicked = false;
	r->depth++;
	redis_queue_splice(&r->failing, &r->failed);
	redis_tell_failed(r, &r->failing);
	if (r->tell_down && !r->freed) {
		r->tell_down = false;
		if (r->o.on_down)
			r->o.on_down(r, r->why, r->o.arg);
	}
	if (!r->freed)
		redis_flush(r);
	redis_leave(r);
}

void redis_kick_later(struct redis *r)
{
	if (r->kicked || r->freed)
		return;
	r->kicked = true;
	loop_defer(kick, r);
}

static void on_watchdog(void *arg)
{
	struct redis *r = arg;
	int64_t silent_ms = loop_now_ms() - r->heard_ms;
	char why[64];

	if (r->phase == REDIS_UP && !r->owed.head)
		return; /* redis_heed sets it again */
	if (silent_ms < r->o.timeout_ms) {
		loop_timer_set(r->watchdog, r->o.timeout_ms - silent_ms);
		return;
	}
	snprintf(why, sizeof(why), "no answer for %lld ms", (long long)silent_ms);
	redis_lost(r, why);
}

void redis_heed(struct redis *r)
{
	if (r->owed.head->next)
		return;
	r->heard_ms = clock_mono_ms(); /* not the pass' own time: it may have been held since */
	if (!loop_timer_pending(r->watchdog))
		loop_timer_set(r->watchdog, r->o.timeout_ms);
}

static void on_tick(void *arg)
{
	redis_ask_time(arg);
	redis_flush(arg);
}

void redis_is_ready(struct redis *r)
{
	r->phase = REDIS_UP;
	r->up_since_ms = loop_now_ms();
	loop_timer_every(r->tick, TICK_MS);
	say_up(r);
	redis_wake_up_waiters(r, 0);
	if (r->o.on_up)
		r->o.on_up(r, r->o.arg);
}

static void on_readable(evutil_socket_t fd, short what, void *arg)
{
	redis_read(arg);
}

static void on_writable(evutil_socket_t fd, short what, void *arg)
{
	struct redis *r = arg;
	const char *why = "";

	if (r->phase != REDIS_CONNECTING) {
		/* The kernel's buffers were full and are not: somebody reads.  A long upload is
		 * no silence. */
		r->heard_ms = loop_now_ms();
		redis_flush(r);
		return;
	}
	if (redis_net_connected(&r->net, &r->url, &why) < 0) {
		redis_lost(r, why);
		return;
	}
	r->phase = REDIS_GREETING;
	event_add(r->readable, NULL);
	redis_greet(r);
}

static void open_socket(struct redis *r, const char *address)
{
	int rc = redis_net_open(&r->net, &r->url, address);

	if (rc < 0) {
		redis_lost(r, strerrordesc_np(-rc));
		return;
	}
	r->phase = REDIS_CONNECTING;
	r->reader = redisReaderCreate();
	r->readable = event_new(loop_base(), r->net.fd, EV_READ | EV_PERSIST, on_readable, r);
	r->writable = event_new(loop_base(), r->net.fd, EV_WRITE, on_writable, r);
	if (!r->reader || !r->readable || !r->writable || event_add(r->writable, NULL) < 0)
		redis_lost(r, "out of memory");
}

static void on_resolved(int rc, const char *address, const char *text, void *arg)
{
	struct redis_attempt *attempt = arg;
	struct redis *r = attempt->r;

	free(attempt);
	if (!r)
		return;
	r->attempt = NULL;
	if (rc < 0)
		redis_lost(r, text);
	else
		open_socket(r, address);
}

static void try_connect(void *arg)
{
	struct redis *r = arg;

	r->phase = REDIS_RESOLVING;
	r->heard_ms = loop_now_ms();
	loop_timer_set(r->watchdog, r->o.timeout_ms); /* bounds the whole attempt */
	if (r->url.path) {
		open_socket(r, NULL);
		return;
	}
	r->attempt = mem_new(struct redis_attempt);
	r->attempt->r = r;
	resolve(r->url.host, on_resolved, r->attempt);
}

int redis_new(const struct redis_options *o, struct redis **out, struct err *err)
{
	struct redis_url url;
	struct redis *r;
	int rc = redis_url_parse(o->url, &url, err);

	if (rc < 0)
		return rc;
	r = mem_new(struct redis);
	r->url = url;
	r->o = *o;
	r->o.url = r->o.client_name = NULL;
	if (r->o.timeout_ms <= 0)
		r->o.timeout_ms = TIMEOUT_MS;
	r->client_name = o->client_name ? mem_strdup(o->client_name) : NULL;
	r->net.fd = -1;
	r->backoff_ms = BACKOFF_FIRST_MS;
	snprintf(r->why, sizeof(r->why), "not connected yet");
	redis_queue_init(&r->owed);
	redis_queue_init(&r->failed);
	redis_queue_init(&r->failing);
	r->watchdog = loop_timer_new(on_watchdog, r);
	r->retry = loop_timer_new(try_connect, r);
	r->tick = loop_timer_new(on_tick, r);
	loop_timer_set(r->retry, 0);
	*out = r;
	return 0;
}

void redis_free(struct redis *r)
{
	if (!r)
		return;
	if (r->phase == REDIS_UP)
		redis_flush(r);
	r->freed = true;
	snprintf(r->why, sizeof(r->why), "the connection was given up");
	close_socket(r);
	loop_timer_stop(r->watchdog);
	loop_timer_stop(r->retry);
	loop_timer_stop(r->tick);
	loop_undefer(kick, r);
	r->depth++;
	redis_tell_failed(r, &r->failing); /* in their order: these were lost first */
	redis_tell_failed(r, &r->failed);
	redis_wake_up_waiters(r, -ECONNRESET);
	redis_leave(r);
}

bool redis_is_up(const struct redis *r)
{
	return r->phase == REDIS_UP;
}

const char *redis_url_shown(const struct redis *r)
{
	return r->url.shown;
}

void redis_drop(struct redis *r, const char *why)
{
	redis_lost(r, why);
}

int64_t redis_now_us(const struct redis *r)
{
	return r->has_time ? clock_mono_us() + r->offset_us : clock_real_us();
}

int64_t redis_clock_error_us(const struct redis *r)
{
	return r->error_us;
}

int64_t redis_now_ms(const struct redis *r)
{
	return redis_now_us(r) / 1000;
}

const char *redis_run_id(const struct redis *r)
{
	return r->run_id;
}

int64_t redis_same_run_ms(const struct redis *r)
{
	return r->run_id[0] ? loop_now_ms() - r->run_since_ms : 0;
}
