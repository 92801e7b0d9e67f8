#include <stdio.h>
#include <string.h>

#include "common/store/store.h"
#include "scheduler/cli/cli.h"

static void note(int number, const char *name, void *arg)
{
	cJSON *row = cJSON_CreateObject();

	json_add_int(row, "number", number);
	json_add_text(row, "name", name);
	cJSON_AddItemToArray(arg, row);
}

int cmd_migrate(struct cli *c)
{
	static const struct out_column columns[] = { { "APPLIED", "name", false } };
	cJSON *applied = cJSON_CreateArray();
	struct err err = { 0 };
	int rc = migrate_run(c->common.database_url, note, applied, &err);

	if (rc < 0) {
		cJSON_Delete(applied);
		return cli_error(c, rc, &err, "migrate");
	}
	return out_list(c, applied, columns, 1, "nothing to do: the database is up to date");
}
