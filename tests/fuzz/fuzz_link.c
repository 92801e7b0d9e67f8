/* Addresses that an answer brings: whatever stands there, what comes out is one http address without control
 * characters or a user, and reads the same again. */
#include <stdlib.h>
#include <string.h>

#include "common/base/mem.h"
#include "drivers/kit/paginate_link.h"

#define BASE "https://api.acme.example/v1/things?page=1"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void need(bool holds)
{
	if (!holds)
		abort();
}

/* Of a redirect: no climbing is left in it, and it is what a page's address is wherever that is one. */
static void try_redirect(const char *ref)
{
	struct buf url = BUF_INIT, again = BUF_INIT, plain = BUF_INIT;
	struct err err = { 0 };
	const char *path, *up;

	if (url_follow(BASE, ref, &url, &err) == 0) {
		need(url.len == strlen(url.data));
		path = url.data + url_origin_len(url.data);
		up = strstr(path, "/../");
		need(!up || up > path + strcspn(path, "?"));
		need(url_follow(BASE, url.data, &again, &err) == 0 &&
		     strcmp(url.data, again.data) == 0);
		if (url_resolve(BASE, ref, &plain, &err) == 0)
			need(strcmp(url.data, plain.data) == 0);
	} else {
		need(err.class == ERR_DATA && url.len == 0);
	}
	buf_clear(&url);
	buf_clear(&again);
	buf_clear(&plain);
}

static void try_reference(const char *ref)
{
	struct buf url = BUF_INIT, again = BUF_INIT;
	struct err err = { 0 };
	const char *path;

	if (url_resolve(BASE, ref, &url, &err) < 0) {
		need(err.class == ERR_DATA && url.len == 0);
		return;
	}
	need(url_origin_len(url.data) > strlen("http://"));
	for (size_t i = 0; i < url.len; i++)
		need((unsigned char)url.data[i] > ' ' && (unsigned char)url.data[i] < 0x7f);
	need(!memchr(url.data, '@', url_origin_len(url.data)));
	need(!strchr(url.data, '#'));
	path = url.data + url_origin_len(url.data);
	need(!strstr(path, "/../") || strstr(path, "/../") > path + strcspn(path, "?"));
	need(url_resolve(BASE, url.data, &again, &err) == 0 && strcmp(url.data, again.data) == 0);
	url_drop_param(&url, "key");
	path = buf_str(&url) + strcspn(buf_str(&url), "?");
	need(url.len <= again.len && !strstr(path, "&key=") && strncmp(path, "?key=", 5) != 0);
	buf_clear(&url);
	buf_clear(&again);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	char *text = mem_strndup(size ? (const char *)data : "", size);
	struct buf target = BUF_INIT;

	if (link_next(text, &target)) {
		need(!strchr(buf_str(&target), '>'));
		try_reference(buf_str(&target));
	}
	try_reference(text);
	try_redirect(text);
	buf_clear(&target);
	free(text);
	return 0;
}
