#include "common/queue/breaker.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/crypto.h"
#include "common/base/id.h"
#include "common/base/log.h"
#include "common/base/mem.h"
#include "common/io/co.h"
#include "common/queue/breaker_impl.h"

#define BUCKETS 512
#define REFRESH_MS 1000
#define STALE_MS 2500  /* what was read longer ago is read anew before the call */
#define HOLD_SPREAD_MS 500
#define REDIS_WAIT_MS 2000

struct breaker {
	struct breaker *next, *next_of_partner;
	struct partner *partner;
	char *host, *key;
	enum breaker_state state;
	int64_t until_ms; /* Redis' clock */
	bool listed;      /* somebody has seen a failure lately: successes count */
	bool in_a_row;    /* failures that a success of ours ends */
	int telling;      /* reports that Redis has not answered yet */
	int streak;       /* our own failures since our last success */
	bool seen;        /* by the refresh that is being read */
	struct {
		int64_t slot;
		int n;
	} ok[BREAKER_SLOTS]; /* not told yet */
	struct breaker_rules rules; /* of the last call: a manifest may be read anew */
};

/* The index of a partner is being read; outlives the partner, since a command can't be recalled. */
struct reading {
	struct partner *partner; /* NULL: freed */
};

struct partner {
	struct partner *next;
	struct breakers *all;
	char name[PARTNER_MAX + 1], index[KEY_MAX];
	struct breaker *first;
	int64_t used_ms, read_ms; /* loop time; 0 = never */
	struct reading *reading;
};

struct breakers {
	struct redis *r;
	struct breaker *buckets[BUCKETS];
	struct partner *partners;
	struct loop_timer *timer;
};

const char *breaker_state_name(enum breaker_state s)
{
	static const char *const names[] = { "closed", "half_open", "open" };

	return names[s];
}

enum breaker_state breaker_state_parse(const char *s, size_t n)
{
	if (n == 4 && memcmp(s, "open", 4) == 0)
		return BREAKER_OPEN;
	return n == 9 && memcmp(s, "half_open", 9) == 0 ? BREAKER_HALF_OPEN : BREAKER_CLOSED;
}

void breaker_entry_parse(const char *text, enum breaker_state *state, int64_t *until_ms)
{
	size_t n = strcspn(text, " ");

	*state = breaker_state_parse(text, n);
	*until_ms = strtoll(text + n, NULL, 10);
}

/* ---- what Redis knows ---- */

static struct breaker *find(struct breakers *all, const char *partner, const char *host,
			    struct breaker ***bucket)
{
	uint64_t h = crypto_hash64(host, strlen(host), crypto_hash64(partner, strlen(partner), 0));
	struct breaker *b;

	*bucket = &all->buckets[h % BUCKETS];
	for (b = **bucket; b; b = b->next)
		if (strcmp(b->host, host) == 0 && strcmp(b->partner->name, partner) == 0)
			return b;
	return NULL;
}

static void forget(struct breaker *b)
{
	b->state = BREAKER_CLOSED;
	b->until_ms = 0;
	b->listed = b->in_a_row = false;
}

static void index_read(struct partner *p, const redisReply *reply)
{
	struct breaker *b, **bucket;

	p->read_ms = loop_now_ms();
	for (b = p->first; b; b = b->next_of_partner)
		b->seen = false;
	for (size_t i = 0; i + 1 < reply->elements; i += 2) {
		b = find(p->all, p->name, reply->element[i]->str, &bucket);
		if (!b)
			continue;
		b->seen = b->listed = true;
		breaker_entry_parse(reply->element[i + 1]->str, &b->state, &b->until_ms);
	}
	for (b = p->first; b; b = b->next_of_partner)
		if (!b->seen && b->listed)
			forget(b);
}

/* ---- telling ---- */

static int64_t slot_ms(const struct breaker *b)
{
	return b->rules.window_ms / BREAKER_SLOTS + 1;
}

static void count_ok(struct breaker *b)
{
	int64_t slot = redis_now_ms(b->partner->all->r) / slot_ms(b);
	int at = (int)(slot % BREAKER_SLOTS);

	if (b->ok[at].slot != slot) {
		b->ok[at].slot = slot;
		b->ok[at].n = 0;
	}
	b->ok[at].n++;
}

