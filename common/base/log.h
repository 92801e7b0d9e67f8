/* One line an event, to stderr, logfmt or JSON:
 *   ts=2026-11-21T08:15:30.123Z level=info event=api_call partner=guesty … status=200 dur_ms=103
 * The event is a fixed snake_case word, everything variable is a key.  Context (job, partner,
 * integration, attempt) is added by the hook below, so messages do not repeat it.  Values are
 * quoted and escaped as needed, cut at 2 KiB, invalid UTF-8 replaced; values that a struct secret
 * holds are replaced by "***".  Never waits: a full stderr pipe is written with a blocking
 * write(2). */
#ifndef COMMON_BASE_LOG_H
#define COMMON_BASE_LOG_H

#include <stdbool.h>
#include <stdint.h>

enum log_level { LOG_DEBUG, LOG_INFO, LOG_WARN, LOG_ERROR };
enum log_kv_type { LOG_KV_END = 0, LOG_KV_STR, LOG_KV_INT, LOG_KV_DBL, LOG_KV_BOOL };

struct log_kv {
	enum log_kv_type type;
	const char *key;
	union {
		const char *s; /* borrowed for the call; NULL leaves the key out */
		int64_t i;
		double d;
	} v;
};

/* clang-format off */
#define LS(k, val) { LOG_KV_STR, (k), { .s = (val) } }
#define LI(k, val) { LOG_KV_INT, (k), { .i = (int64_t)(val) } }
#define LD(k, val) { LOG_KV_DBL, (k), { .d = (val) } }
#define LB(k, val) { LOG_KV_BOOL, (k), { .i = (val) } }
/* clang-format on */

/* log_event(LOG_INFO, "job_done", LS("task", task), LI("dur_ms", ms)); */
#define log_event(level, event, ...)                                                           \
	do {                                                                                   \
		if (log_enabled(level))                                                        \
			log_write((level), (event),                                            \
				  (const struct log_kv[]){ __VA_ARGS__ __VA_OPT__(, ){ 0 } }); \
	} while (0)

bool log_enabled(enum log_level level);
void log_write(enum log_level level, const char *event, const struct log_kv *kv);

/* `program` is added to each line as prog=.  json picks the format. */
void log_init(const char *program, enum log_level level, bool json);
/* debug info warn error; -EINVAL */
int log_level_parse(const char *s, enum log_level *out) __attribute__((warn_unused_result));

/* The hook returns the context of what runs now (borrowed for the call), ended by LOG_KV_END, or
 * NULL. */
typedef const struct log_kv *(*log_context_fn)(void);
void log_set_context(log_context_fn fn);

#endif
