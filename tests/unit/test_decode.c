/* Answers in other formats: what JSON they become, and what is refused. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/json.h"
#include "common/base/mem.h"
#include "drivers/kit/decode.h"

#define ROOM (1 << 20)

struct expected {
	enum body_format format;
	const char *body, *json; /* json NULL: refused, and `why` is said */
	const char *why;
};

static const struct manifest_list lists[] = { { "hotels", "hotel" }, { NULL, "room" } };

static int decode(enum body_format f, const char *body, size_t len, size_t room, struct buf *out,
		  struct err *err)
{
	struct manifest m = { .format = f, .xml_lists = lists, .n_xml_lists = ARRAY_LEN(lists) };

	return decode_answer(&m, body, len, room, out, err);
}

static void check(const struct expected *e)
{
	struct buf out = BUF_INIT;
	struct err err = { 0 };
	cJSON *tree = NULL;
	int rc = decode(e->format, e->body, strlen(e->body), ROOM, &out, &err);

	if (!e->json) {
		if (rc != -EINVAL || !strstr(err.text, e->why))
			fail_msg("%s: %d, %s; wanted: %s", e->body, rc, err.text, e->why);
		assert_int_equal(err.class, ERR_DATA);
	} else if (rc < 0 || strcmp(buf_str(&out), e->json) != 0) {
		fail_msg("%s: %d, %s\nsaid:   %s\nwanted: %s", e->body, rc, err.text, buf_str(&out),
			 e->json);
	} else {
		assert_int_equal(json_parse(out.data, out.len, ROOM, &tree, NULL), 0);
		cJSON_Delete(tree);
	}
	buf_clear(&out);
}

static const struct expected xml[] = {
	{ FORMAT_XML, "<a>x</a>", "{\"a\":\"x\"}", NULL },
	{ FORMAT_XML, "<a/>", "{\"a\":\"\"}", NULL },
	{ FORMAT_XML, "<a b=''/>", "{\"a\":{\"-b\":\"\"}}", NULL },
	{ FORMAT_XML, "<?xml version='1.0' encoding='ISO-8859-1'?><a>\xe9</a>", "{\"a\":\"é\"}",
	  NULL },
	{ FORMAT_XML, "<a id='1'><b>x</b><b>y</b><c>&lt;&#65;&amp;</c></a>",
	  "{\"a\":{\"-id\":\"1\",\"b\":[\"x\",\"y\"],\"c\":\"<A&\"}}", NULL },
	{ FORMAT_XML, "<a id='1'>text</a>", "{\"a\":{\"-id\":\"1\",\"#text\":\"text\"}}", NULL },
	{ FORMAT_XML, "<a>\n <b/>\n tail</a>", "{\"a\":{\"b\":\"\",\"#text\":\"\\n \\n tail\"}}",
	  NULL },
	{ FORMAT_XML, "<a> kept </a>", "{\"a\":\" kept \"}", NULL },
	{ FORMAT_XML, "<a><![CDATA[<b>]]>&quot;</a>", "{\"a\":\"<b>\\\"\"}", NULL },
	{ FORMAT_XML, "<!-- c --><a><?pi x?></a>", "{\"a\":\"\"}", NULL },
	/* namespaces go, and names that meet are one list */
	{ FORMAT_XML, "<s:a xmlns:s='u' xmlns='v' s:k='1'><s:b>1</s:b><b>2</b></s:a>",
	  "{\"a\":{\"-k\":\"1\",\"b\":[\"1\",\"2\"]}}", NULL },
	{ FORMAT_XML, "<a xmlns:xsi='u'><b xsi:nil='true'/><c xsi:nil='false'/></a>",
	  "{\"a\":{\"b\":null,\"c\":\"\"}}", NULL },
	/* what the manifest says is a list is one: of one, of none */
	{ FORMAT_XML, "<hotels><hotel>1</hotel></hotels>", "{\"hotels\":{\"hotel\":[\"1\"]}}",
	  NULL },
	{ FORMAT_XML, "<hotels/>", "{\"hotels\":{\"hotel\":[]}}", NULL },
	{ FORMAT_XML, "<x><room>1</room></x>", "{\"x\":{\"room\":[\"1\"]}}", NULL },
	{ FORMAT_XML, "<x><hotel>1</hotel></x>", "{\"x\":{\"hotel\":\"1\"}}", NULL },
	{ FORMAT_XML, "<a><b></a>", NULL, "no XML: line 1, column 9: mismatched tag" },
	{ FORMAT_XML, "{}", NULL, "no XML: line 1" },
	{ FORMAT_XML, "<a>", NULL, "no XML" },
	{ FORMAT_XML, "<a>\xff</a>", NULL, "no XML" },
	{ FORMAT_XML, "<a>&nbsp;</a>", NULL, "undefined entity" },
	{ FORMAT_XML, "<!DOCTYPE html><html/>", NULL, "a document type (is it HTML?)" },
	{ FORMAT_XML, "<!DOCTYPE a [<!ENTITY b 'c'>]><a>&b;</a>", NULL, "a document type" },
	{ FORMAT_XML, "<!DOCTYPE a SYSTEM 'file:///etc/passwd'><a/>", NULL, "a document type" },
};

