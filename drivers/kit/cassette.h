/* Cassettes: what a partner was asked and answered, one scenario a file, in the folder `cassettes` of a driver; beside each
 * NAME.json its NAME.rows.json, the rows that must come of it.  Readable, and read by people before they are kept: drivers/README.md has the format.
 * Replaying one needs the folder alone. */
#ifndef DRIVERS_KIT_CASSETTE_H
#define DRIVERS_KIT_CASSETTE_H

#include "drivers/kit/scenario.h"

#define CASSETTE_OLD_DAYS 90
#define CASSETTE_MAX_BYTES (64 * 1024 * 1024)

struct cassette {
	char *name, *file,
		*rows_file; /* "listings", "x/cassettes/listings.json", "x/cassettes/listings.rows.json" */
	cJSON *tree;
	int64_t recorded_ms;
	bool auth; /* calls for tokens, no rows */
};
/* 0, -ENOENT, -EINVAL: problem says what is wrong with the file. */
int cassette_read(const char *file, struct cassette *out, struct buf *problem)
	__attribute__((warn_unused_result));
void cassette_clear(struct cassette *k);
/* What is wrong with it for this manifest, or its scenario; strings borrowed from both. -EINVAL. */
int cassette_scenario(const struct cassette *k, const struct manifest *m, struct scenario *out,
		      struct err *err) __attribute__((warn_unused_result));

/* A recording as a tree, the caller's.  Takes exchanges, which lose what the manifest marks as personal; NULL: that cannot be taken out of
 * one of them.  scenario NULL: calls for tokens. */
cJSON *cassette_make(const struct caller *c, const char *name, const struct scenario *s,
		     cJSON *exchanges, int64_t recorded_ms);
/* What is personal in answers (`personal` of the manifest's collections) keeps its shape and loses its content.  False: some of it may be
 * there still (bytes that are no text, a text written in a way of its own). */
bool cassette_mask(const struct driver *d, const struct manifest_collection *coll,
		   const cJSON *exchanges) __attribute__((warn_unused_result));
/* One item, and what is embedded in it, in place. */
void item_mask(const struct manifest *m, const struct manifest_collection *coll, const cJSON *item);
/* The items in a recorded answer, through decode_body where the driver has it; borrowed for the call. */
void cassette_items(const struct driver *d, const struct manifest_collection *coll,
		    const cJSON *exchange, json_each_fn fn, void *arg);
/* Whole or not at all. -errno. */
int json_write_file(const char *path, const cJSON *tree) __attribute__((warn_unused_result));
int json_read_file(const char *path, cJSON **out, struct buf *problem)
	__attribute__((warn_unused_result)); /* -ENOENT, -EINVAL */
/* For people: short objects and lists on one line. */
void json_pretty(const cJSON *v, struct buf *out);

/* In a coroutine, and yet does not wait.  *rows is the caller's; NULL where there are none to be had.  Exchanges that are not there
 * or were not used are appended to problems. */
void cassette_replay(const struct driver *d, const struct cassette *k, cJSON **rows,
		     cJSON *problems);

/* The files of a driver's cassettes, in order of their names, until fn says non-zero, which is returned; -errno where the folder cannot be
 * read (-ENOENT: there is none). */
int cassettes_each(const struct driver *d, int (*fn)(const char *file, void *arg), void *arg)
	__attribute__((warn_unused_result));
/* All cassettes of a folder, for a report: appends an object for each to `replays`: cassette, recorded_at, exchanges, rows (or answers, or the outcome of an action), problems, warnings.
 * write_rows: the rows that came of it are
 * what must come of it from now on.  Returns how many have problems; -errno where the folder cannot be read (-ENOENT: there is none). */
int cassettes_check(const struct driver *d, int64_t now_ms, bool write_rows, cJSON *replays)
	__attribute__((warn_unused_result));

#endif
