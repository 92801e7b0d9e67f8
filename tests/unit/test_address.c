/* Where nobody outside can call us, and where nobody may send us. */
#include "common/base/address.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "common/base/mem.h"
#include "common/io/co.h"
#include "common/io/http.h"
#include "common/io/httpd.h"
#include "common/io/loop.h"
#include "common/io/target.h"

static void kinds(void **state)
{
	static const struct {
		const char *host;
		enum address_kind kind;
	} v[] = {
		{ "8.8.8.8", ADDRESS_PUBLIC },
		{ "172.15.255.255", ADDRESS_PUBLIC },
		{ "172.32.0.0", ADDRESS_PUBLIC },
		{ "100.63.255.255", ADDRESS_PUBLIC },
		{ "169.253.1.1", ADDRESS_PUBLIC },
		{ "[2606:4700::1111]", ADDRESS_PUBLIC },
		{ "2a00:1450:4001::1", ADDRESS_PUBLIC },
		{ "api.acme.example", ADDRESS_NAME },
		{ "beef", ADDRESS_NAME },
		{ "10.0.0.0x", ADDRESS_NAME },
		{ "1.2.3.4.example", ADDRESS_NAME },
		{ "", ADDRESS_NAME },
		{ "notlocalhost", ADDRESS_NAME },
		/* this host */
		{ "127.0.0.1", ADDRESS_LOOPBACK },
		{ "127.255.255.254", ADDRESS_LOOPBACK },
		{ "0.0.0.0", ADDRESS_LOOPBACK },
		{ "0", ADDRESS_LOOPBACK },
		{ "127.1", ADDRESS_LOOPBACK },
		{ "2130706433", ADDRESS_LOOPBACK },
		{ "0x7f.1", ADDRESS_LOOPBACK },
		{ "0177.0.0.1", ADDRESS_LOOPBACK },
		{ "127.0.0.1.", ADDRESS_LOOPBACK },
		{ "localhost", ADDRESS_LOOPBACK },
		{ "LocalHost.", ADDRESS_LOOPBACK },
		{ "db.localhost", ADDRESS_LOOPBACK },
		{ "::1", ADDRESS_LOOPBACK },
		{ "[::]", ADDRESS_LOOPBACK },
		{ "0:0:0:0:0:0:0:1", ADDRESS_LOOPBACK },
		{ "::ffff:127.0.0.1", ADDRESS_LOOPBACK },
		{ "::127.0.0.1", ADDRESS_LOOPBACK },
		{ "64:ff9b::7f00:1", ADDRESS_LOOPBACK },
		{ "2002:7f00:1::", ADDRESS_LOOPBACK },
		/* networks of our own */
		{ "10.255.0.1", ADDRESS_PRIVATE },
		{ "172.16.0.1", ADDRESS_PRIVATE },
		{ "172.31.255.255", ADDRESS_PRIVATE },
		{ "192.168.1.1", ADDRESS_PRIVATE },
		{ "[::ffff:c0a8:101]", ADDRESS_PRIVATE },
		{ "2002:a00:1::1", ADDRESS_PRIVATE },
		{ "fc00::1", ADDRESS_PRIVATE },
		{ "fdff::1", ADDRESS_PRIVATE },
		{ "fec0::1", ADDRESS_PRIVATE },
		{ "64:ff9b:1::a00:1", ADDRESS_PRIVATE },
		{ "169.254.1.1", ADDRESS_LINK_LOCAL },
		{ "fe80::1%eth0", ADDRESS_LINK_LOCAL },
		{ "[febf::1]", ADDRESS_LINK_LOCAL },
		{ "100.64.0.1", ADDRESS_SHARED },
		{ "100.127.255.255", ADDRESS_SHARED },
		/* clouds */
		{ "169.254.169.254", ADDRESS_METADATA },
		{ "::ffff:169.254.169.254", ADDRESS_METADATA },
		{ "2852039166", ADDRESS_METADATA },
		{ "168.63.129.16", ADDRESS_METADATA },
		{ "100.100.100.200", ADDRESS_METADATA },
		{ "fd00:ec2::254", ADDRESS_METADATA },
		/* nobody's */
		{ "224.0.0.1", ADDRESS_RESERVED },
		{ "255.255.255.255", ADDRESS_RESERVED },
		{ "192.0.2.7", ADDRESS_RESERVED },
		{ "198.19.0.1", ADDRESS_RESERVED },
		{ "2001:db8::1", ADDRESS_RESERVED },
		{ "2001:0:1::1", ADDRESS_RESERVED },
		{ "ff02::1", ADDRESS_RESERVED },
		{ "4000::1", ADDRESS_RESERVED },
	};

	for (size_t i = 0; i < ARRAY_LEN(v); i++) {
		enum address_kind k = address_kind(v[i].host);

		if (k != v[i].kind)
			fail_msg("%s is %s, not %s", v[i].host, address_kind_word(k),
				 address_kind_word(v[i].kind));
	}
}

