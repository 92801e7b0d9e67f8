#include "worker/memory.h"

#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "common/io/loop.h"

#define FRESH_MS 100

/* The second number of /proc/self/statm: resident pages. */
static int64_t read_resident(void)
{
	int fd = open("/proc/self/statm", O_RDONLY | O_CLOEXEC);
	char text[128];

	if (fd < 0)
		return 0;
	ssize_t n = read(fd, text, sizeof(text) - 1);
	close(fd);
	text[n > 0 ? n : 0] = '\0';
	const char *second = strchr(text, ' ');
	return second ? strtoll(second, NULL, 10) * sysconf(_SC_PAGESIZE) : 0;
}

int64_t memory_resident(void)
{
	static int64_t bytes, read_ms;
	int64_t now = loop_now_ms();

	if (!read_ms || now - read_ms >= FRESH_MS) {
		bytes = read_resident();
		read_ms = now;
	}
	return bytes;
}
