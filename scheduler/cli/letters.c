#include "scheduler/cli/letters.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/crypto.h"
#include "common/base/mem.h"
#include "common/queue/queue.h"
#include "common/store/store.h"

#define PAGE 500

static void letter_clear(struct letter *l)
{
	free(l->id);
	free(l->partner);
	free(l->text);
	cJSON_Delete(l->tree);
}

void letters_clear(struct letters *l)
{
	for (int i = 0; i < l->n; i++)
		letter_clear(&l->v[i]);
	free(l->v);
	*l = (struct letters){ 0 };
}

static void append(struct letters *l, const struct letter *one)
{
	if (l->n == l->cap) {
		l->cap = l->cap ? 2 * l->cap : 64;
		l->v = mem_realloc(l->v, sizeof(*l->v) * (size_t)l->cap);
	}
	l->v[l->n++] = *one;
}

static bool has(const struct letters *l, const char *id)
{
	for (int i = 0; i < l->n; i++) {
		if (strcmp(l->v[i].id, id) == 0)
			return true;
	}
	return false;
}

/* ---- Redis ---- */
struct walk {
	const struct letter_filter *f;
	const char *partner;
	struct letters *out;
	int64_t last_ms, until_ms;
	int seen;
};

static bool matches(const struct letter_filter *f, const struct letter *l)
{
	const char *class = l->tree ? json_str(l->tree, "class") : NULL;
	int64_t integration = 0;

	if (f->id && strcmp(f->id, l->id) != 0)
		return false;
	if (l->tree)
		json_int(l->tree, "integration_id", &integration);
	return (!f->class || (class && strcmp(class, f->class) == 0)) &&
	       (!f->integration || f->integration == integration) && l->failed_at_ms >= f->since_ms;
}

static void take(const char *id, int64_t failed_at_ms, const char *json, size_t len, void *arg)
{
	struct walk *w = arg;
	struct letter l = { .partner = mem_strdup(w->partner),
			    .failed_at_ms = failed_at_ms,
			    .in_redis = true };
	char own[DEADLETTER_ID_MAX];

	w->seen++;
	w->last_ms = failed_at_ms;
	l.tree = deadletter_read(json, len, own);
	l.id = mem_strdup(own);
	if (failed_at_ms <= w->until_ms && matches(w->f, &l)) {
		l.text = mem_strndup(json, len);
		l.len = len;
		append(w->out, &l);
	} else {
		letter_clear(&l);
	}
}

static int walk_partner(struct cli *c, const struct letter_filter *f, const char *partner,
			int64_t until_ms, struct letters *out, struct err *err)
{
	struct walk w = { .f = f,
			  .partner = partner,
			  .out = out,
			  .until_ms = until_ms,
			  .last_ms = f->since_ms - 1 };
	struct queue *q = queue_new(c->redis, partner, NULL);
	int rc;

	do {
		w.seen = 0;
		rc = queue_dead_list(q, w.last_ms, PAGE, take, &w, cli_deadline(), err);
	} while (rc == 0 && w.seen >= PAGE && w.last_ms < until_ms);
	queue_free(q);
	return rc;
}

static int walk_redis(struct cli *c, const struct letter_filter *f, struct letters *out,
		      struct err *err)
{
	int64_t now = redis_now_ms(c->redis);
	int rc = 0;

	if (f->partner)
		return walk_partner(c, f, f->partner, now, out, err);
	rc = walk_partner(c, f, LONGSHORE_PARTNER, now, out, err);
	for (int i = 0; i < driver_set_count(c->drivers) && rc == 0; i++)
		rc = walk_partner(c, f, driver_at(c->drivers, i)->manifest->partner, now, out, err);
	return rc;
}

/* ---- Postgres ---- */
static void take_stored(const char *partner, const char *id, const char *json, int64_t failed_at_ms,
			void *arg)
{
	struct letters *out = arg;
	struct letter l = { .id = mem_strdup(id),
			    .partner = mem_strdup(partner),
			    .text = mem_strdup(json),
			    .len = strlen(json),
			    .failed_at_ms = failed_at_ms };
	char own[DEADLETTER_ID_MAX];

	if (has(out, id)) {
		letter_clear(&l);
		return;
	}
	l.tree = deadletter_read(json, l.len, own);
	append(out, &l);
}

static int newest_first(const void *a, const void *b)
{
	const struct letter *x = a, *y = b;

	return (y->failed_at_ms > x->failed_at_ms) - (y->failed_at_ms < x->failed_at_ms);
}

