/* Places at which a build made for it (`make FAIL=1`) may be told to die: before each command, statement and request leaves,
 * and when its answer has arrived but nobody has seen it.  A mail has one for each line of its dialogue.  tests/system/failpoints.py walks them one by one.  In every other
 * build nothing of this exists.
 *
 * LONGSHORE_FAILPOINT=NAME:before|after:N[,…] kills the process (SIGKILL) when it comes there for the N-th time; each of them
 * kills one process only, of however many have it in their environment.  LONGSHORE_FAILPOINT_LOG=FILE gets a line for each place
 * passed, `PID NAME:before` or `PID NAME:after`; beside it lies FILE.N once the N-th has killed. */
#ifndef COMMON_BASE_FAILPOINT_H
#define COMMON_BASE_FAILPOINT_H

#ifdef LONGSHORE_FAILPOINTS

#include <stdbool.h>
#include <stddef.h>

/* Names last for ever, and are the same from run to run: what stands in them is code or a template, no id and no value. */
const char *failpoint_script(const char *name);
const char *failpoint_command(int n, const char *const *words, const size_t *len);
const char *failpoint_sql(const char *sql);
const char *failpoint_http(const char *method, const char *url);
/* A mail's: the first word of what is said next.  What libcurl says is known by what was said last (NULL: nothing), and NULL is when it
 * says no more: starttls where it demands it, login where it has a user, code what was answered. */
const char *failpoint_smtp(const char *said);
const char *failpoint_smtp_next(const char *last, bool starttls, bool login, int code);
const char *failpoint_pass(const char *name, const char *when); /* the name */

#define FAILPOINT_FIELD const char *failpoint;
#define failpoint_before(step, name) ((step)->failpoint = failpoint_pass(name, "before"))
#define failpoint_after(step) ((void)failpoint_pass((step)->failpoint, "after"))

#else

#define FAILPOINT_FIELD
#define failpoint_before(step, name) ((void)0)
#define failpoint_after(step) ((void)0)

#endif

#endif
