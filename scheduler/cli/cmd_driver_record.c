/* driver record: the calls of an import, or of an action, written down for the driver's own tests. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "common/base/clock.h"
#include "common/base/mem.h"
#include "drivers/kit/cassette.h"
#include "scheduler/cli/cli.h"
#include "scheduler/cli/driver_door.h"

#define PARENTS 2
#define PARAMS_MAX_BYTES 65536

static const char *integration_id, *collection, *lookup_name, *action_name, *params_text, *out_dir;
static int64_t pages, size;

int options_driver_record(struct config_option *out)
{
	out[0] = (struct config_option){ .name = "integration",
					 .value_name = "ID",
					 .help = "whose account is asked",
					 .out = &integration_id };
	out[1] = (struct config_option){
		.name = "collection", .value_name = "C", .help = "only this one", .out = &collection
	};
	out[2] = (struct config_option){ .name = "out",
					 .value_name = "DIR",
					 .help = "where to; the driver's folder cassettes/",
					 .out = &out_dir };
	out[3] = (struct config_option){ .name = "pages",
					 .value_name = "N",
					 .help = "of each list",
					 .type = CONFIG_INT,
					 .fallback = "2",
					 .min = 1,
					 .max = 1000,
					 .out = &pages };
	out[4] = (struct config_option){ .name = "size",
					 .value_name = "N",
					 .help = "items a page, where the partner can be told",
					 .type = CONFIG_INT,
					 .fallback = "10",
					 .min = 1,
					 .max = 100000,
					 .out = &size };
	out[5] = (struct config_option){
		.name = "lookup", .value_name = "NAME", .help = "only this one", .out = &lookup_name
	};
	out[6] = (struct config_option){
		.name = "params",
		.value_name = "JSON",
		.help = "what the lookup is asked; its example; of an action",
		.out = &params_text
	};
	out[7] = (struct config_option){ .name = "action",
					 .value_name = "NAME",
					 .help = "this one is done, for real, and nothing else",
					 .out = &action_name };
	return 8;
}

struct recording {
	struct cli *c;
	const struct driver *d;
	struct driver_door door;
	cJSON *params; /* NULL: none were given */
	const char *dir;
	int64_t at_ms;
	cJSON *written; /* files */
	int code;
};

static int failed(struct recording *r, const char *file, int rc)
{
	r->code = cli_fail(r->c, EXIT_FAILED, "%s: %s", file, strerror(-rc));
	return -ECANCELED;
}

/* What must come of it is what a replay comes to: what the live answers came to may have had in it what was taken out. */
static int write_rows(struct recording *r, const char *file)
{
	struct buf problem = BUF_INIT;
	struct cassette k = { 0 };
	cJSON *rows = NULL, *problems = cJSON_CreateArray();
	int rc = cassette_read(file, &k, &problem);

	if (rc == 0)
		cassette_replay(r->d, &k, &rows, problems);
	if (rc < 0 || problems->child) {
		const char *text =
			problems->child ? json_str(problems->child, "text") : buf_str(&problem);

		r->code = cli_fail(r->c, EXIT_FAILED, "%s was written and cannot be replayed: %s",
				   file, text);
		rc = -ECANCELED;
	} else if (rows) {
		rc = json_write_file(k.rows_file, rows);
		rc = rc < 0 ? failed(r, k.rows_file, rc) : 0;
	}
	cJSON_Delete(problems);
	cJSON_Delete(rows);
	cassette_clear(&k);
	buf_clear(&problem);
	return rc;
}

/* Takes exchanges. */
static int write_cassette(struct recording *r, const char *name, const struct scenario *s,
			  cJSON *exchanges)
{
	cJSON *tree = cassette_make(&r->door.caller, name, s, exchanges, r->at_ms);
	char *file;
	int rc;

	if (!tree) {
		r->code = cli_fail(
			r->c, EXIT_FAILED,
			"%s: what is personal cannot be taken out of an answer (it is no UTF-8,"
			" or writes its texts in a way that is not known): nothing was written",
			name);
		return -ECANCELED;
	}
	file = mem_printf("%s/%s.json", r->dir, name);
	rc = json_write_file(file, tree);
	rc = rc < 0 ? failed(r, file, rc) : write_rows(r, file);
	if (rc == 0) {
		cJSON *row = cJSON_CreateObject();

		json_add_text(row, "cassette", file);
		json_add_int(row, "calls", cJSON_GetArraySize(exchanges));
		cJSON_AddItemToArray(r->written, row);
	}
	cJSON_Delete(tree);
	free(file);
	return rc;
}

static int on_scenario(const char *name, const struct scenario *s, cJSON *rows, cJSON *exchanges,
		       void *arg)
{
	struct recording *r = arg;
	const cJSON *error = cJSON_GetObjectItemCaseSensitive(rows, "error");
	int rc = 0;

	/* of an action that too is an outcome: a card that is declined */
	if (error && !s->action) {
		r->code = cli_fail(r->c, EXIT_FAILED, "%s: %s", name, json_str(error, "text"));
		rc = -ECANCELED;
	}
	cJSON_Delete(rows);
	if (rc < 0)
		cJSON_Delete(exchanges);
	return rc < 0 ? rc : write_cassette(r, name, s, exchanges);
}

static int make_dir(struct recording *r)
{
	if (mkdir(r->dir, 0755) == 0 || errno == EEXIST)
		return 0;
	return cli_fail(r->c, EXIT_FAILED, "%s: %s", r->dir, strerror(errno));
}

