/* Pauses and their end, at three levels: scheduling as a whole (nothing is started by the clock; jobs that are there run), a
 * partner, an integration (their jobs wait, and nothing is started).  All of them keep why, who and until when, and are
 * one row of the view `pauses`.  Postgres is written first, then the control hash that claims look at. */
#include <pwd.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "common/base/clock.h"
#include "common/base/mem.h"
#include "common/store/schedule.h"
#include "common/store/store.h"
#include "drivers/kit/auth.h"
#include "drivers/kit/control.h"
#include "scheduler/cli/cli.h"

#define FOR_MAX_MS (366LL * 24 * 3600 * 1000)

static const char *reason, *until, *by, *partner, *integration, *new_credentials;
static int64_t for_ms;
static bool scheduling;

static int pause_options(struct config_option *out)
{
	out[0] = (struct config_option){ .name = "reason",
					 .value_name = "TEXT",
					 .help = "why, for those who wonder later",
					 .out = &reason };
	out[1] = (struct config_option){ .name = "for",
					 .value_name = "DURATION",
					 .help = "it ends by itself after so long: 30m, 2h",
					 .type = CONFIG_DURATION_MS,
					 .fallback = "0",
					 .max = FOR_MAX_MS,
					 .out = &for_ms };
	out[2] = (struct config_option){ .name = "until",
					 .value_name = "TIME",
					 .help = "or then: 2026-11-21T08:15Z",
					 .out = &until };
	out[3] = (struct config_option){ .name = "by",
					 .value_name = "WHO",
					 .help = "who; else you, and this host",
					 .out = &by };
	return 4;
}

static int target_options(struct config_option *out)
{
	out[0] = (struct config_option){
		.name = "partner", .value_name = "P", .help = "all of a partner", .out = &partner
	};
	out[1] = (struct config_option){ .name = "integration",
					 .value_name = "ID",
					 .help = "one integration",
					 .out = &integration };
	out[2] = (struct config_option){ .name = "scheduling",
					 .help = "whatever starts by the clock, of all partners",
					 .type = CONFIG_BOOL,
					 .out = &scheduling };
	return 3;
}

int options_pause_one(struct config_option *out)
{
	return pause_options(out);
}

int options_pause(struct config_option *out)
{
	int n = pause_options(out);

	return n + target_options(out + n);
}

int options_resume(struct config_option *out)
{
	return target_options(out);
}

int options_integration_resume(struct config_option *out)
{
	out[0] = (struct config_option){ .name = "credentials",
					 .value_name = "FILE|-",
					 .help = "new ones to store first: a JSON object of what"
						 " the partner needs",
					 .out = &new_credentials };
	return 1;
}

/* ---- what a pause says ---- */

const char *cli_myself(void)
{
	static char text[300];
	const char *name = getenv("SUDO_USER");
	const struct passwd *user = getpwuid(geteuid());
	char host[128] = "localhost";

	if (!name || !*name)
		name = user ? user->pw_name : "unknown";
	gethostname(host, sizeof(host) - 1);
	snprintf(text, sizeof(text), "%s@%s", name, host);
	return text;
}

static int read_pause(const struct cli *c, struct pause *out)
{
	*out = (struct pause){ .reason = reason ? reason : "paused by an operator",
			       .by = by ? by : cli_myself() };
	if (until && for_ms)
		return cli_misused(c, "--for and --until say the same twice");
	if (for_ms)
		out->until_ms = clock_real_ms() + for_ms;
	else if (until)
		return parse_until(c, until, &out->until_ms);
	return 0;
}

static int done(struct cli *c, const struct pause *pause)
{
	return out_value(c, "status", cJSON_CreateString(pause ? "paused" : "active"));
}

/* ---- an integration ---- */

/* The token that all workers share is of the account that it was asked for with the old ones; where the change before was cut off, of
 * those before them. */
static int drop_old(struct cli *c, const struct integration *i, bool keeps_token, struct err *err)
{
	return (keeps_token ? auth_forget : auth_drop)(c->redis, i->partner, i->id, cli_deadline(),
						       err);
}

