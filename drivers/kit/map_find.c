#include "drivers/kit/map_find.h"

#include <string.h>

static const cJSON *make_node(const struct item *i, int type, const char *text, double number)
{
	cJSON *v = arena_new_of(i->arena, cJSON);

	v->type = type;
	v->valuestring = arena_strdup(i->arena, text);
	v->valuedouble = number;
	return v;
}

static const cJSON *find_one(const struct item *i, const char *path)
{
	if (strcmp(path, "@index") == 0)
		return make_node(i, cJSON_Number, NULL, i->index);
	if (strcmp(path, "@key") == 0)
		return i->json->string ? make_node(i, cJSON_String, i->json->string, 0) : NULL;
	return json_path(i->json, path);
}

bool json_is_nothing(const cJSON *v)
{
	return !v || cJSON_IsNull(v);
}

bool json_is_empty_text(const cJSON *v)
{
	return cJSON_IsString(v) && !*v->valuestring;
}

/* The n characters at p, without the blanks after them. */
static const char *alternative(const struct item *i, const char *p, size_t n)
{
	while (n > 0 && p[n - 1] == ' ')
		n--;
	return arena_strndup(i->arena, p, n);
}

const cJSON *item_find(const struct item *i, const char *path)
{
	const cJSON *best = NULL;

	if (!strchr(path, '|'))
		return find_one(i, path);
	for (const char *p = path;;) {
		size_t n;
		const cJSON *v;

		p += strspn(p, " ");
		n = strcspn(p, "|");
		v = find_one(i, alternative(i, p, n));
		if (!json_is_nothing(v) && !json_is_empty_text(v))
			return v;
		if (json_is_nothing(best) && v)
			best = v;
		if (!p[n])
			return best;
		p += n + 1;
	}
}

const char *item_text(const struct item *i, const char *path)
{
	const cJSON *v = path ? item_find(i, path) : NULL;
	struct buf text = BUF_INIT;
	const char *s = NULL;

	if (cJSON_IsString(v))
		return *v->valuestring ? v->valuestring : NULL;
	if (v && json_scalar_text(v, &text))
		s = arena_strndup(i->arena, text.data, text.len);
	buf_clear(&text);
	return s;
}
