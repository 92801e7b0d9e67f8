#include "worker/fresh.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/log.h"
#include "common/io/loop.h"
#include "common/store/fresh.h"
#include "worker/settle.h"
#include "worker/tasks/tasks.h"

#define SINCE " since=" /* written by promote */
#define QUERY_MS 10000

static const char *const whole[] = { "import_resources", "import_transactions", "import_media",
				     NULL };
static const char *const fans[] = { "import_all_resources", "import_company_resources", NULL };

static bool is_one_of(const char *const *names, const char *task)
{
	while (*names && strcmp(*names, task) != 0)
		names++;
	return *names;
}

static int64_t since_of(const struct job_header *h)
{
	size_t n = strlen(SINCE);

	/* The payload follows the header, so the number ends within the member. */
	for (const char *p = h->extra; p && p + n < h->extra + h->extra_len; p++)
		if (!memcmp(p, SINCE, n))
			return strtoll(p + n, NULL, 10);
	return 0;
}

int64_t fresh_waits_since(const struct attempt *a)
{
	const struct job_header *h = &a->lease.header;
	int64_t since = h->attempts ? 0 : since_of(h);

	if (since < a->job.run_at_ms)
		since = a->job.run_at_ms;
	return since > h->born_ms ? since : h->born_ms;
}

/* ---- the last successes this process saw ---- */

#define SUCCESSES 1024 /* of 40 bytes; one that is pushed out costs a look into Postgres */
static struct success {
	int64_t integration, started_ms;
	const char *task; /* of the table of tasks */
	bool full;
} successes[SUCCESSES];

static struct success *place_of(int64_t integration, const struct task *t, bool full)
{
	uint64_t n = (uint64_t)integration * 8 + (uint64_t)full;

	for (int i = 0; whole[i]; i++)
		if (!strcmp(whole[i], t->name))
			n += 2 * (uint64_t)i;
	return &successes[n % SUCCESSES];
}

static bool is_full(const char *mode)
{
	return !strcmp(mode, "full");
}

/* A part of an import, for some parents, says nothing about the whole. */
static bool is_whole(const struct attempt *a)
{
	return is_one_of(whole, a->job.task) && !(a->job.args && json_path(a->job.args, "parents"));
}

void fresh_success(struct attempt *a, const char *mode, int64_t started_ms)
{
	const struct task *t = task_find(a->job.task);

	if (!t || !is_whole(a))
		return;
	struct success *s = place_of(a->integration->id, t, is_full(mode));
	*s = (struct success){ a->integration->id, started_ms, t->name, is_full(mode) };
}

static int64_t remembered(const struct attempt *a, const char *mode)
{
	const struct task *t = task_find(a->job.task);
	const struct success *s = place_of(a->integration->id, t, is_full(mode));
	bool same = s->integration == a->integration->id && s->task == t->name &&
		    s->full == is_full(mode);

	return same ? s->started_ms : 0;
}

/* ---- the two questions ---- */

static int is_superseded(struct attempt *a, bool *out)
{
	int64_t born = a->lease.header.born_ms;
	const char *mode;
	int rc = task_mode(a, &mode);

	/* What is forced is done, and so is what asks for all children: what succeeded meanwhile may have left things as they are. */
	*out = false;
	if (rc == 0 && a->job.args &&
	    (json_bool(a->job.args, "force", false) || json_path(a->job.args, CHILDREN_ARG)))
		return 0;
	*out = rc == 0 && remembered(a, mode) > born;
	/* The integration's row is at hand anyway, and says nearly always that nothing newer succeeded. */
	if (rc < 0 || *out || a->integration->last_success_ms <= born)
		return rc;
	return run_newer_exists(a->worker->pg, a->integration->id, a->job.task, mode, born, out,
				&a->err);
}

static bool is_ours(const struct attempt *a)
{
	return a->job.parent || job_by_clock(&a->lease.header);
}

int fresh_waited_beyond(struct attempt *a, int64_t most_ms, bool *out)
{
	int64_t now = redis_now_ms(a->worker->redis), resumed = 0;
	int64_t since = fresh_waits_since(a);
	struct buf host = BUF_INIT;
	int rc;

	*out = false;
	if (now - since <= most_ms)
		return 0;
	if (a->driver && a->integration)
		call_host(a->driver, a->integration, &host);
	rc = resumed_ms(a->worker->pg, a->partner, a->job.integration_id, buf_str(&host), &resumed,
			&a->err);
	buf_clear(&host);
	if (rc == 0)
		*out = now - (resumed > since ? resumed : since) > most_ms;
	return rc;
}

static int is_stale(struct attempt *a, bool *out)
{
	*out = false;
	return is_ours(a) ? 0 : fresh_waited_beyond(a, FRESH_STALE_MS, out);
}

static void shed(struct attempt *a, const char *outcome, const char *event, const char *reason)
{
	int64_t now = redis_now_ms(a->worker->redis);

	a->skipped = outcome;
	log_event(LOG_INFO, event, LS("reason", reason),
		  LI("age_ms", now - a->lease.header.born_ms));
}

int fresh_check(struct attempt *a)
{
	bool import = is_whole(a), old = false;
	int rc = 0;

	if ((!import && !is_one_of(fans, a->job.task)) || header_number(&a->lease.header, RAN_RUN))
		return 0;
	/* The later success may be its own: one that was given back may have died between that and its settlement, and
	 * owes its children. */
	if (import && a->lease.member[0] != '0')
		rc = is_superseded(a, &old);
	if (rc == 0 && old) {
		shed(a, "superseded", "job_superseded",
		     "a later import of the same kind has succeeded");
		return 0;
	}
	if (rc == 0)
		rc = is_stale(a, &old);
	if (rc == 0 && old)
		shed(a, "stale", "job_stale", "it could have run for over an hour and did not");
	return rc;
}
