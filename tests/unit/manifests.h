/* Manifests for tests: the least one, read as it must be. */
#ifndef TESTS_UNIT_MANIFESTS_H
#define TESTS_UNIT_MANIFESTS_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/mem.h"
#include "drivers/kit/manifest.h"

/* The least there is: %s stands where a test puts its own keys. */
#define LEAST \
	"{\"partner\": \"p\", \"manifest\": 1, \"api\": {\"base\": {\"production\": \"https://h.example/v1\"}}%s}"

static inline struct manifest *parse(const char *text, struct buf *problems)
{
	struct manifest *m = NULL;
	int rc = manifest_parse("p/manifest.json", text, strlen(text), &m, problems);

	assert_int_equal(rc, m ? 0 : -EINVAL);
	assert_int_equal(problems->len == 0, m != NULL);
	return m;
}

#endif
