/* Failures made on purpose (D8): the setting `chaos` of an integration that is not of production, a share of its calls, each of
 * which times out, is slow, is answered by 500 or 429, comes back cut in half, or is lost on the network.  Each is
 * logged as chaos, and its answer carries the header x-longshore-chaos.  Calls for tokens are left alone: tokens are scarce. */
#ifndef DRIVERS_KIT_CALL_CHAOS_H
#define DRIVERS_KIT_CALL_CHAOS_H

#define CHAOS_SETTING "chaos"
/* A share as people write it: over 0 to 1.  -EINVAL. */
int chaos_parse(const char *text, double *share) __attribute__((warn_unused_result));

#endif
