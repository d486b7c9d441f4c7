/* What the load generators share: addresses, clocks, files, latencies. No state of its own. */
#ifndef WIRE_H
#define WIRE_H

#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

static inline void die(const char *what) {
  fprintf(stderr, "%s: %s\n", what, strerror(errno));
  exit(1);
}

/* Nanoseconds, CLOCK_MONOTONIC: the same clock in every namespace of the machine. */
static inline uint64_t now_ns(void) {
  struct timespec t;
  clock_gettime(CLOCK_MONOTONIC, &t);
  return (uint64_t)t.tv_sec * 1000000000ull + (uint64_t)t.tv_nsec;
}

/* ADDRESS:PORT, IPv4. */
static inline struct sockaddr_in parse_address(const char *text) {
  char host[64];
  const char *colon = strrchr(text, ':');
  struct sockaddr_in address = {.sin_family = AF_INET};
  if (colon == NULL || (size_t)(colon - text) >= sizeof host) { errno = EINVAL; die(text); }
  memcpy(host, text, (size_t)(colon - text));
  host[colon - text] = 0;
  address.sin_port = htons((uint16_t)atoi(colon + 1));
  if (inet_pton(AF_INET, host, &address.sin_addr) != 1) { errno = EINVAL; die(text); }
  return address;
}

struct bytes {
  uint8_t *data;
  size_t length;
};

static inline struct bytes read_file(const char *path) {
  struct bytes out = {malloc(1 << 20), 0};
  int fd = open(path, O_RDONLY);
  ssize_t got;
  if (fd < 0 || out.data == NULL) die(path);
  while ((got = read(fd, out.data + out.length, (1 << 20) - out.length)) > 0) out.length += (size_t)got;
  close(fd);
  return out;
}

static inline int compare_u32(const void *a, const void *b) {
  uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;
  return x < y ? -1 : x > y;
}

static inline void raise_file_limit(void) {
  struct rlimit limit;
  getrlimit(RLIMIT_NOFILE, &limit);
  limit.rlim_cur = limit.rlim_max;
  setrlimit(RLIMIT_NOFILE, &limit);
}

#endif
