/* Outbound requests by HTTP: what is accepted is in Postgres before it is answered, and in its queue a moment later; where Redis is
 * away, as soon as it is back (requests.c). */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/clock.h"
#include "common/base/config.h"
#include "common/base/mem.h"
#include "common/io/co.h"
#include "common/io/loop.h"
#include "common/queue/queue.h"
#include "drivers/kit/notify.h"
#include "drivers/kit/outbound.h"
#include "scheduler/api.h"

#define WAIT_MAX_MS 60000
#define LOOK_FIRST_MS 20
#define LOOK_MAX_MS 250
#define QUEUE_MS 1000 /* longer the scheduler's own relay takes care of it */
#define LIST_MAX 500

static bool id_of(const char *text, size_t len, int64_t *id)
{
	*id = 0;
	if (len == 0 || len > 18 || strspn(text, "0123456789") < len)
		return false;
	*id = strtoll(text, NULL, 10);
	return *id > 0;
}

static void no_request(struct api_call *c)
{
	api_problem(c, 404, NULL, "there is no such request");
}

static void keep(const cJSON *row, void *arg)
{
	*(cJSON **)arg = cJSON_Duplicate(row, true);
}

/* One of them whole; *out NULL: it is not there.  Waits. */
static int look(struct api_call *c, int64_t id, cJSON **out, struct err *err)
{
	struct request_filter f = { .id = id, .limit = 1, .whole = true };

	*out = NULL;
	return request_each(c->s->pg, &f, keep, out, err);
}

/* ---- POST /api/v1/requests ---- */

static bool is_text(const cJSON *v)
{
	return cJSON_IsString(v) && *v->valuestring;
}

static bool is_count(const cJSON *v, int64_t least, int64_t most)
{
	int64_t n;

	return json_int(v, "@", &n) && n >= least && n <= most;
}

/* What is wrong with a member; NULL: nothing. */
static const char *member_problem(const cJSON *v)
{
	const char *name = v->string;
	enum lane lane;

	if (!strcmp(name, "partner") || !strcmp(name, "action") || !strcmp(name, "idempotency_key"))
		return is_text(v) && strlen(v->valuestring) <= 255
			       ? NULL
			       : "must be a text of 1 to 255 bytes";
	if (!strcmp(name, "integration_id"))
		return is_count(v, 1, INT64_C(1) << 53) ? NULL : "must be the id of an integration";
	if (!strcmp(name, "args"))
		return cJSON_IsObject(v) ? NULL : "must be an object";
	if (!strcmp(name, "lane"))
		return is_text(v) && lane_parse(v->valuestring, &lane) == 0
			       ? NULL
			       : "must be high, normal or low";
	if (!strcmp(name, "max_retries"))
		return is_count(v, 0, 1000) ? NULL : "must be 0 to 1000";
	if (!strcmp(name, "expires_in"))
		return is_count(v, 1, 366 * 86400) ? NULL : "must be seconds, 1 to 31622400";
	return "is not known";
}

static bool is_notify(const cJSON *body)
{
	const char *partner = body ? json_str(body, "partner") : NULL,
		   *action = body ? json_str(body, "action") : NULL;

	return partner && action && !strcmp(partner, LONGSHORE_PARTNER) &&
	       !strcmp(action, "notify");
}

/* A key that is not understood must not be left out: it is asked for so that nothing is done twice.  False: refused. */
static bool read_key(struct api_call *c, const char **key)
{
	const char *header = httpd_header(c->q, "Idempotency-Key");
	size_t n = header ? strlen(header) : 0;

	if (!header)
		return true;
	if (n == 0 || n > 255 || !utf8_is_valid(header, n) ||
	    httpd_header_count(c->q, "Idempotency-Key") > 1 ||
	    (*key && strcmp(*key, header) != 0)) {
		api_problem(c, 400, "Idempotency-Key",
			    "Idempotency-Key: one text of 1 to 255 bytes is expected, and "
			    "the body's idempotency_key no other");
		return false;
	}
	*key = header;
	return true;
}

