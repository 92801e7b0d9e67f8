#include "scheduler/cli/driver_door.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "common/base/id.h"
#include "common/base/metrics.h"
#include "common/io/http.h"
#include "common/io/loop.h"

#define PERMIT_WAIT_MS 60000 /* somebody sits there and waits */

static int find_integration(struct cli *c, const struct driver *d, int64_t id,
			    struct integration *out)
{
	struct err err = { 0 };
	int rc = integration_get(c->pg, id, out, &err);

	if (rc == -ENOENT)
		return cli_fail(c, EXIT_NOT_FOUND, "there is no integration %lld", (long long)id);
	if (rc < 0)
		return cli_error(c, rc, &err, "reading the integration");
	if (strcmp(out->partner, d->manifest->partner) == 0)
		return 0;
	rc = cli_misused(c, "--integration: %lld is of %s, not of %s", (long long)id, out->partner,
			 d->manifest->partner);
	integration_clear(out);
	return rc;
}

/* The version of the driver that the integration has, with its overrides: its limits hold for these calls too. */
static int own_driver(struct cli *c, const struct driver **d, struct driver_door *out)
{
	const struct integration *i = &out->integration;
	struct buf problems = BUF_INIT;
	struct err err = { 0 };
	const struct driver *version = driver_for(*d, i->id, i->settings, NULL, &err);
	char shown[64];
	int rc = 0;

	if (!version)
		return cli_fail(c, EXIT_FAILED, "%s", err.text);
	snprintf(shown, sizeof(shown), "the overrides of integration %lld", (long long)i->id);
	if (i->overrides && driver_overlaid(version, shown, i->overrides, &out->own, &problems) < 0)
		rc = cli_fail(c, EXIT_FAILED, "%.*s; mend them with `longshore integration set`",
			      (int)strcspn(problems.data, "\n"), problems.data);
	buf_clear(&problems);
	*d = out->own ? out->own : version;
	return rc;
}

static void open_door(struct cli *c, const struct driver *d, struct driver_door *out)
{
	struct door_options o = { .redis = c->redis,
				  .pg = c->pg,
				  .keyring = out->keys,
				  .permit_wait_ms = PERMIT_WAIT_MS };
	char epoch[ID_LEN + 1];

	id_new(epoch);
	out->tape = tape_recording(redis_now_ms(c->redis) * 1000);
	o.epoch = epoch;
	o.tape = out->tape;
	out->door = door_new(&o);
	out->caller = (struct caller){
		.door = out->door, .driver = d, .integration = &out->integration, .high = true
	};
}

int driver_door_open(struct cli *c, const struct driver *d, const char *integration_id,
		     struct driver_door *out)
{
	struct err err = { 0 };
	int64_t id = 0;
	int rc = 0;

	memset(out, 0, sizeof(*out));
	if (!integration_id)
		return cli_misused(c, "--integration ID is missing: whose account is asked");
	rc = parse_id(c, "--integration", integration_id, &id);
	if (rc == 0)
		rc = cli_redis(c);
	if (rc == 0)
		rc = cli_pg(c);
	if (rc == 0 && d->manifest->auth.kind != AUTH_NONE &&
	    keyring_load(c->common.secret_key_file, &out->keys, &err) < 0)
		rc = cli_fail(c, EXIT_FAILED, "%s", err.text);
	if (rc == 0 && http_global_init() < 0)
		rc = cli_fail(c, EXIT_FAILED, "this libcurl resolves names in the loop");
	if (rc == 0)
		rc = find_integration(c, d, id, &out->integration);
	if (rc == 0) {
		rc = own_driver(c, &d, out);
		if (rc)
			integration_clear(&out->integration);
	}
	if (rc == 0)
		open_door(c, d, out);
	else
		keyring_free(out->keys);
	return rc;
}

void driver_door_close(struct driver_door *d)
{
	door_free(d->door);
	tape_free(d->tape);
	driver_overlaid_free(d->own);
	integration_clear(&d->integration);
	keyring_free(d->keys);
}
