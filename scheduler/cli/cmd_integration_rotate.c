/* longshore integration rotate, verify: credentials, proven by a call. */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "common/base/id.h"
#include "common/io/http.h"
#include "common/store/store.h"
#include "drivers/kit/auth.h"
#include "drivers/kit/control.h"
#include "drivers/kit/rotate.h"
#include "scheduler/cli/cli.h"

static const char *credentials_file;
static bool back;

int options_integration_rotate(struct config_option *out)
{
	out[0] = (struct config_option){
		.name = "credentials",
		.value_name = "FILE|-",
		.help = "the new ones: a JSON object of what the partner needs",
		.out = &credentials_file
	};
	out[1] = (struct config_option){ .name = "back",
					 .help = "those that the last rotation replaced",
					 .type = CONFIG_BOOL,
					 .out = &back };
	return 2;
}

struct target {
	struct integration i;
	const struct driver *d;
	struct keyring *keys;
	char epoch[ID_LEN + 8];
	struct door_options door;
};

static void target_clear(struct target *t)
{
	integration_clear(&t->i);
	keyring_free(t->keys);
}

static int target_of(struct cli *c, struct target *t)
{
	struct err err = { 0 };
	char id[ID_LEN + 1];
	int64_t number;
	int rc = parse_id(c, "integration", c->words[0], &number);

	if (rc == 0)
		rc = cli_pg(c);
	if (rc == 0)
		rc = cli_redis(c);
	if (rc)
		return rc;
	rc = integration_get(c->pg, number, &t->i, &err);
	if (rc < 0)
		return cli_error(c, rc, &err, c->command->name);
	rc = cli_driver(c, t->i.partner, &t->d);
	if (rc)
		return rc;
	rc = keyring_load(c->common.secret_key_file, &t->keys, &err);
	if (rc < 0)
		return cli_error(c, rc, &err, c->command->name);
	if (http_global_init() < 0)
		return cli_fail(c, EXIT_FAILED, "libcurl cannot start");
	id_new(id);
	snprintf(t->epoch, sizeof(t->epoch), "cli-%s", id);
	t->door = (struct door_options){
		.redis = c->redis, .pg = c->pg, .keyring = t->keys, .epoch = t->epoch
	};
	return 0;
}

/* One that was marked as broken goes on with credentials that are known to be good. */
static int mend(struct cli *c, const struct target *t)
{
	struct err err = { 0 };
	char scope[48];
	int rc;

	if (strcmp(t->i.status, "auth_broken") != 0)
		return 0;
	snprintf(scope, sizeof(scope), "integration:%lld", (long long)t->i.id);
	rc = integration_set_status(c->pg, t->i.id, "active", NULL, &err);
	if (rc == 0)
		rc = alert_resolve(c->pg, "auth_broken", scope, &err);
	if (rc == 0)
		rc = control_mirror(c->redis, c->pg, t->d, t->i.partner, false, cli_deadline(),
				    &err);
	return rc < 0 ? cli_error(c, rc, &err, c->command->name) : 0;
}

static int tell(struct cli *c, const struct target *t, enum rotation r, const struct err *why)
{
	cJSON *o = cJSON_CreateObject();
	const char *state = r == ROTATION_DONE || r == ROTATION_UNPROVEN ? "new" : "old";
	int rc = state[0] == 'n' ? mend(c, t) : 0;

	json_add_text(o, "result", rotation_name(r));
	json_add_text(o, "in_force", state);
	json_add_text(o, "reason", why->class ? why->text : NULL);
	out_object(c, o);
	if (rc || state[0] == 'n')
		return rc;
	return cli_fail(c, EXIT_FAILED,
			"integration rotate: %s: %s; the old credentials stay in force",
			rotation_name(r), why->text);
}

int cmd_integration_rotate(struct cli *c)
{
	struct secret json = SECRET_INIT;
	struct target t = { 0 };
	enum rotation r = ROTATION_DONE;
	struct err err = { 0 };
	int rc;

	if (!credentials_file == !back)
		return cli_misused(c, "give --credentials FILE (or - for stdin), or --back");
	rc = target_of(c, &t);
	if (rc == 0 && !back)
		rc = credentials_read(c, t.d->manifest, false, credentials_file, &json);
	if (rc == 0) {
		rc = rotate_credentials(&t.door, t.d, &t.i, back ? NULL : &json, &r, &err);
		rc = rc < 0 ? cli_error(c, rc, &err, "integration rotate") : tell(c, &t, r, &err);
	}
	secret_clear(&json);
	target_clear(&t);
	return rc;
}

int cmd_integration_verify(struct cli *c)
{
	struct target t = { 0 };
	struct err err = { 0 };
	int rc = target_of(c, &t);

	if (rc == 0) {
		struct door *door = door_new(&t.door);
		struct caller caller = {
			.door = door, .driver = t.d, .integration = &t.i, .high = true
		};

		rc = verify_credential(&caller, &err);
		door_free(door);
		if (rc == 0)
			rc = out_value(c, "credentials", cJSON_CreateString("valid"));
		else
			rc = cli_fail(c, EXIT_FAILED, "integration verify: %s: %s",
				      rc == -EACCES ? "refused" : "could not be asked", err.text);
	}
	target_clear(&t);
	return rc;
}
