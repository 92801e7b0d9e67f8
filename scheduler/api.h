/* The HTTP API, /api/v1/…: what comes in by it, who may, and how errors are told (RFC 9457).  api.c has the way of every call (token,
 * rate, scope, body), api_requests.c outbound requests, api_lookups.c questions, api_query.c what stands in the address.  A noun more is a file more and a line in api.c's table. */
#ifndef SCHEDULER_API_H
#define SCHEDULER_API_H

#include "common/store/api_token.h"
#include "scheduler/scheduler.h"

#define API_ROOT "/api/v1/"

/* One call, on its way through a handler.  Handlers wait, and answer exactly once. */
struct api_call {
	struct scheduler *s;
	struct httpd_request *q;
	struct api_token token;
	const char *rest; /* of the path, behind the route's */
	cJSON *body;      /* of a POST: an object; NULL: none came */
	cJSON *query; /* of the address: those that the call knows, each a text; NULL: it reads them itself */
	bool writes; /* something comes of it */
};
typedef void (*api_handler)(struct api_call *c);

void api_routes(struct scheduler *s, struct httpd *h);

/* api_query.c.  api_query_check: reads c->query; false: it has another than those, or one twice, and it was said. */
bool api_query_check(struct api_call *c, const char *const *names, int n);
const char *api_query(const struct api_call *c, const char *name); /* NULL: not given */
/* All of the address's parameters, a list where one is given twice.  NULL: they do not read, and it was said. */
cJSON *api_query_read(struct api_call *c);
/* A member of the body (or of a part of it) that its object had before: which one is meant nobody knows. */
bool api_is_repeated(const cJSON *object, const cJSON *member);

/* Answers.  v is taken. */
void api_reply(struct api_call *c, int status, cJSON *v);
void api_reply_text(struct api_call *c, int status, const struct buf *json);
/* field: what of the request is wrong ("args.amount"); NULL: none. */
void api_problem(struct api_call *c, int status, const char *field, const char *fmt, ...)
	__attribute__((format(printf, 4, 5)));
/* members: more of the problem, `"name":value,…`. */
void api_problem_with(struct api_call *c, int status, const char *field, const char *members,
		      const char *fmt, ...) __attribute__((format(printf, 5, 6)));
/* What the store or the queue returned: 503 where it is away, else 500. */
void api_error(struct api_call *c, int rc, const struct err *err);

/* api_requests.c */
void api_requests_post(struct api_call *c);
void api_requests_list(struct api_call *c);
void api_requests_get(struct api_call *c);    /* {id} */
void api_requests_decide(struct api_call *c); /* {id}/resolve, {id}/undo */

/* api_lookups.c */
void api_lookup_post(struct api_call *c);
void api_lookup_get(struct api_call *c); /* {partner}/{name} */

/* scheduler/openapi.json, built in. */
extern const char openapi_json[];

#endif
