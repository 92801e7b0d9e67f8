/* Answers that are not UTF-8: read by the charset they state, else mended. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>
#include <string.h>

#include "common/base/json.h"
#include "common/base/mem.h"
#include "drivers/kit/charset.h"

#define LATIN "text/json; charset=ISO-8859-1"

static void becomes(const char *type, const char *s, const char *wanted, const char *by)
{
	struct buf out = BUF_INIT;
	const char *how = NULL;
	bool mended = charset_mend(type, s, strlen(s), &out, &how);

	assert_int_equal(mended, wanted != NULL);
	if (wanted) {
		assert_string_equal(buf_str(&out), wanted);
		assert_string_equal(how, by);
		assert_true(utf8_is_valid(out.data, out.len));
	} else {
		assert_int_equal(out.len, 0);
	}
	buf_clear(&out);
}

static void stated(void **state)
{
	becomes(LATIN, "caf\xe9", "caf\xc3\xa9", "windows-1252");
	becomes("application/json;charset=\"windows-1252\"", "\x80 5 \x93x\x94",
		"\xe2\x82\xac 5 \xe2\x80\x9cx\xe2\x80\x9d", "windows-1252");
	becomes("application/json; Charset=latin1; q=1", "\xff\x81", "\xc3\xbf\xef\xbf\xbd",
		"windows-1252");
	becomes(LATIN, "caf\xc3\xa9", NULL, NULL); /* it says so, and sends UTF-8 */
	becomes(LATIN, "plain", NULL, NULL);
}

static void unstated(void **state)
{
	becomes(NULL, "caf\xe9!", "caf\xef\xbf\xbd!", "replaced");
	becomes("application/json", "a\xc3", "a\xef\xbf\xbd", "replaced");
	becomes("application/json; charset=utf-8", "\xed\xa0\x80x",
		"\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbdx", "replaced");
	becomes("application/json; charset=utf-16", "\xfe\xff", "\xef\xbf\xbd\xef\xbf\xbd",
		"replaced");
	becomes("application/json", "caf\xc3\xa9", NULL, NULL);
	becomes(NULL, "", NULL, NULL);
}

int main(void)
{
	const struct CMUnitTest tests[] = { cmocka_unit_test(stated), cmocka_unit_test(unstated) };

	return cmocka_run_group_tests(tests, NULL, NULL);
}
