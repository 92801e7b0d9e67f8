/* Alerts that last as long as their cause stands: in Postgres, or in what the fleet says of itself.  Run by the leader.
 *
 *   poison          dead letters of jobs that crashed two workers (critical; resolved by replay or discard)
 *   process_memory  a worker process, or this scheduler, has over 1 GiB resident (critical; resolved under 0.9 GiB) */
#include "scheduler/standing.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/json.h"
#include "common/base/log.h"
#include "common/base/mem.h"
#include "common/base/rss.h"
#include "common/io/loop.h"
#include "common/store/store.h"
#include "scheduler/scheduler.h"

#define LOOK_MS 5000
#define STEP_MS 5000
#define KIND "process_memory"

/* ---- what was seen ---- */
void standing_begin(struct standing *s)
{
	int kept = 0;

	for (int i = 0; i < s->n; i++)
		if (s->v[i].open) {
			s->v[kept] = s->v[i];
			s->v[kept++].bytes = 0;
		}
	s->n = kept;
}

static struct standing_host *host_of(struct standing *s, const char *host)
{
	for (int i = 0; i < s->n; i++)
		if (!strcmp(s->v[i].host, host))
			return &s->v[i];
	if (s->n == STANDING_HOSTS_MAX)
		return NULL;
	s->v[s->n] = (struct standing_host){ 0 };
	snprintf(s->v[s->n].host, sizeof(s->v[s->n].host), "%s", host);
	return &s->v[s->n++];
}

void standing_see(struct standing *s, const char *info_json)
{
	cJSON *info = NULL;
	int64_t bytes = 0;
	const char *host;

	if (json_parse(info_json, strlen(info_json), FLEET_INFO_MAX_BYTES, &info, NULL) < 0)
		return;
	host = json_str(info, "host");
	if (host && json_int(info, "rss_bytes", &bytes) && bytes > STANDING_RESOLVE_BYTES) {
		struct standing_host *h = host_of(s, host);

		if (h && bytes > h->bytes) {
			h->bytes = bytes;
			json_int(info, "pid", &h->pid);
		}
	}
	cJSON_Delete(info);
}

bool standing_is_over(const struct standing_host *h)
{
	return h->bytes > (h->open ? STANDING_RESOLVE_BYTES : STANDING_ALERT_BYTES);
}

/* ---- what follows ---- */
static void warn(const char *event, const char *kind, const struct err *err)
{
	log_event(LOG_WARN, event, LS("kind", kind), LS("reason", err->text));
}

static void raise_memory(struct scheduler *s, struct standing_host *h)
{
	struct err err = { 0 };
	char what[200];

	snprintf(what, sizeof(what), "process %lld on %s has %lld MiB resident, over %lld MiB",
		 (long long)h->pid, h->host, (long long)h->bytes >> 20,
		 (long long)STANDING_ALERT_BYTES >> 20);
	if (alert_raise(
		    s->pg, KIND, "critical", h->host, what,
		    "lower --concurrency or --job-memory, or run more --processes with less each; "
		    "USR1 logs what each job does; a TERM of the process lets its supervisor start it "
		    "anew, its jobs go on elsewhere",
		    &err) < 0)
		warn("alert_not_written", KIND, &err);
	else
		h->open = true;
}

static void resolve_memory(struct scheduler *s, struct standing_host *h)
{
	struct err err = { 0 };

	if (alert_resolve(s->pg, KIND, h->host, &err) < 0)
		warn("alert_not_resolved", KIND, &err);
	else
		h->open = false;
}

/* Another led, and raised what this one does not know of: resolved, and raised again by this very look where it stands. */
static void resolve_others(struct scheduler *s)
{
	struct err err = { 0 };

	if (pg_execv(s->pg, NULL, loop_now_ms() + STEP_MS, &err,
		     "UPDATE alerts SET state = 'resolved', resolved_at = now() WHERE kind ="
		     " 'process_memory' AND state = 'open'",
		     NULL) < 0)
		warn("alert_not_resolved", KIND, &err);
}

static void see_worker(const char *epoch, int64_t last_beat_ms, const char *info_json, void *arg)
{
	if (info_json)
		standing_see(arg, info_json);
}

static void see_self(struct scheduler *s, struct standing *st)
{
	struct buf info = BUF_INIT;

	buf_puts(&info, "{\"host\":");
	json_quote(&info, s->name, strlen(s->name));
	buf_printf(&info, ",\"rss_bytes\":%lld}", (long long)rss_bytes());
	standing_see(st, info.data);
	buf_clear(&info);
}

static void look(struct scheduler *s, struct standing *st)
{
	struct err err = { 0 };

	if (alert_poison(s->pg, &err) < 0)
		warn("alert_not_written", "poison", &err);
	standing_begin(st);
	see_self(s, st);
	if (fleet_each(s->redis, see_worker, st, loop_now_ms() + STEP_MS, NULL) < 0)
		return;
	for (int i = 0; i < st->n; i++) {
		if (standing_is_over(&st->v[i]))
			raise_memory(s, &st->v[i]);
		else if (st->v[i].open)
			resolve_memory(s, &st->v[i]);
	}
}

struct standing_run {
	struct scheduler *s;
	struct standing st;
	bool led;
};

static void run(void *arg)
{
	struct standing_run *r = arg;

	do {
		bool leads = leader_is_me(r->s);

		rss_watch();
		if (leads && redis_is_up(r->s->redis) && pg_is_up(r->s->pg)) {
			if (!r->led) {
				r->st.n = 0;
				resolve_others(r->s);
			}
			r->led = true;
			look(r->s, &r->st);
		} else if (!leads) {
			r->led = false;
		}
	} while (scheduler_sleep(r->s, LOOK_MS) == 0);
	free(r);
}

int standing_start(struct scheduler *s)
{
	struct standing_run *r = mem_new(struct standing_run);
	int rc;

	r->s = s;
	rc = scheduler_spawn(s, "standing", run, r);
	if (rc < 0)
		free(r);
	return rc;
}
