/* Alerts about the fleet and the queues: whoever finds a cause writes it into `alerts`; it is resolved by the look that no
 * longer finds it.  Run by the leader.
 *
 *   no_worker       nobody alive serves a queue that has jobs that could run (critical)
 *   queue_depth     over 5,000 could run (critical), over 1,000 (warning)
 *   lane_bound      a lane holds over --lane-bound (10,000) jobs, held ones too: it costs Redis' memory, and our own producers stop (critical)
 *   unserved_list   a list named like a queue that nobody serves: queue:{gusty}, queue:guesty */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/config.h"
#include "common/base/log.h"
#include "common/base/mem.h"
#include "common/base/metrics.h"
#include "common/io/loop.h"
#include "common/store/store.h"
#include "scheduler/scheduler.h"

#define LOOK_MS 5000
#define SCAN_MS 60000
#define LISTS_MAX 20       /* of one scan: more of them say no more */
#define NO_WORKER_MS 20000 /* a fleet that restarts is no alert */
#define STEP_MS 5000
#define DEPTH_WARN 1000
#define DEPTH_CRITICAL 5000

struct watch {
	struct scheduler *s;
	struct serving serving;
	int64_t lonely_since_ms[SCHEDULER_PARTNERS_MAX]; /* has work and no worker; 0: not so */
	int raised
		[SCHEDULER_PARTNERS_MAX]; /* what this process last wrote of a queue's depth: -1 unknown, 0 fine, 1, 2 */
	bool lonely_raised[SCHEDULER_PARTNERS_MAX]; /* or unknown */
	int bound[SCHEDULER_PARTNERS_MAX][4]; /* of lanes over the bound, as raised; -1 unknown */
	int64_t scanned_ms;
};

/* Whether it is written: what is not is tried again by the next look. */
static bool raise_alert(struct watch *w, const char *kind, const char *severity, const char *scope,
			const char *what, const char *todo)
{
	struct err err = { 0 };
	int rc = alert_raise(w->s->pg, kind, severity, scope, what, todo, &err);

	if (rc < 0)
		log_event(LOG_WARN, "alert_not_written", LS("kind", kind), LS("scope", scope),
			  LS("reason", err.text));
	return rc == 0;
}

static bool resolve_alert(struct watch *w, const char *kind, const char *scope)
{
	struct err err = { 0 };
	int rc = alert_resolve(w->s->pg, kind, scope, &err);

	if (rc < 0)
		log_event(LOG_WARN, "alert_not_resolved", LS("kind", kind), LS("scope", scope),
			  LS("reason", err.text));
	return rc == 0;
}

static void look_lonely(struct watch *w, int i, int64_t ready)
{
	const char *p = queue_partner(w->s->queues[i]);
	char what[200];

	if (!ready || w->serving.by[i]) {
		if (w->lonely_raised[i])
			w->lonely_raised[i] = !resolve_alert(w, "no_worker", p);
		w->lonely_since_ms[i] = 0;
		return;
	}
	if (!w->lonely_since_ms[i])
		w->lonely_since_ms[i] = loop_now_ms();
	if (loop_now_ms() - w->lonely_since_ms[i] < NO_WORKER_MS)
		return;
	snprintf(what, sizeof(what), "%lld jobs of %s are ready and no live worker serves it",
		 (long long)ready, p);
	raise_alert(
		w, "no_worker", "critical", p, what,
		"start a longshore-worker that has this partner's driver and --partners, or see why it stopped");
	w->lonely_raised[i] = true;
}

static void look_depth(struct watch *w, int i, int64_t ready)
{
	const char *p = queue_partner(w->s->queues[i]);
	int level = ready > DEPTH_CRITICAL ? 2 : ready > DEPTH_WARN ? 1 : 0;
	char what[200];
	bool told;

	if (level == w->raised[i])
		return;
	snprintf(what, sizeof(what), "%lld jobs of %s are ready", (long long)ready, p);
	told = level ? raise_alert(
			       w, "queue_depth", level == 2 ? "critical" : "warning", p, what,
			       "see `longshore status`: are workers alive, is the partner slow or limited? add workers only if the limit is not the reason")
		     : resolve_alert(w, "queue_depth", p);
	if (told)
		w->raised[i] = level;
}

/* Raw pushes are never refused, so that this alarm is all that says where they pile up (Q13). */
static void look_bound(struct watch *w, int i, enum lane lane, int64_t all)
{
	static const char *const suffix[] = { "", ":high", "", ":low" };
	int over = all > w->s->lane_bound;
	char scope[64], what[200];
	bool told;

	if (over == w->bound[i][lane])
		return;
	snprintf(scope, sizeof(scope), "%s%s", queue_partner(w->s->queues[i]), suffix[lane]);
	snprintf(what, sizeof(what), "%lld jobs wait in %s, over the bound of %lld", (long long)all,
		 scope, (long long)w->s->lane_bound);
	told = over ? raise_alert(
			      w, "lane_bound", "critical", scope, what,
			      "see `longshore queue show` for who has them and what holds them; stop the pusher, resume what is paused, or `longshore queue purge`")
		    : resolve_alert(w, "lane_bound", scope);
	if (told)
		w->bound[i][lane] = over;
}

/* The partner's name in queue:{p}, queue:{p}:high …, or in a name somebody forgot the braces of. */
static bool name_of(const char *key, char *out, size_t cap, const char **rest)
{
	const char *p = key + strlen("queue:");
	bool braces = *p == '{';
	size_t n;

	if (braces)
		p++;
	n = strcspn(p, braces ? "}" : ":");
	if (!n || n >= cap)
		return false;
	memcpy(out, p, n);
	out[n] = '\0';
	*rest = braces && p[n] ? p + n + 1 : NULL;
	return true;
}

