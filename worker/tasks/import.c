/* The tasks that import a table: each collection that stands by itself, or those that are listed for each parent. */
#include "worker/tasks/import.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/log.h"
#include "common/base/mem.h"
#include "worker/tasks/sweep.h"
#include "worker/tasks/units.h"

/* What the partner says of this parent alone, or has too much of for this parent alone. */
static bool is_of_parent(const struct attempt *a, int rc)
{
	if (rc == -EREMOTEIO && a->err.action != ACT_NONE)
		return a->err.action == ACT_SET_ASIDE;
	return (rc == -EREMOTEIO || rc == -EBADMSG) &&
	       (a->err.class == ERR_CLIENT || a->err.class == ERR_DATA ||
		(a->err.class == ERR_MEMORY && a->small));
}

static int set_parent_aside(struct import *im, const struct manifest_collection *c, const char *id)
{
	struct attempt *a = im->a;
	struct rejected r = { .integration_id = a->integration->id,
			      .run_id = im->run.id,
			      .collection = c->name,
			      .parent_id = id,
			      .reason = a->err.text,
			      .job_id = a->job_id,
			      .import_id = import_id(a) };

	im->run.counts.failed++;
	log_event(LOG_WARN, "parent_set_aside", LS("collection", c->name), LS("parent", id),
		  LS("class", err_class_name(a->err.class)), LS("reason", a->err.text));
	return sink_rejected(a->worker->sink, &r, attempt_deadline_ms(a), &a->err);
}

struct parents {
	const struct manifest_collection *c;
	const char **ids;
	int n, refused;
};

/* A parent that the partner refuses is set aside and the others go on; where it refuses them all, it is the call that is wrong, and
 * the job's. */
static int scan_parent(struct import *im, int64_t first, int n, void *arg)
{
	struct parents *p = arg;
	struct attempt *a = im->a;
	int rc = import_room(im, p->c);

	if (rc < 0)
		return rc;
	rc = import_scan(im, p->c, p->ids[first]);
	if (rc < 0 && is_of_parent(a, rc) &&
	    (a->err.action == ACT_SET_ASIDE || ++p->refused < p->n))
		rc = set_parent_aside(im, p->c, p->ids[first]);
	return rc;
}

/* Parents are done once what their lists left out is marked: one that fails, or has to wait, keeps what is done, and where
 * it cannot be marked they are looked at again. */
static int walk_parents(struct import *im, const struct units *u)
{
	struct attempt *a = im->a;
	int64_t step = a->step, beyond = a->beyond;
	int rc = units_run(im, u), swept = 0;
	struct err first = a->err;

	if (rc == -ECANCELED || rc == -ESTALE)
		swept = im->parents->n ? rc : 0;
	else
		swept = sweep_parents_run(im, im->parents);
	if (swept < 0) {
		a->step = step;
		a->beyond = beyond;
	}
	if (rc == 0) {
		im->yielded = im->yielded && swept == 0;
		return swept;
	}
	if (swept < 0 && swept != rc)
		log_event(LOG_WARN, "parents_not_swept", LS("reason", a->err.text));
	a->err = first;
	return rc;
}

static int scan_parents(struct import *im, const struct manifest_collection *c,
			const cJSON *parents)
{
	struct sweep_parents looked = { .c = c };
	struct parents p = { .c = c };
	struct units u = { .per = 1, .parallel = c->parallel, .run = scan_parent, .arg = &p };
	const cJSON *v;
	int rc = 0;

	p.ids = mem_alloc(sizeof(*p.ids) * (size_t)(cJSON_GetArraySize(parents) + 1));
	cJSON_ArrayForEach (v, parents) {
		if (!cJSON_IsString(v))
			rc = err_set(&im->a->err, -EINVAL, ERR_BAD_JOB, "args.parents",
				     "args.parents must be an array of ids (text)");
		p.ids[p.n++] = v->valuestring;
	}
	u.n = p.n;
	im->collection = c;
	im->parents = &looked;
	if (rc == 0)
		rc = walk_parents(im, &u);
	im->parents = NULL;
	sweep_parents_clear(&looked);
	free(p.ids);
	return rc;
}

