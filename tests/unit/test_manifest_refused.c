/* Manifests that are refused: every mistake, and how it is said. */
#include "tests/unit/manifests.h"

/* Refused, and each of the texts is in what is said. */
static void bad(const char *text, const char *const *wanted, int n)
{
	struct buf problems = BUF_INIT;
	struct manifest *m = parse(text, &problems);

	if (m)
		fail_msg("accepted: %s", text);
	for (int i = 0; i < n; i++)
		if (!strstr(problems.data, wanted[i]))
			fail_msg("wanted: %s\nsaid: %s\nof: %s", wanted[i], problems.data, text);
	buf_clear(&problems);
}

static void bad_with(const char *keys, const char *wanted)
{
	char *text = mem_printf(LEAST, keys);

	bad(text, &wanted, 1);
	free(text);
}

static void all_errors_at_once(void **state)
{
	static const char text[] =
		"{\n"
		"  \"partner\": \"p\",\n"
		"  \"manifest\": 1,\n"
		"  \"api\": {\"base\": {\"production\": \"https://h.example\"}},\n"
		"  \"limits\": [\n"
		"    {\"rate\": 5, \"windw\": \"1s\"},\n"
		"    {\"rate\": \"5\", \"window\": \"1s\"}\n"
		"  ],\n"
		"  \"critcal\": false,\n"
		"  \"hooks\": {\"ack_body\": true},\n"
		"  \"retry_after\": \"x\"\n"
		"}\n";
	static const char *const wanted[] = {
		"p/manifest.json:6: limits[0].windw: unknown key; did you mean \"window\"?\n",
		"p/manifest.json:6: limits[0].window: missing\n",
		"p/manifest.json:7: limits[1].rate: expected a whole number, found text\n",
		"p/manifest.json:9: critcal: unknown key; did you mean \"critical\"?\n",
		"p/manifest.json:10: hooks.ack_body: unknown key",
		"p/manifest.json:11: retry_after: expected a list of texts, found text\n",
	};

	bad(text, wanted, ARRAY_LEN(wanted));
}

static void timeouts(void **state)
{
	static const char *const wanted[] = { "api.timeout.write: ", "api.timeout.wait: ",
					      "api.timeout.idle: unknown key" };

	bad("{\"partner\": \"p\", \"manifest\": 1, \"api\": {\"base\": {\"production\": \"https://h.example\"}, "
	    "\"timeout\": {\"write\": \"0s\", \"wait\": \"soon\", \"idle\": \"5s\"}}}",
	    wanted, ARRAY_LEN(wanted));
}

static void not_json(void **state)
{
	static const char *const wanted[] = {
		"p/manifest.json:2: not JSON: expected ':', found '1'"
	};
	static const char *const object[] = {
		"p/manifest.json:1: expected an object, found a list"
	};
	static const char *const empty[] = { "p/manifest.json:1: not JSON: expected a value" };

	bad("{\n \"a\" 1}", wanted, 1);
	bad("[]", object, 1);
	bad("", empty, 1);
}

static void wrong_names(void **state)
{
	static const char *const reserved[] = { "reserved" }, *const folder[] = {
		"the two must be the same"
	};
	static const char *const queue[] = { "cannot name a queue" };
	char *text = mem_printf(LEAST, "");
	struct manifest *m = NULL;
	struct buf problems = BUF_INIT;

	bad("{\"partner\": \"longshore\", \"manifest\": 1, \"api\": {\"base\": {\"production\": \"https://h\"}}}",
	    reserved, 1);
	bad("{\"partner\": \"q\", \"manifest\": 1, \"api\": {\"base\": {\"production\": \"https://h\"}}}",
	    folder, 1);
	bad("{\"partner\": \"P x\", \"manifest\": 1, \"api\": {\"base\": {\"production\": \"https://h\"}}}",
	    queue, 1);
	/* without a folder in the path there is nothing to compare */
	assert_int_equal(manifest_parse("manifest.json", text, strlen(text), &m, &problems), 0);
	manifest_free(m);
	free(text);
}

