#include "common/base/rss.h"

#include <fcntl.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "common/base/log.h"
#include "common/base/metrics.h"

int64_t rss_bytes(void)
{
	int fd = open("/proc/self/statm", O_RDONLY | O_CLOEXEC);
	char text[128];
	const char *resident;
	ssize_t n;

	if (fd < 0)
		return 0;
	n = read(fd, text, sizeof(text) - 1);
	close(fd);
	if (n <= 0)
		return 0;
	text[n] = '\0';
	resident = strchr(text, ' '); /* the second number, in pages */
	return resident ? strtoll(resident, NULL, 10) * sysconf(_SC_PAGESIZE) : 0;
}

int64_t rss_watch(void)
{
	static bool told;
	int64_t bytes = rss_bytes();

	metric_set(metrics_gauge("process_resident_memory_bytes",
				 "Resident memory; of a worker's processes together.", NULL),
		   (double)bytes);
	if (bytes > RSS_WARN_BYTES && !told)
		log_event(LOG_WARN, "process_memory", LI("rss_mib", bytes >> 20),
			  LI("warned_at_mib", RSS_WARN_BYTES >> 20));
	told = bytes > (told ? RSS_WARN_BYTES * 9 / 10 : RSS_WARN_BYTES);
	return bytes;
}
