#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "common/base/json.h"
#include "common/base/mem.h"

/* A copy without a byte to spare, so that the sanitizer sees any look past the end. */
static int parse_exact(const char *text, size_t len, cJSON **out, struct json_error *err)
{
	char *copy = mem_alloc(len);
	int rc;

	memcpy(copy, text, len);
	rc = json_parse(copy, len, 1 << 20, out, err);
	free(copy);
	return rc;
}

static cJSON *need(const char *text)
{
	struct json_error err;
	cJSON *v = NULL;

	if (parse_exact(text, strlen(text), &v, &err) != 0)
		fail_msg("%s: %d:%d %s", text, err.line, err.column, err.text);
	return v;
}

static void refuse(const char *text, size_t len, int rc, int line, int column, const char *words)
{
	struct json_error err;
	cJSON *v = (cJSON *)0x1;

	assert_int_equal(parse_exact(text, len, &v, &err), rc);
	assert_ptr_equal(v, (cJSON *)0x1);
	if (!strstr(err.text, words))
		fail_msg("%s: said: %s, wanted: %s", text, err.text, words);
	if (err.line != line || err.column != column)
		fail_msg("%s: at %d:%d, wanted %d:%d", text, err.line, err.column, line, column);
}

static void takes_json(void **state)
{
	static const char *const good[] = {
		"{}",
		"[]",
		"null",
		" true\n",
		"\"x\"",
		"-0",
		"0",
		"0.5",
		"1e5",
		"-1.25E-3",
		"[[],{}]",
		"{\"a\":{\"b\":[1,2,{\"c\":null}]},\"d\":\"\"}",
		"\"\\u00e9\\ud83d\\ude00\\n\\/\"",
		"\"\xf0\x9f\x98\x80\"",
		"\xef\xbb\xbf{\"bom\":1}",
		"[1 , 2\t,\r\n3]",
		"{\"\":1}",
	};

	for (size_t i = 0; i < ARRAY_LEN(good); i++)
		cJSON_Delete(need(good[i]));
}

static void refuses_with_the_place(void **state)
{
	static const struct {
		const char *text;
		int line, column;
		const char *words;
	} bad[] = {
		{ "", 1, 1, "expected a value, but the text ends" },
		{ "{\"a\":1,\n \"b\":}", 2, 6, "expected a value, found '}'" },
		{ "[1,]", 1, 4, "expected a value, found ']'" },
		{ "[1 2]", 1, 4, "expected ',' or ']', found '2'" },
		{ "{\"a\" 1}", 1, 6, "expected ':'" },
		{ "{a:1}", 1, 2, "name in quotes" },
		{ "{\"a\":1,}", 1, 8, "name in quotes" },
		{ "{\"a\":1]", 1, 7, "expected ',' or '}'" },
		{ "[1", 1, 3, "the text ends" },
		{ "{} x", 1, 4, "follows the end" },
		{ "{}{}", 1, 3, "follows the end" },
		{ "01", 1, 1, "cannot begin with 0" },
		{ "-01", 1, 1, "cannot begin with 0" },
		{ "1.", 1, 3, "expected a digit" },
		{ ".5", 1, 1, "expected a value" },
		{ "+1", 1, 1, "expected a value" },
		{ "1e", 1, 3, "expected a digit" },
		{ "-", 1, 2, "expected a digit" },
		{ "1e999", 1, 1, "too large" },
		{ "NaN", 1, 1, "expected a value" },
		{ "tru", 1, 1, "expected a value" },
		{ "truex", 1, 5, "follows the end" },
		{ "'a'", 1, 1, "expected a value, found '''" },
		{ "[\n\"abc]", 2, 1, "has no end" },
		{ "\"a\nb\"", 1, 3, "control character 0x0a" },
		{ "\"\\x41\"", 1, 2, "unknown escape" },
		{ "\"\\", 1, 2, "unknown escape" },
		{ "\"\\u12\"", 1, 2, "four hexadecimal" },
		{ "\"a\\u0000\"", 1, 3, "\\u0000 (NUL)" },
		{ "\"\\ud800\"", 1, 2, "surrogate" },
		{ "\"\\ud800\\u0041\"", 1, 2, "surrogate" },
		{ "\"\\udc00\"", 1, 2, "surrogate" },
		{ "[\"\xc3\xa9\", x]", 1, 7, "found 'x'" },
		{ "// hi\n1", 1, 1, "expected a value" },
		{ "1111111111111111111111111111111111111111111111111111111111111111", 1, 1,
		  "more than 63 characters" },
	};

	for (size_t i = 0; i < ARRAY_LEN(bad); i++)
		refuse(bad[i].text, strlen(bad[i].text), -EINVAL, bad[i].line, bad[i].column,
		       bad[i].words);
	refuse("\"a\0b\"", 5, -EINVAL, 1, 3, "NUL byte");
	refuse("{}\0", 3, -EINVAL, 1, 3, "follows the end");
	refuse("\0", 1, -EINVAL, 1, 1, "found byte 0x00");
	refuse("[\"\xff\"]", 5, -EILSEQ, 1, 3, "not UTF-8: byte 0xff");
	refuse("[\n\"\xe9t\xe9\"]", 8, -EILSEQ, 2, 2, "not UTF-8: byte 0xe9");
}