static const char *const refused[][2] = {
	{ ", \"auth\": {\"kind\": \"api_key\", \"needs\": [\"k\"], \"verify\": {\"get\": \"/me/{id}\"}}",
	  "auth.verify.get: {id} cannot be used here" },
	{ ", \"auth\": {\"kind\": \"api_key\", \"needs\": [\"k\"], \"verify\": {\"get\": \"/me\","
	  " \"query\": {\"a\": \"{cfgs.x}\"}}}",
	  "auth.verify.query.a: {cfgs.x} is not known" },
	{ ", \"auth\": {\"kind\": \"oauth2_client_credentials\", \"token_url\": \"https://a/t\", \"headers\": {\"a\": \"x\", \"b\": \"x\", \"c\": \"x\", \"d\": \"x\", \"e\": \"x\", \"f\": \"x\", \"g\": \"x\", \"h\": \"x\", \"i\": \"x\"}}",
	  "auth.headers: has 9 of them, at most 8" },
	{ ", \"auth\": {\"kind\": \"signed\", \"needs\": [\"k\"], \"sign\": {\"signed\": \"{ts}\", \"headers\": {\"a\": \"x\", \"b\": \"x\", \"c\": \"x\", \"d\": \"x\", \"e\": \"x\", \"f\": \"x\", \"g\": \"x\", \"h\": \"x\", \"i\": \"x\"}}}",
	  "auth.sign.headers: has 9 of them, at most 8" },
	{ ", \"checks\": {\"fixtures\": \"../f\"}", "checks.fixtures: the name of a folder" },
	{ ", \"checks\": {\"daily\": [\"a\"]}", "checks.daily[0]: there is no collection \"a\"" },
	{ ", \"partner\": \"p\"", "partner: given twice" },
	{ ", \"auth\": {\"kind\": \"hook\", \"needs\": [\"k\"]}",
	  "auth.kind: \"hook\" needs hooks.login" },
	{ ", \"auth\": {\"kind\": \"signed\"}, \"hooks\": {\"sign_request\": true}",
	  "auth.needs: missing" },
	{ ", \"auth\": {\"kind\": \"signed\", \"needs\": [\"k\"]}", "auth.sign: missing" },
	{ ", \"hooks\": {\"sign_request\": true}", "hooks.sign_request: needs a credential" },
	{ ", \"hooks\": {\"login\": true}", "hooks.login: is called with auth.kind" },
	{ ", \"hooks\": {\"next_page\": true}", "hooks.next_page: is called with" },
	{ ", \"hooks\": {\"adapt_items\": true}", "did you mean \"adapt_item\"?" },
	{ ", \"critical\": 1", "critical: expected true or false" },
	{ ", \"breaker\": {\"probe\": \"status\"}", "breaker.probe: expected a path" },
	{ ", \"breaker\": {\"open\": \"1h\"}", "breaker.open: is longer than \"open_max\"" },
	{ ", \"breaker\": {\"failures\": 0}", "breaker.failures: expected 1 to 1000000, found 0" },
	{ ", \"breaker\": {\"share\": 1.5}", "breaker.share: expected a number over 0, at most 1" },
	{ ", \"breaker\": {\"groups\": {\"r\": {\"endpoints\": [\"x\"]}}}",
	  "a path begins with /" },
	{ ", \"breaker\": {\"groups\": {\"r\": {}}}", "breaker.groups.r.endpoints: missing" },
	{ ", \"title\": \"\"", "title: expected text, found \"\"" },
	{ ", \"auth\": {\"kind\": \"oauth2_client_credentials\"}", "auth.token_url: missing" },
	{ ", \"auth\": {\"kind\": \"none\", \"token_url\": \"https://h/t\"}",
	  "auth.token_url: means nothing with the kind \"none\"" },
	{ ", \"auth\": {\"kind\": \"two_step\"}", "auth.token_url: missing: two_step needs it" },
	{ ", \"auth\": {\"kind\": \"bearer\", \"params\": {\"a\": \"b\"}}",
	  "auth.params: means nothing with the kind \"bearer\"" },
	{ ", \"auth\": {\"kind\": \"two_step\", \"token_url\": \"https://h/t\", \"headers\": {\"a b\": \"c\"}}",
	  "auth.headers.a b: \"a b\" is no name of a header" },
	{ ", \"auth\": {\"kind\": \"two_step\", \"token_url\": \"https://h/t\", \"headers\": {\"a\": \"{since}\"}}",
	  "auth.headers.a: {since} cannot be used here" },
	{ ", \"auth\": {\"kind\": \"two_step\", \"token_url\": \"https://h/t\", \"method\": \"GET\", \"send\": \"json\"}",
	  "auth.send: a GET has no body" },
	{ ", \"auth\": {\"kind\": \"oauth2_client_credentials\", \"token_url\": \"https://h/t\", \"method\": \"GET\"}",
	  "auth.method: means nothing with" },
	{ ", \"auth\": {\"kind\": \"api_key\", \"in\": \"cookie\"}",
	  "auth.name: missing: the cookie" },
	{ ", \"auth\": {\"kind\": \"signed\"}", "auth.sign: missing: signed needs it" },
	{ ", \"auth\": {\"kind\": \"signed\", \"sign\": {\"signed\": \"{body}\"}}",
	  "auth.sign.headers: missing" },
	{ ", \"auth\": {\"kind\": \"signed\", \"sign\": {\"signed\": \"{signature}\", \"headers\": {\"a\": \"{ts}\"}}}",
	  "auth.sign.signed: {signature} cannot be used here" },
	{ ", \"auth\": {\"kind\": \"signed\", \"sign\": {\"signed\": \"{ts}\", \"headers\": {\"a\": \"{body}\"}}}",
	  "auth.sign.headers.a: {body} cannot be used here" },
	{ ", \"auth\": {\"kind\": \"signed\", \"sign\": {\"signed\": \"{ts}\", \"alg\": \"md5\", \"headers\": {\"a\": \"{ts}\"}}}",
	  "auth.sign.alg: unknown word \"md5\"" },
	{ ", \"auth\": {\"kind\": \"bearer\", \"sign\": {\"signed\": \"{ts}\", \"headers\": {\"a\": \"{ts}\"}}}",
	  "auth.sign: means nothing with the kind \"bearer\"" },
	{ ", \"auth\": {\"kind\": \"oauth2_code\", \"token_url\": \"https://h/t\"}",
	  "auth.authorize_url: missing: oauth2_code needs it" },
	{ ", \"auth\": {\"kind\": \"oauth2_device\", \"token_url\": \"https://h/t\"}",
	  "auth.device_url: missing: oauth2_device needs it" },
	{ ", \"auth\": {\"kind\": \"oauth2_code\", \"token_url\": \"https://h/t\", \"authorize_url\": \"h/a\"}",
	  "auth.authorize_url: expected http" },
	{ ", \"auth\": {\"kind\": \"basic\", \"refresh\": {\"dies_unused_after\": \"30d\"}}",
	  "auth.refresh.dies_unused_after: means nothing with the kind \"basic\"" },
	{ ", \"auth\": {\"kind\": \"bearer\", \"refresh\": {\"lapses_after\": \"30d\"}}",
	  "auth.refresh.lapses_after: means nothing with the kind \"bearer\"" },
	{ ", \"auth\": {\"refresh\": {\"single_use\": 1}}",
	  "auth.refresh.single_use: expected true or false" },
	{ ", \"auth\": {\"kind\": \"bearer\", \"authorize_params\": {\"scope\": \"x\"}}",
	  "auth.authorize_params: means nothing with the kind \"bearer\"" },
	{ ", \"auth\": {\"kind\": \"api_key\", \"in\": \"cookie\", \"name\": \"a=b\"}",
	  "auth.name: \"a=b\" is no name of a cookie" },
	{ ", \"auth\": {\"kind\": \"basic\", \"in\": \"cookie\", \"name\": \"a\"}",
	  "auth.in: \"cookie\" means nothing with the kind \"basic\"" },
	{ ", \"auth\": {\"kind\": \"bearr\"}",
	  "auth.kind: unknown word \"bearr\"; did you mean \"bearer\"?" },
	{ ", \"auth\": {\"kind\": \"api_key\", \"in\": \"query\"}", "auth.name: missing" },
	{ ", \"auth\": {\"kind\": \"bearer\", \"in\": \"query\", \"name\": \"k\"}",
	  "auth.in: \"query\" means nothing with the kind \"bearer\"" },
	{ ", \"auth\": {\"kind\": \"oauth2_client_credentials\", \"token_url\": \"/t\"}",
	  "auth.token_url: expected http" },
	{ ", \"auth\": {\"kind\": \"oauth2_client_credentials\", \"token_url\": \"https://h/t\", \"mint_limit\": "
	  "{\"count\": 1, \"window\": \"1h\"}}",
	  "leaves no token" },
	{ ", \"auth\": {\"expires\": \"soon\"}", "auth.expires: expected \"seconds:PATH\"" },
	{ ", \"limits\": [{\"rate\": 1, \"window\": \"1s\"}]",
	  "limits[0]: a share of 0.8 of 1 leaves no call" },
	{ ", \"limits\": [{\"rate\": 9, \"window\": \"x\"}]",
	  "limits[0].window: expected a duration" },
	{ ", \"limits\": [{\"rate\": 9, \"window\": \"1s\", \"share\": 0}]",
	  "limits[0].share: expected a number over 0" },
	{ ", \"limits\": [{\"rate\": 9, \"window\": \"1s\"}, {\"rate\": 8, \"window\": 1}]",
	  "the same scope and window" },
	{ ", \"limits\": {}", "limits: expected a list, found an object" },
	{ ", \"limits\": [{\"rate\": 0, \"window\": \"1s\"}]",
	  "p/manifest.json:1: limits[0].rate: " },
	{ ", \"limits\": [{\"rate\": -5, \"window\": \"1s\"}]", "limits[0].rate: " },
	{ ", \"limits\": [{\"rate\": 5, \"window\": 0}]", "limits[0].window: " },
	{ ", \"limits\": [{\"rate\": 9, \"window\": \"1s\", \"scope\": \"egres\"}]",
	  "limits[0].scope: unknown word \"egres\"; did you mean \"egress\"?" },
	{ ", \"limits\": [{\"rate\": 9, \"window\": \"1s\", \"scope\": \"endpoints:a b\"}]",
	  "cannot name a group" },
	{ ", \"limits\": [{\"rate\": 9, \"window\": \"1s\", \"scope\": \"endpoints:search\"}]",
	  "no collection is of this group: give one \"group\": \"search\"" },
	{ ", \"limits\": [{\"rate\": 9, \"window\": \"1s\", \"kind\": \"bukket\"}]",
	  "limits[0].kind: unknown word \"bukket\"; did you mean \"bucket\"?" },
	{ ", \"limits\": [{\"rate\": 9, \"window\": \"1s\", \"kind\": \"fixed\"}]",
	  "told apart from 10s on: \"sliding\"" },
	{ ", \"limits\": [{\"rate\": 9, \"window\": \"1s\", \"burst\": 3}]",
	  "\"burst\" is for the kind \"bucket\" alone" },
	{ ", \"limits\": [{\"rate\": 9, \"window\": \"1s\", \"kind\": \"bucket\", \"burst\": 10}]",
	  "a burst of 10 is more than the window brings (9): say the same rate over a longer" },
	{ ", \"limits\": [{\"rate\": 9, \"window\": \"1s\", \"kind\": \"bucket\", \"burst\": 1}]",
	  "a share of 0.8 of a burst of 1 leaves no call" },
	{ ", \"limits\": [{\"rate\": 9, \"window\": \"1s\", \"weight\": 8}]",
	  "a call of weight 8 never fits into 7.2" },
	{ ", \"limits\": [{\"rate\": 9, \"window\": \"1s\", \"weight\": 0}]",
	  "limits[0].weight: expected a whole number over 0, or \"header:NAME\"" },
	{ ", \"limits\": [{\"scope\": \"host\", \"rate\": 9, \"window\": \"1s\"}]",
	  "limits[0].scope: \"host\" is called \"egress\"" },
	{ ", \"limit_headers\": [{\"window\": \"1s\", \"limit\": \"a\"}]",
	  "none of \"limits\" has this window" },
	{ ", \"retry_after\": [\"a b\"]", "retry_after[0]: \"a b\" is no name of a header" },
	{ ", \"errors\": [{\"class\": \"client\"}]", "a rule needs something to match" },
	{ ", \"errors\": [{\"status\": 404}]", "errors[0].class: missing" },
	{ ", \"errors\": [{\"status\": 1000, \"class\": \"client\"}]",
	  "errors[0].status: expected a status" },
	{ ", \"errors\": [{\"status\": 404, \"class\": \"poison\"}]",
	  "errors[0].class: unknown word" },
	{ ", \"errors\": [{\"in\": [1], \"class\": \"client\"}]", "\"in\" needs \"json\"" },
	{ ", \"errors\": [{\"json\": \"a\", \"text\": \"b\", \"class\": \"client\"}]",
	  "errors[0].text: searches the whole" },
	{ ", \"errors\": [{\"contains\": \"b\", \"class\": \"client\"}]",
	  "errors[0].contains: needs \"json\"" },
	{ ", \"errors\": [{\"status\": 404, \"class\": \"client\", \"action\": \"skp\"}]",
	  "errors[0].action: unknown word \"skp\"; did you mean \"skip\"?" },
	{ ", \"errors\": [{\"status\": 404, \"class\": \"client\", \"action\": \"hold\"}]",
	  "errors[0].action: expected \"hold(30s)\"" },
	{ ", \"errors\": [{\"status\": 404, \"class\": \"client\", \"action\": \"hold(30\"}]",
	  "errors[0].action: expected \"hold(30s)\"" },
	{ ", \"errors\": [{\"status\": 404, \"class\": \"client\", \"action\": \"hold(2d)\"}]",
	  "errors[0].action: expected \"hold(30s)\"" },
	{ ", \"auth\": {\"verify\": {\"query\": {\"limit\": \"1\"}}}", "auth.verify.get: missing" },
	{ ", \"pagination\": {\"size\": 5}", "pagination.kind: missing" },
	{ ", \"pagination\": {\"kind\": \"offset\", \"offset_param\": \"o\"}",
	  "pagination.limit_param: missing" },
	{ ", \"pagination\": {\"kind\": \"page\"}", "pagination.page_param: missing" },
	{ ", \"pagination\": {\"kind\": \"page\", \"page_param\": \"p\", \"offset_param\": \"o\"}",
	  "pagination.offset_param: means nothing" },
	{ ", \"pagination\": {\"kind\": \"page\", \"page_param\": \"p\", \"stop\": [\"totl\"]}",
	  "did you mean \"total\"?" },
	{ ", \"pagination\": {\"kind\": \"page\", \"page_param\": \"p\", \"stop\": [\"total\"]}",
	  "\"total\" needs a path" },
	{ ", \"pagination\": {\"kind\": \"page\", \"page_param\": \"p\", \"total\": \"a[*]\"}",
	  "is no path" },
	{ ", \"pagination\": {\"kind\": \"page\", \"page_param\": \"p\", \"size\": 0}",
	  "expected 1 to 100000, found 0" },
	{ ", \"collections\": {\"A b\": {\"get\": \"/\", \"id\": \"i\", \"table\": \"media\", \"map\": {\"url\": \"u\"}}}",
	  "cannot name a collection" },
};

