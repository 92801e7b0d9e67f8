#include "tests/sandbox/books.h"

#include <stdlib.h>
#include <string.h>

#include "common/base/clock.h"
#include "common/base/crypto.h"
#include "common/base/mem.h"

#define BODY_MAX (1024 * 1024)

static cJSON *books;

static struct answer {
	struct answer *next;
	int account;
	char *key;
	uint64_t request;
	struct stored_answer a;
} * answers;

static cJSON *list_of(const char *kind)
{
	cJSON *list;

	if (!books)
		books = cJSON_CreateObject();
	list = cJSON_GetObjectItemCaseSensitive(books, kind);
	if (!list) {
		list = cJSON_CreateArray();
		cJSON_AddItemToObject(books, kind, list);
	}
	return list;
}

cJSON *books_add(const char *kind, const char *prefix, int account)
{
	cJSON *list = list_of(kind), *row = cJSON_CreateObject();
	char *id = mem_printf("%s%d", prefix, 1001 + cJSON_GetArraySize(list));

	cJSON_AddStringToObject(row, "id", id);
	cJSON_AddNumberToObject(row, "account", account);
	cJSON_AddItemToArray(list, row);
	free(id);
	return row;
}

cJSON *books_find(const char *kind, int account, const char *id)
{
	cJSON *row;

	cJSON_ArrayForEach (row, list_of(kind)) {
		int64_t whose = 0;
		const char *its = json_str(row, "id");

		if (json_int(row, "account", &whose) && whose == account && its &&
		    strcmp(its, id) == 0)
			return row;
	}
	return NULL;
}

const cJSON *books_all(const char *kind)
{
	return list_of(kind);
}

void books_print(struct buf *out)
{
	list_of("tickets");
	json_print(books, out);
}

/* ---- answers under keys ---- */

const struct stored_answer *books_answer(int account, const char *key, const char *request,
					 size_t len, bool *other)
{
	*other = false;
	for (struct answer *a = answers; a; a = a->next)
		if (a->account == account && strcmp(a->key, key) == 0) {
			*other = a->request != crypto_hash64(request, len, 1);
			return &a->a;
		}
	return NULL;
}

void books_keep_answer(int account, const char *key, const char *request, size_t len, int status,
		       const char *body)
{
	struct answer *a = mem_new(struct answer);

	*a = (struct answer){ .next = answers,
			      .account = account,
			      .key = mem_strdup(key),
			      .request = crypto_hash64(request, len, 1),
			      .a = { status, mem_strdup(body) } };
	answers = a;
}

/* ---- control ---- */

static void books_get(struct httpd_request *q, void *arg)
{
	struct buf out = BUF_INIT;

	(void)arg;
	books_print(&out);
	httpd_reply(q, 200, "application/json; charset=utf-8", buf_str(&out), out.len);
	buf_clear(&out);
}

static bool change(const cJSON *body)
{
	const char *kind = json_str(body, "kind"), *id = json_str(body, "id");
	cJSON *row = NULL, *r;
	const cJSON *f;

	cJSON_ArrayForEach (r, list_of(kind ? kind : ""))
		if (id && json_str(r, "id") && strcmp(json_str(r, "id"), id) == 0)
			row = r;
	if (!row)
		return false;
	cJSON_ArrayForEach (f, cJSON_GetObjectItemCaseSensitive(body, "fields")) {
		cJSON_DeleteItemFromObjectCaseSensitive(row, f->string);
		cJSON_AddItemToObject(row, f->string, cJSON_Duplicate(f, true));
	}
	return true;
}

static void books_post(struct httpd_request *q, void *arg)
{
	size_t len;
	const char *text = httpd_body(q, &len);
	cJSON *body = NULL;
	bool ok;

	(void)arg;
	ok = json_parse(text, len, BODY_MAX, &body, NULL) == 0 && change(body);
	cJSON_Delete(body);
	httpd_reply_text(q, ok ? 200 : 404,
			 ok ? "{\"ok\":true}" : "{\"error\":\"no such record\"}");
}

void books_routes(struct httpd *h, struct sandbox *s)
{
	httpd_route(h, "GET", "/_control/books", books_get, s);
	httpd_route(h, "POST", "/_control/books", books_post, s);
}

void books_free(void)
{
	for (struct answer *a = answers, *next; a; a = next) {
		next = a->next;
		free(a->key);
		free(a->a.body);
		free(a);
	}
	answers = NULL;
	cJSON_Delete(books);
	books = NULL;
}
