#include "worker/tasks/tasks.h"

#include <errno.h>
#include <string.h>

#include "common/store/store.h"

static const struct task tasks[] = {
	{ "import_all_resources", task_import_all, false, true, false },
	{ "import_company_resources", task_import_company, false, true, false },
	{ "import_resources", task_import_resources, true, false, false },
	{ "import_resource", task_import_resource, true, false, false },
	{ "import_transactions", task_import_transactions, true, false, false },
	{ "import_media", task_import_media, true, false, false },
	{ "lookup", task_lookup, true, false, true },
	{ "process_webhook", task_process_webhook, true, false, false },
	{ "notify", task_notify, false, true, false },
	{ "noop", task_noop, false, false, false },
};

const struct task *task_at(int i)
{
	const int own = sizeof(tasks) / sizeof(tasks[0]);

	if (i < 0 || i < own)
		return i < 0 ? NULL : &tasks[i];
	for (const struct task *t = extra_tasks; t && t->name; t++)
		if (i-- == own)
			return t;
	return NULL;
}

const struct task *task_find(const char *name)
{
	const struct task *t;

	for (int i = 0; (t = task_at(i)); i++)
		if (!strcmp(t->name, name))
			return t;
	return NULL;
}

/* In the queue of no partner a lookup is by kind. */
static const struct task lookup_kind = { "lookup", task_lookup_kind, false, true, false };
static const struct task action = { "action", task_action, true, false, false };

const struct task *task_known(const struct driver *d, const char *name)
{
	const struct task *t = task_find(name);

	if (t && !d && t->run == task_lookup)
		return &lookup_kind;
	return !t && d && manifest_action(d->manifest, name) ? &action : t;
}

int task_mode(struct attempt *a, const char **mode)
{
	const cJSON *m = a->job.args ? json_path(a->job.args, "mode") : NULL;

	*mode = "full";
	if (!m)
		return 0;
	if (!cJSON_IsString(m) ||
	    (strcmp(m->valuestring, "full") && strcmp(m->valuestring, "incremental")))
		return err_set(&a->err, -EINVAL, ERR_BAD_JOB, "args.mode",
			       "args.mode must be \"full\" or \"incremental\"");
	*mode = m->valuestring;
	return 0;
}

int task_run(struct attempt *a)
{
	int rc = 0;

	/* One that died ('0': given back or reaped) had no settlement to leave it in. */
	if (!a->run_id && a->lease.member[0] == '0')
		rc = run_find(a->worker->pg, a->job.task, a->job_id, a->lease.header.born_ms,
			      &a->run_id, &a->run_told, &a->err);
	if (rc < 0 || a->run_id)
		return rc;
	return run_new_id(a->worker->pg, &a->run_id, &a->err);
}

/* For measuring the way of a job without what it does. */
int task_noop(struct attempt *a)
{
	return 0;
}