#define LOOKUP(more) \
	", \"lookups\": {\"l\": {\"get\": \"/l/{in.a}\", \"params\": {\"a\": {}}" more "}}"
static const char *const lookups[][2] = {
	{ ", \"lookups\": []", "lookups: expected an object, found a list" },
	{ LOOKUP(""), "lookups.l: says not how long an answer is fresh" },
	{ LOOKUP(", \"ttl\": 0"), "lookups.l.ttl: expected 1 to" },
	{ LOOKUP(", \"ttl\": \"1h\", \"placeholder\": {}"),
	  "lookups.l.placeholder: is for partners with" },
	{ LOOKUP(", \"ttl\": \"1h\", \"query\": {\"x\": \"{in.b}\"}"),
	  "{in.b} is none of \"params\"" },
	{ LOOKUP(", \"ttl\": \"1h\", \"query\": {\"x\": \"{now}\"}"),
	  "{now} cannot be used here ({cfg.X} {in.X} can)" },
	{ LOOKUP(", \"ttl\": \"1h\", \"map\": {\"x\": {\"path\": \"y\", \"as\": \"nuber\"}}"),
	  "did you mean \"number\"?" },
	{ LOOKUP(", \"ttl\": \"1h\", \"reslt\": \"y\""), "did you mean \"result\"?" },
	{ LOOKUP(", \"ttl\": \"1h\"") ", \"cache\": {\"l\": \"1h\"}",
	  "cache.l: lookups.l.ttl says how long already" },
	{ LOOKUP("") ", \"cache\": {\"m\": \"1h\"}",
	  "cache.m: neither a lookup nor COLLECTION.detail" },
	{ LOOKUP("") ", \"cache\": {\"l\": \"soon\"}", "cache.l: expected a duration" },
	{ ", \"cache\": []", "cache: expected an object of names and durations" },
	{ ", \"cache\": {\"a.detail\": \"1h\"}, \"collections\": {\"a\": {\"get\": \"/a\", \"id\": \"id\", \"table\": \"resources\", \"map\": "
	  "{\"name\": \"n\"}}}",
	  "cache.a.detail: the collection has no \"detail\"" },
	{ ", \"lookups\": {\"l\": {\"get\": \"l\", \"ttl\": 1}}", "a path begins with /" },
	{ LOOKUP(", \"ttl\": 1, \"example\": 5"),
	  "lookups.l.example: expected an object of params" },
	{ LOOKUP(", \"ttl\": 1, \"example\": {}"), "lookups.l.example: \"a\" is missing" },
	{ LOOKUP(", \"ttl\": 1, \"example\": {\"a\": 1, \"b\": 1}"),
	  "lookups.l.example: \"b\" is none of its params" },
	{ ", \"lookups\": {\"L x\": {\"get\": \"/l\", \"ttl\": 1}}", "a name is 1 to 40" },
	{ ", \"lookups\": {\"l\": {\"ttl\": 1}}", "lookups.l.get: missing" },
	{ ", \"lookups\": {\"l\": {\"get\": \"/l\", \"ttl\": 1, \"params\": {\"a\": {}}}}",
	  "neither \"get\" nor \"query\" names {in.a}" },
	{ ", \"lookups\": {\"l\": {\"get\": \"/{in.a}\", \"ttl\": 1, \"params\": {\"a\": {\"optional\": true}}}}",
	  "cannot be left out" },
	{ ", \"lookups\": {\"l\": {\"get\": \"/{in.a}\", \"ttl\": 1, \"params\": {\"a\": {\"min\": 1}}}}",
	  "\"as\" says text" },
	{ ", \"lookups\": {\"l\": {\"get\": \"/{in.a}\", \"ttl\": 1, \"params\": {\"a\": {\"as\": \"int\", \"max\": \"1\"}}}}",
	  "are numbers" },
	{ ", \"lookups\": {\"l\": {\"get\": \"/{in.a}\", \"ttl\": 1, \"params\": {\"a\": {\"as\": \"int\", \"case\": \"lower\"}}}}",
	  "\"case\" is for texts" },
	{ ", \"lookups\": {\"l\": {\"get\": \"/{in.a}\", \"ttl\": 1, \"params\": {\"a\": {\"default\": []}}}}",
	  "a text or a number" },
	{ ", \"lookups\": {\"l\": {\"get\": \"/{in.a}\", \"ttl\": 1, \"params\": {\"a\": {\"default\": 1, \"optional\": true}}}}",
	  "exclude each other" },
	{ ", \"lookups\": {\"l\": {\"get\": \"/{in.a}\", \"ttl\": 1, \"params\": {\"A\": {}}}}",
	  "a name is 1 to 40" },
};

