/* Lookups by HTTP: one question by its address, or many in one call, which takes as long as the slowest and never longer than `wait`. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/clock.h"
#include "common/base/config.h"
#include "common/base/mem.h"
#include "common/io/loop.h"
#include "scheduler/api.h"
#include "scheduler/lookup_part.h"

#define WAIT_MS 5000
#define WAIT_MAX_MS 60000
#define NAME_MAX_BYTES 60
#define NO_ID_OF_KIND "a kind is asked of partners, not of an integration"

/* "parts.here.params.lat", or "params.lat" of a call for one. */
static void field_of(const struct lookup_part *p, char *out, size_t n)
{
	const char *at = p->err.rule;
	size_t len = strlen(at);

	if (strncmp(p->err.text, "params.", 7) == 0) {
		at = p->err.text;
		len = strcspn(at, " ");
	}
	snprintf(out, n, "%s%s%s%.*s", *p->name ? "parts." : "", p->name, *p->name ? "." : "",
		 (int)len, at);
}

/* ---- what becomes of errors ---- */

static bool is_critical(const struct lookup_part *p)
{
	return p->critical >= 0 ? p->critical : p->asked && asked_is_critical(p->asked);
}

static int status_of(const struct lookup_part *p)
{
	if (p->rc == -ETIME || p->late)
		return 504;
	if (p->rc < 0 && p->err.class == ERR_INTERNAL)
		return 500;
	return p->rc == -EAGAIN || p->rc == -EBUSY ? 503 : 502;
}

static void say_retry(struct api_call *c, const struct lookup_part *p)
{
	int64_t s = (p->err.retry_after_ms + 999) / 1000;
	char text[24];

	snprintf(text, sizeof(text), "%lld", (long long)(s > 0 ? s : 1));
	httpd_add_header(c->q, "Retry-After", text);
}

/* True: answered. */
static bool answer_error(struct api_call *c, const struct lookup_part *p)
{
	char field[200];

	if (p->rc >= 0 || (!lookup_part_is_callers(p) && !lookup_part_is_ours(p)))
		return false;
	field_of(p, field, sizeof(field));
	if (lookup_part_is_callers(p)) {
		api_problem(c, p->rc == -ENOENT && !*p->name ? 404 : 422, field, "%s", p->err.text);
	} else if (p->err.class == ERR_INTERNAL) {
		api_error(c, p->rc, &p->err);
	} else {
		httpd_add_header(c->q, "Retry-After", "2");
		api_problem(c, 503, NULL, "Redis or Postgres does not answer");
	}
	return true;
}

static bool read_wait(struct api_call *c, const char *text, int64_t *ms)
{
	*ms = WAIT_MS;
	if (!text || (clock_parse_duration(text, ms) == 0 && *ms > 0 && *ms <= WAIT_MAX_MS))
		return true;
	api_problem(c, 400, "wait", "wait: a time such as 2s, at most 60s, is expected");
	return false;
}

/* ---- GET /api/v1/lookup/{partner}/{name}?…, /api/v1/lookup/{kind}?… ---- */

static bool is_id(const cJSON *v, int64_t *id)
{
	const char *text = cJSON_GetStringValue(v);

	if (!text)
		return json_int(v, "@", id) && *id > 0;
	*id = strlen(text) <= 15 && text[strspn(text, "0123456789")] == '\0'
		      ? strtoll(text, NULL, 10)
		      : 0;
	return *id > 0;
}

static void answer_one(struct api_call *c, struct lookup_part *p, const char *wait)
{
	int64_t wait_ms, until_ms;

	if (!read_wait(c, wait, &wait_ms))
		return;
	until_ms = loop_now_ms() + wait_ms;
	lookup_parts_ask(c->s, p, 1, until_ms);
	if (answer_error(c, p))
		return;
	if (p->rc == 0) {
		api_reply_text(c, 200, &p->text);
		return;
	}
	say_retry(c, p);
	api_problem(c, status_of(p), NULL, "%s", p->err.text);
}