/* False: refused. */
static bool read_ask(struct api_call *c, struct outbound_ask *ask)
{
	/* A notification has an integration for each channel: the company's. */
	static const char *const needed[] = { "partner", "action", "integration_id" };
	const size_t n_needed = is_notify(c->body) ? 2 : ARRAY_LEN(needed);
	static const char *const all[] = { "partner",     "action",    "integration_id",
					   "args",        "lane",      "idempotency_key",
					   "max_retries", "expires_in" };
	const char *near;
	const cJSON *v;

	for (size_t i = 0; i < n_needed; i++)
		if (!c->body || !cJSON_GetObjectItemCaseSensitive(c->body, needed[i])) {
			api_problem(c, 400, needed[i], "\"%s\" is missing", needed[i]);
			return false;
		}
	cJSON_ArrayForEach (v, c->body) {
		const char *wrong = member_problem(v);

		if (!wrong && api_is_repeated(c->body, v))
			wrong = "is given twice";
		if (!wrong)
			continue;
		near = strcmp(wrong, "is not known") == 0
			       ? config_nearest(v->string, all, ARRAY_LEN(all))
			       : NULL;
		api_problem(c, 400, v->string, "\"%.60s\" %s%s%s%s", v->string, wrong,
			    near ? "; did you mean \"" : "", near ? near : "", near ? "\"?" : "");
		return false;
	}
	*ask = (struct outbound_ask){ .partner = json_str(c->body, "partner"),
				      .action = json_str(c->body, "action"),
				      .lane = json_str(c->body, "lane"),
				      .args = cJSON_GetObjectItemCaseSensitive(c->body, "args"),
				      .idempotency_key = json_str(c->body, "idempotency_key"),
				      .max_retries = -1 };
	(void)json_int(c->body, "integration_id", &ask->integration_id);
	(void)json_int(c->body, "max_retries", &ask->max_retries);
	(void)json_int(c->body, "expires_in", &ask->expires_in_s);
	return read_key(c, &ask->idempotency_key);
}

static bool read_wait(struct api_call *c, int64_t *ms)
{
	const char *text = api_query(c, "wait");

	*ms = 0;
	if (!text || (clock_parse_duration(text, ms) == 0 && *ms >= 0 && *ms <= WAIT_MAX_MS))
		return true;
	api_problem(c, 400, "wait", "wait: a time such as 5s, at most 60s, is expected");
	return false;
}

static bool is_open(const cJSON *row)
{
	const char *state = json_str(row, "state");

	return state && (!strcmp(state, "pending") || !strcmp(state, "running"));
}

/* Until it has ended, or the time is over. */
static int wait_for(struct api_call *c, int64_t id, int64_t wait_ms, cJSON **row, struct err *err)
{
	int64_t end = loop_now_ms() + wait_ms, pause = LOOK_FIRST_MS;

	for (;;) {
		int64_t left = end - loop_now_ms();
		int rc = look(c, id, row, err);

		if (rc < 0 || !*row || !is_open(*row) || left <= 0 || c->s->stopping)
			return rc;
		cJSON_Delete(*row);
		*row = NULL;
		rc = co_sleep("outcome", pause < left ? pause : left);
		if (rc < 0)
			return err_set(err, rc, ERR_CANCELLED, "stop", "stopping");
		pause = pause * 3 / 2 < LOOK_MAX_MS ? pause * 3 / 2 : LOOK_MAX_MS;
	}
}

static void refuse(struct api_call *c, int rc, const struct err *err)
{
	bool named = rc == -EKEYREJECTED || strncmp(err->text, "args.", 5) == 0;
	char field[80];

	snprintf(field, sizeof(field), "%.*s", (int)strcspn(err->text, ": "), err->text);
	if (rc == -EKEYREJECTED || rc == -EINVAL || rc == -ENOENT)
		api_problem(c, 422, named ? field : err->rule, "%s", err->text);
	else if (rc == -EEXIST)
		api_problem(c, 409, strcmp(err->rule, "once") ? err->rule : NULL, "%s", err->text);
	else
		api_error(c, rc, err);
}

void api_requests_post(struct api_call *c)
{
	struct outbound_ask ask;
	struct err err = { 0 };
	int64_t id = 0, wait_ms;
	bool fresh = false;
	cJSON *row = NULL;
	char where[64];
	int rc;

	if (!read_wait(c, &wait_ms) || !read_ask(c, &ask))
		return;
	if (is_notify(c->body))
		rc = notify_request(c->s->pg, c->s->drivers, ask.args, ask.idempotency_key, &id,
				    &err);
	else
		rc = outbound_add(c->s->pg, c->s->drivers, &ask, &id, &fresh, &err);
	if (rc < 0) {
		refuse(c, rc, &err);
		return;
	}
	if (fresh)
		outbound_queue_one(c->s->redis, c->s->pg, id, loop_now_ms() + QUEUE_MS);
	rc = wait_for(c, id, wait_ms, &row, &err);
	snprintf(where, sizeof(where), API_ROOT "requests/%lld", (long long)id);
	httpd_add_header(c->q, "Location", where);
	if (rc < 0 || !row) { /* it is accepted all the same */
		row = cJSON_CreateObject();
		cJSON_AddNumberToObject(row, "id", (double)id);
		cJSON_AddStringToObject(row, "state", "pending");
	}
	api_reply(c, is_open(row) ? 202 : 200, row);
}

/* ---- looking ---- */

