/* Lanes that an outage filled (S6), looked after by the leader.  A recovery begins where more jobs of a lane could run than its bound
 * (--recovery-over, or set by hand), and ends once it is down to half of that.  Meanwhile, as set with `longshore queue recovery`:
 *
 *   purge  imports that the clock queued and will queue again go, and one fresh import of each integration comes (normal lanes)
 *   drain  what is stale goes, where another one of its kind waits behind it (low lanes: media)
 *   pause  the clock starts nothing for that partner (high lanes, and partners without imports)
 *
 * Nothing that somebody pushed, no webhook's and no outbound job is ever taken out (recovery_sift.c).  What is queued is queued
 * before anything goes, under an id made of what it replaces: whoever dies in between, the next pass finds both, and one too many at most.
 * How it is set and that it is under way stands in Postgres, so another leader goes on with it. */
#include "scheduler/recovery.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/config.h"
#include "common/base/crypto.h"
#include "common/base/log.h"
#include "common/base/mem.h"
#include "common/base/metrics.h"
#include "common/io/loop.h"
#include "common/store/store.h"
#include "scheduler/scheduler.h"

#define TURN_MS 500
#define LOOK_MS 5000
#define PASS_MS 60000 /* between two passes over a lane */
#define STEP_MS 10000
#define FRESH_TTL_MS (24LL * 3600 * 1000)

static const char *const names[] = { "purge", "drain", "pause", "off" };
static const char *const suffix[] = { "", ":high", "", ":low" };

static struct lane_state {
	bool set, under_way;
	enum recovery_strategy strategy; /* set by hand */
	int64_t over;                    /* set by hand; 0: not */
	int64_t shed, fresh, passed_ms;  /* of the present one */
} lanes[SCHEDULER_PARTNERS_MAX][4];
static bool known; /* read since this scheduler leads */

int recovery_options(struct scheduler *s, struct config_option *out)
{
	out[0] = (struct config_option){ .name = "recovery-over",
					 .env = "LONGSHORE_RECOVERY_OVER",
					 .value_name = "N",
					 .help = "jobs of a lane over which it is brought down"
						 " (longshore queue recovery)",
					 .type = CONFIG_INT,
					 .fallback = "5000",
					 .min = 1,
					 .max = 100000000,
					 .out = &s->recovery_over };
	return 1;
}

/* ---- what holds ---- */
static bool imports(const struct scheduler *s, int i)
{
	const struct driver *d = driver_find(s->drivers, queue_partner(s->queues[i]));

	return i == 0 || (d && d->manifest->n_collections); /* 0: longshore's own */
}

static enum recovery_strategy strategy_of(const struct scheduler *s, int i, enum lane lane)
{
	if (lanes[i][lane].set)
		return lanes[i][lane].strategy;
	if (lane == LANE_HIGH || !imports(s, i))
		return RECOVERY_PAUSE;
	return lane == LANE_LOW ? RECOVERY_DRAIN : RECOVERY_PURGE;
}

bool recovery_holds(struct scheduler *s, const char *partner)
{
	for (int i = 0; i < s->n_queues && known; i++) {
		if (strcmp(queue_partner(s->queues[i]), partner) != 0)
			continue;
		for (enum lane lane = LANE_HIGH; lane <= LANE_LOW; lane++)
			if (lanes[i][lane].under_way && strategy_of(s, i, lane) == RECOVERY_PAUSE)
				return true;
	}
	return false;
}

static void read_one(const struct recovery *r, void *arg)
{
	struct scheduler *s = arg;
	enum lane lane;
	int i = 0;

	while (i < s->n_queues && strcmp(queue_partner(s->queues[i]), r->partner) != 0)
		i++;
	if (i == s->n_queues || lane_parse(r->lane, &lane) < 0)
		return;
	struct lane_state *l = &lanes[i][lane];
	int64_t passed_ms = l->passed_ms;
	*l = (struct lane_state){ .set = r->strategy != NULL,
				  .under_way = r->under_way,
				  .over = r->over,
				  .shed = r->shed,
				  .fresh = r->fresh,
				  .passed_ms = passed_ms };
	for (size_t k = 0; r->strategy && k < ARRAY_LEN(names); k++)
		if (!strcmp(names[k], r->strategy))
			l->strategy = (enum recovery_strategy)k;
}

