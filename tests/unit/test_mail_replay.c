/* Dialogues with servers of mail: what is written down of one, and what comes of it when it is gone through again. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <errno.h>
#include <string.h>

#include "common/base/crypto.h"
#include "common/base/mem.h"
#include "common/io/mail_replay.h"
#include "drivers/kit/action.h"
#include "drivers/kit/tape.h"

/* ---- what is written down ---- */

static void hears(struct mail_dialogue *d, const char *s)
{
	for (; *s; s++) /* in the smallest pieces */
		mail_dialogue_heard(d, s, 1);
}

static void says(struct mail_dialogue *d, const char *s)
{
	mail_dialogue_said(d, s, strlen(s));
}

static void is_masked(void **state)
{
	struct mail_dialogue d = { 0 };

	hears(&d, "220 mail.example.com\r\n");
	says(&d, "EHLO desk.internal\r\n");
	hears(&d, "250-mail.example.com Hello desk.internal [192.0.2.7]\r\n250 AUTH PLAIN\r\n");
	says(&d, "AUTH PLAIN AGRlc2sAczNjcmV0\r\n");
	hears(&d, "334 PDEyMy40NTZAbWFpbD4=\r\n");
	says(&d, "AGRlc2sAczNjcmV0\r\n");
	hears(&d, "235 welcome ann@example.com\r\n");
	says(&d, "MAIL FROM:<desk@example.com> SIZE=1234\r\n");
	says(&d, "RCPT TO:<ann@example.com>\r\n");
	hears(&d, "550 <ann@example.com>: no \001such \xffuser\r\nbroken");
	says(&d, "QUIT\r\n");
	assert_string_equal(d.lines.data, "S: 220 mail.example.com\n"
					  "C: EHLO ***\n"
					  "S: 250-mail.example.com ***\n"
					  "S: 250 AUTH PLAIN\n"
					  "C: AUTH PLAIN ***\n"
					  "S: 334 ***\n"
					  "C: ***\n"
					  "S: 235 welcome ***\n"
					  "C: MAIL FROM:<***> SIZE=***\n"
					  "C: RCPT TO:<***>\n"
					  "S: 550 <***>: no  such \xef\xbf\xbduser\n"
					  "C: QUIT\n");
	mail_dialogue_clear(&d);
}

/* Why a token is refused is told, without whose it is. */
static void reasons(void **state)
{
	static const char told[] = "{\"status\":\"401\",\"user\":\"ann@example.com\"}",
			  kept[] = "{\"status\":\"401\",\"user\":\"***\"}";
	struct mail_dialogue d = { 0 };
	struct buf line = BUF_INIT, coded = BUF_INIT;

	buf_puts(&line, "334 ");
	base64_encode(&line, told, strlen(told));
	buf_puts(&line, "\r\n");
	hears(&d, line.data);
	base64_encode(&coded, kept, strlen(kept));
	assert_memory_equal(d.lines.data, "S: 334 ", 7);
	assert_memory_equal(d.lines.data + 7, coded.data, coded.len);
	buf_clear(&line);
	buf_clear(&coded);
	mail_dialogue_clear(&d);
}

static void is_bounded(void **state)
{
	struct mail_dialogue d = { 0 };
	char flood[3000];

	memset(flood, '\xff', sizeof(flood));
	mail_dialogue_heard(&d, flood, sizeof(flood));
	for (int i = 0; i < 2 * MAIL_DIALOGUE_LINES_MAX; i++)
		mail_dialogue_heard(&d, "x\n", 2);
	assert_int_equal(d.n, MAIL_DIALOGUE_LINES_MAX);
	assert_true(strcspn(d.lines.data, "\n") < MAIL_DIALOGUE_LINE_BYTES);
	assert_false(mail_dialogue_add(&d, "S: 250 one more"));
	mail_dialogue_clear(&d);
	assert_false(mail_dialogue_add(&d, "X: 250"));
	assert_false(mail_dialogue_add(&d, "S:250"));
	assert_false(mail_dialogue_add(&d, "S: 250\nC: QUIT"));
	assert_true(mail_dialogue_add(&d, "S: "));
	mail_dialogue_clear(&d);
}

/* ---- what comes of it ---- */

