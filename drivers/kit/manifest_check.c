/* Checks of the whole manifest, the auth, the limits and the ways of paging. */
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "common/base/mem.h"
#include "common/queue/queue.h"
#include "drivers/kit/manifest_read.h"

/* The folder's name, from ".../guesty/manifest.json"; NULL where the path has none. */
static const char *folder_of(struct manifest_reader *r)
{
	const char *slash = strrchr(r->file, '/'), *start = slash;

	while (start && start > r->file && start[-1] != '/')
		start--;
	return slash && slash > start && *start != '.'
		       ? arena_strndup(r->arena, start, (size_t)(slash - start))
		       : NULL;
}

static void check_partner(struct manifest_reader *r)
{
	/* an overlay stands in any folder */
	const char *partner = r->owner->m.partner,
		   *folder = strcmp(r->file, r->owner->m.path) == 0 ? folder_of(r) : NULL;

	if (!partner)
		return;
	if (!manifest_name_is_valid(partner))
		reader_problem_at(r, "partner",
				  "\"%s\" cannot name a queue: 1 to 40 of a-z, 0-9 and _", partner);
	else if (strcmp(partner, LONGSHORE_PARTNER) == 0)
		reader_problem_at(r, "partner", "\"%s\" is reserved for jobs of no partner",
				  partner);
	if (folder && strcmp(partner, folder) != 0)
		reader_problem_at(r, "partner",
				  "\"%s\" stands in the folder \"%s\": the two must be the same",
				  partner, folder);
}

/* ---- addresses ---- */

static size_t scheme_len(const char *url, const char *plain, const char *tls)
{
	if (strncmp(url, tls, strlen(tls)) == 0)
		return strlen(tls);
	return strncmp(url, plain, strlen(plain)) == 0 ? strlen(plain) : 0;
}

static void check_url(struct manifest_reader *r, const char *path, const char *url, bool root,
		      const char *plain, const char *tls)
{
	size_t n = url ? scheme_len(url, plain, tls) : 0;

	if (!url)
		return;
	if (!n || !url[n] || strchr("/?#:", url[n]))
		reader_problem_at(r, path, "expected %s or %s and a host, found \"%s\"", plain, tls,
				  url);
	else if (url[strcspn(url, " \t\r\n@#")])
		reader_problem_at(r, path, "an address has no blank, no @ and no # in it");
	else if (root && strchr(url, '?'))
		reader_problem_at(r, path, "what follows ? goes to \"query\" of a collection");
	else if (root && url[strlen(url) - 1] == '/')
		reader_problem_at(r, path, "must not end in /: paths begin with it");
}

void manifest_check_url(struct manifest_reader *r, const char *path, const char *url, bool root)
{
	check_url(r, path, url, root, "http://", "https://");
}

static void check_base(struct manifest_reader *r, const char *path, const char *url)
{
	if (r->owner->m.body == BODY_MAIL)
		check_url(r, path, url, true, "smtp://", "smtps://");
	else
		manifest_check_url(r, path, url, true);
}

/* Names and values that can be headers. */
void manifest_check_headers(struct manifest_reader *r, const char *where,
			    const struct manifest_pairs *p)
{
	for (int i = 0; i < p->n; i++) {
		const struct manifest_pair *h = &p->v[i];
		const char *path = arena_printf(r->arena, "%s.%s", where, h->name);

		if (!*h->name || h->name[strcspn(h->name, " \t\r\n:\"(),/;<=>?@[\\]{}")])
			reader_problem_at(r, path, "\"%s\" is no name of a header", h->name);
		if (h->value[strcspn(h->value, "\r\n")])
			reader_problem_at(r, path, "a header is one line");
	}
}

static void check_headers(struct manifest_reader *r)
{
	const struct manifest *m = &r->owner->m;
	const char *own = m->auth.kind == AUTH_NONE || m->auth.place == AUTH_IN_QUERY ||
					  m->auth.place == AUTH_IN_PATH
				  ? NULL
			  : m->auth.place == AUTH_IN_COOKIE ? "Cookie"
							    : m->auth.name;

	manifest_check_headers(r, "api.headers", &m->headers);
	for (int i = 0; i < m->headers.n; i++)
		if (own && strcasecmp(m->headers.v[i].name, own) == 0)
			reader_problem_at(r,
					  arena_printf(r->arena, "api.headers.%s",
						       m->headers.v[i].name),
					  "\"auth\" sets this header already");
}

