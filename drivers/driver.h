/* A driver is a partner made known: a folder with a manifest, and C hooks only where a manifest cannot say
 * it.  Manifests are read from every --drivers directory at start (the earlier directory wins); the table of C hooks is
 * made by the Makefile from the folders that have a <partner>.c.
 *
 * hooks.h has what C may do. */
#ifndef DRIVERS_DRIVER_H
#define DRIVERS_DRIVER_H

#include "common/base/err.h"
#include "drivers/hooks.h"
#include "drivers/kit/manifest.h"

/* Made by the Makefile (build/gen/driver_table.c); ended by a NULL. */
extern const struct driver_hooks *const driver_hooks_table[];

struct driver {
	const struct manifest *manifest;
	const struct driver_hooks *hooks; /* NULL: none */
	const char *dir;                  /* where it was read */
	const char *adapter;           /* of several versions, this one's name; NULL: the first */
	const struct driver *adapters; /* as manifest->adapters, of which it has as many */
	uint64_t serial; /* of one with overrides: no two have the same; 0: the manifest as it is */
};

/* One driver, of its manifest's file: what its folder alone tells.  As manifest_load; *out is freed with driver_free. */
int driver_read(const char *manifest_file, struct driver **out, struct buf *problems)
	__attribute__((warn_unused_result));
void driver_free(struct driver *d); /* NULL is fine */

/* A driver with what one integration has otherwise (drivers/kit/overlay.h).  0, or -EINVAL with a line a problem.  *out is
 * freed with driver_overlaid_free; hooks and dir are borrowed from base. */
int driver_overlaid(const struct driver *base, const char *shown, const char *overrides,
		    struct driver **out, struct buf *problems) __attribute__((warn_unused_result));
void driver_overlaid_free(struct driver *d);

/* The version of a driver that an integration has: by its setting "adapter", a flag that is on, or the percentage of a
 * rollout; *why (may be NULL) says by which.  NULL with err: there is none of the name that is set. */
const struct driver *driver_for(const struct driver *d, int64_t integration, const cJSON *settings,
				const char **why, struct err *err);
void driver_flags(const char *names); /* those that are on in this process: "a,b" */

struct driver_set;
/* Reads DIR/<name>/manifest.json of each colon-separated DIR (folders without one, and `kit` and `template`, are skipped).  Every error of every manifest is
 * written to `problems` (one line each: path:line: text); a broken manifest is left out.  -ENOENT: a DIR that is not there. */
int driver_set_load(const char *dirs, struct driver_set **out, struct buf *problems,
		    struct err *err) __attribute__((warn_unused_result));
void driver_set_free(struct driver_set *s);
int driver_set_count(const struct driver_set *s);
const struct driver *driver_at(const struct driver_set *s, int i); /* sorted by partner */
const struct driver *driver_find(const struct driver_set *s, const char *partner); /* NULL */

#endif