static void what_is_allowed(void **state)
{
	static const char *const wrong[] = { "10.0.0.0/33", "::/129",      "10.0.0.0/", "a b/8",
					     "http://x",    "10.0.0.0/8x", "name/8",    "a,b@c" };
	struct address_list *l = NULL;
	struct err err = { 0 };

	assert_int_equal(
		address_list_new("10.1.0.0/16, [fd00:1::]/32,hooks.internal, 169.254.169.254", &l,
				 &err),
		0);
	assert_true(address_list_has(l, "10.1.255.1"));
	assert_true(address_list_has(l, "::ffff:10.1.2.3"));
	assert_false(address_list_has(l, "10.2.0.1"));
	assert_true(address_list_has(l, "[fd00:1:ffff::1]"));
	assert_false(address_list_has(l, "fd00:2::1"));
	assert_true(address_list_has(l, "Hooks.Internal"));
	assert_false(address_list_has(l, "x.hooks.internal"));
	assert_true(address_list_has(l, "169.254.169.254"));
	assert_false(address_list_has(l, "127.0.0.1"));
	address_list_free(l);
	assert_int_equal(address_list_new("*", &l, &err), 0);
	assert_true(address_list_has(l, "127.0.0.1"));
	assert_false(address_list_has(l, "169.254.169.254"));
	assert_false(address_list_has(NULL, "127.0.0.1"));
	address_list_free(l);
	for (size_t i = 0; i < ARRAY_LEN(wrong); i++) {
		if (address_list_new(wrong[i], &l, &err) != -EINVAL)
			fail_msg("%s was taken", wrong[i]);
	}
}

static void urls(void **state)
{
	static const struct {
		const char *url;
		int rc;
	} v[] = {
		{ "https://hooks.acme.example/x?y=@1", 0 },
		{ "http://8.8.8.8:8080", 0 },
		{ "https://127.0.0.1/", -EACCES },
		{ "https://[::ffff:10.0.0.1]:8443/x", -EACCES },
		{ "http://0x7f000001/", -EACCES },
		{ "http://169.254.169.254/latest/meta-data", -EACCES },
		{ "https://LOCALHOST", -EACCES },
		{ "ftp://8.8.8.8/", -EINVAL },
		{ "8.8.8.8", -EINVAL },
		{ "", -EINVAL },
		{ "https://", -EINVAL },
		{ "https://acme.example@10.0.0.1/", -EINVAL },
		{ "https://8.8.8.8\\@10.0.0.1/", -EINVAL },
		{ "https://8.8.8.8/\n", -EINVAL },
		{ "https://[::1/", -EINVAL },
		{ "http://%31%30.0.0.1/", -EINVAL },
		{ "http://10%2e0.0.1/", -EINVAL },
		{ "http://[fe80::1%25eth0]/", -EACCES },
		{ "https://acme.example/%2e?a=%40", 0 },
	};
	struct err err = { 0 };

	assert_int_equal(target_allow("", &err), 0);
	for (size_t i = 0; i < ARRAY_LEN(v); i++)
		if (target_judge(v[i].url, &err) != v[i].rc)
			fail_msg("%s: %d", v[i].url, target_judge(v[i].url, &err));
	assert_int_equal(target_judge("http://10.0.0.1/", &err), -EACCES);
	assert_string_equal(
		err.text,
		"10.0.0.1 is a private address, which nobody outside can call: LONGSHORE_PRIVATE_TARGETS "
		"(--private-targets) names what is allowed all the same");
	assert_int_equal(target_allow("10.0.0.0/8", &err), 0);
	assert_int_equal(target_judge("http://10.0.0.1/", &err), 0);
	assert_int_equal(target_allow("10.0.0.0/99", &err), -EINVAL); /* what was stays */
	assert_int_equal(target_judge("http://10.0.0.1/", &err), 0);
	assert_int_equal(target_allow("", &err), 0);
}

