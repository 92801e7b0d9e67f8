/* Actions replayed from a folder alone: what comes of each answer, and what a replay finds. */
#include "tests/unit/manifests.h"

#include <sys/stat.h>
#include <unistd.h>

#include "common/io/co.h"
#include "common/io/loop.h"
#include "drivers/kit/cassette.h"

#define FIND \
	",\"find_first\":{\"get\":\"/orders\",\"query\":{\"at\":\"{now}\"},\"records\":\"@\",\"id\":\"id\",\"after\":\"5m\"}"
#define KEYS ",\"idempotency\":{\"header\":\"K\",\"keeps\":\"24h\",\"replayed\":\"Again\"}"
#define ORDER(name, more)                                                                                  \
	"\"" name "\":{\"params\":{\"n\":{\"as\":\"int\"}},\"external_id\":\"order\",\"steps\":["          \
	"{\"name\":\"make\",\"post\":\"/orders\",\"json\":{\"n\":\"{in.n}\"},\"keep\":{\"order\":\"id\"}," \
	"\"undo\":{\"delete\":\"/orders/{kept.order}\"}" more "},"                                         \
	"{\"name\":\"tell\",\"put\":\"/orders/{kept.order}\",\"json\":{\"told\":true},\"repeatable\":true}]}"

static const char manifest_text[] =
	"{\"partner\":\"p\",\"manifest\":1,\"api\":{\"base\":{\"production\":\"https://h/v1\"}},\"auth\":{\"kind\":\"bearer\"},"
	"\"errors\":[{\"status\":200,\"json\":\"ok\",\"in\":[false],\"class\":\"client\"}],"
	"\"actions\":{" ORDER("plain", "") "," ORDER("found", FIND) "," ORDER(
		"keyed", KEYS) "," ORDER("both", KEYS FIND) "}}";

#define REQUEST(method, endpoint, url, query, more)                        \
	"{\"request\":{\"method\":\"" method "\",\"endpoint\":\"" endpoint \
	"\",\"url\":\"{base}" url "\",\"query\":{" query "},\"headers\":{" more ",\"response\":"
#define SENT(json) "\"Content-Type\":\"application/json\"},\"json\":" json "}"
#define MAKE(response) REQUEST("POST", "/orders", "/orders", "", SENT("{\"n\":7}")) response "}"
#define TELL(response)                                                                     \
	REQUEST("PUT", "/orders/{kept.order}", "/orders/o-1", "", SENT("{\"told\":true}")) \
	response "}"
#define LOOK(response) \
	REQUEST("GET", "/orders", "/orders", "\"at\":\"2026-01-02T00:00:00Z\"", "}}") response "}"
#define UNDO(response) \
	REQUEST("DELETE", "/orders/{kept.order}", "/orders/o-1", "", "}}") response "}"
#define MADE MAKE("{\"status\":201,\"json\":{\"id\":\"o-1\"}}")
#define LOST MAKE("{\"failure\":\"timeout\"}")
#define STORED MAKE("{\"status\":500,\"headers\":{\"again\":\"true\"},\"json\":{}}")
#define TOLD TELL("{\"status\":200,\"json\":{}}")
#define NONE LOOK("{\"status\":200,\"json\":[]}")
#define ONE LOOK("{\"status\":200,\"json\":[{\"id\":\"o-1\"}]}")

static struct driver driver;
static char dir[64];

struct replayed {
	const char *action, *exchanges; /* what stands in the cassette */
	char said[2000];                /* the outcome; else the problems */
};

static void replay(struct replayed *r)
{
	char *text = mem_printf(
		"{\"cassette\":1,\"partner\":\"p\",\"recorded_at\":\"2026-01-02T00:00:00Z\","
		"\"action\":{%s},\"exchanges\":[%s]}",
		r->action, r->exchanges);
	struct cassette k = { .name = (char *)"x", .recorded_ms = INT64_C(1767312000000) };
	cJSON *rows = NULL, *problems = cJSON_CreateArray(), *p;
	struct buf said = BUF_INIT;

	if (json_parse(text, strlen(text), 1 << 20, &k.tree, NULL) == 0)
		cassette_replay(&driver, &k, &rows, problems);
	else
		buf_printf(&said, "no JSON: %s", text);
	if (rows && !problems->child)
		json_print(rows, &said);
	cJSON_ArrayForEach (p, problems)
		buf_printf(&said, "%s: %s\n", json_str(p, "path"), json_str(p, "text"));
	snprintf(r->said, sizeof(r->said), "%s", buf_str(&said));
	buf_clear(&said);
	cJSON_Delete(rows);
	cJSON_Delete(problems);
	cJSON_Delete(k.tree);
	free(text);
}

