#include "common/base/failpoint.h"

#ifdef LONGSHORE_FAILPOINTS

#include <fcntl.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <unistd.h>

#include "common/base/mem.h"

#define NAME_MAX_BYTES 80
#define PATH_BYTES 1024
#define PLACES_MAX 512
#define SEGMENT_MAX 16 /* a longer part of a path is an id */

/* ---- names ---- */
static struct place {
	char *name;
	int passed[2]; /* before, after */
} places[PLACES_MAX];
static int n_places;

static const char *kept(const char *name)
{
	for (int i = 0; i < n_places; i++)
		if (!strcmp(places[i].name, name))
			return places[i].name;
	if (n_places == PLACES_MAX)
		abort();
	places[n_places].name = mem_strdup(name);
	return places[n_places++].name;
}

static bool is_letter(char c)
{
	return c == '_' || ((c | 32) >= 'a' && (c | 32) <= 'z');
}

const char *failpoint_script(const char *name)
{
	char text[NAME_MAX_BYTES];

	snprintf(text, sizeof(text), "redis %s", name);
	return kept(text);
}

/* `GET token:{guesty}:7` is "redis GET token": of a key what stands before its hash tag. */
const char *failpoint_command(int n, const char *const *words, const size_t *len)
{
	char text[NAME_MAX_BYTES];
	int second = 0;

	while (n > 1 && (size_t)second < len[1] && is_letter(words[1][second]))
		second++;
	snprintf(text, sizeof(text), "redis %.*s%s%.*s", (int)len[0], words[0], second ? " " : "",
		 second, n > 1 ? words[1] : "");
	return kept(text);
}

static size_t word_len(const char *s)
{
	size_t n = 0;

	while (is_letter(s[n]))
		n++;
	return n;
}

static const char *next_word(const char *s)
{
	s += word_len(s);
	while (*s && !word_len(s))
		s++;
	return s;
}

static bool is_word(const char *s, const char *word)
{
	return word_len(s) == strlen(word) && !strncasecmp(s, word, strlen(word));
}

/* The word after `word`, wherever it stands, `extract(epoch FROM …)` apart; NULL. */
static const char *after_word(const char *sql, const char *word)
{
	const char *before = sql;

	for (const char *s = next_word(sql); *s; before = s, s = next_word(s))
		if (is_word(s, word) && !is_word(before, "epoch"))
			return *next_word(s) ? next_word(s) : NULL;
	return NULL;
}

/* What it does to which table: the first of insert, update and delete, else what it reads. */
const char *failpoint_sql(const char *sql)
{
	static const char *const verbs[][2] = { { "insert", "into" },
						{ "update", "update" },
						{ "delete", "from" } };
	const char *first = word_len(sql) ? sql : next_word(sql), *at = NULL, *verb = "select";
	char text[NAME_MAX_BYTES];

	for (size_t i = 0; i < ARRAY_LEN(verbs) && !at; i++) {
		if (!is_word(first, verbs[i][0]) &&
		    !(is_word(first, "with") && after_word(first, verbs[i][0])))
			continue;
		verb = verbs[i][0];
		at = is_word(first, verbs[i][1]) ? next_word(first)
						 : after_word(first, verbs[i][1]);
	}
	if (!at)
		at = after_word(first, "from");
	if (!at || at[word_len(at)] == '(') /* of no table */
		at = next_word(first);
	snprintf(text, sizeof(text), "pg %s %.*s", verb, (int)word_len(at), at);
	return kept(text);
}

/* Longer than a word, or with two digits and more at its end: it names one of many. */
static bool is_id(const char *s, size_t len)
{
	return len > SEGMENT_MAX || (len > 2 && s[len - 1] >= '0' && s[len - 1] <= '9' &&
				     s[len - 2] >= '0' && s[len - 2] <= '9');
}

const char *failpoint_http(const char *method, const char *url)
{
	const char *host = strstr(url, "://"), *path = host ? strchr(host + 3, '/') : NULL;
	char text[NAME_MAX_BYTES];
	size_t n = (size_t)snprintf(text, sizeof(text), "http %s ", method);

	while (path && *path == '/' && n + SEGMENT_MAX + 2 < sizeof(text)) {
		size_t len = strcspn(path + 1, "/?#");

		text[n++] = '/';
		if (is_id(path + 1, len))
			text[n++] = '*';
		else
			n += (size_t)snprintf(text + n, SEGMENT_MAX + 1, "%.*s", (int)len,
					      path + 1);
		path += 1 + len;
	}
	text[n] = '\0';
	return kept(text);
}

/* `RCPT TO:<…>` is "smtp RCPT". */
const char *failpoint_smtp(const char *said)
{
	char text[NAME_MAX_BYTES];

	snprintf(text, sizeof(text), "smtp %.*s", (int)word_len(said), said);
	return kept(text);
}

const char *failpoint_smtp_next(const char *last, bool starttls, bool login, int code)
{
	static const char connect[] = "connect", hello[] = "EHLO", secure[] = "STARTTLS",
			  secured[] = "EHLO_secured", who[] = "AUTH";
	const char *next = NULL;

	if (!last)
		next = connect;
	else if (!strcmp(last + 5, connect))
		next = hello;
	else if (!strcmp(last + 5, hello) && starttls)
		next = secure;
	else if (!strcmp(last + 5, secure))
		next = secured;
	else if (login && (strcmp(last + 5, who) != 0 || code == 334)) /* it was asked for more */
		next = who;
	return next && code < 400 ? failpoint_smtp(next) : NULL;
}

/* ---- passing ---- */
/* In one write, so that the lines of many processes do not mix. */
static void tell(const char *name, const char *when)
{
	const char *file = getenv("LONGSHORE_FAILPOINT_LOG");
	static int fd = -2;
	char line[NAME_MAX_BYTES + 40];
	int n;

	if (fd == -2)
		fd = file ? open(file, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0666) : -1;
	if (fd < 0)
		return;
	n = snprintf(line, sizeof(line), "%d %s:%s\n", (int)getpid(), name, when);
	if (write(fd, line, (size_t)n) != n)
		abort();
}

/* One process alone dies of the nth: whoever takes over has the same environment. */
static bool is_first(int nth)
{
	const char *file = getenv("LONGSHORE_FAILPOINT_LOG");
	char path[PATH_BYTES];
	int fd;

	if (!file)
		return true;
	snprintf(path, sizeof(path), "%s.%d", file, nth);
	fd = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0666);
	if (fd >= 0)
		close(fd);
	return fd >= 0;
}

static bool is_meant(const char *spec, size_t len, const char *name, const char *when, int times)
{
	char this[NAME_MAX_BYTES + 40];
	int n = snprintf(this, sizeof(this), "%s:%s:%d", name, when, times);

	return (size_t)n == len && !memcmp(spec, this, len);
}

const char *failpoint_pass(const char *name, const char *when)
{
	const char *spec = getenv("LONGSHORE_FAILPOINT");
	int which = when[0] == 'a', times = 0;

	if (!name) /* a step that has no place */
		return NULL;
	for (int i = 0; i < n_places; i++)
		if (places[i].name == name)
			times = ++places[i].passed[which];
	tell(name, when);
	for (int nth = 1; spec && *spec; nth++) {
		size_t len = strcspn(spec, ",");

		if (is_meant(spec, len, name, when, times) && is_first(nth))
			raise(SIGKILL);
		spec += len + (spec[len] == ',');
	}
	return name;
}

#endif
