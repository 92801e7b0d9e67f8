/* Runs that began others: what they asked for, and their end.  And how runs look to people. */
#ifndef COMMON_STORE_RUN_END_H
#define COMMON_STORE_RUN_END_H

#include "common/store/store.h"

/* What is noted of a run before its first child can end. */
struct run_root {
	int64_t id, integration_id;         /* integration 0: none */
	const char *task, *job_id, *worker; /* borrowed */
	const char *state;   /* as runs.state, for a task that writes no run of its own */
	const char *home;    /* partner in whose slot its open jobs are */
	const char *on_done; /* JSON, or NULL */
	int64_t started_ms, finished_ms; /* 0 = not yet */
};
const char *run_root_sql(void);
void run_root_params(struct pg_params *out, const struct run_root *v, int n);

struct run_end_counts {
	int64_t at_ms, done, dead, dropped;
};
/* Any number may say it; the first wins, and it stays so. */
int run_mark_ended(struct pg *p, int64_t id, const struct run_end_counts *c, struct err *err)
	__attribute__((warn_unused_result)); /* also where there is no such run */
/* Nothing knows any more what of it is open. */
int run_mark_lost(struct pg *p, int64_t id, bool *was_open, struct err *err)
	__attribute__((warn_unused_result));

/* Whoever looks for idle ones finds it later. */
int run_touch(struct pg *p, int64_t id, struct err *err) __attribute__((warn_unused_result));

/* Integrations that a run, or a part of it, imported. */
typedef int (*run_import_fn)(int64_t integration, const char *partner, void *arg); /* <0 ends it */
int run_imports_each(struct pg *p, int64_t id, run_import_fn fn, void *arg, struct err *err)
	__attribute__((warn_unused_result));

struct run_done_task {
	cJSON *on_done; /* the caller's (cJSON_Delete); NULL: none, or it was queued */
	char ended[16];
	struct run_end_counts counts;
};
int run_done_task(struct pg *p, int64_t id, struct run_done_task *out, struct err *err)
	__attribute__((warn_unused_result)); /* -ENOENT */
int run_done_task_queued(struct pg *p, int64_t id, struct err *err)
	__attribute__((warn_unused_result));

/* Runs without an end that nothing has touched for idle_ms, nor any part of theirs; at most max. */
typedef void (*run_idle_fn)(int64_t id, const char *home, void *arg);
int run_idle_each(struct pg *p, int64_t idle_ms, int max, run_idle_fn fn, void *arg,
		  struct err *err) __attribute__((warn_unused_result));

struct run_filter {
	int64_t id, root_id, integration_id; /* 0 = any */
	const char *state, *job_id;          /* NULL = any */
	int limit;
};
/* Newest first; row is borrowed.  home NULL: it began no others. */
typedef void (*run_seen_fn)(int64_t id, const char *home, bool ended, cJSON *row, void *arg);
int run_each(struct pg *p, const struct run_filter *f, run_seen_fn fn, void *arg, struct err *err)
	__attribute__((warn_unused_result));
/* Its parts that import, by state, itself left out. */
typedef void (*run_part_fn)(const char *state, int64_t n, void *arg);
int run_parts(struct pg *p, int64_t id, run_part_fn fn, void *arg, struct err *err)
	__attribute__((warn_unused_result));

#endif
