/* A hash table from integration ids to pointers, for the door's caches.  Nothing here waits. */
#ifndef DRIVERS_KIT_CALL_IDMAP_H
#define DRIVERS_KIT_CALL_IDMAP_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct idmap {
	struct idmap_slot {
		int64_t id;
		void *value;
	} * v; /* value NULL: free */
	size_t cap, n;
};

#define IDMAP_INIT         \
	{                  \
		NULL, 0, 0 \
	}

void idmap_clear(struct idmap *m);                  /* the table alone, not what it points to */
void *idmap_get(const struct idmap *m, int64_t id); /* NULL: none */
void idmap_put(struct idmap *m, int64_t id, void *value); /* adds or replaces */
/* Asks drop for each value; where it says true (and has let go of the value) the entry goes. */
void idmap_sweep(struct idmap *m, bool (*drop)(void *value, void *arg), void *arg);

#endif
