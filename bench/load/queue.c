/*
 * What a packet lane costs at least: takes every packet of an NFQUEUE and its neighbour, accepts it with a mark, decides
 * nothing. It stands in for the agent behind the agent's own ruleset, so the kernel's part is the same.
 *
 *   queue FIRST-QUEUE MARK-TCP MARK-OTHER
 *
 * Packets are read 64 at a time without waiting, verdicts of a batch travel in one message, as in the agent. Prints
 * `ready`; a line `PACKETS NANOSECONDS` (processor time of this thread) on SIGUSR1; ends by SIGTERM.
 */
#include "wire.h"
#include <linux/netfilter.h>
#include <linux/netfilter/nfnetlink.h>
#include <linux/netfilter/nfnetlink_queue.h>
#include <linux/netlink.h>
#include <poll.h>

#define BATCH 64
#define SLOT (65536 + 512)

static volatile sig_atomic_t asked, ended;
static void on_signal(int number) {
  if (number == SIGUSR1) asked = 1;
  else ended = 1;
}

static size_t attribute(uint8_t *at, uint16_t type, const void *data, uint16_t length) {
  struct nlattr head = {.nla_len = (uint16_t)(NLA_HDRLEN + length), .nla_type = type};
  memcpy(at, &head, sizeof head);
  memcpy(at + NLA_HDRLEN, data, length);
  return NLA_ALIGN(head.nla_len);
}

static size_t message(uint8_t *at, uint8_t type, uint16_t queue, const uint8_t *body, size_t length) {
  struct nlmsghdr head = {.nlmsg_len = (uint32_t)(NLMSG_HDRLEN + 4 + length),
                          .nlmsg_type = (uint16_t)(NFNL_SUBSYS_QUEUE << 8 | type),
                          .nlmsg_flags = NLM_F_REQUEST};
  struct nfgenmsg family = {.nfgen_family = AF_UNSPEC, .version = 0, .res_id = htons(queue)};
  memcpy(at, &head, sizeof head);
  memcpy(at + NLMSG_HDRLEN, &family, sizeof family);
  memcpy(at + NLMSG_HDRLEN + 4, body, length);
  return NLMSG_ALIGN(head.nlmsg_len);
}

static int open_queue(uint16_t number) {
  static uint8_t out[256], body[64];
  int size = 16 * 1024 * 1024, one = 1;
  int fd = socket(AF_NETLINK, SOCK_RAW | SOCK_NONBLOCK, NETLINK_NETFILTER);
  struct sockaddr_nl self = {.nl_family = AF_NETLINK};
  struct nfqnl_msg_config_cmd bind_command = {.command = NFQNL_CFG_CMD_BIND};
  struct nfqnl_msg_config_params copy = {.copy_range = htonl(0xffff), .copy_mode = NFQNL_COPY_PACKET};
  uint32_t length = htonl(8192);
  if (fd < 0 || bind(fd, (struct sockaddr *)&self, sizeof self) < 0) die("netlink");
  setsockopt(fd, SOL_SOCKET, SO_RCVBUFFORCE, &size, sizeof size);
  setsockopt(fd, SOL_NETLINK, NETLINK_NO_ENOBUFS, &one, sizeof one);
  size_t used = attribute(body, NFQA_CFG_CMD, &bind_command, sizeof bind_command);
  if (send(fd, out, message(out, NFQNL_MSG_CONFIG, number, body, used), 0) < 0) die("bind");
  used = attribute(body, NFQA_CFG_PARAMS, &copy, sizeof copy);
  used += attribute(body + used, NFQA_CFG_QUEUE_MAXLEN, &length, sizeof length);
  if (send(fd, out, message(out, NFQNL_MSG_CONFIG, number, body, used), 0) < 0) die("configure");
  return fd;
}

struct packet {
  uint32_t id;
  int tcp;
};

