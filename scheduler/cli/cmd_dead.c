#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "scheduler/cli/letters.h"

#define LIST_LIMIT 100
#define BULK 1000 /* letters of one round of a replay by filter */

static const char *class, *partner, *integration, *since, *state;
static int64_t limit;

int options_dead_filter(struct config_option *out)
{
	out[0] = (struct config_option){ .name = "class",
					 .value_name = "CLASS",
					 .help = "client, auth, data, transient, bad_job, …",
					 .out = &class };
	out[1] = (struct config_option){
		.name = "partner", .value_name = "P", .help = "of one partner", .out = &partner
	};
	out[2] = (struct config_option){ .name = "integration",
					 .value_name = "ID",
					 .help = "of one integration",
					 .out = &integration };
	out[3] = (struct config_option){ .name = "since",
					 .value_name = "TIME",
					 .help = "that failed since then: a time, or 2h ago",
					 .out = &since };
	return 4;
}

int options_dead_list(struct config_option *out)
{
	int n = options_dead_filter(out);

	out[n++] = (struct config_option){ .name = "state",
					   .value_name = "S",
					   .help = "dead, replayed or discarded (default: dead; of"
						   " class purged or cancelled: discarded)",
					   .out = &state };
	out[n] = (struct config_option){ .name = "limit",
					 .value_name = "N",
					 .help = "at most so many, newest first",
					 .type = CONFIG_INT,
					 .fallback = "100",
					 .min = 1,
					 .max = 100000,
					 .out = &limit };
	return n + 1;
}

/* Jobs that a person took out: discarded at once, and of no class that an error has. */
static bool is_by_hand(const char *name)
{
	return name && (!strcmp(name, "purged") || !strcmp(name, "cancelled"));
}

static int read_state(struct cli *c, struct letter_filter *f)
{
	f->state = state ? state : is_by_hand(class) ? "discarded" : NULL;
	if (state && strcmp(state, "dead") && strcmp(state, "replayed") &&
	    strcmp(state, "discarded"))
		return cli_misused(c, "--state: dead, replayed or discarded, not \"%s\"", state);
	return 0;
}

static int read_filter(struct cli *c, struct letter_filter *f)
{
	int rc = 0;

	*f = (struct letter_filter){ .class = class, .partner = partner, .limit = LIST_LIMIT };
	if (class && !is_by_hand(class) && err_class_parse(class) == ERR_CLASS_COUNT)
		return cli_misused(c, "--class: there is no class \"%s\"", class);
	if (integration)
		rc = parse_id(c, "--integration", integration, &f->integration);
	if (rc == 0 && since)
		rc = parse_since(c, "--since", since, &f->since_ms);
	if (rc == 0)
		rc = cli_drivers(c);
	if (rc == 0)
		rc = cli_redis(c);
	return rc ? rc : cli_pg(c);
}

static void copy_member(cJSON *to, const cJSON *from, const char *key)
{
	const cJSON *v = from ? cJSON_GetObjectItemCaseSensitive(from, key) : NULL;

	cJSON_AddItemToObject(to, key, v ? cJSON_Duplicate(v, true) : cJSON_CreateNull());
}

static cJSON *summary(const struct letter *l)
{
	static const char *const keys[] = { "task",  "integration_id", "class",    "rule",
					    "where", "error",          "attempts", "worker" };
	cJSON *o = cJSON_CreateObject();

	json_add_text(o, "id", l->id);
	json_add_text(o, "partner", l->partner);
	for (size_t i = 0; i < sizeof(keys) / sizeof(*keys); i++)
		copy_member(o, l->tree, keys[i]);
	json_add_time(o, "failed_at", l->failed_at_ms);
	return o;
}

int cmd_dead_list(struct cli *c)
{
	static const struct out_column columns[] = {
		{ "ID", "id", false },       { "PARTNER", "partner", false },
		{ "TASK", "task", false },   { "INTEGRATION", "integration_id", true },
		{ "CLASS", "class", false }, { "FAILED", "failed_at", false },
		{ "ERROR", "error", false },
	};
	struct letters found = { 0 };
	struct letter_filter f;
	cJSON *list;
	int rc = read_filter(c, &f);

	if (rc)
		return rc;
	rc = read_state(c, &f);
	if (rc)
		return rc;
	f.limit = (int)limit;
	rc = letters_find(c, &f, &found);
	if (rc == 0) {
		list = cJSON_CreateArray();
		for (int i = 0; i < found.n; i++)
			cJSON_AddItemToArray(list, summary(&found.v[i]));
		rc = out_list(c, list, columns, 7, "no dead letters");
	}
	letters_clear(&found);
	return rc;
}

