#include "common/queue/look.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/log.h"
#include "common/base/mem.h"
#include "common/queue/impl.h"
#include "common/queue/keys.h"

#define PAGE 32           /* jobs of up to 1 MiB each */
#define SCAN_COUNT "1000" /* members that Redis compares with an id in one step */
#define SCAN_PACKS "100"  /* of a ready lane: they may be packs of twenty jobs */

int64_t lease_number_at(int64_t now_us)
{
	return (now_us - LEASE_SINCE_MS * 1000) / 10;
}

int64_t lease_number_ms(int64_t number)
{
	/* Small numbers are none of ours: a test's, or a hand's. */
	return number < 1000000000 ? 0 : LEASE_SINCE_MS + number / 100;
}

struct look {
	struct queue *q;
	const struct job_filter *f;
	enum job_place place;
	enum lane lane; /* of the ready jobs being read */
	job_seen_fn fn;
	void *arg;
};

static bool payload_id_is(const struct job_seen *j, const char *id)
{
	cJSON *tree = NULL;
	const char *own;
	bool is;

	if (json_parse(j->payload, j->payload_len, JOB_MAX_BYTES, &tree, NULL) < 0)
		return false;
	own = json_str(tree, "id");
	is = own && strcmp(own, id) == 0;
	cJSON_Delete(tree);
	return is;
}

static bool wanted(const struct look *l, const struct job_seen *j)
{
	const char *id = l->f->id;

	if (l->f->integration >= 0 && l->f->integration != j->integration)
		return false;
	return !id || strcmp(j->header.id, id) == 0 || payload_id_is(j, id);
}

/* " since=MS" of the header: from when a delayed job could run again. */
static int64_t header_since(const struct job_header *h)
{
	static const char name[] = " since=";
	const char *at =
		h->extra_len ? memmem(h->extra, h->extra_len, name, sizeof(name) - 1) : NULL;

	return at ? strtoll(at + sizeof(name) - 1, NULL, 10) : h->born_ms;
}

/* What is known of it before its member is read. */
static struct job_seen seen_at(const struct look *l, const char *lease, int64_t due_ms)
{
	return (struct job_seen){ .place = l->place,
				  .lane = l->lane,
				  .lease = lease,
				  .due_ms = l->place == JOB_DELAYED ? due_ms : 0 };
}

static bool show_job(const struct look *l, struct job_seen j, const char *member, size_t len)
{
	const char *lease = j.lease;
	size_t skip = 0;

	j.member = member;
	j.member_len = len;
	if (l->place == JOB_DELAYED) {
		skip = len > 3 && member[0] == 'D' && member[2] == ' ' ? 3 : 0;
		j.lane = skip && member[1] >= '1' && member[1] <= '3' ? (enum lane)(member[1] - '0')
								      : LANE_NORMAL;
	}
	if (job_member_parse(member + skip, len - skip, &j.header, &j.integration, &j.payload,
			     &j.payload_len) < 0) {
		snprintf(j.header.id, sizeof(j.header.id), "malformed");
		j.payload = member;
		j.payload_len = len;
	}
	j.since_ms = header_since(&j.header);
	if (lease) {
		const char *colon = strchr(lease, ':');

		snprintf(j.epoch, sizeof(j.epoch), "%.*s", (int)(colon ? colon - lease : 0), lease);
		sscanf(lease + strlen(j.epoch), ":%*[0-9]:%u:%ld", (unsigned *)&j.lane,
		       &j.integration);
		j.since_ms = lease_number_ms(lease_number(lease));
	}
	return !wanted(l, &j) || l->fn(&j, l->arg);
}

static bool show_pack(const struct look *l, const char *pack, size_t len, int count)
{
	struct job_seen j = seen_at(l, NULL, 0);
	struct buf member = BUF_INIT;
	bool more = true;

	j.pack = pack;
	j.pack_len = len;
	for (j.pack_at = 0; j.pack_at < count && more; j.pack_at++) {
		buf_clear(&member);
		job_pack_member(pack, len, j.pack_at, &member);
		more = show_job(l, j, member.data, member.len);
	}
	buf_clear(&member);
	return more;
}

/* Shows one, or all of a pack, as far as they are wanted; false: enough.  `lease` and due_ms say where it stands. */
static bool show(const struct look *l, const char *member, size_t len, const char *lease,
		 int64_t due_ms)
{
	int count = l->place == JOB_READY ? job_pack_count(member, len) : 0;

	return count ? show_pack(l, member, len, count)
		     : show_job(l, seen_at(l, lease, due_ms), member, len);
}

