// backend PORT: answers GET with as many bytes as the path says (/150, /65536, /1073741824), as fast as it can.
#include "sockets.h"

enum { maximum_connections = 65536, head_room = 8192 };

typedef struct {
  char head[head_room];
  size_t filled;       // bytes of the request head so far
  const char *source;  // what is being sent: head and beginning of the body
  size_t source_left;
  unsigned long long body_left;  // body bytes beyond `source`
  int writing, last;
} connection;

// Responses of up to this size are made once and sent with one call.
enum { prepared_body = 65536, prepared_count = 16 };
static struct {
  unsigned long long size;
  int last;
  size_t length;
  char *bytes;
} prepared[prepared_count];

static connection *connections[maximum_connections];
static char filler[262144];
static int epoll;

static int prepare(unsigned long long size, int last) {
  int index = 0;
  while (index < prepared_count && prepared[index].bytes && (prepared[index].size != size || prepared[index].last != last))
    index++;
  if (index == prepared_count) return -1;
  if (!prepared[index].bytes) {
    size_t body = size < prepared_body ? (size_t)size : prepared_body;
    char *bytes = malloc(256 + body);
    int head = snprintf(bytes, 256, "HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: %llu\r\n%s\r\n", size,
                        last ? "Connection: close\r\n" : "");
    memset(bytes + head, 'x', body);
    prepared[index].size = size;
    prepared[index].last = last;
    prepared[index].bytes = bytes;
    prepared[index].length = (size_t)head + body;
  }
  return index;
}

static void finish(int fd) {
  free(connections[fd]);
  connections[fd] = NULL;
  close(fd);
}

static int answer_next(connection *c) {
  char *end = memmem(c->head, c->filled, "\r\n\r\n", 4);
  if (!end) return 0;
  unsigned long long size = 150;
  if (c->filled > 5) size = strtoull(c->head + 5, NULL, 10);
  *end = 0;
  c->last = strcasestr(c->head, "\r\nconnection: close") != NULL;
  size_t used = (size_t)(end - c->head) + 4;
  memmove(c->head, c->head + used, c->filled - used);
  c->filled -= used;
  int index = prepare(size, c->last);
  if (index < 0) return -1;
  c->source = prepared[index].bytes;
  c->source_left = prepared[index].length;
  c->body_left = size > prepared_body ? size - prepared_body : 0;
  c->writing = 1;
  return 1;
}

// 1: all is sent; 0: the socket is full; -1: the connection is over.
static int send_some(int fd, connection *c) {
  while (c->source_left || c->body_left) {
    if (!c->source_left) {
      c->source = filler;
      c->source_left = c->body_left < sizeof filler ? (size_t)c->body_left : sizeof filler;
      c->body_left -= c->source_left;
    }
    ssize_t sent = send(fd, c->source, c->source_left, 0);
    if (sent < 0) return errno == EAGAIN ? 0 : -1;
    c->source += sent;
    c->source_left -= (size_t)sent;
  }
  c->writing = 0;
  return c->last ? -1 : 1;
}

static void serve(int fd) {
  connection *c = connections[fd];
  for (;;) {
    if (c->writing) {
      int state = send_some(fd, c);
      if (state < 0) return finish(fd);
      if (state == 0) return;
    }
    int answered = answer_next(c);
    if (answered < 0) return finish(fd);
    if (answered) continue;
    if (c->filled == head_room) return finish(fd);
    ssize_t got = recv(fd, c->head + c->filled, head_room - c->filled, 0);
    if (got == 0 || (got < 0 && errno != EAGAIN)) return finish(fd);
    if (got < 0) return;
    c->filled += (size_t)got;
  }
}

int main(int argc, char **argv) {
  if (argc != 2) return 2;
  prepare_process();
  memset(filler, 'x', sizeof filler);
  int listener = listen_on(atoi(argv[1]));
  epoll = epoll_create1(EPOLL_CLOEXEC);
  struct epoll_event event = {.events = EPOLLIN, .data.fd = listener}, events[256];
  epoll_ctl(epoll, EPOLL_CTL_ADD, listener, &event);
  for (;;) {
    int count = epoll_wait(epoll, events, 256, -1);
    for (int index = 0; index < count; index++) {
      int fd = events[index].data.fd;
      if (fd != listener) {
        serve(fd);
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
        event.events = EPOLLIN | EPOLLOUT | EPOLLRDHUP | EPOLLET;
        event.data.fd = accepted;
        epoll_ctl(epoll, EPOLL_CTL_ADD, accepted, &event);
      }
    }
  }
}
