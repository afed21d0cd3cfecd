// rude PORT THREADS PER_SECOND: clients that do not behave, until SIGTERM; then prints how many there were of each kind.
// Each takes a source address of its own in 127.0.0.0/8, so that the ports of closed connections do not run out.
#include "../Benchmarks/sockets.h"

#include <pthread.h>
#include <stdatomic.h>
#include <time.h>

#define PATH "/faulty"
#define HOST "Host: rude\r\n"

enum { kinds = 18 };
static const char *names[kinds] = {
    "leaves in a head", "leaves in a body", "leaves in a chunk", "resets before the response", "resets in the response",
    "leaves without reading", "garbage", "pipelines and leaves", "half-closes", "broken chunks", "says nothing",
    "reads slowly", "upstream ends after", "upstream announces its end", "upstream ends the body", "upstream resets",
    "upstream drops", "upstream answers early"};
static atomic_ulong counts[kinds], no_connection;
static atomic_int stopping;
static int port, per_second, threads;

static unsigned long long next(unsigned long long *state) {
  unsigned long long z = (*state += 0x9e3779b97f4a7c15);
  z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9;
  z = (z ^ z >> 27) * 0x94d049bb133111eb;
  return z ^ z >> 31;
}

static int open_connection(unsigned long long *random) {
  int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0), one = 1;
  if (fd < 0) return -1;
  set_no_delay(fd);
  struct timeval limit = {10, 0};
  setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof limit);
  setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &limit, sizeof limit);
  setsockopt(fd, IPPROTO_IP, IP_BIND_ADDRESS_NO_PORT, &one, sizeof one);
  struct sockaddr_in source = {.sin_family = AF_INET};
  source.sin_addr.s_addr = htonl(0x7f000000 | (uint32_t)(next(random) % 0xfffffd + 2));
  struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons((uint16_t)port)};
  address.sin_addr.s_addr = htonl(0x7f000001);
  if (bind(fd, (struct sockaddr *)&source, sizeof source) == 0 &&
      connect(fd, (struct sockaddr *)&address, sizeof address) == 0)
    return fd;
  close(fd);
  return -1;
}

static void say(int fd, const char *text) {
  if (send(fd, text, strlen(text), MSG_NOSIGNAL) < 0) return;
}

static void read_to_end(int fd) {
  char buffer[65536];
  while (recv(fd, buffer, sizeof buffer, 0) > 0) {}
}

static void read_some(int fd, size_t count) {
  char buffer[4096];
  if (recv(fd, buffer, count < sizeof buffer ? count : sizeof buffer, 0) < 0) return;
}

static void pause_for(long nanoseconds) {
  struct timespec span = {nanoseconds / 1000000000, nanoseconds % 1000000000};
  nanosleep(&span, NULL);
}

static void get(int fd, const char *path) {
  char text[256];
  snprintf(text, sizeof text, "GET " PATH "%s HTTP/1.1\r\n" HOST "Connection: close\r\n\r\n", path);
  say(fd, text);
}

static void act(int kind, unsigned long long *random) {
  static char block[10000];
  int fd = open_connection(random), reset = 0;
  if (fd < 0) {
    no_connection++;
    return;
  }
  switch (kind) {
  case 0: say(fd, "GET " PATH "/150 HTTP/1.1\r\nHo"); break;
  case 1:
    say(fd, "POST " PATH "/150 HTTP/1.1\r\n" HOST "Content-Length: 1000000\r\n\r\n");
    if (send(fd, block, next(random) % sizeof block, MSG_NOSIGNAL) < 0) break;
    reset = next(random) % 2;
    break;
  case 2: say(fd, "POST " PATH "/150 HTTP/1.1\r\n" HOST "Transfer-Encoding: chunked\r\n\r\n5\r\nhel"); break;
  case 3:
    get(fd, "/150");
    reset = 1;
    break;
  case 4:
    get(fd, "/65536");
    read_some(fd, 100);
    reset = 1;
    break;
  case 5: get(fd, "/1048576"); break;
  case 6: {
    unsigned char bytes[600];
    size_t count = next(random) % sizeof bytes;
    for (size_t i = 0; i < count; i++) bytes[i] = (unsigned char)next(random);
    if (send(fd, bytes, count, MSG_NOSIGNAL) < 0) break;
    shutdown(fd, SHUT_WR);
    read_to_end(fd);
    break;
  }
  case 7:
    for (int i = 0; i < 5; i++) say(fd, "GET " PATH "/150 HTTP/1.1\r\n" HOST "\r\n");
    if (next(random) % 2) read_some(fd, 400);
    break;
  case 8:
    get(fd, "/150");
    shutdown(fd, SHUT_WR);
    read_to_end(fd);
    break;
  case 9:
    say(fd, "POST " PATH "/150 HTTP/1.1\r\n" HOST "Transfer-Encoding: chunked\r\n\r\n5\r\nhello\r\nzz\r\n");
    read_to_end(fd);
    break;
  case 10: break;
  case 11:
    // A megabyte, a little at a time at first.
    get(fd, next(random) % 2 ? "/1048576" : "/chunked/1000000");
    for (int i = 0; i < 20; i++) {
      read_some(fd, 1000);
      pause_for(2000000);
    }
    if (next(random) % 4) read_to_end(fd);
    break;
  default: {
    static const char *paths[] = {"/close", "/announced", "/until-close", "/reset", "/drop"};
    if (kind < 17) {
      get(fd, paths[kind - 12]);
    } else {
      say(fd, "POST " PATH "/early HTTP/1.1\r\n" HOST "Content-Length: 20000\r\n\r\n");
      pause_for(1000000);
      if (send(fd, block, sizeof block, MSG_NOSIGNAL) < 0) break;
    }
    read_to_end(fd);
  }
  }
  if (reset) {
    struct linger linger = {1, 0};
    setsockopt(fd, SOL_SOCKET, SO_LINGER, &linger, sizeof linger);
  }
  close(fd);
  counts[kind]++;
}

static void *run(void *argument) {
  unsigned long long random = (unsigned long long)(size_t)argument;
  struct timespec start, now;
  clock_gettime(CLOCK_MONOTONIC, &start);
  for (unsigned long done = 0; !stopping; done++) {
    act((int)(next(&random) % kinds), &random);
    clock_gettime(CLOCK_MONOTONIC, &now);
    long long due = (long long)done * threads * 1000000000LL / per_second;
    long long passed = (now.tv_sec - start.tv_sec) * 1000000000LL + now.tv_nsec - start.tv_nsec;
    if (due > passed) pause_for((long)(due - passed > 100000000 ? 100000000 : due - passed));
  }
  return NULL;
}

static void stop(int signal) {
  (void)signal;
  stopping = 1;
}

int main(int argc, char **argv) {
  if (argc != 4) return 2;
  port = atoi(argv[1]);
  threads = atoi(argv[2]);
  per_second = atoi(argv[3]);
  if (threads < 1 || threads > 256 || per_second < 1) return 2;
  prepare_process();
  signal(SIGTERM, stop);
  signal(SIGINT, stop);
  pthread_t started[256];
  for (int i = 0; i < threads; i++) pthread_create(&started[i], NULL, run, (void *)(size_t)(i + 1));
  for (int i = 0; i < threads; i++) pthread_join(started[i], NULL);
  for (int i = 0; i < kinds; i++) printf("%10lu %s\n", counts[i], names[i]);
  if (no_connection) printf("%10lu had no connection\n", no_connection);
}
