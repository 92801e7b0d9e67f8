/* Dead letters: dead:{p}, score = failed_at ms, member = the letter's JSON, born in settle.lua. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/crypto.h"
#include "common/base/id.h"
#include "common/base/mem.h"
#include "common/queue/impl.h"

#define DEAD_PAGE 32
#define LETTER_MAX_BYTES (4 * 1024 * 1024) /* a payload of 1 MiB, escaped */
#define TRIM_PAGE 100

static int page_read(struct queue *q, const char *min, const char *max, int offset, int count,
		     redisReply **page, int64_t deadline_ms, struct err *err)
{
	struct redis_args a;

	redis_args_init(&a);
	redis_arg(&a, "ZRANGEBYSCORE");
	redis_arg(&a, q->keys.dead);
	redis_arg(&a, min);
	redis_arg(&a, max);
	redis_arg(&a, "WITHSCORES");
	redis_arg(&a, "LIMIT");
	redis_arg_int(&a, offset);
	redis_arg_int(&a, count);
	int rc = redis_call(q->r, &a, page, deadline_ms, err);
	redis_args_clear(&a);
	return rc;
}

/* The letter begins with {"id":"…": enough to name it without a parse. */
static void letter_id(const char *json, size_t len, char *out, size_t cap)
{
	static const char head[] = "{\"id\":\"";
	size_t at = sizeof(head) - 1, n = 0;

	if (len > at && memcmp(json, head, at) == 0) {
		while (at + n < len && n < cap - 1 && json[at + n] != '"' && json[at + n] != '\\')
			n++;
		memcpy(out, json + at, n);
	}
	out[n] = '\0';
}

static int64_t page_tell(const redisReply *page, dead_fn fn, void *arg)
{
	int64_t score = 0;

	for (size_t i = 0; i + 1 < page->elements; i += 2) {
		const redisReply *letter = page->element[i];
		char id[256];

		score = (int64_t)strtod(page->element[i + 1]->str, NULL);
		letter_id(letter->str, letter->len, id, sizeof(id));
		fn(id, score, letter->str, letter->len, arg);
	}
	return score;
}

/* Letters between the scores, in pages; *told and *last_ms of the last page that had any. */
static int range_tell(struct queue *q, const char *min, const char *max, int offset, int most,
		      dead_fn fn, void *arg, int *told, int64_t *last_ms, int64_t deadline_ms,
		      struct err *err)
{
	for (int n = 0; n < most;) {
		int ask = most - n < DEAD_PAGE ? most - n : DEAD_PAGE;
		redisReply *page = NULL;
		int rc = page_read(q, min, max, offset + n, ask, &page, deadline_ms, err);

		if (rc < 0)
			return rc;
		int got = (int)(page->elements / 2);
		if (got > 0)
			*last_ms = page_tell(page, fn, arg);
		freeReplyObject(page);
		n += got;
		*told += got;
		if (got < ask)
			break;
	}
	return 0;
}

/* The caller goes on by time alone, so a millisecond is never split: the last one is told whole, over max if
 * need be. */
int queue_dead_list(struct queue *q, int64_t after_ms, int max, dead_fn fn, void *arg,
		    int64_t deadline_ms, struct err *err)
{
	char min[32], exact[32];
	int told = 0, rest = 0;
	int64_t last_ms = 0;

	snprintf(min, sizeof(min), "(%lld", (long long)after_ms);
	int rc = range_tell(q, min, "+inf", 0, max, fn, arg, &told, &last_ms, deadline_ms, err);
	if (rc < 0 || told < max || max <= 0)
		return rc;
	redisReply *upto = NULL;
	snprintf(exact, sizeof(exact), "%lld", (long long)last_ms);
	rc = redis_callv(q->r, &upto, deadline_ms, err, "ZCOUNT", q->keys.dead, min, exact, NULL);
	if (rc < 0)
		return rc;
	rest = (int)reply_int(upto) - told;
	freeReplyObject(upto);
	if (rest <= 0)
		return 0;
	return range_tell(q, min, exact, told, rest, fn, arg, &told, &last_ms, deadline_ms, err);
}

/* ---- replay, discard ---- */

static int letter_payload(const cJSON *letter, struct buf *out, struct err *err)
{
	const char *text = json_str(letter, "payload"), *coded = json_str(letter, "payload_base64");

	if (text) {
		buf_puts(out, text);
		return 0;
	}
	if (coded && base64_decode(coded, strlen(coded), out) == 0)
		return 0;
	return err_set(err, -EINVAL, ERR_DATA, "letter",
		       "a letter without payload cannot be replayed");
}

