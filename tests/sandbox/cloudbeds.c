/* Cloudbeds as its published specifications describe it, both of them: v1.3, calls by name with forms, whose errors are 200s
 * with "success": false, and v2, paths whose errors are statuses.  An account is one property, its listings are room types. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/clock.h"
#include "common/base/mem.h"
#include "tests/sandbox/cloudbeds.h"
#include "tests/sandbox/form.h"
#include "tests/sandbox/guise.h"
#include "tests/sandbox/news.h"

#define ROOT "/cloudbeds"
#define V1 ROOT "/api/v1.3/"
#define KEY_BEGIN "cbat_secret-"
#define PAGE_USUAL 20
#define PAGE_MAX 100

static struct quota of_property = { .tier = { 5, 1000000LL } };

/* ---- answers ---- */

static void reply_tree(struct exchange *x, int status, cJSON *tree)
{
	struct buf body = BUF_INIT;

	json_print(tree, &body);
	exchange_reply(x, status, &body);
	cJSON_Delete(tree);
	buf_clear(&body);
}

void cloudbeds_fail(struct exchange *x, int status, const char *message)
{
	bool v1 = strncmp(httpd_path(x->q), V1, strlen(V1)) == 0;
	cJSON *body = cJSON_CreateObject();

	if (v1)
		cJSON_AddBoolToObject(body, "success", false);
	cJSON_AddStringToObject(body, "message", message);
	if (!v1 && status == 400) {
		cJSON_AddArrayToObject(body, "errors");
		cJSON_AddStringToObject(body, "code", "INVALID_REQUEST");
	}
	reply_tree(x, status, body);
}

/* Takes data. */
void cloudbeds_done(struct exchange *x, cJSON *data, int count, int total)
{
	cJSON *body = cJSON_CreateObject();

	cJSON_AddBoolToObject(body, "success", true);
	cJSON_AddItemToObject(body, "data", data);
	if (total >= 0) {
		cJSON_AddNumberToObject(body, "count", count);
		cJSON_AddNumberToObject(body, "total", total);
	}
	reply_tree(x, 200, body);
}

/* ---- who may ---- */

static struct account *key_owner(const struct exchange *x)
{
	const char *key = httpd_header(x->q, "x-api-key");
	char *end;
	long n;

	if (!key || strncmp(key, KEY_BEGIN, strlen(KEY_BEGIN)) != 0)
		return NULL;
	n = strtol(key + strlen(KEY_BEGIN), &end, 10);
	return *end == '\0' ? accounts_get(x->sandbox->accounts, (int)n) : NULL;
}

static bool is_own_property(const struct exchange *x, const char *id)
{
	return !id || !*id || strtol(id, NULL, 10) == x->account->number;
}

static bool admit(struct exchange *x)
{
	x->account = key_owner(x);
	if (!x->account) {
		cloudbeds_fail(x, 401, "The API key is missing, wrong or expired");
		return false;
	}
	journal_account(x->sandbox->journal, x->seq, x->account->number, 0);
	if (quota_admit(&of_property, x) > 0) {
		cloudbeds_fail(x, 429, "Rate limit exceeded");
		return false;
	}
	account_fill(x->sandbox->accounts, x->account);
	if (!exchange_latency(x))
		return false;
	account_fill(x->sandbox->accounts, x->account); /* a reset may have emptied it meanwhile */
	return true;
}

/* ---- v1.3: lists ---- */

static bool is_wanted(const struct exchange *x, const cJSON *t)
{
	const char *from = httpd_query(x->q, "modifiedFrom"), *to = httpd_query(x->q, "modifiedTo"),
		   *source = httpd_query(x->q, "sourceReservationId");
	const char *code = json_str(t, "confirmationCode");
	char at[GUISE_TIME_MAX];

	guise_time(t, "lastUpdatedAt", at);
	return (!from || strcmp(at, from) >= 0) && (!to || strcmp(at, to) <= 0) &&
	       (!source || (code && strcmp(code, source) == 0));
}

static void page_serve(struct exchange *x, const struct collection *c, int usual,
		       cJSON *(*view)(const struct exchange *x, const cJSON *t), bool filtered)
{
	int size = guise_number(x->q, "pageSize", usual, PAGE_MAX);
	int number = guise_number(x->q, "pageNumber", 1, 1000000);
	int first, n = 0;
	cJSON *data = cJSON_CreateArray();

	size = size ? size : usual;
	first = ((number ? number : 1) - 1) * size;
	for (int i = 0; i < c->n; i++) {
		if (filtered && !is_wanted(x, c->v[i].tree))
			continue;
		if (n >= first && n < first + size)
			cJSON_AddItemToArray(data, view(x, c->v[i].tree));
		n++;
	}
	cloudbeds_done(x, data, cJSON_GetArraySize(data), n);
}

static void get_hotels(struct exchange *x)
{
	cJSON *data = cJSON_CreateArray();

	cJSON_AddItemToArray(data, cloudbeds_hotel_view(x, false));
	cloudbeds_done(x, data, 1, 1);
}

static void get_hotel_details(struct exchange *x)
{
	cloudbeds_done(x, cloudbeds_hotel_view(x, true), 0, -1);
}

static void get_room_types(struct exchange *x)
{
	page_serve(x, &x->account->listings, PAGE_USUAL, cloudbeds_room_type_view, false);
}

static void get_reservations(struct exchange *x)
{
	page_serve(x, &x->account->reservations, PAGE_MAX, cloudbeds_reservation_listed, true);
}

