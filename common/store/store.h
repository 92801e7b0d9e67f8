/* The Postgres domain: one noun, one file.  All functions that take a struct pg wait (they need
 * a coroutine), and return 0, -ENOENT (no such row), or pg.h's errors with err filled.  Strings
 * in structs are owned by the struct and freed by its _clear. Nothing here knows Redis or HTTP. */
#ifndef COMMON_STORE_STORE_H
#define COMMON_STORE_STORE_H

#include <stdbool.h>
#include <stdint.h>

#include "common/base/crypto.h"
#include "common/base/err.h"
#include "common/base/json.h"
#include "common/io/pg.h"
#include "common/store/rows.h"

/* ---- company.c ---- */
/* -EEXIST, -EINVAL (empty, or a number: an id could not be told from it). */
int company_add(struct pg *p, const char *name, int64_t *id, struct err *err)
	__attribute__((warn_unused_result));
int company_find(struct pg *p, const char *company /* id or name */, int64_t *id, struct err *err)
	__attribute__((warn_unused_result));
typedef void (*company_fn)(int64_t id, const char *name, int64_t integrations, int64_t created_ms,
			   void *arg);
int company_each(struct pg *p, company_fn fn, void *arg, struct err *err)
	__attribute__((warn_unused_result)); /* in order of id */

/* ---- integration.c ---- */
struct integration {
	int64_t id, company_id; /* company_id 0: a lookup partner's own */
	char *company, *partner;
	char *environment;                   /* production | sandbox */
	char *base_url;                      /* NULL: the manifest's */
	char *status;                        /* active | paused | auth_broken */
	char *status_reason;                 /* NULL if none */
	cJSON *settings;                     /* object; {} if none */
	char *overrides;                     /* JSON (drivers/kit/overlay.h); NULL: none */
	int64_t created_ms, last_success_ms; /* 0 = never */
	int64_t credential_version;          /* grows when its credentials are changed */
};
void integration_clear(struct integration *i);
int integration_get(struct pg *p, int64_t id, struct integration *out, struct err *err)
	__attribute__((warn_unused_result));
/* company: an id or a name; NULL for a lookup partner's own. environment NULL: production.
 * settings NULL: none. credentials: plain JSON, sealed here for the new id; NULL: none yet. */
struct integration_new {
	const char *company, *partner, *environment, *base_url;
	const cJSON *settings;
	const struct secret *credentials;
};
int integration_add(struct pg *p, const struct keyring *k, const struct integration_new *n,
		    int64_t *id, struct err *err)
	__attribute__((warn_unused_result)); /* -ENOENT: no such company */
typedef void (*integration_fn)(const struct integration *i, void *arg);
/* Filters: 0 / NULL = any. In order of id. */
int integration_each(struct pg *p, int64_t company_id, const char *partner, const char *status,
		     integration_fn fn, void *arg, struct err *err)
	__attribute__((warn_unused_result));
/* The partner's integration of no company: whose account a lookup is asked with that names none, by a job or by HTTP.  Of several the first
 * active one, else the first; *id 0: there is none. */
int integration_home(struct pg *p, const char *partner, int64_t *id, struct err *err)
	__attribute__((warn_unused_result));
int integration_set_status(struct pg *p, int64_t id, const char *status, const char *reason,
			   struct err *err) __attribute__((warn_unused_result));
/* NULL: left as it is.  base_url "": the manifest's again.  settings: those named, beside what is there; null: none any more.  -ENOENT. */
struct integration_change {
	const char *base_url, *overrides;
	const cJSON *settings;
};
int integration_change(struct pg *p, int64_t id, const struct integration_change *change,
		       struct err *err) __attribute__((warn_unused_result));
int integration_touch_success(struct pg *p, int64_t id, struct err *err)
	__attribute__((warn_unused_result));

/* ---- due.c: what is to be imported, in slices of a fixed order ---- */
/* Companies with at least one active integration, ids beyond `after`, in order, at most limit.  *ids
 * is the caller's (free). */
int companies_due(struct pg *p, int64_t after, int limit, int64_t **ids, int *n, struct err *err)
	__attribute__((warn_unused_result));
/* Active integrations of a company, after < id <= until, in order of id, at most limit. partner
 * NULL: of any. */
