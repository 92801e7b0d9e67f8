/* Inside of the store: a credential as it is written, for integration.c (with the integration,
 * in one transaction) and credential.c (alone). */
#ifndef COMMON_STORE_SEALED_H
#define COMMON_STORE_SEALED_H

#include "common/base/crypto.h"
#include "common/io/pg.h"

extern const char credential_first_sql[];
int credential_seal(const struct keyring *k, int64_t integration_id, const struct secret *json,
		    struct buf *out, struct err *err) __attribute__((warn_unused_result));
void credential_params(struct pg_params *out, int64_t integration_id, const char *sealed);

#endif
