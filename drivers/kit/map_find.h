/* Finding a path in a partner's item: json_path, and what it does not know: `@index`, `@key`, and that an empty text
 * stands back behind the next alternative's words.  Nothing here waits. */
#ifndef DRIVERS_KIT_MAP_FIND_H
#define DRIVERS_KIT_MAP_FIND_H

#include <stdbool.h>
#include <stdint.h>

#include "common/base/arena.h"
#include "common/base/json.h"

/* An item's members by the first two letters of their names: a map asks for some thirty of them, and each time the list
 * would be walked from its first. */
#define ITEM_MEMBERS_MAX 64
struct item_members {
	int n;
	uint16_t letters[ITEM_MEMBERS_MAX];
	const cJSON *v[ITEM_MEMBERS_MAX];
	const cJSON *rest; /* those behind them; NULL: there are no more */
};

struct item {
	const cJSON *json;
	int index; /* @index */
	struct arena *arena;
	const struct item_members *members; /* of json; NULL: not noted, all is found without */
};

void item_members_init(struct item_members *m, const cJSON *json);
const cJSON *item_member(const struct item *i, const char *name); /* no path; NULL: missing */
const cJSON *item_find(const struct item *i, const char *path);   /* NULL: missing */
/* A scalar as text; NULL if it is missing, null, empty, or no scalar.  Borrowed from the item, or of the arena. */
const char *item_text(const struct item *i, const char *path);
bool json_is_nothing(const cJSON *v);    /* missing or null */
bool json_is_empty_text(const cJSON *v); /* "" */

#endif
