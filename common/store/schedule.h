/* import_schedules: when each integration is imported by the clock.  Only the leading scheduler writes it.  All functions wait;
 * all may run twice: a row is changed only if it is as it was read.  Times are ms since 1970, 0: none. */
#ifndef COMMON_STORE_SCHEDULE_H
#define COMMON_STORE_SCHEDULE_H

#include <stdbool.h>
#include <stdint.h>

#include "common/base/json.h"
#include "common/io/pg.h"

struct schedule {
	int64_t integration, company, version;
	int64_t next_ms, full_ms, last_success_ms;
	char *partner, *environment, *base_url; /* base_url NULL: the manifest's */
	char *plan;                             /* NULL: to be made */
	cJSON *settings;
	bool active;     /* status; else auth_broken */
	bool registered; /* its webhooks are */
};
struct schedules {
	struct schedule *v;
	int n;
};
void schedules_clear(struct schedules *s);

/* With ids beyond `after`, in order.  all false: those whose plan is to be made. */
int schedules_to_plan(struct pg *p, bool all, int64_t after, int limit, struct schedules *out,
		      struct err *err) __attribute__((warn_unused_result));
struct schedule_plan {
	const struct schedule *of;
	const char *plan, *strategy, *every, *reason; /* borrowed */
	int64_t full_every_ms, next_ms;
	bool next_full;
};
int schedules_plan(struct pg *p, const struct schedule_plan *v, int n, struct err *err)
	__attribute__((warn_unused_result));

/* Due by now, beyond (after_ms, after), earliest first.  Left out: what is paused, all of it while scheduling is, and the
 * partners named (an array of text, which is taken).  Of those with refused credentials only what fell due after `told_ms`. */
int schedules_due(struct pg *p, int64_t now_ms, int64_t after_ms, int64_t after, int64_t told_ms,
		  struct pg_array *but, int limit, struct schedules *out, struct err *err)
	__attribute__((warn_unused_result));
struct schedule_step {
	int64_t integration, was_ms; /* next_at as it was read */
	int64_t slot_ms;             /* the newest that was started; 0: none was */
	bool full;                   /* it was a full one */
	int64_t full_ms, missed, next_ms;
	bool next_full;
};
int schedules_step(struct pg *p, const struct schedule_step *v, int n, struct err *err)
	__attribute__((warn_unused_result));
/* Redis has lost what was queued: starts of the last 24 h that no success followed are to be made again.  *n: how many. */
int schedules_restore(struct pg *p, const char *partner, int64_t *n, struct err *err)
	__attribute__((warn_unused_result));

/* A row of the view schedules as an object. -ENOENT. */
int schedule_row(struct pg *p, int64_t integration, cJSON **out, struct err *err)
	__attribute__((warn_unused_result));
/* {"next": {"integration_id", "partner", "at", "mode"} | null, "due": n}: of what nothing holds. */
int schedules_summary(struct pg *p, cJSON **out, struct err *err)
	__attribute__((warn_unused_result));

/* ---- pause.c ---- */
struct pause {
	const char *reason, *by; /* by NULL: Longshore itself */
	int64_t until_ms;        /* 0: until it is resumed */
};
/* pause NULL: resumes. */
int integration_pause(struct pg *p, int64_t id, const struct pause *pause, struct err *err)
	__attribute__((warn_unused_result)); /* -ENOENT */
int partner_pause(struct pg *p, const char *partner, const struct pause *pause, struct err *err)
	__attribute__((warn_unused_result));
int scheduling_pause(struct pg *p, const struct pause *pause, struct err *err)
	__attribute__((warn_unused_result));
/* Rows of the view pauses, an array; at most limit. */
int pauses_list(struct pg *p, int limit, cJSON **out, struct err *err)
	__attribute__((warn_unused_result));
/* What is paused of the integration, if anything is: a row of pauses, itself first. *out NULL: nothing. */
int pause_of(struct pg *p, int64_t integration, cJSON **out, struct err *err)
	__attribute__((warn_unused_result));
/* Ends those whose time is over; fn is told of each (partner NULL: scheduling; integration 0: the partner). */
typedef void (*lifted_fn)(const char *partner, int64_t integration, void *arg);
int pauses_lift(struct pg *p, lifted_fn fn, void *arg, struct err *err)
	__attribute__((warn_unused_result));

#endif