static void bounds_of_size_and_depth(void **state)
{
	struct json_error err;
	struct buf b = BUF_INIT;
	cJSON *v = NULL;

	for (int i = 0; i < JSON_DEPTH_MAX; i++)
		buf_puts(&b, i % 2 ? "{\"a\":" : "[");
	buf_puts(&b, "1");
	for (int i = JSON_DEPTH_MAX - 1; i >= 0; i--)
		buf_putc(&b, i % 2 ? '}' : ']');
	cJSON_Delete(need(b.data));
	buf_reset(&b);
	for (int i = 0; i <= JSON_DEPTH_MAX; i++)
		buf_putc(&b, '[');
	refuse(b.data, b.len, -ELOOP, 1, 65, "nested deeper than 64");
	buf_reset(&b);
	buf_puts(&b,
		 "\"[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[\"");
	cJSON_Delete(need(b.data)); /* brackets in a string are no nesting */
	assert_int_equal(json_parse("[1,2]", 5, 4, &v, &err), -E2BIG);
	assert_null(v);
	assert_non_null(strstr(err.text, "5 bytes, at most 4"));
	assert_int_equal(json_parse("[1,2]", 5, 5, &v, NULL), 0);
	cJSON_Delete(v);
	assert_int_equal(json_parse("[1,2", 4, 5, &v, NULL), -EINVAL);
	buf_clear(&b);
}

static void check_text(const cJSON *v, const char *want)
{
	struct buf b = BUF_INIT;

	assert_true(json_scalar_text(v, &b));
	assert_string_equal(buf_str(&b), want);
	buf_clear(&b);
}

static void scalars_as_text(void **state)
{
	cJSON *v = need(
		"[0, -0, 7, 9007199254740992, -9007199254740991, 9007199254740993, 1e3, 1.50, 0.1,"
		"1234567890123456789, 1e20, 1e-7, true, false, \"s \\u00e9\", \"\", null, [], {},"
		"123456789012345678901234567890, 1e15, 123456.789, -18446744073709551615, 5.0]");
	static const char *const want[] = { "0",
					    "0",
					    "7",
					    "9007199254740992",
					    "-9007199254740991",
					    "9007199254740993",
					    "1000",
					    "1.5",
					    "0.1",
					    "1234567890123456789",
					    "100000000000000000000",
					    "1e-07",
					    "true",
					    "false",
					    "s \xc3\xa9",
					    "" };
	struct buf b = BUF_INIT;

	for (size_t i = 0; i < ARRAY_LEN(want); i++)
		check_text(cJSON_GetArrayItem(v, (int)i), want[i]);
	for (int i = 16; i < 19; i++)
		assert_false(json_scalar_text(cJSON_GetArrayItem(v, i), &b));
	assert_false(json_scalar_text(NULL, &b));
	assert_int_equal(b.len, 0);
	check_text(cJSON_GetArrayItem(v, 19), "123456789012345678901234567890");
	check_text(cJSON_GetArrayItem(v, 20), "1000000000000000");
	check_text(cJSON_GetArrayItem(v, 21), "123456.789");
	check_text(cJSON_GetArrayItem(v, 22), "-18446744073709551615");
	check_text(cJSON_GetArrayItem(v, 23), "5");
	cJSON_Delete(v);
}

/* As printf writes them: the shortest of 15 and 17 digits that reads back as the same number. */
static void check_number(double d)
{
	cJSON v = { .type = cJSON_Number, .valuedouble = d };
	char want[40];

	snprintf(want, sizeof(want), "%.15g", d);
	if (strtod(want, NULL) != d)
		snprintf(want, sizeof(want), "%.17g", d);
	check_text(&v, want);
}

