/* How much memory this process has resident, and a word in the log when that is much (Q9).  Nothing here
 * waits. */
#ifndef COMMON_BASE_RSS_H
#define COMMON_BASE_RSS_H

#include <stdint.h>

#define RSS_WARN_BYTES (500LL * 1024 * 1024)

int64_t rss_bytes(void); /* 0 where /proc is not there */
/* Every second or so: sets process_resident_memory_bytes, and logs once when it passes
 * RSS_WARN_BYTES; anew after it fell under nine tenths of that. Returns it. */
int64_t rss_watch(void);

#endif