static void wrong_lookups(void **state)
{
	for (size_t i = 0; i < ARRAY_LEN(lookups); i++)
		bad_with(lookups[i][0], lookups[i][1]);
}

static void names_in_addresses(void **state)
{
	bad_with(
		", \"auth\": {\"kind\": \"oauth2_client_credentials\", \"token_url\": \"https://{cfg.shop}.h.example/t\"}",
		"auth.token_url: {cfg.shop}: an address of the partner holds no names; `--base-url`");
}

static void refusals(void **state)
{
	for (size_t i = 0; i < ARRAY_LEN(refused); i++)
		bad_with(refused[i][0], refused[i][1]);
}

/* Inside a collection, beside what makes it right. */
static const char *const refused_beside[][2] = {
	{ "\"deletes\": \"full_scna\"",
	  "a.deletes.by: unknown word \"full_scna\"; did you mean \"full_scan\"?" },
	{ "\"deletes\": \"scan_of_parent\"", "a.deletes: \"scan_of_parent\" needs \"each\"" },
	{ "\"deletes\": {\"by\": \"full_scan\", \"brake\": 20}",
	  "a.deletes.brake: expected a number over 0" },
	{ "\"deletes\": {\"tombstone\": {}}", "a.deletes.tombstone.path: missing" },
	{ "\"merged_into\": \"a[*].id\"", "a.merged_into" },
	{ "\"merged_int\": \"a\"", "did you mean \"merged_into\"?" },
	{ "\"deletes\": {\"tombstone\": {\"path\": \"x\", \"value\": []}}",
	  "a.deletes.tombstone.value: expected a text" },
	{ "\"deletes\": \"full_scan\", \"pagination\": {\"kind\": \"ack_queue\", \"ack\": {\"post\": \"/{id}\"}}",
	  "\"full_scan\" means nothing for a queue" },
	{ "\"detail\": {\"get\": \"/a/{id}\", \"batch\": {}}", "detail.batch.get: missing" },
	{ "\"detail\": {\"get\": \"/a/{id}\", \"batch\": {\"get\": \"/a\"}}",
	  "detail.batch: needs {ids}" },
	{ "\"detail\": {\"get\": \"/a\", \"query\": {\"q\": \"{since}\"}}",
	  "a.detail.query.q: {since} cannot be used here ({cfg.X} {id} can)" },
	{ "\"detail\": {\"get\": \"/a\", \"query\": {\"q\": \"x\"}}",
	  "a.detail.get: needs {id}, here or in \"query\"" },
	{ "\"detail\": {\"query\": {\"q\": \"{id}\"}}", "a.detail.get: missing" },
	{ "\"detail\": {\"get\": \"/a/{id}\", \"records\": \"a[*]\"}", "a.detail.records: " },
	{ "\"upcoming\": \"name\"", "upcoming: needs \"each\"" },
};

