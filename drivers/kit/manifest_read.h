/* Inside the manifest: the tables that say which keys an object has, and the reader that follows them.  One
 * row a key: its name, its type, where it goes, its default.  Validation (manifest_read.c) and `longshore driver
 * show` (manifest_print.c) walk the same tables (manifest_keys.c), so they cannot disagree.  What one table cannot
 * say, since it takes two places of the manifest, is in manifest_check.c and its neighbours.
 * Only the manifest_*.c files include this. */
#ifndef DRIVERS_KIT_MANIFEST_READ_H
#define DRIVERS_KIT_MANIFEST_READ_H

#include <stddef.h>

#include "common/base/arena.h"
#include "common/base/buf.h"
#include "drivers/kit/manifest.h"

#define MANIFEST_MAX_BYTES (1024 * 1024)
#define MANIFEST_PROBLEMS_MAX 100 /* a file that is none at all need not fill the screen */

/* A tree that the manifest points into: the file's own, and one for each default that was read from text. */
struct kept_tree {
	cJSON *tree;
	struct kept_tree *next;
};

/* What manifest_free frees; callers see its first member. */
struct manifest_owner {
	struct manifest m;
	struct arena *arena;
	struct kept_tree *trees;
	const cJSON *tree; /* the file's own, of those */
};
struct manifest_owner *manifest_owner_new(const char *file);
/* The text's tree becomes the owner's. */
int manifest_text_parse(const char *shown, const char *text, size_t len, struct manifest_owner *o,
			struct buf *problems) __attribute__((warn_unused_result));
/* A tree that is no file's as it is (and is taken over): problems name `shown`, and lines of `text`. */
int manifest_parse_tree(const char *path, const char *shown, const char *text, size_t len,
			cJSON *tree, struct manifest **out, struct buf *problems)
	__attribute__((warn_unused_result));

struct manifest_reader {
	struct manifest_owner *owner;
	struct arena *arena;
	const char *file, *text;
	size_t len;
	struct buf *problems;
	int n_problems;
	struct buf path; /* of what is read now: "limits[0].window" */
};

enum key_type {
	KEY_TEXT,        /* const char * */
	KEY_HEADER,      /* const char *, a header's name, lower-cased */
	KEY_PATH,        /* const char *, a path of json_path */
	KEY_BOOL,        /* bool */
	KEY_INT,         /* int */
	KEY_INT64,       /* int64_t */
	KEY_SHARE,       /* double, over 0 to 1 */
	KEY_DURATION,    /* int64_t, ms; "5s", or a number of seconds */
	KEY_WORD,        /* an enum, by `words` */
	KEY_WORD_BOOL,   /* bool, by `words` */
	KEY_FIXED,       /* the first of `words`, the only one that runs: nothing to store */
	KEY_FORMAT,      /* the number 1 */
	KEY_TEXTS,       /* const char *const * and a count */
	KEY_HEADERS,     /* the same, header names */
	KEY_PAIRS,       /* struct manifest_pairs, an object of texts */
	KEY_JSON,        /* const cJSON *, borrowed */
	KEY_JSON_LIST,   /* const cJSON *, an array that is not empty */
	KEY_JSON_TEXTS,  /* const cJSON *, an object of texts that is not empty */
	KEY_JSON_OBJECT, /* const cJSON *, an object */
	KEY_OBJECT,      /* members of `of` at the offset */
	KEY_LIST,        /* an array of `of`, and a count */
	KEY_NAMED,       /* the same as an object; the names go to of->name_at */
	KEY_OWN,         /* read and print below */
};

enum {
	KEY_REQUIRED = 1,
	KEY_EMPTY = 2,      /* "" is a value */
	KEY_WILD = 4,       /* the path may have [*] and {*} */
	KEY_PLACE = 8,      /* the path may be @index or @key */
	KEY_ANSWER = 16,    /* the path may be header:NAME */
	KEY_INHERITED = 32, /* an object that is left as it is when it is left out */
};

struct key_word {
	const char *name; /* "endpoints:" with its colon: a prefix */
	int value;        /* beside the name NULL: what holds without the key */
};

