/* Which version of a driver an integration has: its own setting, else a flag that is on, else its share of the rollout. */
#include <errno.h>
#include <string.h>

#include "common/base/crypto.h"
#include "common/base/mem.h"
#include "drivers/driver.h"

#define SHARES 10000 /* hundredths of a percent */

static char *flags; /* "a,b"; NULL: none is on */

void driver_flags(const char *names)
{
	free(flags);
	flags = names && *names ? mem_strdup(names) : NULL;
}

static bool flag_is_on(const char *name)
{
	size_t n = strlen(name);

	for (const char *p = flags; p && *p;) {
		size_t len;

		p += strspn(p, ", ");
		len = strcspn(p, ", ");
		if (len == n && strncmp(p, name, n) == 0)
			return true;
		p += len;
	}
	return false;
}

/* The same for ever, so that who is in at 5 percent is in at 10. */
static int share_of(const struct manifest *m, int64_t integration)
{
	uint64_t h = crypto_hash64(m->partner, strlen(m->partner), 0);

	return (int)(crypto_hash64(&integration, sizeof(integration), h) % SHARES);
}

static int by_rollout(const struct manifest *m, int64_t integration, const char **why)
{
	double up_to = 0;
	int share = share_of(m, integration);

	for (int i = 0; i < m->n_adapters; i++) {
		*why = "flag";
		if (m->adapters[i].flag && flag_is_on(m->adapters[i].flag))
			return i;
	}
	for (int i = 0; i < m->n_adapters; i++) {
		*why = "percent";
		up_to += m->adapters[i].percent * (SHARES / 100);
		if (share < up_to)
			return i;
	}
	*why = "default";
	return -1;
}

static int named(const struct manifest *m, const char *name)
{
	for (int i = 0; i < m->n_adapters; i++)
		if (strcmp(m->adapters[i].name, name) == 0)
			return i;
	return -1;
}

const struct driver *driver_for(const struct driver *d, int64_t integration, const cJSON *settings,
				const char **why, struct err *err)
{
	const char *own = settings ? json_str(settings, "adapter") : NULL, *ignored;
	int i;

	if (!why)
		why = &ignored;
	*why = own ? "setting" : "default";
	if (own && strcmp(own, ADAPTER_FIRST) == 0)
		return d;
	i = own ? named(d->manifest, own) : by_rollout(d->manifest, integration, why);
	if (own && i < 0) {
		err_set(err, -EINVAL, ERR_CLIENT, "settings",
			"integration %lld is set to the adapter \"%.40s\", which the manifest of %s does not have",
			(long long)integration, own, d->manifest->partner);
		return NULL;
	}
	return i < 0 ? d : &d->adapters[i];
}
