/*
 * The client of the measurements: exchanges of one request and one reply, some at a time, from one thread.
 *
 *   load KIND SECONDS MOST CONCURRENCY REQUEST REPLY ADDRESS:PORT...
 *
 *   tcp   connect, send the file REQUEST, read REPLY bytes, wait for the server's end, close; the next one starts
 *   http  as tcp, but the connection is kept: request, reply, request, reply
 *   bulk  connect, send the file REQUEST, read until the time is over
 *   udp   a new socket for each exchange: one datagram out, one back
 *   dns   the same sockets for all exchanges; id and the digits of the first label change with each question
 *
 * REPLY is the path of a file for tcp: other bytes are a failure, for a proxy may answer with an error of its own. Or it is how
 * many bytes are read. It is 0 for http: a reply's own head says how long it is, and it must be a 200.
 *
 * Ends after SECONDS, or after MOST exchanges. Connections go round the addresses. Latency is from connect (or, where the
 * socket is kept, from the request) to the last byte of the reply. Prints one line of JSON; times in microseconds.
 */
#include "wire.h"

enum kind { TCP, HTTP, BULK, UDP, DNS };
static const char *const NAMES[] = {"tcp", "http", "bulk", "udp", "dns"};

struct slot {
  int fd;
  uint64_t begun;
  size_t received;
  size_t expected;
  int answered;
};

#define MOST_SAMPLES 4000000
#define MOST_TARGETS 256
#define STALE_NS 2000000000ull

static enum kind kind;
static struct bytes request;
static struct bytes reply;
static size_t reply_length;
static struct sockaddr_in targets[MOST_TARGETS];
static int target_count;
static int poll_fd;
static uint32_t *samples;
static uint64_t done, failed, started, bytes_read, begin_ns;
static uint64_t most;
static uint8_t buffer[256 * 1024];

static int kept(void) { return kind == HTTP || kind == DNS; }

static void number_question(void) {
  /* Twelve bytes of header, the length of the first label, one letter, six digits. */
  static uint32_t count;
  uint32_t value = ++count;
  request.data[0] = (uint8_t)(value >> 8);
  request.data[1] = (uint8_t)value;
  value %= 1000;
  for (int i = 6; i >= 1; i--, value /= 10) request.data[13 + i] = (uint8_t)('0' + value % 10);
}

static int send_request(struct slot *slot) {
  if (kind == DNS) number_question();
  slot->received = 0;
  slot->answered = 0;
  return send(slot->fd, request.data, request.length, MSG_NOSIGNAL) == (ssize_t)request.length;
}

