#include "common/base/log.h"

#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "common/base/buf.h"
#include "common/base/clock.h"
#include "common/base/json.h"
#include "common/base/log_hold.h"
#include "common/base/secret.h"

#define VALUE_MAX_BYTES 2048
#define HELD_MAX_BYTES 32768

static struct {
	const char *program;
	enum log_level level;
	bool json;
	log_context_fn context;
	struct buf line; /* kept: a line costs no allocation; while `holds` all that are held */
	bool holds;
} logger = { .level = LOG_INFO };

static const char *const level_names[] = { "debug", "info", "warn", "error" };

bool log_enabled(enum log_level level)
{
	return level >= logger.level;
}

void log_init(const char *program, enum log_level level, bool json)
{
	logger.program = program;
	logger.level = level;
	logger.json = json;
}

void log_set_context(log_context_fn fn)
{
	logger.context = fn;
}

int log_level_parse(const char *s, enum log_level *out)
{
	for (int i = 0; i <= LOG_ERROR; i++)
		if (s && strcmp(s, level_names[i]) == 0) {
			*out = (enum log_level)i;
			return 0;
		}
	return -EINVAL;
}

/* logfmt: what is plain needs no quotes. */
static bool is_plain(const char *s, size_t len)
{
	for (size_t i = 0; i < len; i++) {
		unsigned char c = (unsigned char)s[i];

		if (c <= ' ' || c == '"' || c == '=' || c == '\\' || c >= 0x7f)
			return false;
	}
	return len > 0;
}

static void put_text(struct buf *b, const char *s, size_t len)
{
	if (!logger.json && is_plain(s, len))
		buf_append(b, s, len);
	else
		json_quote(b, s, len); /* logfmt readers take the same escapes */
}

static size_t cut_length(const char *s, size_t len)
{
	if (len <= VALUE_MAX_BYTES)
		return len;
	len = VALUE_MAX_BYTES;
	while (len > VALUE_MAX_BYTES - 4 && ((unsigned char)s[len] & 0xc0) == 0x80)
		len--;
	return len;
}

/* Secrets go before the cut and before any escape changes their shape. */
static void put_string(struct buf *b, const char *s)
{
	size_t len = strlen(s);

	if (secret_in(s, len)) {
		struct buf safe = BUF_INIT;

		buf_append(&safe, s, len);
		secret_redact(&safe);
		put_text(b, safe.data, cut_length(safe.data, safe.len));
		buf_clear(&safe);
	} else {
		put_text(b, s, cut_length(s, len));
	}
}

static void put_double(struct buf *b, double d)
{
	char text[32];

	if (!__builtin_isfinite(d)) {
		buf_puts(b, logger.json          ? "null"
			    : __builtin_isnan(d) ? "nan"
			    : d > 0              ? "inf"
						 : "-inf");
		return;
	}
	snprintf(text, sizeof(text), "%.9g", d);
	buf_puts(b, text);
}

static void put_key(struct buf *b, const char *key)
{
	if (!logger.json) {
		buf_putc(b, ' ');
		buf_puts(b, key);
		buf_putc(b, '=');
		return;
	}
	buf_append(b, ",\"", 2);
	buf_puts(b, key); /* keys are constants of ours: nothing to escape */
	buf_append(b, "\":", 2);
}

static void put_kv(struct buf *b, const struct log_kv *kv)
{
	if (kv->type == LOG_KV_STR && !kv->v.s)
		return;
	put_key(b, kv->key);
	switch (kv->type) {
	case LOG_KV_STR:
		put_string(b, kv->v.s);
		break;
	case LOG_KV_INT:
		buf_putint(b, kv->v.i);
		break;
	case LOG_KV_DBL:
		put_double(b, kv->v.d);
		break;
	case LOG_KV_BOOL:
		buf_puts(b, kv->v.i ? "true" : "false");
		break;
	case LOG_KV_END:
		break;
	}
}

static bool has_key(const struct log_kv *kv, const char *key)
{
	for (; kv->type != LOG_KV_END; kv++)
		if (kv->key == key || strcmp(kv->key, key) == 0)
			return kv->type != LOG_KV_STR || kv->v.s;
	return false;
}

static void put_head(struct buf *b, enum log_level level, const char *event)
{
	char ts[CLOCK_ISO_MAX];

	clock_iso(clock_real_ms(), ts);
	if (logger.json)
		buf_append(b, "{\"ts\":\"", 7);
	else
		buf_append(b, "ts=", 3);
	buf_puts(b, ts);
	buf_puts(b, logger.json ? "\",\"level\":\"" : " level=");
	buf_puts(b, level_names[level]);
	if (logger.json)
		buf_putc(b, '"');
	if (logger.program) {
		put_key(b, "prog");
		put_text(b, logger.program, strlen(logger.program));
	}
	put_key(b, "event");
	put_text(b, event, strlen(event));
}

/* A line is lost only where nobody can read it any more (stderr closed, its reader gone). */
static void write_all(const char *p, size_t n)
{
	while (n > 0) {
		ssize_t done = write(STDERR_FILENO, p, n);

		if (done >= 0) {
			p += done;
			n -= (size_t)done;
		} else if (errno == EAGAIN) { /* someone made the shared terminal non-blocking */
			struct pollfd fd = { .fd = STDERR_FILENO, .events = POLLOUT };

			if (poll(&fd, 1, -1) < 0 && errno != EINTR)
				return;
		} else if (errno != EINTR) {
			return;
		}
	}
}

void log_hold(void)
{
	static bool at_exit;

	logger.holds = true;
	if (!at_exit)
		at_exit = atexit(log_release) == 0;
}

void log_release(void)
{
	int saved = errno;

	if (logger.holds && logger.line.len)
		write_all(logger.line.data, logger.line.len);
	buf_reset(&logger.line);
	logger.holds = false;
	errno = saved;
}

/* errno is kept: log lines stand between a call and the look at its error. */
void log_write(enum log_level level, const char *event, const struct log_kv *kv)
{
	const struct log_kv *context = logger.context ? logger.context() : NULL;
	struct buf *b = &logger.line;
	int saved = errno;

	if (!logger.holds)
		buf_reset(b);
	put_head(b, level, event);
	/* what the event says itself is nearer to the truth than the context: no key twice */
	for (; context && context->type != LOG_KV_END; context++)
		if (!has_key(kv, context->key))
			put_kv(b, context);
	for (; kv->type != LOG_KV_END; kv++)
		put_kv(b, kv);
	buf_puts(b, logger.json ? "}\n" : "\n");
	if (!logger.holds || level >= LOG_WARN || b->len > HELD_MAX_BYTES) {
		write_all(b->data, b->len);
		buf_reset(b);
	}
	errno = saved;
}
