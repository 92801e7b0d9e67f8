/* Where the next page is: Link headers and references, as partners write them and as attackers would. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>
#include <errno.h>
#include <string.h>

#include "common/base/mem.h"
#include "drivers/kit/paginate_link.h"

#define BASE "https://api.acme.example/v1/things?page=1&x=y"

static void link_is(const char *header, const char *wanted)
{
	struct buf out = BUF_INIT;
	bool found = link_next(header, &out);

	if (found != (wanted != NULL))
		fail_msg("%s: %s", header, found ? out.data : "nothing found");
	if (wanted)
		assert_string_equal(out.data, wanted);
	buf_clear(&out);
}

static void links(void **state)
{
	link_is("<https://a/b?page=2>; rel=\"next\"", "https://a/b?page=2");
	link_is("<https://a/1>; rel=\"prev\", <https://a/3>; rel=\"next\", <https://a/9>; rel=\"last\"",
		"https://a/3");
	link_is("</x?a=1,2;3>;rel=next", "/x?a=1,2;3");
	link_is("<u>; title=\"a, b; rel=\\\"next\\\"\"; rel=\"last\", <v> ; REL = \"first NEXT\"",
		"v");
	link_is("<u>; rel=\"nextish\"", NULL);
	link_is("<u>; rel=\"prev\"; rel=\"next\"", NULL); /* the first counts */
	link_is("<u>; rel=\"next\"; anchor=\"/other\"", NULL);
	link_is("<u>; title=next, <v>; rel=next", "v");
	link_is(", ,<v>;rel=next", "v");
	link_is("garbage, <v>;rel=next", "v");
	link_is("<u; rel=next", NULL);
	link_is("<u>; rel=\"next", "u"); /* a quote that is not closed */
	link_is("<u>", NULL);
	link_is("", NULL);
	link_is("<>; rel=next", "");
}

static void means(const char *ref, const char *wanted)
{
	struct buf out = BUF_INIT;
	struct err err = { 0 };
	int rc = url_resolve(BASE, ref, &out, &err);

	if ((rc == 0) != (wanted != NULL))
		fail_msg("\"%s\": %d %s %s", ref, rc, buf_str(&out), err.text);
	if (wanted) {
		assert_string_equal(buf_str(&out), wanted);
	} else {
		assert_int_equal(rc, -EBADMSG);
		assert_int_equal(err.class, ERR_DATA);
		assert_int_equal(out.len, 0);
	}
	buf_clear(&out);
}

static void references(void **state)
{
	means("https://api.acme.example/v1/things?page=2",
	      "https://api.acme.example/v1/things?page=2");
	means("/v1/things?page=2", "https://api.acme.example/v1/things?page=2");
	means("?page=2", "https://api.acme.example/v1/things?page=2");
	means("things?page=2", "https://api.acme.example/v1/things?page=2");
	means("//api.acme.example/z", "https://api.acme.example/z");
	means("  /a b\"{c}\xc3\xa9|\\  ", "https://api.acme.example/a%20b%22%7Bc%7D%C3%A9%7C%5C");
	means("/x#part", "https://api.acme.example/x");
	means("HTTP://other/x", "HTTP://other/x"); /* whose host it is, the door says */
	means("x:y", NULL);
	means("mailto:a@b", NULL);
	means("javascript:alert(1)", NULL);
	means("file:///etc/passwd", NULL);
	means("https://api.acme.example@evil.example/", NULL);
	means("https://evil.example\\@api.acme.example/", NULL);
	means("https:///x", NULL);
	means("//", NULL);
	means("/a\r\nX-Evil: 1", NULL);
	means("/v1/../admin", NULL);
	means("/v1/./x", NULL);
	means("..", NULL);
	means("/x?up=/../y", "https://api.acme.example/x?up=/../y");
	means("", NULL);
	means("   ", NULL);
	means("#top", NULL);
}

/* As of a redirect: the examples of RFC 3986, section 5.4, without those that keep a fragment or have no host. */
static void follows(void **state)
{
	static const char *const pairs[][2] = {
		{ "g", "/b/c/g" },
		{ "./g", "/b/c/g" },
		{ "g/", "/b/c/g/" },
		{ "/g", "/g" },
		{ "?y", "/b/c/d;p?y" },
		{ "g?y", "/b/c/g?y" },
		{ "g?y/./x", "/b/c/g?y/./x" },
		{ "g?y/../x#s", "/b/c/g?y/../x" },
		{ ";x", "/b/c/;x" },
		{ ".", "/b/c/" },
		{ "./", "/b/c/" },
		{ "..", "/b/" },
		{ "../", "/b/" },
		{ "../g", "/b/g" },
		{ "../..", "/" },
		{ "../../", "/" },
		{ "../../g", "/g" },
		{ "../../../../g", "/g" },
		{ "/./g", "/g" },
		{ "/../g", "/g" },
		{ "g.", "/b/c/g." },
		{ "..g", "/b/c/..g" },
		{ "./../g", "/b/g" },
		{ "./g/.", "/b/c/g/" },
		{ "g/./h", "/b/c/g/h" },
		{ "g/../h", "/b/c/h" },
		{ "g;x=1/../y", "/b/c/y" },
		{ "http://a/x/../y?z", "/y?z" },
	};

	for (size_t i = 0; i < ARRAY_LEN(pairs); i++) {
		struct buf out = BUF_INIT, wanted = BUF_INIT;
		struct err err = { 0 };

		buf_printf(&wanted, "http://a%s", pairs[i][1]);
		assert_int_equal(url_follow("http://a/b/c/d;p?q", pairs[i][0], &out, &err), 0);
		assert_string_equal(buf_str(&out), buf_str(&wanted));
		assert_int_equal(out.len, strlen(out.data));
		buf_clear(&out);
		buf_clear(&wanted);
	}
}

static void long_references(void **state)
{
	static char url[9000];

	memset(url, 'a', sizeof(url));
	url[0] = '/';
	url[sizeof(url) - 1] = '\0';
	means(url, NULL);
}

static void drops(const char *url, const char *wanted)
{
	struct buf u = BUF_INIT;

	buf_puts(&u, url);
	url_drop_param(&u, "key");
	assert_string_equal(buf_str(&u), wanted);
	buf_clear(&u);
}

static void parameters(void **state)
{
	drops("https://a/b?key=s&x=1", "https://a/b?x=1");
	drops("https://a/b?x=1&key=s", "https://a/b?x=1");
	drops("https://a/b?x=1&key=s&key=t&y=2", "https://a/b?x=1&y=2");
	drops("https://a/b?key=s", "https://a/b");
	drops("https://a/b?key", "https://a/b");
	drops("https://a/b?keys=1&monkey=2", "https://a/b?keys=1&monkey=2");
	drops("https://a/key=1", "https://a/key=1");
	drops("https://a/b?", "https://a/b");
	drops("", "");
}

static void origins(void **state)
{
	assert_int_equal(url_origin_len("https://a:1/b"), 11);
	assert_int_equal(url_origin_len("http://a?x"), 8);
	assert_int_equal(url_origin_len("/a"), 0);
	assert_int_equal(url_origin_len("ftp://a"), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(links),      cmocka_unit_test(references),
		cmocka_unit_test(follows),    cmocka_unit_test(long_references),
		cmocka_unit_test(parameters), cmocka_unit_test(origins),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
