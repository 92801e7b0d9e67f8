#include <stdio.h>

#include "scheduler/cli/cli.h"

static void add_driver(cJSON *list, const struct driver *d)
{
	const struct manifest *m = d->manifest;
	cJSON *row = cJSON_CreateObject(), *collections;

	json_add_text(row, "partner", m->partner);
	json_add_text(row, "title", m->title);
	json_add_text(row, "path", m->path);
	collections = cJSON_AddArrayToObject(row, "collections");
	for (int i = 0; i < m->n_collections; i++)
		cJSON_AddItemToArray(collections, cJSON_CreateString(m->collections[i].name));
	cJSON_AddBoolToObject(row, "hooks", d->hooks != NULL);
	cJSON_AddItemToArray(list, row);
}

/* Manifests with errors are named on stderr, and the exit code says so; the others are listed
 * all the same. */
int cmd_driver_list(struct cli *c)
{
	static const struct out_column columns[] = {
		{ "PARTNER", "partner", false },
		{ "TITLE", "title", false },
		{ "COLLECTIONS", "collections", false },
		{ "MANIFEST", "path", false },
	};
	cJSON *list;
	int rc = cli_drivers(c);

	if (rc)
		return rc;
	list = cJSON_CreateArray();
	for (int i = 0; i < driver_set_count(c->drivers); i++)
		add_driver(list, driver_at(c->drivers, i));
	out_list(c, list, columns, 4, "no drivers; `longshore driver new NAME` makes one");
	fputs(buf_str(&c->driver_problems), stderr);
	return c->driver_problems.len ? EXIT_FAILED : EXIT_OK;
}

int cmd_driver_show(struct cli *c)
{
	const struct driver *d = NULL;
	struct buf text = BUF_INIT;
	int rc = cli_driver(c, c->words[0], &d);

	if (rc == 0 && !d)
		rc = cli_fail(c, EXIT_NOT_FOUND, "%s is no partner and has no manifest",
			      c->words[0]);
	if (rc)
		return rc;
	manifest_print(d->manifest, &text);
	puts(buf_str(&text));
	buf_clear(&text);
	return EXIT_OK;
}

/* As drivers/manifest.schema.json has it: laid out, since people read it too. */
int cmd_driver_schema(struct cli *c)
{
	struct buf text = BUF_INIT;
	cJSON *tree = NULL;
	char *laid_out;

	manifest_schema(&text);
	if (json_parse(text.data, text.len, text.len, &tree, NULL) < 0)
		abort(); /* made of tables that tests print */
	laid_out = cJSON_Print(tree);
	puts(laid_out);
	cJSON_free(laid_out);
	cJSON_Delete(tree);
	buf_clear(&text);
	return EXIT_OK;
}
