/* From a URL to a connected socket.  libpq would resolve names with a blocking getaddrinfo, so
 * it is given addresses (hostaddr) beside the names, which it needs for TLS and passwords.
 * Several hosts are tried in their order, as libpq does. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/mem.h"
#include "common/io/pg_conn.h"
#include "common/io/resolve.h"

/* Outlives a connection attempt that was given up, for resolve() cannot be recalled. */
struct pg_lookup {
	struct pg_conn *conn; /* NULL: nobody waits any more */
};

/* Both lists end with a NULL keyword. */
struct keywords {
	const char *key[64], *value[64];
	int n;
};

static PQconninfoOption *find(PQconninfoOption *list, const char *keyword)
{
	while (list->keyword && strcmp(list->keyword, keyword) != 0)
		list++;
	return list->keyword ? list : NULL;
}

static const char *option(const struct pg *p, const char *keyword)
{
	const PQconninfoOption *o = find(p->parsed, keyword);

	return o && o->val && *o->val ? o->val : NULL;
}

/* PGHOST and its like, which libpq would otherwise add behind our back, and then resolve. */
static void take_defaults(struct pg *p)
{
	static const char *const keys[] = { "host", "hostaddr", "port", "user", "dbname" };
	PQconninfoOption *defaults = PQconndefaults();

	for (size_t i = 0; defaults && i < ARRAY_LEN(keys); i++) {
		PQconninfoOption *mine = find(p->parsed, keys[i]);
		const PQconninfoOption *theirs = find(defaults, keys[i]);

		if (mine && !mine->val && theirs && theirs->val && !(i == 1 && option(p, "host")))
			mine->val = mem_strdup(theirs->val);
	}
	PQconninfoFree(defaults);
}

/* "a,b," has three parts, the last of them empty, as in libpq. */
static int split(const char *list, char *out[PG_HOSTS_MAX])
{
	int n = 0;

	for (const char *at = list; at && n < PG_HOSTS_MAX; n++) {
		size_t len = strcspn(at, ",");

		out[n] = mem_strndup(at, len);
		at = at[len] ? at + len + 1 : NULL;
	}
	return n;
}

static void split_hosts(struct pg *p)
{
	char *port[PG_HOSTS_MAX] = { NULL };
	int n_ports = split(option(p, "port"), port);

	p->n_hosts = split(option(p, "host"), p->host);
	for (int i = 0; i < p->n_hosts; i++)
		p->port[i] = mem_strdup(!n_ports       ? ""
					: n_ports == 1 ? port[0]
					: i < n_ports  ? port[i]
						       : "");
	for (int i = 0; i < n_ports; i++)
		free(port[i]);
}

static char *shown(const struct pg *p)
{
	const char *user = option(p, "user"), *host = option(p, "host"), *port = option(p, "port");
	const char *name = option(p, "dbname");

	return mem_printf("postgres://%s%s%s%s%s/%s", user ? user : "", user ? "@" : "",
			  host ? host : "", port ? ":" : "", port ? port : "", name ? name : "");
}

/* libpq's own message is not passed on: it may quote the URL with its password. */
int pg_dial_parse(struct pg *p, const char *url, struct err *err)
{
	const char *password;

	p->parsed = PQconninfoParse(url, NULL);
	if (!p->parsed)
		return err_set(err, -EINVAL, ERR_INTERNAL, "database",
			       "not a Postgres URL; expected postgres://user@host:port/name");
	take_defaults(p);
	password = option(p, "password");
	if (password)
		secret_set(&p->password, password, strlen(password));
	if (!option(p, "hostaddr"))
		split_hosts(p);
	p->shown = shown(p);
	return 0;
}

void pg_dial_clear(struct pg *p)
{
	PQconninfoOption *password = p->parsed ? find(p->parsed, "password") : NULL;

	if (password && password->val)
		secret_zero(password->val, strlen(password->val));
	PQconninfoFree(p->parsed);
	secret_clear(&p->password);
	for (int i = 0; i < PG_HOSTS_MAX; i++) {
		free(p->host[i]);
		free(p->port[i]);
	}
	free(p->shown);
}

static void on_poll(evutil_socket_t fd, short what, void *arg);

/* The socket may be another one after each step, so its event is made anew each time. */
static void watch(struct pg_conn *c, short what)
{
	if (c->read)
		event_free(c->read);
	c->read = event_new(loop_base(), PQsocket(c->db), what, on_poll, c);
	event_add(c->read, NULL);
}

static void on_poll(evutil_socket_t fd, short what, void *arg)
{
	struct pg_conn *c = arg;

	switch (PQconnectPoll(c->db)) {
	case PGRES_POLLING_READING:
		watch(c, EV_READ);
		return;
	case PGRES_POLLING_OK:
		pg_conn_ready(c);
		return;
	case PGRES_POLLING_FAILED:
		pg_conn_close(c, PQerrorMessage(c->db));
		return;
	default:
		watch(c, EV_WRITE);
	}
}

