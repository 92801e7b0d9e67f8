/* Secrets in XML: what of such a body goes into dead letters and cassettes. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>
#include <string.h>
#include <strings.h>

#include "drivers/kit/exchange_xml.h"
#include "drivers/kit/tape.h"
#include "tests/unit/partner.h"

static bool hides(const char *name, size_t len, void *arg)
{
	return (len == 8 && strncasecmp(name, "password", 8) == 0) ||
	       (len == 10 && strncasecmp(name, "CardNumber", 10) == 0);
}

static void becomes(const char *xml, const char *wanted)
{
	struct buf out = BUF_INIT;

	xml_hide(xml, strlen(xml), hides, NULL, &out);
	assert_string_equal(buf_str(&out), wanted);
	buf_clear(&out);
}

static void by_name(void **state)
{
	becomes("", "");
	becomes("<a>plain</a>", "<a>plain</a>");
	becomes("<r><Password>s3cret</Password><b>kept</b></r>",
		"<r><Password>***</Password><b>kept</b></r>");
	becomes("<ns:password x='1'>s</ns:password><c/>",
		"<ns:password x=\"***\">***</ns:password><c/>");
	becomes("<a Password=\"s1\" b='2' ns:CardNumber = '41 11'/>",
		"<a Password=\"***\" b='2' ns:CardNumber=\"***\"/>");
	becomes("<password/>kept", "<password/>kept");
	becomes("<password></password>kept", "<password></password>kept");
	becomes("<passwords>kept</passwords>", "<passwords>kept</passwords>");
}

/* Whatever stands in an element that hides, until it ends. */
static void what_is_inside(void **state)
{
	becomes("<password>\n <v a=\"s1\">s2</v>\n s3 <w/></password>k",
		"<password>\n <v a=\"***\">***</v>***<w/></password>k");
	becomes("<password><![CDATA[s<b>]]></password><c><![CDATA[k<b>]]></c>",
		"<password>***</password><c><![CDATA[k<b>]]></c>");
	becomes("<password><!-- s --></password><!-- <password>k -->",
		"<password>***</password><!-- <password>k -->");
	becomes("<password>s1<x:password>s2</x:password>s3</password>k",
		"<password>***<x:password>***</x:password>***</password>k");
}

/* More is hidden, and not less. */
static void broken(void **state)
{
	becomes("<password>half", "<password>***");
	becomes("<a password=\"half", "<a password=\"***\"");
	becomes("<a password=", "<a password=\"***\"");
	becomes("<a password=s1 b=2>", "<a password=\"***\" b=2>");
	becomes("<password>s</x>s</password>k", "<password>***</x>***</password>k");
	becomes("<password>s < s", "<password>*********");
	becomes("<", "<");
	becomes("</", "</");
	becomes("<a", "<a");
	becomes("a < b && c > d", "a < b && c > d");
	becomes("<password><![CDATA[half", "<password>***");
	becomes("<input type=password name=x>", "<input type=password name=x>");
}

static void what_looks_like_it(void **state)
{
	assert_true(looks_like_xml("\xef\xbb\xbf \n<a/>", 9));
	assert_false(looks_like_xml("{\"a\":\"<b>\"}", 11));
	assert_false(looks_like_xml("  ", 2));
	assert_false(looks_like_xml("", 0));
}

/* ---- where it is used ---- */

#define XML                                                                                       \
	"<?xml version=\"1.0\"?><OTA_Reservations><RequestorID MessagePassword=\"hunter2\"/>"     \
	"<PaymentCard CardNumber=\"4111111111111111\"><SeriesCode>737</SeriesCode></PaymentCard>" \
	"<soap:AccessToken>t0ken</soap:AccessToken><City>Lisboa</City></OTA_Reservations>"

static bool is_clean(const char *text)
{
	return text && strstr(text, "Lisboa") && !strstr(text, "hunter2") &&
	       !strstr(text, "4111") && !strstr(text, "737") && !strstr(text, "t0ken");
}

static void answer(struct httpd_request *q, int number)
{
	httpd_reply(q, 400, "application/xml", XML, strlen(XML));
}

/* Sends it and gets it back, with a tape in between. */
static void body_both(void)
{
	struct tape *tape = tape_recording(1000000);
	struct door_options o = { .redis = redis,
				  .keyring = keyring,
				  .epoch = "test-1",
				  .permit_wait_ms = 5000,
				  .tape = tape };
	struct call_spec spec = { .endpoint = "/x",
				  .method = "POST",
				  .path = "/x",
				  .body = XML,
				  .body_len = strlen(XML),
				  .content_type = "application/xml" };
	struct buf out = BUF_INIT;
	struct call_result r;
	struct err err = { 0 };
	struct bench b;
	cJSON *x = NULL, *kept;

	partner.answer = answer;
	bench_open(&b, "", "", NULL, 41, 0);
	door_free(b.door);
	b.caller.door = b.door = door_new(&o);
	OK(call(&b.caller, &spec, &r, &err) == -EREMOTEIO);
	OK(strcmp(partner.arrivals[0].body, XML) == 0); /* it is sent as it is */
	call_exchange_print(&b.caller, &spec, &r, &out);
	OK(json_parse(out.data, out.len, 100000, &x, NULL) == 0);
	OK(is_clean(json_str(x, "request_body")) && is_clean(json_str(x, "response_body")));
	kept = tape_take(tape, false);
	OK(is_clean(json_str(kept, "[0].request.text")) &&
	   is_clean(json_str(kept, "[0].response.text")));
	cJSON_Delete(kept);
	cJSON_Delete(x);
	buf_clear(&out);
	call_result_clear(&r);
	bench_close(&b);
	tape_free(tape);
}

static void in_dead_letters_and_cassettes(void **state)
{
	assert_int_equal(on_loop(body_both), 0);
}

static int setup(void **state)
{
	return loop_init() < 0 || http_global_init() < 0 ? -1 : partner_setup(state);
}

static int teardown(void **state)
{
	loop_close();
	return partner_teardown(state);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(by_name),
		cmocka_unit_test(what_is_inside),
		cmocka_unit_test(broken),
		cmocka_unit_test(what_looks_like_it),
		cmocka_unit_test(in_dead_letters_and_cassettes),
	};

	return cmocka_run_group_tests(tests, setup, teardown);
}
