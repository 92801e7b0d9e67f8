/* Checks of actions: what their steps keep, who follows them. */
#include <string.h>

#include "common/base/mem.h"
#include "drivers/kit/manifest_read.h"

static void check_keep(struct manifest_reader *r, const struct manifest_pairs *keep,
		       const char *path)
{
	for (int i = 0; i < keep->n; i++) {
		const struct manifest_pair *k = &keep->v[i];
		const char *at = arena_printf(r->arena, "%s.keep.%s", path, k->name);
		const char *wrong = path_problem(k->value, KEY_ANSWER);

		if (!manifest_name_is_valid(k->name))
			reader_problem_at(r, at, "a name is 1 to 40 of a-z, 0-9 and _");
		if (wrong)
			reader_problem_at(r, at, "\"%s\" is no path: %s", k->value, wrong);
	}
}

/* What is found is kept as what was answered. */
static void check_found(struct manifest_reader *r, const struct manifest_step *s, const char *path)
{
	const char *at = arena_printf(r->arena, "%s.find_first", path);

	check_keep(r, &s->find_keep, at);
	for (int i = 0; i < s->find_keep.n; i++) {
		int k = 0;

		while (k < s->keep.n && strcmp(s->keep.v[k].name, s->find_keep.v[i].name) != 0)
			k++;
		if (k == s->keep.n)
			reader_problem_at(r, at, "keep.%s: the step keeps no such thing",
					  s->find_keep.v[i].name);
	}
	if (s->keeps_ms && s->repeatable)
		reader_problem_at(r, path,
				  "\"repeatable\" and \"idempotency.keeps\" exclude each"
				  " other: what may be sent twice needs no key");
}

static void check_steps(struct manifest_reader *r, const struct manifest_action *a)
{
	for (int i = 0; i < a->n_steps; i++) {
		const struct manifest_step *s = &a->steps[i];
		const char *path = arena_printf(r->arena, "actions.%s.steps[%d]", a->name, i);

		if (s->name && !manifest_name_is_valid(s->name))
			reader_problem_at(r, path, "a name is 1 to 40 of a-z, 0-9 and _");
		for (int k = 0; k < i; k++)
			if (s->name && a->steps[k].name && !strcmp(s->name, a->steps[k].name))
				reader_problem_at(r, path, "the name of steps[%d]", k);
		check_keep(r, &s->keep, path);
		check_found(r, s, path);
		if (s->find_first.post || s->find_first.put || s->find_first.patch ||
		    s->find_first.remove)
			reader_problem_at(
				r, arena_printf(r->arena, "%s.find_first", path),
				"looks whether it was done already: only a get changes nothing");
	}
}

/* The tasks that Longshore has itself: an action of that name could never be asked for. */
static const char *const taken[] = { "import_all_resources",
				     "import_company_resources",
				     "import_resources",
				     "import_resource",
				     "import_transactions",
				     "import_media",
				     "process_webhook",
				     "notify",
				     "lookup",
				     "noop" };

static void check_name(struct manifest_reader *r, const struct manifest_action *a, const char *path)
{
	if (!manifest_name_is_valid(a->name))
		reader_problem_at(r, path, "a name is 1 to 40 of a-z, 0-9 and _");
	for (size_t i = 0; i < ARRAY_LEN(taken); i++)
		if (strcmp(a->name, taken[i]) == 0)
			reader_problem_at(r, path, "is a task of Longshore's own");
}

static void check_external(struct manifest_reader *r, const struct manifest_action *a,
			   const char *path)
{
	for (int i = 0; i < a->n_steps; i++)
		for (int k = 0; k < a->steps[i].keep.n; k++)
			if (strcmp(a->steps[i].keep.v[k].name, a->external) == 0)
				return;
	reader_problem_at(r, arena_printf(r->arena, "%s.external_id", path), "no step keeps \"%s\"",
			  a->external);
}

static void check_then(struct manifest_reader *r, const struct manifest_action *a, const char *path)
{
	const struct manifest *m = &r->owner->m;
	const char **names = arena_alloc(r->arena, sizeof(*names) * (size_t)(m->n_actions + 1));

	for (int i = 0; i < m->n_actions; i++)
		names[i] = m->actions[i].name;
	for (int i = 0; i < a->n_then; i++) {
		const char *at = arena_printf(r->arena, "%s.then[%d].action", path, i);
		const char *next = a->then[i].action;

		if (next && !manifest_action(m, next))
			reader_problem_at(r, at, "there is no action \"%s\"%s", next,
					  reader_nearest(r, next, names, m->n_actions));
		for (int k = 0; next && k < i; k++)
			if (a->then[k].action && strcmp(a->then[k].action, next) == 0)
				reader_problem_at(r, at, "is that of then[%d]", k);
		/* Or one request would begin others without an end. */
		if (next && manifest_action(m, next) && manifest_action(m, next)->n_then)
			reader_problem_at(r, at, "\"%s\" has a \"then\" of its own", next);
	}
}

void manifest_check_actions(struct manifest_reader *r)
{
	const struct manifest *m = &r->owner->m;

	for (int i = 0; i < m->n_actions; i++) {
		const struct manifest_action *a = &m->actions[i];
		const char *path = arena_printf(r->arena, "actions.%s", a->name);

		check_name(r, a, path);
		if (a->steps && a->n_steps == 0)
			reader_problem_at(r, path, "has no step");
		manifest_check_params(r, a->params, a->n_params, ACTION_PARAMS_MAX, path);
		check_steps(r, a);
		if (a->external)
			check_external(r, a, path);
		check_then(r, a, path);
	}
}

const struct manifest_action *manifest_action(const struct manifest *m, const char *name)
{
	for (int i = 0; i < m->n_actions; i++)
		if (strcmp(m->actions[i].name, name) == 0)
			return &m->actions[i];
	return NULL;
}
