/* history: of which row tables changes are kept, and for how long. */
#include <stdlib.h>

#include "common/store/history.h"
#include "scheduler/cli/cli.h"

#define DAYS_MAX 36500

static void list_one(const struct history_setting *h, void *arg)
{
	cJSON *row = cJSON_CreateObject();

	json_add_text(row, "table", row_table_name(h->table));
	json_add_text(row, "history", h->on ? "on" : "off");
	json_add_int(row, "keep_days", h->keep_days);
	json_add_text(row, "kept_in", row_changes_name(h->table));
	json_add_text(row, "since", h->since);
	json_add_int(row, "changes", h->changes);
	cJSON_AddItemToArray(arg, row);
}

int cmd_history_list(struct cli *c)
{
	static const struct out_column columns[] = {
		{ "TABLE", "table", false },        { "HISTORY", "history", false },
		{ "KEPT IN", "kept_in", false },    { "KEEP DAYS", "keep_days", true },
		{ "OLDEST MONTH", "since", false }, { "CHANGES, ABOUT", "changes", true },
	};
	struct err err = { 0 };
	cJSON *list;
	int rc = cli_pg(c);

	if (rc)
		return rc;
	list = cJSON_CreateArray();
	rc = history_each(c->pg, list_one, list, &err);
	if (rc < 0) {
		cJSON_Delete(list);
		return cli_error(c, rc, &err, "history list");
	}
	return out_list(c, list, columns, 6, "no settings; `longshore history on TABLE` makes one");
}

static int set(struct cli *c, int on, int64_t keep_days, const char *doing)
{
	struct err err = { 0 };
	enum row_table t;
	int rc;

	if (row_table_parse(c->words[0], &t) < 0)
		return cli_misused(c, "\"%s\" is no row table: resources, transactions or media",
				   c->words[0]);
	rc = cli_pg(c);
	if (rc)
		return rc;
	rc = history_set(c->pg, t, on, keep_days, &err);
	return rc < 0 ? cli_error(c, rc, &err, doing) : 0;
}

int cmd_history_on(struct cli *c)
{
	return set(c, 1, 0, "history on");
}

int cmd_history_off(struct cli *c)
{
	return set(c, 0, 0, "history off");
}

int cmd_history_keep(struct cli *c)
{
	char *end;
	long long days = strtoll(c->words[1], &end, 10);

	if (*end || end == c->words[1] || days < 1 || days > DAYS_MAX)
		return cli_misused(c, "\"%s\" is no number of days from 1 to %d", c->words[1],
				   DAYS_MAX);
	return set(c, -1, days, "history keep");
}