/* "lane": high, normal or low; else by the name of the list it came from. */
static enum lane letter_lane(const cJSON *letter)
{
	const char *list = json_str(letter, "queue");
	const char *suffix = list ? strrchr(list, ':') : NULL;
	enum lane lane = LANE_NORMAL;

	if (lane_parse(json_str(letter, "lane"), &lane) < 0 && suffix &&
	    lane_parse(suffix + 1, &lane) < 0)
		lane = LANE_NORMAL;
	return lane;
}

static int replay_send(struct queue *q, const cJSON *json, const char *letter, size_t len,
		       bool *was_there, int64_t deadline_ms, struct err *err)
{
	struct buf payload = BUF_INIT, rest = BUF_INIT;
	struct redis_args a;
	redisReply *reply = NULL;
	const char *id = json_str(json, "id");
	enum lane lane = letter_lane(json);
	int64_t integration = 0;
	char made[ID_LEN + 1];
	int rc = letter_payload(json, &payload, err);

	if (rc < 0)
		goto out;
	if (!json_int(json, "integration_id", &integration) || integration < 0)
		integration = 0;
	id_new(made);
	member_rest_print(&rest, header_id_is_valid(id) ? id : made, integration,
			  redis_now_ms(q->r), json_str(json, "origin"), buf_str(&payload),
			  payload.len);
	redis_args_init(&a);
	redis_arg(&a, q->keys.dead);
	redis_arg(&a, q->keys.ready[lane]);
	redis_arg(&a, q->keys.ring[lane]);
	redis_arg(&a, q->keys.seq);
	redis_arg_bytes(&a, letter, len);
	redis_arg_int(&a, integration);
	redis_arg_bytes(&a, rest.data, rest.len);
	rc = redis_call_script(q->r, &lua_replay, 4, &a, &reply, deadline_ms, err);
	redis_args_clear(&a);
	if (rc == 0)
		*was_there = reply_int(reply) == 1;
	freeReplyObject(reply);
	queue_wrote(q->partner);
out:
	buf_clear(&payload);
	buf_clear(&rest);
	return rc;
}

static int replay(struct queue *q, const char *letter, size_t len, bool *was_there,
		  int64_t deadline_ms, struct err *err)
{
	struct json_error je = { 0 };
	cJSON *json = NULL;
	int rc = json_parse(letter, len, LETTER_MAX_BYTES, &json, &je);

	if (rc < 0)
		return err_set(err, -EINVAL, ERR_DATA, "letter", "a letter that is no JSON: %s",
			       je.text);
	rc = replay_send(q, json, letter, len, was_there, deadline_ms, err);
	cJSON_Delete(json);
	return rc;
}

static int letters_remove(struct queue *q, const char *const *letters, const size_t *lens, int n,
			  int64_t *gone, int64_t deadline_ms, struct err *err)
{
	struct redis_args a;
	redisReply *reply = NULL;

	redis_args_init(&a);
	redis_arg(&a, "ZREM");
	redis_arg(&a, q->keys.dead);
	for (int i = 0; i < n; i++)
		redis_arg_bytes(&a, letters[i], lens[i]);
	int rc = redis_call(q->r, &a, &reply, deadline_ms, err);
	redis_args_clear(&a);
	if (rc < 0)
		return rc;
	*gone = reply_int(reply);
	freeReplyObject(reply);
	return 0;
}

int queue_dead_take(struct queue *q, int64_t failed_at_ms, const char *letter, size_t len,
		    bool replayed, int64_t deadline_ms, struct err *err)
{
	bool was_there = false;
	int64_t gone = 0;
	int rc;

	(void)failed_at_ms; /* the letter itself is the member: its score is not needed to find it */
	if (replayed)
		rc = replay(q, letter, len, &was_there, deadline_ms, err);
	else
		rc = letters_remove(q, &letter, &len, 1, &gone, deadline_ms, err);
	if (rc < 0)
		return rc;
	if (!was_there && !gone)
		return err_set(err, -ENOENT, ERR_CLIENT, "letter",
			       "this dead letter is not in Redis any more");
	return 0;
}

int queue_dead_trim(struct queue *q, const char *const *letters, const size_t *lens, int n,
		    int64_t deadline_ms, struct err *err)
{
	int rc = 0;

	for (int from = 0; rc == 0 && from < n; from += TRIM_PAGE) {
		int k = n - from < TRIM_PAGE ? n - from : TRIM_PAGE;
		int64_t gone;

		rc = letters_remove(q, letters + from, lens + from, k, &gone, deadline_ms, err);
	}
	return rc;
}
