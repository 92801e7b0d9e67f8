/* What is taken out of an answer before anybody sees it. */
#include "tests/unit/manifests.h"

#include "drivers/kit/body.h"
#include "drivers/kit/drop.h"

static void dropped(const char *text, const char *wanted)
{
	static const char *const names[] = { "Guarantee", "CardNumber" };
	struct buf body = BUF_INIT;

	buf_puts(&body, text);
	drop_elements(names, 2, &body);
	if (body.len != strlen(wanted) || (body.len && memcmp(body.data, wanted, body.len) != 0))
		fail_msg("of %s: %.*s, wanted %s", text, (int)body.len, body.len ? body.data : "",
			 wanted);
	buf_clear(&body);
}

static void elements(void **state)
{
	dropped("", "");
	dropped("no XML", "no XML");
	dropped("<a><Guarantee>4111</Guarantee>b</a>", "<a>b</a>");
	dropped("<a><Guarantee x='>' y=\"/\">4111</Guarantee >b</a>", "<a>b</a>");
	dropped("<a><ota:guarantee><x/></ota:guarantee>b<CardNumber/>c</a>", "<a>bc</a>");
	dropped("<a><Guarantee><Guarantee>1</Guarantee>2</Guarantee>b</a>", "<a>b</a>");
	dropped("<GuaranteePayment>card</GuaranteePayment>",
		"<GuaranteePayment>card</GuaranteePayment>");
	dropped("<a b=\"1 > 0\">t</a><!-- c -->", "<a b=\"1 > 0\">t</a><!-- c -->");
}

/* Whatever is broken is read so that less is kept. */
static void broken(void **state)
{
	dropped("<a><Guarantee>4111", "<a>");
	dropped("<a><Guarantee", "<a>");
	dropped("<a><Guarantee x=\"4111", "<a>");
	dropped("<a><Guarantee><b>4111</a>", "<a>");
	dropped("<a x=\"><Guarantee>4111</Guarantee>", "<a x=\">");
	dropped("<a></Guarantee>b</a>", "<a>b</a>");
	dropped("<a><Guarantee><![CDATA[</Guarantee>4111]]>2</Guarantee>b</a>", "<a>b</a>");
	dropped("<a><Guarantee><!--</Guarantee>4111-->2</Guarantee>b</a>", "<a>b</a>");
	dropped("<a><!-- <Guarantee>4111</Guarantee> --></a>", "<a><!--  --></a>");
	dropped("<a><![CDATA[<Guarantee>4111</Guarantee>]]></a>", "<a><![CDATA[]]></a>");
}

static void other_charsets(void **state)
{
	static const char *const names[] = { "Guarantee" };
	static const char wide[] = "<\0G\0u\0a\0r\0a\0n\0t\0e\0e\0>\0004\0001\0";
	struct buf body = BUF_INIT;

	buf_append(&body, wide, sizeof(wide) - 1);
	drop_elements(names, 1, &body);
	assert_int_equal(body.len, 0);
	buf_clear(&body);
}

/* Requests as XML: the same notation that answers are read in. */
static void requests(void **state)
{
	struct manifest m = { .body = BODY_XML };
	struct buf out = BUF_INIT;
	cJSON *v = NULL;
	static const char json[] =
		"{\"A\":{\"B\":\"x < \\\"y\\\" & z\",\"-n\":1,\"C\":[{\"-id\":\"7\"},{\"#text\":\"t\"},true],"
		"\"D\":null,\"-e\":null,\"F\":\"\",\"G\":\"a\\u0001b\"}}";

	assert_int_equal(json_parse(json, strlen(json), sizeof(json), &v, NULL), 0);
	assert_string_equal(body_write(&m, v, &out), "application/xml");
	assert_string_equal(
		buf_str(&out),
		"<?xml version=\"1.0\" encoding=\"UTF-8\"?><A n=\"1\"><B>x &lt; &quot;y&quot; &amp; z</B>"
		"<C id=\"7\"></C><C>t</C><C>true</C><F></F><G>ab</G></A>");
	cJSON_Delete(v);
	buf_clear(&out);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(elements),
		cmocka_unit_test(broken),
		cmocka_unit_test(other_charsets),
		cmocka_unit_test(requests),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
