/* Tokens of the HTTP API: who may do what.  All with a struct pg wait. */
#ifndef COMMON_STORE_API_TOKEN_H
#define COMMON_STORE_API_TOKEN_H

#include "common/store/store.h"

enum api_scope { API_PUSH = 1, API_READ = 2, API_OPERATE = 4 };
/* "push,read" to bits.  -EINVAL: an unknown word, or none. */
int api_scopes_parse(const char *words, unsigned *out) __attribute__((warn_unused_result));

#define API_TOKEN_BYTES 64 /* "ls_" and 52 letters and digits */
/* A new token; text is shown once.  -EEXIST: one of that name is in use.  expires_in_ms 0: never. */
int api_token_add(struct pg *p, const char *name, unsigned scopes, int64_t per_minute,
		  int64_t expires_in_ms, char text[API_TOKEN_BYTES], int64_t *id, struct err *err)
	__attribute__((warn_unused_result));

struct api_token {
	int64_t id, per_minute, expires_ms; /* expires: Postgres' clock, 0: never */
	unsigned scopes;
	char name[80];
};
/* -ENOENT: unknown, revoked or expired. */
int api_token_find(struct pg *p, const char *text, struct api_token *out, struct err *err)
	__attribute__((warn_unused_result));
int api_token_revoke(struct pg *p, const char *name_or_id, struct err *err)
	__attribute__((warn_unused_result)); /* -ENOENT */
typedef void (*api_token_fn)(const cJSON *row, void *arg);
int api_token_each(struct pg *p, api_token_fn fn, void *arg, struct err *err)
	__attribute__((warn_unused_result));

#endif
