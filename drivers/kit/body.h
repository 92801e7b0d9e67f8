/* The body of a request as api.body says: JSON, or a form or XML of the same members. */
#ifndef DRIVERS_KIT_BODY_H
#define DRIVERS_KIT_BODY_H

#include "common/base/json.h"
#include "drivers/kit/manifest.h"

/* Appends; returns its Content-Type.  In a form what is nested is named with brackets: a[b]=1, a[]=1 for the values of a list,
 * a[0][b]=1 for its objects; null is left out.  In XML they are named as in answers that were XML: "-name" an attribute, "#text" the
 * text beside elements, a list one element each; the first member is the root. */
const char *body_write(const struct manifest *m, const cJSON *v, struct buf *out);

#endif