static const struct expected csv[] = {
	{ FORMAT_CSV, "a,b\n1,2\n", "[{\"a\":\"1\",\"b\":\"2\"}]", NULL },
	{ FORMAT_CSV,
	  "\xef\xbb\xbf"
	  "a;b\r\n1;2,3\r\n4;5",
	  "[{\"a\":\"1\",\"b\":\"2,3\"},{\"a\":\"4\",\"b\":\"5\"}]", NULL },
	{ FORMAT_CSV, "a\tb\n1\t\n", "[{\"a\":\"1\",\"b\":null}]", NULL },
	{ FORMAT_CSV, "\"a,x\";b\n\"1\";\"\"\n", "[{\"a,x\":\"1\",\"b\":\"\"}]", NULL },
	{ FORMAT_CSV, "a,b\n\"x \"\"y\"\"\n z\",\"é\"\n",
	  "[{\"a\":\"x \\\"y\\\"\\n z\",\"b\":\"é\"}]", NULL },
	{ FORMAT_CSV, "a\n\n1\n\n", "[{\"a\":\"1\"}]", NULL },
	{ FORMAT_CSV, "a,b\n", "[]", NULL },
	{ FORMAT_CSV, "a,b\n1\n", NULL, "line 2: fewer fields than columns" },
	{ FORMAT_CSV, "a,b\n1,2\n1,2,3\n", NULL, "line 3: more fields than columns" },
	{ FORMAT_CSV, "a,a\n", NULL, "two columns have one name" },
	{ FORMAT_CSV, "a\n\"1\n", NULL, "line 2: a quote does not end" },
	{ FORMAT_CSV, "a\n\xe9\n", NULL, "not UTF-8 from byte 2 on" },
};

static const struct expected lines[] = {
	{ FORMAT_JSONL, "{\"a\":1}\n[2,3]\n\n\"x,y\"\r\n", "[{\"a\":1},[2,3],\"x,y\"\r]", NULL },
	{ FORMAT_JSONL, "", "[]", NULL },
	{ FORMAT_JSONL, "1,2\n", NULL, "line 1: there is more than one value" },
	{ FORMAT_JSONL, "1\n{\"a\":\n1}\n", NULL, "line 2: the value on it does not end there" },
	{ FORMAT_JSONL, "1\n]\n", NULL, "line 2: it closes what it did not open" },
	{ FORMAT_JSONL, "\"a\n\"", NULL, "line 1: the value on it does not end" },
	{ FORMAT_TEXT, "OK \"é\"\n", "\"OK \\\"é\\\"\\n\"", NULL },
	{ FORMAT_TEXT, "\xc3", NULL, "not UTF-8" },
};

static void formats(void **state)
{
	for (size_t i = 0; i < ARRAY_LEN(xml); i++)
		check(&xml[i]);
	for (size_t i = 0; i < ARRAY_LEN(csv); i++)
		check(&csv[i]);
	for (size_t i = 0; i < ARRAY_LEN(lines); i++)
		check(&lines[i]);
}

static void repeat(struct buf *out, const char *s, int n)
{
	for (int i = 0; i < n; i++)
		buf_puts(out, s);
}

static int tried(enum body_format f, const struct buf *body, size_t room)
{
	struct buf out = BUF_INIT;
	struct err err = { 0 };
	int rc = decode(f, body->data, body->len, room, &out, &err);

	buf_clear(&out);
	return rc;
}

/* Deep, broad, many names, large: refused on the way. */
static void bounds(void **state)
{
	struct buf body = BUF_INIT;

	repeat(&body, "<a>", 10000);
	assert_int_equal(tried(FORMAT_XML, &body, ROOM), -EINVAL);
	buf_reset(&body);
	buf_puts(&body, "<a>");
	for (int i = 0; i < 300; i++)
		buf_printf(&body, "<n%d/>", i);
	buf_puts(&body, "</a>");
	assert_int_equal(tried(FORMAT_XML, &body, ROOM), -EINVAL);
	buf_reset(&body);
	buf_puts(&body, "<a>");
	repeat(&body, "<b/>", 100000);
	buf_puts(&body, "</a>");
	assert_int_equal(tried(FORMAT_XML, &body, ROOM), -ENOMEM);
	assert_int_equal(tried(FORMAT_XML, &body, 64 * ROOM), 0);
	buf_reset(&body);
	buf_puts(&body, "a\n");
	repeat(&body, "1\n", 100000);
	assert_int_equal(tried(FORMAT_CSV, &body, 100000), -ENOMEM);
	buf_reset(&body);
	repeat(&body, "1\n", 100000);
	assert_int_equal(tried(FORMAT_JSONL, &body, 100000), -ENOMEM);
	assert_int_equal(tried(FORMAT_TEXT, &body, 100000), -ENOMEM);
	buf_clear(&body);
}

int main(void)
{
	const struct CMUnitTest tests[] = { cmocka_unit_test(formats), cmocka_unit_test(bounds) };

	return cmocka_run_group_tests(tests, NULL, NULL);
}
