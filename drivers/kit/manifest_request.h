/* The keys of one request, for the tables of webhooks and actions; a part of manifest_read.h. */
#ifndef DRIVERS_KIT_MANIFEST_REQUEST_H
#define DRIVERS_KIT_MANIFEST_REQUEST_H

#include <stddef.h>

#include "drivers/kit/manifest_read.h"

/* Of a struct manifest_request that starts `at` bytes into what the table is of. */
#define REQUEST(at_, member) .at = (at_) + offsetof(struct manifest_request, member)
#define REQUEST_KEYS(at_)                                                                 \
	{ "get", KEY_TEXT, REQUEST(at_, get) }, { "post", KEY_TEXT, REQUEST(at_, post) }, \
		{ "put", KEY_TEXT, REQUEST(at_, put) },                                   \
		{ "patch", KEY_TEXT, REQUEST(at_, patch) },                               \
		{ "delete", KEY_TEXT, REQUEST(at_, remove) },                             \
		{ "query", KEY_PAIRS, REQUEST(at_, query) },                              \
	{                                                                                 \
		"json", KEY_JSON_OBJECT, REQUEST(at_, json)                               \
	}

extern const struct key_table manifest_request_table; /* of struct manifest_request alone */
/* That it is exactly one of them. */
void request_finish(struct manifest_reader *r, const struct manifest_request *q);

#endif