int letters_find(struct cli *c, const struct letter_filter *f, struct letters *out)
{
	struct deadletter_filter stored = { .id = f->id,
					    .class = f->class,
					    .partner = f->partner,
					    .integration_id = f->integration,
					    .since_ms = f->since_ms,
					    .state = f->state,
					    .limit = f->limit };
	bool in_redis = !f->state || !strcmp(f->state, "dead") || !strcmp(f->state, "any");
	struct err err = { 0 };
	int rc = in_redis ? walk_redis(c, f, out, &err) : 0;

	if (rc == 0)
		rc = deadletter_each(c->pg, &stored, take_stored, out, &err);
	if (rc < 0)
		return cli_error(c, rc, &err, c->command->name);
	if (out->n)
		qsort(out->v, (size_t)out->n, sizeof(*out->v), newest_first);
	while (out->n > f->limit)
		letter_clear(&out->v[--out->n]);
	return 0;
}

/* ---- replay, discard ---- */
static int settle_in_redis(struct cli *c, const struct letter *l, const char *state, bool replay,
			   struct err *err)
{
	struct queue *q = queue_new(c->redis, l->partner, NULL);
	const char *text = l->text;
	int rc = deadletter_copy(c->pg, l->partner, &text, &l->len, 1, err);

	if (rc == 0)
		rc = deadletter_claim(c->pg, l->id, state, true, err);
	if (rc == 0) {
		rc = queue_dead_take(q, l->failed_at_ms, l->text, l->len, replay, cli_deadline(),
				     err);
		/* Trimmed meanwhile, or refused: still dead.  An answer that was lost leaves the
		 * claim, which lapses in a minute. */
		if ((rc == -ENOENT || rc == -EINVAL || rc == -EPROTO) &&
		    deadletter_set_state(c->pg, l->id, "dead", NULL) < 0)
			err_set(err, rc, err->class, err->rule,
				"%s; it is marked %s in Postgres all the same", l->id, state);
	}
	queue_free(q);
	return rc;
}

static int read_payload(const struct letter *l, struct buf *out, struct err *err)
{
	const char *plain = l->tree ? json_str(l->tree, "payload") : NULL;
	const char *coded = l->tree ? json_str(l->tree, "payload_base64") : NULL;

	if (plain)
		buf_puts(out, plain);
	else if (!coded || base64_decode(coded, strlen(coded), out) < 0)
		return err_set(err, -EINVAL, ERR_DATA, "letter",
			       "dead letter %s holds no payload that could be replayed", l->id);
	return 0;
}

static int enqueue_again(struct cli *c, const struct letter *l, const struct buf *payload,
			 struct err *err)
{
	struct queue_push push = { .lane = LANE_NORMAL,
				   .origin = l->tree ? json_str(l->tree, "origin") : NULL,
				   .payload = buf_str(payload),
				   .len = payload->len };
	const char *lane = l->tree ? json_str(l->tree, "lane") : NULL;
	struct queue *q;
	int rc;

	if (lane && lane_parse(lane, &push.lane) < 0)
		push.lane = LANE_NORMAL;
	if (l->tree && json_int(l->tree, "integration_id", &push.integration) &&
	    push.integration < 0)
		push.integration = 0;
	q = queue_new(c->redis, l->partner, NULL);
	rc = queue_enqueue(q, &push, 1, cli_deadline(), err);
	queue_free(q);
	return rc;
}

/* Where the answer was lost the job may be queued or not; the letter stays dead then: twice does
 * no harm, never would. */
static int settle_in_postgres(struct cli *c, const struct letter *l, const char *state, bool replay,
			      struct err *err)
{
	struct buf payload = BUF_INIT;
	int rc = replay ? read_payload(l, &payload, err) : 0;

	if (rc == 0)
		rc = deadletter_claim(c->pg, l->id, state, false, err);
	if (rc == 0 && replay) {
		rc = enqueue_again(c, l, &payload, err);
		if (rc < 0 && deadletter_set_state(c->pg, l->id, "dead", NULL) < 0)
			err_set(err, rc, err->class, err->rule,
				"%s was not queued again, and is marked %s in Postgres all"
				" the same",
				l->id, state);
	}
	buf_clear(&payload);
	return rc;
}

int letter_settle(struct cli *c, const struct letter *l, bool replay, struct err *err)
{
	const char *state = replay ? "replayed" : "discarded";

	if (replay && !l->tree)
		return err_set(err, -EINVAL, ERR_DATA, "letter",
			       "%s is no dead letter of Longshore's: it can be shown and discarded",
			       l->id);
	return l->in_redis ? settle_in_redis(c, l, state, replay, err)
			   : settle_in_postgres(c, l, state, replay, err);
}
