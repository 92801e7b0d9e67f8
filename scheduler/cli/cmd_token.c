#include <errno.h>
#include <string.h>

#include "common/store/api_token.h"
#include "scheduler/cli/cli.h"

#define YEAR_MS (366LL * 24 * 3600 * 1000)

static const char *scopes_text;
static int64_t per_minute, expires_ms;

int options_token_add(struct config_option *out)
{
	out[0] = (struct config_option){ .name = "scopes",
					 .value_name = "S,S",
					 .help = "of push, read, operate",
					 .fallback = "push,read",
					 .out = &scopes_text };
	out[1] = (struct config_option){ .name = "per-minute",
					 .value_name = "N",
					 .help = "calls a minute that each scheduler answers",
					 .type = CONFIG_INT,
					 .fallback = "600",
					 .min = 1,
					 .max = 10000000,
					 .out = &per_minute };
	out[2] = (struct config_option){ .name = "expires-in",
					 .value_name = "DURATION",
					 .help = "30d; 0: never",
					 .type = CONFIG_DURATION_MS,
					 .fallback = "0",
					 .max = 10 * YEAR_MS,
					 .out = &expires_ms };
	return 3;
}

int cmd_token_add(struct cli *c)
{
	char text[API_TOKEN_BYTES];
	struct err err = { 0 };
	unsigned scopes;
	int64_t id;
	int rc;

	if (!*c->words[0] || strlen(c->words[0]) > 60)
		return cli_misused(c, "a name has 1 to 60 bytes");
	if (api_scopes_parse(scopes_text, &scopes) < 0)
		return cli_misused(c, "--scopes: push, read and operate by commas, not \"%s\"",
				   scopes_text);
	rc = cli_pg(c);
	if (rc)
		return rc;
	rc = api_token_add(c->pg, c->words[0], scopes, per_minute, expires_ms, text, &id, &err);
	if (rc == -EEXIST)
		return cli_fail(c, EXIT_FAILED, "%s", err.text);
	return rc < 0 ? cli_error(c, rc, &err, "token add")
		      : out_value(c, "token", cJSON_CreateString(text));
}

static void add(const cJSON *row, void *arg)
{
	cJSON_AddItemToArray(arg, cJSON_Duplicate(row, true));
}

int cmd_token_list(struct cli *c)
{
	static const struct out_column columns[] = {
		{ "ID", "id", true },
		{ "NAME", "name", false },
		{ "SCOPES", "scopes", false },
		{ "PER MINUTE", "per_minute", true },
		{ "SINCE", "created_at", false },
		{ "EXPIRES", "expires_at", false },
		{ "REVOKED", "revoked_at", false },
	};
	cJSON *list = cJSON_CreateArray();
	struct err err = { 0 };
	int rc = cli_pg(c);

	if (rc == 0) {
		rc = api_token_each(c->pg, add, list, &err);
		rc = rc < 0 ? cli_error(c, rc, &err, "token list") : 0;
	}
	if (rc) {
		cJSON_Delete(list);
		return rc;
	}
	return out_list(c, list, columns, 7, "no tokens");
}

int cmd_token_revoke(struct cli *c)
{
	struct err err = { 0 };
	int rc = cli_pg(c);

	if (rc)
		return rc;
	rc = api_token_revoke(c->pg, c->words[0], &err);
	if (rc == -ENOENT)
		return cli_fail(
			c, EXIT_NOT_FOUND,
			"there is no token \"%s\" in use; `longshore token list` shows them",
			c->words[0]);
	return rc < 0 ? cli_error(c, rc, &err, "token revoke")
		      : out_value(c, "revoked", cJSON_CreateString(c->words[0]));
}
