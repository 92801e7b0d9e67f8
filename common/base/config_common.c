/* The settings that all programs share. */
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common/base/buf.h"
#include "common/base/config.h"
#include "common/base/mem.h"

static void add_folder(struct buf *list, const char *base, const char *below)
{
	char *path = mem_printf("%s/%s", base, below), *real = realpath(path, NULL);
	struct stat st;

	if (real && stat(real, &st) == 0 && S_ISDIR(st.st_mode)) {
		if (list->len)
			buf_putc(list, ':');
		buf_puts(list, real);
	}
	free(real);
	free(path);
}

/* Beside the binary, then the installed ones (PREFIX is where bin/ stands, so that a moved
 * installation finds its own); a binary that still stands under build/ finds those of its source
 * tree. */
static const char *drivers_default(void)
{
	static char *found; /* once: option tables point at it */
	struct buf list = BUF_INIT;
	char *exe, *slash, *build;

	if (found)
		return found;
	exe = realpath("/proc/self/exe", NULL);
	slash = exe ? strrchr(exe, '/') : NULL;
	if (slash) {
		*slash = '\0';
		add_folder(&list, exe, "drivers");
		add_folder(&list, exe, "../share/longshore/drivers");
		if (list.len == 0 && (build = strstr(exe, "/build/")) != NULL) {
			*build = '\0';
			add_folder(&list, exe, "drivers");
			*build = '/';
		}
		if (list.len == 0) /* so that the complaint names a place */
			buf_printf(&list, "%s/drivers", exe);
	}
	free(exe);
	found = buf_detach(&list);
	return found;
}

void config_common_options(struct config_common *c, struct config_option out[CONFIG_COMMON_COUNT])
{
	const struct config_option rows[CONFIG_COMMON_COUNT] = {
		{ "redis", "LONGSHORE_REDIS_URL", "URL", "the Redis that holds the queues",
		  CONFIG_STRING, "redis://127.0.0.1:6379/0", 0, 0, &c->redis_url },
		{ "database", "LONGSHORE_DATABASE_URL", "URL", "the Postgres that holds the rows",
		  CONFIG_STRING, "postgresql:///longshore", 0, 0, &c->database_url },
		{ "drivers", "LONGSHORE_DRIVERS", "DIR[:DIR...]",
		  "folders of drivers, the earlier wins", CONFIG_STRING, drivers_default(), 0, 0,
		  &c->drivers },
		{ "flags", "LONGSHORE_FLAGS", "A,B",
		  "feature flags that are on: adapters of drivers go by them", CONFIG_STRING, "", 0,
		  0, &c->flags },
		{ "log-level", "LONGSHORE_LOG_LEVEL", "LEVEL", "debug, info, warn or error",
		  CONFIG_STRING, "info", 0, 0, &c->log_level },
		{ "log-format", "LONGSHORE_LOG_FORMAT", "FORMAT", "logfmt or json", CONFIG_STRING,
		  "logfmt", 0, 0, &c->log_format },
		{ "secret-key-file", "LONGSHORE_SECRET_KEY_FILE", "FILE",
		  "keys that seal credentials: lines of id and base64", CONFIG_STRING, "", 0, 0,
		  &c->secret_key_file },
		{ "private-targets", "LONGSHORE_PRIVATE_TARGETS", "LIST",
		  "hosts and networks that are told to partners, or called, though only we reach them",
		  CONFIG_STRING, "", 0, 0, &c->private_targets },
	};

	memcpy(out, rows, sizeof(rows));
}
