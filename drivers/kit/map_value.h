/* One value of a partner's -> one value of a row: the conversions behind map.h, which manifest_map.c also runs over
 * a manifest's constants and defaults, so that what a manifest says fits before the first item comes.
 * Nothing here waits. */
#ifndef DRIVERS_KIT_MAP_VALUE_H
#define DRIVERS_KIT_MAP_VALUE_H

#include "common/base/arena.h"
#include "drivers/kit/manifest.h"

#define MAP_TEXT_MAX_BYTES (64 * 1024)

/* v is no null.  currency (may be NULL) is for money.  0; 1: it is empty, which is SQL NULL; -EINVAL with the reason in `why`
 * ("\"12abc\" is no whole number"), of the arena.  Texts in *out are borrowed from v or of the arena. */
int map_value(const struct manifest_column *c, const cJSON *v, const char *currency,
	      struct arena *arena, struct row_value *out, const char **why)
	__attribute__((warn_unused_result));
/* The minor digits of an ISO 4217 code, -1 if it is none.  Capitals or not; upper (may be NULL) gets it in capitals. */
int currency_digits(const char *code, char upper[4]);

#endif