static void refused_beside_the_rest(void **state)
{
	for (size_t i = 0; i < ARRAY_LEN(refused_beside); i++) {
		char *keys = mem_printf(
			", \"collections\": {\"a\": {\"get\": \"/a\", \"id\": \"i\", \"table\": \"resources\", %s, "
			"\"map\": {\"name\": \"n\"}}}",
			refused_beside[i][0]);

		bad_with(keys, refused_beside[i][1]);
		free(keys);
	}
}

/* %s stands in collection "a"; "b" is another one. */
#define TWO                                                                                                                         \
	", \"collections\": {\"a\": {%s}, \"b\": {\"get\": \"/b\", \"id\": \"id\", \"table\": \"resources\", \"id_prefix\": \"b\"," \
	" \"map\": {\"name\": \"n\", \"media_hash\": {\"hash\": \"p\"}}}}"

static const char *const refused_collections[][2] = {
	{ "\"get\": \"/a\", \"id\": \"id\", \"table\": \"media\", \"map\": {\"url\": \"u\"}, \"each\": \"b\", \"deletes\": \"full_scan\"",
	  "a.deletes: \"full_scan\" is for what is listed as a whole" },
	{ "\"get\": \"/a\", \"id\": \"id\", \"table\": \"resources\", \"map\": {\"name\": \"u\"}, \"each\": \"b\", \"deletes\": \"scan_of_parent\"",
	  "a.deletes: \"scan_of_parent\" is for rows that name their parent" },
	{ "\"get\": \"/a\", \"id\": \"id\", \"table\": \"media\", \"map\": {\"url\": \"u\"}, \"personal\": [\"a\", \"b[\"]",
	  "collections.a.personal[1]" },
	{ "\"id\": \"id\", \"table\": \"resources\", \"map\": {\"name\": \"n\"}",
	  "a.get: missing (or \"embedded\"" },
	{ "\"get\": \"a\", \"id\": \"id\", \"table\": \"resources\", \"map\": {\"name\": \"n\"}",
	  "a.get: a path begins" },
	{ "\"get\": \"/a\", \"table\": \"resources\", \"map\": {\"name\": \"n\"}",
	  "a.id: missing" },
	{ "\"get\": \"/a\", \"id\": \"id\", \"map\": {\"name\": \"n\"}", "a.table: missing" },
	{ "\"get\": \"/a\", \"id\": \"id\", \"table\": \"resources\", \"id_prefix\": 5, \"map\": {\"name\": \"n\"}",
	  "a.id_prefix: expected text, found a number" },
	{ "\"get\": \"/a\", \"id\": \"id\", \"table\": \"resource\", \"map\": {}",
	  "did you mean \"resources\"?" },
	{ "\"get\": \"/a\", \"id\": \"id\", \"table\": \"resources\"", "a.map: missing" },
	{ "\"get\": \"/a\", \"id\": \"id\", \"table\": \"resources\", \"map\": {}",
	  "a.map: maps no column" },
	{ "\"get\": \"/a\", \"id\": \"id\", \"table\": \"resources\", \"map\": {\"nmae\": \"n\"}",
	  "the table resources has no such column; did you mean \"name\"?" },
	{ "\"get\": \"/a\", \"id\": \"id\", \"table\": \"resources\", \"map\": {\"name\": \"n\", \"name\": \"m\"}",
	  "given twice" },
	{ "\"get\": \"/a\", \"id\": \"id\", \"table\": \"resources\", \"map\": {\"name\": {\"path\": \"n\", \"as\": \"int\"}}",
	  "map.name.as: \"int\" does not fit this column: \"text\" does" },
	{ "\"get\": \"/a\", \"id\": \"id\", \"table\": \"resources\", \"map\": {\"beds\": {\"path\": \"n\", \"as\": \"money\"}}",
	  "map.beds.as: \"money\" does not fit" },
	{ "\"get\": \"/a\", \"id\": \"id\", \"table\": \"resources\", \"map\": {\"price_minor\": \"p\"}",
	  "say \"as\": \"money\"" },
	{ "\"get\": \"/a\", \"id\": \"id\", \"table\": \"resources\", \"map\": {\"name\": {}}",
	  "needs one of path, const and hash" },
	{ "\"get\": \"/a\", \"id\": \"id\", \"table\": \"resources\", \"map\": {\"name\": {\"path\": \"a\", \"const\": 1}}",
	  "const and hash, not several" },
	{ "\"get\": \"/a\", \"id\": \"id\", \"table\": \"resources\", \"map\": {\"capacity\": {\"const\": \"many\"}}",
	  "map.capacity.const: does not fit the column: \"many\" is no whole number" },
	{ "\"get\": \"/a\", \"id\": \"id\", \"table\": \"resources\", \"map\": {\"capacity\": {\"path\": \"c\", \"default\": {}}}",
	  "map.capacity.default: does not fit the column" },
	{ "\"get\": \"/a\", \"id\": \"id\", \"table\": \"resources\", \"map\": {\"capacity\": {\"path\": \"c\", \"enum\": {\"a\": \"b\"}}}",
	  "map.capacity.enum.a: does not fit the column" },
	{ "\"get\": \"/a\", \"id\": \"id\", \"table\": \"resources\", \"map\": {\"name\": {\"path\": \"c\", \"enum\": {}}}",
	  "map.name.enum: expected an object of one text or more" },
	{ "\"get\": \"/a\", \"id\": \"id\", \"table\": \"resources\", \"map\": {\"name\": \"a..b\"}",
	  "\"a..b\" is no path" },
	{ "\"get\": \"/a\", \"id\": \"id\", \"table\": \"resources\", \"map\": {\"name\": \"a[*].b\"}",
	  "one value is wanted here" },
	{ "\"get\": \"/a\", \"id\": \"id\", \"table\": \"resources\", \"map\": {\"name\": \"header:x\"}",
	  "a header cannot be used" },
	{ "\"get\": \"/a\", \"id\": \"id\", \"table\": \"resources\", \"map\": {\"partner_created_at\": {\"path\": \"t\", "
	  "\"tz\": \"Europe/Pariss\"}}",
	  "map.partner_created_at.tz: there is no zone \"Europe/Pariss\"" },
	{ "\"get\": \"/a\", \"id\": \"id\", \"table\": \"resources\", \"updated_at\": \"u\", \"incremental\": {\"param\": \"s\", "
	  "\"step\": \"60d\"}, \"map\": {\"name\": \"n\"}",
	  "a.incremental.lookback_first: missing: windows of \"step\" begin there" },
	{ "\"get\": \"/a\", \"id\": \"id\", \"table\": \"resources\", \"updated_at\": \"u\", \"incremental\": {\"param\": \"s\", "
	  "\"tz\": \"../etc/passwd\"}, \"map\": {\"name\": \"n\"}",
	  "a.incremental.tz: there is no zone" },
	{ "\"get\": \"/a\", \"id\": \"id\", \"table\": \"resources\", \"id_prefix\": \"b\", \"map\": {\"name\": \"n\"}",
	  "\"b\" is the prefix of \"a\" too" },
	{ "\"get\": \"/a/{parent.id}\", \"each\": \"bb\", \"id\": \"i\", \"table\": \"media\", \"map\": {\"url\": \"u\"}",
	  "there is no collection \"bb\"" },
	{ "\"get\": \"/a\", \"each\": \"b\", \"id\": \"i\", \"table\": \"media\", \"map\": {\"url\": \"u\"}",
	  "each call would be the same" },
	{ "\"get\": \"/a/{parent.id}\", \"each\": \"b\", \"when_changed\": \"media_hsh\", \"id\": \"i\", \"table\": \"media\", "
	  "\"map\": {\"url\": \"u\"}",
	  "is no mapped column of \"b\"; did you mean \"media_hash\"?" },
	{ "\"get\": \"/a\", \"when_changed\": \"name\", \"id\": \"i\", \"table\": \"media\", \"map\": {\"url\": \"u\"}",
	  "a.when_changed: needs \"each\"" },
	{ "\"embedded\": \"p\", \"id\": \"i\", \"table\": \"media\", \"map\": {\"url\": \"u\"}",
	  "a.embedded: needs \"each\"" },
	{ "\"embedded\": \"p\", \"each\": \"b\", \"get\": \"/a\", \"id\": \"i\", \"table\": \"media\", \"map\": {\"url\": \"u\"}",
	  "a.get: means nothing with \"embedded\"" },
	{ "\"get\": \"/a/{parent.id}\", \"each\": \"a\", \"id\": \"i\", \"table\": \"media\", \"map\": {\"url\": \"u\"}",
	  "comes round to itself" },
	{ "\"get\": \"/a\", \"id\": \"id\", \"table\": \"resources\", \"incremental\": {\"param\": \"s\"}, \"map\": {\"name\": \"n\"}",
	  "a.updated_at: missing" },
	{ "\"get\": \"/a\", \"id\": \"id\", \"table\": \"resources\", \"updated_at\": \"u\", \"incremental\": {\"param\": \"s\", "
	  "\"value\": \"x\"}, \"map\": {\"name\": \"n\"}",
	  "a.incremental.value: needs {since}" },
	{ "\"get\": \"/a\", \"id\": \"id\", \"table\": \"resources\", \"updated_at\": \"u\", \"incremental\": {\"param\": \"s\", "
	  "\"format\": \"iso\"}, \"map\": {\"name\": \"n\"}",
	  "a.incremental.format: unknown word \"iso\"" },
	{ "\"get\": \"/a\", \"id\": \"id\", \"table\": \"resources\", \"detail\": {\"get\": \"/a\"}, \"map\": {\"name\": \"n\"}",
	  "a.detail.get: needs {id}" },
	{ "\"get\": \"/a/{sinse}\", \"id\": \"id\", \"table\": \"resources\", \"map\": {\"name\": \"n\"}",
	  "a.get: {sinse} is not known; did you mean \"since\"?" },
	{ "\"get\": \"/a/{id}\", \"id\": \"id\", \"table\": \"resources\", \"map\": {\"name\": \"n\"}",
	  "a.get: {id} cannot be used here ({cfg.X} can)" },
	{ "\"get\": \"/a/{cred.api_key}\", \"id\": \"id\", \"table\": \"resources\", \"map\": {\"name\": \"n\"}",
	  "{cred.api_key} cannot be used here" },
	{ "\"get\": \"/a/{parent.id}/{parent.nmae}\", \"each\": \"b\", \"id\": \"i\", \"table\": \"media\", \"map\": {\"url\": \"u\"}",
	  "a.get: {parent.nmae}: no mapped column of \"b\"; did you mean \"name\"?" },
	{ "\"get\": \"/a\", \"id\": \"id\", \"table\": \"resources\", \"belongs_to\": {\"collection\": \"b\", \"id\": \"x\"}, "
	  "\"map\": {\"name\": \"n\"}",
	  "a.belongs_to: the table resources has no column for it" },
	{ "\"get\": \"/a\", \"id\": \"id\", \"table\": \"media\", \"belongs_to\": {\"collection\": \"x\", \"id\": \"x\"}, "
	  "\"map\": {\"url\": \"n\"}",
	  "a.belongs_to.collection: there is no collection \"x\"" },
	{ "\"get\": \"/a\", \"id\": \"id\", \"table\": \"media\", \"map\": {\"resource_external_id\": \"n\"}",
	  "comes from \"belongs_to\" or \"each\"" },
};

