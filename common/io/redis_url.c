#include "common/io/redis_url.h"

#include <ctype.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/un.h>

#include "common/base/buf.h"
#include "common/base/mem.h"

#define DB_MAX 1000000

static int bad(struct err *err, const char *what)
{
	return err_set(err, -EINVAL, ERR_INTERNAL, "redis url", "the Redis URL is no good: %s",
		       what);
}

static int hex(char c)
{
	if (c >= '0' && c <= '9')
		return c - '0';
	c = (char)tolower((unsigned char)c);
	return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

/* NULL when a % is not followed by two digits, or hides a NUL. */
static char *decoded(const char *s, size_t n)
{
	char *out = mem_alloc(n + 1), *w = out;

	for (size_t i = 0; i < n; i++) {
		int high, low;

		if (s[i] != '%') {
			*w++ = s[i];
			continue;
		}
		high = i + 2 < n ? hex(s[i + 1]) : -1;
		low = high >= 0 ? hex(s[i + 2]) : -1;
		if (low < 0 || high * 16 + low == 0) {
			secret_zero(out, n);
			free(out);
			return NULL;
		}
		*w++ = (char)(high * 16 + low);
		i += 2;
	}
	*w = '\0';
	return out;
}

/* Digits alone. -1 otherwise. */
static int number(const char *s, size_t n, int max)
{
	long v = 0;

	if (n == 0 || n > 7)
		return -1;
	for (size_t i = 0; i < n; i++) {
		if (!isdigit((unsigned char)s[i]))
			return -1;
		v = v * 10 + (s[i] - '0');
	}
	return v <= max ? (int)v : -1;
}

/* `user:password@`; what follows the last @ before the path is the host, so an @ in a password
 * is forgiven. */
static int parse_login(struct redis_url *u, const char *s, size_t n, struct err *err)
{
	const char *colon = memchr(s, ':', n);
	size_t user_len = colon ? (size_t)(colon - s) : n;
	char *password;

	if (user_len > 0) {
		u->user = decoded(s, user_len);
		if (!u->user)
			return bad(
				err,
				"a % in the user name is not followed by two hexadecimal digits");
	}
	if (!colon)
		return 0;
	password = decoded(colon + 1, n - user_len - 1);
	if (!password)
		return bad(err, "a % in the password is not followed by two hexadecimal digits");
	secret_set(&u->password, password, strlen(password));
	secret_zero(password, strlen(password));
	free(password);
	return 0;
}

static int parse_query(struct redis_url *u, const char *s, struct err *err)
{
	while (*s) {
		size_t n = strcspn(s, "&");

		if (n > 3 && strncmp(s, "db=", 3) == 0) {
			u->db = number(s + 3, n - 3, DB_MAX);
			if (u->db < 0)
				return bad(err, "db= is not a number");
		} else if (u->tls && n > 7 && strncmp(s, "cacert=", 7) == 0) {
			free(u->cacert);
			u->cacert = decoded(s + 7, n - 7);
		} else {
			return bad(err, "after ? only db=N is known (and cacert=FILE with rediss)");
		}
		s += n + (s[n] == '&');
	}
	return 0;
}

static int parse_host(struct redis_url *u, const char *s, size_t n, struct err *err)
{
	const char *end = s + n, *host_end, *colon;

	if (n > 0 && *s == '[') {
		host_end = memchr(s, ']', n);
		if (!host_end)
			return bad(err, "a [ in the host has no ]");
		s++;
		colon = host_end + 1 < end ? host_end + 1 : NULL;
	} else {
		colon = memchr(s, ':', n);
		host_end = colon ? colon : end;
	}
	u->host = host_end > s ? mem_strndup(s, (size_t)(host_end - s)) : mem_strdup("localhost");
	u->port = 6379;
	if (!colon)
		return 0;
	u->port = *colon == ':' ? number(colon + 1, (size_t)(end - colon - 1), 65535) : -1;
	return u->port > 0 ? 0 : bad(err, "the port is not a number from 1 to 65535");
}

/* [user[:password]@]host[:port][/db] */
static int parse_tcp(struct redis_url *u, const char *s, struct err *err)
{
	size_t n = strcspn(s, "/?");
	const char *at = memrchr(s, '@', n), *rest = s + n;
	int rc = at ? parse_login(u, s, (size_t)(at - s), err) : 0;

	if (rc == 0 && at) {
		n -= (size_t)(at + 1 - s);
		s = at + 1;
	}
	if (rc == 0)
		rc = parse_host(u, s, n, err);
	if (rc < 0)
		return rc;
	if (*rest == '/' && rest[1] && rest[1] != '?') {
		size_t digits = strcspn(++rest, "?");

		u->db = number(rest, digits, DB_MAX);
		if (u->db < 0)
			return bad(err, "after the host comes /N, the number of a database");
		rest += digits;
	} else if (*rest == '/') {
		rest++;
	}
	return *rest == '?' ? parse_query(u, rest + 1, err) : 0;
}

/* /path, or //[user[:password]@]/path */
static int parse_unix(struct redis_url *u, const char *s, struct err *err)
{
	size_t n;

	if (strncmp(s, "//", 2) == 0) {
		const char *slash = strchr(s + 2, '/');
		const char *at = slash ? memrchr(s + 2, '@', (size_t)(slash - s - 2)) : NULL;

		if (!slash || (slash != s + 2 && at != slash - 1))
			return bad(err,
				   "a unix socket is unix:/path, or unix://user:password@/path");
		if (at && parse_login(u, s + 2, (size_t)(at - s - 2), err) < 0)
			return -EINVAL;
		s = slash;
	}
	n = strcspn(s, "?");
	if (*s != '/')
		return bad(err, "the path of a unix socket begins with /");
	if (n >= sizeof(((struct sockaddr_un *)0)->sun_path))
		return bad(err,
			   "the path of the unix socket is too long (107 characters are the most)");
	u->path = mem_strndup(s, n);
	return s[n] == '?' ? parse_query(u, s + n + 1, err) : 0;
}

static char *shown_form(const struct redis_url *u)
{
	const char *user = u->user ? u->user : "", *at = u->user ? "@" : "";
	bool v6 = u->host && strchr(u->host, ':');

	if (u->path)
		return mem_printf("unix:%s%s%s%s?db=%d", u->user ? "//" : "", user, at, u->path,
				  u->db);
	return mem_printf("redis%s://%s%s%s%s%s:%d/%d", u->tls ? "s" : "", user, at, v6 ? "[" : "",
			  u->host, v6 ? "]" : "", u->port, u->db);
}

int redis_url_parse(const char *url, struct redis_url *out, struct err *err)
{
	struct redis_url u = { 0 };
	int rc;

	u.tls = strncmp(url, "rediss://", 9) == 0;
	if (u.tls || strncmp(url, "redis://", 8) == 0)
		rc = parse_tcp(&u, url + (u.tls ? 9 : 8), err);
	else if (strncmp(url, "unix:", 5) == 0)
		rc = parse_unix(&u, url + 5, err);
	else
		rc = bad(err, "it begins with redis://, rediss:// or unix:");
	if (rc < 0) {
		redis_url_clear(&u);
		return rc;
	}
	u.shown = shown_form(&u);
	*out = u;
	return 0;
}

void redis_url_clear(struct redis_url *u)
{
	secret_clear(&u->password);
	free(u->host);
	free(u->path);
	free(u->user);
	free(u->cacert);
	free(u->shown);
	*u = (struct redis_url){ 0 };
}
