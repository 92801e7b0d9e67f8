/* Targets that somebody else names.  What we let pass, libcurl, which would call it, must not read as an address of ours: another
 * reading of the same URL is how such checks are passed.  Addresses and lists of what is allowed beside it. */
#include <arpa/inet.h>
#include <curl/curl.h>
#include <errno.h>
#include <netinet/in.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/address.h"
#include "common/base/mem.h"
#include "common/io/target.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

union any {
	struct sockaddr sa;
	struct sockaddr_in v4;
	struct sockaddr_in6 v6;
};

static void need(bool holds)
{
	if (!holds)
		abort();
}

/* false: a name. */
static bool numeric(const char *host, union any *out)
{
	*out = (union any){ .v4.sin_family = AF_INET };
	if (inet_aton(host, &out->v4.sin_addr))
		return true;
	*out = (union any){ .v6.sin6_family = AF_INET6 };
	return inet_pton(AF_INET6, host, &out->v6.sin6_addr) == 1;
}

/* What libcurl would call; NULL: nothing. */
static char *curl_host(const char *url, bool *user)
{
	CURLU *u = curl_url();
	char *host = NULL, *copy = NULL, *name = NULL;
	size_t n;

	if (curl_url_set(u, CURLUPART_URL, url, 0) == CURLUE_OK &&
	    curl_url_get(u, CURLUPART_HOST, &host, 0) == CURLUE_OK) {
		n = strlen(host);
		copy = host[0] == '[' && n > 1 ? mem_strndup(host + 1, n - 2) : mem_strdup(host);
	}
	*user = curl_url_get(u, CURLUPART_USER, &name, 0) == CURLUE_OK;
	curl_free(name);
	curl_free(host);
	curl_url_cleanup(u);
	return copy;
}

static void try_url(const char *url)
{
	struct err err = { 0 };
	union any to;
	bool user;
	char *host;
	int rc = target_judge(url, &err);

	need(rc == 0 || rc == -EINVAL || rc == -EACCES);
	need((rc == 0) == !err.text[0]);
	if (rc < 0)
		return;
	host = curl_host(url, &user);
	need(!user);
	if (host && numeric(host, &to))
		need(address_kind_of(&to.sa) == ADDRESS_PUBLIC);
	free(host);
}

/* Text and bytes of one address are of one kind. */
static void try_address(const uint8_t *data, size_t size)
{
	char text[INET6_ADDRSTRLEN], brackets[INET6_ADDRSTRLEN + 2];
	union any v4 = { .v4.sin_family = AF_INET }, v6 = { .v6.sin6_family = AF_INET6 };

	if (size >= 4) {
		memcpy(&v4.v4.sin_addr, data, 4);
		need(inet_ntop(AF_INET, &v4.v4.sin_addr, text, sizeof(text)) != NULL);
		need(address_kind(text) == address_kind_of(&v4.sa));
	}
	if (size >= 16) {
		memcpy(&v6.v6.sin6_addr, data, 16);
		need(inet_ntop(AF_INET6, &v6.v6.sin6_addr, text, sizeof(text)) != NULL);
		need(address_kind(text) == address_kind_of(&v6.sa));
		snprintf(brackets, sizeof(brackets), "[%s]", text);
		need(address_kind(brackets) == address_kind_of(&v6.sa));
	}
}

static void try_host(const char *host)
{
	union any to;

	need(*address_kind_word(address_kind(host)));
	if (strlen(host) < 256 && !strpbrk(host, " \t\r\n\v\f") && numeric(host, &to))
		need(address_kind(host) == address_kind_of(&to.sa));
}

static void try_list(const char *text)
{
	static const char metadata[] = "169.254.169.254";
	struct address_list *l = NULL;
	struct err err = { 0 };
	union any to;

	if (address_list_new(text, &l, &err) < 0) {
		need(err.text[0] && !l);
		return;
	}
	need(numeric(metadata, &to));
	need(address_list_has(l, metadata) == address_list_has_of(l, &to.sa));
	/* a word for all is none for these */
	need(strpbrk(text, "169/") || !address_list_has(l, metadata));
	address_list_free(l);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	char *text = mem_strndup(size ? (const char *)data : "", size);
	char *url = mem_printf("http://%s/", text);

	try_url(text);
	try_url(url);
	try_host(text);
	try_list(text);
	try_address(data, size);
	free(url);
	free(text);
	return 0;
}
