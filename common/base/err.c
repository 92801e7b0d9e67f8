#include "common/base/err.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "common/base/buf.h"
#include "common/base/json.h"
#include "common/base/secret.h"

/* Written into logs, metrics and dead letters: the words of the user's queries, not to be
 * renamed. */
static const char *const names[ERR_CLASS_COUNT] = {
	[ERR_NONE] = "none",
	[ERR_TRANSIENT] = "transient",
	[ERR_RATE_LIMIT] = "rate_limit",
	[ERR_CLIENT] = "client",
	[ERR_AUTH] = "auth",
	[ERR_DATA] = "data",
	[ERR_INTERNAL] = "internal",
	[ERR_LIMIT] = "limit",
	[ERR_POISON] = "poison",
	[ERR_EXPIRED] = "expired",
	[ERR_BAD_JOB] = "bad_job",
	[ERR_HOLD] = "hold",
	[ERR_CANCELLED] = "cancelled",
	[ERR_MEMORY] = "memory",
};

const char *err_class_name(enum err_class c)
{
	return (unsigned)c < ERR_CLASS_COUNT ? names[c] : "unknown";
}

const char *err_action_name(enum err_action a)
{
	static const char *const words[ACT_COUNT] = {
		"",     "retry",        "refresh_then_retry", "hold",     "dead", "set_aside",
		"skip", "reset_paging", "suspend_partner",    "not_there"
	};

	return (unsigned)a < ACT_COUNT ? words[a] : "";
}

enum err_class err_class_parse(const char *name)
{
	for (int i = 0; i < ERR_CLASS_COUNT; i++)
		if (name && strcmp(name, names[i]) == 0)
			return (enum err_class)i;
	return ERR_CLASS_COUNT;
}

/* Cuts at a character, not in the middle of one. */
static void copy_cut(char *out, size_t size, const char *s, size_t len)
{
	if (len >= size) {
		len = size - 1;
		while (len > 0 && ((unsigned char)s[len] & 0xc0) == 0x80)
			len--;
	}
	memcpy(out, s, len);
	out[len] = '\0';
}

/* Arguments may be the old error's own fields (wrapping it), so all are read before *e is written;
 * redaction comes before the cut, or half a secret could survive at the end. */
static void err_vset(struct err *e, enum err_class c, const char *rule, const char *fmt, va_list ap)
{
	struct err fresh = { .class = c };
	struct buf raw = BUF_INIT, clean = BUF_INIT;

	buf_vprintf(&raw, fmt, ap);
	secret_redact(&raw);
	utf8_append_clean(&clean, buf_str(&raw), raw.len);
	copy_cut(fresh.text, sizeof(fresh.text), buf_str(&clean), clean.len);
	if (rule)
		copy_cut(fresh.rule, sizeof(fresh.rule), rule, strlen(rule));
	*e = fresh;
	buf_clear(&raw);
	buf_clear(&clean);
}

int err_set(struct err *e, int rc, enum err_class c, const char *rule, const char *fmt, ...)
{
	va_list ap;

	if (!e)
		return rc;
	va_start(ap, fmt);
	err_vset(e, c, rule, fmt, ap);
	va_end(ap);
	return rc;
}

int err_hold(struct err *e, int64_t wait_ms, const char *rule, const char *fmt, ...)
{
	va_list ap;

	if (!e)
		return -EAGAIN;
	va_start(ap, fmt);
	err_vset(e, ERR_HOLD, rule, fmt, ap);
	va_end(ap);
	e->retry_after_ms = wait_ms;
	return -EAGAIN;
}
