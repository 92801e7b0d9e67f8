/* Settings: flag over environment over file over default, from one table per program.  A file has
 * lines of `name = value` (# comments); names are the flags without dashes.  Unknown flags, unknown
 * names in a file and bad values are refused with the name, the place and the nearest known name.
 * --help and --version are answered here.  Nothing here waits. */
#ifndef COMMON_BASE_CONFIG_H
#define COMMON_BASE_CONFIG_H

#include <stdbool.h>
#include <stdint.h>

enum config_type { CONFIG_STRING, CONFIG_INT, CONFIG_DURATION_MS, CONFIG_BOOL };

struct config_option {
	const char *name;       /* "redis": the flag is --redis, the file's key is redis */
	const char *env;        /* "LONGSHORE_REDIS_URL", or NULL */
	const char *value_name; /* "URL", for --help; NULL for a CONFIG_BOOL flag */
	const char *help;
	enum config_type type;
	const char *fallback; /* default as text, or NULL for none */
	int64_t min, max;     /* CONFIG_INT and CONFIG_DURATION_MS; 0,0 = no bounds */
	void *out; /* const char ** | int64_t * | int64_t * | bool *; strings live for ever */
};

/* Exit codes of every program (design.md §3). */
enum { EXIT_OK = 0, EXIT_FAILED = 1, EXIT_MISUSED = 2, EXIT_NOT_FOUND = 3, EXIT_UNREACHABLE = 4 };

/* The flags all programs share; fill with config_common_options() and append to your own table. */
struct config_common {
	const char *redis_url;    /* LONGSHORE_REDIS_URL, default redis://127.0.0.1:6379/0 */
	const char *database_url; /* LONGSHORE_DATABASE_URL, default postgresql:///longshore */
	const char *drivers;    /* LONGSHORE_DRIVERS: folders with : between, see config_common.c */
	const char *flags;      /* LONGSHORE_FLAGS, "a,b"; "" = none is on */
	const char *log_level;  /* LONGSHORE_LOG_LEVEL, default info */
	const char *log_format; /* LONGSHORE_LOG_FORMAT, logfmt | json */
	const char *secret_key_file; /* LONGSHORE_SECRET_KEY_FILE; "" if none */
	const char *private_targets; /* LONGSHORE_PRIVATE_TARGETS; "" = none: common/io/target.h */
	const char *config_file;     /* --config / LONGSHORE_CONFIG */
};
/* Rows written: redis database drivers flags log-level log-format secret-key-file private-targets. */
#define CONFIG_COMMON_COUNT 8
void config_common_options(struct config_common *c, struct config_option out[CONFIG_COMMON_COUNT]);

/* Parses argv[1..].  `usage` is the first line of --help.  Stops at the first non-flag word, or at
 * "--"; *rest is its index.  Returns 0, or prints one clear line to stderr and returns
 * EXIT_MISUSED; --help and --version print to stdout and exit(0).  A URL with a password given as
 * a flag is refused (the process list shows it), naming the environment variable to use instead.
 * `config_file` (may be NULL) receives --config. */
int config_load(const char *program, const char *usage, const struct config_option *options,
		int n_options, int argc, char **argv, const char **config_file, int *rest)
	__attribute__((warn_unused_result));

/* The nearest of n names to `word` (edit distance at most a third of its length), or NULL. */
const char *config_nearest(const char *word, const char *const *names, int n);

#define LONGSHORE_VERSION "0.1.0"

#endif
