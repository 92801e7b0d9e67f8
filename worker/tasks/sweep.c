#include "worker/tasks/sweep.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/log.h"
#include "common/base/mem.h"
#include "common/base/metrics.h"
#include "common/store/sweep.h"

#define SHARE_SETTING "deletes_brake"
#define FEW_SETTING "deletes_few"

/* ---- whose rows ---- */

/* Longer prefixes of other collections in the table, of all versions of the driver: rows of one that the integration had
 * before are nobody's to mark. */
static void add_others(struct sweep *s, const struct manifest *m,
		       const struct manifest_collection *c)
{
	size_t own = strlen(c->id_prefix);

	for (int i = 0; i < m->n_collections; i++) {
		const struct manifest_collection *o = &m->collections[i];

		if (o->table != c->table || strlen(o->id_prefix) <= own ||
		    strncmp(o->id_prefix, c->id_prefix, own) != 0)
			continue;
		s->others = mem_realloc((void *)s->others,
					sizeof(*s->others) * (size_t)(s->n_others + 1));
		((const char **)s->others)[s->n_others++] = o->id_prefix;
	}
}

static const char *kind_of(const struct manifest_collection *c)
{
	for (int i = 0; i < c->n_map; i++)
		if (!strcmp(c->map[i].name, "kind") && cJSON_IsString(c->map[i].constant))
			return c->map[i].constant->valuestring;
	return NULL;
}

static bool goes_with(const struct manifest_collection *c, const struct manifest_collection *parent)
{
	return c->each && !strcmp(c->each, parent->name) && c->deletes.by == DELETES_SCAN_OF_PARENT;
}

/* Freed with whose_clear. */
static struct sweep whose(const struct import *im, const struct manifest_collection *c)
{
	const struct manifest *m = im->a->driver->manifest;
	const struct driver *base = driver_find(im->a->worker->drivers, im->a->partner);
	struct sweep s = { .table = c->table,
			   .integration_id = im->a->integration->id,
			   .prefix = c->id_prefix,
			   .run_id = im->run.id,
			   .kind = kind_of(c) };
	struct sweep *children = mem_zalloc(sizeof(*children) * (size_t)(m->n_collections + 1));

	add_others(&s, m, c);
	add_others(&s, base->manifest, c);
	for (int i = 0; i < base->manifest->n_adapters; i++)
		add_others(&s, base->manifest->adapters[i].manifest, c);
	for (int i = 0; i < m->n_collections; i++)
		if (goes_with(&m->collections[i], c))
			children[s.n_children++] = whose(im, &m->collections[i]);
	s.children = children;
	return s;
}

static void whose_clear(struct sweep *s)
{
	for (int i = 0; i < s->n_children; i++)
		whose_clear((struct sweep *)&s->children[i]);
	free((void *)s->children);
	free((void *)s->others);
}

/* ---- marking ---- */
static int on_marked(enum row_table table, int64_t n, void *arg)
{
	struct import *im = arg;
	struct attempt *a = im->a;

	im->run.counts.deleted += n;
	metric_add(metrics_counter("integration_rows_total", "Rows by what became of them.",
				   "partner", a->partner, "table", row_table_name(table), "outcome",
				   "deleted", NULL),
		   n);
	return attempt_holds_lease(a) ? 0 : -ESTALE;
}

/* Between the slices of a whole collection's: what is marked stays so, and the place says that its list has ended. */
static int on_marked_whole(enum row_table table, int64_t n, void *arg)
{
	struct import *im = arg;
	int rc = on_marked(table, n, arg);

	if (rc < 0 || !attempt_should_yield(im->a))
		return rc;
	im->yielded = true;
	attempt_continue(im->a);
	return -EINTR;
}

static int64_t deleted_since(const struct import *im, int64_t before)
{
	return im->run.counts.deleted - before;
}

static void log_deleted(const struct import *im, const char *collection, int64_t n)
{
	if (n)
		log_event(LOG_INFO, "rows_deleted", LS("collection", collection), LI("rows", n));
}

/* ---- the brake ---- */
struct brake {
	double share;
	int64_t few;
};

static struct brake brake_of(const struct import *im, const struct manifest_collection *c)
{
	const cJSON *settings = im->a->integration->settings;
	const char *share = json_str(settings, SHARE_SETTING),
		   *few = json_str(settings, FEW_SETTING);
	struct brake b = { c->deletes.brake, c->deletes.few };