static int read_packet(const uint8_t *data, size_t length, struct packet *out) {
  const struct nlmsghdr *head = (const void *)data;
  int found = 0;
  if (length < NLMSG_HDRLEN + 4 || head->nlmsg_type != (NFNL_SUBSYS_QUEUE << 8 | NFQNL_MSG_PACKET)) return 0;
  out->tcp = 0;
  for (size_t at = NLMSG_HDRLEN + 4; at + NLA_HDRLEN <= length;) {
    const struct nlattr *next = (const void *)(data + at);
    if (next->nla_len < NLA_HDRLEN || at + next->nla_len > length) break;
    if ((next->nla_type & NLA_TYPE_MASK) == NFQA_PACKET_HDR) {
      uint32_t id;
      memcpy(&id, data + at + NLA_HDRLEN, sizeof id);
      out->id = ntohl(id);
      found = 1;
    } else if ((next->nla_type & NLA_TYPE_MASK) == NFQA_PAYLOAD && next->nla_len >= NLA_HDRLEN + 20) {
      out->tcp = data[at + NLA_HDRLEN + 9] == IPPROTO_TCP;
    }
    at += NLA_ALIGN(next->nla_len);
  }
  return found;
}

static uint8_t slots[BATCH][SLOT], verdicts[BATCH * 64];

static uint64_t drain(int fd, uint16_t queue, uint32_t mark_tcp, uint32_t mark_other) {
  static struct mmsghdr headers[BATCH];
  static struct iovec vectors[BATCH];
  size_t used = 0;
  uint64_t packets = 0;
  for (int i = 0; i < BATCH; i++) {
    vectors[i] = (struct iovec){slots[i], SLOT};
    headers[i].msg_hdr = (struct msghdr){.msg_iov = &vectors[i], .msg_iovlen = 1};
  }
  int count = recvmmsg(fd, headers, BATCH, MSG_DONTWAIT, NULL);
  for (int i = 0; i < count; i++) {
    struct packet packet;
    if (!read_packet(slots[i], headers[i].msg_len, &packet)) continue;
    uint8_t body[32];
    struct nfqnl_msg_verdict_hdr verdict = {.verdict = htonl(NF_ACCEPT), .id = htonl(packet.id)};
    uint32_t mark = htonl(packet.tcp ? mark_tcp : mark_other);
    size_t length = attribute(body, NFQA_VERDICT_HDR, &verdict, sizeof verdict);
    length += attribute(body + length, NFQA_MARK, &mark, sizeof mark);
    used += message(verdicts + used, NFQNL_MSG_VERDICT, queue, body, length);
    packets++;
  }
  if (used > 0 && send(fd, verdicts, used, 0) < 0) die("verdicts");
  return packets;
}

int main(int argc, char **argv) {
  if (argc != 4) return 2;
  uint16_t first = (uint16_t)atoi(argv[1]);
  uint32_t mark_tcp = (uint32_t)strtoul(argv[2], NULL, 0), mark_other = (uint32_t)strtoul(argv[3], NULL, 0);
  struct pollfd waits[2] = {{.fd = open_queue(first), .events = POLLIN},
                            {.fd = open_queue((uint16_t)(first + 1)), .events = POLLIN}};
  struct sigaction action = {.sa_handler = on_signal};
  uint64_t packets = 0;
  sigaction(SIGUSR1, &action, NULL);
  sigaction(SIGTERM, &action, NULL);
  printf("ready\n");
  fflush(stdout);
  while (!ended) {
    poll(waits, 2, 200);
    for (uint16_t i = 0; i < 2; i++) packets += drain(waits[i].fd, (uint16_t)(first + i), mark_tcp, mark_other);
    if (!asked) continue;
    asked = 0;
    struct timespec used;
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &used);
    printf("%llu %llu\n", (unsigned long long)packets,
           (unsigned long long)used.tv_sec * 1000000000ull + (unsigned long long)used.tv_nsec);
    fflush(stdout);
  }
  return 0;
}
