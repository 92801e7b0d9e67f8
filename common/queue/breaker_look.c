#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/mem.h"
#include "common/queue/breaker_impl.h"

/* ---- the index ---- */

void breaker_list_clear(struct breaker_list *l)
{
	free(l->v);
	*l = (struct breaker_list){ 0 };
}

const struct breaker_seen *breaker_find(const struct breaker_list *l, const char *host)
{
	for (int i = 0; i < l->n; i++)
		if (strcmp(l->v[i].host, host) == 0)
			return &l->v[i];
	return NULL;
}

static void host_key(const struct queue *q, const char *host, char out[BREAKER_KEY_MAX])
{
	snprintf(out, BREAKER_KEY_MAX, "breaker:{%s}:%s", q->partner, host);
}

int breaker_details(struct queue *q, struct breaker_seen *s, int64_t deadline_ms, struct err *err)
{
	char key[BREAKER_KEY_MAX];
	redisReply *r = NULL;
	int rc;

	host_key(q, s->host, key);
	rc = redis_callv(q->r, &r, deadline_ms, err, "HMGET", key, "since", "failures", "opens",
			 "hand", "why", NULL);
	if (rc < 0)
		return rc;
	if (reply_is(r, REDIS_REPLY_ARRAY) && r->elements == 5) {
		s->since_ms = reply_int(r->element[0]);
		s->failures = (int)reply_int(r->element[1]);
		s->opens = (int)reply_int(r->element[2]);
		s->by_hand = reply_int(r->element[3]) == 1;
		snprintf(s->why, sizeof(s->why), "%s",
			 r->element[4]->str ? r->element[4]->str : "");
	}
	freeReplyObject(r);
	return 0;
}

int breaker_list(struct queue *q, bool details, struct breaker_list *out, int64_t deadline_ms,
		 struct err *err)
{
	struct breaker_list l = { 0 };
	redisReply *r = NULL;
	int rc = redis_callv(q->r, &r, deadline_ms, err, "HGETALL", q->keys.breakers, NULL);

	if (rc < 0)
		return rc;
	if (reply_is(r, REDIS_REPLY_ARRAY) && r->elements > 1)
		l.v = mem_zalloc(r->elements / 2 * sizeof(*l.v));
	for (size_t i = 0; l.v && i + 1 < r->elements; i += 2) {
		struct breaker_seen *s = &l.v[l.n++];

		snprintf(s->host, sizeof(s->host), "%s", r->element[i]->str);
		breaker_entry_parse(r->element[i + 1]->str, &s->state, &s->until_ms);
	}
	freeReplyObject(r);
	for (int i = 0; i < l.n && rc == 0 && details; i++)
		rc = breaker_details(q, &l.v[i], deadline_ms, err);
	if (rc < 0) {
		breaker_list_clear(&l);
		return rc;
	}
	*out = l;
	return 0;
}

/* ---- hosts ---- */

void breaker_homes_clear(struct breaker_homes *h)
{
	for (int i = 0; i < h->n; i++)
		free(h->v[i].host);
	free(h->v);
	free(h->host);
	*h = (struct breaker_homes){ 0 };
}

static int by_integration(const void *a, const void *b)
{
	int64_t x = *(const int64_t *)a, y = *(const int64_t *)b;

	return (x > y) - (x < y);
}

int breaker_homes(struct queue *q, struct breaker_homes *out, int64_t deadline_ms, struct err *err)
{
	struct breaker_homes h = { 0 };
	redisReply *r = NULL;
	int rc = redis_callv(q->r, &r, deadline_ms, err, "HGETALL", q->keys.control, NULL);

	if (rc < 0)
		return rc;
	h.v = mem_zalloc((r->elements / 2 + 1) * sizeof(*h.v));
	for (size_t i = 0; i + 1 < r->elements; i += 2) {
		const char *field = r->element[i]->str, *host = r->element[i + 1]->str;

		if (strcmp(field, "host") == 0)
			h.host = mem_strdup(host);
		if (strncmp(field, "host:", 5) != 0)
			continue;
		h.v[h.n].integration = strtoll(field + 5, NULL, 10);
		h.v[h.n++].host = mem_strdup(host);
	}
	freeReplyObject(r);
	if (h.n)
		qsort(h.v, (size_t)h.n, sizeof(*h.v), by_integration);
	*out = h;
	return 0;
}

