/* Ways of paging in a manifest: what is read, what is refused, and that it can be printed again. */
#include "tests/unit/manifests.h"

#define THINGS(pagination, list)                                                                  \
	", \"pagination\": {" pagination "}, \"collections\": {\"a\": {" list                     \
	", \"id\": \"id\", \"table\": \"resources\", \"updated_at\": \"u\", \"map\": {\"name\": " \
	"\"n\"}}}"

static struct manifest *read_with(const char *keys, struct buf *problems)
{
	char *text = mem_printf(LEAST, keys);
	struct manifest *m = parse(text, problems);

	free(text);
	return m;
}

static const char *const good[] = {
	THINGS("\"kind\": \"next_url\", \"next\": \"links.next\", \"limit_param\": \"l\"",
	       "\"get\": \"/a\""),
	THINGS("\"kind\": \"next_url\", \"next\": \"header:X-Next\"", "\"get\": \"/a\""),
	THINGS("\"kind\": \"link\", \"total\": \"header:X-Total\", \"expires\": \"1h\"",
	       "\"get\": \"/a\""),
	THINGS("\"kind\": \"keyset\", \"param\": \"after\", \"key\": \"id\", \"rescan_overlap\": 5",
	       "\"get\": \"/a\""),
	THINGS("\"kind\": \"cursor\", \"in\": \"body\", \"cursor\": \"n\", \"cursor_param\": \"p.q\", \"expires\": \"3h\"",
	       "\"post\": \"/a\", \"json\": {\"x\": [\"{cfg.y}\", {\"t\": \"{now}\"}]}"),
	THINGS("\"kind\": \"cursor\", \"in\": \"path\", \"cursor\": \"n\", \"first\": \"start\"",
	       "\"get\": \"/a/{cursor}/x\""),
	THINGS("\"kind\": \"page\", \"in\": \"path\", \"first\": 0", "\"get\": \"/a/{cursor}\""),
	THINGS("\"kind\": \"ack_queue\", \"every\": \"20s\", \"ack\": {\"put\": \"/a/{id}\", \"id\": \"m.id\"}",
	       "\"get\": \"/a\""),
	THINGS("\"kind\": \"ack_queue\", \"ack\": {\"post\": \"/a\", \"json\": {\"ids\": \"{ids}\"}}",
	       "\"post\": \"/a\""),
};

/* What is printed is read again as what was printed. */
static void read_and_printed(void **state)
{
	for (size_t i = 0; i < ARRAY_LEN(good); i++) {
		struct buf problems = BUF_INIT, once = BUF_INIT, twice = BUF_INIT;
		struct manifest *m = read_with(good[i], &problems), *again;

		if (!m)
			fail_msg("%s: %s", good[i], buf_str(&problems));
		manifest_print(m, &once);
		again = parse(once.data, &problems);
		if (!again)
			fail_msg("%s: %s", once.data, buf_str(&problems));
		manifest_print(again, &twice);
		assert_string_equal(once.data, twice.data);
		manifest_free(m);
		manifest_free(again);
		buf_clear(&problems);
		buf_clear(&once);
		buf_clear(&twice);
	}
}

static void stops(void **state)
{
	static const enum stop_kind wanted[] = { STOP_NO_CURSOR,  STOP_NO_CURSOR, STOP_NO_CURSOR,
						 STOP_SHORT_PAGE, STOP_NO_CURSOR, STOP_NO_CURSOR,
						 STOP_SHORT_PAGE, STOP_EMPTY,     STOP_EMPTY };

	for (size_t i = 0; i < ARRAY_LEN(good); i++) {
		struct buf problems = BUF_INIT;
		struct manifest *m = read_with(good[i], &problems);

		assert_non_null(m);
		assert_int_equal(m->paging.n_stops, 1);
		assert_int_equal(m->paging.stops[0].kind, wanted[i]);
		manifest_free(m);
		buf_clear(&problems);
	}
}

