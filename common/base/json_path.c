/* Finding values in a tree.  One walker serves all forms; a path without special characters, the
 * usual case in manifests, is a single lookup. */
#include <stdlib.h>
#include <string.h>

#include "common/base/json.h"

#define JSON_INT_MAX 9007199254740992.0 /* 2^53: beyond, a double skips integers */
#define INDEX_MAX_DIGITS 9

struct walk {
	json_each_fn fn;
	void *arg;
	const char *key; /* of the innermost wildcard */
	int index;
	int calls;
};

static bool is_special(char c)
{
	return c == '.' || c == '[' || c == '{' || c == '|';
}

/* Keys are short, and most differ in their first letter: a call of strncmp costs more. */
bool json_is_named(const cJSON *member, const char *name, size_t len)
{
	const char *s = member->string;

	for (size_t i = 0; s && i < len; i++)
		if (s[i] != name[i])
			return false;
	return s && s[len] == '\0';
}

static bool is_type(const cJSON *v, int type)
{
	return (v->type & 0xff) == type;
}

static const cJSON *member(const cJSON *v, const char *key, size_t len)
{
	if (!is_type(v, cJSON_Object))
		return NULL;
	for (const cJSON *c = v->child; c; c = c->next)
		if (json_is_named(c, key, len))
			return c;
	return NULL;
}

static const cJSON *element(const cJSON *v, long index)
{
	if (!cJSON_IsArray(v))
		return NULL;
	if (index < 0)
		index += cJSON_GetArraySize(v);
	return index < 0 ? NULL : cJSON_GetArrayItem(v, (int)index);
}

/* "[12]" or "[-1]" at p: its value and what follows; NULL if it is none. */
static const char *index_read(const char *p, const char *end, long *out)
{
	bool negative = p + 1 < end && p[1] == '-';
	const char *d = p + 1 + negative, *start = d;
	long v = 0;

	while (d < end && *d >= '0' && *d <= '9' && d - start < INDEX_MAX_DIGITS)
		v = v * 10 + (*d++ - '0');
	if (d == start || d >= end || *d != ']')
		return NULL;
	*out = negative ? -v : v;
	return d + 1;
}

static int walk(const cJSON *v, const char *p, const char *end, struct walk *w);

static int walk_children(const cJSON *v, const char *p, const char *end, struct walk *w)
{
	int index = 0, rc = 0;

	for (const cJSON *c = v->child; c && rc == 0; c = c->next) {
		w->key = c->string;
		w->index = index++;
		rc = walk(c, p, end, w);
	}
	return rc;
}

/* One step at p, never a wildcard: the value there (NULL if none or malformed) and the rest. */
static const cJSON *step(const cJSON *v, const char **p, const char *end)
{
	const char *key = *p + (**p == '.');
	const char *stop = key;
	long index;

	if (**p == '[') {
		*p = index_read(*p, end, &index);
		return *p ? element(v, index) : NULL;
	}
	while (stop < end && !is_special(*stop))
		stop++;
	*p = stop;
	return stop > key ? member(v, key, (size_t)(stop - key)) : NULL;
}

/* Recurses once for each wildcard, and each goes a level down in the tree. */
static int walk(const cJSON *v, const char *p, const char *end, struct walk *w)
{
	while (p < end && v) {
		bool wild = end - p >= 3 && p[1] == '*' && p[2] == (*p == '[' ? ']' : '}');

		if (wild && *p == '[')
			return cJSON_IsArray(v) ? walk_children(v, p + 3, end, w) : 0;
		if (wild && *p == '{')
			return cJSON_IsObject(v) ? walk_children(v, p + 3, end, w) : 0;
		if (*p == '{')
			return 0;
		v = step(v, &p, end);
	}
	if (!v)
		return 0;
	w->calls++;
	return w->fn(v, w->key, w->index, w->arg);
}

/* One alternative, without the spaces around it and without the @ that stands for the item. */
static int walk_alternative(const cJSON *item, const char *p, const char *end, struct walk *w)
{
	while (p < end && *p == ' ')
		p++;
	while (end > p && end[-1] == ' ')
		end--;
	if (p == end)
		return 0;
	if (*p == '@' && (p + 1 == end || is_special(p[1])))
		p++;
	else if (*p == '.')
		return 0;
	w->key = NULL;
	w->index = 0;
	return walk(item, p, end, w);
}

static const char *alternative_end(const char *p)
{
	const char *bar = strchr(p, '|');

	return bar ? bar : p + strlen(p);
}

static int take_first(const cJSON *value, const char *key, int index, void *arg)
{
	const cJSON **found = arg;

	if (!*found || !cJSON_IsNull(value))
		*found = value;
	return !cJSON_IsNull(value);
}

const cJSON *json_path(const cJSON *item, const char *path)
{
	const cJSON *found = NULL;
	struct walk w = { .fn = take_first, .arg = &found };
	const char *p = path, *end;

	if (!item || !path)
		return NULL;
	while (*p && !is_special(*p) && *p != '@' && *p != ' ')
		p++;
	if (!*p)
		return *path ? member(item, path, (size_t)(p - path)) : NULL;
	for (p = path;; p = end + 1) {
		end = alternative_end(p);
		if (walk_alternative(item, p, end, &w) || !*end)
			return found;
	}
}

const cJSON *json_path_on(const cJSON *v, const char *steps)
{
	const cJSON *found = NULL;
	struct walk w = { .fn = take_first, .arg = &found };
	const char *stop;

	for (; v && *steps == '.'; steps = stop) { /* which is all of most paths */
		for (stop = steps + 1; *stop && !is_special(*stop);)
			stop++;
		v = stop > steps + 1 ? member(v, steps + 1, (size_t)(stop - steps - 1)) : NULL;
	}
	if (!v || !*steps)
		return v;
	walk(v, steps, steps + strlen(steps), &w);
	return found;
}

/* Of alternatives, the first that finds anything. */
int json_path_each(const cJSON *item, const char *path, json_each_fn fn, void *arg)
{
	struct walk w = { .fn = fn, .arg = arg };
	const char *p = path, *end;
	int rc;

	if (!item || !path)
		return 0;
	for (;; p = end + 1) {
		end = alternative_end(p);
		rc = walk_alternative(item, p, end, &w);
		if (rc || w.calls || !*end)
			return rc;
	}
}

const char *json_str(const cJSON *item, const char *path)
{
	const cJSON *v = json_path(item, path);

	return cJSON_IsString(v) ? v->valuestring : NULL;
}

bool json_int(const cJSON *item, const char *path, int64_t *out)
{
	const cJSON *v = json_path(item, path);

	if (!cJSON_IsNumber(v) || v->valuestring || !(v->valuedouble >= -JSON_INT_MAX) ||
	    v->valuedouble > JSON_INT_MAX || v->valuedouble != __builtin_trunc(v->valuedouble))
		return false;
	*out = (int64_t)v->valuedouble;
	return true;
}

bool json_bool(const cJSON *item, const char *path, bool fallback)
{
	const cJSON *v = json_path(item, path);

	return cJSON_IsBool(v) ? cJSON_IsTrue(v) : fallback;
}
