/* The keyring's inside, shared by keyring.c (loads it) and crypto.c (uses it).  Nobody else
 * includes this: keys leave it only as ciphertext. */
#ifndef COMMON_BASE_KEYRING_H
#define COMMON_BASE_KEYRING_H

#include <stdbool.h>

#include "common/base/crypto.h"

#define KEY_BYTES 32
#define KEY_ID_MAX 31
#define KEYRING_MAX 32

struct key {
	char id[KEY_ID_MAX + 1];
	uint8_t bytes[KEY_BYTES];
};

struct keyring {
	struct key keys[KEYRING_MAX]; /* the first encrypts */
	int count;
};

const struct key *keyring_find(const struct keyring *k, const char *id,
			       size_t len); /* NULL if absent */

#endif
