/* Checks of api.version, api.format and api.body; and what is a list in XML, which the paths of the manifest say. */
#include <string.h>
#include <strings.h>

#include "common/base/mem.h"
#include "drivers/kit/manifest_read.h"

#define XML_LISTS_MAX 256

/* ---- what is a list in XML ---- */

struct lists {
	struct manifest_reader *r;
	struct manifest_list *v;
	int n;
};

static bool same_text(const char *a, const char *b)
{
	return a == b || (a && b && strcmp(a, b) == 0);
}

static void add_list(struct lists *l, const char *parent, const char *name)
{
	for (int i = 0; i < l->n; i++)
		if (strcmp(l->v[i].name, name) == 0 && same_text(l->v[i].parent, parent))
			return;
	if (l->n < XML_LISTS_MAX)
		l->v[l->n++] = (struct manifest_list){ parent, name };
}

/* One alternative of a path: each name that an index follows; and its last name where `last`. */
static void add_path(struct lists *l, const char *p, size_t len, bool last)
{
	const char *end = p + len, *parent = NULL;

	while (p < end) {
		size_t n = strcspn(p, ".[{|");
		const char *name;

		if (n > (size_t)(end - p))
			n = (size_t)(end - p);
		name = n ? arena_strndup(l->r->arena, p, n) : NULL;
		p += n;
		if (name && strcmp(name, "@") != 0) {
			if (p < end ? *p == '[' : last)
				add_list(l, parent, name);
			parent = name;
		}
		while (p < end && (*p == '[' || *p == '{'))
			p += strcspn(p, "]}") + 1;
		p += p < end;
	}
}

static void add_paths(struct lists *l, const char *path, bool last)
{
	while (path && *path) {
		const char *start = path + strspn(path, " ");
		size_t n = strcspn(start, "|"), len = n;

		while (len > 0 && start[len - 1] == ' ')
			len--;
		add_path(l, start, len, last);
		path = start + n + (start[n] == '|');
	}
}

static void find_lists(struct manifest_reader *r)
{
	struct manifest *m = &r->owner->m;
	struct lists l = { .r = r };

	l.v = arena_alloc(r->arena, sizeof(*l.v) * XML_LISTS_MAX);
	for (int i = 0; i < m->n_collections; i++) {
		const struct manifest_collection *c = &m->collections[i];

		add_paths(&l, c->records, true);
		add_paths(&l, c->embedded, true);
		add_paths(&l, c->id, false);
		add_paths(&l, c->updated_at, false);
		add_paths(&l, c->belongs_id, false);
		for (int k = 0; k < c->n_map; k++) {
			add_paths(&l, c->map[k].path, false);
			add_paths(&l, c->map[k].hash, false);
			add_paths(&l, c->map[k].currency, false);
		}
	}
	m->xml_lists = l.v;
	m->n_xml_lists = l.n;
}

/* ---- the keys ---- */

static void check_version(struct manifest_reader *r)
{
	const struct manifest *m = &r->owner->m;
	const char *v = m->version;

	if (!v)
		return;
	if (m->version_in == VERSION_IN_PATH && v[strspn(v, "abcdefghijklmnopqrstuvwxyz"
							    "ABCDEFGHIJKLMNOPQRSTUVWXYZ"
							    "0123456789._-")])
		reader_problem_at(r, "api.version", "\"%s\" is no one part of a path", v);
	if (m->version_in == VERSION_IN_HEADER && !m->version_name)
		reader_problem_at(r, "api.version.name", "missing: the header that carries it");
	if (m->version_in != VERSION_IN_HEADER && m->version_name)
		reader_problem_at(r, "api.version.name", "is for \"in\": \"header\" alone");
	if (m->version_name &&
	    m->version_name[strspn(m->version_name, "abcdefghijklmnopqrstuvwxyz"
						    "ABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_")])
		reader_problem_at(r, "api.version.name", "\"%s\" is no name of a header",
				  m->version_name);
	if (v[strcspn(v, "\r\n")])
		reader_problem_at(r, "api.version", "a version is one line");
	for (int i = 0; i < m->headers.n && m->version_name; i++)
		if (strcasecmp(m->headers.v[i].name, m->version_name) == 0)
			reader_problem_at(r,
					  arena_printf(r->arena, "api.headers.%s",
						       m->headers.v[i].name),
					  "\"api.version\" sets this header already");
}

static void check_collection(struct manifest_reader *r, const struct manifest_collection *c)
{
	static const char *const names[] = { "json", "jsonl", "xml", "csv", "text" };
	const struct manifest *m = &r->owner->m;
	const char *path = arena_printf(r->arena, "collections.%s", c->name);

	if (m->format == FORMAT_TEXT && !c->embedded)
		reader_problem_at(r, path, "an answer that is one text has no records in it");
	if ((m->format == FORMAT_CSV || m->format == FORMAT_JSONL) && c->records &&
	    strcmp(c->records, "@") != 0)
		reader_problem_at(r, arena_printf(r->arena, "%s.records", path),
				  "the lines of %s are the records: leave it out",
				  names[m->format]);
}

void manifest_check_format(struct manifest_reader *r)
{
	const struct manifest *m = &r->owner->m;

	check_version(r);
	if (m->format != FORMAT_JSON && m->hooks.decode_body)
		reader_problem_at(
			r, "api.format",
			"means nothing with hooks.decode_body, which makes JSON of a body");
	if (m->n_drop && m->format != FORMAT_XML)
		reader_problem_at(
			r, "api.drop",
			"names elements of XML, and \"format\" says that answers are none");
	for (int i = 0; i < m->n_collections; i++)
		check_collection(r, &m->collections[i]);
	if (m->format == FORMAT_XML)
		find_lists(r);
}
