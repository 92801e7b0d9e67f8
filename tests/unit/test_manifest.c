/* Manifests: what is read, with which defaults, and that it can be printed again. */
#include "tests/unit/manifests.h"

#include "common/queue/job.h"

static struct manifest *good(const char *text)
{
	struct buf problems = BUF_INIT;
	struct manifest *m = parse(text, &problems);

	if (!m)
		fail_msg("%s", buf_str(&problems));
	buf_clear(&problems);
	return m;
}

static struct manifest *good_with(const char *keys)
{
	char *text = mem_printf(LEAST, keys);
	struct manifest *m = good(text);

	free(text);
	return m;
}

static void defaults(void **state)
{
	struct manifest *m = good_with("");

	assert_string_equal(m->partner, "p");
	assert_string_equal(m->title, "p");
	assert_string_equal(m->base_production, "https://h.example/v1");
	assert_null(m->base_sandbox);
	assert_int_equal(m->wait_ms, 10000);
	assert_int_equal(m->connect_ms, 5000);
	assert_int_equal(m->write_ms, 10000);
	assert_int_equal(m->read_ms, 10000);
	assert_int_equal(m->total_ms, 60000);
	assert_int_equal(m->concurrency_partner, 16);
	assert_int_equal(m->concurrency_integration, 4);
	assert_int_equal(m->jobs_partner, 2000);
	assert_int_equal(m->jobs_integration, 64);
	assert_int_equal(m->auth.kind, AUTH_NONE);
	assert_int_equal(m->n_limits, 0);
	assert_int_equal(m->n_retry_after, 6);
	assert_string_equal(m->retry_after[0], "retry-after");
	assert_string_equal(m->retry_after[5], "x-rate-limit-reset");
	assert_int_equal(m->paging.kind, PAGING_NONE);
	assert_int_equal(m->paging.max_pages, 10000);
	assert_int_equal(m->n_collections, 0);
	assert_int_equal(m->n_settings, 0);
	manifest_free(m);
}

static void auth_oauth(void **state)
{
	struct manifest *m = good_with(
		", \"auth\": {\"kind\": \"oauth2_client_credentials\", \"token_url\": \"https://h.example/t\","
		" \"send\": \"json\", \"client_auth\": \"basic\", \"params\": {\"scope\": \"x {cfg.scope}\", \"n\": 5},"
		" \"expires\": \"fixed:24h\", \"mint_limit\": {\"count\": 5, \"window\": \"24h\"}}");

	assert_int_equal(m->auth.kind, AUTH_OAUTH2_CLIENT);
	assert_true(m->auth.send_json);
	assert_true(m->auth.secret_in_basic);
	assert_string_equal(m->auth.name, "Authorization");
	assert_string_equal(m->auth.prefix, "Bearer ");
	assert_string_equal(m->auth.token_path, "access_token");
	assert_int_equal(m->auth.expires, EXPIRES_FIXED);
	assert_int_equal(m->auth.expires_fixed_ms, 86400000);
	assert_int_equal(m->auth.early_ms, 300000);
	assert_int_equal(m->auth.mint_count, 5);
	assert_int_equal(m->auth.mint_window_ms, 86400000);
	assert_true(m->auth.mint_share > 0.79 && m->auth.mint_share < 0.81);
	assert_int_equal(m->auth.n_needs, 2);
	assert_string_equal(m->auth.needs[1], "client_secret");
	assert_int_equal(m->auth.params.n, 2);
	assert_string_equal(m->auth.params.v[1].value, "5");
	assert_int_equal(m->auth.n_broken_on, 1);
	assert_int_equal(m->auth.broken_on[0].class, ERR_AUTH);
	assert_true(m->auth.broken_on[0].at_token_url);
	assert_int_equal(cJSON_GetArraySize(m->auth.broken_on[0].in), 2);
	assert_int_equal(m->n_settings, 1);
	assert_string_equal(m->settings[0], "scope");
	manifest_free(m);
}