static void decimals_as_printf_writes_them(void **state)
{
	static const double odd[] = {
		0.5,      -0.25,       112.5,        0.0001,    0.00011,   0.00009,          1e-6,
		0.000123, 999999999.5, 1000000000.5, 0.1 + 0.2, 1.0 / 3.0, 123456789.123456, 5e-324,
		1.7e308,  0.3,         -0.7,         100.01,    100.001,   -38.722252
	};
	uint64_t x = 42;

	for (size_t i = 0; i < ARRAY_LEN(odd); i++)
		check_number(odd[i]);
	for (int i = 0; i < 100000; i++) {
		static const double tens[] = { 1e1, 1e2, 1e3, 1e4, 1e5, 1e6, 1e7, 1e8 };
		double n;

		x = x * 6364136223846793005u + 1442695040888963407u;
		n = (double)(int64_t)(x >> (20 + x % 40)) + 0.5;
		check_number((i % 2 ? 1 : -1) * (n - 0.5) / tens[i % 8] + 1e-9 * (i % 3 == 0));
		if (n / 7 != __builtin_trunc(n / 7))
			check_number(n / 7);
	}
}

static void round_trip(const char *text, const char *want)
{
	struct buf b = BUF_INIT;
	cJSON *v = need(text), *copy = cJSON_Duplicate(v, true);

	json_print(v, &b);
	assert_string_equal(b.data, want);
	buf_reset(&b);
	json_print(copy, &b);
	assert_string_equal(b.data, want);
	buf_clear(&b);
	cJSON_Delete(v);
	cJSON_Delete(copy);
}

static void sorts(void **state)
{
	struct buf b = BUF_INIT;
	cJSON *v = need(
		"{\"b\":[{\"z\":1,\"y\":{}},2],\"a\":{\"d\":1,\"c\":2,\"e\":3},\"c\":9007199254740993}");

	(void)state;
	json_sort(v);
	json_print(v, &b);
	assert_string_equal(
		b.data,
		"{\"a\":{\"c\":2,\"d\":1,\"e\":3},\"b\":[{\"y\":{},\"z\":1},2],\"c\":9007199254740993}");
	cJSON_AddItemToObject(v, "d", cJSON_CreateNull()); /* its ends are linked */
	assert_string_equal(v->child->prev->string, "d");
	buf_clear(&b);
	cJSON_Delete(v);
}

static void prints_what_it_read(void **state)
{
	round_trip(" { \"a\" : [ 1 , 2.5 , true , null , \"x\" ] , \"b\" : { } , \"c\" : [ ] } ",
		   "{\"a\":[1,2.5,true,null,\"x\"],\"b\":{},\"c\":[]}");
	round_trip(
		"{\"id\":1234567890123456789,\"n\":[9007199254740993,{\"m\":-9007199254740995}],\"z\":12}",
		"{\"id\":1234567890123456789,\"n\":[9007199254740993,{\"m\":-9007199254740995}],\"z\":12}");
	round_trip("\"\\u0001\\b\\f\\n\\r\\t\\\"\\\\\\/\\u00e9\\ud83d\\ude00\\u007f\"",
		   "\"\\u0001\\b\\f\\n\\r\\t\\\"\\\\/\xc3\xa9\xf0\x9f\x98\x80\x7f\"");
	round_trip("{\"a\\\"b\":1}", "{\"a\\\"b\":1}");
}

static void a_changed_number_loses_its_old_digits(void **state)
{
	cJSON *v = need("{\"id\":1234567890123456789}");
	struct buf b = BUF_INIT;

	cJSON_SetNumberValue(cJSON_GetObjectItem(v, "id"), 5);
	json_print(v, &b);
	assert_string_equal(b.data, "{\"id\":5}");
	buf_clear(&b);
	cJSON_Delete(v);
}

static void quotes_anything(void **state)
{
	struct buf b = BUF_INIT;
	cJSON *v;

	json_quote(&b, "a\xff\xc3(\xed\xa0\x80z", 8);
	assert_string_equal(b.data,
			    "\"a\xef\xbf\xbd\xef\xbf\xbd(\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbdz\"");
	buf_reset(&b);
	json_quote(&b, "a\0b", 3);
	assert_string_equal(b.data, "\"a\xef\xbf\xbd"
				    "b\"");
	buf_reset(&b);
	json_quote(&b, "", 0);
	assert_string_equal(b.data, "\"\"");
	for (int c = 1; c < 256; c++) {
		char s[3] = { (char)c, 'x', 0 };

		buf_reset(&b);
		json_quote(&b, s, 2);
		assert_int_equal(json_parse(b.data, b.len, b.len, &v, NULL), 0);
		assert_string_equal(v->valuestring, c < 128 ? s : "\xef\xbf\xbdx");
		cJSON_Delete(v);
	}
	buf_clear(&b);
}

