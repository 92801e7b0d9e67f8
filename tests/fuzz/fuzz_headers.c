/* Headers as partners write them: how long to wait, what is left, when.  The first line is a time by itself; then "name: value",
 * an empty line, and a body.  Whatever they say, nobody waits less than a second or more than a day. */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "common/base/clock.h"
#include "common/base/mem.h"
#include "drivers/kit/call_door.h"
#include "drivers/kit/classify.h"

#define NOW_MS INT64_C(1767323045000) /* 2026-01-02T03:04:05Z */
#define DAY_MS 86400000

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void need(int holds)
{
	if (!holds)
		abort();
}

static struct manifest *manifest(void)
{
	static const char text[] =
		"{\"partner\":\"p\",\"manifest\":1,\"api\":{\"base\":{\"production\":\"https://h\"}},"
		"\"errors\":[{\"status\":418,\"class\":\"rate_limit\",\"action\":\"hold(2s)\"},"
		"{\"text\":\"later\",\"class\":\"rate_limit\"}]}";
	static struct manifest *m;
	struct buf problems = BUF_INIT;

	if (!m)
		need(manifest_parse("m", text, sizeof(text) - 1, &m, &problems) == 0);
	buf_clear(&problems);
	return m;
}

static void fuzz_time(const char *text)
{
	int64_t us, ms;
	bool date;

	if (clock_parse_time(text, &us, &date) == 0)
		need(us > -INT64_C(400000000000000000) && us < INT64_C(400000000000000000));
	if (clock_parse_duration(text, &ms) == 0)
		need(ms >= 0);
}

/* "name: value" lines; what follows the empty one is the body. */
static void read_answer(char *text, struct http_response *h)
{
	while (*text) {
		size_t n = strcspn(text, "\n");
		char *next = text[n] ? text + n + 1 : text + n, *colon;

		text[n] = '\0';
		if (n == 0) {
			buf_puts(&h->body, next);
			return;
		}
		colon = strchr(text, ':');
		if (colon && colon != text) {
			buf_append(&h->headers, text, (size_t)(colon - text));
			buf_putc(&h->headers, '\0');
			buf_append(&h->headers, colon + 1, strlen(colon + 1) + 1);
		}
		text = next;
	}
}

/* Not inlined: an error takes its room in the frame. */
__attribute__((noinline)) static void fuzz_class(const struct manifest *m, struct http_response *h,
						 int status)
{
	struct err e;

	h->status = status;
	classify(m, h, NULL, false, NOW_MS, &e);
	need(e.retry_after_ms >= 0 && e.retry_after_ms <= DAY_MS);
	need(status != 418 || (e.action == ACT_HOLD && e.retry_after_ms == 2000));
	need(status != 429 || e.retry_after_ms >= 1000);
}

static void fuzz_answer(struct http_response *h)
{
	static const int statuses[] = { 200, 302, 401, 418, 429, 503 };
	struct manifest *m = manifest();
	struct driver d = { .manifest = m };
	struct route r = { .driver = &d };
	struct call_spec spec = { .endpoint = "/x", .method = "GET", .path = "/x" };
	struct buf seen = BUF_INIT, to = BUF_INIT;
	int64_t wait = retry_after_ms(m, h, NOW_MS);

	need(wait == 0 || (wait >= 1000 && wait <= DAY_MS));
	for (size_t i = 0; i < ARRAY_LEN(statuses); i++)
		fuzz_class(m, h, statuses[i]);
	route_seen(&r);
	route_limits_seen(&r, h, &seen);
	buf_puts(&r.roots.base, "https://h.example/v1");
	h->status = 302;
	if (redirect_target(&r, &spec, h, &to))
		need(strncasecmp(buf_str(&to), "https://h.example", 17) == 0 &&
		     (!to.data[17] || strchr("/?", to.data[17])));
	for (int i = 0; i < r.n_seen; i++) {
		free((char *)r.seen[i].limit);
		free((char *)r.seen[i].remaining);
		free((char *)r.seen[i].reset);
	}
	free(r.seen);
	free(r.told);
	buf_clear(&r.roots.base);
	buf_clear(&seen);
	buf_clear(&to);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct http_response h;
	char *text = mem_strndup((const char *)data, size), *rest = strchr(text, '\n');

	http_response_init(&h);
	if (rest) {
		*rest = '\0';
		read_answer(rest + 1, &h);
	}
	fuzz_time(text);
	fuzz_answer(&h);
	http_response_clear(&h);
	free(text);
	return 0;
}
