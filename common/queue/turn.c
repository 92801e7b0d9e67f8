#include "common/queue/turn.h"

#include <stdio.h>
#include <string.h>

#include "common/base/crypto.h"
#include "common/queue/scripts.h"

#define WORD "=" /* no owner begins so: ids have only letters, digits and - … */
#define HASH_BYTES 16

void turn_init(struct turn *t, const char *partner, const char *what, const char *owner)
{
	uint8_t digest[SHA256_BYTES];
	char hex[2 * HASH_BYTES + 1];

	crypto_sha256(what, strlen(what), digest);
	crypto_hex(digest, HASH_BYTES, hex);
	snprintf(t->key, sizeof(t->key), "turn:{%.40s}:%s", partner, hex);
	snprintf(t->owner, sizeof(t->owner), "%s", owner);
}

/* Whose it is, or what was left there. */
static int look(struct redis *r, const struct turn *t, char word[TURN_WORD_MAX],
		int64_t deadline_ms, struct err *err)
{
	redisReply *reply = NULL;
	int rc = redis_callv(r, &reply, deadline_ms, err, "GET", t->key, NULL);

	if (rc < 0)
		return rc;
	if (reply->type == REDIS_REPLY_STRING && strncmp(reply->str, WORD, strlen(WORD)) == 0)
		snprintf(word, TURN_WORD_MAX, "%s", reply->str + strlen(WORD));
	else
		rc = reply->type == REDIS_REPLY_STRING && strcmp(reply->str, t->owner) == 0;
	freeReplyObject(reply);
	return rc;
}

int turn_take(struct redis *r, const struct turn *t, int64_t life_ms, char word[TURN_WORD_MAX],
	      int64_t deadline_ms, struct err *err)
{
	redisReply *reply = NULL;
	char life[24];
	int rc;

	word[0] = '\0';
	snprintf(life, sizeof(life), "%lld", (long long)life_ms);
	rc = redis_callv(r, &reply, deadline_ms, err, "SET", t->key, t->owner, "NX", "PX", life,
			 NULL);
	if (rc < 0)
		return rc;
	rc = reply->type == REDIS_REPLY_STATUS;
	freeReplyObject(reply);
	return rc ? 1 : look(r, t, word, deadline_ms, err);
}

void turn_leave(struct redis *r, const struct turn *t)
{
	struct redis_args args;

	redis_args_init(&args);
	redis_arg(&args, t->key);
	redis_arg(&args, t->owner);
	redis_send_script(r, &lua_unlock, 1, &args, NULL, NULL);
	redis_args_clear(&args);
}

void turn_leave_word(struct redis *r, const struct turn *t, const char *word, int64_t life_ms)
{
	char text[TURN_WORD_MAX + 8];
	struct redis_args args;

	snprintf(text, sizeof(text), WORD "%s", word);
	redis_args_init(&args);
	redis_arg(&args, "SET");
	redis_arg(&args, t->key);
	redis_arg(&args, text);
	redis_arg(&args, "PX");
	redis_arg_int(&args, life_ms);
	redis_send(r, &args, NULL, NULL);
	redis_args_clear(&args);
}
