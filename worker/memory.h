/* How much memory this process has, cheaply enough to ask at each page. */
#ifndef WORKER_MEMORY_H
#define WORKER_MEMORY_H

#include <stdint.h>

int64_t memory_resident(void); /* bytes, at most 100 ms old; 0 = not known */

#endif
