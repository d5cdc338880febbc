// The load generator: connections from 127.0.0.1 that begin with a recorded ClientHello and continue with plain bytes, so
// that no cryptography is measured. One process, one thread. Exits by itself, and prints one line of JSON.
//
//   drive --mode MODE --port PORT --hello FILE [options]
//
//   rate      connect, send the hello, wait for one byte, close, repeat; latency is that of the whole cycle
//   up        send endlessly
//   down      receive endlessly
//   pingpong  send a message, wait for its echo, repeat; latency is that of one round trip
//   idle      open the connections, wait for one byte on each, print {"held":N,"failed":N} when all are open or on
//             timeout, and hold them until standard input ends
//
// Options, with their defaults: --connections 64, --seconds 3 (in total), --warmup 0.5 (of these, not counted),
// --cycles 0 (exit after this many connections or messages; 0: after --seconds), --message-bytes 1024.
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <getopt.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#include "clock.h"
#include "histogram.h"

enum role { RATE, UP, DOWN, PINGPONG, IDLE };

// DIALLING: connect() is in progress. GREETING: waits for the first byte after the hello. RUNNING: runs the mode.
enum phase { DIALLING, GREETING, RUNNING, CLOSED };

struct stream {
  int fd;
  enum role role;
  enum phase phase;
  uint64_t since;   // start of this cycle or message; for bulk, time of the last bytes
  size_t received;  // of this message
};

struct hello {
  unsigned char bytes[64 * 1024];
  size_t length;
};

struct options {
  const char *mode;
  int port;
  int connections;
  double seconds, warmup;
  uint64_t cycles;
  size_t message_bytes;
};

#define EVENTS 1024
#define READ_BYTES (1024 * 1024)
#define WRITE_BYTES (256 * 1024)
#define LARGEST_MESSAGE_BYTES (256 * 1024)
// Rounds before the other streams are served.
#define ROUNDS 4
// Concurrent connects in `idle`: fewer than the backlog and the limit of pending hellos of every proxy.
#define OPENING 128
// On loopback a response takes milliseconds at most: after this long it is lost, or the stream is stalled.
#define WAITS_IN_VAIN_AFTER_NS NS_PER_SECOND
// Longer than reading a proxy's memory takes.
#define HOLD_SECONDS 300

static struct options options = {.connections = 64, .seconds = 3, .warmup = 0.5, .message_bytes = 1024};
static struct hello hello;
static struct stream *streams;
static int stream_count, opened;
static int epoll;
static char buffer[READ_BYTES];

static uint64_t completed, bytes;
// Connections that could not be opened, and those that were lost later.
static uint64_t refused, cut;
static int held;
static struct histogram latencies;
// Set after the warm-up: the work done before.
static int counting;
static uint64_t counting_since, completed_before, bytes_before;

static void die(const char *what) {
  perror(what);
  exit(1);
}

static void watch(int operation, struct stream *stream, uint32_t events) {
  struct epoll_event event = {.events = events, .data.ptr = stream};
  if (epoll_ctl(epoll, operation, stream->fd, &event) < 0) die("epoll_ctl");
}

static uint64_t failed(void) { return refused + cut; }

// Counts a failure; `top_up` starts another cycle of `rate`.
static void fail(struct stream *stream) {
  if (stream->phase == DIALLING) refused += 1;
  else cut += 1;
  close(stream->fd);
  stream->phase = CLOSED;
}

