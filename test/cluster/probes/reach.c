/*
 * reach NAME PORT 4|6: asks the C library's resolver for NAME, then each address it gave for "GET /", and prints the
 * status and the address that answered, or why there is none: "200 198.51.100.21", "no address", "no answer".
 * The same source is built against musl and against glibc: they go through a search list differently.
 */
#include <netdb.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <unistd.h>

static int status_of(const struct addrinfo *to, const char *name)
{
	char text[512];
	int status = 0;
	struct timeval patience = {.tv_sec = 3};
	int fd = socket(to->ai_family, to->ai_socktype, to->ai_protocol);

	if (fd < 0)
		return 0;
	setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &patience, sizeof patience);
	setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof patience);
	if (connect(fd, to->ai_addr, to->ai_addrlen) == 0) {
		int length = snprintf(text, sizeof text, "GET / HTTP/1.0\r\nHost: %s\r\n\r\n", name);

		if (write(fd, text, length) == length) {
			ssize_t got = read(fd, text, sizeof text - 1);

			text[got > 0 ? got : 0] = 0;
			sscanf(text, "HTTP/%*s %d", &status);
		}
	}
	close(fd);
	return status;
}

int main(int count, char **words)
{
	struct addrinfo *found, want = {.ai_socktype = SOCK_STREAM};
	char address[64];

	if (count != 4)
		return 2;
	want.ai_family = strcmp(words[3], "6") == 0 ? AF_INET6 : AF_INET;
	if (getaddrinfo(words[1], words[2], &want, &found) != 0) {
		puts("no address");
		return 1;
	}
	for (; found != NULL; found = found->ai_next) {
		int status = status_of(found, words[1]);

		if (status == 0)
			continue;
		getnameinfo(found->ai_addr, found->ai_addrlen, address, sizeof address, NULL, 0, NI_NUMERICHOST);
		printf("%d %s\n", status, address);
		return 0;
	}
	puts("no answer");
	return 1;
}
