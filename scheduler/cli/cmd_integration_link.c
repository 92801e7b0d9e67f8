/* integration link: a partner's change of an id that no answer of its tells us. */
#include <errno.h>

#include "common/base/clock.h"
#include "common/store/id_link.h"
#include "common/store/store.h"
#include "scheduler/cli/cli.h"

static bool split;

int options_integration_link(struct config_option *out)
{
	out[0] = (struct config_option){
		.name = "split",
		.help = "NEW is one of several; children stay until the partner says whose they are",
		.type = CONFIG_BOOL,
		.out = &split
	};
	return 1;
}

static int print(struct cli *c, const struct id_link_result *r)
{
	cJSON *o = cJSON_CreateObject();

	cJSON_AddBoolToObject(o, "old_row_marked", r->marked);
	json_add_int(o, "children_moved", r->children);
	return out_object(c, o);
}

int cmd_integration_link(struct cli *c)
{
	struct id_link l = { .old_id = c->words[2],
			     .new_id = c->words[3],
			     .split = split,
			     .observed_us = clock_real_us(),
			     .origin = { .source = ROW_LINK } };
	struct id_link_result r = { 0 };
	struct integration i;
	struct err err = { 0 };
	int rc = parse_id(c, "integration", c->words[0], &l.integration_id);

	if (rc)
		return rc;
	if (row_table_parse(c->words[1], &l.table) < 0)
		return cli_misused(c, "\"%s\" is no row table: resources, transactions or media",
				   c->words[1]);
	rc = cli_pg(c);
	if (rc)
		return rc;
	rc = integration_get(c->pg, l.integration_id, &i, &err);
	if (rc == -ENOENT)
		return cli_fail(c, EXIT_NOT_FOUND,
				"no integration %s; `longshore integration list` shows them",
				c->words[0]);
	if (rc == 0) {
		integration_clear(&i);
		rc = id_link_put(c->pg, &l, &r, &err);
	}
	if (rc == -EINVAL)
		return cli_misused(c, "%s", err.text);
	return rc < 0 ? cli_error(c, rc, &err, "integration link") : print(c, &r);
}
