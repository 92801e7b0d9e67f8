#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "common/base/crypto.h"
#include "common/base/err.h"
#include "common/base/json.h"
#include "common/base/mem.h"
#include "common/base/secret.h"

static void check(const char *in, const char *want)
{
	struct buf b = BUF_INIT;

	buf_puts(&b, in);
	assert_int_equal(secret_in(b.data, b.len), strcmp(in, want) != 0);
	secret_redact(&b);
	assert_string_equal(buf_str(&b), want);
	assert_int_equal(b.len, strlen(want));
	buf_clear(&b);
}

static void values_vanish_while_they_are_held(void **state)
{
	struct secret s = SECRET_INIT;

	check("token hunter2-hunter2 here", "token hunter2-hunter2 here");
	secret_set(&s, "hunter2-hunter2", 15);
	assert_string_equal(secret_reveal(&s), "hunter2-hunter2");
	check("token hunter2-hunter2 here", "token *** here");
	check("hunter2-hunter2", "***");
	check("hunter2-hunter2hunter2-hunter2x", "***x");
	check("hunter2-hunter", "hunter2-hunter");
	check("", "");
	secret_clear(&s);
	assert_null(s.bytes);
	assert_string_equal(secret_reveal(&s), "");
	check("token hunter2-hunter2 here", "token hunter2-hunter2 here");
	secret_clear(&s);
}

static void holders_are_counted(void **state)
{
	struct secret a = SECRET_INIT, b = SECRET_INIT;

	secret_set(&a, "same-secret", 11);
	secret_set(&b, "same-secret", 11);
	secret_clear(&a);
	check("same-secret", "***");
	check("c2FtZS1zZWNyZXQ=", "***=");
	secret_set(&b, "other-secret", 12);
	check("same-secret other-secret", "same-secret ***");
	secret_set(&b, b.bytes, b.len); /* its own bytes */
	assert_string_equal(secret_reveal(&b), "other-secret");
	check("other-secret", "***");
	secret_clear(&b);
	check("same-secret other-secret", "same-secret other-secret");
}

static void short_values_are_left_alone(void **state)
{
	struct secret s = SECRET_INIT;

	secret_set(&s, "12345", 5);
	check("12345", "12345");
	secret_set(&s, "123456", 6);
	check("x123456x", "x***x");
	secret_set(&s, "", 0);
	assert_string_equal(secret_reveal(&s), "");
	secret_clear(&s);
}

static void the_longest_wins_and_overlaps_merge(void **state)
{
	struct secret a = SECRET_INIT, b = SECRET_INIT, c = SECRET_INIT;

	secret_set(&a, "abcdef", 6);
	secret_set(&b, "abcdefghij", 10);
	secret_set(&c, "hijklmno", 8);
	check("<abcdefghij>", "<***>");
	check("<abcdefgh>", "<***gh>");
	check("<abcdefghijklmno>", "<***>");
	secret_clear(&a);
	secret_clear(&b);
	secret_clear(&c);
}

static void encoded_forms_vanish(void **state)
{
	static const char value[] = "p\xc3\xa4ss/w+rd \"q\"";
	struct secret s = SECRET_INIT;
	struct buf b = BUF_INIT;

	secret_set(&s, value, strlen(value));
	check("a=p%C3%A4ss%2Fw%2Brd%20%22q%22&b=1", "a=***&b=1");
	check("a=p%c3%a4ss%2fw%2brd%20%22q%22&b=1", "a=***&b=1");
	check("{\"a\":\"p\xc3\xa4ss/w+rd \\\"q\\\"\"}", "{\"a\":\"***\"}");
	check("{\"a\":\"p\xc3\xa4ss\\/w+rd \\\"q\\\"\"}", "{\"a\":\"***\"}");
	for (int before = 0; before < 6; before++) { /* as in basic auth: user:password */
		const char *users = "user:";
		struct buf plain = BUF_INIT;

		buf_append(&plain, users + 5 - (before > 5 ? 5 : before), (size_t)before);
		buf_puts(&plain, value);
		buf_puts(&plain, "tail");
		buf_reset(&b);
		base64_encode(&b, plain.data, plain.len);
		secret_redact(&b);
		assert_non_null(strstr(b.data, "***"));
		assert_true(b.len < 8 + 3 + 10);
		buf_clear(&plain);
	}
	buf_clear(&b);
	secret_clear(&s);
}

static void url_base64_vanishes(void **state)
{
	struct secret s = SECRET_INIT;

	secret_set(&s, "\xff\xfe\xfb\xef\xbe\xff", 6);
	check("t=//7777--", "t=//7777--"); /* the two alphabets do not mix */
	check("t=//777777", "t=//777777");
	check("t=//77776_", "t=//77776_");
	secret_set(&s, "\xfb\xef\xbe\xfb\xef\xbe", 6);
	check("t=++++++++", "t=***");
	check("t=--------", "t=***");
	secret_clear(&s);
}

