/* driver check: a manifest is validated, its cassettes are replayed, and with --live the partner is asked. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "common/base/clock.h"
#include "common/base/mem.h"
#include "drivers/kit/cassette.h"
#include "drivers/kit/contract.h"
#include "scheduler/cli/cli.h"
#include "scheduler/cli/driver_door.h"

static const char *integration_id;
static bool live, write_rows;

int options_driver_check(struct config_option *out)
{
	out[0] = (struct config_option){ .name = "live",
					 .help = "ask the partner too: schema, auth, limit headers",
					 .type = CONFIG_BOOL,
					 .out = &live };
	out[1] = (struct config_option){ .name = "integration",
					 .value_name = "ID",
					 .help = "with --live: whose account is asked",
					 .out = &integration_id };
	out[2] = (struct config_option){
		.name = "write-rows",
		.help = "write the rows that the cassettes come to, to be read before they are kept",
		.type = CONFIG_BOOL,
		.out = &write_rows
	};
	return 3;
}

static bool is_dir(const char *path)
{
	struct stat st;

	return stat(path, &st) == 0 && S_ISDIR(st.st_mode);
}

/* A folder as it is, or a partner's name in one of --drivers. NULL: neither. The caller's. */
static char *find_manifest(const struct cli *c, const char *word)
{
	char *dirs, *dir, *rest, *path = NULL;

	if (strchr(word, '/') || strcmp(word, ".") == 0)
		return is_dir(word) ? mem_printf("%s/manifest.json", word) : mem_strdup(word);
	dirs = rest = mem_strdup(c->common.drivers);
	while (!path && (dir = strsep(&rest, ":"))) {
		struct stat st;

		path = mem_printf("%s/%s/manifest.json", dir, word);
		if (stat(path, &st) < 0) {
			free(path);
			path = NULL;
		}
	}
	free(dirs);
	return path;
}

/* ---- the report, for people ---- */

static void print_list(const cJSON *list)
{
	const cJSON *v;

	cJSON_ArrayForEach (v, list) {
		const char *path = json_str(v, "path"), *text = json_str(v, "text");

		printf("    %s: %s\n", path ? path : "?", text ? text : "?");
	}
}

static void print_texts(const char *word, const cJSON *list)
{
	const cJSON *v;

	cJSON_ArrayForEach (v, list)
		printf("    %s: %s\n", word, v->valuestring);
}

static void print_replay(const cJSON *r)
{
	const cJSON *problems = json_path(r, "problems");
	const char *at = json_str(r, "recorded_at"), *outcome = json_str(r, "outcome");
	int64_t calls = 0, rows = 0, answers = 0;

	(void)json_int(r, "exchanges", &calls);
	(void)json_int(r, "rows", &rows);
	(void)json_int(r, "answers", &answers);
	printf("  %-6s %s: %lld call%s, ", problems->child ? "FAILED" : "ok",
	       json_str(r, "cassette"), (long long)calls, calls == 1 ? "" : "s");
	if (outcome)
		printf("%s, recorded %.10s\n", outcome, at ? at : "-");
	else if (answers)
		printf("%lld answer, recorded %.10s\n", (long long)answers, at ? at : "-");
	else
		printf("%lld row%s, recorded %.10s\n", (long long)rows, rows == 1 ? "" : "s",
		       at ? at : "-");
	print_list(problems);
	print_texts("warning", json_path(r, "warnings"));
}

static void print_step(const cJSON *s)
{
	const cJSON *problems = json_path(s, "problems");

	printf("  %-6s live: %s\n", problems->child ? "FAILED" : "ok", json_str(s, "what"));
	print_list(problems);
	print_texts("note", json_path(s, "notes"));
}

static void print_report(const cJSON *o)
{
	const cJSON *v;

	printf("%s: good\n", json_str(o, "manifest"));
	cJSON_ArrayForEach (v, json_path(o, "replays"))
		print_replay(v);
	print_texts("warning", json_path(o, "warnings"));
	cJSON_ArrayForEach (v, json_path(o, "live"))
		print_step(v);
}

/* ---- one driver ---- */

static void warn(cJSON *o, const char *text)
{
	cJSON_AddItemToArray(cJSON_GetObjectItemCaseSensitive(o, "warnings"),
			     cJSON_CreateString(text));
}

/* How many failed. */
static int replay(const struct driver *d, cJSON *o)
{
	cJSON *replays = cJSON_AddArrayToObject(o, "replays");
	int failed = cassettes_check(d, clock_real_ms(), write_rows, replays);

	if (failed == -ENOENT || (failed == 0 && !replays->child)) {
		warn(o, "no cassettes: `longshore driver record` writes them");
		return 0;
	}
	if (failed < 0) {
		warn(o, strerror(-failed));
		return 1;
	}
	return failed;
}

