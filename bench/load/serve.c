/*
 * The servers of the measurements, in one thread.
 *
 *   serve KIND=ADDRESS:PORT[=REPLY]...
 *
 *   tcp   answers a TLS record, or any other first bytes, with the file REPLY and closes
 *   http  answers each request (a head that ends with an empty line) with the file REPLY; the connection is kept
 *   bulk  answers the first bytes with the file REPLY and then with zeros, until the client goes
 *   udp   sends each datagram back
 *   dns   answers each question with one A record, 203.0.113.9, TTL 60
 *
 * Prints `ready` when all ports are bound. Ends with its namespace or by a signal.
 */
#include "wire.h"

enum kind { TCP, HTTP, BULK, UDP, DNS };
static const char *const NAMES[] = {"tcp", "http", "bulk", "udp", "dns"};

struct port {
  enum kind kind;
  int fd;
  int listening;
  struct bytes reply;
  /* Bytes of the first TLS record still to come (tcp). */
  size_t missing;
  /* How much of "\r\n\r\n" was seen. */
  int matched;
  int begun;
};

static int poll_fd;
static uint8_t buffer[256 * 1024];
static uint8_t zeros[256 * 1024];

static void watch(struct port *port, uint32_t events, int operation) {
  struct epoll_event event = {.events = events, .data.ptr = port};
  if (epoll_ctl(poll_fd, operation, port->fd, &event) < 0) die("epoll_ctl");
}

static void finish(struct port *port) {
  close(port->fd);
  free(port);
}

static void accept_all(const struct port *listener) {
  for (;;) {
    int one = 1;
    int fd = accept4(listener->fd, NULL, NULL, SOCK_NONBLOCK);
    if (fd < 0) return;
    struct port *port = calloc(1, sizeof *port);
    if (port == NULL) die("calloc");
    *port = *listener;
    port->fd = fd;
    port->listening = 0;
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
    watch(port, EPOLLIN, EPOLL_CTL_ADD);
  }
}

/* How many request heads end in these bytes. */
static int heads(struct port *port, ssize_t length) {
  static const char END[] = "\r\n\r\n";
  int count = 0;
  for (ssize_t i = 0; i < length; i++) {
    if (buffer[i] == END[port->matched]) port->matched++;
    else port->matched = buffer[i] == '\r' ? 1 : 0;
    if (port->matched == 4) {
      count++;
      port->matched = 0;
    }
  }
  return count;
}

static void stream(struct port *port, uint32_t events) {
  if (port->kind == BULK && port->begun && (events & EPOLLOUT)) {
    for (int i = 0; i < 4; i++) {
      ssize_t sent = send(port->fd, zeros, sizeof zeros, MSG_NOSIGNAL);
      if (sent < 0 && errno == EAGAIN) return;
      if (sent < 0) return finish(port);
    }
    return;
  }
  ssize_t got = recv(port->fd, buffer, sizeof buffer, 0);
  if (got < 0 && errno == EAGAIN) return;
  if (got <= 0) return finish(port);
  if (port->kind == TCP) {
    /* A connection closed with bytes unread would be reset. */
    if (port->missing == 0 && got >= 5 && buffer[0] == 22) port->missing = 5 + (size_t)(buffer[3] << 8 | buffer[4]);
    if ((size_t)got < port->missing) {
      port->missing -= (size_t)got;
      return;
    }
  }
  int replies = port->kind == HTTP ? heads(port, got) : 1;
  for (int i = 0; i < replies; i++)
    if (send(port->fd, port->reply.data, port->reply.length, MSG_NOSIGNAL) < 0) return finish(port);
  if (port->kind == TCP) return finish(port);
  if (port->kind == BULK && !port->begun) {
    port->begun = 1;
    watch(port, EPOLLIN | EPOLLOUT, EPOLL_CTL_MOD);
  }
}

static void datagrams(const struct port *port) {
  static const uint8_t ANSWER[] = {0xc0, 12, 0, 1, 0, 1, 0, 0, 0, 60, 0, 4, 203, 0, 113, 9};
  for (int i = 0; i < 64; i++) {
    struct sockaddr_in from;
    socklen_t size = sizeof from;
    ssize_t got = recvfrom(port->fd, buffer, 2048, 0, (struct sockaddr *)&from, &size);
    if (got < 0) return;
    if (port->kind == DNS) {
      if (got < 17) continue;
      buffer[2] = 0x81;
      buffer[3] = 0x80;
      buffer[7] = 1;
      /* Questions come without an OPT record: the answer follows the question at once. */
      memcpy(buffer + got, ANSWER, sizeof ANSWER);
      got += (ssize_t)sizeof ANSWER;
    }
    sendto(port->fd, buffer, (size_t)got, 0, (struct sockaddr *)&from, size);
  }
}

static struct port *open_port(char *text) {
  struct port *port = calloc(1, sizeof *port);
  char *address = strchr(text, '='), *reply = address == NULL ? NULL : strchr(address + 1, '=');
  int one = 1;
  if (port == NULL || address == NULL) { errno = EINVAL; die(text); }
  *address++ = 0;
  if (reply != NULL) *reply++ = 0;
  while (port->kind <= DNS && strcmp(NAMES[port->kind], text) != 0) port->kind++;
  if (port->kind > DNS) { errno = EINVAL; die(text); }
  if (reply != NULL) port->reply = read_file(reply);
  int datagram = port->kind == UDP || port->kind == DNS;
  struct sockaddr_in at = parse_address(address);
  port->fd = socket(AF_INET, (datagram ? SOCK_DGRAM : SOCK_STREAM) | SOCK_NONBLOCK, 0);
  setsockopt(port->fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof one);
  if (bind(port->fd, (struct sockaddr *)&at, sizeof at) < 0) die(address);
  if (!datagram && listen(port->fd, 4096) < 0) die(address);
  port->listening = 1;
  watch(port, EPOLLIN, EPOLL_CTL_ADD);
  return port;
}

int main(int argc, char **argv) {
  struct epoll_event events[256];
  signal(SIGPIPE, SIG_IGN);
  raise_file_limit();
  poll_fd = epoll_create1(0);
  for (int i = 1; i < argc; i++) open_port(argv[i]);
  printf("ready\n");
  fflush(stdout);
  for (;;) {
    int count = epoll_wait(poll_fd, events, 256, -1);
    for (int i = 0; i < count; i++) {
      struct port *port = events[i].data.ptr;
      if (!port->listening) stream(port, events[i].events);
      else if (port->kind == UDP || port->kind == DNS) datagrams(port);
      else accept_all(port);
    }
  }
}