/* A byte that needs care is seen wherever it stands among eight, and in what is left of them. */
static void quotes_long_texts(void **state)
{
	static const unsigned char odd[] = { 1, 0x1f, '"', '\\', '\n', 0x7f, 0x80, 0xc3, 0xff };
	char s[20];
	cJSON *v;

	for (size_t len = 1; len < sizeof(s); len++)
		for (size_t at = 0; at < len; at++)
			for (size_t i = 0; i < sizeof(odd); i++) {
				struct buf b = BUF_INIT;

				memset(s, i % 2 ? '!' : '~', len);
				s[len] = '\0';
				s[at] = (char)odd[i];
				json_quote(&b, s, len);
				assert_int_equal(strlen(b.data), b.len);
				assert_int_equal(json_parse(b.data, b.len, b.len, &v, NULL), 0);
				assert_true((strcmp(v->valuestring, s) == 0) == (odd[i] < 0x80));
				cJSON_Delete(v);
				buf_clear(&b);
			}
}

static const char *const document =
	"{\"a\":{\"b\":[{\"c\":1},{\"c\":2},{\"c\":null}]},\"n\":null,\"s\":\"text\","
	"\"m\":{\"x\":{\"v\":10},\"y\":{\"v\":20}},\"@type\":\"t\",\"e\":[],\"A\":9,"
	"\"l\":[[1,2],[3]],\"t\":true,\"f\":1.5,\"big\":1e300,\"id\":9007199254740992,"
	"\"odd key\":5}";

static void check_path(const cJSON *doc, const char *path, const char *want)
{
	const cJSON *v = json_path(doc, path);
	struct buf b = BUF_INIT;

	if (v)
		json_print(v, &b);
	if (strcmp(buf_str(&b), want) != 0)
		fail_msg("%s: %s, wanted %s", path, buf_str(&b), want);
	buf_clear(&b);
}

static void paths(void **state)
{
	static const char *const rows[][2] = {
		{ "s", "\"text\"" },
		{ "a.b[0].c", "1" },
		{ "a.b[-1].c", "null" },
		{ "a.b[-2].c", "2" },
		{ "a.b[3]", "" },
		{ "a.b[-4]", "" },
		{ "zz", "" },
		{ "a.zz.c", "" },
		{ "A", "9" },
		{ "a.B", "" },
		{ "n", "null" },
		{ "n|s", "\"text\"" },
		{ "zz | s", "\"text\"" },
		{ "zz|n", "null" },
		{ "zz|yy", "" },
		{ "a.b[2].c|a.b[1].c", "2" },
		{ "@.s", "\"text\"" },
		{ "@type", "\"t\"" },
		{ "a.b[*].c", "1" },
		{ "m{*}.v", "10" },
		{ "s.x", "" },
		{ "s[0]", "" },
		{ "a[0]", "" },
		{ "", "" },
		{ ".s", "" },
		{ "a..b", "" },
		{ "a.", "" },
		{ "a.b[", "" },
		{ "a.b[]", "" },
		{ "a.b[x]", "" },
		{ "a.b[0", "" },
		{ "a.b[99999999999999999999]", "" },
		{ "l[1][0]", "3" },
		{ "l[*][1]", "2" },
		{ "odd key", "5" },
		{ "odd key|s", "5" },
		{ "e[*]", "" },
		{ "e[0]", "" },
		{ "m{x}", "" },
		{ "|", "" },
		{ "|s", "\"text\"" },
		{ "e", "[]" },
	};
	cJSON *doc = need(document);
	cJSON *list = need("[{\"id\":4}]");

	for (size_t i = 0; i < ARRAY_LEN(rows); i++)
		check_path(doc, rows[i][0], rows[i][1]);
	assert_ptr_equal(json_path(doc, "@"), doc);
	check_path(list, "[0].id", "4");
	check_path(list, "@[0].id", "4");
	check_path(list, "[*].id", "4");
	check_path(list, "id", "");
	assert_null(json_path(NULL, "a"));
	assert_null(json_path(doc, NULL));
	cJSON_Delete(doc);
	cJSON_Delete(list);
}

