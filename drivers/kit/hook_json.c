/* JSON that lives in an arena: trees of cJSON's nodes, which nobody may delete. */
#include <errno.h>
#include <string.h>

#include "drivers/hooks.h"

static cJSON *node(struct arena *a, int type)
{
	cJSON *v = arena_new_of(a, cJSON);

	v->type = type;
	return v;
}

cJSON *hook_object(struct arena *a)
{
	return node(a, cJSON_Object);
}

cJSON *hook_text(struct arena *a, const char *s)
{
	cJSON *v = node(a, s ? cJSON_String : cJSON_NULL);

	v->valuestring = arena_strdup(a, s);
	return v;
}

cJSON *hook_number(struct arena *a, double n)
{
	cJSON *v = node(a, cJSON_Number);

	v->valuedouble = n;
	v->valueint = n > INT32_MAX ? INT32_MAX : n < INT32_MIN ? INT32_MIN : (int)n;
	return v;
}

/* cJSON keeps the last child in the first one's prev. */
static void append(cJSON *object, cJSON *v)
{
	cJSON *last = object->child ? object->child->prev : NULL;

	v->next = NULL;
	if (!last) {
		object->child = v;
		v->prev = v;
		return;
	}
	last->next = v;
	v->prev = last;
	object->child->prev = v;
}

cJSON *hook_copy(struct arena *a, const cJSON *object)
{
	cJSON *copy = node(a, object->type & 0xff);

	copy->valuestring = object->valuestring;
	copy->valuedouble = object->valuedouble;
	copy->valueint = object->valueint;
	for (const cJSON *m = object->child; m; m = m->next) {
		cJSON *v = node(a, m->type);

		*v = *m; /* its children are shared */
		append(copy, v);
	}
	return copy;
}

void hook_set(struct arena *a, cJSON *object, const char *name, cJSON *v)
{
	for (cJSON *m = object->child; m; m = m->next) {
		cJSON *next = m->next, *prev = m->prev;
		char *key = m->string;

		if (!key || strcmp(key, name) != 0)
			continue;
		*m = *v; /* in its place */
		m->string = key;
		m->next = next;
		m->prev = prev;
		return;
	}
	v->string = arena_strdup(a, name);
	append(object, v);
}

int hook_add(struct hook_fields *f, const char *name, const char *value)
{
	if (f->n == HOOK_FIELDS_MAX)
		return -E2BIG;
	f->v[f->n++] = (struct hook_field){ name, value };
	return 0;
}

const char *hook_value(const struct hook_values *v, const char *name)
{
	return v->find ? v->find(name, v->arg) : NULL;
}
