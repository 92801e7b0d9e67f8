/* A reservation's guests come as a map by their ids, and how many they are as texts: of the whole in the list, room by
 * room where one reservation is read alone. */
#include <stdlib.h>

#include "drivers/hooks.h"

/* Who made it is whichever of them says so. */
static const cJSON *main_guest(const cJSON *guests)
{
	const cJSON *c;

	cJSON_ArrayForEach (c, guests)
		if (json_bool(c, "isMainGuest", false))
			return c;
	return guests ? guests->child : NULL;
}

static double sum(const cJSON *rooms, const char *what, double before)
{
	const cJSON *c;

	cJSON_ArrayForEach (c, rooms) {
		const char *text = json_str(c, what);

		before += text ? strtod(text, NULL) : 0;
	}
	return before;
}

static void add_heads(const cJSON *item, const char *what, struct arena *a, cJSON *to)
{
	const cJSON *assigned = cJSON_GetObjectItemCaseSensitive(item, "assigned"),
		    *rest = cJSON_GetObjectItemCaseSensitive(item, "unassigned");

	if (!cJSON_GetObjectItemCaseSensitive(item, what) && (assigned || rest))
		hook_set(a, to, what, hook_number(a, sum(rest, what, sum(assigned, what, 0))));
}

/* Without any guest the map comes as an empty list. */
static int adapt_item(const struct manifest_collection *c, const cJSON *item, struct arena *a,
		      const cJSON **out, struct err *err)
{
	const cJSON *guest = main_guest(cJSON_GetObjectItemCaseSensitive(item, "guestList"));
	cJSON *adapted = hook_copy(a, item);

	if (cJSON_IsObject(guest))
		hook_set(a, adapted, "mainGuest", hook_copy(a, guest));
	add_heads(item, "adults", a, adapted);
	add_heads(item, "children", a, adapted);
	*out = adapted;
	return 0;
}

extern const struct driver_hooks driver_cloudbeds;
const struct driver_hooks driver_cloudbeds = { .partner = "cloudbeds", .adapt_item = adapt_item };
