#include "drivers/kit/cassette.h"

#include <dirent.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/clock.h"
#include "common/base/mem.h"
#include "drivers/kit/diff.h"
#include "drivers/kit/tape.h"

#define DAY_MS INT64_C(86400000)

/* ---- reading ---- */

static const char *const known_keys[] = { "//",          "cassette",      "partner",  "scenario",
					  "recorded_at", "recorded_from", "adapter",  "import",
					  "lookup",      "action",        "settings", "auth",
					  "exchanges" };

static bool key_is_known(const char *name)
{
	for (size_t i = 0; i < ARRAY_LEN(known_keys); i++)
		if (strcmp(known_keys[i], name) == 0)
			return true;
	return false;
}

static bool is_mail(const cJSON *mail)
{
	return cJSON_IsObject(mail) && json_str(mail, "from") && json_str(mail, "to");
}

/* Of a mail: who sends it to whom, and the dialogue. */
static int check_mail(const cJSON *x, int i, struct buf *problem)
{
	const cJSON *mail = json_path(x, "request.mail");
	const cJSON *response = cJSON_GetObjectItemCaseSensitive(x, "response");
	struct buf why = BUF_INIT;
	int rc = 0;

	if (!mail && !cJSON_HasObjectItem(response, "dialogue"))
		return 0;
	if (!is_mail(mail)) {
		buf_printf(problem, "exchanges[%d].request.mail: expected {\"from\", \"to\"}", i);
		rc = -EINVAL;
	} else if (tape_dialogue_check(response, &why) < 0) {
		buf_printf(problem, "exchanges[%d].response.%s", i, buf_str(&why));
		rc = -EINVAL;
	}
	buf_clear(&why);
	return rc;
}

static int check_exchanges(const cJSON *list, struct buf *problem)
{
	const cJSON *x;
	int i = 0;

	if (!cJSON_IsArray(list)) {
		buf_puts(problem, "exchanges: expected a list");
		return -EINVAL;
	}
	cJSON_ArrayForEach (x, list) {
		const char *part = !cJSON_IsObject(json_path(x, "request"))    ? "request"
				   : !cJSON_IsObject(json_path(x, "response")) ? "response"
									       : NULL;

		if (part) {
			buf_printf(problem, "exchanges[%d].%s: expected an object", i, part);
			return -EINVAL;
		}
		if (check_mail(x, i++, problem) < 0)
			return -EINVAL;
	}
	return 0;
}

static int check_tree(struct cassette *k, struct buf *problem)
{
	const char *at = json_str(k->tree, "recorded_at");
	int64_t format = 0, us;

	if (!cJSON_IsObject(k->tree) || !json_int(k->tree, "cassette", &format) || format != 1) {
		buf_puts(problem, "no cassette of format 1: \"cassette\": 1 is missing");
		return -EINVAL;
	}
	for (const cJSON *v = k->tree->child; v; v = v->next) {
		if (!key_is_known(v->string)) {
			buf_printf(problem, "%s: unknown key", v->string);
			return -EINVAL;
		}
	}
	if (!at || clock_parse_time(at, &us, NULL) < 0) {
		buf_puts(problem, "recorded_at: expected a time");
		return -EINVAL;
	}
	k->recorded_ms = us / 1000;
	k->auth = json_bool(k->tree, "auth", false);
	return check_exchanges(cJSON_GetObjectItemCaseSensitive(k->tree, "exchanges"), problem);
}

int cassette_read(const char *file, struct cassette *out, struct buf *problem)
{
	struct cassette k = { 0 };
	const char *slash = strrchr(file, '/'), *name = slash ? slash + 1 : file;
	size_t stem = strlen(name) > 5 ? strlen(name) - 5 : 0; /* without .json */
	int rc = json_read_file(file, &k.tree, problem);

	if (rc == 0)
		rc = check_tree(&k, problem);
	if (rc < 0) {
		cJSON_Delete(k.tree);
		return rc;
	}
	k.name = mem_strndup(name, stem);
	k.file = mem_strdup(file);
	k.rows_file = mem_printf("%.*s.rows.json", (int)(strlen(file) - 5), file);
	*out = k;
	return 0;
}

void cassette_clear(struct cassette *k)
{
	free(k->name);
	free(k->file);
	free(k->rows_file);
	cJSON_Delete(k->tree);
	*k = (struct cassette){ 0 };
}

/* ---- replay ---- */

