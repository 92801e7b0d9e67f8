/* JSON over cJSON, with bounds: nesting at most 64, size as the caller says, UTF-8 checked, no
 * NUL.  The only place that calls cJSON_Parse (make lint proves it): cJSON recurses, and a
 * coroutine's stack is 256 KiB.  Trees are freed with cJSON_Delete.  Nothing here waits. */
#ifndef COMMON_BASE_JSON_H
#define COMMON_BASE_JSON_H

#include <cjson/cJSON.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/base/buf.h"

#define JSON_DEPTH_MAX 64

struct json_error {
	int line, column; /* 1-based; 0 if unknown */
	char text[160];   /* "expected a value", "nested deeper than 64" … */
};

/* *out untouched on failure.  -EINVAL (not JSON), -E2BIG (over max_bytes), -ELOOP (too deep),
 * -EILSEQ (not UTF-8).  Integers beyond 2^53 keep their digits: json_scalar_text and json_print give
 * back what was read. */
int json_parse(const char *text, size_t len, size_t max_bytes, cJSON **out, struct json_error *err)
	__attribute__((warn_unused_result));

/* As json_parse, and -ENOMEM where the tree would have more than max_tree bytes (a bound from above: nodes,
 * texts, the allocator's rounding), with *tree_bytes saying how many; filled on success too. */
int json_parse_within(const char *text, size_t len, size_t max_bytes, size_t max_tree,
		      size_t *tree_bytes, cJSON **out, struct json_error *err)
	__attribute__((warn_unused_result));

/* Finds a value by path: `a.b[0].c`, `a[-1]`, `@` the item itself, `x|y` the first that is not
 * null (null if all that are present are). NULL if absent.  Borrowed from `item`. Case-sensitive.
 * Plain keys with no special character are the fast path. */
const cJSON *json_path(const cJSON *item, const char *path);

/* The same from a member on, by what stands behind its name in a path: ".b[0]", "[*].c". */
const cJSON *json_path_on(const cJSON *v, const char *steps);
/* Whether a member has the name of so many bytes. */
bool json_is_named(const cJSON *member, const char *name, size_t len);

/* All values of a path with `[*]` or `{*}` (a map's values): calls fn for each in order until it
 * returns non-zero, returned. */
typedef int (*json_each_fn)(const cJSON *value, const char *key, int index, void *arg);
int json_path_each(const cJSON *item, const char *path, json_each_fn fn, void *arg);

const char *json_str(const cJSON *item, const char *path); /* string value or NULL; borrowed */
/* A number without fraction, within +-2^53. */
bool json_int(const cJSON *item, const char *path, int64_t *out);
bool json_bool(const cJSON *item, const char *path, bool fallback);

/* A scalar as text: strings as they are, numbers without exponent or trailing .0 where they are
 * integers (ids!), booleans true/false.  false for null, arrays, objects.  Appends to out. */
bool json_scalar_text(const cJSON *v, struct buf *out);

/* Compact printing, appended; the whole tree. Integers within 2^53 print as integers. */
void json_print(const cJSON *v, struct buf *out);
/* Appends s as a JSON string with quotes; invalid UTF-8 becomes U+FFFD. */
void json_quote(struct buf *out, const char *s, size_t len);

/* Members by their names, at every depth: what says the same prints the same. */
void json_sort(cJSON *v);

/* Overwrites every text in the tree, which is about to be freed: it holds secrets. */
void json_zero(cJSON *v);

/* The line (1-based) where the value at `path` (a.b[0].c, exactly as given by the walker) starts in
 * `text`, which is known to be valid JSON; 0 if not there.  For error messages that say where. */
int json_line_of(const char *text, size_t len, const char *path);

bool utf8_is_valid(const char *s, size_t len);
size_t utf8_valid_prefix(const char *s, size_t len); /* how many bytes; len if all are valid */
/* Appends s with invalid sequences and NUL replaced by U+FFFD; other control characters are
 * kept. */
void utf8_append_clean(struct buf *out, const char *s, size_t len);

#endif
