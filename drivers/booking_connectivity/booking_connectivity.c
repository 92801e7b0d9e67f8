/* What a reservation says of its stay only together: one RoomRate a night and room, amounts as whole numbers with a count of
 * decimal places beside them.  Summed up here under "stay", which the manifest maps. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/clock.h"
#include "drivers/hooks.h"

#define DAY_US (24 * 3600 * INT64_C(1000000))

struct stay {
	int64_t from_us, to_us; /* 0: no night is known */
	int64_t adults, children;
	const char *hotel;
};

/* The first of one or many elements of a name: several are a list, one is itself. */
static const cJSON *first(const cJSON *in, const char *path)
{
	const cJSON *v = in ? json_path(in, path) : NULL;

	return cJSON_IsArray(v) ? v->child : v;
}

/* The one after it; an element that is alone stands among others of its parent. */
static const cJSON *next(const cJSON *in, const char *path, const cJSON *v)
{
	return cJSON_IsArray(json_path(in, path)) ? v->next : NULL;
}

static int add_night(struct stay *s, const cJSON *rate, struct err *err)
{
	const char *date = json_str(rate, "-EffectiveDate");
	bool date_only = false;
	int64_t us;

	if (!date || clock_parse_time(date, &us, &date_only) < 0) {
		err_set(err, -EINVAL, ERR_DATA, "adapt_item", "a night without a date: %.40s",
			date ? date : "nothing");
		snprintf(err->where, sizeof(err->where), "starts_on");
		return -EINVAL;
	}
	us -= us % DAY_US;
	if (!s->from_us || us < s->from_us)
		s->from_us = us;
	if (us + DAY_US > s->to_us)
		s->to_us = us + DAY_US;
	return 0;
}

/* 10 is an adult (and 8 a child) in OpenTravel's table of ages. */
static void add_guests(struct stay *s, const cJSON *count)
{
	const char *age = json_str(count, "-AgeQualifyingCode"), *n = json_str(count, "-Count");
	long guests = n ? strtol(n, NULL, 10) : 0;

	if (guests <= 0 || guests > 1000)
		return;
	if (age && strcmp(age, "10") != 0)
		s->children += guests;
	else
		s->adults += guests;
}

static int add_room(struct stay *s, const cJSON *room, struct err *err)
{
	const char *hotel = json_str(room, "BasicPropertyInfo.-HotelCode");
	const cJSON *v;
	int rc = 0;

	if (hotel)
		s->hotel = hotel;
	for (v = first(room, "RoomRates.RoomRate"); v && rc == 0;
	     v = next(room, "RoomRates.RoomRate", v))
		rc = add_night(s, v, err);
	for (v = first(room, "GuestCounts.GuestCount"); v;
	     v = next(room, "GuestCounts.GuestCount", v))
		add_guests(s, v);
	return rc;
}

/* 27650 with two places is 276.50; one that has a point already is left as it is. */
static const char *amount(const cJSON *total, struct arena *a)
{
	const char *text = total ? json_str(total, "-AmountAfterTax") : NULL;
	const char *decimals = total ? json_str(total, "-DecimalPlaces") : NULL;
	long places = decimals ? strtol(decimals, NULL, 10) : 0;
	size_t len;

	if (total && !text)
		text = json_str(total, "-AmountBeforeTax");
	if (!text || places <= 0 || places > 6 || strspn(text, "0123456789") != strlen(text))
		return text;
	while (strlen(text) <= (size_t)places)
		text = arena_printf(a, "0%s", text);
	len = strlen(text) - (size_t)places;
	return arena_printf(a, "%.*s.%s", (int)len, text, text + len);
}

static const char *guest_name(const cJSON *item, struct arena *a)
{
	const cJSON *who = first(item, "ResGlobalInfo.Profiles.ProfileInfo");
	const char *given = who ? json_str(who, "Profile.Customer.PersonName.GivenName") : NULL;
	const char *family = who ? json_str(who, "Profile.Customer.PersonName.Surname") : NULL;

	if (!given || !*given)
		return family;
	return family && *family ? arena_printf(a, "%s %s", given, family) : given;
}

static void set_date(struct arena *a, cJSON *stay, const char *name, int64_t us)
{
	char iso[CLOCK_ISO_MAX];

	clock_iso(us / 1000, iso)[10] = '\0';
	hook_set(a, stay, name, hook_text(a, arena_strdup(a, iso)));
}

static int adapt_item(const struct manifest_collection *c, const cJSON *item, struct arena *a,
		      const cJSON **out, struct err *err)
{
	cJSON *adapted = hook_copy(a, item), *stay = hook_object(a);
	const cJSON *room = first(item, "RoomStays.RoomStay");
	struct stay s = { 0 };
	int rc = 0;

	for (; room && rc == 0; room = next(item, "RoomStays.RoomStay", room))
		rc = add_room(&s, room, err);
	if (rc < 0)
		return rc;
	if (s.from_us) {
		set_date(a, stay, "arrival", s.from_us);
		set_date(a, stay, "departure", s.to_us);
		hook_set(a, stay, "nights",
			 hook_number(a, (double)((s.to_us - s.from_us) / DAY_US)));
		hook_set(a, stay, "adults", hook_number(a, (double)s.adults));
		hook_set(a, stay, "children", hook_number(a, (double)s.children));
		hook_set(a, stay, "guests", hook_number(a, (double)(s.adults + s.children)));
	}
	hook_set(a, stay, "hotel", hook_text(a, s.hotel));
	hook_set(a, stay, "guest", hook_text(a, guest_name(item, a)));
	hook_set(a, stay, "total", hook_text(a, amount(json_path(item, "ResGlobalInfo.Total"), a)));
	hook_set(a, adapted, "stay", stay);
	*out = adapted;
	return 0;
}

const struct driver_hooks driver_booking_connectivity = { .partner = "booking_connectivity",
							  .adapt_item = adapt_item };
