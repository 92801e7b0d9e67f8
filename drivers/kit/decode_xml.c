/* XML through expat into a light tree, and that as JSON.  What an answer may cost is bounded on the way: depth, names in
 * one element, memory; there are no entities but the five of XML, since a document type is refused. */
#include <errno.h>
#include <expat.h>
#include <string.h>

#include "common/base/arena.h"
#include "common/base/crypto.h"
#include "common/base/json.h"
#include "drivers/kit/decode.h"

#define XML_DEPTH_MAX 30  /* each level is an object and perhaps a list in it: JSON ends at 64 */
#define XML_NAMES_MAX 256 /* in one element */
#define PIECE_BYTES (64 * 1024) /* given to expat at first, then twice as much each time */

struct element {
	const char *name;
	struct element *parent, *next; /* next: of the same name */
	struct group *first, *last;
	int n_groups;
	char *text;
	size_t len, cap;
	bool nil;
};
/* The children (and attributes) of one name. */
struct group {
	const char *name;
	uint64_t hash;
	struct element *first, *last;
	struct group *next;
};

struct xml {
	XML_Parser parser;
	struct arena *arena;
	size_t max_bytes;
	struct element root, *at;
	int depth, rc;
	struct err *err;
	const struct manifest_list *lists;
	int n_lists;
};

static void stop(struct xml *x, int rc, const char *what)
{
	if (x->rc < 0)
		return;
	x->rc = rc;
	if (rc == -EINVAL)
		err_set(x->err, rc, ERR_DATA, "xml", "the answer's XML is not read: line %d: %s",
			(int)XML_GetCurrentLineNumber(x->parser), what);
	XML_StopParser(x->parser, XML_FALSE);
}

/* ---- the tree ---- */

static const char *local_name(const char *name)
{
	const char *colon = strrchr(name, ':');

	return colon && colon[1] ? colon + 1 : name;
}

static struct group *group_of(struct xml *x, struct element *e, const char *name)
{
	uint64_t hash = crypto_hash64(name, strlen(name), 0);
	struct group *g = e->last;

	if (g && g->hash == hash && strcmp(g->name, name) == 0)
		return g; /* lists come in a row */
	for (g = e->first; g; g = g->next)
		if (g->hash == hash && strcmp(g->name, name) == 0)
			return g;
	if (e->n_groups++ == XML_NAMES_MAX) {
		stop(x, -EINVAL, "an element with more than 256 names in it");
		return NULL;
	}
	g = arena_new_of(x->arena, struct group);
	g->name = arena_strdup(x->arena, name);
	g->hash = hash;
	if (e->last)
		e->last->next = g;
	else
		e->first = g;
	e->last = g;
	return g;
}

static struct element *add_child(struct xml *x, const char *name)
{
	struct group *g = group_of(x, x->at, name);
	struct element *e;

	if (!g)
		return NULL;
	e = arena_new_of(x->arena, struct element);
	e->name = g->name;
	e->parent = x->at;
	if (g->last)
		g->last->next = e;
	else
		g->first = e;
	g->last = e;
	return e;
}

static void add_text(struct xml *x, struct element *e, const char *s, size_t n)
{
	if (n == 0)
		return;
	if (e->len + n > e->cap) {
		char *grown;

		e->cap = e->cap ? (e->len + n) * 2 : n;
		grown = arena_alloc(x->arena, e->cap);
		if (e->len)
			memcpy(grown, e->text, e->len);
		e->text = grown;
	}
	memcpy(e->text + e->len, s, n);
	e->len += n;
}

static void add_attribute(struct xml *x, const char *name, const char *value)
{
	const char *local = local_name(name);
	struct element *e;

	if (strcmp(name, "xmlns") == 0 || strncmp(name, "xmlns:", 6) == 0)
		return;
	if (local != name && strcmp(local, "nil") == 0) {
		x->at->nil = strcmp(value, "true") == 0 || strcmp(value, "1") == 0;
		return;
	}
	e = add_child(x, arena_printf(x->arena, "-%s", local));
	if (e)
		add_text(x, e, value, strlen(value));
}

static void on_start(void *arg, const char *name, const char **attributes)
{
	struct xml *x = arg;
	struct element *e;

	if (x->rc < 0)
		return;
	if (++x->depth > XML_DEPTH_MAX) {
		stop(x, -EINVAL, "elements nested deeper than 30");
		return;
	}
	e = add_child(x, local_name(name));
	if (!e)
		return;
	x->at = e;
	for (; *attributes && x->rc == 0; attributes += 2)
		add_attribute(x, attributes[0], attributes[1]);
	if (arena_bytes(x->arena) > x->max_bytes)
		stop(x, -ENOMEM, "");
}

static void on_end(void *arg, const char *name)
{
	struct xml *x = arg;

	if (x->rc < 0)
		return;
	x->depth--;
	x->at = x->at->parent;
}

static void on_text(void *arg, const char *s, int n)
{
	struct xml *x = arg;

	if (x->rc < 0)
		return;
	add_text(x, x->at, s, (size_t)n);
	if (arena_bytes(x->arena) > x->max_bytes)
		stop(x, -ENOMEM, "");
}

