/* Cloudbeds as its published specifications describe it, both of them: v1.3, calls by name with forms, whose errors are 200s
 * with "success": false, and v2, paths whose errors are statuses.  An account is one property, its listings are room types. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/clock.h"
#include "common/base/mem.h"
#include "tests/sandbox/exchange.h"
#include "tests/sandbox/form.h"
#include "tests/sandbox/guise.h"

#define ROOT "/cloudbeds"
#define V1 ROOT "/api/v1.3/"
#define KEY_BEGIN "cbat_secret-"
#define PAGE_USUAL 20
#define PAGE_MAX 100
#define FORM_TEXT 200

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

static void fail(struct exchange *x, int status, const char *message)
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
static void done(struct exchange *x, cJSON *data, int count, int total)
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
		fail(x, 401, "The API key is missing, wrong or expired");
		return false;
	}
	journal_account(x->sandbox->journal, x->seq, x->account->number, 0);
	if (quota_admit(&of_property, x) > 0) {
		fail(x, 429, "Rate limit exceeded");
		return false;
	}
	account_fill(x->sandbox->accounts, x->account);
	if (!exchange_latency(x))
		return false;
	account_fill(x->sandbox->accounts, x->account); /* a reset may have emptied it meanwhile */
	return true;
}

/* ---- v1.3: how it shows things ---- */

static void add_id(cJSON *v, const char *name, int64_t id)
{
	char text[24];

	snprintf(text, sizeof(text), "%lld", (long long)id);
	cJSON_AddStringToObject(v, name, text);
}

static cJSON *pictures_view(const struct item *listing)
{
	cJSON *all = cJSON_CreateArray();
	const cJSON *p;

	cJSON_ArrayForEach (p, cJSON_GetObjectItemCaseSensitive(listing->tree, "pictures")) {
		cJSON *v = cJSON_CreateObject();

		guise_copy(v, "thumb", p, "thumbnail");
		guise_copy(v, "image", p, "original");
		cJSON_AddItemToArray(all, v);
	}
	return all;
}

/* The property is where its first room is. */
static cJSON *address_view(const cJSON *t)
{
	static const char *const texts[][2] = { { "propertyAddress1", "address.street" },
						{ "propertyCity", "address.city" },
						{ "propertyState", "address.state" },
						{ "propertyZip", "address.zipcode" } };
	cJSON *v = cJSON_CreateObject();
	const cJSON *country = json_path(t, "address.country");
	struct buf number = BUF_INIT;

	for (size_t i = 0; i < ARRAY_LEN(texts); i++)
		guise_copy(v, texts[i][0], t, texts[i][1]);
	cJSON_AddItemToObject(v, "propertyCountry",
			      guise_text(guise_country(cJSON_GetStringValue(country))));
	buf_printf(&number, "%.5f", cJSON_GetNumberValue(json_path(t, "address.lat")));
	cJSON_AddStringToObject(v, "propertyLatitude", buf_str(&number));
	buf_reset(&number);
	buf_printf(&number, "%.5f", cJSON_GetNumberValue(json_path(t, "address.lng")));
	cJSON_AddStringToObject(v, "propertyLongitude", buf_str(&number));
	buf_clear(&number);
	return v;
}

/* The currency is a list in getHotels and an object in getHotelDetails. */
static cJSON *hotel_view(const struct exchange *x, bool details)
{
	const struct item *first = &x->account->listings.v[0];
	cJSON *v = cJSON_CreateObject(), *currency = cJSON_CreateObject(), *listed, *policy;
	char *name = mem_printf("Hotel %d", x->account->number);

	add_id(v, "propertyID", x->account->number);
	add_id(v, "organizationID", 500000 + x->account->number);
	cJSON_AddStringToObject(v, "propertyName", name);
	cJSON_AddStringToObject(v, "propertyDescription", "Rooms, some of them with a view");
	guise_copy(currency, "currencyCode", first->tree, "prices.currency");
	if (details) {
		cJSON_AddItemToObject(v, "propertyCurrency", currency);
		cJSON_AddStringToObject(v, "propertyType", "hotel");
		cJSON_AddItemToObject(v, "propertyImage", pictures_view(first));
		cJSON_AddItemToObject(v, "propertyAdditionalPhotos",
				      pictures_view(
					      &x->account->listings.v[x->account->listings.n > 1]));
		cJSON_AddItemToObject(v, "propertyAddress", address_view(first->tree));
		policy = cJSON_AddObjectToObject(v, "propertyPolicy");
		cJSON_AddStringToObject(policy, "propertyCheckInTime", "15:00");
		cJSON_AddStringToObject(policy, "propertyCheckOutTime", "11:00");
	} else {
		listed = cJSON_AddArrayToObject(v, "propertyCurrency");
		cJSON_AddItemToArray(listed, currency);
		guise_copy(v, "propertyImage", first->tree, "pictures[0].original");
		guise_copy(v, "propertyTimezone", first->tree, "timezone");
	}
	free(name);
	return v;
}

