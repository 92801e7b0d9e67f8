#include "worker/settings.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/crypto.h"
#include "common/base/log.h"
#include "common/base/mem.h"
#include "common/base/metrics.h"
#include "common/io/target.h"
#include "drivers/kit/lookup_kinds.h"

#define OWN_OPTIONS 12
#define USAGE "longshore-worker [flags]: calls the partners, writes the rows"

static int misused(const char *fmt, const char *a, const char *b)
{
	fputs("longshore-worker: ", stderr);
	fprintf(stderr, fmt, a, b ? b : "");
	fputc('\n', stderr);
	return EXIT_MISUSED;
}

static int load_drivers(struct settings *s, bool strict)
{
	struct buf problems = BUF_INIT;
	struct err err = { 0 };
	int rc = driver_set_load(s->common.drivers, &s->drivers, &problems, &err);

	driver_flags(s->common.flags);
	if (rc == 0)
		lookup_kinds_check(s->drivers, &problems);
	if (problems.len && strict)
		rc = misused("%s%s", buf_str(&problems), NULL);
	else if (problems.len)
		log_event(LOG_ERROR, "manifest_refused", LS("problems", buf_str(&problems)));
	buf_clear(&problems);
	return rc < 0 ? misused("%s%s", err.text, NULL) : rc;
}

static int add_name(struct settings *s, const char *name)
{
	if (s->n_names == WORKER_PARTNERS_MAX)
		return misused("more than %s partners%s", "512", NULL);
	s->names[s->n_names++] = name;
	return 0;
}

static int serve_all(struct settings *s)
{
	int rc = add_name(s, LONGSHORE_PARTNER);

	for (int i = 0; rc == 0 && i < driver_set_count(s->drivers); i++)
		rc = add_name(s, driver_at(s->drivers, i)->manifest->partner);
	return rc;
}

static int serve(struct settings *s, const char *name)
{
	static const char *known[WORKER_PARTNERS_MAX];
	int n = 0;

	if (!strcmp(name, LONGSHORE_PARTNER) || driver_find(s->drivers, name))
		return add_name(s, name);
	for (; n < driver_set_count(s->drivers) && n < WORKER_PARTNERS_MAX; n++)
		known[n] = driver_at(s->drivers, n)->manifest->partner;
	const char *near = config_nearest(name, known, n);
	char hint[120] = "";
	if (near)
		snprintf(hint, sizeof(hint), "; did you mean \"%s\"?", near);
	return misused("--partners: there is no driver for \"%s\"%s", name, hint);
}

static int choose_partners(struct settings *s)
{
	char *save = NULL, *name;
	int rc = 0;

	if (!s->partners || !*s->partners)
		return serve_all(s);
	s->list = mem_strdup(s->partners); /* lives as long as the process: names point into it */
	for (name = strtok_r(s->list, ", ", &save); name && rc == 0;
	     name = strtok_r(NULL, ", ", &save))
		rc = serve(s, name);
	return rc == 0 && s->n_names == 0 ? misused("--partners is empty%s%s", "", NULL) : rc;
}

