/* The values of {in.X}, as the manifest's params declare them.  Nothing here waits. */
#ifndef DRIVERS_KIT_PARAMS_H
#define DRIVERS_KIT_PARAMS_H

#include "common/base/arena.h"
#include "drivers/kit/manifest.h"

struct params_of {
	const struct manifest_param *v;
	int n;
	const char *rule, *shown; /* "args.params", "params." */
	const char *name;         /* of the lookup or action */
	bool prose;               /* texts are kept as they are, up to 64 KiB, empty ones too */
};
/* n texts of the arena, NULL for what was left out; of PARAM_BOOL and PARAM_JSON their JSON.  given: an object, or NULL.
 * -EINVAL with ERR_BAD_JOB that names the param. */
int params_read(const struct params_of *of, const cJSON *given, struct arena *arena,
		const char **out, struct err *err) __attribute__((warn_unused_result));

#endif
