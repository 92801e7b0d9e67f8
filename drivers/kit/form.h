/* Bodies of application/x-www-form-urlencoded, as they come in.  Nothing here waits. */
#ifndef DRIVERS_KIT_FORM_H
#define DRIVERS_KIT_FORM_H

#include "common/base/buf.h"

#define FORM_FIELDS_MAX 500

struct form_field {
	const char *name,
		*value; /* decoded: any bytes, of these lengths; inside `bytes` of the form */
	size_t name_len, value_len;
};
struct form {
	struct form_field *v;
	int n;
	char *bytes;
};
/* -EINVAL: a % that is none; -E2BIG: more than FORM_FIELDS_MAX fields. */
int form_read(struct form *out, const char *body, size_t len) __attribute__((warn_unused_result));
void form_clear(struct form *f);
/* Appends what Twilio signs: names and values one after the other, by name; of a name's values each once, in order. */
void form_sorted(const struct form *f, struct buf *out);
/* Appends it as a JSON object of texts; a name that is given again is a list. */
void form_json(const struct form *f, struct buf *out);

#endif
