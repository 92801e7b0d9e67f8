#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "common/base/mem.h"
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

static bool is_dir(const char *path)
{
	struct stat st;

	return stat(path, &st) == 0 && S_ISDIR(st.st_mode);
}

/* A folder as it is, or a partner's name in one of --drivers. NULL: neither. The caller's. */
static char *find_manifest(const struct cli *c, const char *word)
{
	char *dirs, *dir, *rest, *path = NULL;

	if (strchr(word, '/') || strcmp(word, ".") == 0)
		return is_dir(word) ? mem_printf("%s/manifest.json", word) : mem_strdup(word);
	dirs = rest = mem_strdup(c->common.drivers);
	while (!path && (dir = strsep(&rest, ":"))) {
		struct stat st;

		path = mem_printf("%s/%s/manifest.json", dir, word);
		if (stat(path, &st) < 0) {
			free(path);
			path = NULL;
		}
	}
	free(dirs);
	return path;
}

static int report(struct cli *c, const char *path, struct buf *problems, bool good)
{
	cJSON *o;

	if (c->json) {
		o = cJSON_CreateObject();
		json_add_text(o, "manifest", path);
		cJSON_AddBoolToObject(o, "ok", good);
		cJSON *list = cJSON_AddArrayToObject(o, "problems");
		for (char *rest = problems->data, *line; rest && (line = strsep(&rest, "\n"));) {
			if (*line)
				cJSON_AddItemToArray(list, cJSON_CreateString(line));
		}
		out_json(o);
		cJSON_Delete(o);
	} else if (good) {
		printf("%s: good\n", path);
	} else {
		fputs(buf_str(problems), stderr);
	}
	return good ? EXIT_OK : EXIT_FAILED;
}

static int check_one(struct cli *c, const char *word)
{
	char *path = find_manifest(c, word);
	struct manifest *m = NULL;
	struct buf problems = BUF_INIT;
	int rc;

	if (!path)
		return cli_fail(c, EXIT_NOT_FOUND,
				"no manifest of \"%s\" in %s; a folder is named with a slash: ./%s",
				word, c->common.drivers, word);
	rc = manifest_load(path, &m, &problems);
	if (rc == -ENOENT)
		rc = cli_fail(c, EXIT_NOT_FOUND, "there is no %s", path);
	else
		rc = report(c, path, &problems, rc == 0);
	manifest_free(m);
	buf_clear(&problems);
	free(path);
	return rc;
}

int cmd_driver_check(struct cli *c)
{
	int rc;

	if (c->n_words)
		return check_one(c, c->words[0]);
	rc = cli_drivers(c);
	return rc ? rc
		  : report(c, c->common.drivers, &c->driver_problems, c->driver_problems.len == 0);
}
