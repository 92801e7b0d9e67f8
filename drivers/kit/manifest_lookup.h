/* What can be asked of a partner and is answered from the cache where it can be: `lookups` of the manifest. */
#ifndef DRIVERS_KIT_MANIFEST_LOOKUP_H
#define DRIVERS_KIT_MANIFEST_LOOKUP_H

#include <stdbool.h>
#include <stdint.h>

#include "common/base/json.h"
#include "drivers/kit/manifest_pairs.h"

#define LOOKUP_PARAMS_MAX 16
#define LOOKUP_FIELDS_MAX 64

enum param_as {
	PARAM_TEXT,
	PARAM_LIST, /* of words, in any order */
	PARAM_NUMBER,
	PARAM_INT,
	PARAM_AMOUNT,   /* of money: minor units, above 0 */
	PARAM_CURRENCY, /* a code of ISO 4217 */
	PARAM_BOOL,     /* these two of actions alone */
	PARAM_JSON      /* whatever it is, as it is */
};
enum param_case { CASE_KEEP, CASE_LOWER, CASE_UPPER };
/* One {in.X}: brought to one form before it is sent and before it names a cached answer. */
struct manifest_param {
	const char *name;
	int as, letters;        /* enum param_as, enum param_case */
	int digits;             /* of a number, after the point */
	const cJSON *min, *max; /* numbers, or NULL */
	const cJSON *fallback;  /* "default", or NULL */
	bool optional;          /* left out with whatever names it */
};

enum field_as { FIELD_AS_IT_IS, FIELD_TEXT, FIELD_NUMBER, FIELD_INT, FIELD_BOOL };
struct manifest_field {
	const char *name, *path;
	int as; /* enum field_as */
	bool required;
};

struct manifest_lookup {
	const char *name, *get;
	struct manifest_pairs query;
	const struct manifest_param *params;
	int n_params;
	const char
		*result; /* where the answer's data are; nothing there: the partner knows of none */
	const char *found;                /* what must be there too, or NULL */
	const struct manifest_field *map; /* n_map 0: the data as they are */
	int n_map;
	int64_t ttl_ms, stale_ms, negative_ms;
	bool revalidate;
	const cJSON *placeholder; /* of an optional partner; NULL: none */
	const cJSON *example;     /* params to record an answer with; NULL: none */
	const char *group;
};

#endif
