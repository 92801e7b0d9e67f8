/* Follows the tables: types, required keys, unknown keys, defaults. */
#include "drivers/kit/manifest_read.h"

#include <ctype.h>
#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "common/base/clock.h"
#include "common/base/config.h"
#include "common/base/mem.h"

#define KEYS_MAX 48 /* of one table */

static const char *read_header(struct manifest_reader *r, const cJSON *node)
{
	const char *s = reader_text(r, node, 0);

	if (!s)
		return NULL;
	if (s[strspn(s, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_.")]) {
		reader_problem(r, "\"%s\" is no name of a header", s);
		return NULL;
	}
	return reader_lower(r, s);
}

/* ---- numbers ---- */

static bool in_range(struct manifest_reader *r, const struct manifest_key *k, int64_t v)
{
	if (k->max == 0 && k->min == 0 ? v >= 0 : v >= k->min && v <= k->max)
		return true;
	if (k->max == 0 && k->min == 0)
		reader_problem(r, "expected no negative number, found %lld", (long long)v);
	else
		reader_problem(r, "expected %lld to %lld, found %lld", (long long)k->min,
			       (long long)k->max, (long long)v);
	return false;
}

static bool read_int(struct manifest_reader *r, const struct manifest_key *k, const cJSON *node,
		     int64_t *out)
{
	int64_t v;

	if (!json_int(node, "@", &v)) {
		reader_expected(r, "a whole number", node);
		return false;
	}
	if (!in_range(r, k, v))
		return false;
	*out = v;
	return true;
}

static void read_duration(struct manifest_reader *r, const struct manifest_key *k,
			  const cJSON *node, int64_t *out)
{
	int64_t ms = -1;

	if (cJSON_IsNumber(node) && node->valuedouble >= 0 && node->valuedouble < 1e9)
		ms = (int64_t)(node->valuedouble * 1000 + 0.5);
	else if (cJSON_IsString(node) && clock_parse_duration(node->valuestring, &ms) < 0)
		ms = -1;
	if (ms < 0)
		reader_problem(
			r,
			"expected a duration such as \"500ms\", \"5s\", \"15m\", \"24h\" or a number "
			"of seconds");
	else if (k->max && (ms < k->min || ms > k->max))
		reader_problem(r, "expected %lld to %lld ms, found %lld", (long long)k->min,
			       (long long)k->max, (long long)ms);
	else
		*out = ms;
}

static void read_share(struct manifest_reader *r, const cJSON *node, double *out)
{
	if (!cJSON_IsNumber(node))
		reader_expected(r, "a number over 0, at most 1", node);
	else if (!(node->valuedouble > 0 && node->valuedouble <= 1))
		reader_problem(r, "expected a number over 0, at most 1, found %g",
			       node->valuedouble);
	else
		*out = node->valuedouble;
}

/* ---- words and lists ---- */

static void read_word(struct manifest_reader *r, const struct key_word *words, const cJSON *node,
		      int *out)
{
	const char *s = reader_text(r, node, 0), *names[KEYS_MAX];
	int n = 0;

	if (!s)
		return;
	for (const struct key_word *w = words; w->name && n < KEYS_MAX; w++) {
		size_t len = strlen(w->name);
		bool prefix = w->name[len - 1] == ':';

		if (prefix ? strncmp(s, w->name, len) == 0 : strcmp(s, w->name) == 0) {
			*out = w->value;
			return;
		}
		names[n++] = w->name;
	}
	reader_problem(r, "unknown word \"%s\"%s", s, reader_nearest(r, s, names, n));
}

static void read_texts(struct manifest_reader *r, const struct manifest_key *k, const cJSON *node,
		       char *base)
{
	const char **v;
	const cJSON *c;
	int n = 0;

	if (!cJSON_IsArray(node)) {
		reader_expected(r, "a list of texts", node);
		return;
	}
	v = arena_alloc(r->arena, sizeof(*v) * ((size_t)cJSON_GetArraySize(node) + 1));
	cJSON_ArrayForEach (c, node) {
		size_t mark = reader_down(r, NULL, n);

		v[n] = k->type == KEY_HEADERS ? read_header(r, c) : reader_text(r, c, 0);
		n += v[n] != NULL;
		reader_up(r, mark);
	}
	*(const char *const **)(base + k->at) = v;
	*(int *)(base + k->n_at) = n;
}

static void read_pairs(struct manifest_reader *r, const struct manifest_key *k, const cJSON *node,
		       struct manifest_pairs *out)
{
	struct manifest_pair *v;
	const cJSON *c;
	int n = 0;

	if (!cJSON_IsObject(node)) {
		reader_expected(r, "an object of names and texts", node);
		return;
	}
	v = arena_alloc(r->arena, sizeof(*v) * ((size_t)cJSON_GetArraySize(node) + 1));
	cJSON_ArrayForEach (c, node) {
		size_t mark = reader_down(r, c->string, 0);
		struct buf text = BUF_INIT;

		if (!is_comment(c->string)) {
			if (json_scalar_text(c, &text))
				v[n++] = (struct manifest_pair){
					c->string, arena_strdup(r->arena, buf_str(&text))
				};
			else
				reader_expected(r, "text", c);
		}
		buf_clear(&text);
		reader_up(r, mark);
	}
	if (k->max && n > k->max)
		reader_problem(r, "has %d of them, at most %lld are expected", n,
			       (long long)k->max);
	*out = (struct manifest_pairs){ v, n };
}

static void read_json(struct manifest_reader *r, const struct manifest_key *k, const cJSON *node,
		      const cJSON **out)
{
	const cJSON *c;

	if (k->type == KEY_JSON_LIST && (!cJSON_IsArray(node) || !node->child)) {
		reader_problem(r, "expected a list of one value or more");
		return;
	}
	if (k->type == KEY_JSON_OBJECT && !cJSON_IsObject(node)) {
		reader_expected(r, "an object", node);
		return;
	}
	if (k->type == KEY_JSON_TEXTS && (!cJSON_IsObject(node) || !node->child)) {
		reader_problem(r, "expected an object of one text or more");
		return;
	}
	if (k->type == KEY_JSON_TEXTS) {
		cJSON_ArrayForEach (c, node) {
			size_t mark = reader_down(r, c->string, 0);

			if (!cJSON_IsString(c))
				reader_expected(r, "text", c);
			reader_up(r, mark);
		}
	}
	*out = node;
}

/* An array (or an object of names) of what a table describes. */
static void read_list(struct manifest_reader *r, const struct manifest_key *k, const cJSON *node,
		      char *base)
{
	bool named = k->type == KEY_NAMED;
	char *v;
	const cJSON *c;
	int n = 0;

	if (named ? !cJSON_IsObject(node) : !cJSON_IsArray(node)) {
		reader_expected(r, named ? "an object" : "a list", node);
		return;
	}
	v = arena_alloc(r->arena, k->of->size * ((size_t)cJSON_GetArraySize(node) + 1));
	cJSON_ArrayForEach (c, node) {
		size_t mark;

		if (named && is_comment(c->string))
			continue;
		mark = reader_down(r, named ? c->string : NULL, n);
		if (named)
			*(const char **)(v + k->of->size * (size_t)n + k->of->name_at) = c->string;
		reader_object(r, k->of, c, v + k->of->size * (size_t)n);
		n++;
		reader_up(r, mark);
	}
	*(void **)(base + k->at) = v;
	*(int *)(base + k->n_at) = n;
}

/* ---- one key ---- */

static void read_scalar(struct manifest_reader *r, const struct manifest_key *k, const cJSON *node,
			void *at)
{
	int64_t n;
	const char *s;
	int word;

	switch (k->type) {
	case KEY_BOOL:
		if (cJSON_IsBool(node))
			*(bool *)at = cJSON_IsTrue(node);
		else
			reader_expected(r, "true or false", node);
		return;
	case KEY_INT:
		if (read_int(r, k, node, &n))
			*(int *)at = (int)n;
		return;
	case KEY_INT64:
		if (read_int(r, k, node, &n))
			*(int64_t *)at = n;
		return;
	case KEY_SHARE:
		read_share(r, node, at);
		return;
	case KEY_DURATION:
		read_duration(r, k, node, at);
		return;
	case KEY_WORD:
		read_word(r, k->words, node, at);
		return;
	case KEY_WORD_BOOL:
	case KEY_FIXED:
		word = k->type == KEY_WORD_BOOL && *(bool *)at;
		read_word(r, k->words, node, &word);
		if (k->type == KEY_WORD_BOOL)
			*(bool *)at = word;
		return;
	case KEY_FORMAT:
		if (!json_int(node, "@", &n) || n != 1)
			reader_problem(r, "expected 1, the only format there is");
		return;
	case KEY_HEADER:
		*(const char **)at = read_header(r, node);
		return;
	default:
		s = reader_text(r, node, k->flags);
		*(const char **)at = s && k->type == KEY_PATH ? reader_path(r, s, k->flags) : s;
	}
}

static void read_key(struct manifest_reader *r, const struct manifest_key *k, const cJSON *node,
		     char *base)
{
	switch (k->type) {
	case KEY_TEXTS:
	case KEY_HEADERS:
		read_texts(r, k, node, base);
		return;
	case KEY_PAIRS:
		read_pairs(r, k, node, (struct manifest_pairs *)(base + k->at));
		return;
	case KEY_JSON:
	case KEY_JSON_LIST:
	case KEY_JSON_TEXTS:
	case KEY_JSON_OBJECT:
		read_json(r, k, node, (const cJSON **)(base + k->at));
		return;
	case KEY_OBJECT:
		reader_object(r, k->of, node, base + k->at);
		return;
	case KEY_LIST:
	case KEY_NAMED:
		read_list(r, k, node, base);
		return;
	case KEY_OWN:
		k->read(r, node, base);
		return;
	default:
		read_scalar(r, k, node, base + k->at);
	}
}

/* ---- one object ---- */

static const cJSON *keep_default(struct manifest_reader *r, const char *json)
{
	struct kept_tree *k = arena_new_of(r->arena, struct kept_tree);

	if (json_parse(json, strlen(json), MANIFEST_MAX_BYTES, &k->tree, NULL) < 0)
		return NULL;
	k->next = r->owner->trees;
	r->owner->trees = k;
	return k->tree;
}

static void unknown_key(struct manifest_reader *r, const struct key_table *t, const char *name)
{
	const char *names[KEYS_MAX];
	int n = 0;

	for (int i = 0; i < t->n && n < KEYS_MAX; i++)
		names[n++] = t->keys[i].name;
	reader_problem(r, "unknown key%s", reader_nearest(r, name, names, n));
}

/* Every member must be of the table, and there once.  found[i] is the node of keys[i]. */
static void match_members(struct manifest_reader *r, const struct key_table *t, const cJSON *node,
			  const cJSON **found)
{
	const cJSON *c;

	cJSON_ArrayForEach (c, node) {
		size_t mark;
		int i = 0;

		if (is_comment(c->string))
			continue;
		while (i < t->n && strcmp(t->keys[i].name, c->string) != 0)
			i++;
		mark = reader_down(r, c->string, 0);
		if (i == t->n)
			unknown_key(r, t, c->string);
		else if (found[i])
			reader_problem(r, "given twice");
		else
			found[i] = c;
		reader_up(r, mark);
	}
}

static int word_without(const struct key_word *w)
{
	while (w->name)
		w++;
	return w->value;
}

static void read_members(struct manifest_reader *r, const struct key_table *t,
			 const cJSON *const *found, void *base)
{
	for (int i = 0; i < t->n; i++) {
		const struct manifest_key *k = &t->keys[i];
		const cJSON *node = found[i];
		size_t mark;

		mark = reader_down(r, k->name, 0);
		if (!node && k->fallback)
			node = keep_default(r, k->fallback);
		if (node)
			read_key(r, k, node, base);
		else if (k->flags & KEY_REQUIRED)
			reader_problem(r, "missing");
		else if (k->type == KEY_WORD)
			*(int *)((char *)base + k->at) = word_without(k->words);
		else if (k->type == KEY_OBJECT && !k->of->present && !(k->flags & KEY_INHERITED))
			reader_object(r, k->of, NULL, (char *)base + k->at);
		reader_up(r, mark);
	}
}

void reader_object(struct manifest_reader *r, const struct key_table *t, const cJSON *node,
		   void *base)
{
	const cJSON *found[KEYS_MAX] = { NULL };

	if (node && t->shorthand && cJSON_IsString(node)) {
		for (int i = 0; i < t->n; i++)
			if (strcmp(t->keys[i].name, t->shorthand) == 0)
				found[i] = node;
	} else if (node && !cJSON_IsObject(node)) {
		reader_expected(r, t->shorthand ? "a path or an object" : "an object", node);
		return;
	} else {
		match_members(r, t, node, found);
	}
	read_members(r, t, found, base);
	if (t->finish)
		t->finish(r, base);
}
