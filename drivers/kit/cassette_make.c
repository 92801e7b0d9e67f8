/* A scenario as a cassette says it, and a recording as a whole. */
#include <errno.h>
#include <string.h>

#include "common/base/clock.h"
#include "drivers/kit/call_door.h"
#include "drivers/kit/cassette.h"

#define ATTEMPTS_MAX 100

/* ---- scenarios ---- */

static int read_lookup(const cJSON *v, const struct manifest *m, struct scenario *out,
		       struct err *err)
{
	const char *name = json_str(v, "name");
	const cJSON *params = cJSON_GetObjectItemCaseSensitive(v, "params");
	const struct manifest_lookup *l = name ? manifest_lookup(m, name) : NULL;

	if (!l)
		return err_set(err, -EINVAL, ERR_DATA, "cassette",
			       "lookup.name: the manifest has no lookup \"%s\"", name ? name : "");
	if (params && !cJSON_IsObject(params))
		return err_set(err, -EINVAL, ERR_DATA, "cassette",
			       "lookup.params: expected an object");
	*out = (struct scenario){ .lookup = l, .params = params };
	return 0;
}

static int read_action(const cJSON *v, const struct manifest *m, struct scenario *out,
		       struct err *err)
{
	const char *name = json_str(v, "name");
	const cJSON *params = cJSON_GetObjectItemCaseSensitive(v, "params");
	const struct manifest_action *a = name ? manifest_action(m, name) : NULL;
	int64_t n = 1;

	if (!a)
		return err_set(err, -EINVAL, ERR_DATA, "cassette",
			       "action.name: the manifest has no action \"%.60s\"",
			       name ? name : "");
	if (params && !cJSON_IsObject(params))
		return err_set(err, -EINVAL, ERR_DATA, "cassette",
			       "action.params: expected an object");
	if (cJSON_HasObjectItem(v, "attempts") &&
	    (!json_int(v, "attempts", &n) || n < 1 || n > ATTEMPTS_MAX))
		return err_set(err, -EINVAL, ERR_DATA, "cassette",
			       "action.attempts: expected a number from 1 to %d", ATTEMPTS_MAX);
	*out = (struct scenario){ .action = a,
				  .params = params,
				  .attempts = (int)n,
				  .undo = json_bool(v, "undo", false) };
	return 0;
}

int cassette_scenario(const struct cassette *k, const struct manifest *m, struct scenario *out,
		      struct err *err)
{
	const cJSON *lookup = cJSON_GetObjectItemCaseSensitive(k->tree, "lookup");
	const cJSON *action = cJSON_GetObjectItemCaseSensitive(k->tree, "action");
	const cJSON *import = cJSON_GetObjectItemCaseSensitive(k->tree, "import");
	const char *name = json_str(import, "collection"), *since = json_str(import, "since");
	const char *partner = json_str(k->tree, "partner");
	struct scenario s = { 0 };
	int64_t n;

	if (!partner || strcmp(partner, m->partner) != 0)
		return err_set(err, -EINVAL, ERR_DATA, "cassette",
			       "partner: it is of \"%s\", and the folder is of \"%s\"",
			       partner ? partner : "nobody", m->partner);
	if (action)
		return read_action(action, m, out, err);
	if (lookup)
		return read_lookup(lookup, m, out, err);
	s.collection = name ? manifest_collection(m, name) : NULL;
	if (!s.collection)
		return err_set(err, -EINVAL, ERR_DATA, "cassette",
			       "import.collection: the manifest has no collection \"%s\"",
			       name ? name : "");
	s.item = json_str(import, "item");
	s.parent_id = json_str(import, "parent");
	s.parent = cJSON_GetObjectItemCaseSensitive(import, "parent_row");
	if (since && clock_parse_time(since, &s.since_us, NULL) < 0)
		return err_set(err, -EINVAL, ERR_DATA, "cassette",
			       "import.since: \"%.60s\" is no time", since);
	s.pages = json_int(import, "pages", &n) && n > 0 && n < INT32_MAX ? (int)n : 0;
	s.size = json_int(import, "size", &n) && n > 0 && n < INT32_MAX ? (int)n : 0;
	*out = s;
	return 0;
}

