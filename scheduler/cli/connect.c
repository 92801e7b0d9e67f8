#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "common/io/loop.h"
#include "common/queue/queue.h"
#include "common/store/store.h"
#include "scheduler/cli/cli.h"

int64_t cli_deadline(void)
{
	return loop_now_ms() + CLI_CALL_MS;
}

/* A command that cannot be sent comes back with the reason why. */
static int redis_is_down(struct cli *c)
{
	struct err why = { 0 };

	if (redis_callv(c->redis, NULL, loop_now_ms() + 100, &why, "PING", NULL) == 0)
		return 0; /* it came up in this very moment */
	return cli_fail(c, EXIT_UNREACHABLE,
			"Redis at %s: %s; start it, or name another with --redis"
			" or LONGSHORE_REDIS_URL",
			redis_url_shown(c->redis), why.text);
}

int cli_redis(struct cli *c)
{
	struct redis_options o = { .url = c->common.redis_url, .client_name = "longshore" };
	struct err err = { 0 };

	if (c->redis)
		return 0;
	if (redis_new(&o, &c->redis, &err) < 0)
		return cli_fail(c, EXIT_MISUSED, "--redis: %s", err.text);
	if (redis_wait_up(c->redis, loop_now_ms() + CLI_CONNECT_MS) < 0)
		return redis_is_down(c);
	return 0;
}

int cli_wait_pg(struct cli *c, struct err *err)
{
	int rc = pg_wait_up(c->pg, loop_now_ms() + CLI_CONNECT_MS, err);

	return rc < 0 && !pg_has_failed(c->pg) ? pg_wait_up(c->pg, loop_now_ms() + CLI_SLOW_MS, err)
					       : rc;
}

int cli_pg(struct cli *c)
{
	struct pg_options o = { .url = c->common.database_url,
				.application_name = "longshore",
				.max_connections = 1,
				.timeout_ms = CLI_CALL_MS };
	struct err err = { 0 };
	int rc;

	if (c->pg)
		return 0;
	if (pg_new(&o, &c->pg, &err) < 0)
		return cli_fail(c, EXIT_MISUSED, "--database: %s", err.text);
	if (cli_wait_pg(c, &err) < 0)
		return cli_fail(
			c, EXIT_UNREACHABLE,
			"%s; start it, or name another with --database or LONGSHORE_DATABASE_URL",
			err.text);
	rc = migrate_check(c->pg, &err);
	if (rc == -ENODATA)
		return cli_fail(c, EXIT_FAILED, "%s", err.text);
	return rc < 0 ? cli_error(c, rc, &err, "looking at the database's schema") : 0;
}

int cli_drivers(struct cli *c)
{
	struct err err = { 0 };

	if (c->drivers)
		return 0;
	driver_flags(c->common.flags);
	if (driver_set_load(c->common.drivers, &c->drivers, &c->driver_problems, &err) < 0)
		return cli_fail(c, EXIT_MISUSED, "--drivers: %s", err.text);
	return 0;
}

/* A name may be unknown because its manifest is broken: then that is said instead. */
static int no_driver(struct cli *c, const char *partner)
{
	const char *names[256], *near;
	char needle[64];
	int n = driver_set_count(c->drivers);

	snprintf(needle, sizeof(needle), "/%s/manifest.json", partner);
	if (strstr(buf_str(&c->driver_problems), needle))
		return cli_fail(c, EXIT_FAILED,
				"the manifest of %s has errors; see `longshore driver check %s`",
				partner, partner);
	for (int i = 0; i < n && i < 256; i++)
		names[i] = driver_at(c->drivers, i)->manifest->partner;
	near = config_nearest(partner, names, n < 256 ? n : 256);
	return cli_fail(c, EXIT_NOT_FOUND, "no driver for \"%s\" in %s%s%s%s", partner,
			c->common.drivers, near ? "; did you mean " : "",
			near ? near : "; see `longshore driver list`", near ? "?" : "");
}

int cli_driver(struct cli *c, const char *partner, const struct driver **out)
{
	int rc = cli_drivers(c);

	if (rc)
		return rc;
	*out = driver_find(c->drivers, partner);
	return *out || strcmp(partner, LONGSHORE_PARTNER) == 0 ? 0 : no_driver(c, partner);
}

void cli_close(struct cli *c)
{
	redis_free(c->redis);
	if (c->pg)
		pg_free(c->pg);
	if (c->drivers)
		driver_set_free(c->drivers);
	buf_clear(&c->driver_problems);
}
