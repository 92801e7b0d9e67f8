/* Exchanges written down and given back, how JSON differs, and what a cassette must not tell. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "common/base/mem.h"
#include "drivers/kit/cassette.h"
#include "drivers/kit/diff.h"
#include "drivers/kit/tape.h"

static cJSON *json(const char *text)
{
	cJSON *v = NULL;

	if (json_parse(text, strlen(text), 1 << 20, &v, NULL) < 0)
		fail_msg("not JSON: %s", text);
	return v;
}

/* ---- diff ---- */

static void differs(const char *expected, const char *found, const char *wanted)
{
	cJSON *a = json(expected), *b = json(found), *list = cJSON_CreateArray(), *p;
	struct buf said = BUF_INIT;

	json_diff("", a, b, list);
	cJSON_ArrayForEach (p, list)
		buf_printf(&said, "%s: %s\n", json_str(p, "path"), json_str(p, "text"));
	assert_string_equal(buf_str(&said), wanted);
	buf_clear(&said);
	cJSON_Delete(list);
	cJSON_Delete(a);
	cJSON_Delete(b);
}

static void differences(void **state)
{
	differs("{\"a\":1,\"b\":[1,2]}", "{\"b\":[1,2],\"a\":1}", "");
	differs("{\"a\":1}", "{\"a\":\"1\"}", "a: 1 became \"1\"\n");
	differs("{\"a\":{\"b\":1}}", "{\"a\":{}}", "a.b: 1 is missing\n");
	differs("{\"a\":[1]}", "{\"a\":[1,2]}", "a[1]: new: 2\n");
	differs("[]", "{}", "@: [] became {}\n");
	/* rows are told by their id, wherever they stand */
	differs("[{\"external_id\":\"x\",\"n\":1},{\"external_id\":\"y\",\"n\":2}]",
		"[{\"external_id\":\"y\",\"n\":2},{\"external_id\":\"x\",\"n\":3}]",
		"[x].n: 1 became 3\n");
	/* ids of two collections may be the same */
	differs("[{\"external_id\":\"x\",\"collection\":\"a\"},{\"external_id\":\"x\",\"collection\":\"b\"}]",
		"[{\"external_id\":\"x\",\"collection\":\"b\"}]",
		"[x]: {\"external_id\":\"x\",\"collection\":\"a\"} is missing\n");
	/* what comes twice is told by its place */
	differs("[{\"external_id\":\"x\"},{\"external_id\":\"x\"}]", "[{\"external_id\":\"x\"}]",
		"[1]: {\"external_id\":\"x\"} is missing\n");
}

/* ---- replay ---- */

#define ASK(endpoint, page)                                                           \
	"{\"method\":\"GET\",\"endpoint\":\"" endpoint "\",\"url\":\"{base}" endpoint \
	"\",\"query\":{\"page\":\"" page "\"}}"
#define EXCHANGE(endpoint, page, response) \
	"{\"request\":" ASK(endpoint, page) ",\"response\":" response "}"

static int answer(struct tape *t, const char *request, struct http_response *out, struct err *err)
{
	cJSON *r = json(request);
	int rc = tape_answer(t, r, out, err);

	cJSON_Delete(r);
	return rc;
}

static void replay(void **state)
{
	cJSON *exchanges = json("[" EXCHANGE("/a", "1", "{\"status\":500}") "," EXCHANGE(
		"/a", "1",
		"{\"status\":200,\"headers\":{\"x-total\":\"7\"},\"json\":{\"n\":[1,2]}}") "," EXCHANGE("/a",
													"2",
													"{\"failure\":\"timeout\"}") "]");
	struct tape *t = tape_replaying(exchanges, 5000);
	cJSON *problems = cJSON_CreateArray();
	struct http_response r;
	struct err err = { 0 };

	http_response_init(&r);
	assert_true(tape_replays(t));
	assert_int_equal(tape_now_us(t), 5000);
	/* the same request twice: in the order in which it was recorded */
	assert_int_equal(answer(t, ASK("/a", "1"), &r, &err), 0);
	assert_int_equal(r.status, 500);
	assert_int_equal(answer(t, ASK("/a", "1"), &r, &err), 0);
	assert_int_equal(r.status, 200);
	assert_string_equal(buf_str(&r.body), "{\"n\":[1,2]}");
	assert_string_equal(http_response_header(&r, "x-total"), "7");
	assert_int_equal(answer(t, ASK("/a", "1"), &r, &err), -ENOENT);
	assert_non_null(strstr(err.text, "not recorded"));
	/* another page was recorded and not asked for: that one is the nearest */
	assert_int_equal(answer(t, ASK("/a", "3"), &r, &err), -ENOENT);
	assert_non_null(strstr(err.text, "query.page: \"2\" became \"3\""));
	assert_int_equal(answer(t, ASK("/b", "1"), &r, &err), -ENOENT);
	tape_problems(t, problems);
	assert_int_equal(cJSON_GetArraySize(problems), 4);
	assert_non_null(strstr(json_str(problems, "[3].path"), "exchanges[2] GET {base}/a"));
	assert_string_equal(json_str(problems, "[3].text"), "is recorded and was not asked for");
	assert_int_equal(answer(t, ASK("/a", "2"), &r, &err), 0);
	assert_int_equal(r.status, 0);
	assert_string_equal(r.failure, "timeout");
	http_response_clear(&r);
	cJSON_Delete(problems);
	tape_free(t);
	cJSON_Delete(exchanges);
	assert_false(tape_replays(NULL));
	tape_free(NULL);
}