static void auth_two_step(void **state)
{
	struct manifest *m = good_with(
		", \"auth\": {\"kind\": \"two_step\", \"token_url\": \"https://h.example/t\", \"method\": \"GET\", \"expires\": \"jwt\","
		" \"headers\": {\"refreshToken\": \"{cred.refresh_token}\"}, \"params\": {\"org\": \"{cred.org_id}-{cfg.x}\"}}");
	struct buf out = BUF_INIT;

	assert_int_equal(m->auth.kind, AUTH_TWO_STEP);
	assert_true(m->auth.get);
	assert_int_equal(m->auth.expires, EXPIRES_JWT);
	assert_int_equal(m->auth.n_needs, 2); /* what the templates name */
	assert_string_equal(m->auth.needs[0], "org_id");
	assert_string_equal(m->auth.needs[1], "refresh_token");
	manifest_print(m, &out);
	assert_non_null(strstr(buf_str(&out), "\"expires\":\"jwt\""));
	assert_non_null(strstr(buf_str(&out), "\"method\":\"GET\""));
	assert_non_null(
		strstr(buf_str(&out), "\"headers\":{\"refreshToken\":\"{cred.refresh_token}\"}"));
	buf_clear(&out);
	manifest_free(m);
	m = good_with(
		", \"auth\": {\"kind\": \"two_step\", \"token_url\": \"https://h.example/t\"}");
	assert_int_equal(m->auth.n_needs, 2);
	assert_string_equal(m->auth.needs[1], "client_secret");
	manifest_free(m);
}

static void auth_prefixes(void **state)
{
	static const struct {
		const char *auth, *name, *prefix, *need;
	} cases[] = {
		{ "\"kind\": \"api_key\", \"name\": \"X-Api-Key\"", "X-Api-Key", "", "api_key" },
		{ "\"kind\": \"api_key\"", "Authorization", "Bearer ", "api_key" },
		{ "\"kind\": \"api_key\", \"prefix\": \"Token \"", "Authorization", "Token ",
		  "api_key" },
		{ "\"kind\": \"api_key\", \"in\": \"query\", \"name\": \"key\"", "key", "",
		  "api_key" },
		{ "\"kind\": \"basic\"", "Authorization", "Basic ", "username" },
		{ "\"kind\": \"bearer\", \"needs\": [\"token\"]", "Authorization", "Bearer ",
		  "token" },
	};

	for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
		char *keys = mem_printf(", \"auth\": {%s}", cases[i].auth);
		struct manifest *m = good_with(keys);

		assert_string_equal(m->auth.name, cases[i].name);
		assert_string_equal(m->auth.prefix, cases[i].prefix);
		assert_string_equal(m->auth.needs[0], cases[i].need);
		manifest_free(m);
		free(keys);
	}
}

/* Every kind, scope and weight there is; and printed, they read as the same. */
static void every_kind_of_limit(void **state)
{
	struct manifest *m = good_with(
		", \"limits\": [{\"rate\": 600, \"window\": \"60s\", \"kind\": \"fixed\", \"scope\": \"egress\"},"
		"{\"rate\": 100, \"window\": \"10s\", \"kind\": \"bucket\", \"burst\": 20, \"weight\": 3},"
		"{\"rate\": 90, \"window\": \"5m\", \"scope\": \"endpoints:search\", \"weight\": \"header:X-Cost\"}],"
		"\"collections\": {\"things\": {\"get\": \"/things\", \"id\": \"id\", \"table\": \"resources\", \"group\": \"search\","
		"\"map\": {\"name\": \"name\"}}}");
	struct buf out = BUF_INIT;

	assert_int_equal(m->n_limits, 3);
	assert_true(m->limits[0].kind == LIMIT_FIXED && m->limits[0].scope == SCOPE_EGRESS);
	assert_true(m->limits[0].weight == 1 && !m->limits[0].weight_header);
	assert_true(m->limits[1].kind == LIMIT_BUCKET && m->limits[1].burst == 20 &&
		    m->limits[1].weight == 3 && m->limits[1].scope == SCOPE_INTEGRATION);
	assert_string_equal(m->limits[2].group, "search");
	assert_string_equal(m->limits[2].weight_header, "x-cost");
	assert_string_equal(m->collections[0].group, "search");
	manifest_print(m, &out);
	assert_non_null(strstr(buf_str(&out), "\"endpoints:search\""));
	assert_non_null(strstr(buf_str(&out), "\"header:x-cost\""));
	assert_non_null(strstr(buf_str(&out), "\"egress\""));
	buf_clear(&out);
	manifest_free(m);
}

static void limits_and_headers(void **state)
{
	struct manifest *m = good_with(
		", \"limits\": [{\"rate\": 15, \"window\": \"1s\"}, {\"scope\": \"partner\", \"kind\": \"sliding\","
		" \"rate\": 100, \"window\": 60, \"share\": 0.5}],"
		" \"limit_headers\": [{\"window\": \"1s\", \"remaining\": \"X-Left\", \"reset\": \"X-Reset\"}],"
		" \"retry_after\": [\"X-Wait\"]");

	assert_int_equal(m->n_limits, 2);
	assert_int_equal(m->limits[0].scope, SCOPE_INTEGRATION);
	assert_int_equal(m->limits[0].rate, 15);
	assert_int_equal(m->limits[0].window_ms, 1000);
	assert_true(m->limits[0].share == 0.8);
	assert_int_equal(m->limits[1].scope, SCOPE_PARTNER);
	assert_int_equal(m->limits[1].window_ms, 60000);
	assert_true(m->limits[1].share == 0.5);
	assert_string_equal(m->limit_headers[0].remaining, "x-left");
	assert_null(m->limit_headers[0].limit);
	assert_int_equal(m->n_retry_after, 1);
	assert_string_equal(m->retry_after[0], "x-wait");
	manifest_free(m);
}

