/* Inside of map: what map*.c share. */
#ifndef DRIVERS_KIT_MAP_PARTS_H
#define DRIVERS_KIT_MAP_PARTS_H

#include "drivers/kit/map.h"
#include "drivers/kit/map_find.h"

#define HASH_HEX \
	32 /* of the 64 of a SHA-256: collisions do not happen by chance, and rows stay small */

/* Columns that mean something here, by table: found once, not for each item.  -1: the table has none. */
struct known {
	bool found;
	int at[2], on[2], capacity, lat, lng, parent, extra, country, currency;
};

/* An item on its way to a row. */
struct mapping {
	const struct map_context *m;
	const struct known *known;
	struct item from;
	struct row row;
	const char *country; /* what was sent as a country and is no code */
	struct err *err;
};

/* -EINVAL, with the field and the reason in err. */
int set_aside(struct mapping *x, const char *field, const char *fmt, ...)
	__attribute__((format(printf, 3, 4)));
const char *hash_text(struct mapping *x, const struct buf *text); /* HASH_HEX characters */

/* ---- map_key.c: which row it is, of when, and whose ---- */
int map_id(struct mapping *x) __attribute__((warn_unused_result));
int map_updated(struct mapping *x) __attribute__((warn_unused_result));
void map_parent(struct mapping *x);
/* Behind map_id.  How many rows' ids (of the arena) the item says it became; 0: it is itself.  -EINVAL: as set_aside. */
int map_heirs(struct mapping *x, const char ***ids) __attribute__((warn_unused_result));

#endif