static void many_values_at_once(void **state)
{
	static struct secret all[3000];
	struct buf b = BUF_INIT, want = BUF_INIT;
	char text[32];

	for (int i = 0; i < 3000; i++) {
		snprintf(text, sizeof(text), "token-%d-token", i);
		secret_set(&all[i], text, strlen(text));
		buf_printf(&b, "[%s]", text);
		buf_puts(&want, "[***]");
	}
	secret_redact(&b);
	assert_string_equal(b.data, want.data);
	for (int i = 0; i < 3000; i++)
		secret_clear(&all[i]);
	check("token-17-token", "token-17-token");
	buf_clear(&b);
	buf_clear(&want);
}

static void bytes_are_zeroed(void **state)
{
	char p[16] = "secret";
	struct buf b = BUF_INIT;

	secret_zero(p, sizeof(p));
	for (size_t i = 0; i < sizeof(p); i++)
		assert_int_equal(p[i], 0);
	secret_zero(NULL, 0);
	buf_puts(&b, "secret");
	secret_free_buf(&b);
	assert_null(b.data);
	secret_free_buf(&b);
}

static void equality(void **state)
{
	assert_true(secret_equal("abc", 3, "abc", 3));
	assert_false(secret_equal("abc", 3, "abd", 3));
	assert_false(secret_equal("abc", 3, "abcd", 4));
	assert_true(secret_equal(NULL, 0, "", 0));
}

static void errors_carry_no_secret(void **state)
{
	struct secret s = SECRET_INIT;
	struct err e = { .where = "old", .retry_after_ms = 9 };
	char long_text[1000];

	secret_set(&s, "hunter2-hunter2", 15);
	assert_int_equal(err_set(&e, -5, ERR_AUTH, "status 401", "refused: %s", "hunter2-hunter2"),
			 -5);
	assert_string_equal(e.text, "refused: ***");
	assert_string_equal(e.rule, "status 401");
	assert_string_equal(e.where, "");
	assert_int_equal(e.retry_after_ms, 0);
	assert_int_equal(e.class, ERR_AUTH);
	assert_int_equal(err_set(&e, -6, ERR_DATA, e.rule, "again: %s", e.text), -6);
	assert_string_equal(e.text, "again: refused: ***");
	assert_string_equal(e.rule, "status 401");
	memset(long_text, 'x', sizeof(long_text));
	memcpy(long_text + 505, "hunter2-hunter2", 15); /* over the cut at 511 */
	long_text[999] = '\0';
	err_set(&e, -1, ERR_DATA, "r", "%s", long_text);
	assert_null(strstr(e.text, "hunter"));
	memset(long_text, 'x', 510);
	memcpy(long_text + 510, "\xf0\x9f\x98\x80", 5);
	err_set(&e, -1, ERR_DATA, NULL, "%s", long_text);
	assert_int_equal(strlen(e.text), 510);
	assert_string_equal(e.rule, "");
	err_set(&e, -1, ERR_DATA, "r", "a\xff%s", "\xc3");
	assert_string_equal(e.text, "a\xef\xbf\xbd\xef\xbf\xbd");
	assert_int_equal(err_set(NULL, -7, ERR_DATA, "r", "x"), -7);
	secret_clear(&s);
}

static void error_classes_have_names(void **state)
{
	for (int c = 0; c < ERR_CLASS_COUNT; c++) {
		assert_non_null(err_class_name((enum err_class)c));
		assert_int_equal(err_class_parse(err_class_name((enum err_class)c)), c);
	}
	assert_string_equal(err_class_name(ERR_RATE_LIMIT), "rate_limit");
	assert_int_equal(err_class_parse("nonsense"), ERR_CLASS_COUNT);
	assert_int_equal(err_class_parse(NULL), ERR_CLASS_COUNT);
	assert_string_equal(err_class_name(ERR_CLASS_COUNT), "unknown");
}

static void a_hardened_process_dumps_no_core(void **state)
{
	pid_t pid = fork();
	int status;

	if (pid == 0) {
		struct rlimit r;

		secret_harden_process();
		_exit(getrlimit(RLIMIT_CORE, &r) == 0 && r.rlim_max == 0 &&
				      prctl(PR_GET_DUMPABLE, 0, 0, 0, 0) == 0
			      ? 0
			      : 1);
	}
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_int_equal(status, 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(values_vanish_while_they_are_held),
		cmocka_unit_test(holders_are_counted),
		cmocka_unit_test(short_values_are_left_alone),
		cmocka_unit_test(the_longest_wins_and_overlaps_merge),
		cmocka_unit_test(encoded_forms_vanish),
		cmocka_unit_test(url_base64_vanishes),
		cmocka_unit_test(many_values_at_once),
		cmocka_unit_test(bytes_are_zeroed),
		cmocka_unit_test(equality),
		cmocka_unit_test(errors_carry_no_secret),
		cmocka_unit_test(error_classes_have_names),
		cmocka_unit_test(a_hardened_process_dumps_no_core),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