/* ---- limits ---- */

static void check_limit_headers(struct manifest_reader *r)
{
	const struct manifest *m = &r->owner->m;

	for (int i = 0; i < m->n_limit_headers; i++) {
		const struct manifest_limit_header *h = &m->limit_headers[i];
		const char *path = arena_printf(r->arena, "limit_headers[%d]", i);
		int k = 0;

		while (k < m->n_limits && m->limits[k].window_ms != h->window_ms)
			k++;
		if (h->window_ms && k == m->n_limits)
			reader_problem_at(r, path, "none of \"limits\" has this window");
		if (!h->limit && !h->remaining && !h->reset)
			reader_problem_at(r, path, "names no header: limit, remaining or reset");
	}
}

/* ---- breaker ---- */

static void check_api_path(struct manifest_reader *r, const char *path, const char *value)
{
	if (value && (value[0] != '/' || value[strcspn(value, " \t\r\n{}")]))
		reader_problem_at(r, path, "expected a path such as \"/status\", found \"%s\"",
				  value);
}

static void check_breaker(struct manifest_reader *r)
{
	const struct manifest_breaker *b = &r->owner->m.breaker;

	check_api_path(r, "breaker.probe", b->probe);
	if (b->rules.open_ms > b->rules.open_max_ms)
		reader_problem_at(r, "breaker.open", "is longer than \"open_max\"");
	if (b->n_groups > BREAKER_GROUPS_MAX)
		reader_problem_at(r, "breaker.groups", "more than %d groups", BREAKER_GROUPS_MAX);
	for (int i = 0; i < b->n_groups; i++) {
		const struct manifest_group *g = &b->groups[i];
		const char *path = arena_printf(r->arena, "breaker.groups.%s", g->name);

		if (!manifest_name_is_valid(g->name))
			reader_problem_at(r, path, "a name is 1 to 40 of a-z, 0-9 and _");
		for (int k = 0; k < g->n_endpoints; k++)
			if (g->endpoints[k][0] != '/')
				reader_problem_at(r, path, "\"%s\": a path begins with /",
						  g->endpoints[k]);
	}
}

static void check_checks(struct manifest_reader *r)
{
	const struct manifest *m = &r->owner->m;
	const char *f = m->fixtures;

	if (f && (f[0] == '.' || f[strcspn(f, "/\\")]))
		reader_problem_at(r, "checks.fixtures",
				  "the name of a folder beside this file is expected, found \"%s\"",
				  f);
	for (int i = 0; i < m->n_daily; i++) {
		const struct manifest_collection *c = manifest_collection(m, m->daily[i]);
		const char *path = arena_printf(r->arena, "checks.daily[%d]", i);

		if (!c)
			reader_problem_at(r, path, "there is no collection \"%s\"", m->daily[i]);
		else if (c->embedded)
			reader_problem_at(r, path, "\"%s\" comes with \"%s\": name that", c->name,
					  c->each);
	}
}

void manifest_check(struct manifest_reader *r)
{
	struct manifest *m = &r->owner->m;

	check_partner(r);
	check_base(r, "api.base.production", m->base_production);
	check_base(r, "api.base.sandbox", m->base_sandbox);
	check_headers(r);
	manifest_check_auth(r);
	manifest_check_limits(r);
	check_limit_headers(r);
	check_breaker(r);
	if (m->total_ms && m->connect_ms > m->total_ms)
		reader_problem_at(r, "api.timeout", "\"connect\" is longer than \"total\"");
	manifest_check_paging(r, &m->paging, "pagination");
	manifest_check_collections(r);
	check_checks(r);
	manifest_check_format(r);
	manifest_check_events(r);
	manifest_check_actions(r);
	manifest_check_channel(r);
	manifest_check_mail(r);
	manifest_check_lookups(r);
	manifest_check_templates(r);
	manifest_check_hooks(r);
	manifest_check_settings(r);
}
