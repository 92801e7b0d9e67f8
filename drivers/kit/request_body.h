/* The body of a request, made of JSON: as it is, or as a form (api.body).  Pure. */
#ifndef DRIVERS_KIT_REQUEST_BODY_H
#define DRIVERS_KIT_REQUEST_BODY_H

#include "common/base/buf.h"
#include "drivers/kit/manifest.h"

/* Appends it; returns its content type.  In a form what lies deeper is named as PHP and Rails do: a[b]=1, a[]=1; null is left out. */
const char *request_body(const struct manifest *m, const cJSON *v, struct buf *out);

#endif