static cJSON *room_type_view(const struct exchange *x, const cJSON *t)
{
	const char *room = json_str(t, "roomType");
	cJSON *v = cJSON_CreateObject();

	add_id(v, "roomTypeID", guise_id(x->account->number, json_str(t, "_id")));
	add_id(v, "propertyID", x->account->number);
	guise_copy(v, "roomTypeName", t, "title");
	guise_copy(v, "roomTypeNameShort", t, "nickname");
	guise_copy(v, "roomTypeDescription", t, "roomType");
	cJSON_AddBoolToObject(v, "isPrivate", !room || strcmp(room, "Shared room") != 0);
	guise_copy(v, "maxGuests", t, "accommodates");
	cJSON_AddNumberToObject(v, "adultsIncluded", 2);
	cJSON_AddNumberToObject(v, "childrenIncluded", 0);
	return v;
}

static const char *const statuses[][2] = {
	{ "confirmed", "confirmed" },    { "canceled", "canceled" },
	{ "reserved", "not_confirmed" }, { "inquiry", "not_confirmed" },
	{ "checked_in", "checked_in" },  { "checked_out", "checked_out" },
	{ "closed", "no_show" },         { "declined", "canceled" },
	{ "expired", "canceled" },
};

static const char *status_view(const char *status)
{
	for (size_t i = 0; status && i < ARRAY_LEN(statuses); i++)
		if (strcmp(statuses[i][0], status) == 0)
			return statuses[i][1];
	return status;
}

static void add_guest(cJSON *list, const cJSON *t, int64_t id, bool main_guest)
{
	cJSON *v;
	char key[24];

	snprintf(key, sizeof(key), "%lld", (long long)id);
	v = cJSON_AddObjectToObject(list, key);
	cJSON_AddStringToObject(v, "guestID", key);
	if (main_guest) {
		guise_copy(v, "guestName", t, "guest.fullName");
		guise_copy(v, "guestEmail", t, "guest.email");
		guise_copy(v, "guestPhone", t, "guest.phone");
	} else {
		cJSON_AddStringToObject(v, "guestName", "Company of the guest");
		cJSON_AddStringToObject(v, "guestEmail", "");
	}
	cJSON_AddBoolToObject(v, "isMainGuest", main_guest);
}

/* A map by guest, in which the main guest need not be the first; without any guest it comes as an empty list. */
static cJSON *guests_view(const cJSON *t, int64_t id)
{
	cJSON *list;

	if (!cJSON_IsObject(cJSON_GetObjectItemCaseSensitive(t, "guest")))
		return cJSON_CreateArray();
	list = cJSON_CreateObject();
	if (id % 2)
		add_guest(list, t, id * 10 + 1, false);
	add_guest(list, t, id * 10, true);
	return list;
}

/* As texts. */
static void add_heads(cJSON *v, const cJSON *t)
{
	int n = (int)cJSON_GetNumberValue(cJSON_GetObjectItem(t, "guestsCount"));

	add_id(v, "adults", n > 1 ? n - 1 : n);
	add_id(v, "children", n > 1);
}

static cJSON *room_view(const struct exchange *x, const cJSON *t, bool detailed)
{
	cJSON *v = cJSON_CreateObject();

	add_id(v, "roomTypeID", guise_id(x->account->number, json_str(t, "listingId")));
	guise_copy(v, detailed ? "startDate" : "roomCheckIn", t, "checkInDateLocalized");
	guise_copy(v, detailed ? "endDate" : "roomCheckOut", t, "checkOutDateLocalized");
	add_heads(v, t);
	return v;
}

