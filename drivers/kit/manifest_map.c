/* Checks of a collection's map: columns that exist, values that fit them; and the set of columns. */
#include <string.h>

#include "common/base/mem.h"
#include "drivers/kit/manifest_read.h"
#include "drivers/kit/map_value.h"

static const char *const as_names[] = { "text", "int",   "number", "bool", "time",
					"date", "money", "json",   "url" };

/* What a column takes, when nothing else is said first. */
static const enum map_as fitting[][2] = {
	[ROW_TEXT] = { MAP_TEXT, MAP_URL },     [ROW_INT] = { MAP_INT, MAP_MONEY },
	[ROW_NUMBER] = { MAP_NUMBER, MAP_INT }, [ROW_BOOL] = { MAP_BOOL, MAP_BOOL },
	[ROW_TIME] = { MAP_TIME, MAP_TIME },    [ROW_DATE] = { MAP_DATE, MAP_DATE },
	[ROW_JSON] = { MAP_JSON, MAP_JSON },
};

static bool is_minor(const char *column)
{
	size_t n = strlen(column);

	return n > 6 && strcmp(column + n - 6, "_minor") == 0;
}

static void check_as(struct manifest_reader *r, struct manifest_column *k, enum row_type type,
		     const char *path)
{
	const enum map_as *fit = fitting[type];
	bool money = type == ROW_INT && is_minor(k->name);

	if (k->as == MAP_AS_COLUMN && money && k->path)
		reader_problem_at(
			r, path,
			"say \"as\": \"money\" (12.34 becomes 1234) or \"int\" (it is minor units already)");
	if (k->as == MAP_AS_COLUMN)
		k->as = fit[0];
	if (k->as != fit[0] && (k->as != fit[1] || (k->as == MAP_MONEY && !money)))
		reader_problem_at(r, arena_printf(r->arena, "%s.as", path),
				  "\"%s\" does not fit this column: \"%s\" does", as_names[k->as],
				  as_names[fit[0]]);
}

static void check_sources(struct manifest_reader *r, const struct manifest_column *k,
			  const char *path)
{
	int n = (k->path != NULL) + (k->hash != NULL) + (k->constant != NULL);

	if (n != 1)
		reader_problem_at(r, path, "needs one of path, const and hash%s",
				  n ? ", not several" : "");
	if (!k->path && (k->fallback || k->required || k->enums || k->currency || k->tz))
		reader_problem_at(r, path, "default, required, enum, currency and tz need a path");
	if (k->currency && k->as != MAP_MONEY)
		reader_problem_at(r, path, "\"currency\" is for \"as\": \"money\"");
	if (k->tz && k->as != MAP_TIME)
		reader_problem_at(r, path, "\"tz\" is for \"as\": \"time\"");
	if (k->enums && k->as != MAP_TEXT && k->as != MAP_BOOL && k->as != MAP_INT)
		reader_problem_at(r, path, "\"enum\" is for text, int and bool");
}

static void check_fits(struct manifest_reader *r, const struct manifest_column *k, const cJSON *v,
		       const char *path, const char *key)
{
	struct row_value unused;
	const char *why = "null";
	int rc = -1;

	if (!v)
		return;
	if (!cJSON_IsNull(v))
		rc = map_value(k, v, NULL, r->arena, &unused, &why);
	if (rc < 0)
		reader_problem_at(r, arena_printf(r->arena, "%s.%s", path, key),
				  "does not fit the column: %s", why);
}

static void check_column(struct manifest_reader *r, const struct manifest_collection *c,
			 struct manifest_column *k, const char *collection)
{
	const char *path = arena_printf(r->arena, "%s.map.%s", collection, k->name),
		   *names[ROW_COLUMNS_MAX];
	const struct row_column *columns;
	const cJSON *e;
	int n;

	columns = row_columns(c->table, &n);
	k->column = row_column_find(c->table, k->name);
	if (k->column < 0) {
		for (int i = 0; i < n; i++)
			names[i] = columns[i].name;
		reader_problem_at(r, path, "the table %s has no such column%s",
				  row_table_name(c->table), reader_nearest(r, k->name, names, n));
		return;
	}
	if (strcmp(k->name, "extra") == 0)
		reader_problem_at(r, path, "is filled by the list \"extra\" beside \"map\"");
	if (strcmp(k->name, "resource_external_id") == 0)
		reader_problem_at(r, path, "comes from \"belongs_to\" or \"each\"");
	check_as(r, k, columns[k->column].type, path);
	check_sources(r, k, path);
	if (k->hash && columns[k->column].type != ROW_TEXT)
		reader_problem_at(r, path, "a hash is text, and this column is not");
	check_fits(r, k, k->constant, path, "const");
	check_fits(r, k, k->fallback, path, "default");
	cJSON_ArrayForEach (e, k->enums)
		if (cJSON_IsString(e))
			check_fits(r, k, e, path, arena_printf(r->arena, "enum.%s", e->string));
}

/* The parent is a column's value where it is a resource and the table has the column. */
static bool has_parent_column(struct manifest_reader *r, const struct manifest_collection *c)
{
	const struct manifest_collection *parent =
		c->each ? manifest_collection(&r->owner->m, c->each) : NULL;

	return c->belongs_collection || (parent && parent->table == ROW_RESOURCES);
}

static uint64_t bit(int column)
{
	return column < 0 ? 0 : UINT64_C(1) << column;
}

void manifest_check_map(struct manifest_reader *r, struct manifest_collection *c, const char *path)
{
	uint64_t set = 0;

	if (c->n_map == 0 && c->map)
		reader_problem_at(r, arena_printf(r->arena, "%s.map", path), "maps no column");
	for (int i = 0; i < c->n_map; i++) {
		struct manifest_column *k = (struct manifest_column *)c->map + i;

		check_column(r, c, k, path);
		for (int o = 0; o < i; o++)
			if (k->column >= 0 && c->map[o].column == k->column)
				reader_problem_at(r,
						  arena_printf(r->arena, "%s.map.%s", path,
							       k->name),
						  "given twice");
		set |= bit(k->column);
		/* a country that is no code is kept in extra */
		if (strcmp(k->name, "country_code") == 0)
			set |= bit(row_column_find(c->table, "extra"));
	}
	if (has_parent_column(r, c))
		set |= bit(row_column_find(c->table, "resource_external_id"));
	if (c->n_extra)
		set |= bit(row_column_find(c->table, "extra"));
	c->columns = set;
}