static void rules(void **state)
{
	struct manifest *m = good_with(
		", \"errors\": [{\"status\": [403, \"5xx\"], \"json\": \"error.code\", \"in\": [\"EXPIRED\", 7], \"class\": \"auth\"},"
		" {\"text\": \"down for\", \"class\": \"transient\"}, {\"header\": \"X-Blocked\", \"class\": \"rate_limit\"},"
		" {\"json\": \"message\", \"contains\": \"slow\", \"class\": \"rate_limit\"}]");

	assert_int_equal(m->n_errors, 4);
	assert_int_equal(m->errors[0].n_statuses, 2);
	assert_int_equal(m->errors[0].statuses[0], 403);
	assert_int_equal(m->errors[0].statuses[1], -5);
	assert_int_equal(m->errors[0].class, ERR_AUTH);
	assert_null(m->errors[1].json);
	assert_string_equal(m->errors[1].contains, "down for");
	assert_string_equal(m->errors[2].header, "x-blocked");
	assert_string_equal(m->errors[3].json, "message");
	manifest_free(m);
}

static void paging_stops(void **state)
{
	struct manifest *m =
		good_with(", \"pagination\": {\"kind\": \"offset\", \"limit_param\": \"l\","
			  " \"offset_param\": \"o\", \"total\": \"header:X-Total-Count\"}");

	assert_string_equal(m->paging.total, "header:x-total-count");
	assert_int_equal(m->paging.size, 100);
	assert_int_equal(m->paging.n_stops, 2);
	assert_int_equal(m->paging.stops[0].kind, STOP_SHORT_PAGE);
	assert_int_equal(m->paging.stops[1].kind, STOP_TOTAL);
	assert_string_equal(m->paging.stops[1].path, "header:x-total-count");
	manifest_free(m);

	m = good_with(", \"pagination\": {\"kind\": \"page\", \"page_param\": \"p\", \"first\": 0,"
		      " \"stop\": [\"empty\", \"total:meta.count\", \"has_more:meta.more\"]}");
	assert_int_equal(m->paging.first, 0);
	assert_string_equal(m->paging.total, "meta.count");
	assert_int_equal(m->paging.n_stops, 3);
	assert_string_equal(m->paging.stops[2].path, "meta.more");
	manifest_free(m);

	m = good_with(
		", \"pagination\": {\"kind\": \"cursor\", \"cursor_param\": \"c\", \"cursor\": \"next\"}");
	assert_int_equal(m->paging.n_stops, 1);
	assert_int_equal(m->paging.stops[0].kind, STOP_NO_CURSOR);
	manifest_free(m);
}

#define COLLECTIONS                                                                                                                      \
	", \"pagination\": {\"kind\": \"offset\", \"limit_param\": \"l\", \"offset_param\": \"o\"},"                                     \
	" \"collections\": {\"a\": {\"get\": \"/a\", \"id\": \"id\", \"table\": \"resources\", \"id_prefix\": \"a-\","                   \
	"  \"updated_at\": \"u\", \"query\": {\"f\": \"{cfg.site}\", \"n\": 3},"                                                         \
	"  \"incremental\": {\"param\": \"since\"}, \"detail\": {\"get\": \"/a\", \"query\": {\"id\": \"{id}\"}, \"records\": \"x.y\"}," \
	"  \"map\": {\"name\": \"n\", \"lat\": \"x\", \"media_hash\": {\"hash\": \"p[*].id\"}}, \"extra\": [\"tags\"]},"                 \
	" \"b\": {\"get\": \"/a/{parent.id}/b\", \"each\": \"a\", \"when_changed\": \"media_hash\", \"id\": \"id\","                     \
	"  \"lane\": \"low\", \"deletes\": \"none\", \"pagination\": {\"kind\": \"none\"}, \"table\": \"media\","                        \
	"  \"map\": {\"url\": {\"path\": \"u\", \"as\": \"url\"}}},"                                                                     \
	" \"c\": {\"get\": \"/c\", \"id\": \"id\", \"table\": \"transactions\","                                                         \
	"  \"belongs_to\": {\"collection\": \"a\", \"id\": \"aid\"}, \"map\": {\"status\": \"s\"}}}"

