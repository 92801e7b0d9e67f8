/* Inside of the manifest's reader: the names that templates hold in braces, as manifest_names.c (one template) and
 * manifest_templates.c (all that a manifest has, and what must be named where) share them. */
#ifndef DRIVERS_KIT_MANIFEST_NAMES_H
#define DRIVERS_KIT_MANIFEST_NAMES_H

#include "drivers/kit/manifest_read.h"

#define SETTINGS_MAX 32

/* Which names a place allows, or a template has. */
enum {
	IN_CFG = 1,
	IN_CRED = 2,
	IN_PARENT = 4,
	IN_ID = 8,
	IN_TIME = 16, /* now */
	IN_SINCE = 32,
	IN_CURSOR = 64,
	IN_IDS = 128,
	IN_UNTIL = 256,
	IN_IN = 512,
	IN_KEPT = 1024,
	IN_KEY = 2048,
	IN_CALLBACK = 4096,
	IN_EVENTS = 8192,
	IN_WEBHOOK = 16384,
	IN_REQUEST = 32768, /* of one that is signed */
	IN_STAMP = 65536,   /* ts, nonce, the body's hash */
	IN_SIGNATURE = 131072,
	IN_WEBHOOK_SECRET = 262144,
	IN_EVENT = 524288, /* of one registration for each */
	IN_EVENT_PART = 1048576,
	IN_REFERENCE = 2097152,
	IN_WEBHOOKS = IN_CFG | IN_CALLBACK | IN_EVENTS,
	IN_ONCE = IN_IN,
	IN_ACTION = IN_CFG | IN_IN | IN_KEPT | IN_KEY | IN_TIME,
	IN_STEP = IN_ACTION | IN_REFERENCE | IN_CALLBACK,
};

struct template_place {
	const char *path;
	unsigned allowed;
	const struct manifest_collection *parent; /* of {parent.X}; or NULL */
	uint64_t *parent_columns;                 /* which of them are named */
	const struct manifest_action *action; /* of {in.X}, and {kept.X} with the steps before */
	int steps;
};

/* All return what is named; what may not be is a problem at the place's path.  Settings that are named become the manifest's. */
unsigned names_check(struct manifest_reader *r, const struct template_place *t,
		     const char *template);
unsigned names_check_pairs(struct manifest_reader *r, struct template_place t,
			   const struct manifest_pairs *p);
unsigned names_check_json(struct manifest_reader *r, struct template_place t,
			  const cJSON *v); /* the texts of a body */
unsigned names_check_request(struct manifest_reader *r, struct template_place t,
			     const struct manifest_request *q);
/* One more of the manifest's settings; a name that cannot be one is a problem at the place's path. */
void names_add_setting(struct manifest_reader *r, const struct template_place *t, const char *name);

#endif