static void replay_body(void *arg)
{
	replay(arg);
	loop_stop();
}

static const char *outcome(const char *action, const char *exchanges)
{
	static struct replayed r;

	r = (struct replayed){ .action = action, .exchanges = exchanges };
	assert_non_null(co_spawn("test", replay_body, &r));
	assert_int_equal(loop_run(), 0);
	return r.said;
}

#define ACTION(name, more) "\"name\":\"" name "\",\"params\":{\"n\":7}" more
#define TWICE ",\"attempts\":2"
#define DONE "{\"state\":\"done\",\"kept\":{\"order\":\"o-1\"},\"external_id\":\"o-1\"}"
#define NOT_DONE(state, step, class)                            \
	"{\"state\":\"" state "\",\"kept\":{},\"step\":\"" step \
	"\",\"error\":{\"class\":\"" class "\""

static void is(const char *said, const char *wanted)
{
	if (strncmp(said, wanted, strlen(wanted)) != 0)
		fail_msg("it is not\n%s\nbut\n%s", wanted, said);
}

static void outcomes(void **state)
{
	is(outcome(ACTION("plain", ""), MADE "," TOLD), DONE);
	is(outcome(ACTION("plain", ""), MAKE("{\"status\":422,\"json\":{}}")),
	   NOT_DONE("failed", "make", "client"));
	is(outcome(ACTION("plain", ""), MAKE("{\"status\":200,\"json\":{\"ok\":false}}")),
	   NOT_DONE("failed", "make", "client"));
	/* done, and what must be kept of it is not there */
	is(outcome(ACTION("plain", ""), MAKE("{\"status\":200,\"json\":{}}")),
	   NOT_DONE("unknown", "make", "data"));
	/* the same where an attempt is over: who has more of them goes on */
	is(outcome(ACTION("plain", ""), MAKE("{\"status\":429}")),
	   NOT_DONE("running", "make", "rate_limit"));
	is(outcome(ACTION("plain", TWICE), MAKE("{\"status\":429}") "," MADE "," TOLD), DONE);
	is(outcome(ACTION("plain", TWICE), MAKE("{\"failure\":\"refused\"}") "," MADE "," TOLD),
	   DONE);
	/* a step that may be repeated is, and not those before it */
	is(outcome(ACTION("plain", TWICE), MADE "," TELL("{\"status\":503}") "," TOLD), DONE);
	/* args that do not fit */
	is(outcome("\"name\":\"plain\",\"params\":{\"n\":\"many\"}", ""),
	   "{\"state\":\"failed\",\"kept\":{},\"error\":{\"class\":\"bad_job\"");
}

static void doubts(void **state)
{
	is(outcome(ACTION("plain", TWICE), LOST), NOT_DONE("unknown", "make", "transient"));
	is(outcome(ACTION("plain", TWICE), MAKE("{\"status\":500}")),
	   NOT_DONE("unknown", "make", "transient"));
	is(outcome(ACTION("found", ""), LOST), NOT_DONE("running", "make", "transient"));
	is(outcome(ACTION("found", TWICE), LOST "," ONE "," TOLD), DONE);
	is(outcome(ACTION("found", TWICE), LOST "," NONE "," MADE "," TOLD), DONE);
	is(outcome(ACTION("found", TWICE),
		   LOST "," LOOK("{\"status\":200,\"json\":[{\"id\":1},{\"id\":2}]}")),
	   NOT_DONE("unknown", "make", "data"));
	is(outcome(ACTION("keyed", TWICE), LOST "," MADE "," TOLD), DONE);
	/* a stored 500 says nothing, and is all that this key will ever say */
	is(outcome(ACTION("keyed", TWICE), STORED), NOT_DONE("unknown", "make", "transient"));
	is(outcome(ACTION("both", TWICE), STORED "," NONE),
	   NOT_DONE("unknown", "make", "transient"));
	is(outcome(ACTION("both", TWICE), STORED "," ONE "," TOLD), DONE);
}

#define UNDONE "{\"state\":\"undone\",\"kept\":{\"order\":\"o-1\"},\"external_id\":\"o-1\"}"

static void undone(void **state)
{
	is(outcome(ACTION("plain", ",\"undo\":true"), MADE "," TOLD "," UNDO("{\"status\":204}")),
	   UNDONE);
	is(outcome(ACTION("plain", ",\"undo\":true"), MADE "," TOLD "," UNDO("{\"status\":404}")),
	   UNDONE);
	is(outcome(ACTION("plain", ",\"undo\":true"), MADE "," TOLD "," UNDO("{\"status\":409}")),
	   "{\"state\":\"failed\",\"kept\":{\"order\":\"o-1\"},\"external_id\":\"o-1\",\"step\":\"make\"");
}