static int by_parents(struct import *im, enum row_table t, const cJSON *parents)
{
	struct attempt *a = im->a;
	const char *name = json_str(a->job.args, "collection");
	const struct manifest_collection *c =
		name ? manifest_collection(a->driver->manifest, name) : NULL;

	if (!cJSON_IsArray(parents))
		return err_set(&a->err, -EINVAL, ERR_BAD_JOB, "args.parents",
			       "args.parents must be an array of ids (text)");
	if (!c || c->table != t || !c->each || c->embedded)
		return err_set(
			&a->err, -EINVAL, ERR_BAD_JOB, "args.collection",
			"args.parents needs args.collection: a collection of %s that is called for each parent; \"%.60s\" is none",
			a->partner, name ? name : "");
	im->run.collection = c->name; /* a part, which stands for no complete import */
	return scan_parents(im, c, parents);
}

/* All collections of a table that stand by themselves. */
static int scan_table(struct import *im, enum row_table t)
{
	const struct manifest *m = im->a->driver->manifest;
	int found = 0, rc = 0;

	for (int i = 0; rc == 0 && !im->yielded && i < m->n_collections; i++) {
		const struct manifest_collection *c = &m->collections[i];

		if (c->table != t || c->each)
			continue;
		found++;
		rc = import_scan(im, c, NULL);
	}
	if (!found)
		return err_set(
			&im->a->err, -EINVAL, ERR_BAD_JOB, "no such operation",
			"partner %s lists no %s by themselves: they come with what they belong to",
			im->a->partner, row_table_name(t));
	return rc;
}

static bool has_collection(const struct manifest *m, enum row_table t)
{
	for (int i = 0; i < m->n_collections; i++)
		if (m->collections[i].table == t)
			return true;
	return false;
}

static int import_table(struct attempt *a, enum row_table t)
{
	struct import im = { 0 };
	const cJSON *parents = a->job.args ? json_path(a->job.args, "parents") : NULL;
	int rc;

	if (!has_collection(a->driver->manifest, t))
		return err_set(&a->err, -EINVAL, ERR_BAD_JOB, "no such operation",
			       "partner %s has no collection of %s: its manifest declares none",
			       a->partner, row_table_name(t));
	rc = import_begin(&im, a);
	if (rc < 0)
		return rc;
	rc = parents ? by_parents(&im, t, parents) : scan_table(&im, t);
	return import_end(&im, rc);
}

/* ---- the tasks ---- */
static bool stands_alone(const struct manifest *m, enum row_table t)
{
	for (int i = 0; i < m->n_collections; i++)
		if (m->collections[i].table == t && !m->collections[i].each)
			return true;
	return false;
}

/* How it is done is how they are done.  NULL: as usual. */
static cJSON *args_of_children(const cJSON *args)
{
	static const char *const handed_on[] = { "mode", "force", CHILDREN_ARG };
	cJSON *out = NULL;

	for (size_t i = 0; i < ARRAY_LEN(handed_on); i++) {
		const cJSON *v = args ? json_path(args, handed_on[i]) : NULL;

		if (v && !out)
			out = cJSON_CreateObject();
		if (v)
			cJSON_AddItemToObject(out, handed_on[i], cJSON_Duplicate(v, 1));
	}
	return out;
}

int task_import_resources(struct attempt *a)
{
	int rc = import_table(a, ROW_RESOURCES);
	bool parents = a->job.args && json_path(a->job.args, "parents");
	int64_t root = a->job.run_id ? a->job.run_id : a->run_id;

	if (rc < 0 || a->goes_on || parents)
		return rc;
	/* The children of an import: what is listed beside the resources. */
	cJSON *args = args_of_children(a->job.args);
	if (stands_alone(a->driver->manifest, ROW_TRANSACTIONS))
		attempt_child(a, NULL, a->lease.lane, "import_transactions", a->integration->id,
			      args, root);
	if (stands_alone(a->driver->manifest, ROW_MEDIA))
		attempt_child(a, NULL, LANE_LOW, "import_media", a->integration->id, args, root);
	cJSON_Delete(args);
	return 0;
}

int task_import_transactions(struct attempt *a)
{
	return import_table(a, ROW_TRANSACTIONS);
}

int task_import_media(struct attempt *a)
{
	return import_table(a, ROW_MEDIA);
}
