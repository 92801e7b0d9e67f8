/* limits[]: the values that are read in ways of their own, and what would make no sense. */
#include <stdlib.h>
#include <string.h>

#include "common/base/mem.h"
#include "drivers/kit/manifest_read.h"

#define FIXED_MIN_MS 10000

static const char *const scopes[] = { "partner", "integration", "egress" };

static bool group_is_valid(const char *s)
{
	return manifest_name_is_valid(s);
}

void read_limit_scope(struct manifest_reader *r, const cJSON *node, void *base)
{
	struct manifest_limit *l = base;
	const char *s = reader_text(r, node, 0);

	if (!s)
		return;
	for (size_t i = 0; i < ARRAY_LEN(scopes); i++) {
		if (strcmp(s, scopes[i]) == 0) {
			l->scope = (enum limit_scope_kind)i;
			return;
		}
	}
	if (strcmp(s, "host") == 0) {
		reader_problem(
			r,
			"\"host\" is called \"egress\" (all that share our outgoing address) or \"partner\" (all calls to "
			"theirs)");
	} else if (strncmp(s, "endpoints:", 10) != 0) {
		reader_problem(r, "unknown word \"%s\"%s", s,
			       reader_nearest(r, s, scopes, ARRAY_LEN(scopes)));
	} else if (!group_is_valid(s + 10)) {
		reader_problem(r, "\"%s\" cannot name a group: 1 to 40 of a-z, 0-9 and _", s + 10);
	} else {
		l->scope = SCOPE_ENDPOINTS;
		l->group = s + 10;
	}
}

bool print_limit_scope(const void *base, struct buf *out)
{
	const struct manifest_limit *l = base;

	if (l->scope == SCOPE_ENDPOINTS)
		buf_printf(out, "\"endpoints:%s\"", l->group);
	else
		buf_printf(out, "\"%s\"", scopes[l->scope]);
	return true;
}

void read_limit_weight(struct manifest_reader *r, const cJSON *node, void *base)
{
	struct manifest_limit *l = base;
	const char *s = cJSON_IsString(node) ? node->valuestring : NULL;

	if (json_int(node, "@", &l->weight) && l->weight > 0)
		return;
	l->weight = 1;
	if (s && strncmp(s, "header:", 7) == 0 && s[7])
		l->weight_header = reader_lower(r, s + 7);
	else
		reader_problem(r, "expected a whole number over 0, or \"header:NAME\"");
}

bool print_limit_weight(const void *base, struct buf *out)
{
	const struct manifest_limit *l = base;

	if (l->weight_header)
		buf_printf(out, "\"header:%s\"", l->weight_header);
	else
		buf_putint(out, l->weight);
	return true;
}

void limit_finish(struct manifest_reader *r, void *base)
{
	struct manifest_limit *l = base;

	if (!l->burst)
		l->burst = l->rate;
}

/* ---- what would make no sense ---- */

static void check_one(struct manifest_reader *r, const struct manifest_limit *l, const char *path)
{
	double ours = (double)l->rate * l->share;

	if (l->rate && ours < 1)
		reader_problem_at(
			r, path,
			"a share of %g of %lld leaves no call: widen the window or raise \"share\"",
			l->share, (long long)l->rate);
	else if (l->rate && (double)l->weight > ours + 1e-9)
		reader_problem_at(
			r, path,
			"a call of weight %lld never fits into %g: lower \"weight\" or raise \"rate\"",
			(long long)l->weight, ours);
	if (l->kind == LIMIT_FIXED && l->window_ms && l->window_ms < FIXED_MIN_MS)
		reader_problem_at(
			r, path,
			"windows of the clock are told apart from 10s on: \"sliding\" is never over a shorter one");
	if (l->kind != LIMIT_BUCKET && l->burst != l->rate)
		reader_problem_at(r, path, "\"burst\" is for the kind \"bucket\" alone");
	else if (l->burst > l->rate)
		reader_problem_at(
			r, path,
			"a burst of %lld is more than the window brings (%lld): say the same rate over a longer window",
			(long long)l->burst, (long long)l->rate);
	else if (l->kind == LIMIT_BUCKET && (double)l->burst * l->share < (double)l->weight)
		reader_problem_at(r, path, "a share of %g of a burst of %lld leaves no call",
				  l->share, (long long)l->burst);
}

static bool same_scope(const struct manifest_limit *a, const struct manifest_limit *b)
{
	return a->scope == b->scope && (!a->group || strcmp(a->group, b->group) == 0);
}

static bool group_in_use(const struct manifest *m, const char *group)
{
	for (int i = 0; i < m->n_collections; i++)
		if (m->collections[i].group && strcmp(m->collections[i].group, group) == 0)
			return true;
	return false;
}

static bool group_is_limited(const struct manifest *m, const char *group)
{
	for (int i = 0; i < m->n_limits; i++)
		if (m->limits[i].group && strcmp(m->limits[i].group, group) == 0)
			return true;
	return false;
}

void manifest_check_limits(struct manifest_reader *r)
{
	const struct manifest *m = &r->owner->m;

	for (int i = 0; i < m->n_limits; i++) {
		const struct manifest_limit *l = &m->limits[i];
		const char *path = arena_printf(r->arena, "limits[%d]", i);
		int tiers = 1;

		check_one(r, l, path);
		for (int k = 0; k < i; k++) {
			tiers += same_scope(&m->limits[k], l);
			if (same_scope(&m->limits[k], l) && m->limits[k].window_ms == l->window_ms)
				reader_problem_at(r, path,
						  "the same scope and window as limits[%d]", k);
		}
		if (tiers == LIMIT_TIERS_MAX + 1)
			reader_problem_at(r, path, "more than %d limits of one scope",
					  LIMIT_TIERS_MAX);
		if (l->group && !group_in_use(m, l->group))
			reader_problem_at(
				r, path,
				"no collection is of this group: give one \"group\": \"%s\"",
				l->group);
	}
	for (int i = 0; i < m->n_collections; i++) {
		const struct manifest_collection *c = &m->collections[i];

		if (c->group && !group_is_limited(m, c->group))
			reader_problem_at(r,
					  arena_printf(r->arena, "collections.%s.group", c->name),
					  "none of \"limits\" has the scope \"endpoints:%s\"",
					  c->group);
	}
}