static void open_slot(struct slot *slot) {
  static unsigned turn;
  int one = 1;
  int type = (kind == UDP || kind == DNS ? SOCK_DGRAM : SOCK_STREAM) | SOCK_NONBLOCK;
  const struct sockaddr_in *to = &targets[turn++ % (unsigned)target_count];
  slot->begun = now_ns();
  slot->fd = socket(AF_INET, type, 0);
  if (slot->fd < 0) die("socket");
  started++;
  if (type & SOCK_STREAM) setsockopt(slot->fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
  if (connect(slot->fd, (const struct sockaddr *)to, sizeof *to) < 0 && errno != EINPROGRESS) die("connect");
  /* A stream is written once it is there; a datagram at once. */
  struct epoll_event event = {.events = type & SOCK_STREAM ? EPOLLOUT : EPOLLIN, .data.ptr = slot};
  if (epoll_ctl(poll_fd, EPOLL_CTL_ADD, slot->fd, &event) < 0) die("epoll_ctl");
  if ((type & SOCK_DGRAM) && !(type & SOCK_STREAM)) send_request(slot);
}

static void close_slot(struct slot *slot) {
  close(slot->fd);
  slot->fd = -1;
}

static void again(struct slot *slot) {
  if (started >= most) {
    if (slot->fd >= 0) close_slot(slot);
    return;
  }
  if (kept() && slot->fd >= 0) {
    started++;
    slot->begun = now_ns();
    if (send_request(slot)) return;
    failed++;
    close_slot(slot);
  }
  open_slot(slot);
}

static void sample(const struct slot *slot) {
  uint64_t took = now_ns() - slot->begun;
  if (done < MOST_SAMPLES) samples[done] = took > UINT32_MAX ? UINT32_MAX : (uint32_t)took;
  done++;
}

static void fail(struct slot *slot) {
  failed++;
  close_slot(slot);
  again(slot);
}

/* Length of an HTTP reply from its first bytes; 0: no reply with status 200 and a length. Proxies add fields, so it differs. */
static size_t http_length(size_t got) {
  const uint8_t *end = memmem(buffer, got, "\r\n\r\n", 4);
  if (end == NULL || got < 12 || memcmp(buffer + 9, "200", 3) != 0) return 0;
  const char *field = memmem(buffer, (size_t)(end - buffer), "ontent-", 7);
  while (field != NULL && strncasecmp(field, "ontent-length:", 14) != 0)
    field = memmem(field + 7, (size_t)(end - (const uint8_t *)field) - 7, "ontent-", 7);
  return field == NULL ? 0 : (size_t)(end - buffer) + 4 + strtoull(field + 14, NULL, 10);
}

static void readable(struct slot *slot) {
  for (;;) {
    ssize_t got = recv(slot->fd, buffer, sizeof buffer, 0);
    if (got < 0 && errno == EAGAIN) return;
    if (got < 0) return fail(slot);
    bytes_read += (uint64_t)got;
    if (kind == BULK) {
      if (got == 0) return fail(slot);
      return;
    }
    if (kind == UDP || kind == DNS) {
      sample(slot);
      if (kind == UDP) close_slot(slot);
      return again(slot);
    }
    if (slot->received == 0) {
      slot->expected = kind == HTTP ? http_length((size_t)got) : reply_length;
      size_t known = (size_t)got < reply.length ? (size_t)got : reply.length;
      if (slot->expected == 0 || (known > 0 && memcmp(buffer, reply.data, known) != 0)) return fail(slot);
    }
    slot->received += (size_t)got;
    if (!slot->answered && slot->received >= slot->expected) {
      slot->answered = 1;
      sample(slot);
      if (kind == HTTP) return again(slot);
    }
    if (got == 0) {
      if (!slot->answered) return fail(slot);
      close_slot(slot);
      return again(slot);
    }
  }
}

static void handle(struct epoll_event *event) {
  struct slot *slot = event->data.ptr;
  if (slot->fd < 0) return;
  if (event->events & EPOLLOUT) {
    struct epoll_event next = {.events = EPOLLIN, .data.ptr = slot};
    int error = 0;
    socklen_t size = sizeof error;
    getsockopt(slot->fd, SOL_SOCKET, SO_ERROR, &error, &size);
    if (error != 0 || !send_request(slot)) return fail(slot);
    epoll_ctl(poll_fd, EPOLL_CTL_MOD, slot->fd, &next);
    return;
  }
  readable(slot);
}

static double percentile(uint64_t count, double part) {
  if (count == 0) return 0;
  uint64_t at = (uint64_t)(part * (double)(count - 1));
  return samples[at] / 1000.0;
}

static void report(double seconds) {
  uint64_t count = done < MOST_SAMPLES ? done : MOST_SAMPLES;
  struct rusage used;
  getrusage(RUSAGE_SELF, &used);
  qsort(samples, count, sizeof *samples, compare_u32);
  printf("{\"kind\":\"%s\",\"done\":%llu,\"failed\":%llu,\"seconds\":%.4f,\"perSecond\":%.1f,\"gigabits\":%.3f,"
         "\"p50\":%.1f,\"p90\":%.1f,\"p99\":%.1f,\"max\":%.1f}\n",
         NAMES[kind], (unsigned long long)done, (unsigned long long)failed, seconds, (double)done / seconds,
         (double)bytes_read * 8 / seconds / 1e9, percentile(count, 0.5), percentile(count, 0.9),
         percentile(count, 0.99), percentile(count, 1));
}

int main(int argc, char **argv) {
  if (argc < 8) {
    fprintf(stderr, "load: needs KIND SECONDS MOST CONCURRENCY REQUEST REPLY ADDRESS:PORT...\n");
    return 2;
  }
  while (kind <= DNS && strcmp(NAMES[kind], argv[1]) != 0) kind++;
  if (kind > DNS) {
    fprintf(stderr, "load: kind `%s` is not known\n", argv[1]);
    return 2;
  }
  double limit = atof(argv[2]);
  most = strtoull(argv[3], NULL, 10);
  int concurrency = atoi(argv[4]);
  request = read_file(argv[5]);
  if (argv[6][0] == '/') reply = read_file(argv[6]);
  reply_length = reply.data != NULL ? reply.length : strtoull(argv[6], NULL, 10);
  for (int i = 7; i < argc && target_count < MOST_TARGETS; i++) targets[target_count++] = parse_address(argv[i]);
  raise_file_limit();
  samples = malloc(MOST_SAMPLES * sizeof *samples);
  struct slot *slots = calloc((size_t)concurrency, sizeof *slots);
  if (samples == NULL || slots == NULL) die("malloc");
  poll_fd = epoll_create1(0);
  begin_ns = now_ns();
  uint64_t end = begin_ns + (uint64_t)(limit * 1e9), sweep = begin_ns + 500000000ull, time = begin_ns;
  for (int i = 0; i < concurrency; i++) open_slot(&slots[i]);
  struct epoll_event events[256];
  while (time < end && done + failed < most) {
    int count = epoll_wait(poll_fd, events, 256, 100);
    for (int i = 0; i < count; i++) handle(&events[i]);
    time = now_ns();
    if (time < sweep || kind == BULK) continue;
    sweep = time + 500000000ull;
    for (int i = 0; i < concurrency; i++)
      if (slots[i].fd >= 0 && time - slots[i].begun > STALE_NS) fail(&slots[i]);
  }
  report((double)(now_ns() - begin_ns) / 1e9);
  return 0;
}