static void round_trip(const char *body, size_t len, const char *under)
{
	struct http_response r, again;
	cJSON *v;

	http_response_init(&r);
	http_response_init(&again);
	r.status = 201;
	buf_append(&r.headers, "etag\0\"x\"\0date\0today\0set-cookie\0s=1\0", 34);
	buf_append(&r.body, body, len);
	v = tape_response_print(&r);
	assert_non_null(cJSON_GetObjectItemCaseSensitive(v, under));
	assert_null(cJSON_GetObjectItemCaseSensitive(json_path(v, "headers"), "date"));
	assert_null(cJSON_GetObjectItemCaseSensitive(json_path(v, "headers"), "set-cookie"));
	tape_response_read(v, &again);
	assert_int_equal(again.status, 201);
	assert_string_equal(http_response_header(&again, "etag"), "\"x\"");
	assert_int_equal(again.body.len, len);
	assert_memory_equal(again.body.data, body, len);
	cJSON_Delete(v);
	http_response_clear(&r);
	http_response_clear(&again);
}

#define ROUND_TRIP(text, under) round_trip(text, sizeof(text) - 1, under)

static void bodies(void **state)
{
	ROUND_TRIP("{\"id\":12345678901234567890,\"a\":null}", "json");
	ROUND_TRIP("<html>5 &lt; 6</html>", "text");
	ROUND_TRIP("{\"cut\": ", "text");
	ROUND_TRIP("\xff\xfe\0x", "base64");
}

/* ---- what is personal ---- */

static const char manifest_text[] =
	"{\"partner\": \"p\", \"manifest\": 1, \"api\": {\"base\": {\"production\": \"https://h\"}}, \"collections\": {"
	"\"homes\": {\"get\": \"/h\", \"records\": \"items\", \"id\": \"id\", \"table\": \"resources\", \"map\": {\"name\": \"name\"},"
	" \"personal\": [\"owner\", \"notes[*].text\", \"born\"]},"
	"\"pics\": {\"each\": \"homes\", \"embedded\": \"pics\", \"id\": \"id\", \"table\": \"media\", \"map\": {\"url\": \"u\"}, \"personal\": [\"by\"]}}}";

static void blanked(void **state)
{
	static const char wanted[] =
		"[{\"response\":{\"json\":{\"items\":[{\"id\":\"Ann\",\"owner\":{\"name\":\"Xxx Xxx\",\"mail\":\"x.x1@x.xx\",\"age\":0,"
		"\"gone\":null},\"notes\":[{\"text\":\"xx\",\"at\":1}],\"born\":\"1111-11-11\",\"pics\":[{\"by\":\"X\"}]}]}}},"
		"{\"response\":{\"json\":{\"id\":\"x\",\"owner\":\"X\"}}}]";
	cJSON *v = json(
		"[{\"response\":{\"json\":{\"items\":[{\"id\":\"Ann\",\"owner\":{\"name\":\"Ann Bé\xc3\xa9\",\"mail\":\"a.b7@c.de\",\"age\":47,"
		"\"gone\":null},\"notes\":[{\"text\":\"hi\",\"at\":1}],\"born\":\"1979-02-03\",\"pics\":[{\"by\":\"A\"}]}]}}},"
		"{\"response\":{\"json\":{\"id\":\"x\",\"owner\":\"Q\"}}}]");
	struct buf problems = BUF_INIT, text = BUF_INIT;
	struct manifest *m = NULL;
	struct driver d = { .dir = "p" };

	if (manifest_parse("manifest.json", manifest_text, strlen(manifest_text), &m, &problems) <
	    0)
		fail_msg("%s", problems.data);
	d.manifest = m;
	assert_true(cassette_mask(&d, manifest_collection(m, "homes"), v));
	json_print(v, &text);
	assert_string_equal(buf_str(&text), wanted);
	buf_clear(&text);
	cJSON_Delete(v);
	manifest_free(m);
}

