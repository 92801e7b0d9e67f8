/* getaddrinfo knows no deadline and can't be recalled: it runs in a detached thread that touches
 * nothing but its own record, and puts that into a mailbox.  Whoever asks for a name that is
 * being looked up joins the wait, so there is one thread a name.  A name with several addresses
 * gives them in turn: a reconnect tries the next one. */
#include "common/io/resolve.h"

#include <arpa/inet.h>
#include <errno.h>
#include <event2/event.h>
#include <netdb.h>
#include <pthread.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "common/base/mem.h"
#include "common/io/co.h"
#include "common/io/loop.h"

#define KEEP_MS 30000
#define KNOWN_MAX 1024 /* names kept, about 1.5 KB each */
#define HOST_MAX 254   /* a DNS name's 253 characters and the NUL */

struct lookup {
	struct lookup *next; /* in the mailbox */
	char host[HOST_MAX];
	int rc; /* 0 or -EHOSTUNREACH */
	char text[200];
	struct resolve_all all;
};

struct asker {
	struct asker *next;
	resolve_cb cb;
	void *arg;
};

struct known {
	struct known *next;
	char host[HOST_MAX];
	struct lookup *last; /* the newest good answer; NULL if none */
	int64_t good_until_ms;
	int turn;
	bool busy; /* a thread is at it, askers wait */
	struct asker *askers, **askers_tail;
};

static struct known *all_known;
static int n_known;
static struct event *arrival;

/* The one thing that threads and the loop share. fd is -1 while nobody listens. */
static struct {
	pthread_mutex_t lock;
	struct lookup *head;
	int fd;
} mailbox = { PTHREAD_MUTEX_INITIALIZER, NULL, -1 };

static void post(struct lookup *l)
{
	pthread_mutex_lock(&mailbox.lock);
	if (mailbox.fd >= 0) {
		l->next = mailbox.head;
		mailbox.head = l;
		eventfd_write(mailbox.fd, 1);
	} else {
		free(l);
	}
	pthread_mutex_unlock(&mailbox.lock);
}

static void add_address(struct lookup *l, const struct addrinfo *a)
{
	char *out = l->all.address[l->all.n];
	int rc = getnameinfo(a->ai_addr, a->ai_addrlen, out, RESOLVE_ADDR_MAX, NULL, 0,
			     NI_NUMERICHOST);

	if (rc == 0)
		l->all.n++;
}

static void *look_up(void *arg)
{
	struct addrinfo hints = { .ai_socktype = SOCK_STREAM, .ai_flags = AI_ADDRCONFIG },
			*list = NULL;
	struct lookup *l = arg;
	char reason[128] = "no address";
	int rc = getaddrinfo(l->host, NULL, &hints, &list);

	if (rc == EAI_SYSTEM)
		snprintf(reason, sizeof(reason), "%s", strerrordesc_np(errno));
	else if (rc != 0)
		snprintf(reason, sizeof(reason), "%s", gai_strerror(rc));
	for (struct addrinfo *a = rc == 0 ? list : NULL; a && l->all.n < RESOLVE_ALL_MAX;
	     a = a->ai_next)
		add_address(l, a);
	if (rc == 0)
		freeaddrinfo(list);
	if (l->all.n == 0) {
		l->rc = -EHOSTUNREACH;
		snprintf(l->text, sizeof(l->text), "%.60s: %s", l->host, reason);
	}
	post(l);
	return NULL;
}

static int start_thread(struct lookup *l)
{
	pthread_attr_t attr;
	sigset_t every, old;
	pthread_t id;
	int rc;

	sigfillset(&every);
	pthread_attr_init(&attr);
	pthread_attr_setdetachstate(&attr, PTHREAD_CREATE_DETACHED);
	/* Signals belong to the loop's thread. */
	pthread_sigmask(SIG_SETMASK, &every, &old);
	rc = pthread_create(&id, &attr, look_up, l);
	pthread_sigmask(SIG_SETMASK, &old, NULL);
	pthread_attr_destroy(&attr);
	return -rc;
}

