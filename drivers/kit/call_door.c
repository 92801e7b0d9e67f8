#include "drivers/kit/call_door.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "common/base/log.h"
#include "common/base/mem.h"
#include "drivers/kit/tape.h"

#define POOL_CONNECTIONS_MAX 16000 /* the pool itself keeps each multi small */
#define POOL_CONNECTIONS_SPARE 8   /* calls for tokens are not counted by api.concurrency */
#define EGRESS_BYTES 256
#define ANSWERS_MAX 16 /* handles kept for one endpoint; rarer answers are looked up each time */

struct endpoint {
	struct endpoint *next;
	char *name;
	struct metric *duration;
	struct {
		int status;
		const char *failure;
		struct metric *calls;
	} answers[ANSWERS_MAX];
	int n_answers;
};

static const char *host_name(char out[EGRESS_BYTES])
{
	if (gethostname(out, EGRESS_BYTES) < 0)
		return "localhost";
	out[EGRESS_BYTES - 1] = '\0';
	return out;
}

struct door *door_new(const struct door_options *o)
{
	struct door *d = mem_new(struct door);
	char host[EGRESS_BYTES];

	d->redis = o->redis;
	d->pg = o->pg;
	d->keyring = o->keyring;
	d->permit_wait_ms = o->permit_wait_ms > 0 ? o->permit_wait_ms : DOOR_PERMIT_WAIT_MS;
	d->egress = mem_strdup(o->egress && *o->egress ? o->egress : host_name(host));
	d->public_url = o->public_url ? mem_strdup(o->public_url) : NULL;
	d->tape = o->tape;
	if (!tape_replays(o->tape)) {
		d->limiter = limiter_new(o->redis, o->epoch);
		d->breakers = breakers_new(o->redis);
	}
	d->auth = auth_store_new(o->redis, o->pg, o->keyring, o->epoch, o->beats);
	return d;
}

static void partner_free(struct door_partner *p)
{
	struct endpoint *e, *next;

	for (e = p->endpoints; e; e = next) {
		next = e->next;
		free(e->name);
		free(e);
	}
	http_pool_free(p->pool);
	free(p->name);
	free(p);
}

void door_free(struct door *d)
{
	struct door_partner *p, *next;

	if (!d)
		return;
	door_forget(d);
	idmap_clear(&d->routes);
	for (p = d->partners; p; p = next) {
		next = p->next;
		partner_free(p);
	}
	auth_store_free(d->auth);
	limiter_free(d->limiter);
	breakers_free(d->breakers);
	free(d->egress);
	free(d->public_url);
	free(d);
}

/* Looked for once a route, not once a call: a list will do. */
struct door_partner *door_partner(struct door *d, const struct manifest *m)
{
	const char *name = m->partner;
	struct door_partner *p;

	for (p = d->partners; p; p = p->next)
		if (strcmp(p->name, name) == 0)
			return p;
	p = mem_new(struct door_partner);
	p->name = mem_strdup(name);
	/* What the limiter lets through must find a connection: with fewer, calls would wait inside libcurl, which then
	 * looks at all of them each time one ends. */
	p->pool = http_pool_new(p->name, m->concurrency_partner < POOL_CONNECTIONS_MAX
						 ? m->concurrency_partner + POOL_CONNECTIONS_SPARE
						 : POOL_CONNECTIONS_MAX);
	p->waits = metrics_histogram("integration_limit_wait_seconds",
				     "Time spent waiting for permits of the rate limiter.",
				     "partner", name, NULL);
	p->next = d->partners;
	d->partners = p;
	return p;
}

static struct endpoint *endpoint_of(struct door_partner *p, const char *name)
{
	struct endpoint **at = &p->endpoints, *e;

	for (; (e = *at); at = &e->next) {
		if (strcmp(e->name, name) != 0)
			continue;
		*at = e->next; /* to the front: one endpoint has most of the calls */
		e->next = p->endpoints;
		p->endpoints = e;
		return e;
	}
	if (p->n_endpoints >= DOOR_ENDPOINTS_MAX && strcmp(name, "other") != 0)
		return endpoint_of(p, "other");
	e = mem_new(struct endpoint);
	e->name = mem_strdup(name);
	e->duration = metrics_histogram("integration_api_call_duration_seconds",
					"How long partners took to answer.", "partner", p->name,
					"endpoint", name, NULL);
	e->next = p->endpoints;
	p->endpoints = e;
	p->n_endpoints++;
	return e;
}

static struct metric *calls_metric(const struct door_partner *p, const struct endpoint *e,
				   const struct http_response *h)
{
	char code[16];

	snprintf(code, sizeof(code), "%d", h->status);
	return metrics_counter("integration_api_calls_total", "Calls to partners by their answer.",
			       "partner", p->name, "endpoint", e->name, "status_code",
			       h->status ? code : h->failure, NULL);
}

void door_count(struct door_partner *p, const char *endpoint, const struct http_response *h)
{
	struct endpoint *e = endpoint_of(p, endpoint);
	struct metric *m = NULL;

	for (int i = 0; i < e->n_answers && !m; i++)
		if (e->answers[i].status == h->status && e->answers[i].failure == h->failure)
			m = e->answers[i].calls;
	if (!m) {
		m = calls_metric(p, e, h);
		if (e->n_answers < ANSWERS_MAX) {
			e->answers[e->n_answers].status = h->status;
			e->answers[e->n_answers].failure =
				h->failure; /* a constant: its address names it */
			e->answers[e->n_answers++].calls = m;
		}
	}
	metric_add(m, 1);
	metric_observe(e->duration, (double)h->duration_ms / 1000.0);
}

void call_result_init(struct call_result *r)
{
	http_response_init(&r->http);
	r->json = NULL;
	r->observed_us = 0;
	r->memory = NULL;
	r->body_bytes = r->tree_bytes = 0;
}

void call_result_clear(struct call_result *r)
{
	call_result_drop_body(r);
	http_response_clear(&r->http);
	cJSON_Delete(r->json);
	r->json = NULL;
	budget_give(r->memory, r->tree_bytes);
	r->tree_bytes = 0;
}

bool call_found_none(int rc, const struct call_result *r, const struct err *e)
{
	return rc == -EREMOTEIO && (r->http.status == 404 || r->http.status == 410 ||
				    (e && e->action == ACT_NOT_THERE));
}

void call_result_drop_body(struct call_result *r)
{
	buf_clear(&r->http.body);
	budget_give(r->memory, r->body_bytes);
	r->body_bytes = 0;
}