static void report_args(struct breaker *b, const char *outcome, const char *token, const char *why,
			struct redis_args *a)
{
	const struct breaker_rules *r = &b->rules;

	redis_args_init(a);
	redis_arg(a, b->key);
	redis_arg(a, b->partner->index);
	redis_arg(a, b->host);
	redis_arg(a, outcome);
	redis_arg(a, token);
	redis_arg(a, why ? why : "");
	redis_arg_int(a, r->failures);
	redis_arg_int(a, (int64_t)(r->share * 1000 + 0.5));
	redis_arg_int(a, r->calls);
	redis_arg_int(a, slot_ms(b));
	redis_arg_int(a, r->open_ms);
	redis_arg_int(a, r->open_max_ms);
	redis_arg_int(a, r->slow_start_ms);
	for (int i = 0; i < BREAKER_SLOTS; i++) {
		if (b->ok[i].n) {
			redis_arg_int(a, b->ok[i].slot);
			redis_arg_int(a, b->ok[i].n);
		}
		b->ok[i].n = 0;
	}
}

/* Without waiting: the next refresh brings what came of it. */
static void tell_ok(struct breaker *b)
{
	struct redis_args a;

	report_args(b, "ok", "", NULL, &a);
	redis_send_script(b->partner->all->r, &lua_breaker, 2, &a, NULL, NULL);
	redis_args_clear(&a);
	b->in_a_row = false;
}

static void log_change(const struct breaker *b, int opens, const char *why)
{
	const char *partner = b->partner->name;
	int64_t left = b->until_ms - redis_now_ms(b->partner->all->r);

	if (b->state == BREAKER_OPEN)
		log_event(LOG_WARN, "breaker_opened", LS("of", partner), LS("host", b->host),
			  LI("for_ms", left), LI("in_a_row", opens), LS("reason", why));
	else
		log_event(LOG_INFO, "breaker_closed", LS("of", partner), LS("host", b->host),
			  LI("slow_start_ms", left > 0 ? left : 0));
}

/* Whoever closed it lets its jobs into the rings; a scheduler does it again, should this process die here. */
static void let_in(struct breaker *b)
{
	struct queue *q = queue_new(b->partner->all->r, b->partner->name, NULL);
	struct err err = { 0 };

	if (queue_open(q, loop_now_ms() + REDIS_WAIT_MS, &err) < 0)
		log_event(LOG_INFO, "breaker_not_walked", LS("host", b->host),
			  LS("reason", err.text));
	queue_free(q);
}

static void report(struct breaker *b, const char *outcome, const char *token, const char *why)
{
	struct redis *r = b->partner->all->r;
	redisReply *reply = NULL;
	struct redis_args a;
	struct err err = { 0 };
	int rc = 0;

	report_args(b, outcome, token, why, &a);
	b->telling++;
	if (co_is_cancelled())
		redis_send_script(r, &lua_breaker, 2, &a, NULL, NULL);
	else
		rc = redis_call_script(r, &lua_breaker, 2, &a, &reply,
				       loop_now_ms() + REDIS_WAIT_MS, &err);
	redis_args_clear(&a);
	b->telling--;
	b->listed = true; /* the next refresh sets right what is not said here */
	if (rc < 0 || !reply_is(reply, REDIS_REPLY_ARRAY) || reply->elements != 5 ||
	    (b->telling && b->state == BREAKER_OPEN && reply->element[0]->len == strlen("closed"))) {
		freeReplyObject(reply); /* nothing, or older than what is being told */
		return;
	}
	b->state = breaker_state_parse(reply->element[0]->str, reply->element[0]->len);
	b->until_ms = reply_int(reply->element[1]);
	b->in_a_row = reply_int(reply->element[3]) > 0;
	if (reply_int(reply->element[4]) == 1) {
		log_change(b, (int)reply_int(reply->element[2]), why);
		if (b->state == BREAKER_CLOSED)
			let_in(b);
	}
	freeReplyObject(reply);
}

/* ---- keeping up ---- */

static void on_index(int rc, redisReply *reply, const char *text, void *arg)
{
	struct reading *reading = arg;
	struct partner *p = reading->partner;

	if (p) {
		p->reading = NULL;
		if (rc == 0 && reply_is(reply, REDIS_REPLY_ARRAY))
			index_read(p, reply);
	}
	freeReplyObject(reply);
	free(reading);
}