typedef void (*due_fn)(int64_t id, const char *partner, void *arg);
int integrations_due(struct pg *p, int64_t company_id, const char *partner, int64_t after,
		     int64_t until, int limit, due_fn fn, void *arg, struct err *err)
	__attribute__((warn_unused_result));

/* ---- partner.c: what the control hashes in Redis mirror ---- */
struct partner_state {
	int64_t generation;
	bool paused;
	char *pause_reason;
	struct {
		int64_t integration;
		int cap;
	} * over;
	int n_over; /* paused or auth_broken integrations: cap 0; settings.in_flight: that */
	struct {
		int64_t integration;
		char *environment, *base_url; /* base_url NULL: the manifest's */
	} * homes;
	int n_homes; /* integrations that call another host than the manifest's production */
	struct {
		char *name; /* of a limit's scope */
		int64_t window_ms, calls;
	} * limits;
	int n_limits; /* set by hand */
};
void partner_state_clear(struct partner_state *s);
int partner_state_get(struct pg *p, const char *partner, struct partner_state *out, struct err *err)
	__attribute__((warn_unused_result)); /* makes the row */
/* Why it is paused, "" if nobody said; NULL: it is not.  The caller's (free). */
int partner_pause_get(struct pg *p, const char *partner, char **reason, struct err *err)
	__attribute__((warn_unused_result));
int partner_bump_generation(struct pg *p, const char *partner, int64_t *generation, struct err *err)
	__attribute__((warn_unused_result)); /* Redis lost it: a greater one */

/* ---- calls.c ---- */
struct calls_known {
	int64_t integration, window_ms, calls;
};
/* What runs of the partner's integrations that went on within each window have called, at least one, by integration; the caller's
 * (free). */
int calls_lately(struct pg *p, const char *partner, const int64_t *windows_ms, int n,
		 struct calls_known **out, int *n_out, struct err *err)
	__attribute__((warn_unused_result));

/* ---- override.c: limits set by hand; whoever changes them mirrors them ---- */
struct limit_override {
	const char *partner, *scope; /* scope: in the command's words */
	int64_t integration_id;      /* for which it was set */
	int64_t window_ms, calls;
};
/* The same for each of the scopes with these names, all or none. */
int limit_override_put(struct pg *p, const struct limit_override *o, const char *const *names,
		       int n, struct err *err) __attribute__((warn_unused_result));
/* Takes them back.  prefix NULL, or: those too of this scope whose names begin so. */
int limit_override_drop(struct pg *p, const struct limit_override *o, const char *const *names,
			int n, const char *prefix, struct err *err)
	__attribute__((warn_unused_result));

/* ---- credential.c: sealed JSON, context "credential:ID" / "token:ID" ---- */
int credential_get(struct pg *p, const struct keyring *k, int64_t integration_id,
		   struct secret *json, struct err *err) __attribute__((warn_unused_result));
int credential_exists(struct pg *p, int64_t integration_id, bool *exists, struct err *err)
	__attribute__((warn_unused_result));
/* New ones are in force from the statement on that stores them, and workers drop what they remember of the old ones within 5 s; what
 * Redis holds of the old ones (a token, the cached credentials) is the writer's to drop, then he settles the change.  Who dies before that
 * leaves it unsettled: schedulers drop it and settle in his place. */
struct credential_change {
	char at[40];    /* names it */
	bool unsettled; /* of credential_put: so was the change before */
};
int credential_put(struct pg *p, const struct keyring *k, int64_t integration_id,
		   const struct secret *json, struct credential_change *change, struct err *err)
	__attribute__((warn_unused_result));
/* Tells workers once more: what they took up in between may be of the old ones.  A later change stays unsettled. */
int credential_settle(struct pg *p, int64_t integration_id, const char *at, struct err *err)
	__attribute__((warn_unused_result));
/* The first of those that are older than min_age_ms. */
struct credential_left {
	int64_t integration_id;
	char partner[64], at[40];
};
int credential_unsettled(struct pg *p, int64_t min_age_ms, struct credential_left *out, int max,
			 int *n, struct err *err) __attribute__((warn_unused_result));
/* Other credentials in the place of what is there now, which are kept as the previous ones.  was: the sealed text that was
 * there (credential_sealed; NULL: none).  -ESTALE: somebody has changed them since. */
