/* A reservation as Guesty shows it. */
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
#define RESERVATION_STREAM 2

static const char *const statuses[] = { "confirmed", "confirmed", "confirmed",  "canceled",
					"inquiry",   "reserved",  "checked_in", "checked_out",
					"declined",  "expired",   "closed" };

static void reservation_id(const struct content_plan *p, int account, int position,
			   char out[CONTENT_ID_MAX])
{
	struct rng of_account = rng_of(p->seed, (uint64_t)account, 0);
	struct rng of_item =
		rng_of(p->seed ^ RESERVATION_STREAM, (uint64_t)account, (uint64_t)position);

	snprintf(out, CONTENT_ID_MAX, "%06x%06x%012llx",
		 (unsigned)(rng_next(&of_account) & 0xffffff), 0x800000u | (unsigned)position,
		 (unsigned long long)(rng_next(&of_item) & 0xffffffffffffULL));
}

static void add_stay(cJSON *t, struct rng *r, const struct content_plan *p)
{
	char text[CLOCK_ISO_MAX];
	int64_t midnight = p->anchor_ms - p->anchor_ms % DAY_MS;
	int64_t from = midnight + (rng_between(r, -60, 120)) * DAY_MS;
	int nights = rng_between(r, 1, 14);
	int64_t to = from + nights * DAY_MS;

	cJSON_AddStringToObject(t, "checkIn", clock_iso(from + 14 * 3600 * 1000LL, text));
	cJSON_AddStringToObject(t, "checkOut", clock_iso(to + 10 * 3600 * 1000LL, text));
	clock_iso(from, text);
	text[10] = '\0';
	cJSON_AddStringToObject(t, "checkInDateLocalized", text);
	clock_iso(to, text);
	text[10] = '\0';
	cJSON_AddStringToObject(t, "checkOutDateLocalized", text);
	cJSON_AddNumberToObject(t, "nightsCount", nights);
	cJSON_AddNumberToObject(t, "guestsCount", rng_between(r, 1, 8));
}

static void add_guest(cJSON *t, struct rng *r, int position)
{
	cJSON *guest = cJSON_AddObjectToObject(t, "guest");
	char *name = mem_printf("%s %s", rng_pick(r, first_names), rng_pick(r, last_names));
	char *email = mem_printf("guest%d@example.com", position);
	char *phone = mem_printf("+1 555 01%02d %04d", rng_below(r, 100), rng_below(r, 10000));

	cJSON_AddStringToObject(guest, "fullName", name);
	cJSON_AddStringToObject(guest, "email", email);
	cJSON_AddStringToObject(guest, "phone", phone);
	free(phone);
	free(email);
	free(name);
}

static void add_money(cJSON *t, struct rng *r)
{
	static const char *const currencies[] = { "EUR", "EUR", "USD", "GBP", "JPY", "KWD" };
	cJSON *money = cJSON_AddObjectToObject(t, "money");
	const char *currency = rng_pick(r, currencies);
	double unit = strcmp(currency, "JPY") == 0   ? 1
		      : strcmp(currency, "KWD") == 0 ? 0.125
						     : 0.25;
	double total = unit * rng_between(r, 400, 12000), paid = unit * rng_below(r, 400);

	cJSON_AddNumberToObject(money, "totalPaid", paid);
	cJSON_AddNumberToObject(money, "balanceDue", total - paid);
	cJSON_AddNumberToObject(money, "hostPayout", total);
	cJSON_AddStringToObject(money, "currency", currency);
}

/* ---- awkward values ---- */

static void put(cJSON *t, const char *key, cJSON *v)
{
	cJSON_ReplaceItemInObjectCaseSensitive(t, key, v);
}

static void bad_date(cJSON *t)
{
	put(t, "checkIn", cJSON_CreateString("not a date"));
}

static void impossible_date(cJSON *t)
{
	put(t, "checkOut", cJSON_CreateString("2026-02-31T10:00:00.000Z"));
}

static void missing_date(cJSON *t)
{
	cJSON_DeleteItemFromObject(t, "checkOut");
}

static void unknown_listing(cJSON *t)
{
	put(t, "listingId", cJSON_CreateString("ffffffffffffffffffffffff"));
}

static void null_money(cJSON *t)
{
	put(t, "money", cJSON_CreateNull());
}

static void text_money(cJSON *t)
{
	cJSON *money = cJSON_GetObjectItem(t, "money");

	put(money, "totalPaid", cJSON_CreateString("1204.50"));
	put(money, "balanceDue", cJSON_CreateString("0.75"));
	put(money, "currency", cJSON_CreateString("EUR")); /* one that has cents */
}

static void null_guest(cJSON *t)
{
	put(t, "guest", cJSON_CreateNull());
}

static void emoji_guest(cJSON *t)
{
	put(cJSON_GetObjectItem(t, "guest"), "fullName",
	    cJSON_CreateString("🧳 Zoë 名前 👨‍👩‍👧‍👦"));
}

static void odd_status(cJSON *t)
{
	put(t, "status", cJSON_CreateString("awaiting_the_moon"));
}

static const struct {
	int at;
	const char *name;
	void (*spoil)(cJSON *tree);
} awkward[] = {
	{ 2, "bad_date", bad_date },          { 8, "impossible_date", impossible_date },
	{ 13, "missing_date", missing_date }, { 19, "unknown_listing", unknown_listing },
	{ 22, "null_money", null_money },     { 27, "text_money", text_money },
	{ 33, "null_guest", null_guest },     { 39, "emoji_guest", emoji_guest },
	{ 44, "odd_status", odd_status },
};

struct item reservation_make(const struct content_plan *p, int account, int position)
{
	struct rng rng = rng_of(p->seed ^ RESERVATION_STREAM, (uint64_t)account,
				(uint64_t)position),
		   *r = &rng;
	struct item item = { cJSON_CreateObject(), NULL };
	cJSON *t = item.tree;
	char id[CONTENT_ID_MAX], listing[CONTENT_ID_MAX], code[16], date[CLOCK_ISO_MAX];
	int64_t updated = p->anchor_ms - DAY_MS - (int64_t)(rng_unit(r) * 60 * (double)DAY_MS);

	reservation_id(p, account, position, id);
	listing_id(p, account, p->listings ? rng_below(r, p->listings) : 0, listing);
	snprintf(code, sizeof(code), "GY-%08llX", (unsigned long long)(rng_next(r) & 0xffffffff));
	cJSON_AddStringToObject(t, "_id", id);
	cJSON_AddStringToObject(t, "listingId", listing);
	cJSON_AddStringToObject(t, "status", rng_pick(r, statuses));
	cJSON_AddStringToObject(t, "confirmationCode", code);
	add_stay(t, r, p);
	add_guest(t, r, position);
	add_money(t, r);
	cJSON_AddStringToObject(t, "source", rng_pick(r, sources));
	cJSON_AddStringToObject(t, "note", "");
	cJSON_AddStringToObject(t, "createdAt",
				clock_iso(updated - rng_below(r, 200) * DAY_MS, date));
	cJSON_AddStringToObject(t, "lastUpdatedAt", clock_iso(updated, date));
	for (size_t i = 0; !p->clean && i < ARRAY_LEN(awkward); i++) {
		if (position % AWKWARD_EVERY != awkward[i].at)
			continue;
		awkward[i].spoil(t);
		item.awkward = awkward[i].name;
	}
	return item;
}
