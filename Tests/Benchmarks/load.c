// Loads that wrk does not have.
//
//   load count PORT CONNECTIONS REQUESTS SIZE   exactly so many requests, one at a time on each connection
//   load idle PORT CONNECTIONS                  one request on each of so many connections, prints "ready", keeps them open
//                                               until standard input ends
//   load slow PORT SIZE                         one response of SIZE bytes, read slowly and with long pauses
#include "sockets.h"

enum { maximum_connections = 65536 };
static char buffer[262144];

// The number of body bytes that follow the head in `bytes`; -1 if the head is not whole, -2 if the status is not 200.
static long long response_length(char *bytes, size_t length, size_t *head) {
  char *end = memmem(bytes, length, "\r\n\r\n", 4);
  if (!end) return -1;
  *head = (size_t)(end - bytes) + 4;
  if (length < 12 || memcmp(bytes + 9, "200", 3) != 0) return -2;
  *end = 0;
  char *field = strcasestr(bytes, "\r\ncontent-length:");
  return field ? atoll(field + 17) : -2;
}

static void write_all(int fd, const char *bytes, size_t length) {
  while (length) {
    ssize_t sent = send(fd, bytes, length, 0);
    if (sent < 0) fail("send");
    bytes += sent;
    length -= (size_t)sent;
  }
}

static int request_text(char *text, size_t room, const char *size) {
  return snprintf(text, room, "GET /%s HTTP/1.1\r\nHost: 127.0.0.1\r\nUser-Agent: load\r\nAccept: */*\r\n\r\n", size);
}

// One blocking exchange.
static void exchange(int fd, const char *text, int length) {
  write_all(fd, text, (size_t)length);
  size_t filled = 0, head = 0;
  long long body = -1;
  while (body == -1 || filled < head + (size_t)body) {
    ssize_t got = recv(fd, buffer + filled, sizeof buffer - filled, 0);
    if (got <= 0) fail("recv");
    filled += (size_t)got;
    if (body == -1) body = response_length(buffer, filled, &head);
    if (body == -2) {
      fprintf(stderr, "load: not a 200: %.60s\n", buffer);
      exit(1);
    }
  }
}

static int count_requests(int port, int connections, long requests, const char *size) {
  static struct {
    char head[2048];
    size_t filled;
    long long left;
  } state[maximum_connections];
  char text[256];
  int length = request_text(text, sizeof text, size), epoll = epoll_create1(0);
  long started = 0, completed = 0;
  struct epoll_event event, events[256];
  for (int index = 0; index < connections && started < requests; index++, started++) {
    int fd = connect_to(port, 0);
    fcntl(fd, F_SETFL, O_NONBLOCK);
    event.events = EPOLLIN;
    event.data.fd = fd;
    epoll_ctl(epoll, EPOLL_CTL_ADD, fd, &event);
    state[fd].left = -1;
    write_all(fd, text, (size_t)length);
  }
  while (completed < requests) {
    int count = epoll_wait(epoll, events, 256, 60000);
    if (count <= 0) fail("no answer for a minute");
    for (int index = 0; index < count; index++) {
      int fd = events[index].data.fd;
      ssize_t got = recv(fd, buffer, sizeof buffer, 0);
      if (got < 0 && errno == EAGAIN) continue;
      if (got <= 0) fail("recv");
      if (state[fd].left < 0) {
        size_t room = sizeof state[fd].head - state[fd].filled, head = 0;
        size_t part = (size_t)got < room ? (size_t)got : room;
        memcpy(state[fd].head + state[fd].filled, buffer, part);
        size_t before = state[fd].filled;
        state[fd].filled += part;
        long long body = response_length(state[fd].head, state[fd].filled, &head);
        if (body == -2) {
          fprintf(stderr, "load: not a 200: %.60s\n", state[fd].head);
          return 1;
        }
        if (body == -1) continue;
        state[fd].left = body - (long long)(before + (size_t)got - head);
      } else {
        state[fd].left -= got;
      }
      if (state[fd].left > 0) continue;
      completed++;
      state[fd].left = -1;
      state[fd].filled = 0;
      if (started < requests) {
        started++;
        write_all(fd, text, (size_t)length);
      }
    }
  }
  printf("%ld\n", completed);
  return 0;
}

static int keep_idle(int port, int connections) {
  char text[256];
  int length = request_text(text, sizeof text, "150");
  for (int index = 0; index < connections; index++) exchange(connect_to(port, 0), text, length);
  printf("ready\n");
  fflush(stdout);
  while (read(0, buffer, sizeof buffer) > 0) continue;
  return 0;
}

static int read_slowly(int port, const char *size) {
  char text[256];
  int length = request_text(text, sizeof text, size), fd = connect_to(port, 0);
  unsigned long long total = 0, wanted = strtoull(size, NULL, 10);
  struct timespec start_pause = {.tv_sec = 2}, pause = {.tv_nsec = 1000000};
  write_all(fd, text, (size_t)length);
  nanosleep(&start_pause, NULL);  // everything on the way fills up first
  size_t head = 0;
  int pieces = 0;
  while (total < wanted) {
    ssize_t got = recv(fd, buffer, sizeof buffer - 1, 0);
    if (got <= 0) fail("recv");
    if (!head) {
      response_length(buffer, (size_t)got, &head);
      total -= head;
    }
    total += (unsigned long long)got;
    if (++pieces % 2 == 0) nanosleep(&pause, NULL);
  }
  printf("%llu\n", total);
  return 0;
}

int main(int argc, char **argv) {
  prepare_process();
  if (argc == 6 && !strcmp(argv[1], "count"))
    return count_requests(atoi(argv[2]), atoi(argv[3]), atol(argv[4]), argv[5]);
  if (argc == 4 && !strcmp(argv[1], "idle")) return keep_idle(atoi(argv[2]), atoi(argv[3]));
  if (argc == 4 && !strcmp(argv[1], "slow")) return read_slowly(atoi(argv[2]), argv[3]);
  fprintf(stderr, "usage: load count PORT CONNECTIONS REQUESTS SIZE | idle PORT CONNECTIONS | slow PORT SIZE\n");
  return 2;
}