const char *breaker_home(const struct breaker_homes *h, int64_t integration)
{
	int low = 0, high = h->n;

	while (low < high) {
		int mid = (low + high) / 2;

		if (h->v[mid].integration < integration)
			low = mid + 1;
		else
			high = mid;
	}
	if (low < h->n && h->v[low].integration == integration)
		return h->v[low].host;
	return integration ? h->host : NULL;
}

static int by_text(const void *a, const void *b)
{
	return strcmp(*(char *const *)a, *(char *const *)b);
}

static void each_once(char **v, int *n)
{
	int kept = 0;

	if (*n)
		qsort(v, (size_t)*n, sizeof(*v), by_text);
	for (int i = 0; i < *n; i++) {
		if (kept && strcmp(v[kept - 1], v[i]) == 0)
			free(v[i]);
		else
			v[kept++] = v[i];
	}
	*n = kept;
}

void breaker_hosts(const struct breaker_homes *h, const struct breaker_list *l, char ***out, int *n)
{
	char **v = mem_zalloc((size_t)(h->n + l->n + 2) * sizeof(*v));

	*n = 0;
	if (h->host)
		v[(*n)++] = mem_strdup(h->host);
	for (int i = 0; i < h->n; i++)
		v[(*n)++] = mem_strdup(h->v[i].host);
	for (int i = 0; i < l->n; i++)
		v[(*n)++] = mem_strdup(l->v[i].host);
	each_once(v, n);
	*out = v;
}

/* ---- by hand, and by time ---- */

static int set(struct queue *q, const char *host, const char *op, int64_t ms, const char *why,
	       int64_t deadline_ms, struct err *err)
{
	char key[BREAKER_KEY_MAX];
	redisReply *reply = NULL;
	struct redis_args a;
	bool walk;
	int rc;

	if (strlen(host) >= BREAKER_HOST_MAX)
		return err_set(err, -EINVAL, ERR_INTERNAL, "breaker",
			       "the host's name is too long");
	host_key(q, host, key);
	redis_args_init(&a);
	redis_arg(&a, key);
	redis_arg(&a, q->keys.breakers);
	redis_arg(&a, host);
	redis_arg(&a, op);
	redis_arg_int(&a, ms);
	redis_arg(&a, why);
	rc = redis_call_script(q->r, &lua_breaker_set, 2, &a, &reply, deadline_ms, err);
	redis_args_clear(&a);
	if (rc < 0)
		return rc;
	walk = reply_is(reply, REDIS_REPLY_ARRAY) && reply->elements == 3 &&
	       reply_int(reply->element[2]) == 1;
	freeReplyObject(reply);
	return walk ? queue_open(q, deadline_ms, err) : 0;
}

int breaker_open(struct queue *q, const char *host, int64_t for_ms, const char *why,
		 int64_t deadline_ms, struct err *err)
{
	return set(q, host, "open", for_ms, why, deadline_ms, err);
}

int breaker_close(struct queue *q, const char *host, int64_t slow_start_ms, int64_t deadline_ms,
		  struct err *err)
{
	return set(q, host, "close", slow_start_ms, "closed by hand", deadline_ms, err);
}

/* Those whose fields Redis may have forgotten are looked for every five seconds. */
static bool is_due(const struct breaker_seen *s, int i, int64_t now_ms)
{
	if (s->state == BREAKER_HALF_OPEN)
		return true;
	if (s->until_ms)
		return now_ms >= s->until_ms;
	return (now_ms / 1000 + i) % 5 == 0;
}

int breaker_tick(struct queue *q, const struct breaker_list *l, int64_t deadline_ms,
		 struct err *err)
{
	int64_t now_ms = redis_now_ms(q->r);
	int rc = 0;

	for (int i = 0; i < l->n && rc == 0; i++)
		if (is_due(&l->v[i], i, now_ms))
			rc = set(q, l->v[i].host, "tick", 0, "", deadline_ms, err);
	return rc;
}
