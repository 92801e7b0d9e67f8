/* Checks of the lookups: what they need, and that they can be asked. */
#include <string.h>

#include "common/base/mem.h"
#include "drivers/kit/manifest_read.h"

void manifest_check_params(struct manifest_reader *r, const struct manifest_param *v, int n,
			   int most, const char *path)
{
	if (n > most)
		reader_problem_at(r, path, "more than %d params", most);
	for (int i = 0; i < n; i++) {
		const char *at = arena_printf(r->arena, "%s.params.%s", path, v[i].name);

		if (!manifest_name_is_valid(v[i].name))
			reader_problem_at(r, at, "a name is 1 to 40 of a-z, 0-9 and _");
		for (int k = 0; k < i; k++)
			if (strcmp(v[k].name, v[i].name) == 0)
				reader_problem_at(r, at, "given twice");
	}
}

static void check_params(struct manifest_reader *r, const struct manifest_lookup *l,
			 const char *path)
{
	manifest_check_params(r, l->params, l->n_params, LOOKUP_PARAMS_MAX, path);
	for (int i = 0; i < l->n_params; i++)
		if (l->params[i].as == PARAM_BOOL || l->params[i].as == PARAM_JSON)
			reader_problem_at(r,
					  arena_printf(r->arena, "%s.params.%s", path,
						       l->params[i].name),
					  "\"bool\" and \"json\" are for actions");
	if (l->n_map > LOOKUP_FIELDS_MAX)
		reader_problem_at(r, path, "more than %d fields in \"map\"", LOOKUP_FIELDS_MAX);
}

static bool has_param(const struct manifest_lookup *l, const char *name)
{
	for (int i = 0; i < l->n_params; i++)
		if (strcmp(l->params[i].name, name) == 0)
			return true;
	return false;
}

/* Values are looked at when it is asked. */
static void check_example(struct manifest_reader *r, const struct manifest_lookup *l,
			  const char *path)
{
	const char *at = arena_printf(r->arena, "%s.example", path);
	const cJSON *v;

	if (!l->example)
		return;
	if (!cJSON_IsObject(l->example)) {
		reader_problem_at(r, at, "expected an object of params");
		return;
	}
	cJSON_ArrayForEach (v, l->example)
		if (!has_param(l, v->string))
			reader_problem_at(r, at, "\"%.60s\" is none of its params", v->string);
	for (int i = 0; i < l->n_params; i++) {
		const struct manifest_param *p = &l->params[i];

		if (!p->fallback && !p->optional &&
		    !cJSON_GetObjectItemCaseSensitive(l->example, p->name))
			reader_problem_at(r, at, "\"%s\" is missing", p->name);
	}
}

static void check_lookup(struct manifest_reader *r, int i)
{
	const struct manifest *m = &r->owner->m;
	const struct manifest_lookup *l = &m->lookups[i];
	const char *path = arena_printf(r->arena, "lookups.%s", l->name);

	if (!manifest_name_is_valid(l->name))
		reader_problem_at(r, path, "a name is 1 to 40 of a-z, 0-9 and _");
	for (int k = 0; k < i; k++)
		if (strcmp(m->lookups[k].name, l->name) == 0)
			reader_problem_at(r, path, "given twice");
	if (l->get && l->get[0] != '/')
		reader_problem_at(r, path, "\"get\": a path begins with /");
	if (!l->ttl_ms)
		reader_problem_at(
			r, path,
			"says not how long an answer is fresh: \"ttl\", or \"cache\": {\"%s\": …}",
			l->name);
	if (l->placeholder && m->critical)
		reader_problem_at(
			r, arena_printf(r->arena, "%s.placeholder", path),
			"is for partners with \"critical\": false; of others an error is told");
	check_params(r, l, path);
	check_example(r, l, path);
}

static void check_details(struct manifest_reader *r)
{
	const struct manifest *m = &r->owner->m;

	for (int i = 0; i < m->n_collections; i++)
		if (m->collections[i].detail_ttl_ms && !m->collections[i].detail)
			reader_problem_at(r,
					  arena_printf(r->arena, "cache.%s.detail",
						       m->collections[i].name),
					  "the collection has no \"detail\"");
}

void manifest_check_lookups(struct manifest_reader *r)
{
	for (int i = 0; i < r->owner->m.n_lookups; i++)
		check_lookup(r, i);
	check_details(r);
}

const struct manifest_lookup *manifest_lookup(const struct manifest *m, const char *name)
{
	for (int i = 0; i < m->n_lookups; i++)
		if (strcmp(m->lookups[i].name, name) == 0)
			return &m->lookups[i];
	return NULL;
}

void manifest_print_lookup(const struct manifest_lookup *l, struct buf *out)
{
	manifest_print_object(&manifest_lookup_table, l, out);
}