static bool is_lane(const char *rest)
{
	return rest && (!*rest || !strcmp(rest, ":high") || !strcmp(rest, ":low"));
}

/* What outsiders wrote, as people and Postgres can bear it. */
static void shown(const char *key, char *out, size_t cap)
{
	size_t n = 0;

	for (; key[n] && n < cap - 1; n++)
		out[n] = key[n] >= ' ' && key[n] <= '~' ? key[n] : '?';
	out[n] = '\0';
}

/* Whether there is something wrong with it. */
static bool look_list(struct watch *w, const char *key)
{
	static const char *names[SCHEDULER_PARTNERS_MAX]; /* not used across a wait */
	char name[80] = "", list[120], what[400];
	const char *rest = NULL;

	if (strncmp(key, "queue:", 6))
		return false;
	if (name_of(key, name, sizeof(name), &rest) && scheduler_queue(w->s, name) && is_lane(rest))
		return false;
	for (int i = 0; i < w->s->n_queues; i++)
		names[i] = queue_partner(w->s->queues[i]);
	const char *near =
		scheduler_queue(w->s, name) ? name : config_nearest(name, names, w->s->n_queues);
	shown(key, list, sizeof(list));
	snprintf(what, sizeof(what), "the list %s has jobs that nobody serves%s%s%s", list,
		 near ? "; did the pusher mean queue:{" : "", near ? near : "", near ? "}?" : "");
	raise_alert(
		w, "unserved_list", "warning", list, what,
		"move them: redis-cli RPOPLPUSH 'WRONG' 'RIGHT' until it is empty, then correct the pusher");
	log_event(LOG_WARN, "unserved_list", LS("list", list), LS("nearest", near));
	return true;
}

/* Each scan writes anew what it finds: what this one did not write is gone, whoever raised it. */
static void resolve_unseen(struct watch *w, int64_t scan_ms)
{
	struct err err = { 0 };
	char seconds[24];

	snprintf(seconds, sizeof(seconds), "%lld", (long long)(scan_ms / 1000 + 5));
	if (pg_execv(w->s->pg, NULL, loop_now_ms() + STEP_MS, &err,
		     "UPDATE alerts SET state = 'resolved', resolved_at = now() WHERE kind ="
		     " 'unserved_list' AND state = 'open' AND last_seen < now() -"
		     " make_interval(secs => $1::float8)",
		     seconds, NULL) < 0)
		log_event(LOG_WARN, "alert_not_resolved", LS("kind", "unserved_list"),
			  LS("reason", err.text));
}

/* Lists named like queues are few; SCAN in steps of 1,000 with its TYPE filter, once a minute, holds Redis for well under a ms a step. */
static void scan_lists(struct watch *w)
{
	char cursor[32] = "0";
	int64_t began = loop_now_ms();
	int found = 0;

	do {
		redisReply *reply = NULL;
		if (redis_callv(w->s->redis, &reply, loop_now_ms() + STEP_MS, NULL, "SCAN", cursor,
				"MATCH", "queue:*", "COUNT", "1000", "TYPE", "list", NULL) < 0)
			return;
		if (reply->type != REDIS_REPLY_ARRAY || reply->elements != 2) {
			freeReplyObject(reply);
			return;
		}
		snprintf(cursor, sizeof(cursor), "%s", reply->element[0]->str);
		for (size_t i = 0; i < reply->element[1]->elements && found < LISTS_MAX; i++)
			found += look_list(w, reply->element[1]->element[i]->str);
		freeReplyObject(reply);
	} while (strcmp(cursor, "0") && found < LISTS_MAX);
	if (found < LISTS_MAX)
		resolve_unseen(w, loop_now_ms() - began);
}

static void look(struct watch *w)
{
	if (serving_look(w->s, &w->serving, loop_now_ms() + STEP_MS) < 0)
		return;
	metric_set(metrics_gauge("longshore_workers_alive", "Workers whose heartbeat stands.",
				 NULL),
		   w->serving.alive);
	for (int i = 0; i < w->s->n_queues; i++) {
		const struct queue_look *l = upkeep_look(i);
		int64_t could_run = -l->depth.held;

		if (!l->at_ms)
			continue;
		for (enum lane lane = LANE_HIGH; lane <= LANE_LOW; lane++) {
			could_run += l->depth.ready[lane];
			look_bound(w, i, lane, l->depth.ready[lane]);
		}
		look_lonely(w, i, could_run);
		look_depth(w, i, could_run);
	}
	if (!w->scanned_ms || loop_now_ms() - w->scanned_ms > SCAN_MS) {
		w->scanned_ms = loop_now_ms();
		scan_lists(w);
	}
}

/* Another may have led meanwhile: what stands in Postgres is unknown. */
static void forget(struct watch *w)
{
	memset(w->lonely_since_ms, 0, sizeof(w->lonely_since_ms));
	memset(w->lonely_raised, true, sizeof(w->lonely_raised));
	memset(w->bound, -1, sizeof(w->bound));
	for (int i = 0; i < SCHEDULER_PARTNERS_MAX; i++)
		w->raised[i] = -1;
}

static void run(void *arg)
{
	struct watch *w = arg;

	forget(w);
	do {
		if (!leader_is_me(w->s))
			forget(w);
		else if (redis_is_up(w->s->redis) && pg_is_up(w->s->pg))
			look(w);
	} while (scheduler_sleep(w->s, LOOK_MS) == 0);
	free(w);
}

int watch_start(struct scheduler *s)
{
	struct watch *w = mem_new(struct watch);
	int rc;

	w->s = s;
	rc = scheduler_spawn(s, "watch", run, w);
	if (rc < 0)
		free(w);
	return rc;
}
