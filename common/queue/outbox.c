/* Children for another partner's slot, and what ends here of a run that is at home in another.  settle.lua wrote them into the
 * parent's outbox; here each is delivered once, in order: one script in the target's slot takes the seen key and pushes (or
 * changes the run), then the entry is removed. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/crypto.h"
#include "common/base/id.h"
#include "common/base/log.h"
#include "common/base/mem.h"
#include "common/io/co.h"
#include "common/queue/impl.h"
#include "common/queue/run.h"

#define RELAY_ENTRIES 50
#define RELAY_ENTRIES_BIG 4 /* after an answer over 1 MiB */
#define RELAY_BIG_BYTES (1024 * 1024)
#define RELAY_SOON_MS 10000
#define SEEN_MAX (PARTNER_MAX + ID_LEN + 12)

struct entry {
	char token[ID_LEN + 1], target[PARTNER_MAX + 1];
	int64_t lane;        /* 0: it changes a run */
	int64_t integration; /* or the run */
	int64_t run_at_ms;
	const char *rest; /* " I HEADER\nPAYLOAD", or " FATE ID KID…" */
	size_t rest_len;
};

/* The word up to the next blank, into out; NULL if there is none or it is too long. */
static const char *word(const char *p, const char *end, char *out, size_t cap)
{
	const char *blank = memchr(p, ' ', (size_t)(end - p));
	size_t n = blank ? (size_t)(blank - p) : cap;

	if (n >= cap)
		return NULL;
	memcpy(out, p, n);
	out[n] = '\0';
	return blank + 1;
}

/* TOKEN TARGET LANE INTEGRATION RUN_AT and the rest of the member to be. */
static int entry_parse(const redisReply *r, struct entry *e)
{
	const char *p = r->str, *end = r->str + r->len;
	char lane[8], integration[24], run_at[24];

	p = word(p, end, e->token, sizeof(e->token));
	if (p)
		p = word(p, end, e->target, sizeof(e->target));
	if (p)
		p = word(p, end, lane, sizeof(lane));
	if (p)
		p = word(p, end, integration, sizeof(integration));
	if (p)
		p = word(p, end, run_at, sizeof(run_at));
	if (!p || !queue_name_is_valid(e->target))
		return -EBADMSG;
	e->lane = strtoll(lane, NULL, 10);
	e->integration = strtoll(integration, NULL, 10);
	e->run_at_ms = strtoll(run_at, NULL, 10);
	if (e->lane < 0 || e->lane > LANE_LOW || e->integration < 0)
		return -EBADMSG;
	e->rest = p - 1; /* with the blank */
	e->rest_len = (size_t)(end - e->rest);
	return 0;
}

struct change_keys {
	char seen[SEEN_MAX], run[SEEN_MAX];
};

/* As deliver, of entries that change runs. */
static int deliver_changes(struct queue *q, const struct entry *v, int n, int64_t deadline_ms,
			   struct err *err)
{
	struct change_keys *keys = mem_alloc((size_t)n * sizeof(*keys));
	char ended[KEY_MAX];
	struct redis_args a;

	redis_args_init(&a);
	snprintf(ended, sizeof(ended), "ended:{%s}", v->target);
	redis_arg(&a, ended);
	for (int i = 0; i < n; i++) {
		snprintf(keys[i].seen, SEEN_MAX, "seen:{%s}:%s", v->target, v[i].token);
		snprintf(keys[i].run, SEEN_MAX, "run:{%s}:%lld", v->target,
			 (long long)v[i].integration);
		redis_arg(&a, keys[i].seen);
		redis_arg(&a, keys[i].run);
	}
	redis_arg_int(&a, SEEN_TTL_MS);
	redis_arg_int(&a, RUN_LIFE_MS);
	for (int i = 0; i < n; i++) {
		redis_arg_int(&a, v[i].integration);
		redis_arg_bytes(&a, v[i].rest + 1, v[i].rest_len - 1);
	}
	int rc = redis_call_script(q->r, &lua_run, 1 + 2 * n, &a, NULL, deadline_ms, err);
	redis_args_clear(&a);
	free(keys);
	return rc;
}

