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

static uint16_t letters_of(const char *name, size_t len)
{
	return (uint16_t)((len > 0 ? (unsigned char)name[0] : 0) |
			  (len > 1 ? (unsigned char)name[1] << 8 : 0));
}

void item_members_init(struct item_members *m, const cJSON *json)
{
	const cJSON *c = cJSON_IsObject(json) ? json->child : NULL;

	for (m->n = 0; c && m->n < ITEM_MEMBERS_MAX; c = c->next) {
		const char *name = c->string ? c->string : "";

		m->letters[m->n] = letters_of(name, *name ? 1 + (name[1] != '\0') : 0);
		m->v[m->n++] = c;
	}
	m->rest = c;
}

static const cJSON *member(const struct item_members *m, const char *name, size_t len)
{
	uint16_t letters = letters_of(name, len);

	for (int k = 0; k < m->n; k++)
		if (m->letters[k] == letters && json_is_named(m->v[k], name, len))
			return m->v[k];
	for (const cJSON *c = m->rest; c; c = c->next)
		if (json_is_named(c, name, len))
			return c;
	return NULL;
}

const cJSON *item_member(const struct item *i, const char *name)
{
	return i->members ? member(i->members, name, strlen(name))
			  : cJSON_GetObjectItemCaseSensitive(i->json, name);
}

/* Length of the member's name that a path begins with.  0: it is one of the forms that json_path knows. */
static size_t name_len(const char *path)
{
	size_t n = 0;

	while (path[n] && path[n] != '.' && path[n] != '[' && path[n] != '{') {
		if (path[n] == ' ' || path[n] == '@' || path[n] == '|')
			return 0;
		n++;
	}
	return path[n] && strchr(path + n, ' ') ? 0 : n;
}

static const cJSON *find_one(const struct item *i, const char *path)
{
	size_t n = i->members ? name_len(path) : 0;
	const cJSON *v;

	if (n) {
		v = member(i->members, path, n);
		return v && path[n] ? json_path_on(v, path + n) : v;
	}
	if (strcmp(path, "@index") == 0)
		return make_node(i, cJSON_Number, NULL, i->index);
	if (strcmp(path, "@key") == 0)
		return i->json->string ? make_node(i, cJSON_String, i->json->string, 0) : NULL;
	return json_path(i->json, path);
}

bool json_is_nothing(const cJSON *v)
{
	return !v || (v->type & 0xff) == cJSON_NULL;
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
