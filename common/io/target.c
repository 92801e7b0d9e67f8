#include "common/io/target.h"

#include <errno.h>
#include <stddef.h>
#include <string.h>

#include "common/base/address.h"
#include "common/base/mem.h"
#include "common/io/http_host.h"
#include "common/io/resolve.h"

static struct address_list *allowed;

int target_allow(const char *list, struct err *err)
{
	struct address_list *l = NULL;
	int rc = address_list_new(list ? list : "", &l, err);

	if (rc < 0)
		return rc;
	address_list_free(allowed);
	allowed = l;
	return 0;
}

bool target_is_allowed(const char *host, const struct sockaddr *to)
{
	return address_kind_of(to) == ADDRESS_PUBLIC || address_list_has(allowed, host) ||
	       address_list_has_of(allowed, to);
}

static int refuse(const char *host, const char *address, struct err *err)
{
	enum address_kind k = address_kind(address);

	return err_set(
		err, -EACCES, ERR_CLIENT, "private target",
		"%.80s%s%s is a %s address, which nobody outside can call: LONGSHORE_PRIVATE_TARGETS "
		"(--private-targets) names what is allowed all the same",
		host, strcmp(host, address) ? " resolves to " : "",
		strcmp(host, address) ? address : "", address_kind_word(k));
}

/* libcurl and others read %31%30.0.0.1 as 10.0.0.1: no host needs that, but for the zone of a link in brackets. */
static bool is_disguised(const char *authority, size_t n)
{
	return memchr(authority, '%', n) && !memchr(authority, '[', n);
}

static int parse(const char *url, struct http_url *out, struct err *err)
{
	size_t authority = strcspn(url, ":");

	if (!strncmp(url + authority, "://", 3))
		authority += 3 + strcspn(url + authority + 3, "/?#");
	if (http_url_parse(url, out) < 0 || strpbrk(url, "\\ \t\r\n") ||
	    memchr(url, '@', authority) || is_disguised(url, authority))
		return err_set(
			err, -EINVAL, ERR_CLIENT, "target",
			"no http or https URL of a host (users, blanks and escapes have no place in it)");
	return 0;
}

int target_judge(const char *url, struct err *err)
{
	struct http_url u;
	enum address_kind k;
	int rc = parse(url, &u, err);

	if (rc < 0)
		return rc;
	k = address_kind(u.host);
	if (k == ADDRESS_PUBLIC || k == ADDRESS_NAME || address_list_has(allowed, u.host))
		return 0;
	return refuse(u.host, u.host, err);
}

int target_check(const char *url, int64_t deadline_ms, struct err *err)
{
	struct resolve_all all;
	struct http_url u;
	int rc = target_judge(url, err);

	if (rc < 0 || parse(url, &u, err) < 0)
		return rc;
	if (address_kind(u.host) != ADDRESS_NAME || address_list_has(allowed, u.host))
		return 0;
	rc = resolve_all_wait(u.host, &all, deadline_ms, err);
	for (int i = 0; i < all.n && rc == 0; i++)
		if (address_kind(all.address[i]) != ADDRESS_PUBLIC &&
		    !address_list_has(allowed, all.address[i]))
			rc = refuse(u.host, all.address[i], err);
	return rc;
}

int target_public_url(const char *text, char **out, struct err *err)
{
	size_t n = text ? strlen(text) : 0;
	struct err why = { 0 };
	int rc;

	*out = NULL;
	if (!n)
		return 0;
	if ((strncmp(text, "https://", 8) && strncmp(text, "http://", 7)) ||
	    text[strcspn(text, " \t\r\n?#")])
		return err_set(err, -EINVAL, ERR_CLIENT, "public-url",
			       "--public-url \"%.200s\": https://HOST is expected", text);
	rc = target_judge(text, &why);
	if (rc < 0)
		return err_set(err, rc, ERR_CLIENT, "public-url", "--public-url: %s", why.text);
	while (text[n - 1] == '/')
		n--;
	*out = mem_strndup(text, n);
	return 0;
}
