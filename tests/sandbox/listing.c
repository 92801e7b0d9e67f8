/* A listing as Guesty shows it. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/clock.h"
#include "common/base/mem.h"
#include "tests/sandbox/content.h"
#include "tests/sandbox/rng.h"
#include "tests/sandbox/words.h"

#define DAY_MS (24 * 3600 * 1000LL)
#define LISTING_STREAM 1

/* Six digits tell the account, six the position: ids of one account sort by position, and
 * those of two accounts never meet. */
void listing_id(const struct content_plan *p, int account, int position, char out[CONTENT_ID_MAX])
{
	struct rng of_account = rng_of(p->seed, (uint64_t)account, 0);
	struct rng of_item =
		rng_of(p->seed ^ LISTING_STREAM, (uint64_t)account, (uint64_t)position);

	snprintf(out, CONTENT_ID_MAX, "%06x%06x%012llx",
		 (unsigned)(rng_next(&of_account) & 0xffffff), (unsigned)position,
		 (unsigned long long)(rng_next(&of_item) & 0xffffffffffffULL));
}

static double rounded(double v, double unit)
{
	return round(v / unit) * unit;
}

static cJSON *address_make(struct rng *r, const struct city *city)
{
	cJSON *a = cJSON_CreateObject();
	char *street = mem_printf("%s %d", rng_pick(r, streets), rng_between(r, 1, 240));
	char *full = mem_printf("%s, %s, %s", street, city->name, city->country);

	cJSON_AddStringToObject(a, "full", full);
	cJSON_AddNumberToObject(a, "lng",
				round((city->lng + rng_unit(r) * 0.08 - 0.04) * 1e5) / 1e5);
	cJSON_AddNumberToObject(a, "lat",
				round((city->lat + rng_unit(r) * 0.08 - 0.04) * 1e5) / 1e5);
	cJSON_AddStringToObject(a, "street", street);
	cJSON_AddStringToObject(a, "city", city->name);
	cJSON_AddStringToObject(a, "country", city->country);
	cJSON_AddStringToObject(a, "state", city->state);
	cJSON_AddStringToObject(a, "zipcode", city->zip);
	free(full);
	free(street);
	return a;
}

static cJSON *picture_make(struct rng *r, const char *listing, int position, bool with_id)
{
	static const char *const sizes[] = { "original", "thumbnail", "regular", "large" };
	cJSON *p = cJSON_CreateObject();
	char id[CONTENT_ID_MAX];

	snprintf(id, sizeof(id), "%.12s%012llx", listing,
		 (unsigned long long)(rng_next(r) & 0xffffffffffffULL));
	if (with_id)
		cJSON_AddStringToObject(p, "_id", id);
	for (size_t i = 0; i < ARRAY_LEN(sizes); i++) {
		char *url = mem_printf("https://assets.example.com/%s/%s/%d-%s.jpg", sizes[i],
				       listing, position, id + 12);

		cJSON_AddStringToObject(p, sizes[i], url);
		free(url);
	}
	cJSON_AddStringToObject(p, "caption", rng_pick(r, caption_words));
	cJSON_AddNumberToObject(p, "height", rng_between(r, 600, 2400));
	cJSON_AddNumberToObject(p, "width", rng_between(r, 800, 3600));
	cJSON_AddNumberToObject(p, "size", rng_between(r, 90000, 4000000));
	return p;
}

static cJSON *pictures_make(struct rng *r, const char *listing, int position)
{
	cJSON *all = cJSON_CreateArray();
	int n = rng_between(r, 1, 6);

	for (int i = 0; i < n; i++)
		cJSON_AddItemToArray(all, picture_make(r, listing, i, position % 3 != 0));
	return all;
}

static cJSON *some_words(struct rng *r, const char *const *words, int n, int most)
{
	cJSON *all = cJSON_CreateArray();
	int first = rng_below(r, n), count = rng_below(r, most + 1);

	for (int i = 0; i < count; i++)
		cJSON_AddItemToArray(all, cJSON_CreateString(words[(first + i) % n]));
	return all;
}