static void add_number(cJSON *o, const char *name, int n)
{
	if (n)
		cJSON_AddNumberToObject(o, name, n);
}

static void add_lookup(cJSON *tree, const struct scenario *s)
{
	cJSON *lookup = cJSON_AddObjectToObject(tree, "lookup");

	cJSON_AddStringToObject(lookup, "name", s->lookup->name);
	if (s->params)
		cJSON_AddItemToObject(lookup, "params", cJSON_Duplicate(s->params, true));
}

static void add_action(cJSON *tree, const struct scenario *s)
{
	cJSON *action = cJSON_AddObjectToObject(tree, "action");

	cJSON_AddStringToObject(action, "name", s->action->name);
	if (s->params)
		cJSON_AddItemToObject(action, "params", cJSON_Duplicate(s->params, true));
}

static void add_import(cJSON *tree, const struct scenario *s)
{
	cJSON *import = cJSON_AddObjectToObject(tree, "import");
	char iso[CLOCK_ISO_MAX];

	cJSON_AddStringToObject(import, "collection", s->collection->name);
	if (s->item)
		cJSON_AddStringToObject(import, "item", s->item);
	if (s->parent_id)
		cJSON_AddStringToObject(import, "parent", s->parent_id);
	if (s->parent)
		cJSON_AddItemToObject(import, "parent_row", cJSON_Duplicate(s->parent, true));
	if (s->since_us)
		cJSON_AddStringToObject(import, "since", clock_iso(s->since_us / 1000, iso));
	add_number(import, "pages", s->pages);
	add_number(import, "size", s->size);
}

static void add_setting(cJSON *tree, const struct caller *c, const char *name)
{
	const cJSON *v = cJSON_GetObjectItemCaseSensitive(c->integration->settings, name);
	cJSON *settings = cJSON_GetObjectItemCaseSensitive(tree, "settings");

	if (!v || cJSON_GetObjectItemCaseSensitive(settings, name))
		return;
	if (!settings)
		settings = cJSON_AddObjectToObject(tree, "settings");
	cJSON_AddItemToObject(settings, name, cJSON_Duplicate(v, true));
}

/* Those that the manifest's templates name: without them a replay would ask for something else.  And whether a mail goes without TLS. */
static void add_settings(cJSON *tree, const struct caller *c)
{
	const struct manifest *m = c->driver->manifest;

	for (int i = 0; i < m->n_settings; i++)
		add_setting(tree, c, m->settings[i]);
	if (m->body == BODY_MAIL)
		add_setting(tree, c, "tls");
}

cJSON *cassette_make(const struct caller *c, const char *name, const struct scenario *s,
		     cJSON *exchanges, int64_t recorded_ms)
{
	const struct manifest *m = c->driver->manifest;
	cJSON *tree;
	struct buf host = BUF_INIT;
	char iso[CLOCK_ISO_MAX];

	if (s && s->collection && !cassette_mask(c->driver, s->collection, exchanges)) {
		cJSON_Delete(exchanges);
		return NULL;
	}
	tree = cJSON_CreateObject();
	cJSON_AddNumberToObject(tree, "cassette", 1);
	cJSON_AddStringToObject(tree, "partner", m->partner);
	cJSON_AddStringToObject(tree, "scenario", name);
	cJSON_AddStringToObject(tree, "recorded_at", clock_iso(recorded_ms, iso));
	call_host(c->driver, c->integration, &host);
	cJSON_AddStringToObject(tree, "recorded_from", buf_str(&host));
	if (c->driver->adapter)
		cJSON_AddStringToObject(tree, "adapter", c->driver->adapter);
	buf_clear(&host);
	if (s && s->action) {
		add_action(tree, s);
	} else if (s && s->lookup) {
		add_lookup(tree, s);
	} else if (s) {
		add_import(tree, s);
	} else {
		cJSON_AddBoolToObject(tree, "auth", true);
	}
	add_settings(tree, c);
	cJSON_AddItemToObject(tree, "exchanges", exchanges);
	return tree;
}
