#include "common/queue/run.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/id.h"
#include "common/base/mem.h"
#include "common/queue/settle_impl.h"

static const char *const fates[] = {
	[RUN_GOES_ON] = "goes", [RUN_DONE] = "done", [RUN_DEAD] = "dead", [RUN_DROPPED] = "dropped"
};

void run_of_job(const struct job *j, struct run_ref *out)
{
	*out = (struct run_ref){ 0 };
	if (j->run_id && j->run_home)
		*out = (struct run_ref){ .id = j->run_id, .home = j->run_home };
}

static void key_print(struct buf *out, const char *name, const char *partner, int64_t run)
{
	buf_printf(out, "%s:{%s}", name, partner);
	if (run)
		buf_printf(out, ":%lld", (long long)run);
}

/* The relay takes it for an entry that changes a run by its lane, 0. */
void run_entry_print(struct buf *out, const struct run_ref *r, const char *fate, const char *id)
{
	char token[ID_LEN + 1];

	id_new(token);
	buf_printf(out, "%s %s 0 %lld 0 %s %s", token, r->home, (long long)r->id, fate, id);
}

/* ---- with a settlement ---- */

static struct note *note_add(struct settlement *s, const char *op)
{
	struct note *n = mem_new(struct note);

	n->op = op;
	n->next = s->notes;
	s->notes = n;
	s->n_notes++;
	return n;
}

static void note_key_added(struct settlement *s, struct note *n)
{
	n->n_keys++;
	s->n_note_keys++;
}

void settlement_add_kin(struct settlement *s, const char *partner, const struct queue_push *child)
{
	struct child **at = s->children_tail;

	settlement_add_child(s, partner, child);
	(*at)->kin = true;
}

static void kids_print(const struct settlement *s, struct buf *out)
{
	for (const struct child *c = s->children; c; c = c->next) {
		if (c->kin)
			buf_printf(out, " %s", c->id);
	}
}

/* First of all children: whoever relays it brings it home before any of them is delivered. */
static void add_entry(struct settlement *s, const struct run_ref *r, enum run_fate fate)
{
	struct child *c = mem_new(struct child);

	run_entry_print(&c->bytes, r, fates[fate], s->lease.header.id);
	kids_print(s, &c->bytes);
	c->outbox = s->outbox = true;
	s->bytes += c->bytes.len;
	c->next = s->children;
	if (!s->children)
		s->children_tail = &c->next;
	s->children = c;
	s->n_children++;
}

static void add_change(struct settlement *s, const struct run_ref *r, enum run_fate fate)
{
	struct note *n = note_add(s, "run");

	n->run = r->id;
	n->number = !r->root ? 0 : r->asks ? 2 : 1;
	key_print(&n->keys[0], "run", r->home, r->id);
	note_key_added(s, n);
	key_print(&n->keys[1], "ended", r->home, 0);
	note_key_added(s, n);
	buf_printf(&n->bytes, "%s %s", fates[fate], s->lease.header.id);
	kids_print(s, &n->bytes);
	s->bytes += n->bytes.len;
}

void settlement_set_run(struct settlement *s, const struct run_ref *r, enum run_fate fate)
{
	if (!r->id)
		return;
	if (strcmp(r->home, s->lease.queue->partner) == 0)
		add_change(s, r, fate);
	else
		add_entry(s, r, fate);
}

void settlement_set_result(struct settlement *s, const char *id, int64_t ttl_ms, const char *json,
			   size_t len)
{
	struct note *n = note_add(s, "result");

	key_print(&n->keys[0], "result", s->lease.queue->partner, 0);
	buf_printf(&n->keys[0], ":%s", id);
	note_key_added(s, n);
	n->number = ttl_ms;
	buf_append(&n->bytes, json, len);
	s->bytes += len;
}

void settle_note_names(const struct settlement *s, struct redis_args *a)
{
	for (const struct note *n = s->notes; n; n = n->next) {
		for (int i = 0; i < n->n_keys; i++)
			redis_arg_bytes(a, n->keys[i].data, n->keys[i].len);
	}
}

void settle_note_ops(const struct settlement *s, int first_key, struct redis_args *a)
{
	for (const struct note *n = s->notes; n; n = n->next) {
		redis_arg(a, n->op);
		redis_arg_int(a, first_key);
		redis_arg_int(a, n->run);
		redis_arg_int(a, n->number);
		redis_arg_bytes(a, buf_str(&n->bytes), n->bytes.len);
		first_key += n->n_keys;
	}
}

