#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/mem.h"
#include "common/io/target.h"
#include "scheduler/cli/cli.h"

/* argv in two heaps: flags with their values, and words; people mix them. */
struct heaps {
	char **flags; /* argv[0], then flags: what config_load reads */
	char **words;
	int n_flags, n_words;
};

static bool is_flag(const char *word, const char *name)
{
	size_t n = strlen(name);

	return strncmp(word, "--", 2) == 0 && strncmp(word + 2, name, n) == 0 &&
	       (word[2 + n] == '\0' || word[2 + n] == '=');
}

/* All our other flags take a value. */
static bool stands_alone(const char *flag)
{
	return strchr(flag, '=') || is_flag(flag, "json") || is_flag(flag, "help") ||
	       is_flag(flag, "version") || is_flag(flag, "yes") || is_flag(flag, "live") ||
	       is_flag(flag, "write-rows") || is_flag(flag, "repair") || is_flag(flag, "force") ||
	       is_flag(flag, "full") || is_flag(flag, "scheduling") || strcmp(flag, "-h") == 0;
}

/* --set may be given often, which config.h does not know: taken out here. */
static int take_set(struct cli *c, const char *flag, const char *next)
{
	const char *value = strchr(flag, '=') ? strchr(flag, '=') + 1 : next;

	if (!value)
		return cli_fail(c, EXIT_MISUSED, "--set needs a value: --set every=15m");
	if (c->n_sets == CLI_SETS_MAX)
		return cli_fail(c, EXIT_MISUSED, "--set was given more than %d times",
				CLI_SETS_MAX);
	c->sets[c->n_sets++] = value;
	return 0;
}

static int sort_out(struct cli *c, struct heaps *h, int argc, char **argv)
{
	static char an_hour[] = "--wait=1h"; /* --wait alone */
	int i = 1, rc = 0;

	h->flags[h->n_flags++] = argv[0];
	for (; i < argc && rc == 0; i++) {
		char *word = argv[i], *next = i + 1 < argc && strncmp(argv[i + 1], "--", 2) != 0
						      ? argv[i + 1]
						      : NULL;

		if (strcmp(word, "--") == 0) {
			i++;
			break;
		}
		if (word[0] != '-' || word[1] == '\0') {
			h->words[h->n_words++] = word;
		} else if (is_flag(word, "set")) {
			rc = take_set(c, word, next);
			i += !strchr(word, '=');
		} else if (strcmp(word, "--wait") == 0 && !next) {
			h->flags[h->n_flags++] = an_hour;
		} else {
			h->flags[h->n_flags++] = word;
			if (!stands_alone(word) && next)
				h->flags[h->n_flags++] = argv[++i];
		}
	}
	while (rc == 0 && i < argc)
		h->words[h->n_words++] = argv[i++];
	return rc;
}

/* How many of the words name the command; 0: they do not. */
static int names(const struct command *cmd, char **words, int n)
{
	const char *second = strchr(cmd->name, ' ');
	size_t first = second ? (size_t)(second - cmd->name) : strlen(cmd->name);

	if (n < 1 || strlen(words[0]) != first || strncmp(words[0], cmd->name, first) != 0)
		return 0;
	if (!second)
		return 1;
	return n > 1 && strcmp(words[1], second + 1) == 0 ? 2 : 0;
}

static bool is_noun(const struct command *cmd, const char *word)
{
	size_t n = strlen(word);

	return strncmp(cmd->name, word, n) == 0 && cmd->name[n] == ' ';
}

static void overview(const struct command *v, int n, const char *noun)
{
	puts("usage: longshore COMMAND [flags], flags anywhere; `longshore COMMAND --help` has"
	     " those of a command\n");
	for (int i = 0; i < n; i++) {
		if (!noun || is_noun(&v[i], noun))
			printf("  %-20s %s\n", v[i].name, v[i].summary);
	}
	puts("\nAll take --json, --redis, --database, --drivers, --flags, --secret-key-file, --config;"
	     " exit codes: 0 done, 1 failed,\n"
	     "2 misused, 3 not found, 4 Redis or Postgres unreachable.");
}

static int unknown(const struct cli *c, const struct command *v, int n, const struct heaps *h)
{
	const char *known[64], *near = NULL, *first = h->words[0];
	struct buf said = BUF_INIT;
	int n_known = 0;
	bool noun = false;

	for (int i = 0; i < n && n_known < 64; i++) {
		noun |= is_noun(&v[i], first);
		known[n_known++] = v[i].name;
	}
	buf_puts(&said, first);
	if (h->n_words > 1 && noun)
		buf_printf(&said, " %s", h->words[1]);
	near = config_nearest(said.data, known, n_known);
	for (int i = 0; i < n && !near && !noun; i++) {
		char *word = mem_strndup(v[i].name, strcspn(v[i].name, " "));
		const char *one = word;

		near = config_nearest(first, &one, 1) ? v[i].name : NULL;
		free(word);
	}
	if (noun && h->n_words == 1)
		cli_fail(c, EXIT_MISUSED, "%s what? see `longshore %s --help`", first, first);
	else
		cli_fail(c, EXIT_MISUSED, "unknown command \"%s\"%s%s%s", said.data,
			 near ? "; did you mean " : "; see `longshore --help`", near ? near : "",
			 near ? "?" : "");
	buf_clear(&said);
	return EXIT_MISUSED;
}