static int store_credentials(struct cli *c, const struct integration *i, const struct driver *d)
{
	struct secret plain = SECRET_INIT, old = SECRET_INIT;
	struct credential_change change = { 0 };
	struct keyring *keys = NULL;
	struct err err = { 0 };
	int rc = credentials_read(c, d->manifest, false, new_credentials, &plain);

	if (rc)
		return rc;
	rc = keyring_load(c->common.secret_key_file, &keys, &err);
	if (rc == 0 && credential_get(c->pg, keys, i->id, &old, NULL) < 0)
		secret_clear(&old); /* there are none, or they do not open */
	if (rc == 0)
		rc = credential_put(c->pg, keys, i->id, &plain, &change, &err);
	if (rc == 0)
		rc = drop_old(c, i,
			      !change.unsettled && old.len &&
				      auth_same_login(d->manifest, &old, &plain),
			      &err);
	if (rc == 0)
		rc = credential_settle(c->pg, i->id, change.at, &err);
	secret_clear(&plain);
	secret_clear(&old);
	keyring_free(keys);
	return rc < 0 ? cli_error(c, rc, &err, "--credentials") : 0;
}

static int write_integration(struct cli *c, const struct integration *i, const struct driver *d,
			     const struct pause *pause)
{
	char scope[48];
	struct err err = { 0 };
	int rc = integration_pause(c->pg, i->id, pause, &err);

	snprintf(scope, sizeof(scope), "integration:%lld", (long long)i->id);
	if (rc == 0 && !pause)
		rc = alert_resolve(c->pg, "auth_broken", scope, &err);
	if (rc == 0 && !pause)
		rc = alert_resolve(c->pg, "suspended", scope, &err);
	if (rc == 0 && !pause)
		rc = auth_forget(c->redis, i->partner, i->id, cli_deadline(), &err);
	if (rc == 0)
		rc = control_mirror(c->redis, c->pg, d, i->partner, false, cli_deadline(), &err);
	return rc < 0 ? cli_error(c, rc, &err, c->command->name) : done(c, pause);
}

/* Both servers are asked for before anything is written. */
static int set_integration(struct cli *c, const char *id_text, const struct pause *pause)
{
	const struct driver *d = NULL;
	struct integration i;
	struct err err = { 0 };
	int64_t id;
	int rc = parse_id(c, "integration", id_text, &id);

	if (rc == 0)
		rc = cli_pg(c);
	if (rc)
		return rc;
	rc = integration_get(c->pg, id, &i, &err);
	if (rc < 0)
		return cli_error(c, rc, &err, c->command->name);
	rc = cli_driver(c, i.partner, &d);
	if (rc == 0)
		rc = cli_redis(c);
	if (rc == 0 && new_credentials)
		rc = store_credentials(c, &i, d);
	if (rc == 0)
		rc = write_integration(c, &i, d, pause);
	integration_clear(&i);
	return rc;
}

int cmd_integration_pause(struct cli *c)
{
	struct pause pause;
	int rc = read_pause(c, &pause);

	return rc ? rc : set_integration(c, c->words[0], &pause);
}

int cmd_integration_resume(struct cli *c)
{
	return set_integration(c, c->words[0], NULL);
}

/* ---- a partner, scheduling ---- */

static int set_partner(struct cli *c, const char *name, const struct pause *pause)
{
	const struct driver *d = NULL;
	struct err err = { 0 };
	int rc = cli_driver(c, name, &d);

	if (rc == 0)
		rc = cli_pg(c);
	if (rc == 0)
		rc = cli_redis(c);
	if (rc)
		return rc;
	rc = partner_pause(c->pg, name, pause, &err);
	if (rc == 0 && !pause) {
		char scope[64];

		snprintf(scope, sizeof(scope), "partner:%s", name);
		rc = alert_resolve(c->pg, "suspended", scope, &err);
	}
	if (rc == 0)
		rc = control_mirror(c->redis, c->pg, d, name, false, cli_deadline(), &err);
	return rc < 0 ? cli_error(c, rc, &err, c->command->name) : done(c, pause);
}

static int set_scheduling(struct cli *c, const struct pause *pause)
{
	struct err err = { 0 };
	int rc = cli_pg(c);

	if (rc)
		return rc;
	rc = scheduling_pause(c->pg, pause, &err);
	return rc < 0 ? cli_error(c, rc, &err, c->command->name) : done(c, pause);
}

static int set_target(struct cli *c, const struct pause *pause)
{
	int named = (c->n_words > 0) + (partner != NULL) + (integration != NULL) + scheduling;

	if (named != 1)
		return cli_misused(
			c, "%s: give one of PARTNER, --partner P, --integration ID, --scheduling",
			named ? "several are named" : "what?");
	if (scheduling)
		return set_scheduling(c, pause);
	if (integration)
		return set_integration(c, integration, pause);
	return set_partner(c, partner ? partner : c->words[0], pause);
}

int cmd_pause(struct cli *c)
{
	struct pause pause;
	int rc = read_pause(c, &pause);

	return rc ? rc : set_target(c, &pause);
}

int cmd_resume(struct cli *c)
{
	return set_target(c, NULL);
}