#define HELLO "S: 220 x\nC: EHLO ***\n"
#define PLAIN HELLO "S: 250 x\n"
#define MAIL "C: MAIL FROM:<***>\n"
#define RCPT "C: RCPT TO:<***>\n"
#define TO_DATA PLAIN MAIL "S: 250 ok\n" RCPT "S: 250 ok\nC: DATA\n"
#define TO_END TO_DATA "S: 354 go\nC: (message)\n"
#define TLS HELLO "S: 250 STARTTLS\nC: STARTTLS\nS: 220 go\nC: EHLO ***\n"
#define TOKEN "S: 250-x\nS: 250 AUTH XOAUTH2\nC: AUTH XOAUTH2\nS: 334 \nC: ***\n"
#define BEARER "S: 250-x\nS: 250 AUTH OAUTHBEARER\nC: AUTH OAUTHBEARER\nS: 334 \nC: ***\n"
#define WHY "S: 334 eyJzdGF0dXMiOiI0MDAifQ==\nC: ***\nS: 535 no\n"

enum { AS_IS = 1, BY_TOKEN = 2 };

struct asked {
	int endings;
	bool refuses;
};

static int on_end(void *arg)
{
	struct asked *a = arg;

	a->endings++;
	return a->refuses ? -EAGAIN : 0;
}

static void read_lines(const char *text, struct mail_dialogue *out)
{
	while (*text) {
		char *line = mem_strndup(text, strcspn(text, "\n"));

		assert_true(mail_dialogue_add(out, line));
		free(line);
		text += strcspn(text, "\n") + 1;
	}
}

static int go(struct mail_replay *r, int how, struct asked *a, struct http_response *out)
{
	static const char body[] = "Subject: x\r\n\r\n.\r\n";
	const struct http_mail mail = { .from = "desk@example.com",
					.to = "ann@example.com",
					.user = how & BY_TOKEN ? "***" : NULL,
					.token = how & BY_TOKEN ? "***" : NULL,
					.plain = how & AS_IS };
	const struct http_request q = { .method = "POST",
					.url = "smtp://h/",
					.mail = &mail,
					.body = body,
					.body_len = strlen(body),
					.ending = on_end,
					.sending_arg = a };

	return mail_replay(r, &q, out);
}

/* ended: the message's end was asked for; where it was said it may have been taken. */
static void comes_to(const char *text, int how, const char *failure, int status, const char *what,
		     bool ended, bool unsent)
{
	struct mail_dialogue d = { 0 };
	struct mail_replay r = { .dialogue = &d, .failure = failure, .detail = "as it was" };
	struct asked a = { 0 };
	struct http_response out;
	int rc;

	read_lines(text, &d);
	http_response_init(&out);
	rc = go(&r, how, &a, &out);
	if (rc != 0)
		fail_msg("%s\n-> %d, line %d: %s", text, rc, r.line, buf_str(&r.problem));
	if (out.status != status || out.mail != (status > 0) || out.unsent != unsent ||
	    (a.endings == 1) != ended || !strstr(status ? buf_str(&out.body) : out.failure, what))
		fail_msg("%s\n-> %d %s (%s), unsent %d, %d endings", text, out.status,
			 status ? buf_str(&out.body) : out.failure, out.detail, out.unsent,
			 a.endings);
	http_response_clear(&out);
	mail_dialogue_clear(&d);
}

