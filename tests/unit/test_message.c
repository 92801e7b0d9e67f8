/* What notifications say, and to whom: names filled and escaped for where they stand, what is missing told with its place, addresses that
 * are none refused. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>
#include <errno.h>
#include <string.h>

#include "common/base/mem.h"
#include "drivers/kit/mail.h"
#include "drivers/kit/message.h"
#include "drivers/kit/notify.h"

static cJSON *json(const char *text)
{
	cJSON *v = NULL;

	assert_int_equal(json_parse(text, strlen(text), 1 << 20, &v, NULL), 0);
	return v;
}

static const char values[] =
	"{\"name\":\"<Ann> & \\\"Bob\\\"\\r\\nBcc: x\\u0007\",\"n\":12,\"deep\":{\"er\":\"x\"},\"none\":null,\"list\":[1],\"evil\":\"{n}\"}";

static void names_are_filled(void **state)
{
	static const struct {
		const char *text;
		enum message_escape how;
		const char *filled;
	} cases[] = {
		{ "Room {n}, {deep.er}", MESSAGE_PLAIN, "Room 12, x" },
		{ "{{n}} and {{{n}}}", MESSAGE_PLAIN, "{n} and {12}" },
		{ "{name}", MESSAGE_LINE, "<Ann> & \"Bob\"  Bcc: x " },
		{ "{name}", MESSAGE_PLAIN, "<Ann> & \"Bob\"\nBcc: x" },
		{ "<b>{name}</b>", MESSAGE_HTML,
		  "<b>&lt;Ann&gt; &amp; &quot;Bob&quot;\nBcc: x</b>" },
		{ "*{name}*", MESSAGE_MRKDWN, "*&lt;Ann&gt; &amp; \"Bob\"\nBcc: x*" },
		{ "{evil}", MESSAGE_PLAIN, "{n}" }, /* a value is no template */
		{ "", MESSAGE_PLAIN, "" },
	};
	cJSON *v = json(values);

	for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
		struct buf out = BUF_INIT;
		struct err err = { 0 };

		assert_int_equal(message_fill("x", cases[i].text, cases[i].how, 1000, v, &out,
					      &err),
				 0);
		assert_string_equal(buf_str(&out), cases[i].filled);
		buf_clear(&out);
	}
	cJSON_Delete(v);
}

static void what_is_wrong_has_its_place(void **state)
{
	static const struct {
		const char *text;
		enum message_escape how;
		const char *told;
	} cases[] = {
		{ "Dear\n\xc3\xa9 {nam}", MESSAGE_PLAIN,
		  "sms.text, line 2, column 3: {nam} has no value" },
		{ "{none}", MESSAGE_PLAIN, "{none} has no value" },
		{ "{list}", MESSAGE_PLAIN, "{list} is no text and no number" },
		{ "{ n }", MESSAGE_PLAIN, "a brace begins no name here" },
		{ "{deep..er}", MESSAGE_PLAIN, "a brace begins no name here" },
		{ "{n", MESSAGE_PLAIN, "a brace begins no name here" },
		{ "n}", MESSAGE_PLAIN, "line 1, column 2: a brace that closes nothing" },
		{ "a\nb", MESSAGE_LINE, "one line is expected" },
		{ "0123456789012345678901234567890123456789x", MESSAGE_PLAIN,
		  "sms.text is too long: at most 40 bytes" },
	};
	cJSON *v = json(values);

	for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
		struct buf out = BUF_INIT;
		struct err err = { 0 };

		assert_int_equal(message_fill("sms.text", cases[i].text, cases[i].how, 40, v, &out,
					      &err),
				 -EINVAL);
		assert_non_null(strstr(err.text, cases[i].told));
		buf_clear(&out);
	}
	cJSON_Delete(v);
}

static void addresses(void **state)
{
	static const char *const good[] = { "a@b.cd", "first.last+tag@sub.example.com",
					    "o'neil@xn--bcher-kva.example" },
				 *const bad[] = { "",
						  "a",
						  "@b.cd",
						  "a@",
						  "a@b",
						  "a@b.",
						  "a@-b.cd",
						  "a@b..cd",
						  "a b@c.de",
						  "a@b.cd\nBcc: x@y.zz",
						  "a@b.cd\r\n",
						  ".a@b.cd",
						  "a.@b.cd",
						  "a..b@c.de",
						  "a@b@c.de",
						  "\"a b\"@c.de",
						  "<a@b.cd>",
						  "a@b.cd, x@y.zz",
						  "a@[127.0.0.1]",
						  "\xc3\xa9@b.cd",
						  "a@\xc3\xa9.cd" },
				 *const phones[] = { "+15005550006", "+351912345678",
						     "+123456789012345" },
				 *const no_phones[] = { "",
							"+",
							"15005550006",
							"+0123456789",
							"+1 500 555 0006",
							"+1500",
							"+1234567890123456",
							"+1500555000x",
							"+15005550006\n" };

	for (size_t i = 0; i < ARRAY_LEN(good); i++)
		assert_null(message_email_problem(good[i]));
	for (size_t i = 0; i < ARRAY_LEN(bad); i++)
		assert_non_null(message_email_problem(bad[i]));
	for (size_t i = 0; i < ARRAY_LEN(phones); i++)
		assert_null(message_phone_problem(phones[i]));
	for (size_t i = 0; i < ARRAY_LEN(no_phones); i++)
		assert_non_null(message_phone_problem(no_phones[i]));
	assert_null(message_token_problem("dXy:APA91b-_"));
	assert_non_null(message_token_problem("a b"));
	assert_non_null(message_token_problem(""));
}