	if (share)
		b.share = strtod(share, NULL);
	if (few)
		b.few = strtoll(few, NULL, 10);
	return b;
}

static bool is_too_much(const struct brake *b, int64_t n, int64_t of)
{
	return n > b->few && (double)n > b->share * (double)of;
}

static int hold(struct import *im, const struct manifest_collection *c, const struct sweep *s,
		const struct sweep_counts *n)
{
	struct braked h = { im->run.id, c->name, s, n };

	import_note(im,
		    "%s: %lld of %lld rows were not seen: none of them is marked deleted before"
		    " `longshore run confirm-deletes %lld`",
		    c->name, (long long)n->unseen, (long long)n->live, (long long)im->run.id);
	log_event(LOG_WARN, "deletions_held", LS("collection", c->name), LI("run", im->run.id),
		  LI("unseen", n->unseen), LI("of", n->live));
	return brake_hold(im->a->worker->pg, &h, &im->a->err);
}

/* ---- a whole collection ---- */
bool sweep_wanted(const struct import *im, const struct manifest_collection *c,
		  const char *parent_id)
{
	if (parent_id)
		return c->deletes.by == DELETES_SCAN_OF_PARENT;
	return c->deletes.by == DELETES_FULL_SCAN && !strcmp(im->mode, "full");
}

/* What earlier runs held of it, and of what comes with it, is decided anew. */
static int supersede(struct import *im)
{
	struct attempt *a = im->a;
	const struct manifest *m = a->driver->manifest;
	const char **names = mem_alloc(sizeof(*names) * (size_t)(m->n_collections + 1));
	int n = 0, rc;

	names[n++] = im->collection->name;
	for (int i = 0; i < m->n_collections; i++)
		if (goes_with(&m->collections[i], im->collection))
			names[n++] = m->collections[i].name;
	rc = brake_supersede(a->worker->pg, a->integration->id, im->run.id, names, n, &a->err);
	free(names);
	return rc;
}

/* Whether the list of the collection, or of a parent, left something out. */
static int left_out(struct import *im, const char *parent, bool *out)
{
	struct sweep s = whose(im, im->collection);
	struct sweep_counts n = { 0 };
	int rc;

	s.parents = parent ? &parent : NULL;
	s.n_parents = parent ? 1 : 0;
	s.before_us = im->place.began_us;
	rc = sweep_count(im->a->worker->pg, &s, &n, &im->a->err);
	whose_clear(&s);
	*out = rc == 0 && n.unseen;
	return rc;
}

static const char *row_of_parent(const struct import *im, const char *parent_id)
{
	const struct manifest_collection *parent =
		manifest_collection(im->a->driver->manifest, im->collection->each);

	return arena_printf(im->a->arena, "%s%s", parent->id_prefix, parent_id);
}

int sweep_asks_on(struct import *im, struct pager *pg, const char *parent_id, bool *on)
{
	int rc = left_out(im, parent_id ? row_of_parent(im, parent_id) : NULL, on);

	if (rc == 0 && *on)
		pager_go_on(pg);
	return rc;
}

/* NULL: it is proof. */
static const char *no_proof(const struct import *im, const struct pager *pg)
{
	const char *why = NULL;

	if (pager_records(pg) == 0)
		return "the list was empty";
	if (im->place.unnamed)
		return "of some items nobody can tell which they are";
	return pager_proves(pg, &why) ? NULL : why;
}

static int look_again(struct import *im, int64_t unseen, bool *again)
{
	cJSON *start = cJSON_CreateObject();

	cJSON_AddBoolToObject(start, "restart", true);
	log_event(LOG_INFO, "scan_repeated", LS("collection", im->collection->name),
		  LI("unseen", unseen),
		  LS("reason", "a list of several pages may have moved while it was read"));
	im->place.looks++;
	*again = true;
	return place_move(im, start);
}

static int mark(struct import *im, const struct sweep *s, const struct pager *pg)
{
	struct attempt *a = im->a;
	struct sweep_fence fence = { im->collection->name, a->lease.header.id, a->lease.generation,
				     a->lease.fence, redis_now_ms(a->worker->redis) };
	int64_t before = im->run.counts.deleted;
	int rc = place_move(im, pager_state(pg));

	if (rc == 0)
		rc = sweep_run(a->worker->pg, s, &fence, on_marked_whole, im, &a->err);
	log_deleted(im, im->collection->name, deleted_since(im, before));
	return rc == -EINTR ? 0 : rc;
}