/* Bytes that a glob pattern gives a meaning to are escaped. */
static void pattern_of(const char *id, struct buf *out)
{
	buf_putc(out, '*');
	for (; *id; id++) {
		if (strchr("*?[]\\^-", *id))
			buf_putc(out, '\\');
		buf_putc(out, *id);
	}
	buf_putc(out, '*');
}

/* One cursor's walk; member, value, member, value … go to show. */
static int scan(const struct look *l, const char *command, const char *key, const char *pattern,
		const char *count, struct err *err)
{
	char cursor[32] = "0";
	int rc = 0;

	do {
		redisReply *reply = NULL;
		rc = redis_callv(l->q->r, &reply, loop_now_ms() + LOOK_STEP_MS, err, command, key,
				 cursor, "MATCH", pattern, "COUNT", count, NULL);
		if (rc < 0)
			return rc;
		const redisReply *v = reply->element[1];
		snprintf(cursor, sizeof(cursor), "%s", reply->element[0]->str);
		for (size_t i = 0; i + 1 < v->elements && rc == 0; i += 2) {
			bool flying = l->place == JOB_IN_FLIGHT;
			const redisReply *m = v->element[flying ? i + 1 : i];
			int64_t due = l->place == JOB_DELAYED
					      ? (int64_t)strtod(v->element[i + 1]->str, NULL)
					      : 0;

			rc = !show(l, m->str, m->len, flying ? v->element[i]->str : NULL, due);
		}
		freeReplyObject(reply);
	} while (rc == 0 && strcmp(cursor, "0") != 0);
	return rc;
}

static int page_read(const struct look *l, const char *key, int64_t offset, redisReply **page,
		     struct err *err)
{
	bool one = l->place == JOB_READY && l->f->integration >= 0;
	struct redis_args a;
	char low[24] = "-inf", high[24] = "+inf";

	if (one) {
		snprintf(low, sizeof(low), "%lld", (long long)l->f->integration);
		snprintf(high, sizeof(high), "%s", low);
	}
	redis_args_init(&a);
	redis_arg(&a, "ZRANGEBYSCORE");
	redis_arg(&a, key);
	redis_arg(&a, low);
	redis_arg(&a, high);
	redis_arg(&a, "WITHSCORES");
	redis_arg(&a, "LIMIT");
	redis_arg_int(&a, offset);
	redis_arg_int(&a, PAGE);
	int rc = redis_call(l->q->r, &a, page, loop_now_ms() + LOOK_STEP_MS, err);
	redis_args_clear(&a);
	return rc;
}

static int walk(const struct look *l, const char *key, struct err *err)
{
	size_t got = 2 * PAGE;
	int rc = 0;

	for (int64_t offset = 0; rc == 0 && got == 2 * PAGE; offset += PAGE) {
		redisReply *page = NULL;

		rc = page_read(l, key, offset, &page, err);
		if (rc < 0)
			return rc;
		got = page->elements;
		for (size_t i = 0; i + 1 < got && rc == 0; i += 2)
			rc = !show(l, page->element[i]->str, page->element[i]->len, NULL,
				   (int64_t)strtod(page->element[i + 1]->str, NULL));
		freeReplyObject(page);
	}
	return rc;
}

/* Ready jobs are sorted by integration; delayed ones are not: Redis compares their heads. */
static int look_zset(const struct look *l, const char *key, struct err *err)
{
	struct buf pattern = BUF_INIT;
	int rc;

	if (l->f->id)
		pattern_of(l->f->id, &pattern);
	else if (l->place == JOB_DELAYED && l->f->integration >= 0)
		buf_printf(&pattern, "D? ??????????????? %lld *", (long long)l->f->integration);
	rc = pattern.len ? scan(l, "ZSCAN", key, pattern.data,
				l->place == JOB_READY ? SCAN_PACKS : SCAN_COUNT, err)
			 : walk(l, key, err);
	buf_clear(&pattern);
	return rc;
}

int queue_look(struct queue *q, enum job_place place, const struct job_filter *f, job_seen_fn fn,
	       void *arg, struct err *err)
{
	struct look l = { .q = q, .f = f, .place = place, .fn = fn, .arg = arg };
	int rc = 0;

	if (place == JOB_IN_FLIGHT)
		return scan(&l, "HSCAN", q->keys.flight, "*", "100", err);
	if (place == JOB_DELAYED)
		return look_zset(&l, q->keys.delayed, err);
	for (l.lane = LANE_HIGH; l.lane <= LANE_LOW && rc == 0; l.lane++) {
		if (!f->lane || f->lane == l.lane)
			rc = look_zset(&l, q->keys.ready[l.lane], err);
	}
	return rc;
}

/* ---- by hand ---- */

/* A job that goes by hand gives up its keys, as one that dies does. */
static void burial_keys(struct queue *q, const struct burial *v, struct job_header *h,
			struct job_keys *out)
{
	size_t skip = v->place == JOB_DELAYED && v->member_len > 3 ? 3 : 0;
	const char *payload;
	size_t len;
	int64_t integration;
	struct job job = { 0 };

