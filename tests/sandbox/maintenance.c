/* A maintenance platform as they are: a ticket takes a call to be made and more to be told what it is about; nothing keeps it from being
 * made twice but looking first, by the reference that the caller gave it; what it refuses it answers with 200. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "common/base/clock.h"
#include "common/base/mem.h"
#include "tests/sandbox/books.h"
#include "tests/sandbox/guise.h"

#define ROOT "/maintenance/v1/tickets"
#define BODY_MAX (256 * 1024)
#define PAGE_MAX 100

static void reply(struct exchange *x, int status, const char *key, const cJSON *v)
{
	struct buf body = BUF_INIT;

	buf_printf(&body, "{\"ok\":true,\"%s\":", key);
	json_print(v, &body);
	buf_putc(&body, '}');
	exchange_reply(x, status, &body);
	buf_clear(&body);
}

static void refuse(struct exchange *x, int status, const char *code, const char *message)
{
	struct buf body = BUF_INIT;

	buf_printf(&body, "{\"ok\":false,\"error\":{\"code\":\"%s\",\"message\":", code);
	json_quote(&body, message, strlen(message));
	buf_puts(&body, "}}");
	exchange_reply(x, status, &body);
	buf_clear(&body);
}

/* "maint-7" -> 7 */
static int account_of(const struct exchange *x)
{
	const char *key = httpd_header(x->q, "X-Api-Key");

	return key && strncmp(key, "maint-", 6) == 0 ? (int)strtol(key + 6, NULL, 10) : 0;
}

static void set(cJSON *row, const char *name, cJSON *v)
{
	cJSON_DeleteItemFromObjectCaseSensitive(row, name);
	cJSON_AddItemToObject(row, name, v);
}

static void touch(cJSON *row)
{
	char at[40];
	int64_t ms = clock_real_ms();
	time_t s = (time_t)(ms / 1000);
	struct tm tm;

	gmtime_r(&s, &tm);
	strftime(at, sizeof(at) - 8, "%Y-%m-%dT%H:%M:%S", &tm);
	snprintf(at + strlen(at), 8, ".%03dZ", (int)(ms % 1000));
	set(row, "updated_at", cJSON_CreateString(at));
}

static void merge(cJSON *row, const cJSON *body)
{
	static const char *const fields[] = { "reference", "title",  "description", "location",
					      "priority",  "status", "assignee",    "contact" };

	for (size_t i = 0; i < ARRAY_LEN(fields); i++) {
		const cJSON *v = cJSON_GetObjectItemCaseSensitive(body, fields[i]);

		if (v)
			set(row, fields[i], cJSON_Duplicate(v, true));
	}
	touch(row);
}

static void create(struct exchange *x, int account, const cJSON *body)
{
	const char *title = json_str(body, "title");
	cJSON *row;

	if (!title || !*title) {
		refuse(x, 200, "title_missing", "a ticket needs a title");
		return;
	}
	row = books_add("tickets", "T-", account);
	cJSON_AddStringToObject(row, "status", "open");
	cJSON_AddNumberToObject(row, "updates", 0);
	merge(row, body);
	reply(x, 201, "ticket", row);
}

static void update(struct exchange *x, cJSON *row, const cJSON *body)
{
	int64_t n = 0;

	(void)json_int(row, "updates", &n);
	set(row, "updates", cJSON_CreateNumber((double)n + 1));
	merge(row, body);
	reply(x, 200, "ticket", row);
}

static bool wanted(const struct exchange *x, const cJSON *row, int account)
{
	const char *reference = httpd_query(x->q, "reference"), *since;
	const char *its = json_str(row, "reference");
	int64_t whose = 0;

	since = httpd_query(x->q, "updated_since");
	if (!json_int(row, "account", &whose) || whose != account)
		return false;
	if (reference && (!its || strcmp(reference, its) != 0))
		return false;
	return !since || strcmp(json_str(row, "updated_at"), since) >= 0;
}

static void list(struct exchange *x, int account)
{
	int skip = guise_number(x->q, "offset", 0, 1 << 30), total = 0;
	int limit = guise_number(x->q, "limit", PAGE_MAX, PAGE_MAX);
	cJSON *page = cJSON_CreateArray();
	struct buf body = BUF_INIT;
	const cJSON *row;

	cJSON_ArrayForEach (row, books_all("tickets")) {
		if (!wanted(x, row, account))
			continue;
		if (total >= skip && total < skip + limit)
			cJSON_AddItemToArray(page, cJSON_Duplicate(row, true));
		total++;
	}
	buf_printf(&body, "{\"ok\":true,\"total\":%d,\"tickets\":", total);
	json_print(page, &body);
	buf_putc(&body, '}');
	exchange_reply(x, 200, &body);
	cJSON_Delete(page);
	buf_clear(&body);
}

static void one(struct exchange *x, int account, const char *id, const cJSON *body)
{
	cJSON *row = books_find("tickets", account, id);
	const char *method = httpd_method(x->q);

	if (!row) {
		refuse(x, 404, "not_found", "there is no such ticket");
	} else if (strcmp(method, "PUT") == 0) {
		update(x, row, body);
	} else if (strcmp(method, "DELETE") == 0) {
		set(row, "status", cJSON_CreateString("cancelled"));
		touch(row);
		reply(x, 200, "ticket", row);
	} else {
		reply(x, 200, "ticket", row);
	}
}

static void serve(struct exchange *x)
{
	const char *rest = httpd_path(x->q) + strlen(ROOT), *text;
	int account = account_of(x);
	cJSON *body = NULL;
	size_t len;

	if (!account) {
		refuse(x, 401, "unauthorized", "X-Api-Key is missing or wrong");
		return;
	}
	if (!exchange_latency(x))
		return;
	text = httpd_body(x->q, &len);
	if (len && json_parse(text, len, BODY_MAX, &body, NULL) < 0)
		refuse(x, 400, "bad_json", "the body is no JSON");
	else if (*rest == '/')
		one(x, account, rest + 1, body);
	else if (strcmp(httpd_method(x->q), "POST") == 0)
		create(x, account, body);
	else
		list(x, account);
	cJSON_Delete(body);
}

static void handler(struct httpd_request *q, void *arg)
{
	struct exchange x;

	if (exchange_begin(&x, arg, q))
		serve(&x);
	exchange_end(&x);
}

void maintenance_routes(struct httpd *h, struct sandbox *s)
{
	httpd_route(h, "*", ROOT, handler, s);
	httpd_route(h, "*", ROOT "/", handler, s);
}
