#include "common/base/address.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "common/base/buf.h"
#include "common/base/mem.h"

#define HOST_MAX 256
#define WORDS_MAX 200

struct block {
	uint8_t at[16];
	int bits;
	enum address_kind kind;
};

/* The first that fits.  RFC 6890 and its registry; metadata before the networks they stand in. */
static const struct block blocks4[] = {
	{ { 169, 254, 169, 254 }, 32, ADDRESS_METADATA }, /* AWS, Azure, GCP, Oracle, … */
	{ { 169, 254, 170, 2 }, 32, ADDRESS_METADATA },   /* ECS tasks */
	{ { 100, 100, 100, 200 }, 32, ADDRESS_METADATA }, /* Alibaba */
	{ { 168, 63, 129, 16 }, 32, ADDRESS_METADATA },   /* Azure's host, from a public block */
	{ { 0 }, 8, ADDRESS_LOOPBACK },
	{ { 127 }, 8, ADDRESS_LOOPBACK },
	{ { 10 }, 8, ADDRESS_PRIVATE },
	{ { 172, 16 }, 12, ADDRESS_PRIVATE },
	{ { 192, 168 }, 16, ADDRESS_PRIVATE },
	{ { 100, 64 }, 10, ADDRESS_SHARED },
	{ { 169, 254 }, 16, ADDRESS_LINK_LOCAL },
	{ { 192, 0, 0 }, 24, ADDRESS_RESERVED },
	{ { 192, 0, 2 }, 24, ADDRESS_RESERVED },
	{ { 192, 88, 99 }, 24, ADDRESS_RESERVED },
	{ { 198, 18 }, 15, ADDRESS_RESERVED },
	{ { 198, 51, 100 }, 24, ADDRESS_RESERVED },
	{ { 203, 0, 113 }, 24, ADDRESS_RESERVED },
	{ { 224 }, 3, ADDRESS_RESERVED }, /* multicast, and all above it */
};
static const struct block blocks6[] = {
	{ { 0xfd, 0, 0x0e, 0xc2, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0x02, 0x54 },
	  128,
	  ADDRESS_METADATA }, /* AWS */
	{ { 0xfd, 0x20, 0, 0xce, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0x02, 0x54 },
	  128,
	  ADDRESS_METADATA },             /* GCP */
	{ { 0 }, 127, ADDRESS_LOOPBACK }, /* ::, ::1 */
	{ { 0xfc }, 7, ADDRESS_PRIVATE },
	{ { 0xfe, 0xc0 }, 10, ADDRESS_PRIVATE },
	{ { 0xfe, 0x80 }, 10, ADDRESS_LINK_LOCAL },
	{ { 0, 0x64, 0xff, 0x9b, 0, 1 }, 48, ADDRESS_PRIVATE },
	{ { 0x20, 0x01, 0x0d, 0xb8 }, 32, ADDRESS_RESERVED },
	{ { 0x20, 0x01, 0, 0 }, 23, ADDRESS_RESERVED }, /* Teredo, ORCHID, benchmarks, … */
	{ { 0x3f, 0xff }, 20, ADDRESS_RESERVED },
	{ { 0x20 }, 3, ADDRESS_PUBLIC },
	{ { 0 }, 0, ADDRESS_RESERVED }, /* nothing else is given out */
};

/* IPv6 prefixes with an IPv4 address behind them, and where that begins. */
static const struct {
	uint8_t at[12];
	int bits, v4_at;
} holders[] = {
	{ { 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff }, 96, 12 }, /* mapped */
	{ { 0, 0x64, 0xff, 0x9b }, 96, 12 },                      /* NAT64 */
	{ { 0x20, 0x02 }, 16, 2 },                                /* 6to4 */
	{ { 0 }, 96, 12 }, /* compatible; ::1 is looked for before */
};

static bool within(const uint8_t *a, const uint8_t *net, int bits)
{
	int whole = bits / 8, rest = bits % 8;

	if (memcmp(a, net, (size_t)whole) != 0)
		return false;
	return !rest || (a[whole] ^ net[whole]) >> (8 - rest) == 0;
}

static enum address_kind judge(const uint8_t *a, const struct block *v, size_t n,
			       enum address_kind otherwise)
{
	for (size_t i = 0; i < n; i++)
		if (within(a, v[i].at, v[i].bits))
			return v[i].kind;
	return otherwise;
}

static enum address_kind judge4(const uint8_t *a)
{
	return judge(a, blocks4, ARRAY_LEN(blocks4), ADDRESS_PUBLIC);
}

/* The IPv4 address that an IPv6 one holds, or NULL. */
static const uint8_t *held4(const uint8_t *a)
{
	if (within(a, blocks6[2].at, blocks6[2].bits))
		return NULL;
	for (size_t i = 0; i < ARRAY_LEN(holders); i++)
		if (within(a, holders[i].at, holders[i].bits))
			return a + holders[i].v4_at;
	return NULL;
}

static enum address_kind judge6(const uint8_t *a)
{
	const uint8_t *v4 = held4(a);

	return v4 ? judge4(v4) : judge(a, blocks6, ARRAY_LEN(blocks6), ADDRESS_RESERVED);
}

/* ---- from text ---- */

/* Without brackets, the zone of a link and the dot at its end.  false: too long for any host. */
static bool bare(const char *host, char out[HOST_MAX])
{
	size_t n;

	if (*host == '[')
		host++;
	n = strcspn(host, "]%");
	if (n == 0 || n >= HOST_MAX)
		return false;
	memcpy(out, host, n);
	out[n] = '\0';
	if (n > 1 && out[n - 1] == '.')
		out[n - 1] = '\0';
	return true;
}

