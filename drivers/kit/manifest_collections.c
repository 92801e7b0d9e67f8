/* Checks of the collections: what they need, and whom they name. */
#include <string.h>

#include "common/base/mem.h"
#include "drivers/kit/manifest_read.h"

#define FAMILY_MAX 8 /* parents above a collection; more is a circle or a mistake */

static struct manifest_collection *collection_at(struct manifest_reader *r, int i)
{
	/* The reader made them, in its arena: the const is for those who come after. */
	return (struct manifest_collection *)r->owner->m.collections + i;
}

static const char *sub(struct manifest_reader *r, const char *path, const char *key)
{
	return arena_printf(r->arena, "%s.%s", path, key);
}

/* The collection that is named at path.key; a problem, and NULL, where there is none. */
static const struct manifest_collection *named(struct manifest_reader *r, const char *path,
					       const char *key, const char *name)
{
	const struct manifest *m = &r->owner->m;
	const struct manifest_collection *c = manifest_collection(m, name);
	const char **names = arena_alloc(r->arena, sizeof(*names) * (size_t)(m->n_collections + 1));

	if (c)
		return c;
	for (int i = 0; i < m->n_collections; i++)
		names[i] = m->collections[i].name;
	reader_problem_at(r, sub(r, path, key), "there is no collection \"%s\"%s", name,
			  reader_nearest(r, name, names, m->n_collections));
	return NULL;
}

static bool is_mapped(const struct manifest_collection *c, const char *column)
{
	for (int i = 0; i < c->n_map; i++)
		if (strcmp(c->map[i].name, column) == 0)
			return true;
	return false;
}

/* Follows `each` upwards; false where it comes round. */
static bool family_ends(const struct manifest *m, const struct manifest_collection *c)
{
	for (int n = 0; c && c->each; n++) {
		if (n == FAMILY_MAX)
			return false;
		c = manifest_collection(m, c->each);
	}
	return true;
}

/* A column of time or of date: what else there is can't be over. */
static void check_upcoming(struct manifest_reader *r, const struct manifest_collection *c,
			   const struct manifest_collection *parent, const char *path)
{
	const char *at = sub(r, path, "upcoming");
	int n, k = c->upcoming ? row_column_find(parent->table, c->upcoming) : -1;
	const struct row_column *columns = row_columns(parent->table, &n);
	bool found = k >= 0 && is_mapped(parent, c->upcoming) &&
		     (columns[k].type == ROW_TIME || columns[k].type == ROW_DATE);

	if (!c->upcoming)
		return;
	if (c->embedded)
		reader_problem_at(r, at, "means nothing with \"embedded\": it costs no call");
	if (!found)
		reader_problem_at(r, at, "\"%s\" is no mapped column of time or date of \"%s\"",
				  c->upcoming, parent->name);
}

static void check_each(struct manifest_reader *r, const struct manifest_collection *c,
		       const char *path)
{
	const struct manifest_collection *parent;
	const char **names;

	if (!c->each) {
		if (c->embedded)
			reader_problem_at(r, sub(r, path, "embedded"),
					  "needs \"each\", the collection it is embedded in");
		if (c->when_changed)
			reader_problem_at(r, sub(r, path, "when_changed"),
					  "needs \"each\", whose column it is");
		if (c->upcoming)
			reader_problem_at(r, sub(r, path, "upcoming"),
					  "needs \"each\", whose column it is");
		return;
	}
	parent = named(r, path, "each", c->each);
	if (!parent)
		return;
	if (!family_ends(&r->owner->m, c))
		reader_problem_at(r, sub(r, path, "each"),
				  "comes round to itself, or is over %d deep", FAMILY_MAX);
	check_upcoming(r, c, parent, path);
	if (!c->when_changed || is_mapped(parent, c->when_changed))
		return;
	names = arena_alloc(r->arena, sizeof(*names) * (size_t)(parent->n_map + 1));
	for (int i = 0; i < parent->n_map; i++)
		names[i] = parent->map[i].name;
	reader_problem_at(r, sub(r, path, "when_changed"), "\"%s\" is no mapped column of \"%s\"%s",
			  c->when_changed, parent->name,
			  reader_nearest(r, c->when_changed, names, parent->n_map));
}

/* Embedded items come with their parent: whatever fetches has no meaning for them. */
static void check_embedded(struct manifest_reader *r, const struct manifest_collection *c,
			   const char *path)
{
	const struct {
		const char *name;
		bool given;
	} keys[] = {
		{ "get", c->get != NULL },         { "query", c->query.n > 0 },
		{ "post", c->post != NULL },       { "json", c->json != NULL },
		{ "records", c->records != NULL }, { "incremental", c->incremental.on },
		{ "detail", c->detail != NULL },
	};

	for (size_t i = 0; i < ARRAY_LEN(keys); i++)
		if (keys[i].given)
			reader_problem_at(r, sub(r, path, keys[i].name),
					  "means nothing with \"embedded\"");
}