static void outcomes(void **state)
{
	comes_to(TO_END "C: .\nS: 250 taken\nC: QUIT\n", AS_IS, NULL, 250, "250 taken", true,
		 false);
	comes_to(TO_END "C: .\nS: 250-it\nS: 250 is\n", AS_IS, NULL, 250, "250-it\n250 is", true,
		 false);
	/* the server's word, wherever it comes */
	comes_to("S: 554 not you\n", AS_IS, NULL, 554, "not you", false, true);
	comes_to(PLAIN MAIL "S: 552 too long\nC: QUIT\n", AS_IS, NULL, 552, "too long", false,
		 true);
	comes_to(PLAIN MAIL "S: 250 ok\n" RCPT "S: 451 later\nC: QUIT\n", AS_IS, NULL, 451, "later",
		 false, true);
	comes_to(TO_DATA "S: 354 go\nS: 421 I close\n", AS_IS, NULL, 421, "I close", false, true);
	comes_to(TO_END "S: 421 I close\nC: QUIT\n", AS_IS, NULL, 421, "I close", true, true);
	comes_to(TO_END "C: .\nS: 552 full\n", AS_IS, NULL, 552, "full", true, false);
	/* the first, behind the end: what is said with it does not undo it */
	comes_to(TO_END "C: .\nS: 250 taken\nS: 421 bye\nC: QUIT\n", AS_IS, NULL, 250, "250 taken",
		 true, false);
	comes_to(TO_END "C: .\nS: 250-it\nS: 250 is\nS: 550 what\nS: rubbish\n", AS_IS, NULL, 250,
		 "250-it\n250 is", true, false);
	comes_to(TO_END "C: .\nS: 552 full\nS: 421 bye\n", AS_IS, NULL, 552, "full", true, false);
	/* no word */
	comes_to("", AS_IS, "refused", 0, "refused", false, true);
	comes_to("S: 220 x\n", AS_IS, NULL, 0, "reset", false, true);
	comes_to(HELLO "S: 250 x\n", 0, "tls", 0, "tls", false, true);
	comes_to(TO_DATA, AS_IS, "timeout", 0, "timeout", false, true);
	comes_to(TO_END, AS_IS, NULL, 0, "reset", true, true);
	comes_to(TO_END "C: .\n", AS_IS, "timeout", 0, "timeout", true, false);
	/* one that does not fit, or is none */
	comes_to("S: HTTP/1.1 400\n", AS_IS, NULL, 0, "network", false, true);
	comes_to(PLAIN MAIL "S: HTTP/1.1 400\n", AS_IS, NULL, 0, "network", false, true);
	comes_to(TO_DATA "S: 250 ok\n", AS_IS, NULL, 0, "network", false, true);
	comes_to(TO_END "C: .\nS: 354 more\n", AS_IS, NULL, 0, "network", true, false);
	/* what a server takes in advance */
	comes_to(HELLO "S: 250-x\nS: 250 SIZE 10\nC: MAIL FROM:<***> SIZE=***\nS: 552 too long\n",
		 AS_IS, NULL, 552, "too long", false, true);
}

static void logins(void **state)
{
	comes_to(TLS "S: 250 AUTH PLAIN\nC: AUTH PLAIN\nS: 334 \nC: ***\nS: 535 no\n", 0, NULL, 535,
		 "535 no", false, true);
	comes_to(TLS "S: 250 x\n" MAIL "S: 530 who are you\n", 0, NULL, 530, "who are you", false,
		 true);
	comes_to(TLS TOKEN "S: 235 ok\n" MAIL "S: 550 no\n", BY_TOKEN, NULL, 550, "no", false,
		 true);
	comes_to(TLS TOKEN WHY, BY_TOKEN, NULL, 535, "535 no {\"status\":\"400\"}", false, true);
	comes_to(TLS BEARER WHY, BY_TOKEN, NULL, 535, "535 no {\"status\":\"400\"}", false, true);
	comes_to(TLS TOKEN "S: 454 later\n", BY_TOKEN, NULL, 454, "later", false, true);
	comes_to(TLS TOKEN "S: 334 eyJzdGF0dXMiOiI0MDAifQ==\nC: ***\n", BY_TOKEN, NULL, 0, "reset",
		 false, true);
}

static void goes_astray(const char *text, int how, int line, const char *problem)
{
	struct mail_dialogue d = { 0 };
	struct mail_replay r = { .dialogue = &d };
	struct asked a = { 0 };
	struct http_response out;

	read_lines(text, &d);
	http_response_init(&out);
	assert_int_equal(go(&r, how, &a, &out), -EBADMSG);
	if (r.line != line || !strstr(r.problem.data, problem))
		fail_msg("%s\n-> line %d: %s", text, r.line, r.problem.data);
	buf_clear(&r.problem);
	http_response_clear(&out);
	mail_dialogue_clear(&d);
}

