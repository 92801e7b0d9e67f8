/* longshore integration authorize: somebody allows us to act for an account, in a browser or with a code to type in. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/io/co.h"
#include "common/io/http.h"
#include "common/io/loop.h"
#include "common/io/target.h"
#include "common/store/store.h"
#include "drivers/kit/auth_authorize.h"
#include "scheduler/cli/cli.h"

static const char *public_url;

int options_authorize(struct config_option *out)
{
	out[0] = (struct config_option){ .name = "public-url",
					 .env = "LONGSHORE_PUBLIC_URL",
					 .value_name = "URL",
					 .help = "the scheduler's address as partners and their"
						 " users see it",
					 .out = &public_url };
	return 1;
}

static int print_link(struct cli *c, const struct integration *i)
{
	char ticket[AUTHORIZE_TOKEN_BYTES];
	struct buf url = BUF_INIT;
	struct err err = { 0 };
	size_t n = public_url ? strlen(public_url) : 0;
	int rc;

	if (!n)
		return cli_misused(c, "--public-url (or LONGSHORE_PUBLIC_URL) is missing: the"
				      " partner sends people back to it");
	rc = target_check(public_url, cli_deadline(), &err);
	if (rc == -EACCES || rc == -EINVAL) /* a name that is not known here may be known there */
		return cli_misused(c, "--public-url: %s", err.text);
	while (n > 0 && public_url[n - 1] == '/')
		n--;
	rc = authorize_ticket_new(c->redis, i->id, ticket, &err);
	if (rc < 0)
		return cli_error(c, rc, &err, "integration authorize");
	buf_printf(&url, "%.*s/oauth/start/%lld?ticket=%s", (int)n, public_url, (long long)i->id,
		   ticket);
	if (!c->json)
		fprintf(stderr, "Open this link within a day, and sign in at the partner:\n");
	rc = out_value(c, "url", cJSON_CreateString(url.data));
	buf_clear(&url);
	return rc;
}

/* What the partner sends is shown to a terminal: no control characters. */
static void say(const char *label, const char *text)
{
	fprintf(stderr, "%s", label);
	for (; *text; text++)
		fputc((unsigned char)*text < ' ' || *text == 127 ? '?' : *text, stderr);
	fputc('\n', stderr);
}

static void show_code(const struct device_code *d)
{
	say("Open:  ", d->uri);
	say("Code:  ", d->user_code);
	if (d->uri_complete)
		say("Or:    ", d->uri_complete);
	fprintf(stderr, "Waiting for %lld minutes at most …\n",
		(long long)(d->ends_ms - loop_now_ms() + 59999) / 60000);
}

static int wait_for_it(struct caller *caller, struct device_code *d, struct err *err)
{
	int rc;

	do {
		rc = co_sleep("device", d->interval_ms);
		if (rc == 0)
			rc = device_poll(caller, d, err);
	} while (rc == -EINPROGRESS);
	return rc;
}

static int with_device(struct cli *c, struct caller *caller)
{
	struct device_code d = { .user_code = NULL };
	struct err err = { 0 };
	int rc = device_begin(caller, &d, &err);

	if (rc == 0) {
		show_code(&d);
		rc = wait_for_it(caller, &d, &err);
	}
	if (rc == 0)
		rc = auth_mended(c->redis, c->pg, caller->driver, caller->integration->id,
				 cli_deadline(), &err);
	device_code_clear(&d);
	if (rc < 0)
		return cli_fail(c, EXIT_FAILED, "integration authorize: %s",
				err.text[0] ? err.text : strerror(-rc));
	return out_value(c, "status", cJSON_CreateString("authorized"));
}

static int run_device(struct cli *c, const struct driver *d, const struct integration *i)
{
	struct door_options o = { .redis = c->redis, .pg = c->pg };
	struct caller caller = { .driver = d, .integration = i, .high = true };
	struct keyring *keys = NULL;
	struct err err = { 0 };
	int rc = keyring_load(c->common.secret_key_file, &keys, &err);

	if (rc < 0)
		return cli_error(c, rc, &err, "the secret key");
	if (http_global_init() < 0) {
		keyring_free(keys);
		return cli_fail(c, EXIT_FAILED, "libcurl cannot be used");
	}
	o.keyring = keys;
	caller.door = door_new(&o);
	rc = with_device(c, &caller);
	door_free(caller.door);
	keyring_free(keys);
	return rc;
}

int cmd_integration_authorize(struct cli *c)
{
	const struct driver *d = NULL;
	struct integration i = { 0 };
	struct err err = { 0 };
	int64_t id;
	int rc = parse_id(c, "integration", c->words[0], &id);

	if (rc == 0)
		rc = cli_pg(c);
	if (rc)
		return rc;
	rc = integration_get(c->pg, id, &i, &err);
	if (rc < 0)
		return cli_error(c, rc, &err, "integration authorize");
	rc = cli_driver(c, i.partner, &d);
	if (rc == 0)
		rc = cli_redis(c);
	if (rc == 0 && d && d->manifest->auth.kind == AUTH_OAUTH2_CODE)
		rc = print_link(c, &i);
	else if (rc == 0 && d && d->manifest->auth.kind == AUTH_OAUTH2_DEVICE)
		rc = run_device(c, d, &i);
	else if (rc == 0)
		rc = cli_misused(c,
				 "%s is not signed in to: its credentials are given with"
				 " `longshore integration resume %lld --credentials FILE`",
				 i.partner, (long long)id);
	integration_clear(&i);
	return rc;
}