static uint64_t bit(enum row_table t, const char *column)
{
	assert_true(row_column_find(t, column) >= 0);
	return UINT64_C(1) << row_column_find(t, column);
}

static void collections(void **state)
{
	struct manifest *m = good_with(COLLECTIONS);
	const struct manifest_collection *a = manifest_collection(m, "a"),
					 *b = manifest_collection(m, "b");
	const struct manifest_collection *c = manifest_collection(m, "c");

	assert_null(manifest_collection(m, "d"));
	assert_string_equal(a->records, "@");
	assert_string_equal(a->detail, "/a");
	assert_int_equal(a->detail_query.n, 1);
	assert_string_equal(a->detail_query.v[0].value, "{id}");
	assert_string_equal(a->detail_records, "x.y");
	assert_int_equal(a->paging.kind, PAGING_OFFSET);
	assert_true(a->incremental.on);
	assert_string_equal(a->incremental.value, "{since}");
	assert_string_equal(a->incremental.format, "iso8601");
	assert_int_equal(a->incremental.overlap_ms, 300000);
	assert_int_equal(a->lane, LANE_NORMAL);
	assert_int_equal(a->deletes.by, DELETES_NEVER);
	assert_null(a->deletes.tombstone);
	assert_int_equal(a->n_map, 3);
	assert_int_equal(a->map[1].as, MAP_NUMBER);
	assert_int_equal(a->map[1].column, row_column_find(ROW_RESOURCES, "lat"));
	assert_true(a->columns == (bit(ROW_RESOURCES, "name") | bit(ROW_RESOURCES, "lat") |
				   bit(ROW_RESOURCES, "media_hash") | bit(ROW_RESOURCES, "extra")));
	assert_int_equal(b->paging.kind, PAGING_NONE);
	assert_int_equal(b->lane, LANE_LOW);
	assert_true(b->columns == (bit(ROW_MEDIA, "url") | bit(ROW_MEDIA, "resource_external_id")));
	assert_false(b->incremental.on);
	assert_int_equal(c->paging.kind, PAGING_OFFSET);
	assert_true(c->columns & bit(ROW_TRANSACTIONS, "resource_external_id"));
	assert_int_equal(m->n_settings, 1);
	assert_string_equal(m->settings[0], "site");
	manifest_free(m);
}

static void deletions(void **state)
{
	struct manifest *m = good_with(
		", \"collections\": {"
		" \"a\": {\"get\": \"/a\", \"id\": \"id\", \"table\": \"resources\", \"deletes\": \"full_scan\", \"merged_into\": \"merge.target|into\", \"map\": {\"name\": \"n\"}},"
		" \"b\": {\"each\": \"a\", \"embedded\": \"p\", \"id\": \"id\", \"table\": \"media\", \"deletes\": \"scan_of_parent\", \"map\": {\"url\": \"u\"}},"
		" \"c\": {\"get\": \"/c\", \"id\": \"id\", \"table\": \"transactions\", \"map\": {\"code\": \"u\"},"
		"  \"deletes\": {\"by\": \"full_scan\", \"tombstone\": {\"path\": \"gone\", \"value\": \"Y\"}, \"brake\": 0.5, \"few\": 9}},"
		" \"d\": {\"get\": \"/d\", \"id\": \"id\", \"id_prefix\": \"d-\", \"table\": \"transactions\", \"map\": {\"code\": \"u\"},"
		"  \"deletes\": {\"tombstone\": {\"path\": \"gone\"}}}}");
	const struct manifest_deletes *a = &manifest_collection(m, "a")->deletes,
				      *c = &manifest_collection(m, "c")->deletes,
				      *d = &manifest_collection(m, "d")->deletes;
	struct buf out = BUF_INIT;

	assert_int_equal(a->by, DELETES_FULL_SCAN);
	assert_true(a->brake == 0.2 && a->few == 2);
	assert_string_equal(manifest_collection(m, "a")->merged_into, "merge.target|into");
	assert_null(manifest_collection(m, "c")->merged_into);
	assert_int_equal(manifest_collection(m, "b")->deletes.by, DELETES_SCAN_OF_PARENT);
	assert_true(c->by == DELETES_FULL_SCAN && c->brake == 0.5 && c->few == 9);
	assert_string_equal(c->tombstone, "gone");
	assert_string_equal(c->value->valuestring, "Y");
	assert_int_equal(d->by, DELETES_NEVER);
	assert_true(cJSON_IsTrue(d->value));
	manifest_print(m, &out);
	assert_non_null(strstr(
		out.data,
		"\"deletes\":{\"by\":\"full_scan\",\"tombstone\":{\"path\":\"gone\",\"value\":\"Y\"},"
		"\"brake\":0.5,\"few\":9}"));
	assert_non_null(strstr(out.data, "\"merged_into\":\"merge.target|into\""));
	buf_clear(&out);
	manifest_free(m);
}

