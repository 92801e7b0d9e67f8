/* Outbound requests and their steps (sql/0020): the lasting record that keeps anything from being done twice at a partner.
 *
 * A row is written before the first call.  Whoever works on it holds it by (generation, fence) of his claim, as checkpoints are held:
 * what an older claim writes is refused with -ESTALE.  All functions with a struct pg wait, and may run twice. */
#ifndef COMMON_STORE_REQUEST_H
#define COMMON_STORE_REQUEST_H

#include "common/store/store.h"

/* The id of a job that Longshore queues for a request: its number, and the how manieth time; both long long. */
#define REQUEST_JOB "req-%lld.%lld"

enum request_state {
	REQUEST_PENDING,
	REQUEST_RUNNING,
	REQUEST_DONE,
	REQUEST_FAILED,
	REQUEST_UNKNOWN,
	REQUEST_UNDONE
};
const char *request_state_name(enum request_state s);
int request_state_parse(const char *name, enum request_state *out)
	__attribute__((warn_unused_result)); /* -EINVAL */

struct request {
	int64_t id, integration_id;
	char *partner, *action, *lane, *entry, *fingerprint;
	char *job; /* JSON: what its job carries */
	enum request_state state;
	bool undo; /* what was done is to be taken back */
	cJSON *kept;
	char *external_id;                                   /* NULL: none is known */
	char *job_id;                                        /* NULL: none */
	char *class, *rule, *at_step, *error;                /* NULL: none */
	int64_t created_us, deadline_ms, claimed_ms, now_ms; /* Postgres' clock */
	int64_t attempts, queued_times;
};
void request_clear(struct request *r);

/* ---- entry ---- */
struct request_new {
	const char *partner, *action, *lane, *entry, *idempotency_key, *fingerprint, *source;
	const char *job; /* JSON */
	int64_t integration_id, parent_id, steps, deadline_in_ms;
	int64_t generation; /* of the claim that brought it; 0: it is still to be queued */
};
/* Writes it unless one with its entry or key is there.  *id 0: there is one already (request_find). */
int request_add(struct pg *p, const struct request_new *n, int64_t *id, struct err *err)
	__attribute__((warn_unused_result));
/* By the first of these that is given.  -ENOENT. */
struct request_who {
	int64_t id;
	const char *partner, *entry;
	int64_t integration_id;
	const char *action, *idempotency_key; /* or this */
};
int request_find(struct pg *p, const struct request_who *w, struct request *out, struct err *err)
	__attribute__((warn_unused_result));

/* ---- work on it ---- */
struct request_claim {
	const char *job_id, *worker;
	int64_t generation, fence;
};
/* It runs now, and is this claim's.  -EBUSY: another job has it, and took it less than busy_ms ago.  -ESTALE: a newer claim. */
int request_take(struct pg *p, int64_t id, const struct request_claim *c, int64_t busy_ms,
		 struct err *err) __attribute__((warn_unused_result));

struct request_end {
	enum request_state state;
	const char *class, *rule, *at_step, *error; /* NULL: none */
	int64_t again_in_ms;                        /* of REQUEST_PENDING */
	const char *letter_id; /* of a dead letter that is about to be written */
};
/* How an attempt ended that ended no step.  -ESTALE. */
int request_put(struct pg *p, int64_t id, const struct request_claim *c,
		const struct request_end *e, struct err *err) __attribute__((warn_unused_result));

/* ---- steps ---- */
enum step_state { STEP_PENDING, STEP_SENT, STEP_DONE, STEP_FAILED, STEP_UNKNOWN };
const char *step_state_name(enum step_state s);
struct request_step {
	int64_t step;
	bool undo;
	enum step_state state;
	int64_t sent_ms, doubt_ms; /* 0: never, no doubt; Postgres' clock */
	int64_t round; /* the partner refused it so often: it has another key each time */
	bool replayed; /* its key gives an old failure again, whatever was done */
	bool told;     /* nobody knew of it, and the partner has reported since: it was done */
};
/* Those that were begun; *out is the caller's (free). */
int request_steps(struct pg *p, int64_t id, struct request_step **out, int *n, struct err *err)
	__attribute__((warn_unused_result));
/* Before it is sent.  again: what the sending before it came to is known (a 401, nothing was sent). */
int request_step_mark(struct pg *p, int64_t id, const struct request_claim *c,
		      const struct request_step *s, const char *name, const char *key, bool again,
		      struct err *err) __attribute__((warn_unused_result));
struct step_end {
	enum step_state state;
	bool doubt; /* it may have been done: doubt_since stays, or begins with its sending */
	int status; /* 0: none */
	const char
		*how; /* answered | found | told (as the report says it, "told: delivered"); NULL */
	const struct err *why; /* NULL: none */
	const cJSON *kept;     /* all that is kept so far; NULL: as it is */
	const char *external_id;
	int64_t steps_done;         /* -1: as it is */
	enum request_state request; /* REQUEST_RUNNING, or how it ends the request */
};
int request_step_put(struct pg *p, int64_t id, const struct request_claim *c,
		     const struct request_step *s, const char *name, const struct step_end *e,
		     struct err *err) __attribute__((warn_unused_result));

/* ---- into its queue ---- */
struct request_due {
	int64_t id, integration_id, times;
	char *partner, *lane, *job;
};
void request_due_free(struct request_due *v, int n);
/* Those that are to be queued: never were, or into a Redis that was lost since.  Of those that were never queued only what is older than
 * min_age_ms: whoever wrote it queues it himself.  Each partner has its turn of at most REQUEST_TURN, behind after_id where turns says
 * so; the first of each partner come before the second of any, REQUEST_TURNS in all. */
#define REQUEST_TURN 200
#define REQUEST_TURNS 1000
struct request_turn {
	const char *partner;
	int64_t after_id;
};
int request_due(struct pg *p, int64_t min_age_ms, const struct request_turn *turns, int n_turns,
		struct request_due **out, int *n, struct err *err)
	__attribute__((warn_unused_result));
int request_due_one(struct pg *p, int64_t id, struct request_due **out, int *n, struct err *err)
	__attribute__((warn_unused_result));
/* times: as request_due told it. */
int request_queued(struct pg *p, int64_t id, int64_t times, struct err *err)
	__attribute__((warn_unused_result));

/* Partners with requests that still wait or run longer than min_ms after their deadline; those that are unknown have an alert each. */
typedef void (*request_late_fn)(const char *partner, int64_t n, int64_t oldest, void *arg);
int request_late_each(struct pg *p, int64_t min_ms, request_late_fn fn, void *arg, struct err *err)
	__attribute__((warn_unused_result));

/* ---- people ---- */
/* done: what a person found out; retry: it was not done; undo: what was done is taken back.  kept: what a step that was done keeps.
 * -ENOENT; -EPERM: its state does not allow that (err says why). */
int request_resolve(struct pg *p, int64_t id, const char *as, const cJSON *kept, struct err *err)
	__attribute__((warn_unused_result));

struct request_filter {
	int64_t id, integration_id;
	const char *partner, *action, *state; /* NULL: any; state "open", "late" too */
	int64_t before_id;                    /* 0: the newest */
	int limit;                            /* 0 = 50 */
	bool whole;                           /* with steps, args and kept */
};
/* Newest first, each as an object (borrowed). */
typedef void (*request_fn)(const cJSON *row, void *arg);
int request_each(struct pg *p, const struct request_filter *f, request_fn fn, void *arg,
		 struct err *err) __attribute__((warn_unused_result));

#endif
