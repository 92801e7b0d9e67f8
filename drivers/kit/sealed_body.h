/* The body of an event that brings credentials, as its job holds it (common/queue/intake.h): encrypted, and bound to the event and its
 * integration.  Nothing here waits. */
#ifndef DRIVERS_KIT_SEALED_BODY_H
#define DRIVERS_KIT_SEALED_BODY_H

#include "common/base/crypto.h"
#include "common/base/json.h"
#include "common/queue/intake.h"

/* INTAKE_HASH_CHARS hex digits of an event's id and its integration. */
void event_hash(const char *event_id, int64_t integration, char out[INTAKE_HASH_CHARS + 1]);
/* Appends.  -ENOKEY: k is NULL; as crypto_seal. */
int body_seal(const struct keyring *k, const char *hash, const char *body, size_t len,
	      struct buf *out) __attribute__((warn_unused_result));
/* Of a job's args; *out is the caller's (json_zero, cJSON_Delete).  As crypto_open; -EBADMSG also where it is of another event or
 * integration. */
int body_unseal(const struct keyring *k, const cJSON *args, int64_t integration, cJSON **out)
	__attribute__((warn_unused_result));

#endif
