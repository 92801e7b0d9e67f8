/* Bodies of form fields, and the account that one names.  Nothing here waits. */
#ifndef TESTS_SANDBOX_FORM_H
#define TESTS_SANDBOX_FORM_H

#include <stdbool.h>
#include <stddef.h>

#include "tests/sandbox/exchange.h"

/* The decoded value of a form field in place of out; false when it is not there. */
bool form_value(const char *form, size_t len, const char *name, char *out, size_t out_size);
/* Whose client_id and client_secret the body has, or NULL. */
struct account *form_client(const struct exchange *x);

#endif
