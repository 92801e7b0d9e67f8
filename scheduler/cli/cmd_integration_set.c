#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/mem.h"
#include "common/store/store.h"
#include "drivers/kit/control.h"
#include "drivers/kit/overlay.h"
#include "scheduler/cli/cli.h"

static const char *base_url, *limits, *map, *overrides_file;
static bool clear;

int options_integration_set(struct config_option *out)
{
	out[0] = (struct config_option){
		.name = "base-url",
		.value_name = "URL",
		.help = "replaces the API host of the manifest; manifest: no more",
		.out = &base_url
	};
	out[1] = (struct config_option){
		.name = "limits",
		.value_name = "JSON",
		.help = "its limits in the manifest's place: a list as there",
		.out = &limits
	};
	out[2] = (struct config_option){
		.name = "map",
		.value_name = "JSON",
		.help = "columns otherwise than there: {\"COLLECTION\": {\"COLUMN\": ...}}",
		.out = &map
	};
	out[3] = (struct config_option){
		.name = "overrides",
		.value_name = "FILE|-",
		.help = "all of them anew: {\"limits\": [...], \"collections\": {...}}",
		.out = &overrides_file
	};
	out[4] = (struct config_option){ .name = "clear",
					 .help = "no limits and columns of its own any more",
					 .type = CONFIG_BOOL,
					 .out = &clear };
	return 5;
}

/* A flag's JSON; *out is the caller's. */
static int flag_json(const struct cli *c, const char *flag, const char *text, cJSON **out)
{
	struct json_error bad;

	if (json_parse(text, strlen(text), OVERLAY_MAX_BYTES, out, &bad) == 0)
		return 0;
	return cli_misused(c, "--%s is not JSON: column %d: %s", flag, bad.column, bad.text);
}

static cJSON *member(cJSON *object, const char *name)
{
	cJSON *v = cJSON_GetObjectItemCaseSensitive(object, name);

	return v ? v : cJSON_AddObjectToObject(object, name);
}

static void replace(cJSON *object, const char *name, cJSON *v)
{
	cJSON_DeleteItemFromObjectCaseSensitive(object, name);
	cJSON_AddItemToObject(object, name, v);
}

/* {"listings": {"name": "title"}} -> collections.listings.map.name */
static int put_map(const struct cli *c, cJSON *tree, const cJSON *columns)
{
	const cJSON *collection, *column;

	cJSON_ArrayForEach (collection, columns) {
		cJSON *to;

		if (!collection->string || !cJSON_IsObject(collection))
			return cli_misused(
				c, "--map: {\"COLLECTION\": {\"COLUMN\": ...}} is expected");
		to = member(member(member(tree, "collections"), collection->string), "map");
		cJSON_ArrayForEach (column, collection)
			replace(to, column->string, cJSON_Duplicate(column, true));
	}
	return cJSON_IsObject(columns)
		       ? 0
		       : cli_misused(c, "--map: {\"COLLECTION\": {\"COLUMN\": ...}} is expected");
}

/* What is there already, with the flags over it. */
static int put_flags(const struct cli *c, const struct integration *i, struct buf *text)
{
	const char *old = i->overrides && !clear ? i->overrides : "{}";
	cJSON *tree = NULL, *given = NULL, *columns = NULL;
	int rc = flag_json(c, "overrides", text->len ? text->data : old, &tree);

	if (rc == 0 && !cJSON_IsObject(tree))
		rc = cli_misused(c, "--overrides: an object is expected");
	if (rc == 0 && limits)
		rc = flag_json(c, "limits", limits, &given);
	if (rc == 0 && map)
		rc = flag_json(c, "map", map, &columns);
	if (rc == 0 && given) {
		replace(tree, "limits", given);
		given = NULL;
	}
	if (rc == 0 && columns)
		rc = put_map(c, tree, columns);
	if (rc == 0) {
		buf_reset(text);
		json_print(tree, text);
	}
	cJSON_Delete(tree);
	cJSON_Delete(given);
	cJSON_Delete(columns);
	return rc;
}