static bool asks(const struct heaps *h, const char *flag)
{
	for (int i = 1; i < h->n_flags; i++) {
		if (strcmp(h->flags[i], flag) == 0)
			return true;
	}
	return false;
}

/* No command was named, or only its noun: helps, or complains. */
static int without_command(const struct cli *c, const struct command *v, int n,
			   const struct heaps *h)
{
	bool help = asks(h, "--help") || asks(h, "-h");
	bool noun = false;

	if (asks(h, "--version")) {
		puts("longshore " LONGSHORE_VERSION);
		exit(cli_end(c, EXIT_OK));
	}
	for (int i = 0; i < n && h->n_words; i++)
		noun |= is_noun(&v[i], h->words[0]);
	if ((help && (!h->n_words || noun)) ||
	    (h->n_words == 1 && strcmp(h->words[0], "help") == 0)) {
		overview(v, n, noun ? h->words[0] : NULL);
		exit(cli_end(c, EXIT_OK));
	}
	if (h->n_words)
		return unknown(c, v, n, h);
	return cli_fail(c, EXIT_MISUSED, "which command? see `longshore --help`");
}

static const char *drivers_default;
const char *args_drivers_default(void)
{
	return drivers_default;
}

static int load(struct cli *c, struct heaps *h)
{
	static struct config_option
		options[CONFIG_COMMON_COUNT + 1 + CLI_OPTIONS_MAX]; /* much for a frame */
	struct buf usage = BUF_INIT;
	struct err err = { 0 };
	int n = CONFIG_COMMON_COUNT, rest, rc;

	config_common_options(&c->common, options);
	for (int i = 0; i < n; i++) {
		if (strcmp(options[i].name, "log-level") == 0)
			options[i].fallback =
				"error"; /* the command says itself what is wrong, in one line */
		if (strcmp(options[i].name, "drivers") == 0)
			drivers_default = options[i].fallback;
	}
	options[n++] = (struct config_option){ .name = "json",
					       .help = "print one JSON document",
					       .type = CONFIG_BOOL,
					       .out = &c->json };
	if (c->command->options)
		n += c->command->options(&options[n]);
	buf_printf(&usage, "usage: longshore %s %s\n%s", c->command->name, c->command->arguments,
		   c->command->summary);
	rc = config_load("longshore", usage.data, options, n, h->n_flags, h->flags, &c->config_file,
			 &rest);
	buf_clear(&usage);
	if (rc == 0 && target_allow(c->common.private_targets, &err) < 0)
		rc = cli_misused(c, "--private-targets: %s", err.text);
	return rc;
}

static int check(struct cli *c)
{
	if (c->n_words < c->command->min_words)
		return cli_fail(c, EXIT_MISUSED, "usage: longshore %s %s", c->command->name,
				c->command->arguments);
	if (c->n_words > c->command->max_words)
		return cli_misused(c, "unexpected \"%s\"", c->words[c->command->max_words]);
	if (c->n_sets && strcmp(c->command->name, "integration add") != 0 &&
	    strcmp(c->command->name, "integration set") != 0)
		return cli_misused(c, "--set belongs to `integration add` and `integration set`");
	return 0;
}

int args_read(struct cli *c, const struct command *commands, int n_commands, int argc, char **argv)
{
	struct heaps h = { .flags = mem_zalloc(sizeof(char *) * (size_t)(argc + 1)),
			   .words = mem_zalloc(sizeof(char *) * (size_t)(argc + 1)) };
	int rc = sort_out(c, &h, argc, argv), taken = 0;

	for (int i = 0; i < n_commands && rc == 0 && !c->command; i++) {
		taken = names(&commands[i], h.words, h.n_words);
		if (taken)
			c->command = &commands[i];
	}
	if (rc == 0 && !c->command)
		rc = without_command(c, commands, n_commands, &h);
	if (rc == 0)
		rc = load(c, &h);
	c->words = h.words; /* for the life of the process */
	c->n_words = h.n_words - taken;
	memmove(h.words, h.words + taken, sizeof(char *) * (size_t)c->n_words);
	free(h.flags);
	return rc ? rc : check(c);
}