static void has(const char *said, const char *wanted)
{
	if (!strstr(said, wanted))
		fail_msg("no \"%s\" in\n%s", wanted, said);
}

static void not_as_recorded(void **state)
{
	has(outcome(ACTION("plain", ""), MADE), "was asked for and is not recorded");
	has(outcome(ACTION("plain", ""), MADE "," TOLD "," TOLD),
	    "exchanges[2] PUT {base}/orders/o-1: is recorded and was not asked for");
	has(outcome("\"name\":\"plain\",\"params\":{\"n\":8}", MADE), "json.n: 7 became 8");
	/* it is unknown, and must not be sent again */
	has(outcome(ACTION("plain", TWICE), LOST "," MADE),
	    "exchanges[1] POST {base}/orders: is recorded and was not asked for");
	has(outcome(ACTION("plane", ""), ""), "no action \"plane\"");
	has(outcome(ACTION("plain", ",\"attempts\":0"), ""), "action.attempts");
	has(outcome("\"name\":\"plain\",\"params\":7", ""), "action.params");
}

/* ---- a folder ---- */

static void write_file(const char *name, const char *text)
{
	char *path = mem_printf("%s/cassettes/%s", dir, name);
	FILE *f = fopen(path, "w");

	assert_true(f && fputs(text, f) >= 0 && fclose(f) == 0);
	free(path);
}

struct checked {
	bool write_rows;
	int failed;
	cJSON *replays;
};

static void check_body(void *arg)
{
	struct checked *c = arg;

	c->failed = cassettes_check(&driver, INT64_C(1767312000000), c->write_rows, c->replays);
	loop_stop();
}

/* What it says of the one cassette that is there, under this path. */
static void check(bool write_rows, int failed, const char *at, const char *wanted)
{
	struct checked c = { .write_rows = write_rows, .replays = cJSON_CreateArray() };
	const char *said;

	assert_non_null(co_spawn("test", check_body, &c));
	assert_int_equal(loop_run(), 0);
	assert_int_equal(c.failed, failed);
	said = json_str(c.replays, at);
	assert_string_equal(said ? said : "", wanted);
	cJSON_Delete(c.replays);
}

/* Whatever stands in the file that must come of it is compared. */
static void expectations(void **state)
{
	write_file("a.json",
		   "{\"cassette\":1,\"partner\":\"p\",\"recorded_at\":\"2026-01-02T00:00:00Z\","
		   "\"action\":{" ACTION("plain", "") "},\"exchanges\":[" MADE "," TOLD "]}");
	write_file("a.rows.json", DONE);
	check(false, 0, "[0].outcome", "done");
	write_file("a.rows.json",
		   "{\"state\":\"unknown\",\"kept\":{\"order\":\"o-1\"},\"external_id\":\"o-1\"}");
	check(false, 1, "[0].problems[0].path", "state");
	write_file("a.rows.json",
		   "{\"state\":\"done\",\"kept\":{\"order\":\"o-2\"},\"external_id\":\"o-1\"}");
	check(false, 1, "[0].problems[0].text", "\"o-2\" became \"o-1\"");
	write_file("a.rows.json", "{\"state\":\"done\",\"kept\":{\"order\":\"o-1\"}}");
	check(false, 1, "[0].problems[0].path", "external_id");
	check(true, 0, "[0].outcome", "done");
	check(false, 0, "[0].outcome", "done");
}

static int setup(void **state)
{
	struct buf problems = BUF_INIT;
	char path[80];

	driver.manifest = parse(manifest_text, &problems);
	if (!driver.manifest)
		fail_msg("%s", buf_str(&problems));
	snprintf(dir, sizeof(dir), "/tmp/longshore-test-XXXXXX");
	assert_non_null(mkdtemp(dir));
	snprintf(path, sizeof(path), "%s/cassettes", dir);
	assert_int_equal(mkdir(path, 0755), 0);
	driver.dir = dir;
	return loop_init();
}

static int teardown(void **state)
{
	static const char *const files[] = { "cassettes/a.json", "cassettes/a.rows.json",
					     "cassettes", "" };

	for (size_t i = 0; i < ARRAY_LEN(files); i++) {
		char *path = mem_printf("%s/%s", dir, files[i]);

		(void)remove(path);
		free(path);
	}
	manifest_free((struct manifest *)driver.manifest);
	loop_close();
	return 0;
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(outcomes),     cmocka_unit_test(doubts),
		cmocka_unit_test(undone),       cmocka_unit_test(not_as_recorded),
		cmocka_unit_test(expectations),
	};

	return cmocka_run_group_tests(tests, setup, teardown);
}
