/* Listings and reservations as Hostaway shows them. */
#include "tests/sandbox/hostaway.h"

#include <stdlib.h>
#include <string.h>

#include "common/base/mem.h"
#include "tests/sandbox/guise.h"

static cJSON *image_view(const cJSON *picture, int64_t listing, int position)
{
	cJSON *v = cJSON_CreateObject();

	cJSON_AddNumberToObject(v, "id", (double)(listing * 100 + position));
	guise_copy(v, "caption", picture, "caption");
	guise_copy(v, "url", picture, "original");
	cJSON_AddNumberToObject(v, "sortOrder", position + 1);
	return v;
}

static cJSON *images_view(const cJSON *listing, int64_t id)
{
	cJSON *all = cJSON_CreateArray();
	const cJSON *picture;
	int n = 0;

	cJSON_ArrayForEach (picture, cJSON_GetObjectItemCaseSensitive(listing, "pictures"))
		cJSON_AddItemToArray(all, image_view(picture, id, n++));
	return all;
}

static int hour_of(const cJSON *tree, const char *key)
{
	const char *time = json_str(tree, key);

	return time ? (int)strtol(time, NULL, 10) : 0;
}

static void add_same(cJSON *v, const cJSON *t, const char *const (*same)[2], size_t n)
{
	for (size_t i = 0; i < n; i++)
		guise_copy(v, same[i][0], t, same[i][1]);
}

cJSON *hostaway_listing_view(const struct exchange *x, const cJSON *t)
{
	static const char *const same[][2] = {
		{ "name", "title" },
		{ "externalListingName", "title" },
		{ "internalListingName", "nickname" },
		{ "country", "address.country" },
		{ "state", "address.state" },
		{ "city", "address.city" },
		{ "street", "address.street" },
		{ "address", "address.full" },
		{ "zipcode", "address.zipcode" },
		{ "lat", "address.lat" },
		{ "lng", "address.lng" },
		{ "personCapacity", "accommodates" },
		{ "bedroomsNumber", "bedrooms" },
		{ "bedsNumber", "beds" },
		{ "bathroomsNumber", "bathrooms" },
		{ "price", "prices.basePrice" },
		{ "cleaningFee", "prices.cleaningFee" },
		{ "currencyCode", "prices.currency" },
		{ "minNights", "terms.minNights" },
		{ "maxNights", "terms.maxNights" },
		{ "timeZoneName", "timezone" },
	};
	cJSON *v = cJSON_CreateObject();
	int64_t id = guise_id(x->account->number, json_str(t, "_id"));
	const cJSON *country = json_path(t, "address.country");
	char at[GUISE_TIME_MAX];

	cJSON_AddNumberToObject(v, "id", (double)id);
	add_same(v, t, same, ARRAY_LEN(same));
	cJSON_AddItemToObject(v, "countryCode",
			      guise_text(guise_country(cJSON_GetStringValue(country))));
	cJSON_AddNumberToObject(v, "checkInTimeStart", hour_of(t, "defaultCheckInTime"));
	cJSON_AddNumberToObject(v, "checkOutTime", hour_of(t, "defaultCheckOutTime"));
	cJSON_AddItemToObject(v, "listingImages", images_view(t, id));
	guise_time(t, "createdAt", at);
	cJSON_AddStringToObject(v, "insertedOn", at);
	guise_time(t, "lastUpdatedAt", at);
	cJSON_AddStringToObject(v, "latestActivityOn", at);
	return v;
}

static const char *status_view(const char *status)
{
	static const char *const words[][2] = {
		{ "confirmed", "new" },        { "canceled", "cancelled" },
		{ "reserved", "pending" },     { "checked_in", "modified" },
		{ "checked_out", "modified" }, { "closed", "ownerStay" },
	};

	for (size_t i = 0; status && i < ARRAY_LEN(words); i++)
		if (strcmp(words[i][0], status) == 0)
			return words[i][1];
	return status;
}

static void add_money(cJSON *v, const cJSON *t)
{
	const cJSON *balance = json_path(t, "money.balanceDue");

	guise_copy(v, "totalPrice", t, "money.hostPayout");
	guise_copy(v, "currency", t, "money.currency");
	cJSON_AddNumberToObject(v, "isPaid", balance && balance->valuedouble == 0);
}

cJSON *hostaway_reservation_view(const struct exchange *x, const cJSON *t)
{
	static const char *const same[][2] = {
		{ "channelName", "source" },
		{ "source", "source" },
		{ "channelReservationId", "confirmationCode" },
		{ "confirmationCode", "confirmationCode" },
		{ "guestName", "guest.fullName" },
		{ "guestEmail", "guest.email" },
		{ "phone", "guest.phone" },
		{ "numberOfGuests", "guestsCount" },
		{ "arrivalDate", "checkInDateLocalized" },
		{ "departureDate", "checkOutDateLocalized" },
		{ "nights", "nightsCount" },
		{ "hostNote", "note" },
	};
	cJSON *v = cJSON_CreateObject();
	const char *status = status_view(json_str(t, "status"));
	int guests = (int)cJSON_GetNumberValue(cJSON_GetObjectItem(t, "guestsCount"));
	char at[GUISE_TIME_MAX];

	cJSON_AddNumberToObject(v, "id", (double)guise_id(x->account->number, json_str(t, "_id")));
	cJSON_AddNumberToObject(v, "listingMapId",
				(double)guise_id(x->account->number, json_str(t, "listingId")));
	cJSON_AddNumberToObject(v, "channelId", 2005);
	add_same(v, t, same, ARRAY_LEN(same));
	cJSON_AddNumberToObject(v, "adults", guests > 1 ? guests - 1 : guests);
	cJSON_AddNumberToObject(v, "children", guests > 1);
	add_money(v, t);
	cJSON_AddItemToObject(v, "status", guise_text(status));
	cJSON_AddArrayToObject(v, "customFieldValues");
	guise_time(t, "createdAt", at);
	cJSON_AddStringToObject(v, "reservationDate", at);
	guise_time(t, "lastUpdatedAt", at);
	cJSON_AddStringToObject(v, "updatedOn", at);
	cJSON_AddStringToObject(v, "latestActivityOn", at);
	cJSON_AddItemToObject(v, "cancellationDate",
			      guise_text(status && strcmp(status, "cancelled") == 0 ? at : NULL));
	return v;
}