int credential_replace(struct pg *p, const struct keyring *k, int64_t integration_id,
		       const char *was, const struct secret *json, struct credential_change *change,
		       struct err *err) __attribute__((warn_unused_result));
/* The same credentials with something beside what calls are made with (a webhook's secret): no rotation.  was: as above.  -ESTALE. */
int credential_amend(struct pg *p, const struct keyring *k, int64_t integration_id, const char *was,
		     const struct secret *json, struct err *err)
	__attribute__((warn_unused_result));
/* Undoes that change, if it is the last one, by another, which *change names then.  -ESTALE: it is not. */
int credential_restore(struct pg *p, int64_t integration_id, struct credential_change *change,
		       struct err *err) __attribute__((warn_unused_result));
/* As it stands, sealed; NULL: none.  The caller's (free). */
int credential_sealed(struct pg *p, int64_t integration_id, char **sealed, struct err *err)
	__attribute__((warn_unused_result));
/* What was replaced last.  -ENOENT: nothing. */
int credential_previous(struct pg *p, const struct keyring *k, int64_t integration_id,
			struct secret *json, struct err *err) __attribute__((warn_unused_result));
/* Tokens minted are counted for ever-growing safety in Postgres too: 0 ok and counted | -EAGAIN
 * with err->retry_after_ms: limit reached within the window. Counted before the call is sent, in
 * one transaction under a row lock. */
int credential_count_mint(struct pg *p, int64_t integration_id, int limit, int64_t window_ms,
			  struct err *err) __attribute__((warn_unused_result));

/* ---- rekey.c: everything that is sealed, under which key, and onto the first one ---- */
/* How many texts of a place ("credentials.sealed") are under a key; key "": no sealed text. */
typedef void (*sealed_fn)(const char *place, const char *key, int64_t n, void *arg);
int sealed_count(struct pg *p, sealed_fn fn, void *arg, struct err *err)
	__attribute__((warn_unused_result));
struct rekey {
	int place;       /* where it stands; {0} begins */
	int64_t after;   /* the last id that was looked at there */
	int64_t done;    /* re-encrypted */
	int64_t changed; /* written anew by somebody else meanwhile */
	int64_t closed;  /* did not open: a key is missing, or they are damaged */
	int64_t closed_first;
	int closed_rc; /* of closed_first */
};
/* The next slice.  1: there is more; 0: through.  What is under the first key already is not touched, nor is what was
 * written since it was read: any number may go at once, and one that dies has lost nothing. */
int rekey_slice(struct pg *p, const struct keyring *k, struct rekey *at, struct err *err)
	__attribute__((warn_unused_result));

/* ---- run.c ---- */
struct run_counts {
	int64_t added, updated, unchanged, stale, undeleted, deleted, failed, pages, calls;
};
struct run {
	int64_t id, root_id, integration_id;                    /* root_id 0: itself */
	const char *task, *collection, *mode, *job_id, *worker; /* borrowed */
	const char *state;               /* running | done | failed | incomplete */
	const char *note;                /* NULL or why */
	int64_t started_ms, finished_ms; /* 0 = not yet */
	int64_t total;                   /* -1 unknown */
	int64_t processed;
	struct run_counts counts;
	int64_t worker_peak_bytes; /* most resident memory of the process, as this run saw it */
};
/* Ids come in blocks of 200 from the sequence, kept in the process: cheap. */
int run_new_id(struct pg *p, int64_t *id, struct err *err) __attribute__((warn_unused_result));
/* The row that an attempt at this job left which died before it could say so: the newest that began since then.  *id 0: none.
 * *done: it had ended, all but for the settlement.  Waits. */
int run_find(struct pg *p, const char *task, const char *job_id, int64_t since_ms, int64_t *id,
	     bool *done, struct err *err) __attribute__((warn_unused_result));
/* Inserts or overwrites whole rows by id, n at once, in one statement (worker/sink batches
 * them). Fills one pg_statement-shaped pair; the caller sends it. */
const char *run_upsert_sql(void);
void run_upsert_params(struct pg_params *out, const struct run *v, int n);

