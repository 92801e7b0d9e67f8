/* Lookups by what they are: which partner answers a kind of question, and who is asked where he cannot (O4).  Said by the setting
 * --lookup-kinds: "weather=weather/current,geocoding=nominatim/search:mine/place", which scheduler and worker have alike. */
#ifndef DRIVERS_KIT_LOOKUP_KINDS_H
#define DRIVERS_KIT_LOOKUP_KINDS_H

#include "common/base/config.h"
#include "drivers/driver.h"

#define LOOKUP_KINDS_MAX 32
#define LOOKUP_CHOICES_MAX 8
#define LOOKUP_KIND_MAX_BYTES 60

struct lookup_kind {
	const char *name;
	struct {
		const char *partner, *name;
	} choices[LOOKUP_CHOICES_MAX]; /* each is asked where those before it have no answer */
	int n;
};

/* The one row of settings that both programs add to theirs.  How many. */
int lookup_kinds_options(struct config_option *out);
/* What the option said, as it was written: for a worker that is started with it. */
const char *lookup_kinds_setting(void);
/* Of what the option said, or of this text.  -EINVAL: problem says what is wrong with it. */
int lookup_kinds_read(struct buf *problem) __attribute__((warn_unused_result));
int lookup_kinds_parse(const char *text, struct buf *problem) __attribute__((warn_unused_result));
/* Appends a line for each lookup that these drivers do not have. */
void lookup_kinds_check(const struct driver_set *drivers, struct buf *problems);
/* Good until it is read anew.  NULL with err (-ENOENT's, of the field "kind"): there is none of this name, and which there are. */
const struct lookup_kind *lookup_kind(const char *name, struct err *err);
/* Why a lookup failed is ours, and so of whoever else could be asked: stopped, a store that is away, a fault of our own.  Not so where one
 * integration's stored credentials do not open: the next choice has its own. */
bool lookup_failure_is_ours(int rc, const struct err *e);
/* ["weather", …], and "weather, …" for people.  Appended. */
void lookup_kinds_print(struct buf *out);
void lookup_kinds_tell(struct buf *out);
void lookup_kinds_free(void);

#endif
