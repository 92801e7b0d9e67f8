/* Cloudbeds' webhooks: a registration for each event, unsigned.  What is told is by an example, who is told by the specification. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/clock.h"
#include "common/base/mem.h"
#include "tests/sandbox/cloudbeds.h"
#include "tests/sandbox/guise.h"
#include "tests/sandbox/subscription.h"
#include "tests/sandbox/tell.h"

#define TRIES_MAX 5

/* ---- what is told ---- */

static bool any_changed(const cJSON *fields, const char *const *names)
{
	for (int i = 0; names[i]; i++)
		if (cJSON_GetObjectItemCaseSensitive(fields, names[i]))
			return true;
	return false;
}

/* By what was changed: one change may be several events, or none. */
static int events_of(const char *noun, enum change what, const cJSON *fields,
		     const char *names[TELL_EVENTS_MAX])
{
	static const struct {
		const char *event, *fields[6];
	} changes[TELL_EVENTS_MAX] = {
		{ "reservation/status_changed", { "status" } },
		{ "reservation/dates_changed",
		  { "checkIn", "checkOut", "checkInDateLocalized", "checkOutDateLocalized" } },
		{ "reservation/accommodation_changed", { "listingId" } },
		{ "reservation/notes_changed", { "note" } },
	};
	int n = 0;

	if (strcmp(noun, "reservation") != 0)
		return 0;
	if (what != CHANGE_UPDATED) {
		names[0] = what == CHANGE_NEW ? "reservation/created" : "reservation/deleted";
		return 1;
	}
	for (size_t i = 0; i < ARRAY_LEN(changes); i++)
		if (any_changed(fields, changes[i].fields))
			names[n++] = changes[i].event;
	return n;
}

/* {"version", "event", "timestamp", "propertyID", "reservationID", "status", "startDate", "endDate"} */
static void body_of(struct account *a, const char *event, const char *noun, const cJSON *item,
		    struct buf *out)
{
	cJSON *v = cJSON_CreateObject();
	const char *status = cloudbeds_status_view(json_str(item, "status"));
	char id[24];

	cJSON_AddStringToObject(v, "version", "1.0");
	cJSON_AddStringToObject(v, "event", event);
	cJSON_AddNumberToObject(v, "timestamp", (double)clock_real_ms() / 1e3);
	cJSON_AddNumberToObject(v, "propertyID", a->number);
	snprintf(id, sizeof(id), "%lld", (long long)guise_id(a->number, json_str(item, "_id")));
	cJSON_AddStringToObject(v, "reservationID", id);
	cJSON_AddItemToObject(v, "status", guise_text(status));
	guise_copy(v, "startDate", item, "checkInDateLocalized");
	guise_copy(v, "endDate", item, "checkOutDateLocalized");
	json_print(v, out);
	cJSON_Delete(v);
}

static int send(const struct telling *t, struct buf *answer)
{
	static const struct http_header headers[] = { { "Content-Type", "application/json" } };

	return tell_send(t->url, headers, 1, t->body, answer);
}

static bool gives_up(int status, int tries)
{
	return tries >= TRIES_MAX;
}

const struct teller cloudbeds_teller = {
	.events = events_of, .body = body_of, .send = send, .gives_up = gives_up
};

/* ---- who is told ---- */

void cloudbeds_post_webhook(struct exchange *x)
{
	char object[CLOUDBEDS_FIELD_MAX], action[CLOUDBEDS_FIELD_MAX], url[CLOUDBEDS_FIELD_MAX];
	char *event;
	cJSON *data, *events;

	if (!cloudbeds_field(x, "object", object) || !cloudbeds_field(x, "action", action) ||
	    !cloudbeds_field(x, "endpointUrl", url)) {
		cloudbeds_fail(x, 200, "Parameter endpointUrl is required");
		return;
	}
	event = mem_printf("%s/%s", object, action);
	events = cJSON_CreateArray();
	cJSON_AddItemToArray(events, cJSON_CreateString(event));
	data = cJSON_CreateObject();
	cJSON_AddStringToObject(
		data, "subscriptionID",
		subscription_add(&cloudbeds_teller, x->account->number, url, events)->id);
	cloudbeds_done(x, data, 0, -1);
	free(event);
}

static cJSON *view(const struct exchange *x, const struct subscription *s)
{
	cJSON *v = cJSON_CreateObject(), *part;
	const char *event = s->events->child->valuestring;
	char property[24], object[CLOUDBEDS_FIELD_MAX];

	snprintf(property, sizeof(property), "%d", x->account->number);
	snprintf(object, sizeof(object), "%.*s", (int)strcspn(event, "/"), event);
	cJSON_AddStringToObject(v, "id", s->id);
	part = cJSON_AddObjectToObject(v, "key");
	cJSON_AddStringToObject(part, "type", "property");
	cJSON_AddStringToObject(part, "id", property);
	part = cJSON_AddObjectToObject(v, "event");
	cJSON_AddStringToObject(part, "entity", object);
	cJSON_AddStringToObject(part, "action", event + strlen(object) + 1);
	part = cJSON_AddObjectToObject(v, "owner");
	cJSON_AddStringToObject(part, "type", "api_client");
	cJSON_AddStringToObject(part, "id", "sandbox");
	cJSON_AddStringToObject(v, "subscriptionType", "webhook");
	part = cJSON_AddObjectToObject(v, "subscriptionData");
	cJSON_AddStringToObject(part, "endpoint", s->url);
	return v;
}

void cloudbeds_get_webhooks(struct exchange *x)
{
	const struct subscription *s = NULL;
	cJSON *all = cJSON_CreateArray();

	while ((s = subscription_next(s, &cloudbeds_teller, x->account->number)))
		cJSON_AddItemToArray(all, view(x, s));
	cloudbeds_done(x, all, 0, -1);
}

void cloudbeds_delete_webhook(struct exchange *x)
{
	const char *id = httpd_query(x->q, "subscriptionID");
	struct subscription *s =
		id ? subscription_find(&cloudbeds_teller, x->account->number, id) : NULL;

	if (!s) {
		cloudbeds_fail(x, 200, "Subscription not found");
		return;
	}
	subscription_remove(s);
	cloudbeds_done(x, cJSON_CreateObject(), 0, -1);
}
