#include <arpa/inet.h>
#include <errno.h>
#include <event2/util.h>
#include <netinet/in.h>
#include <stdio.h>
#include <string.h>

#include "common/io/httpd_request.h"

/* Names other than localhost would have to be looked up: refused. */
int httpd_listen_parse(const char *s, struct sockaddr_storage *out, int *len)
{
	const char *colon = strrchr(s, ':');
	char text[80];

	if (!colon || !colon[1])
		return -EINVAL;
	if (strncmp(s, "localhost:", 10) == 0)
		snprintf(text, sizeof(text), "127.0.0.1%s", colon);
	else if (colon == s || strncmp(s, "*:", 2) == 0)
		snprintf(text, sizeof(text), "0.0.0.0%s", colon);
	else
		snprintf(text, sizeof(text), "%.70s", s);
	*len = sizeof(*out);
	if (strcmp(colon, ":0") != 0)
		return evutil_parse_sockaddr_port(text, (struct sockaddr *)out, len) < 0 ? -EINVAL
											 : 0;
	text[strlen(text) - 1] = '1'; /* libevent refuses port 0 */
	if (evutil_parse_sockaddr_port(text, (struct sockaddr *)out, len) < 0)
		return -EINVAL;
	((struct sockaddr_in *)out)->sin_port = 0; /* at the same place in sockaddr_in6 */
	return 0;
}

int httpd_listen_port(int fd)
{
	struct sockaddr_storage a;
	socklen_t len = sizeof(a);

	if (getsockname(fd, (struct sockaddr *)&a, &len) < 0)
		return 0;
	return ntohs(((struct sockaddr_in *)&a)->sin_port);
}