static int gather(const cJSON *value, const char *key, int index, void *arg)
{
	struct buf *b = arg;

	buf_printf(b, "%s/%d=", key ? key : "-", index);
	json_print(value, b);
	buf_putc(b, ' ');
	return cJSON_IsNumber(value) && value->valuedouble == 3;
}

static void check_each(const cJSON *doc, const char *path, int rc, const char *want)
{
	struct buf b = BUF_INIT;

	assert_int_equal(json_path_each(doc, path, gather, &b), rc);
	assert_string_equal(buf_str(&b), want);
	buf_clear(&b);
}

static void wildcards(void **state)
{
	cJSON *doc = need(document);

	check_each(doc, "a.b[*].c", 0, "-/0=1 -/1=2 -/2=null ");
	check_each(doc, "m{*}", 0, "x/0={\"v\":10} y/1={\"v\":20} ");
	check_each(doc, "m{*}.v", 0, "x/0=10 y/1=20 ");
	check_each(doc, "l[*][*]", 1, "-/0=1 -/1=2 -/0=3 ");
	check_each(doc, "s", 0, "-/0=\"text\" ");
	check_each(doc, "zz[*]|m{*}.v", 0, "x/0=10 y/1=20 ");
	check_each(doc, "e[*]", 0, "");
	check_each(doc, "s[*]", 0, "");
	check_each(doc, "a{*}[0].c", 0, "b/0=1 ");
	cJSON_Delete(doc);
}

static void typed_access(void **state)
{
	cJSON *doc = need(document);
	int64_t i = 77;

	assert_string_equal(json_str(doc, "s"), "text");
	assert_null(json_str(doc, "A"));
	assert_null(json_str(doc, "n"));
	assert_true(json_int(doc, "A", &i));
	assert_int_equal(i, 9);
	assert_true(json_int(doc, "id", &i));
	assert_true(i == 9007199254740992);
	i = 77;
	assert_false(json_int(doc, "f", &i));
	assert_false(json_int(doc, "big", &i));
	assert_false(json_int(doc, "s", &i));
	assert_false(json_int(doc, "zz", &i));
	assert_int_equal(i, 77);
	assert_true(json_bool(doc, "t", false));
	assert_true(json_bool(doc, "s", true));
	assert_false(json_bool(doc, "zz", false));
	cJSON_Delete(doc);
}

static void an_integer_over_2_53_is_no_int(void **state)
{
	cJSON *v =
		need("[9007199254740993, 9007199254740992, -9007199254740992, -9007199254740993]");
	int64_t i;

	assert_false(json_int(v, "[0]", &i));
	assert_true(json_int(v, "[1]", &i));
	assert_true(json_int(v, "[2]", &i));
	assert_false(json_int(v, "[3]", &i));
	cJSON_Delete(v);
}

static void lines_of_values(void **state)
{
	static const char text[] = "{\n"
				   " \"a\": {\n"
				   "  \"b\": [\n"
				   "   {\"c\": \"x]}\"},\n"
				   "   { \"c\":\n"
				   "     2}\n"
				   "  ],\n"
				   "  \"d.e\": 1,\n"
				   "  \"q\\\"t\": 2\n"
				   " },\n"
				   " \"empty\": []\n"
				   "}";
	static const struct {
		const char *path;
		int line;
	} rows[] = {
		{ "", 1 },       { "@", 1 },        { "a", 2 },        { "a.b", 3 },
		{ "a.b[0]", 4 }, { "a.b[0].c", 4 }, { "a.b[1].c", 6 }, { "a.b[2]", 0 },
		{ "a.d.e", 8 },  { "a.q\"t", 9 },   { "empty", 11 },   { "empty[0]", 0 },
		{ "zz", 0 },     { "a.zz", 0 },     { "a.b.c", 0 },    { "a[0]", 0 },
		{ "a.b[x]", 0 }, { "a.b[1", 0 },    { "emp", 0 },      { "a.b[99999999999]", 0 }
	};

	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		int line = json_line_of(text, sizeof(text) - 1, rows[i].path);

		if (line != rows[i].line)
			fail_msg("%s: line %d, wanted %d", rows[i].path, line, rows[i].line);
	}
	assert_int_equal(json_line_of(text, 20, "empty"), 0); /* cut short: safe, not there */
}