static void index_ask(struct partner *p)
{
	struct redis_args a;

	if (p->reading)
		return;
	p->reading = mem_new(struct reading);
	p->reading->partner = p;
	redis_args_init(&a);
	redis_arg(&a, "HGETALL");
	redis_arg(&a, p->index);
	redis_send(p->all->r, &a, on_index, p->reading);
	redis_args_clear(&a);
}

static bool has_news(const struct breaker *b)
{
	for (int i = 0; b->listed && b->state == BREAKER_CLOSED && i < BREAKER_SLOTS; i++)
		if (b->ok[i].n)
			return true;
	return false;
}

static void on_timer(void *arg)
{
	struct breakers *all = arg;
	bool used = false;

	for (struct partner *p = all->partners; p; p = p->next) {
		if (loop_now_ms() - p->used_ms > STALE_MS)
			continue;
		used = true;
		for (struct breaker *b = p->first; b; b = b->next_of_partner)
			if (has_news(b))
				tell_ok(b);
		index_ask(p);
	}
	if (used)
		loop_timer_set(all->timer, REFRESH_MS);
}

/* Nobody looked for a while: what this process believes may be long over. */
static void catch_up(struct partner *p)
{
	redisReply *reply = NULL;

	if (p->read_ms && loop_now_ms() - p->read_ms < STALE_MS)
		return;
	if (redis_callv(p->all->r, &reply, loop_now_ms() + REDIS_WAIT_MS, NULL, "HGETALL", p->index,
			NULL) == 0 &&
	    reply_is(reply, REDIS_REPLY_ARRAY))
		index_read(p, reply);
	freeReplyObject(reply);
}

/* ---- at the call ---- */

static int refuse(const struct breaker *b, struct err *err)
{
	int64_t left = b->until_ms - redis_now_ms(b->partner->all->r);
	int64_t ms = left > 0 && left < BREAKER_HOLD_MS ? left : BREAKER_HOLD_MS;

	if (b->state == BREAKER_OPEN && !b->until_ms)
		err_set(err, -EAGAIN, ERR_HOLD, "breaker",
			"the breaker of %s is open until it is closed by hand", b->host);
	else if (b->state == BREAKER_OPEN)
		err_set(err, -EAGAIN, ERR_HOLD, "breaker",
			"the breaker of %s is open for another %lld s", b->host,
			(long long)(left > 0 ? left / 1000 + 1 : 0));
	else
		err_set(err, -EAGAIN, ERR_HOLD, "breaker",
			"the breaker of %s is half open: another call probes", b->host);
	if (err)
		err->retry_after_ms = ms + random_below(HOLD_SPREAD_MS);
	return -EAGAIN;
}

static int ask_probe(struct breaker *b, int64_t probe_ms, struct breaker_pass *out, struct err *err)
{
	redisReply *reply = NULL;
	struct redis_args a;
	char token[ID_LEN + 1];
	int rc;

	id_new(token);
	redis_args_init(&a);
	redis_arg(&a, b->key);
	redis_arg(&a, b->partner->index);
	redis_arg(&a, b->host);
	redis_arg(&a, token);
	redis_arg_int(&a, probe_ms);
	rc = redis_call_script(b->partner->all->r, &lua_breaker_probe, 2, &a, &reply,
			       loop_now_ms() + REDIS_WAIT_MS, err);
	redis_args_clear(&a);
	if (rc < 0)
		return rc;
	if (reply_is(reply, REDIS_REPLY_ARRAY) && reply->elements == 3) {
		b->state = breaker_state_parse(reply->element[0]->str, reply->element[0]->len);
		b->until_ms = reply_int(reply->element[1]);
		if (reply_int(reply->element[2]) == 1)
			snprintf(out->token, sizeof(out->token), "%s", token);
	}
	freeReplyObject(reply);
	if (b->state == BREAKER_CLOSED || out->token[0])
		return 0;
	return refuse(b, err);
}