	out->n = 0;
	if (job_member_parse(v->member + skip, v->member_len - skip, h, &integration, &payload,
			     &len) < 0 ||
	    job_parse(payload, len, &job, NULL) < 0)
		return; /* what is no job never took a key */
	job_keys_of(q->partner, &job, out);
	job_clear(&job);
}

int queue_bury(struct queue *q, const struct burial *v, int n, bool *gone, struct err *err)
{
	struct job_header *heads;
	struct job_keys *keys;
	struct redis_args a;
	redisReply *reply = NULL;
	bool told = false;
	int n_keys = 4, rc;

	if (n < 1)
		return 0;
	heads = mem_zalloc((size_t)n * sizeof(*heads));
	keys = mem_zalloc((size_t)n * sizeof(*keys));
	redis_args_init(&a);
	redis_arg(&a, v->place == JOB_DELAYED ? q->keys.delayed : q->keys.ready[v->lane]);
	redis_arg(&a, q->keys.dead);
	redis_arg(&a, q->keys.outbox);
	redis_arg(&a, q->keys.packed);
	struct buf *entries = mem_zalloc((size_t)n * sizeof(*entries));
	for (int i = 0; i < n; i++) {
		burial_keys(q, &v[i], &heads[i], &keys[i]);
		for (int k = 0; k < keys[i].n; k++, n_keys++)
			redis_arg(&a, keys[i].v[k].name);
	}
	redis_arg_int(&a, v->lane);
	for (int i = 0, key = 5; i < n; key += keys[i++].n) {
		if (v[i].id)
			run_entry_print(&entries[i], &v[i].run,
					v[i].run.root  ? "left"
					: v[i].dropped ? "dropped"
						       : "dead",
					v[i].id);
		/* Opened for the first of its jobs; the others stand alone then. */
		bool same = i > 0 && v[i].pack && v[i - 1].pack &&
			    v[i].pack_len == v[i - 1].pack_len &&
			    memcmp(v[i].pack, v[i - 1].pack, v[i].pack_len) == 0;

		redis_arg_bytes(&a, v[i].member, v[i].member_len);
		redis_arg_bytes(&a, same || !v[i].pack ? "" : v[i].pack, same ? 0 : v[i].pack_len);
		redis_arg_int(&a, v[i].failed_at_ms);
		redis_arg_bytes(&a, v[i].letter, v[i].letter_len);
		redis_arg(&a, buf_str(&entries[i]));
		redis_arg(&a, heads[i].id);
		redis_arg_int(&a, key);
		redis_arg_int(&a, keys[i].n);
		told = told || v[i].id;
	}
	rc = redis_call_script(q->r, &lua_bury, n_keys, &a, &reply, loop_now_ms() + LOOK_STEP_MS,
			       err);
	redis_args_clear(&a);
	for (int i = 0; rc == 0 && i < (int)reply->elements && i < n; i++)
		gone[i] = reply_int(reply->element[i]) == 1;
	freeReplyObject(reply);
	for (int i = 0; i < n; i++)
		buf_clear(&entries[i]);
	free(entries);
	free(heads);
	free(keys);
	/* What fails here a scheduler does within a second. */
	struct err ignored = { 0 };
	if (rc == 0 && told && queue_relay(q, NULL, loop_now_ms() + LOOK_STEP_MS, &ignored) < 0)
		log_event(LOG_DEBUG, "relay_put_off", LS("partner", q->partner),
			  LS("error", ignored.text));
	return rc;
}

int queue_hasten(struct queue *q, const struct job_seen *j, struct err *err)
{
	struct redis_args a;
	redisReply *reply = NULL;
	int64_t next, due = redis_now_ms(q->r);
	int moved = 0;

	/* XX CH: nothing happens to a job that was promoted, cancelled … meanwhile. */
	redis_args_init(&a);
	redis_arg(&a, "ZADD");
	redis_arg(&a, q->keys.delayed);
	redis_arg(&a, "XX");
	redis_arg(&a, "CH");
	redis_arg_int(&a, due < j->due_ms ? due : j->due_ms - 1);
	redis_arg_bytes(&a, j->member, j->member_len);
	int rc = redis_call(q->r, &a, &reply, loop_now_ms() + LOOK_STEP_MS, err);
	redis_args_clear(&a);
	if (rc < 0)
		return rc;
	bool there = reply_int(reply) == 1;
	freeReplyObject(reply);
	if (!there)
		return -ENOENT;
	rc = queue_promote(q, &moved, &next, loop_now_ms() + LOOK_STEP_MS, err);
	return rc;
}
