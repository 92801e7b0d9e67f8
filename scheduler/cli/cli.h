/* The operator's command: what all its commands share.  main.c has the one table of commands;
 * cmd_*.c have one noun each. A command runs in a coroutine, may wait, and returns its exit
 * code; whoever finds a failure prints its one line (cli_fail). */
#ifndef SCHEDULER_CLI_CLI_H
#define SCHEDULER_CLI_CLI_H

#include <stdbool.h>
#include <stdint.h>

#include "common/base/config.h"
#include "common/base/err.h"
#include "common/base/json.h"
#include "common/base/secret.h"
#include "common/io/pg.h"
#include "common/io/redis.h"
#include "drivers/driver.h"

#define CLI_OPTIONS_MAX 16 /* of one command, beside the common ones */
#define CLI_SETS_MAX 64
#define CLI_CONNECT_MS 5000
#define CLI_SLOW_MS 20000 /* one that has not refused may be busy, as this host may be */
#define CLI_CALL_MS 30000

struct cli;

struct command {
	const char *name;      /* "integration add" */
	const char *arguments; /* for --help: "--company C --partner P [--set k=v]…" */
	const char *summary;
	int min_words, max_words; /* after the name */
	int (*options)(struct config_option
			       out[CLI_OPTIONS_MAX]); /* fills, returns how many; NULL: none */
	int (*run)(struct cli *c);
};

struct cli {
	const struct command *command;
	struct config_common common;
	const char *config_file;
	bool json;
	char **words; /* after the command's name */
	int n_words;
	const char *sets[CLI_SETS_MAX]; /* each --set, as given */
	int n_sets;
	/* Opened by cli_redis, cli_pg, cli_drivers; closed by main. */
	struct redis *redis;
	struct pg *pg;
	struct driver_set *drivers;
	struct buf driver_problems;
};

/* args.c: finds the command and its words in argv, reads the settings.  0, or the exit code
 * after the line was printed. */
int args_read(struct cli *c, const struct command *commands, int n_commands, int argc, char **argv)
	__attribute__((warn_unused_result));
const char *args_drivers_default(void); /* the --drivers in force if nobody gave one */

/* connect.c: each returns 0, or the exit code after the line was printed. */
int cli_redis(struct cli *c) __attribute__((warn_unused_result));
int cli_pg(struct cli *c) __attribute__((warn_unused_result)); /* also: migrated */
/* Until c->pg is up, has refused for CLI_CONNECT_MS, or was silent for CLI_SLOW_MS more: -ETIMEDOUT. */
int cli_wait_pg(struct cli *c, struct err *err) __attribute__((warn_unused_result));
int cli_drivers(struct cli *c) __attribute__((warn_unused_result));
int cli_driver(struct cli *c, const char *partner, const struct driver **out)
	__attribute__((warn_unused_result)); /* NULL for longshore */
void cli_close(struct cli *c);
int64_t cli_deadline(void); /* of one call */

/* fail.c.  The last thing of all: what was printed goes out.  The exit code; where nobody reads it any more, no return. */
int cli_end(const struct cli *c, int code);
/* One line on stderr; returns `code`. */
int cli_fail(const struct cli *c, int code, const char *fmt, ...)
	__attribute__((format(printf, 3, 4)));
/* What a call of the store, the queue or the pools returned: the exit code follows from rc.
 * `doing` is "adding the company". */
int cli_error(const struct cli *c, int rc, const struct err *err, const char *doing);
int cli_misused(const struct cli *c, const char *fmt, ...)
	__attribute__((format(printf, 2, 3))); /* adds where to read more */

/* parse.c: words to values; each returns 0 or prints and returns EXIT_MISUSED. */
int parse_id(const struct cli *c, const char *what, const char *text, int64_t *out)
	__attribute__((warn_unused_result));
int parse_since(const struct cli *c, const char *flag, const char *text, int64_t *real_ms)
	__attribute__((warn_unused_result)); /* "2h" ago, or a time */
int parse_run_at(const struct cli *c, const char *text, int64_t *real_ms)
	__attribute__((warn_unused_result)); /* "15m" from now, or a time */
int parse_until(const struct cli *c, const char *text, int64_t *real_ms)
	__attribute__((warn_unused_result)); /* the same, to come; else refused */
int read_input(const struct cli *c, const char *flag, const char *file, size_t max, struct buf *out)
	__attribute__((warn_unused_result)); /* "-": stdin */

/* credentials.c: a JSON object of what the partner needs, from a file or "-"; file NULL is right
 * only where it needs nothing.  app: it is not held to what calls need.  As parse.c. */
int credentials_read(const struct cli *c, const struct manifest *m, bool app, const char *file,
		     struct secret *out) __attribute__((warn_unused_result));

/* out.c */
struct out_column {
	const char *title, *path;
	bool right;
};
void out_json(const cJSON *tree);
/* --json: the array; else a table, or `none` where it is empty.  Takes the array. */
int out_list(const struct cli *c, cJSON *array, const struct out_column *columns, int n,
	     const char *none);
void out_table(const cJSON *array, const struct out_column *columns, int n);
/* --json: the object; else a line a member.  Takes it. */
int out_object(const struct cli *c, cJSON *object);
/* --json: {"key": value}; else the value alone, for scripts.  Takes it. */
int out_value(const struct cli *c, const char *key, cJSON *value);
void json_add_text(cJSON *object, const char *key, const char *value); /* NULL: null */
void json_add_int(cJSON *object, const char *key, int64_t n);
void json_add_time(cJSON *object, const char *key, int64_t real_ms); /* 0: null */

/* cmd_pause.c: who gives this command, "user@host"; valid until the next call. */
const char *cli_myself(void);