/* The one that words[0] names; state NULL: dead. */
static int find_one(struct cli *c, const char *in_state, struct letters *found)
{
	struct letter_filter f;
	int rc = read_filter(c, &f);

	if (rc)
		return rc;
	f.id = c->words[0];
	f.state = in_state;
	rc = letters_find(c, &f, found);
	if (rc == 0 && found->n == 0)
		rc = cli_fail(c, EXIT_NOT_FOUND, "no dead letter \"%s\"; see `longshore dead list`",
			      c->words[0]);
	return rc;
}

int cmd_dead_show(struct cli *c)
{
	struct letters found = { 0 };
	int rc = find_one(c, "any", &found);

	if (rc == 0 && found.v[0].tree) {
		cJSON *o = cJSON_Duplicate(found.v[0].tree, true);

		if (!cJSON_HasObjectItem(o, "partner"))
			json_add_text(o, "partner", found.v[0].partner);
		rc = out_object(c, o);
	} else if (rc == 0) {
		rc = out_value(c, "unreadable", cJSON_CreateString(found.v[0].text));
	}
	letters_clear(&found);
	return rc;
}

static int settle_one(struct cli *c, bool replay)
{
	struct letters found = { 0 };
	struct err err = { 0 };
	int rc = find_one(c, NULL, &found);

	if (rc == 0) {
		rc = letter_settle(c, &found.v[0], replay, &err);
		if (rc < 0)
			rc = cli_error(c, rc, &err, c->command->name);
		else
			rc = out_value(c, replay ? "replayed" : "discarded", cJSON_CreateNumber(1));
	}
	letters_clear(&found);
	return rc;
}

/* One round; *done counts.  Those that another command was faster with are passed over, and
 * those that Redis or Postgres refuse. */
static int settle_round(struct cli *c, const struct letter_filter *f, bool replay, int *found_n,
			int *done, int *refused)
{
	struct letters found = { 0 };
	struct err err = { 0 };
	int rc = letters_find(c, f, &found);

	*found_n = found.n;
	for (int i = 0; i < found.n && rc == 0; i++) {
		int one = letter_settle(c, &found.v[i], replay, &err);

		if (one == 0)
			(*done)++;
		else if (one == -ECONNRESET || one == -ETIMEDOUT || err.class == ERR_TRANSIENT)
			rc = cli_error(c, one, &err, c->command->name);
		else if (one != -ENOENT && (*refused)++ == 0)
			cli_fail(c, EXIT_FAILED, "%s: %s", found.v[i].id, err.text);
	}
	letters_clear(&found);
	return rc;
}

static int settle_many(struct cli *c, bool replay)
{
	struct letter_filter f;
	int found = 0, done = 0, refused = 0, before, rc = read_filter(c, &f);

	f.limit = BULK;
	do {
		before = done;
		if (rc == 0)
			rc = settle_round(c, &f, replay, &found, &done, &refused);
	} while (rc == 0 && found == BULK && done > before);
	if (rc)
		return rc;
	out_value(c, replay ? "replayed" : "discarded", cJSON_CreateNumber(done));
	if (refused)
		return cli_fail(c, EXIT_FAILED, "%d dead letters could not be %s", refused,
				replay ? "replayed" : "discarded");
	return EXIT_OK;
}

static int settle(struct cli *c, bool replay)
{
	bool filtered = class || partner || integration || since;

	if (c->n_words && filtered)
		return cli_misused(c, "give either an id or filters, not both");
	if (!c->n_words && !filtered)
		return cli_misused(
			c, "which dead letters? give an id, or at least one of --class --partner"
			   " --integration --since");
	return c->n_words ? settle_one(c, replay) : settle_many(c, replay);
}

int cmd_dead_replay(struct cli *c)
{
	return settle(c, true);
}

int cmd_dead_discard(struct cli *c)
{
	return settle(c, false);
}