/* ---- telling ---- */
struct place {
	struct scheduler *s;
	int i;
	enum lane lane;
	struct lane_state *state;
	char name[64]; /* guesty:low */
	int64_t depth, over;
};

static void warn(const struct place *p, const char *event, const struct err *err)
{
	log_event(LOG_WARN, event, LS("queue", p->name), LS("reason", err->text));
}

static const char *partner(const struct place *p)
{
	return queue_partner(p->s->queues[p->i]);
}

static void raise_alert(const struct place *p, enum recovery_strategy strategy)
{
	struct err err = { 0 };
	char what[300], did[160];

	if (strategy == RECOVERY_PAUSE)
		snprintf(did, sizeof(did), "the clock starts nothing for it until half are done");
	else
		snprintf(did, sizeof(did),
			 "%lld imports were taken out, for others of their kind wait; %lld of those"
			 " are fresh",
			 (long long)p->state->shed, (long long)p->state->fresh);
	snprintf(what, sizeof(what), "%lld jobs of %s could run, over %lld (%s): %s",
		 (long long)p->depth, p->name, (long long)p->over, names[strategy], did);
	if (alert_raise(p->s->pg, "recovery", "warning", p->name, what,
			"nothing that was pushed is lost. See `longshore queue show` for what holds"
			" it up; `longshore queue recovery` says what is done, and sets it",
			&err) < 0)
		warn(p, "alert_not_written", &err);
}

static void count(const struct place *p, enum recovery_strategy strategy, int64_t shed)
{
	metric_add(metrics_counter("longshore_jobs_shed_total",
				   "Imports taken out of a lane, for another of their kind waits.",
				   "queue_name", p->name, "strategy", names[strategy], NULL),
		   (double)shed);
}

/* ---- one pass ---- */
struct pass {
	struct place *place;
	int64_t shed, fresh;
	struct err err;
};

/* The id is made of what it stands for: whoever comes again after a death makes the same. */
static int queue_fresh(const struct sifted_job *like, void *arg)
{
	struct pass *p = arg;
	const struct job_seen *j = &like->seen;
	struct queue_push push = { .lane = p->place->lane,
				   .integration = j->integration,
				   .payload = j->payload,
				   .len = j->payload_len };
	char id[JOB_ID_MAX];
	bool fresh = false;
	int rc;

	snprintf(id, sizeof(id), RECOVERY_FRESH "%lld-%016llx", (long long)j->integration,
		 (unsigned long long)crypto_hash64(j->member, j->member_len, 1));
	push.id = id;
	rc = queue_enqueue_once(p->place->s->queues[p->place->i], &push, FRESH_TTL_MS, &fresh,
				loop_now_ms() + STEP_MS, &p->err);
	p->fresh += rc == 0 && fresh;
	return rc;
}

static int take_out(struct pass *p, const struct sifted *s)
{
	struct shedder *shed = shedder_new(p->place->s->queues[p->place->i]);
	int rc = 0;

	for (int i = 0; i < s->n && rc == 0; i++)
		if (s->v[i].goes)
			rc = leader_is_me(p->place->s)
				     ? shedder_add(shed, &s->v[i].seen, &p->shed, &p->err)
				     : err_set(&p->err, -ECANCELED, ERR_CANCELLED, "leader",
					       "another scheduler leads");
	if (rc == 0)
		rc = shedder_flush(shed, &p->shed, &p->err);
	shedder_free(shed);
	return rc;
}

__attribute__((noinline)) static void pass(struct place *p, enum recovery_strategy strategy)
{
	struct sifted s = { .strategy = strategy, .now_ms = redis_now_ms(p->s->redis) };
	struct job_filter f = { .integration = -1, .lane = p->lane };
	struct pass run = { .place = p };
	struct err err = { 0 };
	int rc = queue_look(p->s->queues[p->i], JOB_READY, &f, sifted_see, &s, &run.err);
	bool more = rc == 1;

	if (rc >= 0)
		rc = sifted_decide(&s, queue_fresh, &run);
	if (rc == 0)
		rc = take_out(&run, &s);
	sifted_clear(&s);
	if (rc < 0)
		warn(p, "recovery_put_off", &run.err);
	if (rc == 0)
		p->state->passed_ms = more && run.shed ? 0 : loop_now_ms();
	p->state->shed += run.shed;
	p->state->fresh += run.fresh;
	if (!run.shed && !run.fresh)
		return;
	log_event(LOG_WARN, "recovery_shed", LS("queue", p->name), LS("strategy", names[strategy]),
		  LI("shed", run.shed), LI("fresh", run.fresh));
	count(p, strategy, run.shed);
	if (recovery_add(p->s->pg, partner(p), lane_name(p->lane), p->depth, run.shed, run.fresh,
			 &err) < 0)
		warn(p, "recovery_not_written", &err);
}