struct key_table;
struct manifest_key {
	const char *name;
	enum key_type type;
	size_t at, n_at; /* offsets of the value, and of its count */
	unsigned flags;
	const char *fallback; /* JSON; NULL: zero, empty, absent */
	int64_t min,
		max; /* numbers, durations in ms; 0,0 = any that is not negative; max: of pairs how many */
	const struct key_word *words;
	const struct key_table *of;
	void (*read)(struct manifest_reader *r, const cJSON *node, void *base);
	/* False: nothing to print. */
	bool (*print)(const void *base, struct buf *out);
	const char *schema; /* of KEY_OWN: what JSON Schema says of its value; NULL: anything */
};

struct key_table {
	const struct manifest_key *keys;
	int n;
	size_t size, name_at;  /* of an element, in KEY_LIST and KEY_NAMED */
	const char *shorthand; /* a text in the object's place is this key */
	/* An object that may be left out whole: then nothing of it is read; tells whether it was there. NULL: its
	 * defaults hold without it. */
	bool (*present)(const void *base);
	void (*finish)(struct manifest_reader *r,
		       void *base); /* defaults that depend on other keys */
};

#define TABLE(keys_) .keys = (keys_), .n = ARRAY_LEN(keys_)

extern const struct key_table manifest_collection_table; /* of struct manifest_collection */
extern const struct key_table manifest_lookup_table;     /* of struct manifest_lookup */
extern const struct key_table manifest_param_table;      /* of struct manifest_param */
extern const struct key_table manifest_table;            /* of struct manifest */
extern const struct key_table manifest_pagination;       /* of struct manifest_paging */
extern const struct key_table manifest_webhooks_table;   /* of struct manifest_webhooks */
extern const struct key_table manifest_action_table;     /* of struct manifest_action */
extern const struct key_table manifest_channel_table;    /* of struct manifest_channel */
extern const struct key_table manifest_setting_table;    /* of struct manifest_setting */
extern const struct key_table manifest_limit_table;      /* of struct manifest_limit */
extern const struct key_table manifest_column_table;     /* of struct manifest_column */
extern const struct key_table manifest_auth_table;       /* of struct manifest_auth */
extern const struct key_table manifest_broken_on;        /* of struct manifest_rule */

/* What is wrong, at the place that is read now. */
void reader_problem(struct manifest_reader *r, const char *fmt, ...)
	__attribute__((format(printf, 2, 3)));
/* What is wrong at a path. */
void reader_problem_at(struct manifest_reader *r, const char *path, const char *fmt, ...)
	__attribute__((format(printf, 3, 4)));
void reader_expected(struct manifest_reader *r, const char *what, const cJSON *found);
/* Goes down to a member or an element (name NULL: index); gives what reader_up needs. */
size_t reader_down(struct manifest_reader *r, const char *name, int index);
void reader_up(struct manifest_reader *r, size_t mark);
/* node NULL: an object that was left out. */
void reader_object(struct manifest_reader *r, const struct key_table *t, const cJSON *node,
		   void *base);
/* Text, not empty (or with KEY_EMPTY in flags perhaps); NULL after a problem. */
const char *reader_text(struct manifest_reader *r, const cJSON *node, unsigned flags);
const char *reader_path(struct manifest_reader *r, const char *path, unsigned flags);
/* "; did you mean \"x\"?" or "". Of the arena. */
const char *reader_nearest(struct manifest_reader *r, const char *word, const char *const *names,
			   int n);
const char *reader_lower(struct manifest_reader *r, const char *s);
/* NULL: a path may be read as it is; else what is wrong with it. */
const char *path_problem(const char *path, unsigned flags);
/* A name of a partner, collection, setting: [a-z0-9_]{1,40}. */
bool manifest_name_is_valid(const char *s);
bool is_comment(const char *name); /* "//": for people, in every object; "$schema": for editors */

void manifest_print_object(const struct key_table *t, const void *base, struct buf *out);
void print_ms(int64_t ms, struct buf *out); /* "5s", with its quotes */

/* What `columns` of a collection holds from when its table is known until its map is checked. */
#define COLUMNS_UNKNOWN UINT64_MAX

