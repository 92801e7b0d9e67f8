#include "common/store/store.h"
#include "scheduler/cli/cli.h"

int cmd_company_add(struct cli *c)
{
	struct err err = { 0 };
	int64_t id;
	int rc = cli_pg(c);

	if (rc)
		return rc;
	rc = company_add(c->pg, c->words[0], &id, &err);
	if (rc < 0)
		return cli_error(c, rc, &err, "company add");
	return out_value(c, "id", cJSON_CreateNumber((double)id));
}

static void list_one(int64_t id, const char *name, int64_t integrations, int64_t created_ms,
		     void *arg)
{
	cJSON *row = cJSON_CreateObject();

	json_add_int(row, "id", id);
	json_add_text(row, "name", name);
	json_add_int(row, "integrations", integrations);
	json_add_time(row, "created_at", created_ms);
	cJSON_AddItemToArray(arg, row);
}

int cmd_company_list(struct cli *c)
{
	static const struct out_column columns[] = {
		{ "ID", "id", true },
		{ "NAME", "name", false },
		{ "INTEGRATIONS", "integrations", true },
		{ "CREATED", "created_at", false },
	};
	struct err err = { 0 };
	cJSON *list;
	int rc = cli_pg(c);

	if (rc)
		return rc;
	list = cJSON_CreateArray();
	rc = company_each(c->pg, list_one, list, &err);
	if (rc < 0) {
		cJSON_Delete(list);
		return cli_error(c, rc, &err, "company list");
	}
	return out_list(c, list, columns, 4,
			"no companies yet; `longshore company add NAME` makes one");
}