/* ---- its life ---- */
/* Frames of their own: one of all would be too large for a coroutine under the sanitizers. */
__attribute__((noinline)) static void begin(struct place *p, enum recovery_strategy strategy)
{
	struct err err = { 0 };

	if (recovery_begin(p->s->pg, partner(p), lane_name(p->lane), p->depth, &err) < 0) {
		warn(p, "recovery_put_off", &err);
		return;
	}
	p->state->under_way = true;
	p->state->shed = p->state->fresh = p->state->passed_ms = 0;
	log_event(LOG_WARN, "recovery_began", LS("queue", p->name), LS("strategy", names[strategy]),
		  LI("could_run", p->depth), LI("over", p->over));
}

__attribute__((noinline)) static void end(struct place *p)
{
	struct err err = { 0 };

	if (recovery_end(p->s->pg, partner(p), lane_name(p->lane), &err) < 0 ||
	    alert_resolve(p->s->pg, "recovery", p->name, &err) < 0) {
		warn(p, "recovery_put_off", &err);
		return;
	}
	p->state->under_way = false;
	log_event(LOG_INFO, "recovery_ended", LS("queue", p->name), LI("could_run", p->depth),
		  LI("shed", p->state->shed), LI("fresh", p->state->fresh));
}

static void look_at(struct place *p)
{
	enum recovery_strategy strategy = strategy_of(p->s, p->i, p->lane);

	if (p->state->under_way && (strategy == RECOVERY_OFF || p->depth <= p->over / 2)) {
		end(p);
		return;
	}
	if (!p->state->under_way && strategy != RECOVERY_OFF && p->depth > p->over)
		begin(p, strategy);
	if (!p->state->under_way)
		return;
	if (p->state->passed_ms && loop_now_ms() - p->state->passed_ms < PASS_MS)
		return;
	if (strategy == RECOVERY_PAUSE)
		p->state->passed_ms = loop_now_ms();
	else
		pass(p, strategy);
	raise_alert(p, strategy);
}

static void look(struct scheduler *s)
{
	struct err err = { 0 };

	if (recovery_each(s->pg, read_one, s, &err) < 0) {
		log_event(LOG_WARN, "recovery_put_off", LS("reason", err.text));
		return;
	}
	known = true;
	for (int i = 0; i < s->n_queues; i++) {
		const struct queue_depth *d = &upkeep_look(i)->depth;

		if (!upkeep_look(i)->at_ms)
			continue;
		for (enum lane lane = LANE_HIGH; lane <= LANE_LOW && !s->stopping; lane++) {
			struct place p = { .s = s,
					   .i = i,
					   .lane = lane,
					   .state = &lanes[i][lane],
					   .depth = d->ready[lane] - d->held_in[lane] };

			p.over = p.state->over ? p.state->over : s->recovery_over;
			snprintf(p.name, sizeof(p.name), "%s%s", queue_partner(s->queues[i]),
				 suffix[lane]);
			look_at(&p);
		}
	}
}

static void run(void *arg)
{
	struct scheduler *s = arg;

	int64_t looked_ms = 0;

	do {
		if (!leader_is_me(s)) {
			known = false;
			memset(lanes, 0, sizeof(lanes));
		} else if (redis_is_up(s->redis) && pg_is_up(s->pg) &&
			   (!known || loop_now_ms() - looked_ms >= LOOK_MS)) {
			look(s);
			looked_ms = loop_now_ms();
		}
	} while (scheduler_sleep(s, TURN_MS) == 0);
}

int recovery_start(struct scheduler *s)
{
	return scheduler_spawn(s, "recovery", run, s);
}
