#include "common/queue/cache.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/crypto.h"
#include "common/base/log.h"
#include "common/base/zip.h"
#include "common/queue/impl.h"

#define HASH_BYTES 16
#define HEADER_MAX 128
#define PACKED 'z'
#define PLAIN 'p'

void cache_key_of(const char *partner, const char *host, const char *name, const void *what,
		  size_t len, struct cache_key *out)
{
	uint8_t digest[SHA256_BYTES];
	char hash[2 * HASH_BYTES + 1];

	crypto_sha256(what, len, digest);
	crypto_hex(digest, HASH_BYTES, hash);
	snprintf(out->entry, sizeof(out->entry), "cache:{%.40s}:%.160s:%.40s:%s", partner, host,
		 name, hash);
	snprintf(out->lease, sizeof(out->lease), "%s:lease", out->entry);
}

void cache_entry_clear(struct cache_entry *e)
{
	buf_clear(&e->text);
	memset(e, 0, sizeof(*e));
}

void cache_look_clear(struct cache_look *l)
{
	cache_entry_clear(&l->entry);
	memset(l, 0, sizeof(*l));
}

/* ---- an entry: "KIND SENT FRESH SOFT SIZE PACKED\n" and the text ---- */

static void entry_print(const struct cache_entry *e, const char *text, size_t len, struct buf *out)
{
	bool packed = len > CACHE_PACK_BYTES;

	buf_printf(out, "%c %lld %lld %lld %zu %c\n", e->kind, (long long)e->sent_ms,
		   (long long)e->fresh_ms, (long long)e->soft_ms, len, packed ? PACKED : PLAIN);
	if (packed)
		zip_pack(text, len, out);
	else
		buf_append(out, text, len);
}

static bool kind_is_known(char c)
{
	return c == CACHE_DATA || c == CACHE_NONE || c == CACHE_REFUSED;
}

/* False: none that we wrote, or not as we wrote it. */
static bool entry_parse(const char *p, size_t n, struct cache_entry *out)
{
	const char *line = memchr(p, '\n', n < HEADER_MAX ? n : HEADER_MAX);
	size_t head = line ? (size_t)(line - p) : 0, size = 0;
	char header[HEADER_MAX + 1], kind = 0, how = 0;
	long long sent, fresh, soft;

	memcpy(header, p, head);
	header[head] = '\0';
	if (sscanf(header, "%c %lld %lld %lld %zu %c", &kind, &sent, &fresh, &soft, &size, &how) !=
		    6 ||
	    !kind_is_known(kind) || size > CACHE_MAX_BYTES)
		return false;
	p += head + 1;
	n -= head + 1;
	*out = (struct cache_entry){
		.kind = (enum cache_kind)kind, .sent_ms = sent, .fresh_ms = fresh, .soft_ms = soft
	};
	if (how == PLAIN && n == size)
		buf_append(&out->text, p, n);
	else if (how != PACKED || zip_unpack(p, n, size, &out->text) < 0)
		cache_entry_clear(out);
	return kind_is_known(out->kind);
}

/* ---- why a fetch failed: "!CLASS RETRY_MS RULE\nTEXT" ---- */

static void failure_print(const struct err *e, struct buf *out)
{
	buf_printf(out, "!%s %lld %s\n%s", err_class_name(e->class), (long long)e->retry_after_ms,
		   e->rule, e->text);
}

static void failure_parse(const char *p, struct err *out)
{
	char class[24];
	const char *rule = strchr(p, ' '), *text = strchr(p, '\n');
	long long retry = 0;

	memset(out, 0, sizeof(*out));
	rule = rule ? strchr(rule + 1, ' ') : NULL;
	if (!rule || !text || rule > text || sscanf(p, "!%23s %lld", class, &retry) != 2) {
		err_set(out, 0, ERR_TRANSIENT, "cache", "another worker could not fetch it");
		return;
	}
	out->retry_after_ms = retry;
	out->class = err_class_parse(class);
	if (out->class == ERR_CLASS_COUNT || out->class == ERR_NONE)
		out->class = ERR_TRANSIENT;
	snprintf(out->rule, sizeof(out->rule), "%.*s", (int)(text - rule - 1), rule + 1);
	snprintf(out->text, sizeof(out->text), "%s", text + 1);
}

/* ---- looking ---- */

static enum cache_state state_of(const char *how)
{
	static const char *const names[] = {
		"fresh", "stale", "refresh", "mine", "wait", "failed"
	};
	int i = 0;

	while (i < CACHE_FAILED && strcmp(names[i], how) != 0)
		i++;
	return (enum cache_state)i;
}

/* 0, or -EAGAIN: what Redis took for an entry is none, and nothing of the answer holds. */
static int read_look(const redisReply *reply, struct cache_look *out)
{
	const redisReply *entry = reply->element[1];

	out->state = state_of(reply->element[0]->str);
	if (entry->len)
		out->found = entry_parse(entry->str, entry->len, &out->entry);
	if (entry->len && !out->found && out->state <= CACHE_REFRESH)
		return -EAGAIN;
	out->age_ms = reply_int(reply->element[2]) - out->entry.sent_ms;
	if (out->age_ms < 0 || !out->found)
		out->age_ms = 0;
	if (out->state == CACHE_FAILED)
		failure_parse(reply->element[3]->str, &out->failure);
	return 0;
}

