/* The sockets of the HTTP client on the loop.  After each exchange libcurl takes its interest in
 * a connection back, and asks for it again with the next: two epoll_ctl calls an exchange for
 * nothing.  So a socket that libcurl opened through us stays armed for reading while it is idle,
 * until it is readable then or closed. http.c alone uses this. */
#ifndef COMMON_IO_HTTP_SOCKET_H
#define COMMON_IO_HTTP_SOCKET_H

/* `what`: EV_READ | EV_WRITE that happened. */
typedef void (*http_socket_fn)(int fd, short what, void *arg);

void http_socket_opened(int fd); /* libcurl has it from us */
void http_socket_watch(int fd, short what, http_socket_fn fn, void *arg); /* 0: nothing for now */
void http_socket_closing(int fd);                                         /* before close(2) */

#endif