/* ---- checkpoint.c ---- */
struct checkpoint {
	char *job_id;
	cJSON *state;
	int64_t generation, fence;
};
void checkpoint_clear(struct checkpoint *c);
int checkpoint_get(struct pg *p, int64_t integration_id, const char *collection,
		   struct checkpoint *out, struct err *err) __attribute__((warn_unused_result));
/* 0 | -ESTALE: a newer claim has written here; this attempt has lost its job and must stop.
 * state NULL clears the page but keeps what incremental needs ("since"). */
int checkpoint_put(struct pg *p, int64_t integration_id, const char *collection, const char *job_id,
		   const cJSON *state, int64_t generation, int64_t fence, struct err *err)
	__attribute__((warn_unused_result));

/* ---- deadletter.c ---- */
#define DEADLETTER_ID_MAX 128
/* The letter as a tree (the caller's), and its id.  NULL: what stands there is no letter; then
 * its id is a hash of its bytes. */
cJSON *deadletter_read(const char *text, size_t len, char id[DEADLETTER_ID_MAX]);
/* Copies letters (whole JSON texts as in Redis) by id; those already there are left alone,
 * unless the job died anew since (a later failed_at).  What is no letter is kept too, named
 * after its bytes.  -EPROTO: Postgres refused some; the others were copied. */
int deadletter_copy(struct pg *p, const char *partner, const char *const *letters,
		    const size_t *lens, int n, struct err *err) __attribute__((warn_unused_result));
struct deadletter_filter {
	const char *id, *class, *partner;
	int64_t integration_id, since_ms;
	const char *state; /* NULL: dead; "any" */
	int limit;         /* 0 = 100 */
};
typedef void (*deadletter_fn)(const char *partner, const char *id, const char *json,
			      int64_t failed_at_ms, void *arg);
int deadletter_each(struct pg *p, const struct deadletter_filter *f, deadletter_fn fn, void *arg,
		    struct err *err) __attribute__((warn_unused_result));
/* For one of several at once: only the winner may replay or discard it.  -ENOENT: somebody else
 * has, or it is not there.  A letter that is in Redis although Postgres says otherwise may be
 * claimed again a minute later: its claimer died in between. */
int deadletter_claim(struct pg *p, const char *id, const char *state /* replayed | discarded */,
		     bool in_redis, struct err *err) __attribute__((warn_unused_result));
int deadletter_set_state(struct pg *p, const char *id,
			 const char *state /* dead | replayed | discarded */, struct err *err)
	__attribute__((warn_unused_result));

/* Those of the ids that are dead are discarded: jobs that a person purged or cancelled. */
int deadletter_discard(struct pg *p, const char *const *ids, int n, struct err *err)
	__attribute__((warn_unused_result));

/* ---- rejected.c ---- */
struct rejected {
	int64_t integration_id, run_id;
	const char *collection, *external_id, *parent_id, *field, *reason, *item_json, *job_id;
	/* The same in all attempts at an import and in all its children, for an attempt that dies may leave no word of
	 * its run, and children that are queued again; NULL: the run's id serves. */
	const char *import_id;
	int page;
};
const char *rejected_insert_sql(void);
void rejected_insert_params(struct pg_params *out, const struct rejected *v, int n);

/* ---- alert.c: whoever finds a cause writes it; open until resolved; the same (kind, scope) is
 * one row ---- */
int alert_raise(struct pg *p, const char *kind, const char *severity /* warning | critical */,
		const char *scope, const char *what, const char *todo, struct err *err)
	__attribute__((warn_unused_result));
/* Nobody calls it until a person says so: the mark and the alert that says why, both or none. */
struct stop {
	const char *reason;                     /* of the mark */
	const char *kind, *scope, *what, *todo; /* of the alert, a critical one */
};
int integration_stop(struct pg *p, int64_t id, const char *status, const struct stop *s,
		     struct err *err) __attribute__((warn_unused_result)); /* -ENOENT */
int partner_stop(struct pg *p, const char *partner, const struct stop *s, struct err *err)
	__attribute__((warn_unused_result));
int alert_resolve(struct pg *p, const char *kind, const char *scope, struct err *err)
	__attribute__((warn_unused_result));
/* All open ones of a kind but those of these scopes (an array of text, which is taken). */
int alert_resolve_others(struct pg *p, const char *kind, struct pg_array *scopes, struct err *err)
	__attribute__((warn_unused_result));