static void refused_in_collections(void **state)
{
	for (size_t i = 0; i < ARRAY_LEN(refused_collections); i++) {
		char *keys = mem_printf(TWO, refused_collections[i][0]);

		bad_with(keys, refused_collections[i][1]);
		free(keys);
	}
}

static void addresses(void **state)
{
	static const char *const wrong[] = { "h.example",   "ftp://h",           "https://",
					     "https://h/",  "https://u@h",       "https://h?x=1",
					     "https://h x", "https://{cfg.host}" };
	static const char *const wanted[] = { "api.base.production:" };

	for (size_t i = 0; i < ARRAY_LEN(wrong); i++) {
		char *text = mem_printf(
			"{\"partner\": \"p\", \"manifest\": 1, \"api\": {\"base\": {\"production\": \"%s\"}}}",
			wrong[i]);

		bad(text, wanted, 1);
		free(text);
	}
}

static void headers(void **state)
{
	static const char *const wanted[] = {
		"api.headers.Authorization: \"auth\" sets this header already",
		"api.headers.X: {cred.k} cannot be used here",
		"api.headers.a b: \"a b\" is no name of a header"
	};

	bad("{\"partner\": \"p\", \"manifest\": 1, \"auth\": {\"kind\": \"bearer\"}, \"api\": {\"base\": {\"production\": "
	    "\"https://h\"}, \"headers\": {\"Authorization\": \"x\", \"X\": \"{cred.k}\", \"a b\": \"c\"}}}",
	    wanted, ARRAY_LEN(wanted));
}