static const char *next_address(struct known *k)
{
	return k->last->all.address[k->turn++ % k->last->all.n];
}

static void answer_all(struct known *k, int rc, const char *text)
{
	struct asker *list = k->askers;

	k->askers = NULL;
	k->askers_tail = &k->askers;
	while (list) {
		struct asker *a = list;

		list = a->next;
		a->cb(rc, rc == 0 ? next_address(k) : NULL, text, a->arg);
		free(a);
	}
}

static struct known *find(const char *host)
{
	struct known *k = all_known;

	while (k && strcasecmp(k->host, host) != 0)
		k = k->next;
	return k;
}

static void settle(struct lookup *l)
{
	struct known *k = find(l->host);

	k->busy = false;
	if (l->rc != 0) {
		answer_all(k, l->rc, l->text);
		free(l);
		return;
	}
	free(k->last);
	k->last = l;
	k->turn = 0;
	k->good_until_ms = loop_now_ms() + KEEP_MS;
	answer_all(k, 0, NULL);
}

static void on_arrival(evutil_socket_t fd, short what, void *arg)
{
	struct lookup *list;
	uint64_t count;

	if (read(fd, &count, sizeof(count)) < 0)
		return;
	pthread_mutex_lock(&mailbox.lock);
	list = mailbox.head;
	mailbox.head = NULL;
	pthread_mutex_unlock(&mailbox.lock);
	while (list) {
		struct lookup *l = list;

		list = l->next;
		settle(l);
	}
}

static void free_lookups(struct lookup *list)
{
	while (list) {
		struct lookup *l = list;

		list = l->next;
		free(l);
	}
}

static void free_known(struct known *k)
{
	answer_all(k, -EHOSTUNREACH, "the program ends");
	free(k->last);
	free(k);
}

/* The loop closes. Threads still at work find nobody listening and free their record. */
static void close_all(void *arg)
{
	pthread_mutex_lock(&mailbox.lock);
	free_lookups(mailbox.head);
	mailbox.head = NULL;
	close(mailbox.fd);
	mailbox.fd = -1;
	pthread_mutex_unlock(&mailbox.lock);
	event_free(arrival);
	arrival = NULL;
	while (all_known) {
		struct known *k = all_known;

		all_known = k->next;
		free_known(k);
	}
	n_known = 0;
}

static int listen_for_answers(void)
{
	int fd;

	if (arrival)
		return 0;
	fd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
	if (fd < 0)
		return -errno;
	arrival = event_new(loop_base(), fd, EV_READ | EV_PERSIST, on_arrival, NULL);
	if (!arrival || event_add(arrival, NULL) < 0) {
		if (arrival)
			event_free(arrival);
		arrival = NULL;
		close(fd);
		return -ENOMEM;
	}
	pthread_mutex_lock(&mailbox.lock);
	mailbox.fd = fd;
	pthread_mutex_unlock(&mailbox.lock);
	loop_at_close(close_all, NULL);
	return 0;
}

static int ask(struct known *k)
{
	struct lookup *l = mem_new(struct lookup);
	int rc;

	memcpy(l->host, k->host, sizeof(l->host));
	rc = start_thread(l);
	if (rc < 0) {
		free(l);
		return rc;
	}
	k->busy = true;
	return 0;
}

/* Full: all go that nobody waits for; they are looked up again when they are needed. */
static void make_room(void)
{
	struct known **at = &all_known;

	if (n_known < KNOWN_MAX)
		return;
	while (*at) {
		struct known *k = *at;

		if (k->busy) {
			at = &k->next;
			continue;
		}
		*at = k->next;
		free_known(k);
		n_known--;
	}
}

static struct known *find_or_add(const char *host)
{
	struct known *k = find(host);

	if (k)
		return k;
	make_room();
	n_known++;
	k = mem_new(struct known);
	snprintf(k->host, sizeof(k->host), "%s", host);
	k->askers_tail = &k->askers;
	k->next = all_known;
	all_known = k;
	return k;
}