static void on_doctype(void *arg, const char *name, const char *sysid, const char *pubid,
		       int has_internal_subset)
{
	stop(arg, -EINVAL, "a document type (is it HTML?); entities are not taken from answers");
}

/* ---- to JSON ---- */

static bool is_blank(const struct element *e)
{
	for (size_t i = 0; i < e->len; i++)
		if (!strchr(" \t\r\n", e->text[i]))
			return false;
	return true;
}

static bool is_list(const struct xml *x, const char *parent, const char *name)
{
	for (int i = 0; i < x->n_lists; i++) {
		const struct manifest_list *l = &x->lists[i];

		if (strcmp(l->name, name) == 0 && (!l->parent || strcmp(l->parent, parent) == 0))
			return true;
	}
	return false;
}

static void put_name(struct buf *out, bool *first, const char *name)
{
	buf_putc(out, *first ? '{' : ',');
	*first = false;
	json_quote(out, name, strlen(name));
	buf_putc(out, ':');
}

/* A list that the manifest names and the answer has no element of. */
static void put_empty_lists(const struct xml *x, const struct element *e, struct buf *out,
			    bool *first)
{
	for (int i = 0; i < x->n_lists; i++) {
		const struct manifest_list *l = &x->lists[i];
		const struct group *g = e->first;

		if (!l->parent || !e->name || strcmp(l->parent, e->name) != 0)
			continue;
		while (g && strcmp(g->name, l->name) != 0)
			g = g->next;
		if (g)
			continue;
		put_name(out, first, l->name);
		buf_puts(out, "[]");
	}
}

static void put_element(struct xml *x, const struct element *e, struct buf *out);

static void put_group(struct xml *x, const struct element *e, const struct group *g,
		      struct buf *out)
{
	bool list = g->first->next || is_list(x, e->name ? e->name : "", g->name);

	if (list)
		buf_putc(out, '[');
	for (const struct element *c = g->first; c; c = c->next) {
		if (c != g->first)
			buf_putc(out, ',');
		put_element(x, c, out);
	}
	if (list)
		buf_putc(out, ']');
}

/* As deep as XML_DEPTH_MAX. */
static void put_element(struct xml *x, const struct element *e, struct buf *out)
{
	bool first = true;

	if (out->len > x->max_bytes) {
		x->rc = -ENOMEM;
		return;
	}
	if (e->nil && !e->first && is_blank(e)) {
		buf_puts(out, "null");
		return;
	}
	for (const struct group *g = e->first; g; g = g->next) {
		put_name(out, &first, g->name);
		put_group(x, e, g, out);
	}
	put_empty_lists(x, e, out, &first);
	if (first) {
		json_quote(out, e->text ? e->text : "", e->len);
		return;
	}
	if (!is_blank(e)) {
		put_name(out, &first, "#text");
		json_quote(out, e->text, e->len);
	}
	buf_putc(out, '}');
}

/* ---- the whole ---- */

/* A token that does not end in a piece is read again from its start with the next one: pieces of one size would make the time
 * of a long one quadratic (4 s for 16 MiB). */
static void parse(struct xml *x, const char *body, size_t len)
{
	enum XML_Status ok = XML_STATUS_OK;

	for (size_t at = 0, piece = PIECE_BYTES; ok == XML_STATUS_OK && x->rc == 0; piece *= 2) {
		bool last = len - at <= piece;

		ok = XML_Parse(x->parser, body + at, (int)(last ? len - at : piece), last);
		if (last)
			break;
		at += piece;
	}
	if (ok != XML_STATUS_OK && x->rc == 0)
		x->rc = err_set(x->err, -EINVAL, ERR_DATA, "xml",
				"the answer is no XML: line %d, column %d: %s",
				(int)XML_GetCurrentLineNumber(x->parser),
				(int)XML_GetCurrentColumnNumber(x->parser) + 1,
				XML_ErrorString(XML_GetErrorCode(x->parser)));
}

int decode_xml(const struct manifest_list *lists, int n_lists, const char *body, size_t len,
	       size_t max_bytes, struct buf *out, struct err *err)
{
	struct xml x = { .parser = XML_ParserCreate(NULL),
			 .arena = arena_new(),
			 .max_bytes = max_bytes,
			 .err = err,
			 .lists = lists,
			 .n_lists = n_lists };

	if (!x.parser)
		x.rc = -ENOMEM;
	x.at = &x.root;
	if (x.rc == 0) {
		XML_SetUserData(x.parser, &x);
		XML_SetElementHandler(x.parser, on_start, on_end);
		XML_SetCharacterDataHandler(x.parser, on_text);
		XML_SetStartDoctypeDeclHandler(x.parser, on_doctype);
		parse(&x, body, len);
	}
	if (x.rc == 0)
		put_element(&x, &x.root, out);
	XML_ParserFree(x.parser);
	arena_free(x.arena);
	return x.rc;
}
