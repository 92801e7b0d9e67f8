/* Items by their ids: one, or many (args.external_ids), so many in one call as the partner can give. */
#include <errno.h>
#include <string.h>

#include "common/base/log.h"
#include "common/base/mem.h"
#include "worker/tasks/import.h"

#define IDS_MAX 1000 /* of a call: detail.batch.max */

static const struct manifest_collection *collection_of_item(struct attempt *a)
{
	const struct manifest *m = a->driver->manifest;
	const char *name = json_str(a->job.args, "collection");

	if (name)
		return manifest_collection(m, name);
	for (int i = 0; i < m->n_collections; i++)
		if (m->collections[i].table == ROW_RESOURCES && m->collections[i].detail)
			return &m->collections[i];
	return NULL;
}

/* Of a job of many the others go on. */
static int set_item_aside(struct import *im, const char *id)
{
	struct attempt *a = im->a;
	struct rejected r = { .integration_id = a->integration->id,
			      .run_id = im->run.id,
			      .collection = im->collection->name,
			      .external_id = id,
			      .reason = "the partner does not know it",
			      .job_id = a->job_id,
			      .import_id = import_id(a) };

	im->run.counts.failed++;
	log_event(LOG_WARN, "item_not_known", LS("collection", im->collection->name),
		  LS("item", id));
	return sink_rejected(a->worker->sink, &r, attempt_deadline_ms(a), &a->err);
}

static int import_one(struct import *im, const char *id, bool alone)
{
	struct attempt *a = im->a;
	struct page page = { 0 };
	int rc = fetch_item(&a->caller, im->collection, id, &page, &a->err);

	if (rc == -ENOENT && a->err.action != ACT_NONE)
		rc = -EREMOTEIO; /* the manifest says what follows */
	if (rc == -ENOENT && !alone)
		rc = set_item_aside(im, id);
	else if (rc == -ENOENT)
		rc = err_set(&a->err, -EINVAL, ERR_CLIENT, "404",
			     "%s: the partner does not know item %.80s", im->collection->name, id);
	else if (rc == 0)
		rc = import_page(im, &page, NULL);
	if (rc < 0)
		import_keep_exchange(a, &page);
	if (rc == -EREMOTEIO)
		rc = import_item_refused(im, id, rc);
	page_clear(&page);
	return rc;
}

static bool has_item(const struct page *page, const char *path, const char *id)
{
	struct buf text = BUF_INIT;
	bool found = false;

	for (int i = 0; i < page->n && !found; i++) {
		const cJSON *v = json_path(page->records[i], path);

		buf_reset(&text);
		found = v && json_scalar_text(v, &text) && strcmp(buf_str(&text), id) == 0;
	}
	buf_clear(&text);
	return found;
}

static int import_many(struct import *im, const char *const *ids, int n)
{
	struct attempt *a = im->a;
	struct page page = { 0 };
	int rc = fetch_items(&a->caller, im->collection, ids, n, &page, &a->err);

	if (rc == 0)
		rc = import_page(im, &page, NULL);
	for (int i = 0; i < n && rc == 0; i++)
		if (!has_item(&page, im->collection->id, ids[i]))
			rc = set_item_aside(im, ids[i]);
	if (rc < 0)
		import_keep_exchange(a, &page);
	page_clear(&page);
	return rc;
}

/* The next of them; how many there were, or an error. */
static int import_some(struct import *im, const cJSON **at)
{
	int max = im->collection->batch.get ? im->collection->batch.max : 1, n = 0, rc;
	const char **ids = mem_alloc(sizeof(*ids) * IDS_MAX);

	for (; *at && n < max; *at = (*at)->next)
		ids[n++] = (*at)->valuestring;
	rc = im->collection->batch.get ? import_many(im, ids, n) : import_one(im, ids[0], false);
	free(ids);
	return rc < 0 ? rc : n;
}

/* The job's header keeps how many are done. */
static int by_ids(struct import *im, const cJSON *ids)
{
	struct attempt *a = im->a;
	const cJSON *at = ids->child;
	int n = 0;

	for (int64_t i = 0; at && i < a->step; i++)
		at = at->next;
	while (at && n >= 0) {
		n = import_some(im, &at);
		if (n > 0)
			a->step += n;
		if (n > 0 && at && attempt_should_yield(a)) {
			im->yielded = true;
			attempt_continue(a);
			return 0;
		}
	}
	return n < 0 ? n : 0;
}

static bool are_ids(const cJSON *ids)
{
	const cJSON *v;

	if (!cJSON_IsArray(ids) || !ids->child)
		return false;
	cJSON_ArrayForEach (v, ids)
		if (!cJSON_IsString(v) || !*v->valuestring)
			return false;
	return true;
}

int task_import_resource(struct attempt *a)
{
	const char *id = a->job.args ? json_str(a->job.args, "external_id") : NULL;
	const cJSON *ids = a->job.args ? json_path(a->job.args, "external_ids") : NULL;
	struct import im = { .source = ROW_SINGLE };
	int rc;

	if (ids ? !are_ids(ids) || id : !id || !*id)
		return err_set(
			&a->err, -EINVAL, ERR_BAD_JOB, "args.external_id",
			"import_resource needs args.external_id: the partner's id, as text; or external_ids, a list of them");
	im.collection = collection_of_item(a);
	if (!im.collection || !im.collection->detail)
		return err_set(
			&a->err, -EINVAL, ERR_BAD_JOB, "args.collection",
			"partner %s has no collection with \"detail\" to fetch one item from",
			a->partner);
	rc = import_begin(&im, a);
	if (rc < 0)
		return rc;
	rc = ids ? by_ids(&im, ids) : import_one(&im, id, true);
	return import_end(&im, rc);
}