static void add_problem(cJSON *problems, const char *path, const char *text)
{
	cJSON *p = cJSON_CreateObject();

	cJSON_AddStringToObject(p, "path", path);
	cJSON_AddStringToObject(p, "text", text);
	cJSON_AddItemToArray(problems, p);
}

/* Where an answer's token and its end are is all that can be looked at without a credential. */
static void check_auth(const struct manifest *m, const struct cassette *k, cJSON *problems)
{
	const char *token = m->auth.token_path ? m->auth.token_path : "access_token";
	const cJSON *x;
	int i = 0;

	cJSON_ArrayForEach (x, cJSON_GetObjectItemCaseSensitive(k->tree, "exchanges")) {
		const cJSON *json = json_path(x, "response.json");
		char *at = mem_printf("exchanges[%d].response", i++);
		int64_t status = 0;

		(void)json_int(x, "response.status", &status);
		if (status >= 200 && status < 300) {
			const char *text = json ? json_str(json, token) : NULL;

			if (!text || !*text)
				add_problem(problems, at, "no token where auth.token says");
			if (m->auth.expires != EXPIRES_FIXED && m->auth.expires_path &&
			    !(json && json_path(json, m->auth.expires_path)))
				add_problem(problems, at, "no end where auth.expires says");
		}
		free(at);
	}
}

static void replay_scenario(const struct driver *d, const struct cassette *k,
			    const struct scenario *s, cJSON **rows, cJSON *problems)
{
	const cJSON *settings = cJSON_GetObjectItemCaseSensitive(k->tree, "settings");
	const cJSON *exchanges = cJSON_GetObjectItemCaseSensitive(k->tree, "exchanges");
	struct integration i = { .id = 1,
				 .company = (char *)"replay",
				 .partner = (char *)d->manifest->partner,
				 .environment = (char *)"production",
				 .status = (char *)"active",
				 .settings = settings ? cJSON_Duplicate(settings, true)
						      : cJSON_CreateObject() };
	struct tape *tape = tape_replaying(exchanges, k->recorded_ms * 1000);
	const struct door_options o = { .epoch = "replay", .egress = "replay", .tape = tape };
	struct door *door = door_new(&o);
	struct caller c = { .door = door, .driver = d, .integration = &i };
	struct err err = { 0 };
	int rc = scenario_run(&c, s, rows, &err);

	if (rc < 0 && strcmp(err.rule, "replay") != 0) /* else the tape tells it */
		add_problem(problems, scenario_of(s), err.text);
	tape_problems(tape, problems);
	door_free(door);
	tape_free(tape);
	cJSON_Delete(i.settings);
}

/* The version of the driver that it was recorded with.  NULL: there is none of that name any more. */
static const struct driver *version_of(const struct driver *d, const struct cassette *k)
{
	const char *name = json_str(k->tree, "adapter");

	for (int i = 0; name && i < d->manifest->n_adapters && d->adapters; i++)
		if (strcmp(d->adapters[i].adapter, name) == 0)
			return &d->adapters[i];
	return !name || (d->adapter && strcmp(d->adapter, name) == 0) ? d : NULL;
}

void cassette_replay(const struct driver *d, const struct cassette *k, cJSON **rows,
		     cJSON *problems)
{
	struct scenario s;
	struct err err = { 0 };

	*rows = NULL;
	d = version_of(d, k);
	if (!d) {
		add_problem(problems, "adapter", "the manifest has no such version any more");
		return;
	}
	if (k->auth && d->manifest->auth.kind == AUTH_HOOK)
		return; /* what is in it only the hook knows */
	if (k->auth)
		check_auth(d->manifest, k, problems);
	else if (cassette_scenario(k, d->manifest, &s, &err) < 0)
		add_problem(problems, k->name, err.text);
	else
		replay_scenario(d, k, &s, rows, problems);
}

/* ---- a folder ---- */

static void compare_rows(const struct cassette *k, const cJSON *rows, cJSON *problems)
{
	struct buf problem = BUF_INIT;
	cJSON *expected = NULL;
	int rc = json_read_file(k->rows_file, &expected, &problem);

	if (rc == -ENOENT)
		add_problem(
			problems, k->rows_file,
			"is missing: `longshore driver record` writes it, or `longshore driver check --write-rows`");
	else if (rc < 0)
		add_problem(problems, k->rows_file, buf_str(&problem));
	else
		json_diff("", expected, rows, problems);
	cJSON_Delete(expected);
	buf_clear(&problem);
}