static void add_common(const struct exchange *x, cJSON *v, const cJSON *t)
{
	int64_t id = guise_id(x->account->number, json_str(t, "_id"));
	char at[GUISE_TIME_MAX];

	add_id(v, "propertyID", x->account->number);
	add_id(v, "reservationID", id);
	guise_time(t, "createdAt", at);
	cJSON_AddStringToObject(v, "dateCreated", at);
	guise_time(t, "lastUpdatedAt", at);
	cJSON_AddStringToObject(v, "dateModified", at);
	cJSON_AddItemToObject(v, "status", guise_text(status_view(json_str(t, "status"))));
	guise_copy(v, "guestName", t, "guest.fullName");
	guise_copy(v, "startDate", t, "checkInDateLocalized");
	guise_copy(v, "endDate", t, "checkOutDateLocalized");
	guise_copy(v, "thirdPartyIdentifier", t, "confirmationCode");
	guise_copy(v, "balance", t, "money.balanceDue");
	cJSON_AddItemToObject(v, "guestList", guests_view(t, id));
}

static cJSON *reservation_listed(const struct exchange *x, const cJSON *t)
{
	const char *guests = httpd_query(x->q, "includeGuestsDetails"),
		   *rooms = httpd_query(x->q, "includeAllRooms");
	cJSON *v = cJSON_CreateObject(), *list;

	add_common(x, v, t);
	if (!guests || strcmp(guests, "true") != 0)
		cJSON_DeleteItemFromObjectCaseSensitive(v, "guestList");
	add_heads(v, t);
	guise_copy(v, "sourceName", t, "source");
	if (rooms && strcmp(rooms, "true") == 0) {
		list = cJSON_AddArrayToObject(v, "rooms");
		cJSON_AddItemToArray(list, room_view(x, t, false));
	}
	return v;
}

static cJSON *reservation_detailed(const struct exchange *x, const cJSON *t)
{
	cJSON *v = cJSON_CreateObject(), *list;

	add_common(x, v, t);
	guise_copy(v, "source", t, "source");
	guise_copy(v, "guestEmail", t, "guest.email");
	guise_copy(v, "total", t, "money.hostPayout");
	list = cJSON_AddArrayToObject(v, "assigned");
	cJSON_AddItemToArray(list, room_view(x, t, true));
	cJSON_AddArrayToObject(v, "unassigned");
	list = cJSON_AddArrayToObject(v, "cardsOnFile");
	cJSON_AddItemToArray(list, cJSON_CreateObject());
	cJSON_AddStringToObject(list->child, "cardNumber", "4242");
	return v;
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
	done(x, data, cJSON_GetArraySize(data), n);
}

static void get_hotels(struct exchange *x)
{
	cJSON *data = cJSON_CreateArray();

	cJSON_AddItemToArray(data, hotel_view(x, false));
	done(x, data, 1, 1);
}

static void get_hotel_details(struct exchange *x)
{
	done(x, hotel_view(x, true), 0, -1);
}

static void get_room_types(struct exchange *x)
{
	page_serve(x, &x->account->listings, PAGE_USUAL, room_type_view, false);
}

static void get_reservations(struct exchange *x)
{
	page_serve(x, &x->account->reservations, PAGE_MAX, reservation_listed, true);
}

static void get_reservation(struct exchange *x)
{
	const char *id = httpd_query(x->q, "reservationID");
	const struct item *item =
		id ? guise_find(&x->account->reservations, x->account->number, id) : NULL;

	if (item)
		done(x, reservation_detailed(x, item->tree), 0, -1);
	else
		fail(x, 200, "Reservation not found");
}

/* ---- v1.3: forms ---- */

static bool field(const struct exchange *x, const char *name, char out[FORM_TEXT])
{
	size_t len;
	const char *form = httpd_body(x->q, &len);

	return form_value(form, len, name, out, FORM_TEXT);
}

/* A body of anything but form fields has none of them. */
static void put_reservation(struct exchange *x)
{
	char id[FORM_TEXT], status[FORM_TEXT];
	const struct item *item;
	cJSON *fields;
	size_t i = 0;

	if (!field(x, "reservationID", id) || !field(x, "status", status)) {
		fail(x, 200, "Parameter reservationID is required");
		return;
	}
	item = guise_find(&x->account->reservations, x->account->number, id);
	while (i < ARRAY_LEN(statuses) && strcmp(statuses[i][1], status) != 0)
		i++;
	if (!item || i == ARRAY_LEN(statuses)) {
		fail(x, 200, item ? "Invalid status" : "Reservation not found");
		return;
	}
	fields = cJSON_CreateObject();
	cJSON_AddStringToObject(fields, "status", statuses[i][0]);
	collection_update(&x->account->reservations, json_str(item->tree, "_id"), fields,
			  clock_real_ms());
	cJSON_Delete(fields);
	done(x, reservation_detailed(x, item->tree), 0, -1);
}