/* v[0 … n-1] are of one target: one script. */
static int deliver(struct queue *q, const struct entry *v, int n, int64_t deadline_ms,
		   struct err *err)
{
	struct queue_keys k;
	struct redis_args a;
	char(*seen)[SEEN_MAX] = mem_alloc((size_t)n * sizeof(*seen));

	queue_keys_init(&k, v->target);
	redis_args_init(&a);
	args_lanes(&a, k.ready);
	args_lanes(&a, k.ring);
	redis_arg(&a, k.seq);
	redis_arg(&a, k.delayed);
	for (int i = 0; i < n; i++) {
		snprintf(seen[i], SEEN_MAX, "seen:{%s}:%s", v->target, v[i].token);
		redis_arg(&a, seen[i]);
	}
	redis_arg_int(&a, SEEN_TTL_MS);
	for (int i = 0; i < n; i++) {
		redis_arg_int(&a, v[i].lane);
		redis_arg_int(&a, v[i].integration);
		redis_arg_int(&a, v[i].run_at_ms);
		redis_arg_bytes(&a, v[i].rest, v[i].rest_len);
	}
	int rc = redis_call_script(q->r, &lua_enqueue, 8 + n, &a, NULL, deadline_ms, err);
	redis_args_clear(&a);
	free(seen);
	queue_wrote(v->target);
	return rc;
}

/* Entries are removed by their exact bytes; they stand at the list's end, where LREM begins. */
static int forget(struct queue *q, redisReply *const *entries, size_t n, int64_t deadline_ms,
		  struct err *err)
{
	int rc = 0;

	for (size_t i = 0; i < n && rc == 0; i++) {
		struct redis_args a;

		redis_args_init(&a);
		redis_arg(&a, "LREM");
		redis_arg(&a, q->keys.outbox);
		redis_arg(&a, "-1");
		redis_arg_bytes(&a, entries[i]->str, entries[i]->len);
		if (i + 1 < n)
			redis_send(q->r, &a, NULL, NULL);
		else
			rc = redis_call(q->r, &a, NULL, deadline_ms, err);
		redis_args_clear(&a);
	}
	return rc;
}

/* What stood in the outbox and cannot be delivered, as a person finds it among the dead letters: nothing that was accepted is
 * ever dropped.  Named after its bytes: a relay that died half way writes the same letter. */
static void misfit_print(const struct queue *q, const redisReply *entry, int64_t now_ms,
			 struct buf *out)
{
	const char *newline = memchr(entry->str, '\n', entry->len);
	const char *payload = newline ? newline + 1 : entry->str;
	size_t len = entry->len - (size_t)(payload - entry->str);
	char id[41];

	crypto_sha1_hex(entry->str, entry->len, id);
	buf_printf(
		out,
		"{\"id\":\"%s\",\"job\":\"%s\",\"queue\":\"%s\",\"lane\":\"normal\",\"integration_id\":0,"
		"\"class\":\"bad_job\",\"rule\":\"outbox\",\"where\":\"outbox:{%s}\",\"error\":\"an entry of the "
		"outbox is not TOKEN TARGET LANE INTEGRATION RUN_AT and a job, so that nobody knows whose it "
		"is: somebody wrote there by hand, or it was damaged; push its job to the right queue and "
		"discard this\",\"attempts\":0,\"crashes\":0,\"first_seen\":%lld,\"failed_at\":%lld,\"entry\":",
		id, id, q->partner, q->partner, (long long)now_ms, (long long)now_ms);
	json_quote(out, entry->str, entry->len);
	if (utf8_is_valid(payload, len) && !memchr(payload, '\0', len)) {
		buf_puts(out, ",\"payload\":");
		json_quote(out, payload, len);
	} else {
		buf_puts(out, ",\"payload_base64\":\"");
		base64_encode(out, payload, len);
		buf_putc(out, '"');
	}
	buf_putc(out, '}');
}

