#include "drivers/kit/call_door.h"

#include <errno.h>
#include <stdlib.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>

#include "common/base/config.h"
#include "common/base/mem.h"
#include "drivers/kit/decode.h"
#include "drivers/kit/subst.h"

const char *setting_text(const struct integration *i, const char *name, struct buf *keep)
{
	const cJSON *v = i->settings ? cJSON_GetObjectItemCaseSensitive(i->settings, name) : NULL;

	buf_reset(keep);
	return v && json_scalar_text(v, keep) ? buf_str(keep) : NULL;
}

const char *cfg_text(const struct manifest *m, const struct integration *i, const char *name,
		     struct buf *keep)
{
	const struct manifest_setting *s = manifest_setting(m, name);
	const char *text = setting_text(i, name, keep);

	if (text || !s || !s->fallback || !json_scalar_text(s->fallback, keep))
		return text;
	return buf_str(keep);
}

struct cfg_lookup {
	const struct manifest *manifest;
	const struct integration *integration;
	struct buf keep;
};

static const char *cfg_value(const char *name, void *arg)
{
	struct cfg_lookup *l = arg;

	return strncmp(name, "cfg.", 4) == 0
		       ? cfg_text(l->manifest, l->integration, name + 4, &l->keep)
		       : NULL;
}

static int add_header(struct route *r, const char *name, char *value, struct err *err)
{
	if (r->n_headers == DOOR_HEADERS_MAX) {
		free(value);
		return err_set(err, -EINVAL, ERR_INTERNAL, "manifest", "more than %d headers",
			       DOOR_HEADERS_MAX);
	}
	/* a line break in a setting would let it write headers of its own */
	if (value[strcspn(value, "\r\n")] != '\0') {
		free(value);
		return err_set(err, -EINVAL, ERR_CLIENT, "settings",
			       "header %s: a line break in its value", name);
	}
	r->headers[r->n_headers++] = (struct http_header){ mem_strdup(name), value };
	return 0;
}

static bool has_header(const struct route *r, const char *name)
{
	for (int i = 0; i < r->n_headers; i++)
		if (strcasecmp(r->headers[i].name, name) == 0)
			return true;
	return false;
}

static int route_headers(struct route *r, const struct caller *c, struct err *err)
{
	const struct manifest *m = r->driver->manifest;
	const struct manifest_pairs *p = &m->headers;
	struct cfg_lookup look = { m, c->integration, BUF_INIT };
	int rc = 0;

	for (int i = 0; i < p->n && rc == 0; i++) {
		struct buf value = BUF_INIT;

		rc = subst(p->v[i].value, SUBST_RAW, cfg_value, &look, &value, err);
		if (rc == 0)
			rc = add_header(r, p->v[i].name, buf_detach(&value), err);
		buf_clear(&value);
	}
	buf_clear(&look.keep);
	if (rc == 0 && m->version_in == VERSION_IN_HEADER)
		rc = add_header(r, m->version_name, mem_strdup(m->version), err);
	if (rc == 0 && !has_header(r, "accept"))
		rc = add_header(r, "Accept", mem_strdup(decode_accepts(m->format)), err);
	if (rc == 0 && !has_header(r, "user-agent"))
		rc = add_header(r, "User-Agent", mem_strdup("longshore/" LONGSHORE_VERSION), err);
	return rc;
}

static void route_free(struct route *r)
{
	for (int i = 0; i < r->n_headers; i++) {
		free((char *)r->headers[i].name);
		free((char *)r->headers[i].value);
	}
	for (int i = 0; i < r->n_seen; i++) {
		free((char *)r->seen[i].limit);
		free((char *)r->seen[i].remaining);
		free((char *)r->seen[i].reset);
	}
	free(r->seen);
	free(r->told);
	route_limits_free(r);
	roots_clear(&r->roots);
	free(r);
}

void route_put(struct route *r)
{
	if (r && --r->refs == 0)
		route_free(r);
}

static struct route *route_new(struct caller *c, uint64_t fingerprint, struct err *err)
{
	struct route *r = mem_new(struct route);
	int rc;

	r->refs = 1;
	r->fingerprint = fingerprint;
	r->driver = c->driver;
	for (int i = 0; i < HELD_SCOPES; i++)
		r->scope_of[i] = -1;
	roots_init(&r->roots, c->driver, c->integration);
	if (r->roots.base.len == 0) {
		err_set(err, -EINVAL, ERR_CLIENT, "settings",
			"%s has no %s environment: the manifest names no base URL for it",
			c->driver->manifest->partner, c->integration->environment);
		route_put(r);
		return NULL;
	}
	route_seen(r);
	rc = route_headers(r, c, err);
	if (rc == 0)
		rc = route_limits(r, c, err);
	if (rc < 0) {
		route_put(r);
		return NULL;
	}
	return r;
}

static uint64_t hash_text(const char *s, uint64_t seed)
{
	return s ? crypto_hash64(s, strlen(s) + 1, seed) : crypto_hash64("", 0, seed + 1);
}

/* Contents, not addresses: the integration is read anew for each job. */
static uint64_t fingerprint_of(const struct caller *c)
{
	const struct integration *i = c->integration;
	const struct manifest *m = c->driver->manifest;
	uint64_t h = crypto_hash64(&c->driver, sizeof(c->driver), (uint64_t)(uintptr_t)m);
	struct buf keep = BUF_INIT;

	/* An overlaid driver may come to stand where one was that is gone. */
	h = crypto_hash64(&c->driver->serial, sizeof(c->driver->serial), h);
	h = hash_text(i->base_url, h);
	h = hash_text(i->environment, h);
	for (int k = 0; k < m->n_settings; k++)
		h = hash_text(setting_text(i, m->settings[k], &keep), h);
	buf_clear(&keep);
	return h;
}

static bool drop_route(void *value, void *arg)
{
	route_put(value); /* those under way keep theirs */
	return true;
}

int route_get(struct caller *c, struct route **out, struct err *err)
{
	struct idmap *routes = &c->door->routes;
	uint64_t fingerprint = fingerprint_of(c);
	struct route *r = idmap_get(routes, c->integration->id);

	if (!r || r->fingerprint != fingerprint) {
		struct route *fresh = route_new(c, fingerprint, err);

		if (!fresh)
			return -EINVAL;
		fresh->partner = door_partner(c->door, c->driver->manifest);
		route_breakers(fresh, c);
		if (!r && routes->n >= DOOR_ROUTES_MAX)
			idmap_sweep(routes, drop_route, NULL);
		else
			route_put(r);
		idmap_put(routes, c->integration->id, fresh);
		r = fresh;
	}
	r->refs++;
	*out = r;
	return 0;
}

void door_forget(struct door *d)
{
	idmap_sweep(&d->routes, drop_route, NULL);
}