/* A body that is no JSON: `owner` of `rows` is personal. */
static bool masked(const char *format, const char *records, const char *under, const char *body,
		   struct buf *out)
{
	char *text = mem_printf(
		"{\"partner\":\"p\",\"manifest\":1,\"api\":{\"base\":{\"production\":\"https://h\"},\"format\":\"%s\"},\"collections\":{"
		"\"rows\":{\"get\":\"/r\",%s\"id\":\"id\",\"id_prefix\":\"r-\",\"table\":\"resources\",\"map\":{\"name\":\"name\"},\"personal\":[\"owner\"]},"
		"\"open\":{\"get\":\"/o\",%s\"id\":\"id\",\"table\":\"resources\",\"id_prefix\":\"o-\",\"map\":{\"name\":\"name\"}}}}",
		format, records, records);
	cJSON *list = cJSON_CreateArray(), *x = cJSON_CreateObject();
	struct buf problems = BUF_INIT;
	struct manifest *m = NULL;
	struct driver d = { .dir = "p" };
	bool ok;

	cJSON_AddStringToObject(cJSON_AddObjectToObject(x, "response"), under, body);
	cJSON_AddItemToArray(list, x);
	if (manifest_parse("manifest.json", text, strlen(text), &m, &problems) < 0)
		fail_msg("%s", problems.data);
	d.manifest = m;
	assert_true(cassette_mask(&d, manifest_collection(m, "open"), list));
	assert_string_equal(json_str(list, "[0].response.text|[0].response.base64"), body);
	ok = cassette_mask(&d, manifest_collection(m, "rows"), list);
	buf_reset(out);
	buf_puts(out, json_str(list, "[0].response.text|[0].response.base64"));
	cJSON_Delete(list);
	manifest_free(m);
	free(text);
	return ok;
}

static void blanked_in_text(void **state)
{
	struct buf out = BUF_INIT;

	/* one name begins another, quotes are doubled, a short one stays */
	assert_true(
		masked("csv", "", "text",
		       "id,name,owner\n1,a,Ann\n2,b,Annette\n3,c,\"Ann \"\"Q\"\" Lee\"\n4,d,Al\n",
		       &out));
	assert_string_equal(
		buf_str(&out),
		"id,name,owner\n1,a,Xxx\n2,b,Xxxxxxx\n3,c,\"Xxx \"\"X\"\" Xxx\"\n4,d,Al\n");
	assert_true(masked(
		"xml", "\"records\":\"all.row\",", "text",
		"<all><row><id>1</id><name>a</name><owner>Smith &amp; Sons</owner></row></all>",
		&out));
	assert_string_equal(
		buf_str(&out),
		"<all><row><id>1</id><name>a</name><owner>Xxxxx &amp; Xxxx</owner></row></all>");
	/* a time stays one, and is blanked */
	assert_true(masked("csv", "", "text",
			   "id,name,owner\n1,a,\"Mon, 05 Feb 1979 01:02:03 GMT\"\n", &out));
	assert_null(strstr(buf_str(&out), "1979"));
	/* written otherwise than is looked for: told, not kept silent about */
	assert_false(
		masked("xml", "\"records\":\"all.row\",", "text",
		       "<all><row><id>1</id><name>a</name><owner>M&#252;ller</owner></row></all>",
		       &out));
	assert_false(masked("csv", "", "base64", "aWQsb3duZXIKMSxC9nJnZQo=", &out));
	buf_clear(&out);
}

/* ---- files ---- */

static const char *refusal(const char *text)
{
	static char said[300];
	char file[] = "/tmp/test_tape.XXXXXX.json";
	struct buf problem = BUF_INIT;
	struct cassette k = { 0 };
	int fd = mkstemps(file, 5), rc;

	assert_true(fd >= 0 && write(fd, text, strlen(text)) == (ssize_t)strlen(text));
	close(fd);
	rc = cassette_read(file, &k, &problem);
	unlink(file);
	snprintf(said, sizeof(said), "%s",
		 rc < 0 ? buf_str(&problem) : k.rows_file + strlen(file) - 5);
	cassette_clear(&k);
	buf_clear(&problem);
	return said;
}

static void files(void **state)
{
	assert_string_equal(
		refusal("{\"cassette\":1,\"recorded_at\":\"2026-01-02T00:00:00Z\",\"exchanges\":[]}"),
		".rows.json");
	assert_non_null(strstr(refusal("{\"cassette\":\n1,}"), "line 2"));
	assert_non_null(strstr(refusal("[]"), "\"cassette\": 1"));
	assert_non_null(strstr(refusal("{\"cassette\":1,\"exchanges\":[]}"), "recorded_at"));
	assert_non_null(
		strstr(refusal("{\"cassette\":1,\"recorded_at\":\"2026-01-02\"}"), "exchanges"));
	assert_non_null(strstr(
		refusal("{\"cassette\":1,\"recorded_at\":\"2026-01-02\",\"exchanges\":[{\"request\":{}}]}"),
		"exchanges[0].response"));
	assert_non_null(
		strstr(refusal("{\"cassette\":1,\"recorded_at\":\"2026-01-02\",\"exchange\":[]}"),
		       "exchange: unknown key"));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(differences),     cmocka_unit_test(replay),
		cmocka_unit_test(bodies),          cmocka_unit_test(blanked),
		cmocka_unit_test(blanked_in_text), cmocka_unit_test(files),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
