// sink PORT: takes POST requests with bodies of any framing and answers 200, or 202 to /api/…, as fast as it can: a collector of
// spans that costs as little as possible.
#include "sockets.h"

enum { maximum_connections = 1024, room = 65536 };

typedef struct {
  char bytes[room];
  size_t filled;
  unsigned long long body_left;  // of a body with a length, or of a chunk
  int chunked, in_body, accepted;
} connection;

static connection *connections[maximum_connections];

static void drop(connection *c, size_t count) {
  memmove(c->bytes, c->bytes + count, c->filled - count);
  c->filled -= count;
}

static int answer(int fd, connection *c) {
  const char *text = c->accepted ? "HTTP/1.1 202 Accepted\r\nContent-Length: 0\r\n\r\n" : "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n";
  c->in_body = c->chunked = 0;
  return send(fd, text, strlen(text), MSG_NOSIGNAL) == (ssize_t)strlen(text);
}

// 1: go on; 0: more bytes are needed; -1: the connection is over.
static int step(int fd, connection *c) {
  if (c->body_left) {
    size_t taken = c->filled < c->body_left ? c->filled : (size_t)c->body_left;
    drop(c, taken);
    c->body_left -= taken;
    if (c->body_left) return 0;
    if (!c->chunked) return answer(fd, c) ? 1 : -1;
  }
  if (c->in_body) {  // before the size of a chunk, perhaps after the end of the one before
    if (c->filled >= 2 && memcmp(c->bytes, "\r\n", 2) == 0) drop(c, 2);
    char *end = memmem(c->bytes, c->filled, "\r\n", 2);
    if (!end) return 0;
    unsigned long long size = strtoull(c->bytes, NULL, 16);
    if (size == 0) {  // no trailers are expected
      if (c->filled < (size_t)(end - c->bytes) + 4) return 0;
      drop(c, (size_t)(end - c->bytes) + 4);
      return answer(fd, c) ? 1 : -1;
    }
    drop(c, (size_t)(end - c->bytes) + 2);
    c->body_left = size;
    return 1;
  }
  char *end = memmem(c->bytes, c->filled, "\r\n\r\n", 4);
  if (!end) return c->filled == room ? -1 : 0;
  *end = 0;
  c->accepted = memmem(c->bytes, c->filled < 16 ? c->filled : 16, " /api/", 6) != NULL;
  c->chunked = c->in_body = strcasestr(c->bytes, "\r\ntransfer-encoding: chunked") != NULL;
  char *length = strcasestr(c->bytes, "\r\ncontent-length:");
  c->body_left = !c->chunked && length ? strtoull(length + 17, NULL, 10) : 0;
  int empty = !c->chunked && !c->body_left;
  drop(c, (size_t)(end - c->bytes) + 4);
  return empty ? (answer(fd, c) ? 1 : -1) : 1;
}

static void serve(int fd) {
  connection *c = connections[fd];
  for (;;) {
    int state;
    while ((state = step(fd, c)) > 0) {
    }
    ssize_t got = state < 0 ? 0 : recv(fd, c->bytes + c->filled, room - c->filled, 0);
    if (got == 0 || (got < 0 && errno != EAGAIN)) {
      free(c);
      connections[fd] = NULL;
      close(fd);
      return;
    }
    if (got < 0) return;
    c->filled += (size_t)got;
  }
}

int main(int argc, char **argv) {
  if (argc != 2) return 2;
  prepare_process();
  int listener = listen_on(atoi(argv[1])), epoll = epoll_create1(EPOLL_CLOEXEC);
  struct epoll_event event = {.events = EPOLLIN, .data.fd = listener}, events[64];
  epoll_ctl(epoll, EPOLL_CTL_ADD, listener, &event);
  for (;;) {
    int count = epoll_wait(epoll, events, 64, -1);
    for (int index = 0; index < count; index++) {
      if (events[index].data.fd != listener) {
        serve(events[index].data.fd);
        continue;
      }
      int accepted;
      while ((accepted = accept4(listener, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC)) >= 0) {
        if (accepted >= maximum_connections) {
          close(accepted);
          continue;
        }
        set_no_delay(accepted);
        connections[accepted] = calloc(1, sizeof(connection));
        event.events = EPOLLIN | EPOLLRDHUP | EPOLLET;
        event.data.fd = accepted;
        epoll_ctl(epoll, EPOLL_CTL_ADD, accepted, &event);
      }
    }
  }
}