static void check_age(const struct cassette *k, int64_t now_ms, cJSON *warnings)
{
	int64_t days = (now_ms - k->recorded_ms) / DAY_MS;
	char *text;

	if (days <= CASSETTE_OLD_DAYS)
		return;
	text = mem_printf("recorded %lld days ago: the partner may have changed; record it again",
			  (long long)days);
	cJSON_AddItemToArray(warnings, cJSON_CreateString(text));
	free(text);
}

struct checking {
	const struct driver *d;
	int64_t now_ms;
	bool write_rows;
	cJSON *replays;
	int failed;
};

static void settle_rows(const struct checking *c, const struct cassette *k, const cJSON *rows,
			cJSON *problems)
{
	int rc = 0;

	if (c->write_rows)
		rc = json_write_file(k->rows_file, rows);
	else
		compare_rows(k, rows, problems);
	if (rc < 0)
		add_problem(problems, k->rows_file, strerror(-rc));
}

static void add_counts(cJSON *row, const struct cassette *k, const cJSON *rows)
{
	int n = cJSON_GetArraySize(cJSON_GetObjectItemCaseSensitive(rows, "rows"));
	const char *state = json_str(rows, "state");

	cJSON_AddNumberToObject(row, "rows", n);
	if (!state)
		return;
	if (cJSON_HasObjectItem(k->tree, "action"))
		cJSON_AddStringToObject(row, "outcome", state);
	else
		cJSON_AddNumberToObject(row, "answers", 1);
}

/* True: without a problem. */
static bool check_one(const struct checking *c, const char *file)
{
	struct buf problem = BUF_INIT;
	struct cassette k = { 0 };
	cJSON *row = cJSON_CreateObject(), *rows = NULL, *problems, *warnings;

	cJSON_AddStringToObject(row, "cassette", file);
	problems = cJSON_AddArrayToObject(row, "problems");
	warnings = cJSON_AddArrayToObject(row, "warnings");
	if (cassette_read(file, &k, &problem) < 0) {
		add_problem(problems, file, buf_str(&problem));
	} else {
		const cJSON *exchanges = cJSON_GetObjectItemCaseSensitive(k.tree, "exchanges");

		cJSON_AddStringToObject(row, "recorded_at", json_str(k.tree, "recorded_at"));
		cJSON_AddNumberToObject(row, "exchanges", cJSON_GetArraySize(exchanges));
		check_age(&k, c->now_ms, warnings);
		cassette_replay(c->d, &k, &rows, problems);
		add_counts(row, &k, rows);
		if (rows)
			settle_rows(c, &k, rows, problems);
	}
	cJSON_AddItemToArray(c->replays, row);
	cJSON_Delete(rows);
	cassette_clear(&k);
	buf_clear(&problem);
	return problems->child == NULL;
}

static bool ends_with(const char *s, const char *end)
{
	size_t n = strlen(s), m = strlen(end);

	return n > m && strcmp(s + n - m, end) == 0;
}

static int is_cassette(const struct dirent *e)
{
	return e->d_name[0] != '.' && ends_with(e->d_name, ".json") &&
	       !ends_with(e->d_name, ".rows.json");
}

static int by_name(const struct dirent **a, const struct dirent **b)
{
	return strcmp((*a)->d_name, (*b)->d_name);
}

int cassettes_each(const struct driver *d, int (*fn)(const char *file, void *arg), void *arg)
{
	char *dir = mem_printf("%s/%s", d->dir, manifest_fixtures(d->manifest));
	struct dirent **entries;
	int n = scandir(dir, &entries, is_cassette, by_name), rc = n < 0 ? -errno : 0;

	for (int i = 0; i < n; i++) {
		char *file = mem_printf("%s/%s", dir, entries[i]->d_name);

		if (rc == 0)
			rc = fn(file, arg);
		free(file);
		free(entries[i]);
	}
	if (n >= 0)
		free(entries);
	free(dir);
	return rc;
}

static int check_file(const char *file, void *arg)
{
	struct checking *k = arg;

	k->failed += !check_one(k, file);
	return 0;
}

int cassettes_check(const struct driver *d, int64_t now_ms, bool write_rows, cJSON *replays)
{
	struct checking k = {
		.d = d, .now_ms = now_ms, .write_rows = write_rows, .replays = replays
	};
	int rc = cassettes_each(d, check_file, &k);

	return rc < 0 ? rc : k.failed;
}