static void post_webhook(struct exchange *x)
{
	char object[FORM_TEXT], action[FORM_TEXT], url[FORM_TEXT], id[3 * FORM_TEXT];
	cJSON *data;

	if (!field(x, "object", object) || !field(x, "action", action) ||
	    !field(x, "endpointUrl", url)) {
		fail(x, 200, "Parameter endpointUrl is required");
		return;
	}
	data = cJSON_CreateObject();
	snprintf(id, sizeof(id), "sub-%s-%s", object, action);
	cJSON_AddStringToObject(data, "subscriptionID", id);
	done(x, data, 0, -1);
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
	{ "POST", "postWebhook", post_webhook },
};

static void v1_serve(struct exchange *x)
{
	const char *name = httpd_path(x->q) + strlen(V1);
	const char *property = httpd_query(x->q, "propertyID");
	const char *properties = httpd_query(x->q, "propertyIDs");

	if (!is_own_property(x, httpd_header(x->q, "X-PROPERTY-ID")) ||
	    !is_own_property(x, property) || !is_own_property(x, properties)) {
		fail(x, 200, "You do not have access to this property");
		return;
	}
	for (size_t i = 0; i < ARRAY_LEN(methods); i++) {
		if (strcmp(methods[i].name, name) == 0 &&
		    strcmp(methods[i].method, httpd_method(x->q)) == 0) {
			methods[i].serve(x);
			return;
		}
	}
	fail(x, 404, "Method not found");
}

/* ---- v2 ---- */

static cJSON *rate_plan_view(const struct exchange *x, int position)
{
	static const char *const names[] = { "Standard Rate", "Non-refundable",
					     "Breakfast included" };
	cJSON *v = cJSON_CreateObject(), *name;
	char at[CLOCK_ISO_MAX];

	add_id(v, "id", x->account->number * 1000LL + position);
	add_id(v, "propertyId", x->account->number);
	cJSON_AddBoolToObject(v, "isActive", position % 3 != 1);
	cJSON_AddBoolToObject(v, "isDeleted", false);
	name = cJSON_AddObjectToObject(v, "name");
	cJSON_AddStringToObject(name, "en", names[position % 3]);
	clock_iso(x->sandbox->plan.anchor_ms - position * 3600000LL, at);
	cJSON_AddStringToObject(v, "createdAt", at);
	cJSON_AddStringToObject(v, "updatedAt", at);
	return v;
}

/* Money is a text of the smallest unit here, and a number of the whole one in v1.3. */
static cJSON *addon_view(const struct exchange *x, int position)
{
	static const char *const names[] = { "Breakfast", "Airport transfer", "Late check-out",
					     "Parking" };
	cJSON *v = cJSON_CreateObject(), *price;
	char *name = mem_printf("%s %d", names[position % 4], position);

	add_id(v, "id", x->account->number * 1000LL + 500 + position);
	cJSON_AddStringToObject(v, "name", name);
	cJSON_AddStringToObject(v, "description", "");
	add_id(v, "productId", 7000 + position);
	price = cJSON_AddObjectToObject(v, "price");
	add_id(price, "amount", 950 + position * 100);
	cJSON_AddStringToObject(price, "currencyCode", "EUR");
	free(name);
	return v;
}

#define V2_ITEMS 12

static void v2_serve(struct exchange *x)
{
	const char *path = httpd_path(x->q) + strlen(ROOT);
	bool rates = strcmp(path, "/rates/v1/rate-plans") == 0;
	int offset = guise_number(x->q, "offset", 0, 1000000),
	    limit = guise_number(x->q, "limit", 100, 500);
	const char *property = httpd_header(x->q, "x-property-id");
	cJSON *body, *data;

	if (!property || !is_own_property(x, property)) {
		fail(x, property ? 403 : 400,
		     property ? "Access denied" : "The x-property-id header is required");
		return;
	}
	body = cJSON_CreateObject();
	cJSON_AddNumberToObject(body, "limit", limit);
	cJSON_AddNumberToObject(body, "offset", offset);
	data = cJSON_AddArrayToObject(body, "data");
	for (int i = offset; i < V2_ITEMS && i < offset + limit; i++)
		cJSON_AddItemToArray(data, rates ? rate_plan_view(x, i) : addon_view(x, i));
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
