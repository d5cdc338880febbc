// The backends behind the measured proxy: four ports of 127.0.0.1, with a process each, so that bulk traffic on one does not
// delay the others.
//
//   reply    answers a connection's first bytes with one byte, then only reads
//   discard  only reads
//   source   after a connection's first bytes, sends endlessly
//   echo     answers a connection's first bytes (the ClientHello) with one byte, and echoes everything after them
//
// Prints its ports as one line of JSON, then serves until its standard input ends, which it does when the parent exits.
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

enum role { REPLY, DISCARD, SOURCE, ECHO, ROLES };

// The data of an epoll event: a listening socket, or a connection accepted by it.
struct peer {
  int fd;
  int listening;
  enum role role;
  int greeted;     // its first bytes have arrived
  char *unsent;    // echo: the rest after a short write; nothing is read until it is sent
  size_t unsent_at, unsent_end;
};

#define EVENTS 512
#define BACKLOG 4096
// What a proxy usually gets from one read.
#define READ_BYTES (64 * 1024)
#define WRITE_BYTES (256 * 1024)
// Rounds before the other connections are served.
#define ROUNDS 4

static char buffer[1024 * 1024];

static void die(const char *what) {
  perror(what);
  exit(1);
}

static void watch(int epoll, int operation, struct peer *peer, uint32_t events) {
  struct epoll_event event = {.events = events, .data.ptr = peer};
  if (epoll_ctl(epoll, operation, peer->fd, &event) < 0) die("epoll_ctl");
}

static int port_of(int fd) {
  struct sockaddr_in at;
  socklen_t length = sizeof at;
  if (getsockname(fd, (struct sockaddr *)&at, &length) < 0) die("getsockname");
  return ntohs(at.sin_port);
}

static struct peer listen_on_any_port(enum role role) {
  struct sockaddr_in at = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
  int fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0), on = 1;
  if (fd < 0 || bind(fd, (struct sockaddr *)&at, sizeof at) < 0 || listen(fd, BACKLOG) < 0) die("listen");
  // Accepted connections inherit it.
  setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
  return (struct peer){.fd = fd, .listening = 1, .role = role};
}

static void accept_all(int epoll, const struct peer *listener) {
  for (;;) {
    int fd = accept4(listener->fd, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
    if (fd < 0) return;
    struct peer *peer = calloc(1, sizeof *peer);
    if (peer == NULL) die("calloc");
    *peer = (struct peer){.fd = fd, .role = listener->role};
    watch(epoll, EPOLL_CTL_ADD, peer, EPOLLIN);
  }
}

// Answers or buffers what was read. Returns 0 when the connection is lost.
static int take(int epoll, struct peer *peer, ssize_t length) {
  int first = !peer->greeted;
  peer->greeted = 1;
  if (peer->role == DISCARD) return 1;
  if (first && peer->role == SOURCE) {
    watch(epoll, EPOLL_CTL_MOD, peer, EPOLLIN | EPOLLOUT);
    return 1;
  }
  if (first) return write(peer->fd, "k", 1) == 1;
  if (peer->role != ECHO) return 1;
  ssize_t sent = write(peer->fd, buffer, (size_t)length);
  if (sent == length) return 1;
  if (sent < 0 && errno != EAGAIN) return 0;
  if (sent < 0) sent = 0;
  if (peer->unsent == NULL && (peer->unsent = malloc(READ_BYTES)) == NULL) die("malloc");
  memcpy(peer->unsent, buffer + sent, (size_t)(length - sent));
  peer->unsent_at = 0;
  peer->unsent_end = (size_t)(length - sent);
  watch(epoll, EPOLL_CTL_MOD, peer, EPOLLOUT);
  return 1;
}

// Each of these returns 0 when the connection has ended.
static int receive(int epoll, struct peer *peer) {
  size_t most = peer->role == DISCARD ? sizeof buffer : READ_BYTES;
  for (int round = 0; round < ROUNDS && peer->unsent_end == 0; round++) {
    ssize_t length = read(peer->fd, buffer, most);
    if (length == 0) return 0;
    if (length < 0) return errno == EAGAIN;
    if (!take(epoll, peer, length)) return 0;
    if ((size_t)length < most) return 1;
  }
  return 1;
}

static int send_on(int epoll, struct peer *peer) {
  if (peer->role == SOURCE) {
    for (int round = 0; round < ROUNDS; round++)
      if (write(peer->fd, buffer, WRITE_BYTES) < 0) return errno == EAGAIN;
    return 1;
  }
  ssize_t sent = write(peer->fd, peer->unsent + peer->unsent_at, peer->unsent_end - peer->unsent_at);
  if (sent < 0) return errno == EAGAIN;
  peer->unsent_at += (size_t)sent;
  if (peer->unsent_at < peer->unsent_end) return 1;
  peer->unsent_at = peer->unsent_end = 0;
  watch(epoll, EPOLL_CTL_MOD, peer, EPOLLIN);
  return 1;
}

static void serve(int epoll, struct peer *peer, uint32_t events) {
  int alive = 1;
  if (events & EPOLLERR) alive = 0;
  if (alive && (events & (EPOLLIN | EPOLLHUP))) alive = receive(epoll, peer);
  if (alive && (events & EPOLLOUT)) alive = send_on(epoll, peer);
  if (alive) return;
  close(peer->fd);
  free(peer->unsent);
  free(peer);
}

int main(void) {
  signal(SIGPIPE, SIG_IGN);
  struct peer listeners[ROLES], input = {.fd = STDIN_FILENO};
  for (enum role role = REPLY; role < ROLES; role++) listeners[role] = listen_on_any_port(role);
  printf("{\"reply\":%d,\"discard\":%d,\"source\":%d,\"echo\":%d}\n", port_of(listeners[REPLY].fd),
         port_of(listeners[DISCARD].fd), port_of(listeners[SOURCE].fd), port_of(listeners[ECHO].fd));
  fflush(stdout);
  struct peer *own = &listeners[REPLY];
  while (own < &listeners[ROLES - 1] && fork() != 0) own++;

  int epoll = epoll_create1(EPOLL_CLOEXEC);
  if (epoll < 0) die("epoll_create1");
  watch(epoll, EPOLL_CTL_ADD, own, EPOLLIN);
  watch(epoll, EPOLL_CTL_ADD, &input, EPOLLIN);
  struct epoll_event events[EVENTS];
  for (;;) {
    int count = epoll_wait(epoll, events, EVENTS, -1);
    if (count < 0 && errno != EINTR) die("epoll_wait");
    for (int i = 0; i < count; i++) {
      struct peer *peer = events[i].data.ptr;
      if (peer == &input) {
        char ignored[64];
        if (read(STDIN_FILENO, ignored, sizeof ignored) <= 0) return 0;
      } else if (peer->listening) {
        accept_all(epoll, peer);
      } else {
        serve(epoll, peer, events[i].events);
      }
    }
  }
}