static int decide(struct import *im, const struct sweep *s, const struct pager *pg, bool *again,
		  bool *decided)
{
	struct brake b = brake_of(im, im->collection);
	const char *why = no_proof(im, pg);
	struct sweep_counts n = { 0 };
	int rc = sweep_count(im->a->worker->pg, s, &n, &im->a->err);

	*decided = !why || !n.unseen;
	/* What a late answer brought of rows that were marked before goes all the same. */
	if (rc == 0 && !n.unseen && !why && s->n_children)
		return sweep_run(im->a->worker->pg, s, NULL, on_marked, im, &im->a->err);
	if (rc < 0 || !n.unseen)
		return rc;
	if (why) {
		import_note(im, "%s: %lld rows were not seen, and are kept: %s",
			    im->collection->name, (long long)n.unseen, why);
		log_event(LOG_WARN, "scan_no_proof", LS("collection", im->collection->name),
			  LI("unseen", n.unseen), LS("reason", why));
		return 0;
	}
	if (pager_filled(pg) > 1 && !im->place.looks)
		return look_again(im, n.unseen, again);
	return is_too_much(&b, n.unseen, n.live) ? hold(im, im->collection, s, &n)
						 : mark(im, s, pg);
}

int sweep_scanned(struct import *im, const struct pager *pg, bool *again)
{
	struct sweep s = whose(im, im->collection);
	bool decided = false;
	int rc;

	*again = false;
	s.before_us = im->place.began_us;
	rc = decide(im, &s, pg, again, &decided);
	whose_clear(&s);
	if (rc == 0 && decided && !*again && !im->yielded)
		rc = supersede(im);
	return rc;
}

/* ---- parents' lists ---- */
void sweep_parents_add(struct sweep_parents *s, const char *external_id, int64_t before_us)
{
	if (s->n == s->cap) {
		s->cap = s->cap ? 2 * s->cap : 16;
		s->ids = mem_realloc(s->ids, sizeof(*s->ids) * (size_t)s->cap);
	}
	s->ids[s->n++] = external_id;
	if (!s->before_us || before_us < s->before_us)
		s->before_us = before_us;
}

void sweep_parents_clear(struct sweep_parents *s)
{
	free(s->ids);
	*s = (struct sweep_parents){ .c = s->c };
}

int sweep_parents_run(struct import *im, struct sweep_parents *p)
{
	struct attempt *a = im->a;
	struct brake b = brake_of(im, p->c);
	struct sweep s = whose(im, p->c);
	struct sweep_counts n = { 0 };
	int64_t before = im->run.counts.deleted;
	int rc = 0;

	s.parents = p->ids;
	s.n_parents = p->n;
	s.before_us = p->before_us;
	if (p->n)
		rc = sweep_count(a->worker->pg, &s, &n, &a->err);
	if (rc == 0 && n.unseen) {
		bool much = is_too_much(&b, n.with_unseen, n.parents) &&
			    is_too_much(&b, n.unseen, n.live);

		rc = much ? hold(im, p->c, &s, &n)
			  : sweep_run(a->worker->pg, &s, NULL, on_marked, im, &a->err);
	}
	log_deleted(im, p->c->name, deleted_since(im, before));
	whose_clear(&s);
	sweep_parents_clear(p);
	return rc;
}

int sweep_parent(struct import *im, const struct pager *pg, const char *parent_id, bool *again)
{
	const char *id = row_of_parent(im, parent_id);
	int rc = 0;

	if (no_proof(im, pg))
		return 0;
	if (pager_filled(pg) > 1 && !im->place.looks)
		rc = left_out(im, id, again);
	if (*again)
		im->place.looks++;
	else if (rc == 0)
		sweep_parents_add(im->parents, id, im->place.began_us);
	return rc;
}

int sweep_orphans(struct import *im, const struct manifest_collection *c, const char *const *ids,
		  int n, int64_t before_us)
{
	const struct manifest *m = im->a->driver->manifest;
	int rc = 0;

	for (int i = 0; i < m->n_collections && rc == 0 && n; i++) {
		struct sweep s;

		if (!goes_with(&m->collections[i], c))
			continue;
		s = whose(im, &m->collections[i]);
		s.parents = ids;
		s.n_parents = n;
		s.before_us = before_us;
		rc = sweep_run(im->a->worker->pg, &s, NULL, on_marked, im, &im->a->err);
		whose_clear(&s);
	}
	return rc;
}