/* A guarded pool judges what it connects to, whatever the name is. */
static struct {
	char url[200], host[128];
	struct err checked;
	int check, arrivals;
	char plain[16], guarded[16], named[16];
} got;

static void on_get(struct httpd_request *q, void *arg)
{
	got.arrivals++;
	httpd_reply_text(q, 200, "hello\n");
}

static void send_one(struct http_pool *p, const char *url, char out[16])
{
	struct http_request q = { .method = "GET", .url = url };
	struct http_response r;

	http_response_init(&r);
	if (http_send(p, &q, &r) == 0)
		snprintf(out, 16, "%s", r.status ? "there" : r.failure);
	http_response_clear(&r);
}

static void body(void *arg)
{
	struct httpd_options o = { .listen = "127.0.0.1:0" };
	struct httpd *h = NULL;
	struct err err = { 0 };

	if (httpd_new(&o, &h, &err) == 0) {
		struct http_pool *plain = http_pool_new("plain", 2),
				 *pool = http_pool_new("guarded", 2);

		httpd_route(h, "GET", "/", on_get, NULL);
		http_pool_guard(pool);
		/* A name that the resolver knows and that stands for no literal of ours. */
		snprintf(got.url, sizeof(got.url), "http://localhost:%d/", httpd_port(h));
		send_one(plain, got.url, got.plain);
		send_one(pool, got.url, got.guarded);
		gethostname(got.host, sizeof(got.host) - 1);
		snprintf(got.url, sizeof(got.url), "http://%s/", got.host);
		got.check = target_check(got.url, loop_now_ms() + 5000, &got.checked);
		snprintf(got.url, sizeof(got.url), "http://localhost:%d/", httpd_port(h));
		if (target_allow("localhost", &err) == 0)
			send_one(pool, got.url, got.named);
		http_pool_free(pool);
		http_pool_free(plain);
		httpd_free(h);
	}
	loop_stop();
}

static void a_guarded_pool(void **state)
{
	struct err err = { 0 };

	assert_int_equal(target_allow("", &err), 0);
	assert_int_equal(loop_init(), 0);
	assert_int_equal(http_global_init(), 0);
	assert_non_null(co_spawn("test", body, NULL));
	loop_run();
	loop_close();
	assert_string_equal(got.plain, "there");
	assert_string_equal(got.guarded, "private");
	assert_string_equal(got.named, "there");
	assert_int_equal(got.arrivals, 2);
	/* Hosts files give the host's own name a loopback address; a name server might give a public one, or none. */
	assert_true(got.check == -EACCES || got.check == -EHOSTUNREACH || got.check == 0);
	if (got.check == -EACCES)
		assert_non_null(strstr(got.checked.text, " resolves to "));
	assert_int_equal(target_allow("", &err), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(kinds),
		cmocka_unit_test(what_is_allowed),
		cmocka_unit_test(urls),
		cmocka_unit_test(a_guarded_pool),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