static void get_reservation(struct exchange *x)
{
	const char *id = httpd_query(x->q, "reservationID");
	const struct item *item =
		id ? guise_find(&x->account->reservations, x->account->number, id) : NULL;

	if (item)
		cloudbeds_done(x, cloudbeds_reservation_detailed(x, item->tree), 0, -1);
	else
		cloudbeds_fail(x, 200, "Reservation not found");
}

/* ---- v1.3: forms ---- */

bool cloudbeds_field(const struct exchange *x, const char *name, char out[CLOUDBEDS_FIELD_MAX])
{
	size_t len;
	const char *form = httpd_body(x->q, &len);

	return form_value(form, len, name, out, CLOUDBEDS_FIELD_MAX);
}

/* A body of anything but form fields has none of them. */
static void put_reservation(struct exchange *x)
{
	char id[CLOUDBEDS_FIELD_MAX], status[CLOUDBEDS_FIELD_MAX];
	const struct item *item;
	const char *read;
	cJSON *fields;

	if (!cloudbeds_field(x, "reservationID", id) || !cloudbeds_field(x, "status", status)) {
		cloudbeds_fail(x, 200, "Parameter reservationID is required");
		return;
	}
	item = guise_find(&x->account->reservations, x->account->number, id);
	read = cloudbeds_status_read(status);
	if (!item || !read) {
		cloudbeds_fail(x, 200, item ? "Invalid status" : "Reservation not found");
		return;
	}
	fields = cJSON_CreateObject();
	cJSON_AddStringToObject(fields, "status", read);
	collection_update(&x->account->reservations, json_str(item->tree, "_id"), fields,
			  clock_real_ms());
	news_of(x->account, "reservation", CHANGE_UPDATED, item->tree, fields);
	cJSON_Delete(fields);
	cloudbeds_done(x, cloudbeds_reservation_detailed(x, item->tree), 0, -1);
}

static const struct {
	const char *method, *name;
	void (*serve)(struct exchange *x);
} methods[] = {
	{ "GET", "getHotels", get_hotels },
	{ "GET", "getHotelDetails", get_hotel_details },
	{ "GET", "getRoomTypes", get_room_types },
	{ "GET", "getReservations", get_reservations },
	{ "GET", "getReservation", get_reservation },
	{ "PUT", "putReservation", put_reservation },
	{ "POST", "postWebhook", cloudbeds_post_webhook },
	{ "GET", "getWebhooks", cloudbeds_get_webhooks },
	{ "DELETE", "deleteWebhook", cloudbeds_delete_webhook },
};

static void v1_serve(struct exchange *x)
{
	const char *name = httpd_path(x->q) + strlen(V1);
	const char *property = httpd_query(x->q, "propertyID");
	const char *properties = httpd_query(x->q, "propertyIDs");

	if (!is_own_property(x, httpd_header(x->q, "X-PROPERTY-ID")) ||
	    !is_own_property(x, property) || !is_own_property(x, properties)) {
		cloudbeds_fail(x, 200, "You do not have access to this property");
		return;
	}
	for (size_t i = 0; i < ARRAY_LEN(methods); i++) {
		if (strcmp(methods[i].name, name) == 0 &&
		    strcmp(methods[i].method, httpd_method(x->q)) == 0) {
			methods[i].serve(x);
			return;
		}
	}
	cloudbeds_fail(x, 404, "Method not found");
}

/* ---- v2 ---- */

#define V2_ITEMS 12

static void v2_serve(struct exchange *x)
{
	const char *path = httpd_path(x->q) + strlen(ROOT);
	bool rates = strcmp(path, "/rates/v1/rate-plans") == 0;
	int offset = guise_number(x->q, "offset", 0, 1000000),
	    limit = guise_number(x->q, "limit", 100, 500);
	const char *property = httpd_header(x->q, "x-property-id");
	bool named = property && *property;
	cJSON *body, *data;

	if (!named || !is_own_property(x, property)) {
		cloudbeds_fail(x, named ? 403 : 400,
			       named ? "Access denied" : "The x-property-id header is required");
		return;
	}
	body = cJSON_CreateObject();
	cJSON_AddNumberToObject(body, "limit", limit);
	cJSON_AddNumberToObject(body, "offset", offset);
	data = cJSON_AddArrayToObject(body, "data");
	for (int i = offset; i < V2_ITEMS && i < offset + limit; i++)
		cJSON_AddItemToArray(data, rates ? cloudbeds_rate_plan_view(x, i)
						 : cloudbeds_addon_view(x, i));
	reply_tree(x, 200, body);
}

/* ---- routes ---- */

static void v1_handler(struct httpd_request *q, void *arg)
{
	struct exchange x;

	if (exchange_begin(&x, arg, q) && admit(&x))
		v1_serve(&x);
	exchange_end(&x);
}

static void v2_handler(struct httpd_request *q, void *arg)
{
	struct exchange x;

	if (exchange_begin(&x, arg, q) && admit(&x))
		v2_serve(&x);
	exchange_end(&x);
}

void cloudbeds_routes(struct httpd *h, struct sandbox *s)
{
	httpd_route(h, "*", V1, v1_handler, s);
	httpd_route(h, "GET", ROOT "/rates/v1/rate-plans", v2_handler, s);
	httpd_route(h, "GET", ROOT "/addons/v1/addons", v2_handler, s);
}

void cloudbeds_free(void)
{
	quota_free(&of_property);
}