/* cmd_status.c: rows that several commands show. */
int cli_add_queue(struct cli *c, cJSON *rows, const char *partner, struct err *err)
	__attribute__((warn_unused_result)); /* waits; one row a lane */
struct cli_workers {
	cJSON *rows;
	int64_t now_ms; /* Redis' clock */
};
void cli_add_worker(const char *epoch, int64_t last_beat_ms, const char *info_json,
		    void *workers); /* a fleet_fn */

/* The commands. */
int cmd_migrate(struct cli *c);
int cmd_company_add(struct cli *c);
int cmd_company_list(struct cli *c);
int cmd_integration_add(struct cli *c);
int cmd_integration_set(struct cli *c);
/* cmd_integration_add.c: each --set into an object, checked against what the manifest declares. */
int settings_read(const struct cli *c, const struct manifest *m, cJSON *settings)
	__attribute__((warn_unused_result));
/* Whether they go with the manifest's adapters and with the environment that they are for. */
int settings_fit(const struct cli *c, const struct driver *d, const char *of, const cJSON *settings)
	__attribute__((warn_unused_result));
int cmd_integration_link(struct cli *c);
int cmd_integration_list(struct cli *c);
int cmd_integration_show(struct cli *c);
int cmd_integration_pause(struct cli *c);
int cmd_integration_resume(struct cli *c);
int cmd_integration_sync(struct cli *c);
int cmd_integration_authorize(struct cli *c);
int cmd_integration_rotate(struct cli *c);
int cmd_integration_verify(struct cli *c);
int cmd_push(struct cli *c);
int cmd_status(struct cli *c);
int cmd_dead_list(struct cli *c);
int cmd_dead_show(struct cli *c);
int cmd_dead_replay(struct cli *c);
int cmd_dead_discard(struct cli *c);
int cmd_driver_list(struct cli *c);
int cmd_driver_show(struct cli *c);
int cmd_driver_schema(struct cli *c);
int cmd_driver_check(struct cli *c);
int cmd_driver_new(struct cli *c);
int cmd_driver_record(struct cli *c);
int cmd_queue_list(struct cli *c);
int cmd_queue_show(struct cli *c);
int cmd_queue_purge(struct cli *c);
int cmd_queue_recovery(struct cli *c);
int cmd_job_list(struct cli *c);
int cmd_job_show(struct cli *c);
int cmd_job_cancel(struct cli *c);
int cmd_job_retry(struct cli *c);
int cmd_run_list(struct cli *c);
int cmd_run_show(struct cli *c);
int cmd_token_add(struct cli *c);
int cmd_token_list(struct cli *c);
int cmd_token_revoke(struct cli *c);
int cmd_request_list(struct cli *c);
int cmd_request_show(struct cli *c);
int cmd_request_resolve(struct cli *c);
int cmd_request_undo(struct cli *c);
int cmd_notify_template(struct cli *c);
int cmd_notify_channels(struct cli *c);
int cmd_notify_list(struct cli *c);
int cmd_notify_show(struct cli *c);
int cmd_run_confirm_deletes(struct cli *c);
int cmd_worker_list(struct cli *c);
int cmd_worker_show(struct cli *c);
int cmd_limit_list(struct cli *c);
int cmd_limit_show(struct cli *c);
int cmd_limit_set(struct cli *c);
int cmd_doctor(struct cli *c);
int cmd_breaker_list(struct cli *c);
int cmd_breaker_show(struct cli *c);
int cmd_breaker_open(struct cli *c);
int cmd_breaker_close(struct cli *c);
int cmd_history_list(struct cli *c);
int cmd_history_on(struct cli *c);
int cmd_history_off(struct cli *c);
int cmd_history_keep(struct cli *c);
int cmd_secret_list(struct cli *c);
int cmd_secret_rotate_key(struct cli *c);
int cmd_webhook_register(struct cli *c);
int cmd_webhook_list(struct cli *c);
int cmd_webhook_verify(struct cli *c);
int cmd_webhook_remove(struct cli *c);
int cmd_webhook_replay(struct cli *c);
int cmd_pause(struct cli *c);
int cmd_resume(struct cli *c);
int cmd_drain(struct cli *c);

int options_integration_add(struct config_option *out);
int options_driver_check(struct config_option *out);
int options_driver_record(struct config_option *out);
int options_integration_set(struct config_option *out);
int options_integration_link(struct config_option *out);
int options_integration_list(struct config_option *out);
int options_integration_resume(struct config_option *out);
int options_authorize(struct config_option *out);
int options_integration_rotate(struct config_option *out);
int options_pause(struct config_option *out);
int options_pause_one(struct config_option *out);
int options_resume(struct config_option *out);
int options_drain(struct config_option *out);
int options_integration_sync(struct config_option *out);
int options_push(struct config_option *out);
int options_dead_list(struct config_option *out);
int options_dead_filter(struct config_option *out);
int options_queue_purge(struct config_option *out);
int options_queue_recovery(struct config_option *out);
int options_job_list(struct config_option *out);
int options_run_list(struct config_option *out);
int options_token_add(struct config_option *out);
int options_request_list(struct config_option *out);
int options_request_resolve(struct config_option *out);
int options_notify_template(struct config_option *out);
int options_notify_channels(struct config_option *out);
int options_notify_list(struct config_option *out);
int options_breaker_open(struct config_option *out);
int options_limit_list(struct config_option *out);
int options_doctor(struct config_option *out);
int options_webhook(struct config_option *out);
int options_webhook_list(struct config_option *out);
int options_webhook_replay(struct config_option *out);
int options_secret_rotate_key(struct config_option *out);

#endif