static void check_fetched(struct manifest_reader *r, const struct manifest_collection *c,
			  const char *path)
{
	if (!c->get && !c->post)
		reader_problem_at(r, sub(r, path, "get"),
				  "missing (or \"embedded\", for what comes with its parent)");
	else if (c->get && c->get[0] != '/')
		reader_problem_at(r, sub(r, path, "get"), "a path begins with /");
	if (c->incremental.step_ms && !c->incremental.lookback_first_ms)
		reader_problem_at(r, sub(r, path, "incremental.lookback_first"),
				  "missing: windows of \"step\" begin there");
	manifest_check_paged(r, c, path);
	if (c->detail && c->detail[0] != '/')
		reader_problem_at(r, sub(r, path, "detail.get"), "a path begins with /");
	if (c->incremental.on && !c->updated_at)
		reader_problem_at(
			r, sub(r, path, "updated_at"),
			"missing: \"incremental\" goes on from the newest that is stored");
}

static void check_belongs(struct manifest_reader *r, const struct manifest_collection *c,
			  const char *path)
{
	const struct manifest_collection *to;

	if (!c->belongs_collection)
		return;
	to = named(r, path, "belongs_to.collection", c->belongs_collection);
	if (to && to->table != ROW_RESOURCES)
		reader_problem_at(
			r, sub(r, path, "belongs_to.collection"),
			"\"%s\" is not in the table resources, and only a resource can be belonged to",
			to->name);
	if (row_column_find(c->table, "resource_external_id") < 0)
		reader_problem_at(r, sub(r, path, "belongs_to"),
				  "the table %s has no column for it", row_table_name(c->table));
	if (c->each)
		reader_problem_at(r, sub(r, path, "belongs_to"),
				  "means nothing with \"each\": the parent is known");
}

/* Ids of two collections in one table must not meet, but for queues: those are news of the same items. */
static void check_prefix(struct manifest_reader *r, int i, const char *path)
{
	const struct manifest_collection *c = collection_at(r, i);

	for (int k = 0; k < i && c->id_prefix; k++) {
		const struct manifest_collection *o = collection_at(r, k);

		if (o->paging.kind == PAGING_ACK_QUEUE && c->paging.kind == PAGING_ACK_QUEUE)
			continue;
		if (o->id_prefix && o->table == c->table && o->columns && c->columns &&
		    strcmp(o->id_prefix, c->id_prefix) == 0)
			reader_problem_at(
				r, sub(r, path, "id_prefix"),
				"\"%s\" is the prefix of \"%s\" too, in the same table: ids would meet",
				c->id_prefix, o->name);
	}
}

/* What a scan proves, and of whom. */
static void check_deletes(struct manifest_reader *r, const struct manifest_collection *c,
			  const char *path)
{
	const struct manifest_collection *parent =
		c->each ? manifest_collection(&r->owner->m, c->each) : NULL;
	const char *at = sub(r, path, "deletes");

	if (c->deletes.by == DELETES_FULL_SCAN && c->each)
		reader_problem_at(
			r, at,
			"\"full_scan\" is for what is listed as a whole; what is of each of"
			" \"%s\" goes by \"scan_of_parent\"",
			c->each);
	if (c->deletes.by == DELETES_FULL_SCAN && c->paging.kind == PAGING_ACK_QUEUE)
		reader_problem_at(r, at,
				  "\"full_scan\" means nothing for a queue, which never holds all");
	if (c->deletes.by == DELETES_SCAN_OF_PARENT && !c->each)
		reader_problem_at(r, at, "\"scan_of_parent\" needs \"each\", the parent");
	if (c->deletes.by == DELETES_SCAN_OF_PARENT && parent &&
	    (parent->table != ROW_RESOURCES ||
	     row_column_find(c->table, "resource_external_id") < 0))
		reader_problem_at(
			r, at,
			"\"scan_of_parent\" is for rows that name their parent: of the tables transactions"
			" and media, with a parent in resources");
	if (c->deletes.value &&
	    (cJSON_IsArray(c->deletes.value) || cJSON_IsObject(c->deletes.value)))
		reader_problem_at(r, sub(r, at, "tombstone.value"),
				  "expected a text, a number, true, false or null");
}

/* A collection without paging of its own has the manifest's, which was checked. */
static bool has_own_paging(const struct manifest_reader *r, const struct manifest_collection *c)
{
	return memcmp(&c->paging, &r->owner->m.paging, sizeof(c->paging)) != 0;
}

static void check_collection(struct manifest_reader *r, int i)
{
	struct manifest_collection *c = collection_at(r, i);
	const char *path = arena_printf(r->arena, "collections.%s", c->name);

	if (!manifest_name_is_valid(c->name))
		reader_problem_at(r, path,
				  "\"%s\" cannot name a collection: 1 to 40 of a-z, 0-9 and _",
				  c->name);
	for (int k = 0; k < i; k++)
		if (strcmp(collection_at(r, k)->name, c->name) == 0)
			reader_problem_at(r, path, "given twice");
	check_each(r, c, path);
	if (c->embedded)
		check_embedded(r, c, path);
	else
		check_fetched(r, c, path);
	for (int k = 0; k < c->n_personal; k++)
		if (path_problem(c->personal[k], KEY_WILD))
			reader_problem_at(r, arena_printf(r->arena, "%s.personal[%d]", path, k),
					  "%s", path_problem(c->personal[k], KEY_WILD));
	if (has_own_paging(r, c))
		manifest_check_paging(r, &c->paging, sub(r, path, "pagination"));
	if (!c->columns) /* the table is not known */
		return;
	check_belongs(r, c, path);
	check_prefix(r, i, path);
	check_deletes(r, c, path);
	manifest_check_map(r, c, path);
}

void manifest_check_collections(struct manifest_reader *r)
{
	for (int i = 0; i < r->owner->m.n_collections; i++)
		check_collection(r, i);
}
