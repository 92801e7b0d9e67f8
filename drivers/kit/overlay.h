/* What one integration has otherwise than the manifest says: limits (of the integration and its groups of endpoints,
 * each in the place of the one with its scope and window), and columns and extras of collections.
 *
 *   {"limits": [{"rate": 30, "window": "1s"}], "collections": {"listings": {"map": {"name": "title"}, "extra": ["*"]}}}
 *
 * Read by the manifest's own tables, then put over the manifest, and the whole is checked again as any manifest: what comes
 * of it is one, immutable, with a life of its own. */
#ifndef DRIVERS_KIT_OVERLAY_H
#define DRIVERS_KIT_OVERLAY_H

#include "drivers/kit/manifest.h"

#define OVERLAY_MAX_BYTES (256 * 1024)

/* shown: what problems name as their file.  0, or -EINVAL with one line a problem appended. */
int manifest_overlay(const struct manifest *base, const char *shown, const char *text, size_t len,
		     struct manifest **out, struct buf *problems)
	__attribute__((warn_unused_result));

#endif