static void utf8(void **state)
{
	static const struct {
		const char *in, *clean;
	} rows[] = {
		{ "plain ascii, longer than eight bytes", NULL },
		{ "\xc3\xa9\xe2\x82\xac\xf0\x9f\x98\x80", NULL },
		{ "\xf4\x8f\xbf\xbf", NULL },
		{ "a\x80"
		  "b",
		  "a\xef\xbf\xbd"
		  "b" },
		{ "\xc0\xaf", "\xef\xbf\xbd\xef\xbf\xbd" },
		{ "\xe2\x82", "\xef\xbf\xbd" },
		{ "\xe2\x82z", "\xef\xbf\xbdz" },
		{ "\xf0\x9f\x98", "\xef\xbf\xbd" },
		{ "\xed\xa0\x80", "\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbd" },
		{ "\xf4\x90\x80\x80", "\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbd" },
		{ "\xe0\x80\x80", "\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbd" },
		{ "12345678\xff", "12345678\xef\xbf\xbd" },
		{ "tab\tline\nbell\x07", NULL },
	};

	for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
		struct buf b = BUF_INIT;
		char *exact = mem_alloc(strlen(rows[i].in));

		memcpy(exact, rows[i].in, strlen(rows[i].in));
		assert_int_equal(utf8_is_valid(exact, strlen(rows[i].in)), rows[i].clean == NULL);
		utf8_append_clean(&b, exact, strlen(rows[i].in));
		assert_string_equal(b.data, rows[i].clean ? rows[i].clean : rows[i].in);
		assert_true(utf8_is_valid(b.data, b.len));
		buf_clear(&b);
		free(exact);
	}
	assert_int_equal(utf8_valid_prefix("ab\xff"
					   "cd",
					   5),
			 2);
}

/* What a tree will take is known before it is built: never less than it takes. */
static void a_tree_is_bounded(void **state)
{
	static const char *const texts[] = { "[1,2,3]", "{\"a\":\"b\",\"c\":[true,null,{}]}",
					     "\"x\"", "[[[[[]]]]]", "{\"id\":9007199254740993}" };
	cJSON *tree = NULL;

	for (size_t i = 0; i < ARRAY_LEN(texts); i++) {
		size_t bytes = 0, again = 0, n = strlen(texts[i]);

		assert_int_equal(json_parse_within(texts[i], n, 100, SIZE_MAX, &bytes, &tree, NULL),
				 0);
		assert_true(bytes >= sizeof(cJSON) && bytes < 100 * n);
		cJSON_Delete(tree);
		tree = NULL;
		assert_int_equal(json_parse_within(texts[i], n, 100, bytes, &again, &tree, NULL),
				 0);
		cJSON_Delete(tree);
		tree = NULL;
		struct json_error err = { 0 };
		assert_int_equal(json_parse_within(texts[i], n, 100, bytes - 1, &again, &tree,
						   &err),
				 -ENOMEM);
		assert_true(again == bytes && tree == NULL && strstr(err.text, "as a tree"));
	}
	/* a million small values: nodes are what counts, not their text */
	struct buf many = BUF_INIT;
	size_t bytes = 0;
	buf_putc(&many, '[');
	for (int i = 0; i < 100000; i++)
		buf_puts(&many, i ? ",1" : "1");
	buf_putc(&many, ']');
	assert_int_equal(json_parse_within(many.data, many.len, 1 << 20, 1 << 20, &bytes, &tree,
					   NULL),
			 -ENOMEM);
	assert_true(bytes >= 100000 * sizeof(cJSON));
	buf_clear(&many);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_tree_is_bounded),
		cmocka_unit_test(takes_json),
		cmocka_unit_test(refuses_with_the_place),
		cmocka_unit_test(bounds_of_size_and_depth),
		cmocka_unit_test(scalars_as_text),
		cmocka_unit_test(sorts),
		cmocka_unit_test(prints_what_it_read),
		cmocka_unit_test(decimals_as_printf_writes_them),
		cmocka_unit_test(a_changed_number_loses_its_old_digits),
		cmocka_unit_test(quotes_anything),
		cmocka_unit_test(quotes_long_texts),
		cmocka_unit_test(paths),
		cmocka_unit_test(wildcards),
		cmocka_unit_test(typed_access),
		cmocka_unit_test(an_integer_over_2_53_is_no_int),
		cmocka_unit_test(lines_of_values),
		cmocka_unit_test(utf8),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
