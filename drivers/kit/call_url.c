#include "drivers/kit/call_door.h"

#include <errno.h>
#include <string.h>
#include <strings.h>

/* Length of "scheme://host:port", 0 where there is none. */
static size_t origin_len(const char *url)
{
	const char *host = url ? strstr(url, "://") : NULL;

	if (!host || (strncasecmp(url, "http://", 7) != 0 && strncasecmp(url, "https://", 8) != 0 &&
		      strncasecmp(url, "smtp://", 7) != 0 && strncasecmp(url, "smtps://", 8) != 0))
		return 0;
	host += 3;
	return (size_t)(host - url) + strcspn(host, "/?#");
}

static bool same_origin(const char *a, const char *b)
{
	size_t n = origin_len(a);

	return n > 0 && origin_len(b) == n && strncasecmp(a, b, n) == 0;
}

static void append_trimmed(struct buf *out, const char *s)
{
	size_t n = strlen(s);

	while (n > 0 && s[n - 1] == '/')
		n--;
	buf_append(out, s, n);
}

/* The path of a base URL without its last slash, "" for none. */
static void base_path(const char *url, struct buf *out)
{
	append_trimmed(out, url + origin_len(url));
}

static bool ends_with(const struct buf *b, const struct buf *tail)
{
	return b->len >= tail->len &&
	       memcmp(buf_str(b) + b->len - tail->len, buf_str(tail), tail->len) == 0;
}

/* A base URL that ends in the path of the manifest's own base may have more before it
 * ("http://127.0.0.1:9099/guesty/v1"): that too stands for the host, so that a token URL follows. */
static void root_of(const struct buf *base, const struct buf *own_path, struct buf *root)
{
	if (own_path->len && ends_with(base, own_path))
		buf_append(root, base->data, base->len - own_path->len);
	else
		buf_append(root, base->data, origin_len(base->data));
}

static const char *manifest_base(const struct manifest *m, const struct integration *i)
{
	bool sandbox = i->environment && strcmp(i->environment, "sandbox") == 0;

	return sandbox ? m->base_sandbox : m->base_production;
}

/* base is left empty where the partner has no such environment. */
void roots_init(struct roots *out, const struct driver *d, const struct integration *i)
{
	const char *own = manifest_base(d->manifest, i);
	const char *base = i->base_url ? i->base_url : own;
	struct buf own_path = BUF_INIT;

	memset(out, 0, sizeof(*out));
	if (!base)
		return;
	if (d->manifest->base_production)
		base_path(d->manifest->base_production, &own_path);
	append_trimmed(&out->base, base);
	/* a host alone moves the host: the path of api.base stays */
	if (i->base_url && out->base.len == origin_len(buf_str(&out->base)))
		buf_append(&out->base, buf_str(&own_path), own_path.len);
	if (out->base.len)
		root_of(&out->base, &own_path, &out->root);
	buf_clear(&own_path);
}

void roots_clear(struct roots *r)
{
	buf_clear(&r->base);
	buf_clear(&r->root);
}

void call_base_url(const struct driver *d, const struct integration *i, struct buf *out)
{
	struct roots r;

	roots_init(&r, d, i);
	buf_append(out, buf_str(&r.base), r.base.len);
	roots_clear(&r);
}

void call_person_url(const struct driver *d, const struct integration *i, const char *url,
		     struct buf *out)
{
	const struct manifest *m = d->manifest;
	struct roots r;

	roots_init(&r, d, i);
	if (same_origin(url, m->base_production) || same_origin(url, m->base_sandbox)) {
		buf_append(out, r.root.data, r.root.len);
		url += origin_len(url);
	}
	buf_puts(out, url);
	roots_clear(&r);
}

void call_host(const struct driver *d, const struct integration *i, struct buf *out)
{
	struct roots r;
	const char *base, *host;

	roots_init(&r, d, i);
	base = buf_str(&r.base);
	host = strstr(base, "://");
	host = host ? host + 3 : base;
	buf_append(out, host, strcspn(host, "/"));
	roots_clear(&r);
}

/* Credentials go with a call: an address that an answer brought must be one of the partner's. */
static int absolute_url(const struct route *r, const char *url, struct buf *out, struct err *err)
{
	const struct manifest *m = r->driver->manifest;

	if (same_origin(url, m->base_production) || same_origin(url, m->base_sandbox)) {
		buf_append(out, r->roots.root.data, r->roots.root.len);
		buf_puts(out, url + origin_len(url));
		return 0;
	}
	if (!same_origin(url, buf_str(&r->roots.base)) && !same_origin(url, m->auth.token_url) &&
	    !same_origin(url, m->auth.device_url))
		return err_set(err, -EINVAL, ERR_DATA, "url",
			       "refused to call %.*s: not a host of this partner's manifest",
			       (int)origin_len(url), url);
	buf_puts(out, url);
	return 0;
}

static void append_pair(struct buf *out, const char *name, const char *value)
{
	buf_putc(out, strchr(out->data, '?') ? '&' : '?');
	http_escape(out, name, strlen(name));
	buf_putc(out, '=');
	http_escape(out, value, strlen(value));
}

/* Behind the base: what a path has as it is, the rest as in a URL. */
static void append_in_path(struct buf *out, const char *value)
{
	buf_putc(out, '/');
	for (; *value; value++) {
		if (strchr("/:*", *value))
			buf_putc(out, *value);
		else
			http_escape(out, value, 1);
	}
}

int route_url(const struct route *r, const struct call_spec *spec, const char *query_name,
	      const char *query_value, struct buf *out, struct err *err)
{
	if (origin_len(spec->path) > 0) {
		int rc = absolute_url(r, spec->path, out, err);

		if (rc < 0)
			return rc;
	} else {
		buf_append(out, r->roots.base.data, r->roots.base.len);
		if (r->driver->manifest->version_in == VERSION_IN_PATH)
			buf_printf(out, "/%s", r->driver->manifest->version);
		if (query_name && !*query_name)
			append_in_path(out, query_value);
		if (spec->path[0] != '/' && spec->path[0] != '?' && spec->path[0] != '\0')
			buf_putc(out, '/');
		if (!query_name || *query_name || strcmp(spec->path, "/") != 0)
			buf_puts(out, spec->path);
	}
	for (int i = 0; i < spec->n_query; i++)
		append_pair(out, spec->query[i].name, spec->query[i].value);
	if (query_name && *query_name)
		append_pair(out, query_name, query_value);
	return 0;
}
