/* Finding a path in a partner's item: json_path, and what it does not know: `@index`, `@key`, and that an empty text
 * stands back behind the next alternative's words.  Nothing here waits. */
#ifndef DRIVERS_KIT_MAP_FIND_H
#define DRIVERS_KIT_MAP_FIND_H

#include <stdbool.h>

#include "common/base/arena.h"
#include "common/base/json.h"

struct item {
	const cJSON *json;
	int index; /* @index */
	struct arena *arena;
};

const cJSON *item_find(const struct item *i, const char *path); /* NULL: missing */
/* A scalar as text; NULL if it is missing, null, empty, or no scalar.  Borrowed from the item, or of the arena. */
const char *item_text(const struct item *i, const char *path);
bool json_is_nothing(const cJSON *v);    /* missing or null */
bool json_is_empty_text(const cJSON *v); /* "" */

#endif