void api_lookup_get(struct api_call *c)
{
	const char *slash = strchr(c->rest, '/');
	struct lookup_part p = { .name = "", .critical = -1 };
	cJSON *params, *id, *wait;
	char *partner;

	if (!*c->rest || slash == c->rest || (slash && (!slash[1] || strchr(slash + 1, '/')))) {
		api_problem(c, 404, NULL, "lookup/PARTNER/NAME or lookup/KIND is expected");
		return;
	}
	params = api_query_read(c);
	if (!params)
		return;
	partner = mem_strndup(c->rest, slash ? (size_t)(slash - c->rest) : strlen(c->rest));
	id = cJSON_DetachItemFromObjectCaseSensitive(params, "integration_id");
	wait = cJSON_DetachItemFromObjectCaseSensitive(params, "wait");
	p.q.params = params;
	if (slash) {
		p.q.partner = partner;
		p.q.name = slash + 1;
	} else {
		lookup_part_of_kind(&p, partner);
	}
	if (id && !slash)
		api_problem(c, 400, "integration_id", "integration_id: " NO_ID_OF_KIND);
	else if (id && !is_id(id, &p.q.integration_id))
		api_problem(c, 400, "integration_id", "integration_id: a number is expected");
	else if (wait && !cJSON_IsString(wait))
		api_problem(c, 400, "wait", "wait is given twice");
	else
		answer_one(c, &p, cJSON_GetStringValue(wait));
	lookup_part_clear(&p);
	cJSON_Delete(params);
	cJSON_Delete(id);
	cJSON_Delete(wait);
	free(partner);
}

/* ---- POST /api/v1/lookup ---- */

static const char *member_problem(const cJSON *v, struct lookup_part *p)
{
	const char *text = cJSON_GetStringValue(v);

	if (!strcmp(v->string, "partner") || !strcmp(v->string, "name")) {
		*(v->string[0] == 'p' ? &p->q.partner : &p->q.name) = text;
		return text && *text ? NULL : "must be a text";
	}
	if (!strcmp(v->string, "kind")) {
		if (text && *text)
			lookup_part_of_kind(p, text);
		return text && *text ? NULL : "must be a text";
	}
	if (!strcmp(v->string, "params")) {
		p->q.params = v;
		return cJSON_IsObject(v) ? NULL : "must be an object";
	}
	if (!strcmp(v->string, "integration_id"))
		return cJSON_IsNumber(v) && is_id(v, &p->q.integration_id) ? NULL
									   : "must be a number";
	if (!strcmp(v->string, "critical")) {
		p->critical = cJSON_IsTrue(v);
		return cJSON_IsBool(v) ? NULL : "must be true or false";
	}
	return "is not known";
}

static bool refuse_member(struct api_call *c, const char *part, const char *name, const char *wrong)
{
	static const char *const all[] = { "partner", "name",           "kind",
					   "params",  "integration_id", "critical" };
	const char *near = strcmp(wrong, "is not known") == 0
				   ? config_nearest(name, all, ARRAY_LEN(all))
				   : NULL;
	char field[160];

	snprintf(field, sizeof(field), "parts.%s.%.60s", part, name);
	api_problem(c, 400, field, "\"%.60s\" %s%s%s%s", name, wrong,
		    near ? "; did you mean \"" : "", near ? near : "", near ? "\"?" : "");
	return false;
}

static bool is_by_kind(const cJSON *v)
{
	return cJSON_GetObjectItemCaseSensitive(v, "kind") != NULL;
}

static bool read_kind(struct api_call *c, const cJSON *v, const struct lookup_part *p)
{
	static const char *const others[] = { "partner", "name", "integration_id" };

	for (size_t i = 0; i < ARRAY_LEN(others); i++)
		if (cJSON_GetObjectItemCaseSensitive(v, others[i]))
			return refuse_member(c, p->name, others[i], "excludes \"kind\"");
	return true;
}

static bool read_part(struct api_call *c, const cJSON *v, struct lookup_part *p)
{
	const cJSON *m;

	*p = (struct lookup_part){ .name = v->string, .critical = -1 };
	if (!*v->string || strlen(v->string) > NAME_MAX_BYTES || !cJSON_IsObject(v)) {
		api_problem(c, 400, "parts",
			    "each part is an object, under a name of 1 to %d bytes",
			    NAME_MAX_BYTES);
		return false;
	}
	cJSON_ArrayForEach (m, v) {
		const char *wrong = member_problem(m, p);

		if (!wrong && api_is_repeated(v, m))
			wrong = "is given twice";
		if (wrong)
			return refuse_member(c, p->name, m->string, wrong);
	}
	if (is_by_kind(v))
		return read_kind(c, v, p);
	if (!p->q.partner)
		return refuse_member(c, p->name, "partner", "is missing");
	return p->q.name ? true : refuse_member(c, p->name, "name", "is missing");
}

