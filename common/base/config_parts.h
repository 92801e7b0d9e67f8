/* What config.c is made of: values (config_value.c) and files (config_file.c).  Nobody else
 * includes this. */
#ifndef COMMON_BASE_CONFIG_PARTS_H
#define COMMON_BASE_CONFIG_PARTS_H

#include <stdbool.h>
#include <stdint.h>

#include "common/base/buf.h"
#include "common/base/config.h"

struct config_value {
	const char *text; /* CONFIG_STRING: borrowed */
	int64_t number;   /* the others */
};

/* -EINVAL: *out untouched, *why has gained what was expected. */
int config_value_parse(const struct config_option *o, const char *text, struct config_value *out,
		       struct buf *why) __attribute__((warn_unused_result));
/* A URL with user:password@, or a libpq conninfo or query with password=. */
bool config_has_password(const char *text);
void config_help(const char *usage, const struct config_option *options, int n); /* to stdout */

struct config_line {
	char *name, *value;
	int number; /* 1-based */
};

struct config_file {
	char *path;
	struct config_line *lines;
	int count;
};

/* -errno with the reason in *why; the file is empty then. */
int config_file_read(const char *path, struct config_file *out, struct buf *why)
	__attribute__((warn_unused_result));
void config_file_clear(struct config_file *f);
const struct config_line *config_file_find(const struct config_file *f,
					   const char *name); /* the last of that name */

#endif