static int look_once(struct redis *r, const struct cache_key *k, const char *owner,
		     int64_t lease_ms, bool refresh, struct cache_look *out, int64_t deadline_ms,
		     struct err *err)
{
	redisReply *reply = NULL;
	struct redis_args a;
	int rc;

	redis_args_init(&a);
	redis_arg(&a, k->entry);
	redis_arg(&a, k->lease);
	redis_arg(&a, owner);
	redis_arg_int(&a, lease_ms);
	redis_arg(&a, refresh ? "refresh" : "ask");
	redis_arg_int(&a, CACHE_REFRESH_MS);
	rc = redis_call_script(r, &lua_cache_look, 2, &a, &reply, deadline_ms, err);
	redis_args_clear(&a);
	if (rc < 0)
		return rc;
	if (reply_is(reply, REDIS_REPLY_ARRAY) && reply->elements == 4)
		rc = read_look(reply, out);
	else
		rc = err_set(err, -EPROTO, ERR_INTERNAL, "cache", "cache_look answers oddly");
	freeReplyObject(reply);
	return rc;
}

int cache_look(struct redis *r, const struct cache_key *k, const char *owner, int64_t lease_ms,
	       bool refresh, struct cache_look *out, int64_t deadline_ms, struct err *err)
{
	int rc;

	memset(out, 0, sizeof(*out));
	rc = look_once(r, k, owner, lease_ms, refresh, out, deadline_ms, err);
	if (rc != -EAGAIN)
		return rc;
	log_event(LOG_WARN, "cache_damaged", LS("key", k->entry));
	rc = redis_callv(r, NULL, deadline_ms, err, "DEL", k->entry, NULL);
	if (rc == 0)
		rc = look_once(r, k, owner, lease_ms, refresh, out, deadline_ms, err);
	return rc == -EAGAIN ? err_set(err, -EPROTO, ERR_INTERNAL, "cache",
				       "%s is damaged again and again", k->entry)
			     : rc;
}

/* ---- the end of a fetch ---- */

static void put_args(struct redis_args *a, const struct cache_key *k, const char *owner,
		     const struct buf *entry, int64_t life_ms, const struct buf *failure,
		     int64_t failure_ms)
{
	redis_args_init(a);
	redis_arg(a, k->entry);
	redis_arg(a, k->lease);
	redis_arg(a, owner);
	redis_arg_bytes(a, entry ? entry->data : "", entry ? entry->len : 0);
	redis_arg_int(a, life_ms);
	redis_arg_bytes(a, failure ? failure->data : "", failure ? failure->len : 0);
	redis_arg_int(a, failure_ms);
}

int cache_put(struct redis *r, const struct cache_key *k, const char *owner, enum cache_kind kind,
	      const char *text, size_t len, int64_t sent_ms, const struct cache_life *life,
	      int64_t deadline_ms, struct err *err)
{
	struct cache_entry e = { .kind = kind, .sent_ms = sent_ms };
	int64_t now = redis_now_ms(r), until;
	struct buf value = BUF_INIT;
	struct redis_args a;
	int rc;

	if (len > CACHE_MAX_BYTES)
		return err_set(err, -E2BIG, ERR_DATA, "cache",
			       "%zu KiB, at most %d KiB of an answer are kept", len >> 10,
			       CACHE_MAX_BYTES >> 10);
	e.fresh_ms = sent_ms + life->ttl_ms;
	e.soft_ms = e.fresh_ms + life->soft_ms;
	until = e.fresh_ms + life->stale_ms - now;
	entry_print(&e, text, len, &value);
	put_args(&a, k, owner, &value, until > 1 ? until : 1, NULL, 0);
	rc = redis_call_script(r, &lua_cache_put, 2, &a, NULL, deadline_ms, err);
	redis_args_clear(&a);
	buf_clear(&value);
	return rc;
}

void cache_fail(struct redis *r, const struct cache_key *k, const char *owner,
		const struct err *why, int64_t ms)
{
	struct buf failure = BUF_INIT;
	struct redis_args a;

	failure_print(why, &failure);
	put_args(&a, k, owner, NULL, 0, &failure, ms > 0 ? ms : 1);
	redis_send_script(r, &lua_cache_put, 2, &a, NULL, NULL);
	redis_args_clear(&a);
	buf_clear(&failure);
}

void cache_leave(struct redis *r, const struct cache_key *k, const char *owner)
{
	struct redis_args a;

	put_args(&a, k, owner, NULL, 0, NULL, 0);
	redis_send_script(r, &lua_cache_put, 2, &a, NULL, NULL);
	redis_args_clear(&a);
}