static void open_stream(struct stream *stream) {
  struct sockaddr_in to = {
      .sin_family = AF_INET, .sin_port = htons((uint16_t)options.port), .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
  int on = 1;
  stream->since = now_ns();
  stream->phase = DIALLING;
  stream->received = 0;
  stream->fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
  if (stream->fd < 0) die("socket");
  setsockopt(stream->fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
  // On loopback connect() may fail at once, as without a free port.
  if (connect(stream->fd, (struct sockaddr *)&to, sizeof to) < 0 && errno != EINPROGRESS) fail(stream);
  else watch(EPOLL_CTL_ADD, stream, EPOLLOUT);
}

// Opens missing connections: a few at a time for `idle`, repeatedly for `rate`, otherwise all at once and only once.
static void top_up(void) {
  int idle = streams[0].role == IDLE;
  while (opened < stream_count && (!idle || opened - held - (int)failed() < OPENING)) open_stream(&streams[opened++]);
  if (streams[0].role != RATE) return;
  for (int i = 0; i < stream_count; i++)
    if (streams[i].phase == CLOSED) open_stream(&streams[i]);
}

static void send_message(struct stream *stream) {
  stream->received = 0;
  stream->since = now_ns();
  // A message is smaller than any socket buffer, and there is only one in flight.
  if (write(stream->fd, buffer, options.message_bytes) != (ssize_t)options.message_bytes) fail(stream);
}

static void greet(struct stream *stream) {
  if (write(stream->fd, hello.bytes, hello.length) != (ssize_t)hello.length) {
    fail(stream);
    return;
  }
  stream->phase = stream->role == UP || stream->role == DOWN ? RUNNING : GREETING;
  watch(EPOLL_CTL_MOD, stream, stream->role == UP ? EPOLLOUT : EPOLLIN);
}

// The first byte has arrived.
static void greeted(struct stream *stream) {
  stream->phase = RUNNING;
  if (stream->role == PINGPONG) {
    send_message(stream);
  } else if (stream->role == RATE) {
    completed += 1;
    if (counting) record(&latencies, now_ns() - stream->since);
    close(stream->fd);
    open_stream(stream);
  } else {
    held += 1;
    // Only the end of the stream may follow.
    watch(EPOLL_CTL_MOD, stream, EPOLLRDHUP);
  }
}

static void receive(struct stream *stream) {
  for (int round = 0; round < ROUNDS; round++) {
    ssize_t length = read(stream->fd, buffer, sizeof buffer);
    if (length < 0 && errno == EAGAIN) return;
    if (length <= 0) {
      fail(stream);
      return;
    }
    if (stream->phase == GREETING) {
      greeted(stream);
      return;
    }
    if (stream->role == DOWN) {
      bytes += (uint64_t)length;
      stream->since = now_ns();
      continue;
    }
    stream->received += (size_t)length;
    if (stream->received < options.message_bytes) return;
    completed += 1;
    if (counting) record(&latencies, now_ns() - stream->since);
    send_message(stream);
    return;
  }
}

static void send_on(struct stream *stream) {
  for (int round = 0; round < ROUNDS; round++) {
    ssize_t length = write(stream->fd, buffer, WRITE_BYTES);
    if (length < 0) {
      if (errno != EAGAIN) fail(stream);
      return;
    }
    bytes += (uint64_t)length;
    stream->since = now_ns();
  }
}

static void handle(struct stream *stream, uint32_t events) {
  if (stream->phase == CLOSED) return;
  if (stream->phase == DIALLING) {
    if (events & (EPOLLERR | EPOLLHUP)) fail(stream);
    else greet(stream);
  } else if (stream->role == IDLE && stream->phase == RUNNING) {
    held -= 1;
    fail(stream);
  } else if (stream->role == UP) {
    if (events & (EPOLLERR | EPOLLHUP)) fail(stream);
    else send_on(stream);
  } else {
    receive(stream);
  }
}

static void begin_counting(void) {
  counting = 1;
  counting_since = now_ns();
  completed_before = completed;
  bytes_before = bytes;
}

static void read_hello(const char *path) {
  FILE *file = fopen(path, "rb");
  if (file == NULL) die(path);
  hello.length = fread(hello.bytes, 1, sizeof hello.bytes, file);
  fclose(file);
}

static void usage(void) {
  fprintf(stderr, "drive: --mode rate|up|down|pingpong|idle --port PORT --hello FILE [options]; see the source\n");
  exit(2);
}

static void parse(int count, char **arguments) {
  static const struct option known[] = {
      {"mode", required_argument, NULL, 'm'},
      {"port", required_argument, NULL, 'p'},
      {"hello", required_argument, NULL, 'h'},
      {"connections", required_argument, NULL, 'c'},
      {"seconds", required_argument, NULL, 's'},
      {"warmup", required_argument, NULL, 'w'},
      {"cycles", required_argument, NULL, 'n'},
      {"message-bytes", required_argument, NULL, 'b'},
      {NULL, 0, NULL, 0},
  };
  int option;
  while ((option = getopt_long(count, arguments, "", known, NULL)) != -1) {
    if (option == 'm') options.mode = optarg;
    else if (option == 'p') options.port = atoi(optarg);
    else if (option == 'h') read_hello(optarg);
    else if (option == 'c') options.connections = atoi(optarg);
    else if (option == 's') options.seconds = atof(optarg);
    else if (option == 'w') options.warmup = atof(optarg);
    else if (option == 'n') options.cycles = strtoull(optarg, NULL, 10);
    else if (option == 'b') options.message_bytes = (size_t)atol(optarg);
    else usage();
  }
  int whole = options.mode != NULL && options.port > 0 && hello.length > 0 && options.connections > 0;
  if (!whole || options.message_bytes == 0 || options.message_bytes > LARGEST_MESSAGE_BYTES) usage();
}

static enum role role_of(const char *mode) {
  static const char *names[] = {"rate", "up", "down", "pingpong", "idle"};
  for (enum role role = RATE; role <= IDLE; role++)
    if (strcmp(mode, names[role]) == 0) return role;
  usage();
  return RATE;
}

static void prepare_streams(void) {
  enum role role = role_of(options.mode);
  stream_count = options.connections;
  streams = calloc((size_t)stream_count, sizeof *streams);
  if (streams == NULL) die("calloc");
  for (int i = 0; i < stream_count; i++) {
    streams[i].phase = CLOSED;
    streams[i].role = role;
  }
}

// Runs until `until`, or until nothing is left to do: all are held or lost, or all cycles are done.
static void run(uint64_t until) {
  struct epoll_event events[EVENTS];
  uint64_t warm = now_ns() + (uint64_t)(options.warmup * (double)NS_PER_SECOND);
  for (uint64_t now = now_ns(); now < until; now = now_ns()) {
    if (!counting && now >= warm) begin_counting();
    top_up();
    int count = epoll_wait(epoll, events, EVENTS, 20);
    if (count < 0 && errno != EINTR) die("epoll_wait");
    for (int i = 0; i < count; i++) handle(events[i].data.ptr, events[i].events);
    int all = streams[0].role != RATE && held + (int)failed() >= stream_count;
    int enough = options.cycles > 0 && completed >= options.cycles;
    if (all || enough) return;
  }
}

// Waits for the end of standard input, with a timeout; counts connections that are lost meanwhile.
static void hold(void) {
  uint64_t until = now_ns() + HOLD_SECONDS * NS_PER_SECOND;
  printf("{\"held\":%d,\"failed\":%llu}\n", held, (unsigned long long)failed());
  fflush(stdout);
  struct stream input = {.fd = STDIN_FILENO};
  watch(EPOLL_CTL_ADD, &input, EPOLLIN);
  struct epoll_event events[EVENTS];
  while (now_ns() < until) {
    int count = epoll_wait(epoll, events, EVENTS, 100);
    for (int i = 0; i < count; i++) {
      if (events[i].data.ptr == &input) return;
      handle(events[i].data.ptr, events[i].events);
    }
  }
}

// Streams without a response at the end or, for `bulk`, without progress.
static uint64_t waiting(int bulk) {
  uint64_t found = 0, now = now_ns();
  for (int i = 0; i < stream_count; i++) {
    const struct stream *stream = &streams[i];
    int is_bulk = stream->phase == RUNNING && (stream->role == UP || stream->role == DOWN);
    int is_held = stream->phase == RUNNING && stream->role == IDLE;
    if (stream->phase == CLOSED || is_held || is_bulk != bulk) continue;
    if (now - stream->since > WAITS_IN_VAIN_AFTER_NS) found += 1;
  }
  return found;
}

static void report(void) {
  double seconds = (double)(now_ns() - counting_since) / (double)NS_PER_SECOND;
  if (!counting || seconds <= 0) seconds = 1;
  printf("{\"mode\":\"%s\",\"seconds\":%.3f,\"completed\":%llu,\"perSecond\":%.1f,\"bytes\":%llu,\"bytesPerSecond\":%.0f,"
         "\"p50Us\":%.1f,\"p99Us\":%.1f,\"p999Us\":%.1f,\"maxUs\":%.1f,\"refused\":%llu,\"cut\":%llu,\"unanswered\":%llu,"
         "\"stalled\":%llu,\"held\":%d}\n",
         options.mode, seconds, (unsigned long long)completed, (double)(completed - completed_before) / seconds,
         (unsigned long long)bytes, (double)(bytes - bytes_before) / seconds, (double)percentile(&latencies, 0.5) / 1e3,
         (double)percentile(&latencies, 0.99) / 1e3, (double)percentile(&latencies, 0.999) / 1e3,
         (double)latencies.largest / 1e3, (unsigned long long)refused, (unsigned long long)cut, (unsigned long long)waiting(0),
         (unsigned long long)waiting(1), held);
}

int main(int count, char **arguments) {
  signal(SIGPIPE, SIG_IGN);
  parse(count, arguments);
  epoll = epoll_create1(EPOLL_CLOEXEC);
  if (epoll < 0) die("epoll_create1");
  prepare_streams();
  uint64_t until = now_ns() + (uint64_t)(options.seconds * (double)NS_PER_SECOND);
  run(until);
  if (streams[0].role == IDLE) hold();
  report();
  return 0;
}