/* 0, or an exit code. */
static int ask(struct cli *c, const struct driver *d, cJSON *o, int *failed)
{
	cJSON *steps = cJSON_AddArrayToObject(o, "live");
	struct driver_door door;
	struct err err = { 0 };
	int rc = driver_door_open(c, d, integration_id, &door);

	if (rc)
		return rc;
	rc = contract_check(&door.caller, door.tape, NULL, steps, &err);
	driver_door_close(&door);
	if (rc < 0)
		return cli_fail(c, rc == -ECONNRESET ? EXIT_UNREACHABLE : EXIT_FAILED, "%s: %s",
				err.where[0] ? err.where : d->manifest->partner, err.text);
	*failed += rc;
	return 0;
}

static cJSON *report_of(const struct driver *d)
{
	cJSON *o = cJSON_CreateObject();

	json_add_text(o, "partner", d->manifest->partner);
	json_add_text(o, "manifest", d->manifest->path);
	cJSON_AddTrueToObject(o, "ok");
	cJSON_AddArrayToObject(o, "problems");
	cJSON_AddArrayToObject(o, "warnings");
	return o;
}

/* An exit code.  *out is the report, the caller's. */
static int check_driver(struct cli *c, const struct driver *d, cJSON **out)
{
	cJSON *o = report_of(d);
	int failed = replay(d, o), rc = live ? ask(c, d, o, &failed) : 0;

	cJSON_ReplaceItemInObjectCaseSensitive(o, "ok", cJSON_CreateBool(failed == 0 && rc == 0));
	if (!c->json)
		print_report(o);
	*out = o;
	return rc ? rc : failed ? EXIT_FAILED : EXIT_OK;
}

/* ---- manifests that are none ---- */

static void add_lines(cJSON *list, struct buf *problems)
{
	for (char *rest = problems->data, *line; rest && (line = strsep(&rest, "\n"));)
		if (*line)
			cJSON_AddItemToArray(list, cJSON_CreateString(line));
}

static int report_broken(struct cli *c, const char *path, struct buf *problems)
{
	cJSON *o;

	if (!c->json) {
		fputs(buf_str(problems), stderr);
		return EXIT_FAILED;
	}
	o = cJSON_CreateObject();
	json_add_text(o, "manifest", path);
	cJSON_AddFalseToObject(o, "ok");
	add_lines(cJSON_AddArrayToObject(o, "problems"), problems);
	out_json(o);
	cJSON_Delete(o);
	return EXIT_FAILED;
}

static int check_one(struct cli *c, const char *word)
{
	char *path = find_manifest(c, word);
	struct driver *d = NULL;
	struct buf problems = BUF_INIT;
	cJSON *o = NULL;
	int rc;

	if (!path)
		return cli_fail(c, EXIT_NOT_FOUND,
				"no manifest of \"%s\" in %s; a folder is named with a slash: ./%s",
				word, c->common.drivers, word);
	rc = driver_read(path, &d, &problems);
	if (rc == -ENOENT)
		rc = cli_fail(c, EXIT_NOT_FOUND, "there is no %s", path);
	else if (rc < 0)
		rc = report_broken(c, path, &problems);
	else
		rc = check_driver(c, d, &o);
	if (o && c->json)
		out_json(o);
	cJSON_Delete(o);
	driver_free(d);
	buf_clear(&problems);
	free(path);
	return rc;
}

static int check_all(struct cli *c)
{
	cJSON *whole = cJSON_CreateObject(), *list;
	int rc = cli_drivers(c), bad = c->driver_problems.len > 0;

	json_add_text(whole, "manifest", c->common.drivers);
	cJSON_AddBoolToObject(whole, "ok", !bad);
	fputs(c->json ? "" : buf_str(&c->driver_problems), stderr);
	add_lines(cJSON_AddArrayToObject(whole, "problems"), &c->driver_problems);
	list = cJSON_AddArrayToObject(whole, "drivers");
	for (int i = 0; rc == 0 && i < driver_set_count(c->drivers); i++) {
		cJSON *o = NULL;

		bad += check_driver(c, driver_at(c->drivers, i), &o) != EXIT_OK;
		cJSON_AddItemToArray(list, o);
	}
	cJSON_ReplaceItemInObjectCaseSensitive(whole, "ok", cJSON_CreateBool(!bad));
	if (c->json && rc == 0)
		out_json(whole);
	cJSON_Delete(whole);
	return rc ? rc : bad ? EXIT_FAILED : EXIT_OK;
}

int cmd_driver_check(struct cli *c)
{
	if (integration_id && !live)
		return cli_misused(c, "--integration is for --live");
	if (live && !c->n_words)
		return cli_misused(c, "--live asks one partner: name it");
	if (live && !integration_id)
		return cli_misused(c, "--live needs --integration ID: whose account is asked");
	return c->n_words ? check_one(c, c->words[0]) : check_all(c);
}
