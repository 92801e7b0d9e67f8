/* Stripe's API as its documentation describes it, as far as a donation takes: form bodies with brackets, a pinned version, error objects,
 * idempotency keys whose first answer is kept, a 500 too. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/mem.h"
#include "tests/sandbox/books.h"
#include "tests/sandbox/form.h"

#define ROOT "/stripe/v1"
#define VALUE_MAX 512

struct form {
	const char *text;
	size_t len;
};

static bool value(const struct form *f, const char *name, char out[VALUE_MAX])
{
	return form_value(f->text, f->len, name, out, VALUE_MAX);
}

/* An answer, not sent yet: it is kept under its key first. */
struct answer {
	int status;
	struct buf body;
};

static void fail(struct answer *a, int status, const char *type, const char *code,
		 const char *message, const char *param)
{
	a->status = status;
	buf_printf(&a->body, "{\"error\":{\"type\":\"%s\"", type);
	if (code)
		buf_printf(&a->body, ",\"code\":\"%s\"", code);
	if (param)
		buf_printf(&a->body, ",\"param\":\"%s\"", param);
	buf_puts(&a->body, ",\"message\":");
	json_quote(&a->body, message, strlen(message));
	buf_puts(&a->body, "}}");
}

static void object(struct answer *a, const cJSON *v)
{
	a->status = 200;
	json_print(v, &a->body);
}

static void copy(cJSON *row, const struct form *f, const char *name, const char *as)
{
	char text[VALUE_MAX];

	if (value(f, name, text))
		cJSON_AddStringToObject(row, as, text);
}

/* "sk_test_7" -> 7 */
static int account_of(const struct exchange *x)
{
	const char *key = exchange_token(x);

	return key && strncmp(key, "sk_test_", 8) == 0 ? (int)strtol(key + 8, NULL, 10) : 0;
}

/* ---- what it does ---- */

static void pay(int account, const struct form *f, struct answer *a)
{
	char amount[VALUE_MAX] = "", currency[VALUE_MAX] = "", method[VALUE_MAX] = "";
	cJSON *row;

	value(f, "amount", amount);
	value(f, "currency", currency);
	value(f, "payment_method", method);
	if (!*amount || amount[strspn(amount, "0123456789")] || *amount == '0') {
		fail(a, 400, "invalid_request_error", "parameter_invalid_integer",
		     "Invalid integer: amount", "amount");
		return;
	}
	if (strlen(currency) != 3 || !*method) {
		fail(a, 400, "invalid_request_error", "parameter_missing",
		     "Missing required param: currency or payment_method", "currency");
		return;
	}
	if (strcmp(method, "pm_card_chargeDeclined") == 0) {
		fail(a, 402, "card_error", "card_declined", "Your card was declined.", NULL);
		return;
	}
	row = books_add("payments", "pi_", account);
	cJSON_AddStringToObject(row, "object", "payment_intent");
	cJSON_AddNumberToObject(row, "amount", strtod(amount, NULL));
	cJSON_AddStringToObject(row, "currency", currency);
	cJSON_AddStringToObject(row, "payment_method", method);
	cJSON_AddStringToObject(row, "status", "succeeded");
	cJSON_AddNumberToObject(row, "receipts", 0);
	copy(row, f, "metadata%5Blongshore_key%5D", "longshore_key");
	copy(row, f, "metadata%5Binvoice%5D", "invoice");
	copy(row, f, "description", "description");
	object(a, row);
}

static void refund(int account, const struct form *f, struct answer *a)
{
	char id[VALUE_MAX] = "";
	cJSON *paid, *row;

	value(f, "payment_intent", id);
	paid = books_find("payments", account, id);
	if (!paid) {
		fail(a, 404, "invalid_request_error", "resource_missing", "No such payment_intent",
		     "payment_intent");
		return;
	}
	if (json_str(paid, "refunded")) {
		fail(a, 400, "invalid_request_error", "charge_already_refunded",
		     "The charge has already been refunded.", NULL);
		return;
	}
	row = books_add("refunds", "re_", account);
	cJSON_AddStringToObject(row, "object", "refund");
	cJSON_AddStringToObject(row, "payment_intent", id);
	cJSON_AddStringToObject(row, "status", "succeeded");
	cJSON_AddStringToObject(paid, "refunded", json_str(row, "id"));
	object(a, row);
}

static void customer(int account, const struct form *f, struct answer *a)
{
	cJSON *row = books_add("customers", "cus_", account);

	cJSON_AddStringToObject(row, "object", "customer");
	copy(row, f, "email", "email");
	copy(row, f, "name", "name");
	object(a, row);
}

static void attach(int account, const char *id, const struct form *f, struct answer *a)
{
	char customer_id[VALUE_MAX] = "";
	cJSON *row;

	if (!value(f, "customer", customer_id) || !books_find("customers", account, customer_id)) {
		fail(a, 400, "invalid_request_error", "resource_missing", "No such customer",
		     "customer");
		return;
	}
	row = books_add("attached", "at_", account);
	cJSON_DeleteItemFromObjectCaseSensitive(row, "id");
	cJSON_AddStringToObject(row, "id", id);
	cJSON_AddStringToObject(row, "object", "payment_method");
	cJSON_AddStringToObject(row, "customer", customer_id);
	object(a, row);
}

