#include "worker/waits.h"

#include <string.h>

#include "common/base/json.h"
#include "common/base/log.h"
#include "common/base/mem.h"
#include "common/io/co.h"
#include "common/io/loop.h"
#include "worker/attempt.h"

#define KINDS_MAX 32 /* they are constants in the code: about a dozen */

static const char *shown(const char *why)
{
	return *why ? why : "cpu";
}

/* Asked for by name, so it is told whatever --log-level says. */
static void log_one(const char *name, const char *why, int64_t waiting_ms, void *data, void *arg)
{
	const struct attempt *a = data;
	struct log_kv kv[] = { LS("name", name),
			       LS("waits_for", shown(why)),
			       LI("since_ms", waiting_ms),
			       { 0 },
			       { 0 },
			       { 0 },
			       { 0 },
			       { 0 },
			       { 0 },
			       { 0 } };
	int *jobs = arg;

	if (a) {
		*jobs += !a->is_branch;
		kv[3] = (struct log_kv)LS("job", a->job_id);
		kv[4] = (struct log_kv)LS("partner", a->partner);
		kv[5] = (struct log_kv)LS("task", a->job.task);
		kv[6] = (struct log_kv)LI("integration", a->job.integration_id);
		kv[7] = (struct log_kv)LI("attempt", a->lease.header.attempts + 1);
		kv[8] = (struct log_kv)LI("running_ms", loop_now_ms() - a->started_ms);
	}
	log_write(LOG_INFO, "coroutine", kv);
}

void waits_log(void)
{
	int jobs = 0;

	co_each(log_one, &jobs);
	log_write(LOG_INFO, "coroutines",
		  (const struct log_kv[]){ LI("jobs", jobs), LI("all", co_count()), { 0 } });
}

struct sum {
	const char *why;
	int jobs;
	int64_t longest_ms;
};

struct sums {
	struct sum v[KINDS_MAX];
	int n;
};

static void add_one(const char *name, const char *why, int64_t waiting_ms, void *data, void *arg)
{
	const struct attempt *a = data;
	struct sums *s = arg;
	int i = 0;

	if (!a || a->is_branch)
		return;
	while (i < s->n && strcmp(s->v[i].why, shown(why)) != 0)
		i++;
	if (i == KINDS_MAX)
		return;
	if (i == s->n)
		s->v[s->n++] = (struct sum){ .why = shown(why) };
	s->v[i].jobs++;
	if (waiting_ms > s->v[i].longest_ms)
		s->v[i].longest_ms = waiting_ms;
}

void waits_print(struct buf *out)
{
	struct sums s = { .n = 0 };

	co_each(add_one, &s);
	buf_putc(out, '{');
	for (int i = 0; i < s.n; i++) {
		if (i)
			buf_putc(out, ',');
		json_quote(out, s.v[i].why, strlen(s.v[i].why));
		buf_printf(out, ":{\"jobs\":%d,\"longest_ms\":%lld}", s.v[i].jobs,
			   (long long)s.v[i].longest_ms);
	}
	buf_putc(out, '}');
}