static void add_names(cJSON *t, struct rng *r, const struct city *city, int position)
{
	char *title = mem_printf("%s %s %s", rng_pick(r, adjectives), rng_pick(r, places),
				 rng_pick(r, features));
	char *nickname = mem_printf("%s %04d", city->name, position);

	cJSON_AddStringToObject(t, "title", title);
	cJSON_AddStringToObject(t, "nickname", nickname);
	free(nickname);
	free(title);
}

static void add_prices(cJSON *t, struct rng *r, const struct city *city)
{
	cJSON *prices = cJSON_AddObjectToObject(t, "prices"),
	      *terms = cJSON_AddObjectToObject(t, "terms");
	double price = city->price * (0.6 + rng_unit(r));
	bool whole = strcmp(city->currency, "JPY") == 0 || strcmp(city->currency, "ISK") == 0;

	cJSON_AddNumberToObject(prices, "basePrice", rounded(price, whole ? 100 : 0.5));
	cJSON_AddNumberToObject(prices, "cleaningFee", whole ? 3000 : rng_between(r, 15, 90));
	cJSON_AddStringToObject(prices, "currency", city->currency);
	cJSON_AddNumberToObject(terms, "minNights", rng_between(r, 1, 5));
	cJSON_AddNumberToObject(terms, "maxNights", rng_between(r, 14, 365));
}

static void add_dates(cJSON *t, struct rng *r, const struct content_plan *p)
{
	char text[CLOCK_ISO_MAX];
	int64_t updated = p->anchor_ms - DAY_MS - (int64_t)(rng_unit(r) * 80 * (double)DAY_MS);

	cJSON_AddStringToObject(t, "createdAt",
				clock_iso(updated - (int64_t)(rng_unit(r) * 900 * (double)DAY_MS),
					  text));
	cJSON_AddStringToObject(t, "lastUpdatedAt", clock_iso(updated, text));
}

/* ---- awkward values ---- */

static void put(cJSON *t, const char *key, cJSON *v)
{
	cJSON_ReplaceItemInObjectCaseSensitive(t, key, v);
}

static void null_address(cJSON *t)
{
	put(t, "address", cJSON_CreateNull());
}

static void text_numbers(cJSON *t)
{
	cJSON *address = cJSON_GetObjectItem(t, "address"),
	      *prices = cJSON_GetObjectItem(t, "prices");

	put(t, "accommodates", cJSON_CreateString("4"));
	put(t, "bedrooms", cJSON_CreateString("2"));
	put(prices, "basePrice", cJSON_CreateString("129.50"));
	put(prices, "currency", cJSON_CreateString("EUR")); /* one that has cents */
	put(address, "lat", cJSON_CreateString("41.38879"));
	put(address, "lng", cJSON_CreateString("2.15899"));
}

static void emoji(cJSON *t)
{
	put(t, "title",
	    cJSON_CreateString("🏖️ Casa 👩‍👩‍👧 del Mar — Ünïcödé ☀️"));
	put(t, "nickname", cJSON_CreateString("🏠 家 бүгд ﷽"));
}

static void missing_name(cJSON *t)
{
	cJSON_DeleteItemFromObject(t, "nickname");
	cJSON_DeleteItemFromObject(t, "title");
}

static void null_nickname(cJSON *t)
{
	put(t, "nickname", cJSON_CreateNull());
}

static void null_prices(cJSON *t)
{
	put(t, "prices", cJSON_CreateNull());
}

static void no_pictures(cJSON *t)
{
	put(t, "pictures", cJSON_CreateArray());
}

/* Only a thumbnail in the first picture; the second (made if needed) is nowhere to be had. */
static void odd_pictures(cJSON *t)
{
	cJSON *pictures = cJSON_GetObjectItem(t, "pictures"),
	      *first = cJSON_GetArrayItem(pictures, 0);
	cJSON *nowhere = cJSON_CreateObject();
	char id[CONTENT_ID_MAX + 8];

	cJSON_DeleteItemFromObject(first, "original");
	cJSON_DeleteItemFromObject(first, "regular");
	cJSON_DeleteItemFromObject(first, "large");
	snprintf(id, sizeof(id), "lost-%s", json_str(t, "_id"));
	cJSON_AddStringToObject(nowhere, "_id", id);
	cJSON_AddStringToObject(nowhere, "caption", "A picture without an address");
	cJSON_AddItemToArray(pictures, nowhere);
}