static int shelve(struct queue *q, const redisReply *entry, int64_t deadline_ms, struct err *err)
{
	struct buf letter = BUF_INIT;
	int64_t now_ms = redis_now_ms(q->r);
	struct redis_args a;
	int rc;

	log_event(LOG_ERROR, "outbox_entry_malformed", LS("partner", q->partner),
		  LI("bytes", entry->len), LS("reason", "kept as a dead letter of class bad_job"));
	misfit_print(q, entry, now_ms, &letter);
	redis_args_init(&a);
	redis_arg(&a, q->keys.outbox);
	redis_arg(&a, q->keys.dead);
	redis_arg_bytes(&a, entry->str, entry->len);
	redis_arg_int(&a, now_ms);
	redis_arg_bytes(&a, letter.data, letter.len);
	rc = redis_call_script(q->r, &lua_shelve, 2, &a, NULL, deadline_ms, err);
	redis_args_clear(&a);
	buf_clear(&letter);
	return rc;
}

static bool go_together(const struct entry *a, const struct entry *b)
{
	return strcmp(a->target, b->target) == 0 && !a->lane == !b->lane;
}

/* Oldest first; neighbours of one target go together.  *moved grows by what was new or had been delivered before. */
static int relay_page(struct queue *q, redisReply *page, int *moved, int64_t deadline_ms,
		      struct err *err)
{
	struct entry *v = mem_zalloc(page->elements * sizeof(*v));
	int n = 0, rc = 0;

	for (size_t i = page->elements; rc == 0 && i-- > 0;) {
		if (entry_parse(page->element[i], &v[n]) == 0)
			n++;
		else
			rc = shelve(q, page->element[i], deadline_ms, err);
	}
	for (int from = 0, k; rc == 0 && from < n; from += k) {
		for (k = 1; from + k < n && go_together(&v[from], &v[from + k]);)
			k++;
		rc = (v[from].lane ? deliver : deliver_changes)(q, v + from, k, deadline_ms, err);
	}
	if (rc == 0)
		rc = forget(q, page->element, page->elements, deadline_ms, err);
	if (rc == 0)
		*moved += n;
	free(v);
	return rc;
}

int queue_relay(struct queue *q, int *moved, int64_t deadline_ms, struct err *err)
{
	int total = 0, rc = 0, ask = RELAY_ENTRIES;

	for (;;) {
		char from[16];
		redisReply *page = NULL;
		size_t bytes = 0;

		snprintf(from, sizeof(from), "-%d", ask);
		rc = redis_callv(q->r, &page, deadline_ms, err, "LRANGE", q->keys.outbox, from,
				 "-1", NULL);
		if (rc < 0)
			return rc;
		size_t n = reply_is(page, REDIS_REPLY_ARRAY) ? page->elements : 0;
		for (size_t i = 0; i < n; i++)
			bytes += page->element[i]->len;
		if (n > 0)
			rc = relay_page(q, page, &total, deadline_ms, err);
		freeReplyObject(page);
		if (rc < 0)
			return rc;
		if (n < (size_t)ask)
			break;
		ask = bytes > RELAY_BIG_BYTES ? RELAY_ENTRIES_BIG : RELAY_ENTRIES;
	}
	if (moved)
		*moved = total;
	return 0;
}

/* ---- at once, after a settlement ---- */

/* Has a queue of its own: the one whose settlement asked may go while this waits. */
struct relay {
	struct queue *own, *asked;
	bool again;
};

static void relay_run(void *arg)
{
	struct relay *r = arg;
	struct err err = { 0 };
	int rc;

	do {
		r->again = false;
		rc = queue_relay(r->own, NULL, loop_now_ms() + RELAY_SOON_MS, &err);
	} while (rc == 0 && r->again);
	if (rc < 0 && rc != -ECANCELED)
		log_event(LOG_WARN, "relay_put_off", LS("partner", r->own->partner),
			  LS("error", err.text));
	if (r->asked)
		r->asked->relay = NULL;
	queue_free(r->own);
	free(r);
}

void relay_soon(struct queue *q)
{
	if (q->relay) {
		q->relay->again = true;
		return;
	}
	struct relay *r = mem_new(struct relay);
	r->own = queue_new(q->r, q->partner, NULL);
	r->asked = q;
	q->relay = r;
	/* Without a stack for it the schedulers do it within a second. */
	if (!co_spawn("relay", relay_run, r)) {
		q->relay = NULL;
		queue_free(r->own);
		free(r);
	}
}

void relay_detach(struct queue *q)
{
	if (q->relay)
		q->relay->asked = NULL;
	q->relay = NULL;
}