static void templates_are_checked_when_they_are_set(void **state)
{
	static const struct {
		const char *parts, *told;
	} cases[] = {
		{ "[]", "a template is an object" },
		{ "{}", "a template is an object" },
		{ "{\"sms\":\"x\"}", "sms must be an object of texts" },
		{ "{\"sms\":{\"text\":1}}", "sms.text must be a text" },
		{ "{\"sms\":{\"text\":\"a {b\"}}", "sms.text, line 1, column 3: a brace" },
	};
	struct err err = { 0 };
	cJSON *v = json("{\"sms\":{\"text\":\"{guest.name}: {{}}\"}}");

	assert_int_equal(notify_check_parts(v, &err), 0);
	cJSON_Delete(v);
	for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
		v = json(cases[i].parts);
		assert_int_equal(notify_check_parts(v, &err), -EINVAL);
		assert_non_null(strstr(err.text, cases[i].told));
		cJSON_Delete(v);
	}
}

/* ---- mails ---- */

#define KEY "0123456789abcdef0123456789abcdef9999"

static int write_mail(const char *text, struct buf *out, struct err *err)
{
	const char *from = NULL, *to = NULL;
	cJSON *v = json(text);
	int rc = mail_write(v, KEY, 1764400000000000, out, &from, &to, err);

	if (rc == 0) {
		assert_string_equal(from, "desk@example.com");
		assert_string_equal(to, "ann@example.com");
	}
	cJSON_Delete(v);
	return rc;
}

static void mails_are_written(void **state)
{
	struct buf out = BUF_INIT;
	struct err err = { 0 };

	assert_int_equal(
		write_mail(
			"{\"from\":\"desk@example.com\",\"to\":\"ann@example.com\",\"subject\":\"Hi\",\"text\":\"one\\ntwo\"}",
			&out, &err),
		0);
	assert_string_equal(buf_str(&out),
			    "Date: Sat, 29 Nov 2025 07:06:40 +0000\r\n"
			    "Message-ID: <0123456789abcdef0123456789abcdef@example.com>\r\n"
			    "From: <desk@example.com>\r\nTo: <ann@example.com>\r\n"
			    "Subject: Hi\r\nAuto-Submitted: auto-generated\r\n"
			    "MIME-Version: 1.0\r\n"
			    "Content-Type: text/plain; charset=utf-8\r\n"
			    "Content-Transfer-Encoding: 7bit\r\n\r\none\r\ntwo\r\n");
	buf_reset(&out);
	assert_int_equal(
		write_mail(
			"{\"from\":\"desk@example.com\",\"to\":\"ann@example.com\",\"subject\":\"Gr\u00fc\u00dfe\",\"text\":\"\u00fc\","
			"\"from_name\":\"The \\\"Desk\\\"\",\"reply_to\":\"x@example.com\",\"html\":\"<p>\"}",
			&out, &err),
		0);
	assert_non_null(strstr(buf_str(&out), "From: \"The \\\"Desk\\\"\" <desk@example.com>\r\n"));
	assert_non_null(strstr(buf_str(&out), "\r\nReply-To: <x@example.com>\r\n"));
	assert_non_null(strstr(buf_str(&out), "\r\nSubject: =?UTF-8?B?R3LDvMOfZQ==?=\r\n"));
	assert_non_null(strstr(buf_str(&out), "base64\r\n\r\nw7wNCg==\r\n--=_0123"));
	assert_non_null(strstr(buf_str(&out), "text/html; charset=utf-8\r\n"));
	buf_clear(&out);
}

/* Nobody's text makes a header or a recipient, and what is wrong is said without it. */
static void no_mail_says_more_than_it_should(void **state)
{
	static const struct {
		const char *mail, *why;
	} cases[] = {
		{ "{\"from\":\"desk@example.com\",\"to\":\"ann@example.com\",\"subject\":\"a\\r\\nBcc: x@y.z\",\"text\":\"t\"}",
		  "the mail's subject holds a line break" },
		{ "{\"from\":\"desk@example.com\",\"to\":\"ann@example.com\",\"subject\":\"s\",\"text\":\"t\",\"from_name\":\"a\\nb\"}",
		  "the mail's from_name holds a line break" },
		{ "{\"from\":\"desk@example.com\",\"to\":\"ann@example.com\\r\\nDATA\",\"subject\":\"s\",\"text\":\"t\"}",
		  "the mail's to holds a control character" },
		{ "{\"from\":\"desk\",\"to\":\"ann@example.com\",\"subject\":\"s\",\"text\":\"t\"}",
		  "the mail's from has no @" },
		{ "{\"from\":\"desk@example.com\",\"to\":\"ann@example.com\",\"text\":\"t\"}",
		  "the mail's subject is missing" },
		{ "{\"from\":\"desk@example.com\",\"to\":\"ann@example.com\",\"subject\":1,\"text\":\"t\"}",
		  "the mail's subject is no text" },
	};

	for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
		struct buf out = BUF_INIT;
		struct err err = { 0 };

		assert_int_equal(write_mail(cases[i].mail, &out, &err), -EINVAL);
		assert_int_equal(strncmp(err.text, cases[i].why, strlen(cases[i].why)), 0);
		buf_clear(&out);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(names_are_filled),
		cmocka_unit_test(what_is_wrong_has_its_place),
		cmocka_unit_test(addresses),
		cmocka_unit_test(templates_are_checked_when_they_are_set),
		cmocka_unit_test(mails_are_written),
		cmocka_unit_test(no_mail_says_more_than_it_should),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