void api_requests_get(struct api_call *c)
{
	struct err err = { 0 };
	cJSON *row = NULL;
	int64_t id, wait_ms;
	int rc;

	if (!id_of(c->rest, strlen(c->rest), &id)) {
		no_request(c);
		return;
	}
	if (!read_wait(c, &wait_ms))
		return;
	rc = wait_for(c, id, wait_ms, &row, &err);
	if (rc < 0)
		api_error(c, rc, &err);
	else if (!row)
		no_request(c);
	else
		api_reply(c, 200, row);
}

static void add(const cJSON *row, void *arg)
{
	cJSON_AddItemToArray(arg, cJSON_Duplicate(row, true));
}

static bool read_number(struct api_call *c, const char *name, int64_t most, int64_t *out)
{
	const char *text = api_query(c, name);

	*out = 0;
	if (!text || (id_of(text, strlen(text), out) && *out <= most))
		return true;
	if (most == INT64_MAX)
		api_problem(c, 400, name, "%s: a number, 1 or more, is expected", name);
	else
		api_problem(c, 400, name, "%s: a number, 1 to %lld, is expected", name,
			    (long long)most);
	return false;
}

static bool read_state(struct api_call *c, const char *name)
{
	enum request_state state;

	if (!name || !strcmp(name, "open") || !strcmp(name, "late") ||
	    request_state_parse(name, &state) == 0)
		return true;
	api_problem(
		c, 400, "state",
		"state: pending, running, done, failed, unknown, undone, open or late is expected");
	return false;
}

void api_requests_list(struct api_call *c)
{
	struct request_filter f = { .partner = api_query(c, "partner"),
				    .action = api_query(c, "action"),
				    .state = api_query(c, "state") };
	cJSON *out = cJSON_CreateObject(), *list = cJSON_CreateArray();
	struct err err = { 0 };
	int64_t limit;
	int rc;

	cJSON_AddItemToObject(out, "requests", list);
	if (!read_state(c, f.state) ||
	    !read_number(c, "integration_id", INT64_MAX, &f.integration_id) ||
	    !read_number(c, "before", INT64_MAX, &f.before_id) ||
	    !read_number(c, "limit", LIST_MAX, &limit)) {
		cJSON_Delete(out);
		return;
	}
	f.limit = (int)limit;
	rc = request_each(c->s->pg, &f, add, list, &err);
	if (rc == 0) {
		api_reply(c, 200, out);
		return;
	}
	cJSON_Delete(out);
	api_error(c, rc, &err);
}

/* ---- deciding ---- */

static void decide(struct api_call *c, int64_t id, const char *as, const cJSON *kept)
{
	struct err err = { 0 };
	cJSON *row = NULL;
	int rc = outbound_resolve(c->s->redis, c->s->pg, c->s->drivers, id, as, kept,
				  loop_now_ms() + QUEUE_MS, &err);

	if (rc == -ENOENT) {
		no_request(c);
	} else if (rc == -EPERM) {
		api_problem(c, 409, NULL, "%s", err.text);
	} else if (rc == -EINVAL || rc == -EKEYREJECTED) {
		api_problem(c, 422, "kept", "%s", err.text);
	} else if (rc < 0 || look(c, id, &row, &err) < 0 || !row) {
		api_error(c, rc, &err);
	} else {
		api_reply(c, 202, row);
	}
}

/* A decision that was mistyped would be another one.  False: refused. */
static bool read_decision(struct api_call *c, bool undo)
{
	const cJSON *v;

	cJSON_ArrayForEach (v, c->body) {
		bool known = !undo && (!strcmp(v->string, "as") || !strcmp(v->string, "kept"));

		if (known && !api_is_repeated(c->body, v))
			continue;
		api_problem(c, 400, v->string, "\"%.60s\" is %s", v->string,
			    known ? "given twice" : "not known");
		return false;
	}
	return true;
}

void api_requests_decide(struct api_call *c)
{
	size_t n = strcspn(c->rest, "/");
	const cJSON *kept = c->body ? cJSON_GetObjectItemCaseSensitive(c->body, "kept") : NULL;
	const char *as = c->body ? json_str(c->body, "as") : NULL;
	int64_t id;

	if (!id_of(c->rest, n, &id) ||
	    (strcmp(c->rest + n, "/resolve") != 0 && strcmp(c->rest + n, "/undo") != 0)) {
		no_request(c);
	} else if (!read_decision(c, strcmp(c->rest + n, "/undo") == 0)) {
		return;
	} else if (strcmp(c->rest + n, "/undo") == 0) {
		decide(c, id, "undo", NULL);
	} else if (!as || (strcmp(as, "done") && strcmp(as, "retry") && strcmp(as, "undo"))) {
		api_problem(c, 400, "as", "\"as\" must be done, retry or undo");
	} else if (kept && (!cJSON_IsObject(kept) || strcmp(as, "done") != 0)) {
		api_problem(c, 400, "kept", "\"kept\" is an object, and goes with done");
	} else {
		decide(c, id, as, kept);
	}
}
