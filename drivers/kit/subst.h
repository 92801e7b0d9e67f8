/* {name} substitution from a closed list, escaped for where it stands; no template language.  A name without a value is an error,
 * not an empty string. {{ and }} are literal braces; a brace that opens no known name in a JSON-valued template ("[{"field":…}]") stays as it is.
 * (}} is one brace only where a {{ is open, so that nested JSON can be written as it is.) */
#ifndef DRIVERS_KIT_SUBST_H
#define DRIVERS_KIT_SUBST_H

#include <stdbool.h>

#include "common/base/arena.h"
#include "common/base/buf.h"
#include "common/base/err.h"
#include "common/base/json.h"
#include "drivers/kit/manifest_pairs.h"

enum subst_escape { SUBST_RAW, SUBST_PATH, SUBST_QUERY, SUBST_FORM, SUBST_JSON };
/* NULL: no such value here. Borrowed for the call. */
typedef const char *(*subst_lookup)(const char *name, void *arg);
/* Known names: id ids since until now cursor parent.X cfg.X cred.X in.X kept.X key callback_url reference events event event.object event.action webhook.X, and of a request
 * that is signed method path query body ts nonce body_sha256 signature. -ENOENT with err. Appends.
 * -EINVAL: a value that would change a path ("", ".", ".."), in SUBST_PATH. Nothing is appended on failure. */
int subst(const char *template, enum subst_escape how, subst_lookup fn, void *arg, struct buf *out,
	  struct err *err) __attribute__((warn_unused_result));
/* Of parameters or headers, all of them, raw: *out, of the arena, has as many as p. */
int subst_pairs(const struct manifest_pairs *p, subst_lookup fn, void *arg, struct arena *a,
		const struct manifest_pair **out, struct err *err)
	__attribute__((warn_unused_result));
/* The same for the texts of a JSON value, wherever they stand in it: *out is a copy, the caller's.  A text that is
 * "{ids}" and nothing else becomes the list `ids` (NULL: as any other name). */
int subst_json(const cJSON *template, subst_lookup fn, void *arg, const cJSON *ids, cJSON **out,
	       struct err *err) __attribute__((warn_unused_result));
bool subst_name_is_known(const char *name);

#define SUBST_NAME_MAX 64
/* The next {name} of a template at or after *p, known or not; moves *p behind it. False: none is left. */
bool subst_next(const char **p, char name[SUBST_NAME_MAX]);

#endif