/* Calls for tokens were made only where no worker had a token that is still good. */
static int write_auth(struct recording *r)
{
	cJSON *calls = tape_take(r->door.tape, true);

	if (calls->child)
		return write_cassette(r, "auth", NULL, calls);
	cJSON_Delete(calls);
	return 0;
}

static int record(struct recording *r)
{
	const struct rehearsal walk = { .c = &r->door.caller,
					.tape = r->door.tape,
					.only = collection,
					.lookup = lookup_name,
					.action = action_name,
					.params = r->params,
					.pages = (int)pages,
					.size = (int)size,
					.parents = PARENTS,
					.more = true,
					.done = on_scenario,
					.arg = r };
	struct err err = { 0 };
	int rc;

	r->at_ms = tape_now_us(r->door.tape) / 1000;
	rc = rehearse(&walk, &err);
	if (rc == 0)
		rc = write_auth(r);
	if (rc < 0 && !r->code)
		r->code =
			cli_fail(r->c, rc == -ECONNRESET ? EXIT_UNREACHABLE : EXIT_FAILED, "%s: %s",
				 err.where[0] ? err.where : r->d->manifest->partner, err.text);
	return r->code;
}

static int check_collection(struct cli *c, const struct driver *d)
{
	const struct manifest_collection *found =
		collection ? manifest_collection(d->manifest, collection) : NULL;

	/* one of a later version alone */
	for (int i = 0; collection && !found && i < d->manifest->n_adapters; i++)
		found = manifest_collection(d->manifest->adapters[i].manifest, collection);
	if (!collection || (found && !found->embedded))
		return 0;
	return cli_misused(c,
			   found ? "--collection: %s comes embedded in %s, by no call of its own"
				 : "--collection: there is no %s in the manifest of %s",
			   collection, found ? found->each : d->manifest->partner);
}

static int read_params(struct recording *r)
{
	if (params_text &&
	    (json_parse(params_text, strlen(params_text), PARAMS_MAX_BYTES, &r->params, NULL) < 0 ||
	     !cJSON_IsObject(r->params)))
		return cli_misused(r->c, "--params: expected a JSON object");
	return 0;
}

static int check_action(struct recording *r)
{
	const struct manifest *m = r->d->manifest;

	if (collection || lookup_name)
		return cli_misused(r->c, "--action excludes --collection and --lookup");
	if (!manifest_action(m, action_name))
		return cli_misused(r->c, "--action: there is no %s in the manifest of %s",
				   action_name, m->partner);
	return 0;
}

/* It is no request, and Postgres will know nothing of it. */
static int check_environment(struct recording *r)
{
	const struct integration *i = &r->door.integration;

	if (!action_name || strcmp(i->environment, "production") != 0)
		return 0;
	return cli_misused(
		r->c,
		"--action: integration %lld is of production, and the action would be done for real, with no request that"
		" tells of it; take one with --environment sandbox (and --base-url, where %s has no sandbox)",
		(long long)i->id, i->partner);
}

/* Of several lookups somebody must say which one the params are for. */
static int check_lookup(struct recording *r)
{
	const struct manifest *m = r->d->manifest;
	const struct manifest_lookup *l = NULL;

	if (params_text && !lookup_name && m->n_lookups == 1)
		lookup_name = m->lookups[0].name;
	if (params_text && !lookup_name)
		return cli_misused(r->c, "--params is for one lookup: --lookup NAME says which");
	if (!lookup_name)
		return 0;
	if (collection)
		return cli_misused(r->c, "--collection and --lookup exclude each other");
	l = manifest_lookup(m, lookup_name);
	if (!l)
		return cli_misused(r->c, "--lookup: there is no %s in the manifest of %s",
				   lookup_name, m->partner);
	if (!params_text && !l->example)
		return cli_misused(r->c,
				   "%s has no \"example\" in the manifest: --params '{…}' asks it",
				   lookup_name);
	return 0;
}

int cmd_driver_record(struct cli *c)
{
	static const struct out_column columns[] = { { "CASSETTE", "cassette", false },
						     { "CALLS", "calls", true } };
	static const char no_example[] =
		"nothing was recorded: a lookup without an \"example\" is asked with --lookup NAME --params '{…}'";
	struct recording r = { .c = c };
	char *dir;
	int rc = cli_driver(c, c->words[0], &r.d);

	if (rc == 0 && !r.d)
		rc = cli_misused(c, "%s is no partner", c->words[0]);
	if (rc == 0)
		rc = check_collection(c, r.d);
	if (rc == 0)
		rc = action_name ? check_action(&r) : check_lookup(&r);
	if (rc == 0)
		rc = read_params(&r);
	if (rc) {
		cJSON_Delete(r.params);
		return rc;
	}
	dir = out_dir ? mem_strdup(out_dir)
		      : mem_printf("%s/%s", r.d->dir, manifest_fixtures(r.d->manifest));
	r.dir = dir;
	rc = driver_door_open(c, r.d, integration_id, &r.door);
	if (rc == 0) {
		r.written = cJSON_CreateArray();
		rc = check_environment(&r);
		if (rc == 0)
			rc = make_dir(&r);
		if (rc == 0)
			rc = record(&r);
		if (rc == 0)
			rc = out_list(c, r.written, columns, 2,
				      r.d->manifest->n_lookups ? no_example
							       : "nothing was recorded");
		else
			cJSON_Delete(r.written);
		driver_door_close(&r.door);
	}
	cJSON_Delete(r.params);
	free(dir);
	return rc;
}