static bool is_literal(const char *host)
{
	struct in6_addr any;

	return inet_pton(AF_INET, host, &any) == 1 || inet_pton(AF_INET6, host, &any) == 1;
}

static void look_up_then(struct known *k, resolve_cb cb, void *arg)
{
	struct asker *a;
	int rc = k->busy ? 0 : ask(k);

	if (rc < 0) {
		cb(-EHOSTUNREACH, NULL, "no thread can be started to look up a name", arg);
		return;
	}
	a = mem_new(struct asker);
	a->cb = cb;
	a->arg = arg;
	*k->askers_tail = a;
	k->askers_tail = &a->next;
}

void resolve(const char *host, resolve_cb cb, void *arg)
{
	struct known *k;

	if (is_literal(host)) {
		cb(0, host, NULL, arg);
		return;
	}
	if (strcasecmp(host, "localhost") == 0) {
		cb(0, "127.0.0.1", NULL, arg);
		return;
	}
	if (!host[0] || strlen(host) >= HOST_MAX) {
		cb(-EHOSTUNREACH, NULL, "not a host name", arg);
		return;
	}
	if (listen_for_answers() < 0) {
		cb(-EHOSTUNREACH, NULL, "no descriptor is left to look up a name", arg);
		return;
	}
	k = find_or_add(host);
	if (k->last && loop_now_ms() < k->good_until_ms)
		cb(0, next_address(k), NULL, arg);
	else
		look_up_then(k, cb, arg);
}

/* On the heap: a thread can't be recalled, so its answer may come when the asker is gone. */
struct waiting {
	struct completion c;
	bool orphaned;
	int rc;
	char host[HOST_MAX];
	char address[RESOLVE_ADDR_MAX];
	struct resolve_all all;
	char text[200];
};

static void on_answer(int rc, const char *address, const char *text, void *arg)
{
	struct waiting *w = arg;
	const struct known *k;

	if (w->orphaned) {
		free(w);
		return;
	}
	w->rc = rc;
	snprintf(w->address, sizeof(w->address), "%s", address ? address : "");
	snprintf(w->text, sizeof(w->text), "%s", text ? text : "");
	k = find(w->host);
	if (k && k->last) {
		w->all = k->last->all;
	} else { /* a literal, localhost */
		w->all.n = 1;
		memcpy(w->all.address[0], w->address, sizeof(w->address));
	}
	completion_done(&w->c);
}

/* *out is the caller's to free, where it is 0. */
static int look_and_wait(const char *host, struct waiting **out, int64_t deadline_ms,
			 struct err *err)
{
	struct waiting *w = mem_new(struct waiting);
	int rc;

	snprintf(w->host, sizeof(w->host), "%s", host);
	resolve(host, on_answer, w);
	rc = completion_wait(&w->c, "resolve", deadline_ms);
	if (rc < 0) {
		w->orphaned = true;
		return err_set(err, rc, rc == -ECANCELED ? ERR_CANCELLED : ERR_TRANSIENT, "network",
			       "%.60s: looking up its address did not end in time", host);
	}
	rc = w->rc;
	if (rc < 0) {
		err_set(err, rc, ERR_TRANSIENT, "network", "%s", w->text);
		free(w);
		return rc;
	}
	*out = w;
	return 0;
}

int resolve_wait(const char *host, char out[RESOLVE_ADDR_MAX], int64_t deadline_ms, struct err *err)
{
	struct waiting *w = NULL;
	int rc = look_and_wait(host, &w, deadline_ms, err);

	if (rc == 0)
		memcpy(out, w->address, RESOLVE_ADDR_MAX);
	free(w);
	return rc;
}

int resolve_all_wait(const char *host, struct resolve_all *out, int64_t deadline_ms,
		     struct err *err)
{
	struct waiting *w = NULL;
	int rc = look_and_wait(host, &w, deadline_ms, err);

	out->n = 0;
	if (rc == 0)
		*out = w->all;
	free(w);
	return rc;
}