static void comments_are_skipped(void **state)
{
	struct manifest *m = good_with(
		", \"//\": \"one\", \"//\": \"two\", \"auth\": {\"//\": [1], \"kind\": \"none\"},"
		" \"collections\": {\"//\": \"x\", \"a\": {\"get\": \"/a\", \"query\": {\"//\": \"q\"},"
		" \"id\": \"id\", \"table\": \"resources\", \"map\": {\"//\": \"m\", \"name\": \"n\"}}}");

	assert_int_equal(m->n_collections, 1);
	assert_int_equal(m->collections[0].n_map, 1);
	assert_int_equal(m->collections[0].query.n, 0);
	manifest_free(m);
}

#define LOOKUPS                                                                                                                                 \
	", \"critical\": false, \"cache\": {\"a.detail\": \"10m\", \"l\": \"1h\"}, \"lookups\": {\"l\": {\"get\": \"/l/{in.p}\", \"query\": "   \
	"{\"k\": \"{in.q} {cfg.z}\"}, \"params\": {\"p\": {\"as\": \"number\", \"digits\": 2, \"min\": -90, \"max\": 90}, \"q\": {\"case\": "   \
	"\"lower\", \"optional\": true}}, \"result\": \"@[0]\", \"found\": \"x\", \"map\": {\"lat\": {\"path\": \"lat\", \"as\": \"number\"}, " \
	"\"name\": \"n\"}, \"stale\": \"7d\", \"revalidate\": false, \"placeholder\": {\"a\": null}}}"

static void what_is_asked(void **state)
{
	struct manifest *m = good_with(COLLECTIONS LOOKUPS);
	const struct manifest_lookup *l = manifest_lookup(m, "l");

	assert_null(manifest_lookup(m, "a"));
	assert_int_equal(l->ttl_ms, 3600000);
	assert_int_equal(l->stale_ms, 7 * 86400000);
	assert_int_equal(l->negative_ms, 60000);
	assert_false(l->revalidate);
	assert_int_equal(l->n_params, 2);
	assert_int_equal(l->params[0].as, PARAM_NUMBER);
	assert_int_equal(l->params[0].digits, 2);
	assert_int_equal(l->params[1].letters, CASE_LOWER);
	assert_true(l->params[1].optional);
	assert_string_equal(l->map[1].path, "n");
	assert_int_equal(l->map[1].as, FIELD_AS_IT_IS);
	assert_int_equal(manifest_collection(m, "a")->detail_ttl_ms, 600000);
	assert_int_equal(m->n_settings, 2);
	manifest_free(m);
}

/* What is printed is a manifest, and the same one. */
static void printed_again(void **state)
{
	struct manifest *m = good_with(
		COLLECTIONS LOOKUPS
		", \"hooks\": {\"decode_body\": true}, \"limits\": [{\"rate\": 9, \"window\": \"1500ms\"}],"
		" \"errors\": [{\"status\": \"4xx\", \"json\": \"a|b\", \"contains\": \"\\\"é\", \"class\": \"data\"}]");
	struct buf one = BUF_INIT, two = BUF_INIT;
	struct manifest *again;

	manifest_print(m, &one);
	again = good(buf_str(&one));
	manifest_print(again, &two);
	assert_string_equal(buf_str(&one), buf_str(&two));
	assert_non_null(strstr(one.data, "\"window\":\"1500ms\""));
	assert_non_null(strstr(one.data, "\"status\":[\"4xx\"]"));
	assert_true(again->hooks.decode_body);
	buf_clear(&one);
	buf_clear(&two);
	manifest_free(m);
	manifest_free(again);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(defaults),
		cmocka_unit_test(auth_oauth),
		cmocka_unit_test(auth_two_step),
		cmocka_unit_test(auth_prefixes),
		cmocka_unit_test(limits_and_headers),
		cmocka_unit_test(every_kind_of_limit),
		cmocka_unit_test(rules),
		cmocka_unit_test(paging_stops),
		cmocka_unit_test(collections),
		cmocka_unit_test(deletions),
		cmocka_unit_test(comments_are_skipped),
		cmocka_unit_test(what_is_asked),
		cmocka_unit_test(printed_again),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