static const char *const refused[][2] = {
	{ THINGS("\"kind\": \"next_url\"", "\"get\": \"/a\""), "pagination.next: missing" },
	{ THINGS("\"kind\": \"keyset\", \"key\": \"id\"", "\"get\": \"/a\""),
	  "pagination.param: missing" },
	{ THINGS("\"kind\": \"link\", \"next\": \"n\"", "\"get\": \"/a\""),
	  "pagination.next: means nothing with the kind \"link\"" },
	{ THINGS("\"kind\": \"offset\", \"offset_param\": \"o\", \"limit_param\": \"l\", \"expires\": \"3h\"",
		 "\"get\": \"/a\""),
	  "pagination.expires: means nothing with the kind \"offset\"" },
	{ THINGS("\"kind\": \"offset\", \"offset_param\": \"o\", \"limit_param\": \"l\", \"rescan_overlap\": 100",
		 "\"get\": \"/a\""),
	  "pagination.rescan_overlap: a page of 100 would never get on" },
	{ THINGS("\"kind\": \"cursor\", \"cursor\": \"n\", \"cursor_param\": \"c\", \"rescan_overlap\": 1",
		 "\"get\": \"/a\""),
	  "pagination.rescan_overlap: means nothing" },
	{ THINGS("\"kind\": \"cursor\", \"cursor\": \"n\", \"cursor_param\": \"c\", \"in\": \"body\"",
		 "\"get\": \"/a\""),
	  "a.pagination.in: \"body\" needs \"post\"" },
	{ THINGS("\"kind\": \"cursor\", \"cursor\": \"n\", \"in\": \"path\"",
		 "\"get\": \"/a/{cursor}\""),
	  "pagination.first: missing" },
	{ THINGS("\"kind\": \"page\", \"in\": \"path\"", "\"get\": \"/a\""),
	  "a.get: needs one {cursor}" },
	{ THINGS("\"kind\": \"page\", \"page_param\": \"p\"", "\"get\": \"/a/{cursor}\""),
	  "a.get: {cursor} cannot be used here" },
	{ THINGS("\"kind\": \"page\", \"page_param\": \"p\", \"first\": \"x\"", "\"get\": \"/a\""),
	  "pagination.first: means nothing" },
	{ THINGS("\"kind\": \"page\", \"page_param\": \"p\", \"first\": -1", "\"get\": \"/a\""),
	  "pagination.first: expected 0 to" },
	{ THINGS("\"kind\": \"page\", \"page_param\": \"p\", \"in\": \"head\"", "\"get\": \"/a\""),
	  "pagination.in: unknown word \"head\"" },
	{ THINGS("\"kind\": \"none\", \"in\": \"body\"", "\"post\": \"/a\""),
	  "pagination.in: means nothing with the kind \"none\"" },
	{ THINGS("\"kind\": \"ack_queue\"", "\"get\": \"/a\""), "pagination.ack: missing" },
	{ THINGS("\"kind\": \"ack_queue\", \"every\": \"900ms\", \"ack\": {\"post\": \"/a/{id}\"}",
		 "\"get\": \"/a\""),
	  "pagination.every: 1s at least" },
	{ THINGS("\"kind\": \"none\", \"every\": \"20s\"", "\"get\": \"/a\""),
	  "pagination.every: means nothing with the kind \"none\"" },
	{ THINGS("\"kind\": \"ack_queue\", \"ack\": {\"post\": \"/a\"}", "\"get\": \"/a\""),
	  "pagination.ack: says not what is confirmed" },
	{ THINGS("\"kind\": \"ack_queue\", \"ack\": {\"post\": \"/a/{id}\", \"json\": [\"{ids}\"]}",
		 "\"get\": \"/a\""),
	  "pagination.ack: {id} is one call an item" },
	{ THINGS("\"kind\": \"ack_queue\", \"ack\": {\"post\": \"/a/{id}\", \"put\": \"/b\"}",
		 "\"get\": \"/a\""),
	  "pagination.ack: \"post\" or \"put\", not both" },
	{ THINGS("\"kind\": \"ack_queue\", \"ack\": {\"post\": \"a/{id}\"}", "\"get\": \"/a\""),
	  "pagination.ack: a path begins with /" },
	{ THINGS("\"kind\": \"ack_queue\", \"ack\": {\"post\": \"/a/{id}\", \"json\": {\"s\": \"{since}\"}}",
		 "\"get\": \"/a\""),
	  "a.pagination.ack.json.s: {since} cannot be used here ({cfg.X} {id} {now} {ids} can)" },
	{ THINGS("\"kind\": \"link\", \"stop\": [\"no_cursor\"], \"ack\": {\"post\": \"/a/{id}\"}",
		 "\"get\": \"/a\""),
	  "pagination.ack: means nothing with the kind \"link\"" },
	{ THINGS("\"kind\": \"page\", \"page_param\": \"p\", \"stop\": [\"no_cursor\"]",
		 "\"get\": \"/a\""),
	  "\"no_cursor\" is for the kinds" },
	{ THINGS("\"kind\": \"none\"", "\"get\": \"/a\", \"post\": \"/b\""),
	  "a.post: \"get\" or \"post\", not both" },
	{ THINGS("\"kind\": \"none\"", "\"post\": \"b\""), "a.post: a path begins with /" },
	{ THINGS("\"kind\": \"none\"", "\"get\": \"/a\", \"json\": {}"),
	  "a.json: is the body of \"post\"" },
	{ THINGS("\"kind\": \"none\"", "\"post\": \"/a\", \"json\": [1]"),
	  "a.json: expected an object" },
	{ THINGS("\"kind\": \"none\"", "\"post\": \"/a\", \"json\": {\"x\": {\"y\": \"{sinse}\"}}"),
	  "a.json.x.y: {sinse} is not known" },
};

static void refusals(void **state)
{
	for (size_t i = 0; i < ARRAY_LEN(refused); i++) {
		struct buf problems = BUF_INIT;
		struct manifest *m = read_with(refused[i][0], &problems);

		if (m || !strstr(buf_str(&problems), refused[i][1]))
			fail_msg("%s\nwanted: %s\nfound: %s", refused[i][0], refused[i][1],
				 m ? "accepted" : buf_str(&problems));
		buf_clear(&problems);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(read_and_printed),
		cmocka_unit_test(stops),
		cmocka_unit_test(refusals),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
