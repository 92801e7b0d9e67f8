/* Inside of action.c, action_call.c and action_fill.c; nobody else includes this. */
#ifndef DRIVERS_KIT_ACTION_PARTS_H
#define DRIVERS_KIT_ACTION_PARTS_H

#include "drivers/kit/action.h"

struct action_naming {
	const struct action_values *v;
	struct buf keep;
};
/* A subst_lookup; arg: a struct action_naming.  Good until the next. */
const char *action_text(const char *name, void *arg);

/* What this text belongs to is left out: it names what may be missing, and is. */
bool action_leaves_out(const struct action_values *v, const char *template);
/* The same, and of what earlier steps kept. */
bool action_names_nothing(const struct action_values *v, const char *template);
/* Nothing that the texts in t name is left out. */
bool action_has_all(const cJSON *t, const struct action_values *v);

/* A copy of t with its texts filled, the caller's; a text that is one name alone becomes the value itself. */
int action_fill(const cJSON *t, struct action_naming *n, cJSON **out, struct err *err)
	__attribute__((warn_unused_result));

#endif
