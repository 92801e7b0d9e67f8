#include "common/io/redis_net.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/tcp.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "common/io/redis_tls.h"

/* A peer that vanished is noticed after 15 + 3 * 5 s also on a connection that owes nothing
 * (pub/sub). */
static void set_tcp_options(int fd)
{
	int on = 1, idle_s = 15, interval_s = 5, probes = 3;

	setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
	setsockopt(fd, SOL_SOCKET, SO_KEEPALIVE, &on, sizeof(on));
	setsockopt(fd, IPPROTO_TCP, TCP_KEEPIDLE, &idle_s, sizeof(idle_s));
	setsockopt(fd, IPPROTO_TCP, TCP_KEEPINTVL, &interval_s, sizeof(interval_s));
	setsockopt(fd, IPPROTO_TCP, TCP_KEEPCNT, &probes, sizeof(probes));
}

union any_address {
	struct sockaddr any;
	struct sockaddr_in v4;
	struct sockaddr_in6 v6;
	struct sockaddr_un local;
};

static socklen_t fill_address(union any_address *a, const struct redis_url *u, const char *address)
{
	memset(a, 0, sizeof(*a));
	if (u->path) {
		a->local.sun_family = AF_UNIX;
		memcpy(a->local.sun_path, u->path,
		       strlen(u->path) + 1); /* redis_url_parse bounds it */
		return sizeof(a->local);
	}
	if (inet_pton(AF_INET, address, &a->v4.sin_addr) == 1) {
		a->v4.sin_family = AF_INET;
		a->v4.sin_port = htons((uint16_t)u->port);
		return sizeof(a->v4);
	}
	if (inet_pton(AF_INET6, address, &a->v6.sin6_addr) == 1) {
		a->v6.sin6_family = AF_INET6;
		a->v6.sin6_port = htons((uint16_t)u->port);
		return sizeof(a->v6);
	}
	return 0;
}

int redis_net_open(struct redis_net *n, const struct redis_url *u, const char *address)
{
	union any_address to;
	socklen_t len = fill_address(&to, u, address);
	int fd, rc;

	if (len == 0)
		return -EHOSTUNREACH;
	fd = socket(to.any.sa_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	if (fd < 0)
		return -errno;
	if (!u->path)
		set_tcp_options(fd);
	rc = connect(fd, &to.any, len) < 0 ? -errno : 0;
	if (rc < 0 && rc != -EINPROGRESS) {
		close(fd);
		return rc;
	}
	n->fd = fd;
	return 0;
}

int redis_net_connected(struct redis_net *n, const struct redis_url *u, const char **why)
{
	int error = 0;
	socklen_t len = sizeof(error);

	if (getsockopt(n->fd, SOL_SOCKET, SO_ERROR, &error, &len) < 0)
		error = errno;
	if (error != 0) {
		*why = strerrordesc_np(error);
		return -error;
	}
	if (u->tls)
		return redis_tls_begin(n->fd, u->host, u->cacert, &n->tls, why);
	return 0;
}

void redis_net_close(struct redis_net *n)
{
	if (n->fd < 0)
		return;
	if (n->tls)
		redis_tls_end(n->tls);
	close(n->fd);
	n->fd = -1;
	n->tls = NULL;
}

ssize_t redis_net_recv(struct redis_net *n, void *p, size_t len)
{
	ssize_t got;

	if (n->tls)
		return redis_tls_recv(n->tls, p, len);
	got = recv(n->fd, p, len, 0);
	if (got > 0)
		return got;
	if (got == 0)
		return -ECONNRESET;
	return errno == EAGAIN || errno == EINTR ? 0 : -errno;
}

int redis_net_send(struct redis_net *n, const void *p, size_t len, size_t *taken)
{
	ssize_t sent;

	*taken = 0;
	if (n->tls)
		return redis_tls_send(n->tls, p, len, taken);
	sent = send(n->fd, p, len, MSG_NOSIGNAL);
	if (sent < 0)
		return errno == EAGAIN || errno == EINTR ? REDIS_NET_WAIT_WRITABLE : -errno;
	*taken = (size_t)sent;
	return (size_t)sent == len ? REDIS_NET_GO_ON : REDIS_NET_WAIT_WRITABLE;
}

const char *redis_net_reason(const struct redis_net *n, int rc)
{
	const char *words = NULL;

	if (n->tls)
		words = redis_tls_error(n->tls);
	if (words)
		return words;
	return rc == -ECONNRESET ? "Redis closed the connection" : strerrordesc_np(-rc);
}
