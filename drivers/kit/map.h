/* One item of a partner's answer -> one row.  Ids always text; missing, null and empty told apart; money to minor
 * units without floats; many date formats; enums with a catch-all.  Strings in the row are borrowed from the item or the arena.
 * Nothing here waits. */
#ifndef DRIVERS_KIT_MAP_H
#define DRIVERS_KIT_MAP_H

#include "common/base/arena.h"
#include "drivers/hooks.h"
#include "drivers/kit/manifest.h"

struct map_context {
	const struct manifest *manifest;
	const struct manifest_collection *collection;
	int64_t integration_id, observed_us;
	const char *
		parent_id; /* for each / embedded: the partner's own id of the parent, without id_prefix; else NULL */
	int index; /* @index: position in the parent or page */
	struct arena *arena;
	/* Told of each value that only an enum's "*" took: one that came later than the manifest.  NULL: nobody. */
	void (*unknown)(const char *column, const char *value, void *arg);
	void *unknown_arg;
	const struct driver_hooks *hooks; /* adapt_item; NULL: none */
};
/* out->gone: the item says that it is deleted, or merged (map_merged); then it has a key and its times, and no columns.
 * 0 | -EINVAL: the item is set aside: err has the field in `where` and the reason in text ("name: required, but null"). */
int map_item(const struct map_context *m, const cJSON *item, struct row *out, struct err *err)
	__attribute__((warn_unused_result));
/* Of an item that map_item found gone: rows that the partner says it became (merged_into), as external ids of the arena; one: it was
 * merged into that, several: it was split.  0: it is deleted, no more. */
int map_merged(const struct map_context *m, const cJSON *item, const char ***ids)
	__attribute__((warn_unused_result));
/* The row of an item that is set aside, as far as that is known: NULL, its id cannot be told.  Of the arena. */
const char *map_key(const struct map_context *m, const cJSON *item);
/* Minor units from "12.34", 12.34, "1,234.50" with a currency's digits (JPY 0, KWD 3, default 2). */
int map_money(const char *text, const char *currency, int64_t *out_minor)
	__attribute__((warn_unused_result)); /* -EINVAL, -ERANGE */

#endif