/* As the workers will: over the manifest (of the version that it has), and the whole checked. */
static int check_fit(const struct cli *c, const struct driver *base, const struct integration *i,
		     const struct buf *text)
{
	struct err err = { 0 };
	const struct driver *d = driver_for(base, i->id, i->settings, NULL, &err);
	const char *shown = overrides_file && !limits && !map ? overrides_file : "overrides";
	struct buf problems = BUF_INIT;
	struct driver *fit = NULL;
	int rc;

	if (!d)
		return cli_fail(c, EXIT_FAILED, "%s", err.text);
	rc = driver_overlaid(d, shown, text->data, &fit, &problems);
	if (rc < 0) {
		fputs(buf_str(&problems), stderr);
		rc = EXIT_MISUSED;
	}
	driver_overlaid_free(fit);
	buf_clear(&problems);
	return rc;
}

static int read_overrides(const struct cli *c, const struct driver *d, const struct integration *i,
			  struct buf *text)
{
	int rc = 0;

	if (overrides_file)
		rc = read_input(c, "--overrides", overrides_file, OVERLAY_MAX_BYTES, text);
	if (rc == 0 && (limits || map || clear))
		rc = put_flags(c, i, text);
	if (rc == 0 && text->len)
		rc = check_fit(c, d, i, text);
	return rc;
}

static int check_url(const struct cli *c, const struct manifest *m)
{
	if (!base_url)
		return 0;
	if (strcmp(base_url, "manifest") == 0)
		base_url = "";
	else if (!manifest_takes_url(m, base_url))
		return cli_misused(c,
				   "--base-url: \"%s\" begins with neither %s;"
				   " the word manifest gives the manifest's back",
				   base_url, manifest_schemes(m));
	return 0;
}

static int write_change(struct cli *c, const struct integration *i, const struct driver *d,
			const struct integration_change *change)
{
	struct err err = { 0 };
	int rc = integration_change(c->pg, i->id, change, &err);

	if (rc == 0)
		rc = control_mirror(c->redis, c->pg, d, i->partner, false, cli_deadline(), &err);
	if (rc < 0)
		return cli_error(c, rc, &err, c->command->name);
	return out_value(c, "id", cJSON_CreateNumber((double)i->id));
}

/* What it would have with those given: whether they go together is told of all. */
static int check_settings(const struct cli *c, const struct driver *d, const struct integration *i,
			  const cJSON *given)
{
	cJSON *all = cJSON_Duplicate(i->settings, true);
	const cJSON *v;
	int rc;

	cJSON_ArrayForEach (v, given)
		replace(all, v->string, cJSON_Duplicate(v, true));
	rc = settings_fit(c, d, i->environment, all);
	cJSON_Delete(all);
	return rc;
}

static int set(struct cli *c, const struct integration *i)
{
	const struct driver *d = NULL;
	cJSON *settings = c->n_sets ? cJSON_CreateObject() : NULL;
	struct integration_change change = { .settings = settings };
	struct buf text = BUF_INIT;
	int rc = cli_driver(c, i->partner, &d);

	if (rc == 0)
		rc = cli_redis(c);
	if (rc == 0)
		rc = check_url(c, d->manifest);
	if (rc == 0)
		rc = settings_read(c, d->manifest, settings);
	if (rc == 0 && settings)
		rc = check_settings(c, d, i, settings);
	if (rc == 0)
		rc = read_overrides(c, d, i, &text);
	if (rc == 0) {
		change.base_url = base_url;
		change.overrides = text.len ? text.data : NULL;
		rc = write_change(c, i, d, &change);
	}
	buf_clear(&text);
	cJSON_Delete(settings);
	return rc;
}

int cmd_integration_set(struct cli *c)
{
	struct integration i;
	struct err err = { 0 };
	int64_t id;
	int rc = parse_id(c, "integration", c->words[0], &id);

	if (rc == 0 && !base_url && !limits && !map && !overrides_file && !clear && !c->n_sets)
		rc = cli_misused(
			c,
			"nothing to set: give --base-url, --limits, --map, --overrides, --clear or --set");
	if (rc == 0)
		rc = cli_pg(c);
	if (rc)
		return rc;
	rc = integration_get(c->pg, id, &i, &err);
	if (rc < 0)
		return cli_error(c, rc, &err, c->command->name);
	rc = set(c, &i);
	integration_clear(&i);
	return rc;
}
