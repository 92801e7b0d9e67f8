#include "common/queue/keys.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "common/base/crypto.h"
#include "common/base/mem.h"
#include "common/queue/settle_impl.h"

#define HASH_BYTES 16 /* of SHA-256: outside text of any length and bytes becomes 32 hex digits */

static void key_add(struct job_keys *k, const char *kind, const char *partner, const char *text,
		    enum key_mode mode)
{
	uint8_t digest[SHA256_BYTES];
	char hex[2 * HASH_BYTES + 1];

	if (!text)
		return;
	crypto_sha256(text, strlen(text), digest);
	crypto_hex(digest, HASH_BYTES, hex);
	snprintf(k->v[k->n].name, sizeof(k->v[k->n].name), "%s:{%s}:%s", kind, partner, hex);
	k->v[k->n++].mode = mode;
}

void job_keys_of(const char *partner, const struct job *j, struct job_keys *out)
{
	out->n = 0;
	key_add(out, "unique", partner, j->unique, j->unique_replace ? KEY_REPLACE : KEY_REJECT);
	key_add(out, "idem", partner, j->idempotency_key, KEY_IDEM);
}

/* ---- taking ---- */

static const char *const mode_names[] = {
	[KEY_REJECT] = "reject", [KEY_REPLACE] = "replace", [KEY_IDEM] = "idem"
};
static const char *const verdict_names[] = { [KEYS_TAKEN] = "taken",
					     [KEYS_DUPLICATE] = "duplicate",
					     [KEYS_REPLACED] = "replaced",
					     [KEYS_WAIT] = "wait",
					     [KEYS_WAIT_LONG] = "wait_long" };

static int answer_read(const redisReply *reply, struct key_answer *out, struct err *err)
{
	if (reply_is(reply, REDIS_REPLY_ARRAY) && reply->elements == 3 &&
	    reply->element[0]->type == REDIS_REPLY_STRING) {
		for (size_t v = 0; v < ARRAY_LEN(verdict_names); v++) {
			if (strcmp(reply->element[0]->str, verdict_names[v]) != 0)
				continue;
			out->verdict = (enum key_verdict)v;
			snprintf(out->owner, sizeof(out->owner), "%s", reply->element[1]->str);
			snprintf(out->label, sizeof(out->label), "%s", reply->element[2]->str);
			return 0;
		}
	}
	return err_set(err, -EPROTO, ERR_INTERNAL, "redis", "unique: an answer of another form");
}

int queue_take_keys(struct queue *q, const struct job_keys *k, const struct job_header *h,
		    const char *label, const char *parent, struct key_answer *out,
		    int64_t deadline_ms, struct err *err)
{
	redisReply *reply = NULL;
	struct redis_args a;

	redis_args_init(&a);
	for (int i = 0; i < k->n; i++)
		redis_arg(&a, k->v[i].name);
	redis_arg_int(&a, KEY_LIFE_MS);
	redis_arg(&a, h->id);
	redis_arg_int(&a, h->born_ms);
	redis_arg(&a, label);
	redis_arg(&a, parent ? parent : "");
	for (int i = 0; i < k->n; i++)
		redis_arg(&a, mode_names[k->v[i].mode]);
	int rc = redis_call_script(q->r, &lua_unique, k->n, &a, &reply, deadline_ms, err);
	redis_args_clear(&a);
	if (rc < 0)
		return rc;
	rc = answer_read(reply, out, err);
	freeReplyObject(reply);
	return rc;
}

/* ---- giving up ---- */

void settlement_set_keys(struct settlement *s, const struct job_keys *k, enum key_fate fate)
{
	/* Given back it is first in its row again: as good as running. */
	if (!k->n || s->kind == SETTLE_AGAIN)
		return;
	s->keys = mem_alloc(sizeof(*s->keys));
	*s->keys = *k;
	s->n_keys = k->n;
	s->fate = fate;
}

void settle_key_names(const struct settlement *s, struct redis_args *a)
{
	for (int i = 0; i < s->n_keys; i++)
		redis_arg(a, s->keys->v[i].name);
}

static int64_t life_of(const struct settlement *s, int key)
{
	int64_t wait_ms = s->due_ms - redis_now_ms(s->lease.queue->r);

	if (s->fate == KEY_WAITS)
		return KEY_LIFE_MS + (wait_ms > 0 ? wait_ms : 0);
	return s->keys->v[key].mode == KEY_IDEM ? KEY_LIFE_MS : KEY_ECHO_MS;
}

void settle_key_ops(const struct settlement *s, int first_key, struct redis_args *a)
{
	static const char *const fates[] = {
		[KEY_SUCCEEDED] = "D", [KEY_FREED] = "X", [KEY_WAITS] = "W"
	};

	for (int i = 0; i < s->n_keys; i++) {
		redis_arg(a, "key");
		redis_arg_int(a, first_key + i);
		redis_arg(a, fates[s->fate]);
		redis_arg_int(a, life_of(s, i));
		redis_arg(a, s->lease.header.id);
	}
}
