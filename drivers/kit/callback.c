#include "drivers/kit/callback.h"

#include <stdlib.h>
#include <string.h>

#include "common/base/mem.h"
#include "drivers/kit/call_door.h"

void callback_address(const struct manifest *m, int64_t integration, const char *public_url,
		      struct buf *out)
{
	buf_printf(out, "%s/webhooks/%s", public_url, m->partner);
	if (!m->webhooks.whose)
		buf_printf(out, "/%lld", (long long)integration);
}

/* Before a fragment, which is for the partner alone (Twilio reads how often it is to try there). */
static void add_param(struct buf *url, const char *name, const char *value)
{
	size_t n = strcspn(buf_str(url), "#");
	char *fragment = mem_strdup(buf_str(url) + n);

	url->len = n;
	buf_printf(url, "%c%s=", memchr(url->data, '?', n) ? '&' : '?', name);
	http_escape(url, value, strlen(value));
	buf_puts(url, fragment);
	free(fragment);
}

const char *callback_url(const struct caller *c, const char *reference, struct buf *keep)
{
	const struct manifest *m = c->driver->manifest;
	const struct manifest_webhooks *w = &m->webhooks;

	buf_reset(keep);
	if (!w->callback_param)
		return NULL;
	if (!w->callback_setting || !cfg_text(m, c->integration, w->callback_setting, keep)) {
		if (!c->door || !c->door->public_url)
			return NULL;
		buf_reset(keep);
		callback_address(m, c->integration->id, c->door->public_url, keep);
	}
	if (reference)
		add_param(keep, w->callback_param, reference);
	return buf_str(keep);
}
