/*
 * Watches how a change of policy takes effect: opens a new UDP flow to ADDRESS:PORT every INTERVAL microseconds and
 * prints a line whenever the outcome changes: `NANOSECONDS open` (an answer came) or `NANOSECONDS closed` (refused, ICMP). The time
 * is that at which the first flow with the new outcome was opened, CLOCK_MONOTONIC. Ends after SECONDS.
 *
 *   probe SECONDS INTERVAL ADDRESS:PORT
 */
#include "wire.h"

#define FLOWS 256
#define WAIT_NS 1000000ull

static int outcome(int fd) {
  char byte;
  ssize_t got = recv(fd, &byte, 1, MSG_DONTWAIT);
  if (got >= 0) return 1;
  return errno == EAGAIN ? -1 : 0;
}

int main(int argc, char **argv) {
  if (argc != 4) return 2;
  uint64_t end = now_ns() + (uint64_t)(atof(argv[1]) * 1e9);
  useconds_t interval = (useconds_t)atoi(argv[2]);
  struct sockaddr_in to = parse_address(argv[3]);
  int fds[FLOWS];
  uint64_t begun[FLOWS];
  int last = -1;
  uint64_t last_at = 0;
  memset(fds, -1, sizeof fds);
  for (unsigned turn = 0; now_ns() < end; turn++) {
    unsigned at = turn % FLOWS;
    if (fds[at] >= 0) close(fds[at]);
    fds[at] = socket(AF_INET, SOCK_DGRAM, 0);
    begun[at] = now_ns();
    if (fds[at] < 0 || connect(fds[at], (struct sockaddr *)&to, sizeof to) < 0) die("probe");
    send(fds[at], "?", 1, MSG_DONTWAIT);
    usleep(interval);
    for (unsigned i = 0; i < FLOWS; i++) {
      if (fds[i] < 0) continue;
      int now = outcome(fds[i]);
      if (now < 0) continue;
      close(fds[i]);
      fds[i] = -1;
      /* A flow that was opened before the change may still be answered after it. */
      if (now == last || begun[i] < last_at) continue;
      last = now;
      last_at = begun[i];
      printf("%llu %s\n", (unsigned long long)begun[i], now ? "open" : "closed");
      fflush(stdout);
    }
  }
  return 0;
}