static void too_many_problems_are_cut(void **state)
{
	struct buf text = BUF_INIT, problems = BUF_INIT;
	int lines = 0;

	buf_puts(&text, "{\"partner\": \"p\"");
	for (int i = 0; i < 3000; i++)
		buf_printf(&text, ", \"k%d\": 1", i);
	buf_putc(&text, '}');
	assert_null(parse(text.data, &problems));
	for (const char *p = problems.data; *p; p++)
		lines += *p == '\n';
	assert_int_equal(lines, 101);
	assert_non_null(strstr(problems.data, "more problems, not shown"));
	buf_clear(&text);
	buf_clear(&problems);
}

static void no_file(void **state)
{
	struct buf problems = BUF_INIT;
	struct manifest *m = NULL;

	assert_int_equal(manifest_load("/nowhere/p/manifest.json", &m, &problems), -ENOENT);
	assert_non_null(strstr(buf_str(&problems), "/nowhere/p/manifest.json:1: cannot be read"));
	assert_null(m);
	buf_clear(&problems);
	manifest_free(NULL);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(all_errors_at_once),
		cmocka_unit_test(not_json),
		cmocka_unit_test(timeouts),
		cmocka_unit_test(wrong_names),
		cmocka_unit_test(refusals),
		cmocka_unit_test(wrong_lookups),
		cmocka_unit_test(names_in_addresses),
		cmocka_unit_test(refused_beside_the_rest),
		cmocka_unit_test(refused_in_collections),
		cmocka_unit_test(addresses),
		cmocka_unit_test(headers),
		cmocka_unit_test(too_many_problems_are_cut),
		cmocka_unit_test(no_file),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
