/* integration_limit_remaining: what the process last learned, asked for with a permit, once a second and row.  Of tiers that
 * many integrations have each, the lowest of the last 10 to 20 s: labels must be bounded. */
#include <stdio.h>
#include <string.h>

#include "common/base/metrics.h"
#include "common/queue/limit_impl.h"

#define TELL_MS 1000
#define SPAN_MS 10000
#define SEEN_MAX 500

struct seen {
	struct metric *metric;
	int64_t limit, lowest[2]; /* of this span and the one before; -1: nothing was learned */
	int64_t span, window_ms, learned_ms;
};

static struct seen seen[SEEN_MAX];
static int n_seen;

static void label_of(const struct limit_scope *s, int64_t window_ms, char *out, size_t room)
{
	if (window_ms % 1000)
		snprintf(out, room, "%s:%lldms", s->kind, (long long)window_ms);
	else
		snprintf(out, room, "%s:%llds", s->kind, (long long)window_ms / 1000);
}

static struct seen *seen_of(const char *partner, const struct limit_scope *s, int64_t window_ms)
{
	char label[96];
	struct metric *m;

	label_of(s, window_ms, label, sizeof(label));
	m = metrics_least(
		"integration_limit_remaining",
		"Units of a limit that are left of its window; per integration: the lowest of the last 10 to 20 s.",
		"partner", partner, "tier", label, NULL);
	for (int i = 0; i < n_seen; i++)
		if (seen[i].metric == m)
			return &seen[i];
	if (n_seen == SEEN_MAX)
		return NULL;
	seen[n_seen] = (struct seen){ .metric = m, .lowest = { -1, -1 } };
	return &seen[n_seen++];
}

static void turn(struct seen *s, int64_t span)
{
	if (span == s->span)
		return;
	s->lowest[1] = span == s->span + 1 ? s->lowest[0] : -1;
	s->lowest[0] = -1;
	s->span = span;
}

static void show(struct seen *s)
{
	int64_t least = s->lowest[0];

	if (least < 0 || (s->lowest[1] >= 0 && s->lowest[1] < least))
		least = s->lowest[1];
	metric_set(s->metric, (double)(least < 0 ? s->limit : least));
}

static void learn(struct seen *s, const struct limit_tier *t, int64_t left)
{
	int64_t now_ms = loop_now_ms();

	turn(s, now_ms / SPAN_MS);
	s->limit = t->kind == LIMIT_BUCKET ? t->burst : t->limit;
	s->window_ms = t->window_ms;
	s->learned_ms = now_ms;
	if (s->lowest[0] < 0 || left < s->lowest[0])
		s->lowest[0] = left;
	show(s);
}

bool limit_left_due(struct limit_agent *a)
{
	int64_t now_ms = loop_now_ms();

	if (!a->scopes[0].kind[0] || (a->told_ms && now_ms - a->told_ms < TELL_MS))
		return false;
	a->told_ms = now_ms;
	return true;
}

void limit_left_told(struct limit_agent *a, redisReply *const *left, size_t n)
{
	size_t at = 0;

	for (int i = 0; i < a->n_scopes; i++) {
		for (int k = 0; k < a->scopes[i].n_tiers && at < n; k++, at++) {
			const struct limit_tier *t = &a->scopes[i].tiers[k];
			struct seen *s = seen_of(a->partner, &a->scopes[i], t->window_ms);

			if (s)
				learn(s, t, reply_int(left[at]));
		}
	}
}

/* Nothing learned for a whole window: no call of this process counts any more. */
void limit_left_age(void)
{
	int64_t now_ms = loop_now_ms();

	for (int i = 0; i < n_seen; i++) {
		struct seen *s = &seen[i];

		turn(s, now_ms / SPAN_MS);
		if (now_ms - s->learned_ms > s->window_ms && now_ms - s->learned_ms > 2 * SPAN_MS)
			show(s);
	}
}