/* Values that are read and printed in ways of their own (manifest_values.c); `base` is the struct of the table. */
void read_format(struct manifest_reader *r, const cJSON *node, void *base);
bool print_format(const void *base, struct buf *out);
void read_statuses(struct manifest_reader *r, const cJSON *node, void *base);
bool print_statuses(const void *base, struct buf *out);
void read_json_contains(struct manifest_reader *r, const cJSON *node, void *base);
bool print_json_contains(const void *base, struct buf *out);
void read_body_contains(struct manifest_reader *r, const cJSON *node, void *base);
bool print_body_contains(const void *base, struct buf *out);
void read_rule_at(struct manifest_reader *r, const cJSON *node, void *base);
bool print_rule_at(const void *base, struct buf *out);
void read_expires(struct manifest_reader *r, const cJSON *node, void *base);
bool print_expires(const void *base, struct buf *out);
void read_action(struct manifest_reader *r, const cJSON *node, void *base); /* manifest_action.c */
bool print_action(const void *base, struct buf *out);
extern const struct key_table manifest_proof_table; /* of struct manifest_proof */
void read_stops(struct manifest_reader *r, const cJSON *node, void *base);
bool print_stops(const void *base, struct buf *out);
void read_tz(struct manifest_reader *r, const cJSON *node, void *base);
bool print_tz(const void *base, struct buf *out);
void read_incremental_tz(struct manifest_reader *r, const cJSON *node, void *base);
bool print_incremental_tz(const void *base, struct buf *out);
void read_limit_scope(struct manifest_reader *r, const cJSON *node, void *base);
bool print_limit_scope(const void *base, struct buf *out);
void read_limit_weight(struct manifest_reader *r, const cJSON *node, void *base);
bool print_limit_weight(const void *base, struct buf *out);
void limit_finish(struct manifest_reader *r, void *base);
void read_table(struct manifest_reader *r, const cJSON *node, void *base);
bool print_table(const void *base, struct buf *out);
void read_cache(struct manifest_reader *r, const cJSON *node, void *base);
bool print_cache(const void *base, struct buf *out);

/* What takes more than one place of the manifest. */
void manifest_check(struct manifest_reader *r); /* manifest_check.c */
void manifest_check_paging(struct manifest_reader *r, const struct manifest_paging *p,
			   const char *path); /* manifest_paging.c */
/* What takes the collection that pages so. */
void manifest_check_paged(struct manifest_reader *r, const struct manifest_collection *c,
			  const char *path);
void manifest_check_auth(struct manifest_reader *r); /* manifest_keys_auth.c */
/* An absolute address; root: nothing but paths goes behind it. */
void manifest_check_url(struct manifest_reader *r, const char *path, const char *url, bool root);
void manifest_check_headers(struct manifest_reader *r, const char *where,
			    const struct manifest_pairs *p);
void manifest_check_limits(struct manifest_reader *r);      /* manifest_limits.c */
void manifest_check_collections(struct manifest_reader *r); /* manifest_collections.c */
void manifest_check_map(struct manifest_reader *r, struct manifest_collection *c,
			const char *path);              /* manifest_map.c */
void manifest_check_lookups(struct manifest_reader *r); /* manifest_lookups.c */
void manifest_check_params(struct manifest_reader *r, const struct manifest_param *v, int n,
			   int most, const char *path);
void manifest_check_templates(struct manifest_reader *r); /* manifest_templates.c */
void manifest_check_hooks(struct manifest_reader *r);     /* manifest_hooks.c */
void manifest_check_events(struct manifest_reader *r);    /* manifest_events.c */
void manifest_check_actions(struct manifest_reader *r);   /* manifest_actions.c */
void manifest_check_channel(struct manifest_reader *r);   /* manifest_channel.c */
void manifest_check_mail(struct manifest_reader *r);      /* manifest_mail.c */
void manifest_check_settings(
	struct manifest_reader *r); /* manifest_settings.c; after the templates */
void manifest_check_format(struct manifest_reader *r); /* manifest_format.c */

#endif
