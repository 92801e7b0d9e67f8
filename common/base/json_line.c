/* Where in a text a value stands.  A second, lenient reader: the text was parsed before, so this
 * one only has to be safe on anything and right on valid JSON. */
#include <string.h>

#include "common/base/json.h"

struct place {
	const char *p, *end;
};

static void skip_space(struct place *s)
{
	while (s->p < s->end && strchr(" \n\r\t", *s->p) && *s->p)
		s->p++;
}

/* Past the closing quote of the string at p. */
static void skip_string(struct place *s)
{
	for (s->p++; s->p < s->end && *s->p != '"'; s->p++)
		if (*s->p == '\\')
			s->p++;
	s->p = s->p < s->end ? s->p + 1 : s->end;
}

static void skip_value(struct place *s)
{
	int depth = 0;

	skip_space(s);
	while (s->p < s->end) {
		char c = *s->p;

		if (c == '"') {
			skip_string(s);
			if (depth == 0)
				return;
			continue;
		}
		if (c == '{' || c == '[')
			depth++;
		else if (c == '}' || c == ']')
			depth--;
		else if (c == ',' && depth == 0)
			return;
		if (depth < 0)
			return;
		s->p++;
		if (depth == 0 && (c == '}' || c == ']'))
			return;
	}
}

/* If the path begins with the name at p (between quotes) as a whole step, the rest of the path;
 * else NULL.  A name with an escape in it is compared as written, less its backslashes. */
static const char *match_key(const struct place *s, const char *path)
{
	const char *p = s->p + 1;

	for (; p < s->end && *p != '"'; p++, path++) {
		if (*p == '\\' && p + 1 < s->end)
			p++;
		if (!*path || *path != *p)
			return NULL;
	}
	return *path == '\0' || *path == '.' || *path == '[' ? path : NULL;
}

static const char *find(struct place s, const char *path, int depth);

static const char *find_member(struct place s, const char *path, int depth)
{
	const char *found, *rest;

	for (s.p++;; s.p++) { /* past '{' or ',' */
		skip_space(&s);
		if (s.p >= s.end || *s.p != '"')
			return NULL;
		rest = match_key(&s, path);
		skip_string(&s);
		skip_space(&s);
		if (s.p >= s.end || *s.p != ':')
			return NULL;
		s.p++;
		found = rest ? find(s, rest, depth + 1) : NULL;
		if (found)
			return found;
		skip_value(&s);
		skip_space(&s);
		if (s.p >= s.end || *s.p != ',')
			return NULL;
	}
}

static const char *find_element(struct place s, const char *path, int depth)
{
	long index = 0;

	if (*path < '0' || *path > '9')
		return NULL;
	for (; *path >= '0' && *path <= '9' && index < 100000000; path++)
		index = index * 10 + (*path - '0');
	if (*path != ']')
		return NULL;
	for (s.p++; index > 0; index--) {
		skip_value(&s);
		skip_space(&s);
		if (s.p >= s.end || *s.p != ',')
			return NULL;
		s.p++;
	}
	skip_space(&s);
	if (s.p < s.end && *s.p == ']')
		return NULL;
	return find(s, path + 1, depth + 1);
}

/* Names may themselves hold dots, so a name that matches and leads nowhere is not the end. */
static const char *find(struct place s, const char *path, int depth)
{
	skip_space(&s);
	if (s.p >= s.end || depth > JSON_DEPTH_MAX)
		return NULL;
	if (*path == '\0')
		return s.p;
	if (*path == '[')
		return *s.p == '[' ? find_element(s, path + 1, depth) : NULL;
	if (*path == '.')
		path++;
	return *s.p == '{' ? find_member(s, path, depth) : NULL;
}

int json_line_of(const char *text, size_t len, const char *path)
{
	struct place s = { text, text + len };
	const char *at;
	int line = 1;

	if (!text || !path)
		return 0;
	if (len >= 3 && memcmp(text, "\xef\xbb\xbf", 3) == 0)
		s.p += 3;
	at = find(s, strcmp(path, "@") == 0 ? "" : path, 0);
	if (!at)
		return 0;
	for (const char *p = text; p < at; p++)
		line += *p == '\n';
	return line;
}
