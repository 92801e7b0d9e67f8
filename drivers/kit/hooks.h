/* Runs the hooks of a driver's C (drivers/hooks.h).  decode_body and sign_request are run by the door, login by auth, next_page by the
 * pager, adapt_item by the mapping; the rest is asked for here. */
#ifndef DRIVERS_KIT_HOOKS_H
#define DRIVERS_KIT_HOOKS_H

#include "drivers/kit/call.h"

/* Whether the driver's C verifies webhooks, or plans that kind of thing: else the manifest's own way holds. */
static inline bool driver_has(const struct driver *d, const void *slot)
{
	return d->hooks && slot;
}

/* Does not wait.  0: genuine; -EACCES: not; -EINVAL; -ENOSYS: the driver has no such hook. */
int hook_verify_webhook(const struct driver *d, const struct hook_webhook *in, struct arena *a,
			struct hook_event *out, struct err *err)
	__attribute__((warn_unused_result));
/* Waits.  The whole dialogue of an action, call by call through the door.  0: *result, of the arena (NULL: none); -ENOSYS; -EINVAL, or as call(). */
int hook_run_action(struct caller *c, const char *name, const cJSON *in, const char *key,
		    struct arena *a, const cJSON **result, struct err *err)
	__attribute__((warn_unused_result));

/* A hook's request as the door takes it.  query and headers have HOOK_FIELDS_MAX places; borrowed by spec. */
struct call_spec;
void hook_spec(const struct hook_request *q, struct manifest_pair *query,
	       struct http_header *headers, struct call_spec *out);
/* Fields of the integration's settings, as text, or what the manifest says where they are not set. */
struct hook_settings {
	const struct manifest *manifest;
	const struct integration *integration;
	struct arena *arena;
};
struct hook_values hook_settings_of(struct hook_settings *s);

#endif
