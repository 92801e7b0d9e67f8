/* The tasks, one file a family; the table is in tasks.c.  A task says what happened, settle.c what follows. */
#ifndef WORKER_TASKS_TASKS_H
#define WORKER_TASKS_TASKS_H

#include "worker/attempt.h"

int task_noop(struct attempt *a);
int task_import_all(struct attempt *a);
int task_import_company(struct attempt *a);
int task_import_resources(struct attempt *a);
int task_import_transactions(struct attempt *a);
int task_import_media(struct attempt *a);
int task_import_resource(struct attempt *a);
int task_lookup(struct attempt *a);
int task_lookup_kind(struct attempt *a); /* the same name, in queue:{longshore} */
int task_action(struct attempt *a);
int task_notify(struct attempt *a);
int task_process_webhook(struct attempt *a);
bool webhook_mends_auth(
	const struct attempt
		*a); /* its job, of whatever task, is an event that brings new credentials */

/* The run of this job: an earlier attempt's, else a new one. Waits. As run_new_id. */
int task_run(struct attempt *a) __attribute__((warn_unused_result));

/* "full" | "incremental" of args.mode; full where it is missing. -EINVAL with ERR_BAD_JOB. */
int task_mode(struct attempt *a, const char **mode) __attribute__((warn_unused_result));

#endif