/* How many; 0: refused. */
static int read_parts(struct api_call *c, struct lookup_part *parts)
{
	const cJSON *list = c->body ? cJSON_GetObjectItemCaseSensitive(c->body, "parts") : NULL, *v;
	int n = 0;

	cJSON_ArrayForEach (v, c->body) {
		bool known = strcmp(v->string, "parts") == 0;

		if (!known || api_is_repeated(c->body, v)) {
			api_problem(c, 400, v->string, "\"%.60s\" is %s", v->string,
				    known ? "given twice" : "not known");
			return 0;
		}
	}
	if (!cJSON_IsObject(list) || !list->child || cJSON_GetArraySize(list) > LOOKUP_PARTS_MAX) {
		api_problem(c, 400, "parts", "\"parts\" must be an object of 1 to %d questions",
			    LOOKUP_PARTS_MAX);
		return 0;
	}
	cJSON_ArrayForEach (v, list) {
		if (api_is_repeated(list, v)) {
			api_problem(c, 400, "parts", "two parts have the name \"%.60s\"",
				    v->string);
			return 0;
		}
		if (!read_part(c, v, &parts[n++]))
			return 0;
	}
	return n;
}

static void print_names(const struct lookup_part *parts, int n, const char *name, bool stale,
			struct buf *out)
{
	bool first = true;

	buf_printf(out, "\"%s\":[", name);
	for (int i = 0; i < n; i++) {
		bool is_stale = parts[i].rc == 0 && parts[i].answer->state == LOOKUP_STALE;
		bool is_missing = parts[i].rc < 0 || parts[i].answer->state > LOOKUP_STALE;

		if (!(stale ? is_stale : is_missing))
			continue;
		buf_puts(out, first ? "" : ",");
		json_quote(out, parts[i].name, strlen(parts[i].name));
		first = false;
	}
	buf_puts(out, "],");
}

static void print_parts(const struct lookup_part *parts, int n, struct buf *out)
{
	buf_puts(out, "\"parts\":{");
	for (int i = 0; i < n; i++) {
		buf_puts(out, i ? "," : "");
		json_quote(out, parts[i].name, strlen(parts[i].name));
		buf_putc(out, ':');
		buf_append(out, parts[i].text.data, parts[i].text.len);
	}
	buf_putc(out, '}');
}

static const char *reason_of(const struct lookup_part *p)
{
	return p->rc < 0 ? p->err.text : p->answer->reason;
}

/* The first critical part that failed decides; what the others have is told with it. */
static void answer_many(struct api_call *c, const struct lookup_part *parts, int n)
{
	struct buf text = BUF_INIT;
	char field[80];

	for (int i = 0; i < n; i++)
		if (answer_error(c, &parts[i]))
			return;
	for (int i = 0; i < n; i++) {
		const struct lookup_part *p = &parts[i];

		if (!lookup_part_has_failed(p) || !is_critical(p))
			continue;
		print_parts(parts, n, &text);
		snprintf(field, sizeof(field), "parts.%s", p->name);
		say_retry(c, p);
		api_problem_with(c, status_of(p), field, buf_str(&text), "%s of %s: %s", p->q.name,
				 p->q.partner, reason_of(p));
		buf_clear(&text);
		return;
	}
	buf_putc(&text, '{');
	print_names(parts, n, "stale", true, &text);
	print_names(parts, n, "missing", false, &text);
	print_parts(parts, n, &text);
	buf_putc(&text, '}');
	api_reply_text(c, 200, &text);
	buf_clear(&text);
}

void api_lookup_post(struct api_call *c)
{
	struct lookup_part *parts = mem_zalloc(LOOKUP_PARTS_MAX * sizeof(*parts));
	int64_t wait_ms, until_ms;
	int n = read_parts(c, parts);

	if (n > 0 && read_wait(c, api_query(c, "wait"), &wait_ms)) {
		until_ms = loop_now_ms() + wait_ms;
		lookup_parts_ask(c->s, parts, n, until_ms);
		answer_many(c, parts, n);
	}
	for (int i = 0; i < LOOKUP_PARTS_MAX; i++)
		lookup_part_clear(&parts[i]);
	free(parts);
}