void settle_notes_free(struct settlement *s)
{
	while (s->notes) {
		struct note *n = s->notes;

		s->notes = n->next;
		for (int i = 0; i < n->n_keys; i++)
			buf_clear(&n->keys[i]);
		buf_clear(&n->bytes);
		free(n);
	}
}

/* ---- by a job that runs on ---- */

struct kid {
	char id[JOB_ID_MAX], seen[PARTNER_MAX + JOB_ID_MAX + 16];
	int place; /* of seen among the keys, 0 = it has none */
	struct buf rest;
};

static void kids_make(struct queue *q, const struct queue_push *v, int n, struct kid *kids)
{
	for (int i = 0; i < n; i++) {
		if (v[i].id)
			snprintf(kids[i].id, sizeof(kids[i].id), "%s", v[i].id);
		else
			id_new(kids[i].id);
		snprintf(kids[i].seen, sizeof(kids[i].seen), "seen:{%s}:%s", q->partner,
			 kids[i].id);
		member_rest_print(&kids[i].rest, kids[i].id, v[i].integration, redis_now_ms(q->r),
				  v[i].origin, v[i].payload, v[i].len);
	}
}

/* The arguments borrow from `key` and `text`. */
static void spawn_keys(const struct lease *l, bool away, const struct buf *key,
		       struct redis_args *a)
{
	const struct queue_keys *k = &l->queue->keys;

	args_lanes(a, k->ready);
	args_lanes(a, k->ring);
	redis_arg(a, k->seq);
	redis_arg(a, k->flight);
	redis_arg(a, away ? k->outbox : buf_str(key));
}

static void spawn_args(const struct lease *l, const struct run_ref *r, bool away,
		       const struct buf *text, struct redis_args *a)
{
	redis_arg(a, l->id);
	redis_arg(a, away ? "away" : r->root ? "root" : "kin");
	redis_arg_int(a, r->id);
	redis_arg(a, l->header.id);
	if (away)
		redis_arg_bytes(a, text->data, text->len);
	else
		redis_arg_int(a, RUN_LIFE_MS);
	redis_arg_int(a, SEEN_TTL_MS);
}

static int spawn_send(const struct lease *l, int n_keys, struct redis_args *a, int *fresh,
		      int64_t deadline_ms, struct err *err)
{
	redisReply *reply = NULL;
	int rc = redis_call_script(l->queue->r, &lua_spawn, n_keys, a, &reply, deadline_ms, err);

	if (rc < 0)
		return rc;
	int new = (int)reply_int(reply);
	freeReplyObject(reply);
	queue_wrote(l->queue->partner);
	if (fresh && new >= 0)
		*fresh = new;
	return new >= 0 ? 0
			: err_set(err, -ESTALE, ERR_CANCELLED, "lease",
				  "another worker has this job: its children were not queued");
}

int queue_spawn(struct queue *q, const struct lease *l, const struct run_ref *r,
		const struct queue_push *v, int n, int *fresh, int64_t deadline_ms, struct err *err)
{
	int n_keys = 9;
	struct kid *kids = mem_zalloc((size_t)n * sizeof(*kids));
	bool away = strcmp(r->home, q->partner) != 0;
	struct buf key = BUF_INIT, text = BUF_INIT;
	struct redis_args a;

	kids_make(q, v, n, kids);
	key_print(&key, "run", r->home, r->id);
	run_entry_print(&text, r, fates[RUN_GOES_ON], l->header.id);
	redis_args_init(&a);
	spawn_keys(l, away, &key, &a);
	for (int i = 0; i < n; i++) {
		if (v[i].id)
			redis_arg(&a, kids[i].seen);
		kids[i].place = v[i].id ? ++n_keys : 0;
	}
	spawn_args(l, r, away, &text, &a);
	for (int i = 0; i < n; i++) {
		redis_arg(&a, kids[i].id);
		redis_arg_int(&a, v[i].lane);
		redis_arg_int(&a, v[i].integration);
		redis_arg_int(&a, kids[i].place);
		redis_arg_bytes(&a, kids[i].rest.data, kids[i].rest.len);
	}
	int rc = spawn_send(l, n_keys, &a, fresh, deadline_ms, err);
	redis_args_clear(&a);
	for (int i = 0; i < n; i++)
		buf_clear(&kids[i].rest);
	buf_clear(&key);
	buf_clear(&text);
	free(kids);
	return rc;
}
