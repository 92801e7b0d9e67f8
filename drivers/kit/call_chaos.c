#include "drivers/kit/call_chaos.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/id.h"
#include "common/base/log.h"
#include "common/base/mem.h"
#include "common/io/co.h"
#include "drivers/kit/call_door.h"

#define GRAIN 1000000
#define SLOW_MS 1500    /* at most, and at least a third of it */
#define TIMEOUT_MS 1000 /* a real one would be as long as api.timeout */
#define HEADER "x-longshore-chaos"

enum chaos { CHAOS_TIMEOUT, CHAOS_SLOW, CHAOS_500, CHAOS_429, CHAOS_MALFORMED, CHAOS_NETWORK };
static const char *const names[] = { "timeout", "slow", "500", "429", "malformed", "network" };

int chaos_parse(const char *text, double *share)
{
	char *end;
	double v;

	if (!*text || text[strspn(text, "0123456789.")])
		return -EINVAL;
	v = strtod(text, &end);
	if (*end || !(v > 0 && v <= 1))
		return -EINVAL;
	*share = v;
	return 0;
}

static double share_of(const struct integration *i)
{
	struct buf keep = BUF_INIT;
	const char *text;
	double share = 0;

	if (!i->environment || strcmp(i->environment, "production") == 0)
		return 0;
	text = setting_text(i, CHAOS_SETTING, &keep);
	if (!text || chaos_parse(text, &share) < 0)
		share = 0;
	buf_clear(&keep);
	return share;
}

bool chaos_made(const struct http_response *h)
{
	return http_response_header(h, HEADER) != NULL;
}

static void put_header(struct http_response *out, const char *name, const char *value)
{
	buf_append(&out->headers, name, strlen(name) + 1);
	buf_append(&out->headers, value, strlen(value) + 1);
}

static void answer(struct http_response *out, int status)
{
	static const char body[] = "{\"error\":\"made on purpose (chaos)\"}";

	out->status = status;
	out->failure = NULL;
	buf_reset(&out->headers);
	buf_reset(&out->body);
	buf_append(&out->body, body, strlen(body));
	if (status == 429)
		put_header(out, "retry-after", "1");
}

static void fail(struct http_response *out, const char *failure)
{
	out->status = 0;
	out->failure = failure;
	snprintf(out->detail, sizeof(out->detail), "made on purpose (chaos)");
}

/* Slow and malformed ones reach the partner; the others are not sent. */
static int act(enum chaos how, const struct exchange *x, const struct http_request *q,
	       struct http_response *out)
{
	int rc = 0;

	switch (how) {
	case CHAOS_SLOW:
	case CHAOS_MALFORMED:
		if (how == CHAOS_SLOW)
			rc = co_sleep("chaos", SLOW_MS / 3 + random_below(SLOW_MS * 2 / 3));
		if (rc == 0)
			rc = http_send(x->route->partner->pool, q, out);
		if (rc == 0 && how == CHAOS_MALFORMED && out->body.len > 1)
			out->body.data[out->body.len /= 2] = '\0';
		break;
	case CHAOS_TIMEOUT:
		rc = co_sleep("chaos", TIMEOUT_MS);
		if (rc == 0)
			fail(out, "timeout");
		break;
	case CHAOS_500:
		answer(out, 500);
		break;
	case CHAOS_429:
		answer(out, 429);
		break;
	case CHAOS_NETWORK:
		fail(out, "reset");
		break;
	}
	if (rc == 0)
		put_header(out, HEADER, names[how]);
	return rc;
}

int chaos_send(const struct caller *c, const struct exchange *x, const struct http_request *q,
	       struct http_response *out)
{
	double share = x->at_token_url ? 0 : share_of(c->integration);
	enum chaos how;

	if (share <= 0 || random_below(GRAIN) >= (unsigned)(share * GRAIN))
		return http_send(x->route->partner->pool, q, out);
	how = (enum chaos)random_below(ARRAY_LEN(names));
	log_event(LOG_WARN, "chaos", LS("kind", names[how]), LS("method", x->spec->method),
		  LS("endpoint", x->spec->endpoint));
	return act(how, x, q, out);
}
