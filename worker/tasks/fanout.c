/* import_all_resources -> import_company_resources -> import_resources: who is due.  Companies
 * fail independently, since each is a job. */
#include <errno.h>
#include <stdlib.h>

#include "common/io/loop.h"
#include "common/store/store.h"
#include "worker/sink.h"
#include "worker/tasks/owed.h"
#include "worker/tasks/tasks.h"

static int write_run(struct attempt *a, const char *state, int64_t children)
{
	int64_t now = redis_now_ms(a->worker->redis);
	struct run r = { .id = a->run_id,
			 .root_id = a->job.run_id,
			 .task = a->job.task,
			 .job_id = a->job_id,
			 .worker = a->worker->epoch,
			 .state = state,
			 .started_ms = now - (loop_now_ms() - a->started_ms),
			 .finished_ms = now,
			 .total = children,
			 .processed = children };

	return sink_run(a->worker->sink, &r, attempt_deadline_ms(a), &a->err);
}

static int64_t root_of(const struct attempt *a)
{
	return a->job.run_id ? a->job.run_id : a->run_id;
}

int task_import_all(struct attempt *a)
{
	int64_t *ids = NULL;
	const char *mode;
	int n = 0, rc = task_mode(a, &mode);

	if (rc == 0)
		rc = task_run(a);
	if (rc == 0)
		rc = owed_broken(a);
	if (rc == 0)
		rc = company_ids_due(a->worker->pg, &ids, &n, &a->err);
	for (int i = 0; rc == 0 && i < n; i++) {
		cJSON *args = cJSON_CreateObject();

		cJSON_AddNumberToObject(args, "company_id", (double)ids[i]);
		cJSON_AddStringToObject(args, "mode", mode);
		attempt_child(a, NULL, LANE_NORMAL, "import_company_resources", 0, args,
			      root_of(a));
		cJSON_Delete(args);
	}
	free(ids);
	return rc == 0 ? write_run(a, "done", n) : rc;
}

struct company_fan {
	struct attempt *a;
	const char *mode;
	struct owed owed;
	int n, rc;
};

static void add_integration(const struct integration *i, void *arg)
{
	struct company_fan *f = arg;
	cJSON *args;

	if (f->rc == 0)
		f->rc = owed_check(f->a, &f->owed, i);
	if (f->rc != 0) {
		f->rc = f->rc < 0 ? f->rc : 0;
		return;
	}
	args = cJSON_CreateObject();
	cJSON_AddStringToObject(args, "mode", f->mode);
	attempt_child(f->a, i->partner, LANE_NORMAL, "import_resources", i->id, args,
		      root_of(f->a));
	cJSON_Delete(args);
	f->n++;
}

int task_import_company(struct attempt *a)
{
	struct company_fan f = { .a = a };
	int64_t company;
	int rc;

	if (!a->job.args || !json_int(a->job.args, "company_id", &company) || company <= 0)
		return err_set(
			&a->err, -EINVAL, ERR_BAD_JOB, "args.company_id",
			"import_company_resources needs args.company_id: a number; `longshore company list` shows them");
	rc = task_mode(a, &f.mode);
	if (rc == 0)
		rc = task_run(a);
	if (rc == 0)
		rc = integration_each(a->worker->pg, company, NULL, "active", add_integration, &f,
				      &a->err);
	if (rc == 0)
		rc = f.rc < 0 ? f.rc : owed_write(a, &f.owed);
	owed_clear(&f.owed);
	return rc == 0 ? write_run(a, "done", f.n) : rc;
}
