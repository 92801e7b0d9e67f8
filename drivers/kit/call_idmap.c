#include "drivers/kit/call_idmap.h"

#include <stdlib.h>

#include "common/base/mem.h"

#define IDMAP_MIN 64 /* slots; always a power of two, at most half full */

void idmap_clear(struct idmap *m)
{
	free(m->v);
	*m = (struct idmap)IDMAP_INIT;
}

static struct idmap_slot *slot_for(struct idmap_slot *v, size_t cap, int64_t id)
{
	size_t i = ((uint64_t)id * 0x9e3779b97f4a7c15ull >> 20) & (cap - 1);

	while (v[i].value && v[i].id != id)
		i = (i + 1) & (cap - 1);
	return &v[i];
}

void *idmap_get(const struct idmap *m, int64_t id)
{
	return m->cap ? slot_for(m->v, m->cap, id)->value : NULL;
}

static void rebuild(struct idmap *m, size_t cap)
{
	struct idmap_slot *v = mem_zalloc(cap * sizeof(*v));

	for (size_t i = 0; i < m->cap; i++)
		if (m->v[i].value)
			*slot_for(v, cap, m->v[i].id) = m->v[i];
	free(m->v);
	m->v = v;
	m->cap = cap;
}

void idmap_put(struct idmap *m, int64_t id, void *value)
{
	struct idmap_slot *s;

	if ((m->n + 1) * 2 > m->cap)
		rebuild(m, m->cap ? m->cap * 2 : IDMAP_MIN);
	s = slot_for(m->v, m->cap, id);
	if (!s->value)
		m->n++;
	*s = (struct idmap_slot){ id, value };
}

void idmap_sweep(struct idmap *m, bool (*drop)(void *value, void *arg), void *arg)
{
	for (size_t i = 0; i < m->cap; i++) {
		if (!m->v[i].value || !drop(m->v[i].value, arg))
			continue;
		m->v[i].value = NULL;
		m->n--;
	}
	if (m->cap)
		rebuild(m, m->cap); /* holes would cut the chains of those that stay */
}