static void other_ways(void **state)
{
	goes_astray(PLAIN MAIL "S: 250 ok\nC: DATA\n", AS_IS, 5,
		    "\"C: DATA\" is written down, and what would be said is C: RCPT TO:<***>");
	goes_astray(PLAIN MAIL "S: 250 ok\nS: 550 no\nC: QUIT\n", AS_IS, 5,
		    "\"S: 550 no\" is written down, and what would be said is C: RCPT TO:<***>");
	goes_astray(PLAIN MAIL RCPT, AS_IS, 4, "the server's word would be waited for");
	goes_astray(PLAIN MAIL "S: 550 no\nC: QUIT\nS: 221 bye\n", AS_IS, 6,
		    "the dialogue would be over");
	goes_astray(PLAIN MAIL "S: 250 ok\n", 0, 3, "STARTTLS is demanded before it");
	goes_astray(PLAIN "C: DATA\n", AS_IS, 3, "nothing that is said before MAIL FROM");
	goes_astray("S: 554 no\n" MAIL, AS_IS, 1, "nothing would be said after");
	goes_astray(MAIL, AS_IS, 0, "nothing would be said after");
	goes_astray(TLS "S: 250 AUTH XOAUTH2\n" MAIL, BY_TOKEN, 7,
		    "what would be said is C: AUTH XOAUTH2");
	goes_astray(TO_END "C: .\nS: 250 ok\nC: QUIT\nC: QUIT\n", AS_IS, 13, "would be over");
}

/* Whoever may not end it does not. */
static void not_ended(void **state)
{
	struct mail_dialogue d = { 0 };
	struct mail_replay r = { .dialogue = &d };
	struct asked a = { .refuses = true };
	struct http_response out;

	read_lines(TO_END "C: .\nS: 250 ok\n", &d);
	http_response_init(&out);
	assert_int_equal(go(&r, AS_IS, &a, &out), -EAGAIN);
	assert_int_equal(a.endings, 1);
	http_response_clear(&out);
	mail_dialogue_clear(&d);
}

/* ---- in a cassette ---- */

static void is_wrong(const char *text, const char *wanted)
{
	struct buf problem = BUF_INIT;
	cJSON *v = NULL;

	assert_int_equal(json_parse(text, strlen(text), 1 << 20, &v, NULL), 0);
	assert_int_equal(tape_dialogue_check(v, &problem), -EINVAL);
	if (strncmp(buf_str(&problem), wanted, strlen(wanted)) != 0)
		fail_msg("%s", buf_str(&problem));
	cJSON_Delete(v);
	buf_clear(&problem);
}

static void forms(void **state)
{
	is_wrong("{\"status\":250}", "dialogue: expected a list");
	is_wrong("{\"dialogue\":[\"S: 220\",\"220\"]}", "dialogue[1]: expected a line");
	is_wrong("{\"dialogue\":[\"S: 220\\n\"]}", "dialogue[0]: expected a line");
	is_wrong("{\"dialogue\":[7]}", "dialogue[0]: expected a line");
	is_wrong("{\"dialogue\":[],\"failure\":7}", "failure: expected a text");
	is_wrong("{\"dialogue\":[],\"status\":250}", "status: a mail's answer has");
}

/* ---- what is known of it ---- */

static enum action_known judged(int status, bool unsent, bool handed, enum err_class class)
{
	const struct call_mark mark = { .written = 1, .handed = handed };
	const struct call_result r = {
		.http = { .status = status, .mail = status > 0, .unsent = unsent }
	};
	const struct err why = { .class = class, .rule = "x" };

	return action_judge(false, &mark, &r, class == ERR_NONE ? 0 : -EREMOTEIO, &why);
}

static void known(void **state)
{
	assert_int_equal(judged(250, false, true, ERR_NONE), KNOWN_DONE);
	assert_int_equal(judged(451, true, false, ERR_TRANSIENT), KNOWN_NOT);
	assert_int_equal(judged(550, true, false, ERR_CLIENT), KNOWN_REFUSED);
	assert_int_equal(judged(535, true, false, ERR_AUTH), KNOWN_REFUSED);
	assert_int_equal(judged(552, false, true, ERR_CLIENT), KNOWN_REFUSED);
	assert_int_equal(judged(0, true, false, ERR_TRANSIENT), KNOWN_NOT);
	assert_int_equal(judged(0, false, true, ERR_TRANSIENT), KNOWN_NOTHING);
	/* it was taken; that its word found no room here does not undo that */
	assert_int_equal(judged(250, false, true, ERR_MEMORY), KNOWN_NOTHING);
	assert_int_equal(judged(250, false, true, ERR_DATA), KNOWN_NOTHING);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(is_masked),  cmocka_unit_test(reasons),
		cmocka_unit_test(is_bounded), cmocka_unit_test(outcomes),
		cmocka_unit_test(logins),     cmocka_unit_test(other_ways),
		cmocka_unit_test(not_ended),  cmocka_unit_test(forms),
		cmocka_unit_test(known),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