/* 4, 6 (in bytes[16]), or 0: a name.  inet_aton reads what resolvers and libcurl read as addresses too. */
static int parse(const char *text, uint8_t bytes[16])
{
	struct in_addr v4;

	if (inet_pton(AF_INET6, text, bytes) == 1)
		return 6;
	if (text[strspn(text, "0123456789abcdefABCDEFxX.")] == '\0' && inet_aton(text, &v4)) {
		memcpy(bytes, &v4, sizeof(v4));
		return 4;
	}
	return 0;
}

static bool is_localhost(const char *name)
{
	static const char word[] = "localhost";
	size_t n = strlen(name), w = sizeof(word) - 1;

	return n >= w && !strcasecmp(name + n - w, word) && (n == w || name[n - w - 1] == '.');
}

enum address_kind address_kind(const char *host)
{
	char text[HOST_MAX];
	uint8_t a[16];

	if (!bare(host, text))
		return ADDRESS_NAME;
	switch (parse(text, a)) {
	case 4:
		return judge4(a);
	case 6:
		return judge6(a);
	default:
		return is_localhost(text) ? ADDRESS_LOOPBACK : ADDRESS_NAME;
	}
}

enum address_kind address_kind_of(const struct sockaddr *sa)
{
	if (sa->sa_family == AF_INET)
		return judge4((const uint8_t *)&((const struct sockaddr_in *)sa)->sin_addr);
	if (sa->sa_family == AF_INET6)
		return judge6((const uint8_t *)&((const struct sockaddr_in6 *)sa)->sin6_addr);
	return ADDRESS_RESERVED;
}

const char *address_kind_word(enum address_kind k)
{
	static const char *const words[] = { "public",     "a name", "loopback", "private",
					     "link-local", "shared", "metadata", "reserved" };

	return words[k];
}

/* ---- what is allowed all the same ---- */

struct address_list {
	bool all;
	int n;
	struct allowed {
		char name[HOST_MAX]; /* "" where it is a network */
		int family, bits;    /* 4, 6 */
		uint8_t at[16];
	} v[];
};

static bool read_network(struct allowed *a, const char *text, const char *slash)
{
	int most = a->family == 4 ? 32 : 128;
	char *end;

	if (!slash) {
		a->bits = most;
		return true;
	}
	a->bits = (int)strtol(slash + 1, &end, 10);
	return slash[1] >= '0' && slash[1] <= '9' && !*end && end - slash < 5 && a->bits <= most;
}

/* A name, an address, or a network. */
static bool read_word(struct allowed *a, char *word)
{
	char *slash = strchr(word, '/'), text[HOST_MAX];

	if (slash)
		*slash = '\0';
	if (!bare(word, text))
		return false;
	a->family = parse(text, a->at);
	if (a->family)
		return read_network(a, text, slash);
	snprintf(a->name, sizeof(a->name), "%s", text);
	return !slash && !text[strspn(text, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"
					    "0123456789-_.")];
}

int address_list_new(const char *text, struct address_list **out, struct err *err)
{
	struct address_list *l = mem_zalloc(sizeof(*l) + WORDS_MAX * sizeof(l->v[0]));
	char *copy = mem_strdup(text), *rest = copy, *word;

	while ((word = strsep(&rest, ", ")) != NULL) {
		if (!*word)
			continue;
		if (!strcmp(word, "*")) {
			l->all = true;
		} else if (l->n == WORDS_MAX || !read_word(&l->v[l->n], word)) {
			err_set(err, -EINVAL, ERR_CLIENT, "private targets",
				"\"%.60s\": a host, an address or a network (10.1.0.0/16), or * for all, "
				"at most %d with commas between",
				word, WORDS_MAX);
			free(copy);
			free(l);
			return -EINVAL;
		} else {
			l->n++;
		}
	}
	free(copy);
	*out = l;
	return 0;
}

void address_list_free(struct address_list *l)
{
	free(l);
}

static bool has(const struct address_list *l, int family, const uint8_t *a, enum address_kind k)
{
	const uint8_t *v4 = family == 6 ? held4(a) : NULL;

	for (int i = 0; i < l->n; i++) {
		const struct allowed *w = &l->v[i];

		if (w->family == family && within(a, w->at, w->bits))
			return true;
		if (v4 && w->family == 4 && within(v4, w->at, w->bits))
			return true;
	}
	return l->all && k != ADDRESS_METADATA;
}

bool address_list_has(const struct address_list *l, const char *host)
{
	char text[HOST_MAX];
	uint8_t a[16];
	int family;

	if (!l || !bare(host, text))
		return false;
	family = parse(text, a);
	if (family)
		return has(l, family, a, address_kind(text));
	for (int i = 0; i < l->n; i++)
		if (!l->v[i].family && !strcasecmp(l->v[i].name, text))
			return true;
	return false;
}

bool address_list_has_of(const struct address_list *l, const struct sockaddr *sa)
{
	enum address_kind k = address_kind_of(sa);

	if (!l)
		return false;
	if (sa->sa_family == AF_INET)
		return has(l, 4, (const uint8_t *)&((const struct sockaddr_in *)sa)->sin_addr, k);
	if (sa->sa_family == AF_INET6)
		return has(l, 6, (const uint8_t *)&((const struct sockaddr_in6 *)sa)->sin6_addr, k);
	return false;
}
