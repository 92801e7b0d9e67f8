/* What hangs on the items of a page by calls of its own: jobs that read the lists of so many parents each. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/crypto.h"
#include "worker/room.h"
#include "worker/runs.h"
#include "worker/tasks/page.h"

#define DAY_US (86400 * INT64_C(1000000))
#define PARENTS_A_JOB 50

static const char *task_of(enum row_table t)
{
	return t == ROW_RESOURCES      ? "import_resources"
	       : t == ROW_TRANSACTIONS ? "import_transactions"
				       : "import_media";
}

/* The same parents of the same job's page have the same name: an attempt that died between this and the checkpoint queued
 * them already.  Others than then (the page has moved, fewer were due) have another one, and are queued. */
static void name_of_child(const struct import *im, const cJSON *args, char out[JOB_ID_MAX])
{
	struct buf all = BUF_INIT;
	char hex[41];

	buf_printf(&all, "%s ", im->a->lease.header.id);
	json_print(args, &all);
	crypto_sha1_hex(all.data, all.len, hex);
	snprintf(out, JOB_ID_MAX, "fan-%s", hex);
	buf_clear(&all);
}

static int push_parents(struct import *im, const struct manifest_collection *c, cJSON *parents)
{
	struct attempt *a = im->a;
	struct buf payload = BUF_INIT;
	cJSON *args = cJSON_CreateObject();
	char name[JOB_ID_MAX];
	bool fresh = false;
	int rc;

	cJSON_AddStringToObject(args, "collection", c->name);
	cJSON_AddItemToObject(args, "parents", parents);
	cJSON_AddStringToObject(args, "import", import_id(a));
	if (im->force)
		cJSON_AddTrueToObject(args, "force");
	if (im->all_children)
		cJSON_AddStringToObject(args, CHILDREN_ARG, "all");
	job_print(&payload, task_of(c->table), a->integration->id, args,
		  im->run.root_id ? im->run.root_id : im->run.id, a->job_id);
	job_print_run_home(&payload, runs_home(a, im->run.root_id ? im->run.root_id : im->run.id));
	struct queue_push push = { .lane = c->lane,
				   .integration = a->integration->id,
				   .id = name,
				   .payload = payload.data,
				   .len = payload.len };
	name_of_child(im, args, name);
	rc = runs_spawn(a, &push, &fresh);
	if (fresh)
		room_take(a->partner, push.lane, 1);
	cJSON_Delete(args);
	buf_clear(&payload);
	return rc;
}

/* What is over is not asked for again; of what nobody knows when it ends, it is. */
static bool is_over(const struct import *im, const struct manifest_collection *c,
		    const struct rows *parents, int i)
{
	int64_t now = redis_now_us(im->a->worker->redis);
	const struct row_value *v;
	int column = c->upcoming ? row_column_find(parents->c->table, c->upcoming) : -1, n;

	if (column < 0)
		return false;
	v = &parents->v[i].values[column];
	if (row_columns(parents->c->table, &n)[column].type == ROW_DATE)
		return v->set && v->v.i < now / DAY_US - 1; /* it is still that day somewhere */
	return v->set && v->v.i < now;
}

/* An attempt that died between the rows and this left a page that looks unchanged now, or stale, and nothing queued. */
static bool is_due(const struct import *im, const struct manifest_collection *c,
		   const struct rows *parents, int i)
{
	enum row_outcome o = parents->outcomes[i];

	if (o == ROW_FAILED || is_over(im, c, parents, i))
		return false;
	if (im->redo || im->all_children)
		return true;
	return o != ROW_STALE && (!c->when_changed || o != ROW_UNCHANGED);
}

/* Some go into one job, and the rest waits for more. */
static int add_parent(struct import *im, const struct manifest_collection *c, const char *id,
		      cJSON **list)
{
	cJSON *full;

	if (!*list)
		*list = cJSON_CreateArray();
	cJSON_AddItemToArray(*list, cJSON_CreateString(id));
	if (cJSON_GetArraySize(*list) < PARENTS_A_JOB)
		return 0;
	full = *list;
	*list = NULL;
	return push_parents(im, c, full);
}

static bool is_due_here(const struct import *im, const struct manifest_collection *c,
			const struct rows *parents, const char *external_id)
{
	for (int i = 0; i < parents->n; i++)
		if (strcmp(parents->v[i].external_id, external_id) == 0)
			return is_due(im, c, parents, i);
	return false;
}

/* Queued now, not with the settlement: the checkpoint is about to move past this page.  What others have become has their children as we
 * have them: its own list says which the partner gave it, changed or not. */
int children_queue(struct import *im, const struct manifest_collection *c,
		   const struct rows *parents)
{
	const struct rows *gone = parents->gone;
	size_t prefix = strlen(parents->c->id_prefix);
	cJSON *list = NULL;
	int rc = 0;

	for (int i = 0; rc == 0 && i < parents->n; i++)
		if (is_due(im, c, parents, i))
			rc = add_parent(im, c, rows_partner_id(parents, i), &list);
	for (int i = 0; rc == 0 && i < gone->n_heirs; i++)
		if (!is_due_here(im, c, parents, gone->heirs[i]))
			rc = add_parent(im, c, gone->heirs[i] + prefix, &list);
	if (rc == 0 && list)
		return push_parents(im, c, list);
	cJSON_Delete(list);
	return rc;
}