/* A changed receipt_email sends a receipt. */
static void change(int account, const char *id, const struct form *f, struct answer *a)
{
	cJSON *row = books_find("payments", account, id), *receipt;
	char email[VALUE_MAX];

	if (!row) {
		fail(a, 404, "invalid_request_error", "resource_missing", "No such payment_intent",
		     "intent");
		return;
	}
	if (value(f, "receipt_email", email)) {
		receipt = books_add("receipts", "rc_", account);
		cJSON_AddStringToObject(receipt, "payment_intent", id);
		cJSON_AddStringToObject(receipt, "email", email);
	}
	object(a, row);
}

/* query=metadata['longshore_key']:'…' */
static void search(const struct exchange *x, int account, struct answer *a)
{
	const char *query = httpd_query(x->q, "query");
	const char *from = query ? strstr(query, "longshore_key']:'") : NULL;
	cJSON *found = cJSON_CreateArray();
	const cJSON *row;

	from = from ? from + strlen("longshore_key']:'") : "";
	cJSON_ArrayForEach (row, books_all("payments")) {
		const char *key = json_str(row, "longshore_key");
		int64_t whose = 0;

		if (json_int(row, "account", &whose) && whose == account && key &&
		    strncmp(key, from, strlen(key)) == 0 && from[strlen(key)] == '\'')
			cJSON_AddItemToArray(found, cJSON_Duplicate(row, true));
	}
	a->status = 200;
	buf_puts(&a->body, "{\"object\":\"search_result\",\"has_more\":false,\"data\":");
	json_print(found, &a->body);
	buf_putc(&a->body, '}');
	cJSON_Delete(found);
}

static void act(const struct exchange *x, int account, const char *path, const struct form *f,
		struct answer *a)
{
	char id[64] = "";

	if (strcmp(httpd_method(x->q), "GET") == 0 && strcmp(path, "/payment_intents/search") == 0)
		search(x, account, a);
	else if (strcmp(httpd_method(x->q), "POST") != 0)
		fail(a, 404, "invalid_request_error", NULL, "Unrecognized request URL", NULL);
	else if (strcmp(path, "/payment_intents") == 0)
		pay(account, f, a);
	else if (strcmp(path, "/refunds") == 0)
		refund(account, f, a);
	else if (strcmp(path, "/customers") == 0)
		customer(account, f, a);
	else if (sscanf(path, "/payment_methods/%63[^/]", id) == 1 && strstr(path, "/attach"))
		attach(account, id, f, a);
	else if (sscanf(path, "/payment_intents/%63[^/]", id) == 1)
		change(account, id, f, a);
	else
		fail(a, 404, "invalid_request_error", NULL, "Unrecognized request URL", NULL);
}

/* ---- keys ---- */

static void replay(struct exchange *x, const struct stored_answer *kept, bool other)
{
	struct buf body = BUF_INIT;
	struct answer a = { 0, BUF_INIT };

	if (other) {
		fail(&a, 400, "idempotency_error", NULL,
		     "Keys for idempotent requests can only be used with the same parameters they were first used with.",
		     NULL);
		exchange_reply(x, a.status, &a.body);
	} else {
		httpd_add_header(x->q, "Idempotent-Replayed", "true");
		buf_puts(&body, kept->body);
		exchange_reply(x, kept->status, &body);
	}
	buf_clear(&a.body);
	buf_clear(&body);
}

/* What is kept is what the caller was, or would have been, told: a 500 that came after the work was done stays one. */
static void keep(const struct exchange *x, int account, const char *key, const struct form *f,
		 const struct answer *a)
{
	bool broke = x->fault.late && x->fault.status >= 500;

	if (a->status == 400)
		return; /* a validation failure is not stored */
	books_keep_answer(
		account, key, f->text, f->len, broke ? x->fault.status : a->status,
		broke ? "{\"error\":{\"type\":\"api_error\",\"message\":\"An error occurred\"}}"
		      : buf_str(&a->body));
}

static void serve(struct exchange *x)
{
	const char *path = httpd_path(x->q) + strlen(ROOT);
	const char *key = httpd_header(x->q, "Idempotency-Key");
	const struct stored_answer *kept = NULL;
	struct answer a = { 0, BUF_INIT };
	int account = account_of(x);
	struct form f;
	bool other = false;

	f.text = httpd_body(x->q, &f.len);
	if (!exchange_latency(x))
		return;
	if (!account)
		fail(&a, 401, "invalid_request_error", NULL, "Invalid API Key provided", NULL);
	else if (!httpd_header(x->q, "Stripe-Version"))
		fail(&a, 400, "invalid_request_error", NULL, "This sandbox wants Stripe-Version",
		     NULL);
	else if (key && (kept = books_answer(account, key, f.text, f.len, &other)))
		replay(x, kept, other);
	else
		act(x, account, path, &f, &a);
	if (!kept) {
		if (key && account)
			keep(x, account, key, &f, &a);
		exchange_reply(x, a.status, &a.body);
	}
	buf_clear(&a.body);
}

static void handler(struct httpd_request *q, void *arg)
{
	struct exchange x;

	if (exchange_begin(&x, arg, q))
		serve(&x);
	exchange_end(&x);
}

void stripe_routes(struct httpd *h, struct sandbox *s)
{
	httpd_route(h, "*", ROOT "/", handler, s);
}
