/* Jobs and queues as cmd_job.c, cmd_queue.c and cmd_worker.c show them. */
#ifndef SCHEDULER_CLI_JOBS_H
#define SCHEDULER_CLI_JOBS_H

#include "common/queue/breaker.h"
#include "common/queue/look.h"
#include "scheduler/cli/cli.h"

/* "guesty", "guesty:high"; lane 0: all.  0 or an exit code. */
struct queue_name {
	char partner[64];
	enum lane lane;
};
int parse_queue(struct cli *c, const char *text, struct queue_name *out)
	__attribute__((warn_unused_result));

/* What holds a partner's jobs, as of one moment. */
struct view {
	const char *partner; /* borrowed */
	struct queue *queue;
	struct shares shares;
	int64_t in_flight, now_ms;    /* Redis' clock */
	int servers;                  /* live processes that serve the partner */
	struct breaker_list breakers; /* what is not simply closed */
	struct breaker_homes homes;
};
/* Waits.  Raw pushes are admitted first, so that they are seen.  0 or an exit code. */
int view_open(struct cli *c, const char *partner, struct view *out)
	__attribute__((warn_unused_result));
void view_close(struct view *v);
/* Of one integration: its share, or what it would have. */
struct share_seen view_share(const struct view *v, int64_t integration);

/* Why a ready job does not run; every reason that there is, the first one first.  Empty: nothing is in its way. */
void view_reasons(const struct view *v, int64_t integration, cJSON *reasons);
bool view_holds(const struct view *v,
		int64_t integration); /* paused: it or its partner; or behind a breaker */
/* "guesty's breaker of HOST is open until …"; the caller's. */
char *breaker_reason(const char *partner, const struct breaker_seen *b);
cJSON *breaker_row(const char *partner, const struct breaker_seen *b);

const char *place_name(enum job_place p);
/* A row: id, queue, task, integration_id, state, age_s, attempts, worker, since, due, why. */
cJSON *job_row(const struct view *v, const struct job_seen *j);

/* Jobs that a person takes out: gathered, then moved to dead, written into Postgres as discarded, and gone from Redis.
 * A failure on the way leaves dead letters, never nothing. */
struct burials {
	struct burial v[100];
	char id[100][32];
	char of[100][JOB_ID_MAX]; /* their jobs' own ids, where a run is told */
	int n;
	size_t bytes;
	const char *class, *error;   /* of their letters */
	const struct driver *driver; /* of the queue; NULL: of no partner */
};
bool burials_add(struct burials *b, const struct view *v,
		 const struct job_seen *j); /* false: full */
/* Waits; empties b.  *done grows by those that were still there.  0 or an exit code. */
int burials_settle(struct cli *c, const struct view *v, struct burials *b, int64_t *done)
	__attribute__((warn_unused_result));
void burials_clear(struct burials *b);

#endif
