/* A new key and what Redis holds under an old one: tokens may be few a day, so they move along; a cached credential is
 * only dropped, for Postgres has it. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/mem.h"
#include "common/store/grant.h"
#include "drivers/kit/auth_grant.h"
#include "drivers/kit/auth_store.h"

#define CONTEXT_MAX RESCUE_CONTEXT_MAX

extern struct redis_script lua_reseal;

static bool is_old(const struct keyring *k, const redisReply *v)
{
	char id[CRYPTO_KEY_ID_BYTES];

	return v->type == REDIS_REPLY_STRING &&
	       (!crypto_key_id(v->str, id) || strcmp(id, keyring_id(k, 0)) != 0);
}

/* 1: moved, 0: it is gone, newer by now, or does not open. */
static int move(struct redis *r, const struct keyring *k, const char *key, const char *context,
		const redisReply *was, int64_t deadline_ms, struct auth_rekeyed *out,
		struct err *err)
{
	struct buf anew = BUF_INIT;
	redisReply *reply = NULL;
	struct redis_args args;
	int rc = 0;

	if (crypto_reseal(k, context, was->str, &anew) < 0) {
		out->closed++; /* a worker takes it for missing, too */
		return 0;
	}
	redis_args_init(&args);
	redis_arg(&args, key);
	redis_arg_bytes(&args, was->str, was->len);
	redis_arg_bytes(&args, anew.data, anew.len);
	rc = redis_call_script(r, &lua_reseal, 1, &args, &reply, deadline_ms, err);
	redis_args_clear(&args);
	buf_clear(&anew);
	if (rc < 0)
		return rc;
	rc = reply->type == REDIS_REPLY_INTEGER && reply->integer == 1;
	freeReplyObject(reply);
	return rc;
}

static int move_token(struct redis *r, const struct keyring *k, const char *key, int64_t id,
		      const redisReply *was, int64_t deadline_ms, struct auth_rekeyed *out,
		      struct err *err)
{
	char context[CONTEXT_MAX];
	int rc;

	snprintf(context, sizeof(context), "token:%lld", (long long)id);
	rc = move(r, k, key, context, was, deadline_ms, out, err);
	out->tokens += rc > 0;
	return rc < 0 ? rc : 0;
}

/* It is bound to the generation that it makes: one that is of another is worth nothing, and ends with its time to live. */
static int move_pair(struct redis *r, struct pg *p, const struct keyring *k, const char *key,
		     int64_t id, const redisReply *was, int64_t deadline_ms,
		     struct auth_rekeyed *out, struct err *err)
{
	char context[CONTEXT_MAX];
	int64_t generation = 0;
	int rc = grant_generation(p, id, &generation, err);

	if (rc == -ENOENT)
		return 0;
	if (rc < 0)
		return rc;
	rescue_context(id, generation + 1, context);
	rc = move(r, k, key, context, was, deadline_ms, out, err);
	out->pairs += rc > 0;
	return rc < 0 ? rc : 0;
}

int auth_rekey(struct redis *r, struct pg *p, const struct keyring *k, const char *partner,
	       int64_t id, int64_t deadline_ms, struct auth_rekeyed *out, struct err *err)
{
	char *token = mem_printf("token:{%s}:%lld", partner, (long long)id);
	char *cred = mem_printf("cred:{%s}:%lld", partner, (long long)id);
	char *pair = mem_printf("grant:{%s}:%lld", partner, (long long)id);
	redisReply *found = NULL;
	int rc = redis_callv(r, &found, deadline_ms, err, "MGET", token, cred, pair, NULL);

	if (rc == 0 && (found->type != REDIS_REPLY_ARRAY || found->elements != 3))
		rc = err_set(err, -EPROTO, ERR_INTERNAL, "redis", "MGET answered something else");
	if (rc == 0 && is_old(k, found->element[0]))
		rc = move_token(r, k, token, id, found->element[0], deadline_ms, out, err);
	if (rc == 0 && is_old(k, found->element[2]))
		rc = move_pair(r, p, k, pair, id, found->element[2], deadline_ms, out, err);
	if (rc == 0 && is_old(k, found->element[1])) {
		rc = redis_callv(r, NULL, deadline_ms, err, "DEL", cred, NULL);
		out->dropped += rc == 0;
	}
	freeReplyObject(found);
	free(token);
	free(cred);
	free(pair);
	return rc;
}

int auth_pair_key(struct redis *r, const char *partner, int64_t id, char out[CRYPTO_KEY_ID_BYTES],
		  int64_t deadline_ms, struct err *err)
{
	char *pair = mem_printf("grant:{%s}:%lld", partner, (long long)id);
	redisReply *found = NULL;
	int rc = redis_callv(r, &found, deadline_ms, err, "GET", pair, NULL);

	out[0] = '\0';
	if (rc == 0 && found->type == REDIS_REPLY_STRING && !crypto_key_id(found->str, out))
		snprintf(out, CRYPTO_KEY_ID_BYTES, "?");
	freeReplyObject(found);
	free(pair);
	return rc;
}
