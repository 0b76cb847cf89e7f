/* The container's terminal: the runtime makes it and sends its other end through a socket. */
#pragma once

/* The socket `console` in the current directory, listening: a name that is short wherever the
 * directory lies. Its descriptor or -errno. */
int console_listen(void);
/* What the runtime, which has ended, has sent: the terminal's descriptor or -errno. Closes and
 * removes the socket. */
int console_receive(int listen_fd);
