/* One worker process: connects, claims, runs until TERM. */
#ifndef WORKER_PROCESS_H
#define WORKER_PROCESS_H

#include "worker/settings.h"
#include "worker/supervisor.h"

int process_main(const struct settings *s, struct shared_page *page);

#endif