static void fill_options(struct settings *s, struct config_option *o)
{
	const struct config_option own[OWN_OPTIONS] = {
		{ "partners", "LONGSHORE_PARTNERS", "A,B",
		  "partners to serve (default all that have a driver, and longshore)",
		  CONFIG_STRING, "", 0, 0, &s->partners },
		{ "concurrency", "LONGSHORE_CONCURRENCY", "N", "jobs in flight a process",
		  CONFIG_INT, "1000", 1, 16000, &s->concurrency },
		{ "processes", "LONGSHORE_PROCESSES", "N", "worker processes", CONFIG_INT, "1", 1,
		  256, &s->processes },
		{ "metrics", "LONGSHORE_METRICS", "HOST:PORT",
		  "where /metrics is served, for all processes", CONFIG_STRING, "", 0, 0,
		  &s->metrics },
		{ "egress", "LONGSHORE_EGRESS", "NAME",
		  "who shares this host's outgoing address (default the host's name)",
		  CONFIG_STRING, "", 0, 0, &s->egress },
		{ "public-url", "LONGSHORE_PUBLIC_URL", "URL",
		  "the scheduler's address as partners see it: where they are told to report",
		  CONFIG_STRING, "", 0, 0, &s->public_url_said },
		{ "soft-limit", "LONGSHORE_SOFT_LIMIT", "DURATION",
		  "running time after which a job saves its place and goes on as a new attempt",
		  CONFIG_DURATION_MS, "300s", 100, 86400000, &s->soft_limit_ms },
		{ "hard-limit", "LONGSHORE_HARD_LIMIT", "DURATION",
		  "running time after which a job is unwound", CONFIG_DURATION_MS, "360s", 100,
		  86400000, &s->hard_limit_ms },
		{ "grace", "LONGSHORE_GRACE", "DURATION",
		  "time that running jobs get to finish after TERM", CONFIG_DURATION_MS, "30s", 0,
		  3600000, &s->grace_ms },
		{ "job-memory", "LONGSHORE_JOB_MEMORY", "MIB",
		  "MiB that one job may hold: over it smaller pages, then a dead letter",
		  CONFIG_INT, "512", 1, 1 << 20, &s->job_memory_mib },
		{ "lane-bound", "LONGSHORE_LANE_BOUND", "N",
		  "jobs in a lane at which fan-outs pause", CONFIG_INT, "10000", 1, 100000000,
		  &s->lane_bound },
		{ "jobs", NULL, "N",
		  "end after N jobs of each partner, or when there are none; 0 for never",
		  CONFIG_INT, "0", 0, 1000000, &s->jobs },
	};
	memcpy(o, own, sizeof(own));
}

static int read_targets(struct settings *s)
{
	struct err err = { 0 };

	if (target_allow(s->common.private_targets, &err) < 0)
		return misused("--private-targets: %s%s", err.text, NULL);
	if (target_public_url(s->public_url_said, &s->public_url, &err) < 0)
		return misused("%s%s", err.text, NULL);
	return 0;
}

static int read_kinds(void)
{
	struct buf problem = BUF_INIT;
	int rc = lookup_kinds_read(&problem) < 0 ? misused("%s%s", buf_str(&problem), NULL) : 0;

	buf_clear(&problem);
	return rc;
}

static int load(struct settings *s, int argc, char **argv, bool strict)
{
	static struct config_option
		options[CONFIG_COMMON_COUNT + OWN_OPTIONS + 1]; /* much for a frame */
	enum log_level level;
	int rest, rc, n = CONFIG_COMMON_COUNT + OWN_OPTIONS;

	config_common_options(&s->common, options);
	fill_options(s, options + CONFIG_COMMON_COUNT);
	n += lookup_kinds_options(options + n);
	rc = config_load("longshore-worker", USAGE, options, n, argc, argv, &s->common.config_file,
			 &rest);
	if (rc != 0)
		return rc;
	if (rest < argc)
		return misused("unexpected word \"%s\": it takes only flags (--help)%s", argv[rest],
			       NULL);
	if (log_level_parse(s->common.log_level, &level) < 0)
		return misused("--log-level \"%s\": debug, info, warn or error%s",
			       s->common.log_level, NULL);
	if (s->hard_limit_ms <= s->soft_limit_ms)
		return misused("--hard-limit must be longer than --soft-limit%s%s", "", NULL);
	log_init("longshore-worker", level, !strcmp(s->common.log_format, "json"));
	rc = read_kinds();
	if (rc == 0)
		rc = load_drivers(s, strict);
	if (rc == 0)
		rc = read_targets(s);
	return rc != 0 ? rc : choose_partners(s);
}

int settings_load(struct settings *s, int argc, char **argv)
{
	return load(s, argc, argv, false);
}

int settings_check(int argc, char **argv)
{
	static struct settings fresh;
	struct keyring *keys = NULL;
	struct err err = { 0 };
	int rc = load(&fresh, argc, argv, true), key;

	if (rc != 0)
		return rc;
	key = keyring_load(fresh.common.secret_key_file, &keys, &err);
	return key == 0 || key == -ENOKEY ? 0 : misused("%s%s", err.text, NULL);
}