typedef void (*alert_fn)(const char *scope, void *arg);
int alert_each_open(struct pg *p, const char *kind, alert_fn fn, void *arg, struct err *err)
	__attribute__((warn_unused_result));

/* ---- catchup.c: imports that were left out while a partner could not be called ---- */
int catchup_owe(struct pg *p, const int64_t *ids, int n, struct err *err)
	__attribute__((warn_unused_result));
/* Those of all auth_broken integrations; fn is told how many there are of each partner. */
typedef void (*catchup_count_fn)(const char *partner, int64_t n, void *arg);
int catchup_owe_broken(struct pg *p, catchup_count_fn fn, void *arg, struct err *err)
	__attribute__((warn_unused_result));
struct catchup {
	int64_t integration, since_us;
	char *partner, *environment, *base_url;
};
/* Owed to active integrations, at most 1,000; freed with catchup_free. */
int catchup_due(struct pg *p, struct catchup **out, int *n, struct err *err)
	__attribute__((warn_unused_result));
int catchup_paid(struct pg *p, const struct catchup *c, struct err *err)
	__attribute__((warn_unused_result));
void catchup_free(struct catchup *v, int n);

/* ---- poison.c: raises and resolves the alerts of kind poison, by the letters that are dead ---- */
int alert_poison(struct pg *p, struct err *err) __attribute__((warn_unused_result));

/* ---- recovery.c: lanes that an outage filled ---- */
struct recovery {
	const char *partner, *lane; /* borrowed */
	const char *strategy; /* purge | drain | pause | off, set by hand; NULL: the usual one */
	int64_t over;         /* set by hand; 0: the usual one */
	bool under_way;
	int64_t since_ms, ended_ms;   /* 0: never */
	int64_t deepest, shed, fresh; /* of the present one, or the last */
};
typedef void (*recovery_fn)(const struct recovery *r, void *arg);
int recovery_each(struct pg *p, recovery_fn fn, void *arg, struct err *err)
	__attribute__((warn_unused_result));
int recovery_set(struct pg *p, const char *partner, const char *lane, const char *strategy,
		 int64_t over, struct err *err) __attribute__((warn_unused_result));
/* One that is under way goes on with its counts. */
int recovery_begin(struct pg *p, const char *partner, const char *lane, int64_t depth,
		   struct err *err) __attribute__((warn_unused_result));
int recovery_add(struct pg *p, const char *partner, const char *lane, int64_t depth, int64_t shed,
		 int64_t fresh, struct err *err) __attribute__((warn_unused_result));
int recovery_end(struct pg *p, const char *partner, const char *lane, struct err *err)
	__attribute__((warn_unused_result));

/* ---- health.c: the view integration_health ---- */
typedef void (*health_fn)(const char *health /* healthy | degraded | down | paused | new */,
			  int64_t integrations, void *arg);
int health_counts(struct pg *p, health_fn fn, void *arg, struct err *err)
	__attribute__((warn_unused_result));
/* why: "" if there is nothing to say. Both are the caller's (free). */
int health_get(struct pg *p, int64_t integration_id, char **health, char **why, struct err *err)
	__attribute__((warn_unused_result));

/* ---- migrate.c ---- */
/* Applies sql/NNNN_*.sql in order, each once, all in one transaction under
 * pg_advisory_xact_lock, recorded with a checksum. Waits, however long it takes.  -EPROTO where
 * a file that was applied has changed since. The files are embedded at build time. */
typedef void (*migrate_fn)(int number, const char *name, void *arg);
int migrate_run(const char *url, migrate_fn applied, void *arg, struct err *err)
	__attribute__((warn_unused_result));
/* 0 the schema is at (or beyond) what this binary needs | -ENODATA: not migrated: err says which
 * command to run. Waits. */
int migrate_check(struct pg *p, struct err *err) __attribute__((warn_unused_result));

/* ---- look_row.c ---- */
/* One row as an object by columns, without its extra.  Waits.  -ENOENT (err untouched): there is none, or it is deleted. */
int row_look(struct pg *p, enum row_table table, int64_t integration_id, const char *external_id,
	     cJSON **out, struct err *err) __attribute__((warn_unused_result));

#endif
