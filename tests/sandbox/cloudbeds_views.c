/* An account's items as Cloudbeds shows them. */
#include "tests/sandbox/cloudbeds.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/clock.h"
#include "common/base/mem.h"
#include "tests/sandbox/guise.h"

static void add_id(cJSON *v, const char *name, int64_t id)
{
	char text[24];

	snprintf(text, sizeof(text), "%lld", (long long)id);
	cJSON_AddStringToObject(v, name, text);
}

static cJSON *pictures_view(const cJSON *listing)
{
	cJSON *all = cJSON_CreateArray();
	const cJSON *p;

	cJSON_ArrayForEach (p, cJSON_GetObjectItemCaseSensitive(listing, "pictures")) {
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
/* NULL: there are not so many. */
static const cJSON *listing_at(const struct exchange *x, int position)
{
	const struct collection *c = &x->account->listings;

	return position < c->n ? c->v[position].tree : NULL;
}

cJSON *cloudbeds_hotel_view(const struct exchange *x, bool details)
{
	const cJSON *first = listing_at(x, 0);
	cJSON *v = cJSON_CreateObject(), *currency = cJSON_CreateObject(), *listed, *policy;
	char *name = mem_printf("Hotel %d", x->account->number);

	add_id(v, "propertyID", x->account->number);
	add_id(v, "organizationID", 500000 + x->account->number);
	cJSON_AddStringToObject(v, "propertyName", name);
	cJSON_AddStringToObject(v, "propertyDescription", "Rooms, some of them with a view");
	guise_copy(currency, "currencyCode", first, "prices.currency");
	if (details) {
		cJSON_AddItemToObject(v, "propertyCurrency", currency);
		cJSON_AddStringToObject(v, "propertyType", "hotel");
		cJSON_AddItemToObject(v, "propertyImage", pictures_view(first));
		cJSON_AddItemToObject(v, "propertyAdditionalPhotos",
				      pictures_view(listing_at(x, 1)));
		cJSON_AddItemToObject(v, "propertyAddress", address_view(first));
		policy = cJSON_AddObjectToObject(v, "propertyPolicy");
		cJSON_AddStringToObject(policy, "propertyCheckInTime", "15:00");
		cJSON_AddStringToObject(policy, "propertyCheckOutTime", "11:00");
	} else {
		listed = cJSON_AddArrayToObject(v, "propertyCurrency");
		cJSON_AddItemToArray(listed, currency);
		guise_copy(v, "propertyImage", first, "pictures[0].original");
		guise_copy(v, "propertyTimezone", first, "timezone");
	}
	free(name);
	return v;
}

cJSON *cloudbeds_room_type_view(const struct exchange *x, const cJSON *t)
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

const char *cloudbeds_status_view(const char *status)
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
	cJSON_AddItemToObject(v, "status",
			      guise_text(cloudbeds_status_view(json_str(t, "status"))));
	guise_copy(v, "guestName", t, "guest.fullName");
	guise_copy(v, "startDate", t, "checkInDateLocalized");
	guise_copy(v, "endDate", t, "checkOutDateLocalized");
	guise_copy(v, "thirdPartyIdentifier", t, "confirmationCode");
	guise_copy(v, "balance", t, "money.balanceDue");
	cJSON_AddItemToObject(v, "guestList", guests_view(t, id));
}

cJSON *cloudbeds_reservation_listed(const struct exchange *x, const cJSON *t)
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

cJSON *cloudbeds_reservation_detailed(const struct exchange *x, const cJSON *t)
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

const char *cloudbeds_status_read(const char *status)
{
	for (size_t i = 0; i < ARRAY_LEN(statuses); i++)
		if (strcmp(statuses[i][1], status) == 0)
			return statuses[i][0];
	return NULL;
}

/* ---- v2 ---- */

cJSON *cloudbeds_rate_plan_view(const struct exchange *x, int position)
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
cJSON *cloudbeds_addon_view(const struct exchange *x, int position)
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