static void put(struct keywords *k, const char *key, const char *value)
{
	if (!value)
		return;
	k->key[k->n] = key;
	k->value[k->n++] = value;
}

/* What keeps a silent network from holding a connection for hours, unless the URL says
 * otherwise. */
static void put_defaults(struct keywords *k, const struct pg *p)
{
	static const char *const defaults[][2] = {
		{ "keepalives", "1" },           { "keepalives_idle", "15" },
		{ "keepalives_interval", "5" },  { "keepalives_count", "3" },
		{ "tcp_user_timeout", "15000" }, { "gssencmode", "disable" },
	};

	for (size_t i = 0; i < ARRAY_LEN(defaults); i++)
		if (!option(p, defaults[i][0]))
			put(k, defaults[i][0], defaults[i][1]);
	if (!option(p, "application_name"))
		put(k, "application_name", p->application_name);
	put(k, "client_encoding", "UTF8");
}

static bool ours(const char *keyword)
{
	static const char *const keys[] = { "host", "port", "client_encoding" };

	for (size_t i = 0; i < ARRAY_LEN(keys); i++)
		if (strcmp(keyword, keys[i]) == 0)
			return true;
	return false;
}

static bool is_path(const char *host)
{
	return *host == '/' || *host == '@' || !*host;
}

/* Three lists of the same length, without the hosts that have no address now. */
static int join_hosts(const struct pg_conn *c, struct buf *host, struct buf *addr, struct buf *port)
{
	const struct pg *p = c->pool;
	int n = 0;

	for (int k = 0; k < p->n_hosts; k++) {
		int i = (p->first_host + k) % p->n_hosts;

		if (!is_path(p->host[i]) && !c->address[i][0])
			continue;
		buf_printf(host, "%s%s", n ? "," : "", p->host[i]);
		buf_printf(addr, "%s%s", n ? "," : "", c->address[i]);
		buf_printf(port, "%s%s", n ? "," : "", p->port[i]);
		n++;
	}
	return n;
}

static void connect_now(struct pg_conn *c)
{
	const struct pg *p = c->pool;
	struct buf host = BUF_INIT, addr = BUF_INIT, port = BUF_INIT;
	struct keywords k = { .n = 0 };

	if (join_hosts(c, &host, &addr, &port)) {
		put(&k, "host", buf_str(&host));
		put(&k, "hostaddr", buf_str(&addr));
		put(&k, "port", buf_str(&port));
	} else {
		put(&k, "host", option(p, "host"));
		put(&k, "port", option(p, "port"));
	}
	for (const PQconninfoOption *o = p->parsed; o->keyword; o++)
		if (o->val && *o->val && !ours(o->keyword) && k.n < 48)
			put(&k, o->keyword, o->val);
	put_defaults(&k, p);
	c->state = PG_CONNECTING;
	c->db = PQconnectStartParams(k.key, k.value, 0);
	buf_clear(&host);
	buf_clear(&addr);
	buf_clear(&port);
	if (!c->db || PQstatus(c->db) == CONNECTION_BAD)
		pg_conn_close(c, c->db ? PQerrorMessage(c->db) : "out of memory");
	else
		watch(c, EV_WRITE);
}

static void look_up(struct pg_conn *c);

static void on_address(int rc, const char *address, const char *text, void *arg)
{
	struct pg_lookup *l = arg;
	struct pg_conn *c = l->conn;

	free(l);
	if (!c)
		return;
	c->lookup = NULL;
	if (rc == 0)
		snprintf(c->address[c->host], sizeof(c->address[0]), "%s", address);
	else
		snprintf(c->why, sizeof(c->why), "%s", text);
	c->host++;
	look_up(c);
}

/* Each host in turn; at the end, dial those that have an address. */
static void look_up(struct pg_conn *c)
{
	const struct pg *p = c->pool;
	int usable = p->n_hosts == 0;

	while (c->host < p->n_hosts && is_path(p->host[c->host]))
		c->host++;
	if (c->host < p->n_hosts) {
		c->lookup = mem_alloc(sizeof(*c->lookup));
		c->lookup->conn = c;
		resolve(p->host[c->host], on_address, c->lookup);
		return;
	}
	for (int i = 0; i < p->n_hosts; i++)
		usable += is_path(p->host[i]) || c->address[i][0];
	if (!usable) {
		pg_conn_close(c, "no address");
		return;
	}
	c->why[0] = '\0';
	connect_now(c);
}

void pg_dial(struct pg_conn *c)
{
	c->state = PG_RESOLVING;
	c->attempt_ms = loop_now_ms();
	c->host = 0;
	c->why[0] = '\0';
	memset(c->address, 0, sizeof(c->address));
	look_up(c);
}

void pg_dial_stop(struct pg_conn *c)
{
	if (c->lookup)
		c->lookup->conn = NULL;
	c->lookup = NULL;
}