static void long_title(cJSON *t)
{
	struct buf title = BUF_INIT;

	for (int i = 0; i < 800; i++)
		buf_puts(&title, "Très long ");
	buf_puts(&title, "\"quoted\" \\ back\\slash\ttab\nline 'single' $1 %s {id}");
	put(t, "title", cJSON_CreateString(buf_str(&title)));
	put(t, "nickname", cJSON_CreateNull());
	buf_clear(&title);
}

static void half_bathrooms(cJSON *t)
{
	put(t, "bathrooms", cJSON_CreateNumber(2.5));
}

static void null_timezone(cJSON *t)
{
	put(t, "timezone", cJSON_CreateNull());
}

static const struct {
	int at;
	const char *name;
	void (*spoil)(cJSON *tree);
} awkward[] = {
	{ 3, "null_address", null_address },
	{ 7, "text_numbers", text_numbers },
	{ 11, "emoji", emoji },
	{ 17, "missing_name", missing_name },
	{ 21, "null_nickname", null_nickname },
	{ 23, "null_prices", null_prices },
	{ 29, "no_pictures", no_pictures },
	{ 31, "odd_pictures", odd_pictures },
	{ 37, "long_title", long_title },
	{ 41, "half_bathrooms", half_bathrooms },
	{ 47, "null_timezone", null_timezone },
};

struct item listing_make(const struct content_plan *p, int account, int position)
{
	struct rng rng = rng_of(p->seed ^ LISTING_STREAM, (uint64_t)account, (uint64_t)position),
		   *r = &rng;
	struct item item = { cJSON_CreateObject(), NULL };
	const struct city *city = &cities[rng_below(r, (int)ARRAY_LEN(cities))];
	cJSON *t = item.tree;
	char id[CONTENT_ID_MAX], account_id[16];

	listing_id(p, account, position, id);
	snprintf(account_id, sizeof(account_id), "%.6s", id);
	cJSON_AddStringToObject(t, "_id", id);
	cJSON_AddStringToObject(t, "accountId", account_id);
	add_names(t, r, city, position);
	cJSON_AddStringToObject(t, "propertyType", rng_pick(r, property_types));
	cJSON_AddStringToObject(t, "roomType", rng_pick(r, room_types));
	cJSON_AddNumberToObject(t, "accommodates", rng_between(r, 1, 12));
	cJSON_AddNumberToObject(t, "bedrooms", rng_between(r, 0, 5));
	cJSON_AddNumberToObject(t, "beds", rng_between(r, 1, 8));
	cJSON_AddNumberToObject(t, "bathrooms", rng_between(r, 1, 4));
	cJSON_AddItemToObject(t, "address", address_make(r, city));
	cJSON_AddStringToObject(t, "timezone", city->timezone);
	cJSON_AddStringToObject(t, "defaultCheckInTime", "15:00");
	cJSON_AddStringToObject(t, "defaultCheckOutTime", "11:00");
	cJSON_AddItemToObject(t, "pictures", pictures_make(r, id, position));
	cJSON_AddItemToObject(t, "amenities",
			      some_words(r, amenity_words, (int)ARRAY_LEN(amenity_words), 6));
	add_prices(t, r, city);
	cJSON_AddItemToObject(t, "tags", some_words(r, tag_words, (int)ARRAY_LEN(tag_words), 3));
	cJSON_AddItemToObject(t, "customFields", cJSON_CreateArray());
	cJSON_AddBoolToObject(t, "isListed", rng_below(r, 8) != 0);
	cJSON_AddBoolToObject(t, "active", true);
	add_dates(t, r, p);
	for (size_t i = 0; !p->clean && i < ARRAY_LEN(awkward); i++) {
		if (position % AWKWARD_EVERY != awkward[i].at)
			continue;
		awkward[i].spoil(t);
		item.awkward = awkward[i].name;
	}
	return item;
}
