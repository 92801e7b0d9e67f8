/* Inside the manifest: several versions of a driver in one (manifest_adapters.c). */
#ifndef DRIVERS_KIT_MANIFEST_ADAPTERS_H
#define DRIVERS_KIT_MANIFEST_ADAPTERS_H

#include "drivers/kit/manifest.h"

struct manifest_reader;

void read_adapters(struct manifest_reader *r, const cJSON *node, void *base);
bool print_adapters(const void *base, struct buf *out);
void read_rollout(struct manifest_reader *r, const cJSON *node, void *base);
bool print_rollout(const void *base, struct buf *out);
/* Once the manifest itself is good.  -EINVAL, the problems told. */
int manifest_make_adapters(struct manifest_reader *r) __attribute__((warn_unused_result));
void manifest_free_adapters(struct manifest *m);

#endif