int breaker_enter(struct breaker *b, int64_t probe_ms, struct breaker_pass *out, struct err *err)
{
	struct partner *p = b->partner;

	out->token[0] = '\0';
	catch_up(p);
	p->used_ms = loop_now_ms();
	if (!loop_timer_pending(p->all->timer))
		loop_timer_set(p->all->timer, REFRESH_MS);
	if (b->state == BREAKER_CLOSED)
		return 0;
	if (b->state == BREAKER_OPEN &&
	    (!b->until_ms || redis_now_ms(p->all->r) < b->until_ms))
		return refuse(b, err);
	return ask_probe(b, probe_ms, out, err);
}

int breaker_stands(const struct breaker *b, const struct breaker_pass *pass, struct err *err)
{
	return b->state == BREAKER_CLOSED || pass->token[0] ? 0 : refuse(b, err);
}

void breaker_leave(struct breaker *b, const struct breaker_rules *rules, struct breaker_pass *pass,
		   enum breaker_outcome outcome, const char *why)
{
	static const char *const names[] = { "ok", "failed", "none" };

	b->rules = *rules;
	b->partner->used_ms = loop_now_ms();
	if (pass->token[0]) {
		report(b, names[outcome], pass->token, why);
		pass->token[0] = '\0';
	} else if (b->state != BREAKER_CLOSED) {
		return; /* under way when it opened */
	} else if (outcome == BREAKER_FAILED) {
		if (++b->streak >= rules->failures) {
			/* Enough by ourselves: the calls that are next in line need not wait for Redis to say so. */
			b->state = BREAKER_OPEN;
			b->until_ms = redis_now_ms(b->partner->all->r) + rules->open_ms;
			b->streak = 0;
		}
		report(b, "failed", "", why);
	} else if (outcome == BREAKER_OK) {
		b->streak = 0;
		count_ok(b);
		if (b->in_a_row)
			tell_ok(b);
	}
}

bool breaker_is_closed(const struct breaker *b)
{
	return b->state == BREAKER_CLOSED;
}

int breaker_allows(const struct breaker *b, const struct breaker_rules *rules, int all)
{
	int64_t left = b->until_ms - redis_now_ms(b->partner->all->r);
	int64_t whole = rules->slow_start_ms;
	int steps = 1;

	if (b->state != BREAKER_CLOSED || left <= 0 || whole <= 0)
		return all;
	/* Doubling: whatever the partner bore before, the first steps are small ones. */
	while (steps < 30 && all >> steps)
		steps++;
	if (left > whole)
		left = whole;
	return 1 << (steps * (whole - left) / (whole + 1));
}

/* ---- the outside ---- */

struct breakers *breakers_new(struct redis *r)
{
	struct breakers *all = mem_new(struct breakers);

	all->r = r;
	all->timer = loop_timer_new(on_timer, all);
	return all;
}

static void partner_free(struct partner *p)
{
	if (p->reading)
		p->reading->partner = NULL;
	for (struct breaker *b = p->first, *next; b; b = next) {
		next = b->next_of_partner;
		free(b->host);
		free(b->key);
		free(b);
	}
	free(p);
}

void breakers_free(struct breakers *all)
{
	if (!all)
		return;
	for (struct partner *p = all->partners, *next; p; p = next) {
		next = p->next;
		partner_free(p);
	}
	loop_timer_free(all->timer);
	free(all);
}

static struct partner *partner_of(struct breakers *all, const char *name)
{
	struct partner *p = all->partners;

	while (p && strcmp(p->name, name) != 0)
		p = p->next;
	if (p)
		return p;
	p = mem_new(struct partner);
	p->all = all;
	snprintf(p->name, sizeof(p->name), "%s", name);
	snprintf(p->index, sizeof(p->index), "breaker:{%s}", name);
	p->next = all->partners;
	all->partners = p;
	return p;
}

struct breaker *breaker_of(struct breakers *all, const char *partner, const char *host)
{
	struct breaker **bucket, *b = find(all, partner, host, &bucket);

	if (b)
		return b;
	b = mem_new(struct breaker);
	b->partner = partner_of(all, partner);
	b->host = mem_strdup(host);
	b->key = mem_printf("breaker:{%s}:%s", partner, host);
	b->next = *bucket;
	*bucket = b;
	b->next_of_partner = b->partner->first;
	b->partner->first = b;
	b->partner->read_ms = 0; /* what was read had no place for it */
	return b;
}
