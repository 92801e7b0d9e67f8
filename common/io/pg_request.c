/* A request from pg_send to its callback. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/mem.h"
#include "common/io/pg_conn.h"

void pg_queue_init(struct pg_queue *q)
{
	*q = (struct pg_queue){ 0 };
}

void pg_queue_push(struct pg_queue *q, struct pg_request *r)
{
	if (q->head)
		*q->tail = r;
	else
		q->head = r;
	q->tail = &r->next;
	r->next = NULL;
	q->n++;
}

struct pg_request *pg_queue_pop(struct pg_queue *q)
{
	struct pg_request *r = q->head;

	if (r) {
		q->head = r->next;
		q->n--;
	}
	return r;
}

void pg_request_unkeep(struct pg_request *r)
{
	for (int i = 0; r->kept && i < r->n; i++) {
		for (int j = 0; j < r->kept[i].n; j++)
			free(r->kept[i].v[j].bytes);
		free(r->kept[i].v);
		free(r->kept[i].sql);
	}
	free(r->kept);
	r->kept = NULL;
}

void pg_request_keep(struct pg_request *r, const struct pg_statement *st)
{
	r->kept = mem_zalloc((size_t)r->n * sizeof(*r->kept));
	for (int i = 0; i < r->n; i++) {
		const struct pg_params *p = st[i].params;
		struct pg_kept *k = &r->kept[i];

		k->sql = mem_strdup(st[i].sql);
		k->n = p ? p->n : 0;
		k->v = mem_zalloc((size_t)(k->n + 1) * sizeof(*k->v));
		for (int j = 0; j < k->n; j++) {
			size_t len = (size_t)p->v[j].len;

			k->v[j] = p->v[j];
			if (!p->v[j].bytes)
				continue;
			k->v[j].bytes = mem_alloc(len + 1); /* text needs its NUL */
			memcpy(k->v[j].bytes, p->v[j].bytes, len);
			k->v[j].bytes[len] = '\0';
		}
	}
}

struct pg_request *pg_request_new(int n, pg_cb cb, void *arg)
{
	struct pg_request *r = mem_zalloc(sizeof(*r) + (size_t)n * sizeof(r->results[0]));

	r->n = n;
	r->cb = cb;
	r->arg = arg;
	r->since_ms = loop_now_ms();
	return r;
}

void pg_request_free(struct pg_request *r)
{
	pg_request_unkeep(r);
	PQclear(r->unbounded);
	free(r);
}

bool pg_request_is_lost(const struct pg_request *r, const struct err *err)
{
	return r->by_name && (strcmp(err->rule, "0A000") == 0 || strcmp(err->rule, "26000") == 0);
}

static int refused(const struct pg_request *r, const PGresult *res, struct err *err)
{
	int rc = pg_refused(res, err);

	if (err && pg_request_is_lost(r, err))
		err->class = ERR_TRANSIENT;
	return rc;
}

/* The first refusal among the results; those after it are only "pipeline aborted". */
int pg_request_verdict(const struct pg_request *r, struct err *err)
{
	if (r->unbounded)
		return pg_refused(r->unbounded, err);
	for (int i = 0; i < r->got; i++)
		if (PQresultStatus(r->results[i]) == PGRES_FATAL_ERROR)
			return refused(r, r->results[i], err);
	if (r->got == r->n)
		return 0;
	return err_set(err, -EPROTO, ERR_INTERNAL, "protocol", "%d results to %d statements",
		       r->got, r->n);
}

void pg_request_end(struct pg_request *r, int rc, const struct err *err)
{
	struct err refused;

	if (rc == 0) {
		rc = pg_request_verdict(r, &refused);
		err = &refused;
	}
	if (rc == 0) {
		r->cb(0, r->results, r->n, NULL, r->arg);
	} else {
		for (int i = 0; i < r->got; i++)
			PQclear(r->results[i]);
		r->cb(rc, NULL, 0, err, r->arg);
	}
	pg_request_free(r);
}
