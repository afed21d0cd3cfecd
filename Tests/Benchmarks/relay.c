// relay PORT UPSTREAM_PORT: copies bytes between each accepted connection and one of its own to the upstream, and does
// nothing else. It is the floor: what a proxy costs that does not look at what it carries.
#include "sockets.h"

enum { maximum_connections = 65536, buffer_size = 65536 };

typedef struct {
  int peer;
  char *pending;  // what the peer sent and this side could not take yet
  size_t pending_length, pending_offset;
} side;

static side sides[maximum_connections];
static char buffer[buffer_size];

static void finish(int fd) {
  int peer = sides[fd].peer;
  for (int index = 0; index < 2; index++) {
    int one = index ? peer : fd;
    free(sides[one].pending);
    memset(&sides[one], 0, sizeof(side));
    sides[one].peer = -1;
    close(one);
  }
}

// 0: may go on; -1: the pair is over.
static int flush(int fd) {
  side *s = &sides[fd];
  while (s->pending_length) {
    ssize_t sent = send(fd, s->pending + s->pending_offset, s->pending_length, 0);
    if (sent < 0) return errno == EAGAIN || errno == ENOTCONN ? 0 : -1;
    s->pending_offset += (size_t)sent;
    s->pending_length -= (size_t)sent;
  }
  free(s->pending);
  s->pending = NULL;
  return 0;
}

static int relay_from(int fd) {
  int peer = sides[fd].peer;
  for (;;) {
    if (sides[peer].pending_length) return 0;  // goes on when the peer can be written to
    ssize_t got = recv(fd, buffer, sizeof buffer, 0);
    if (got == 0 || (got < 0 && errno != EAGAIN && errno != ENOTCONN)) return -1;
    if (got < 0) return 0;
    ssize_t sent = send(peer, buffer, (size_t)got, 0);
    if (sent < 0) {
      if (errno != EAGAIN && errno != ENOTCONN) return -1;
      sent = 0;
    }
    if (sent < got) {
      side *s = &sides[peer];
      s->pending = malloc((size_t)(got - sent));
      memcpy(s->pending, buffer + sent, (size_t)(got - sent));
      s->pending_offset = 0;
      s->pending_length = (size_t)(got - sent);
      return 0;
    }
    if ((size_t)got < sizeof buffer) return 0;
  }
}

int main(int argc, char **argv) {
  if (argc != 3) return 2;
  prepare_process();
  int upstream = atoi(argv[2]), listener = listen_on(atoi(argv[1])), epoll = epoll_create1(EPOLL_CLOEXEC);
  struct epoll_event event = {.events = EPOLLIN, .data.fd = listener}, events[256];
  epoll_ctl(epoll, EPOLL_CTL_ADD, listener, &event);
  for (int index = 0; index < maximum_connections; index++) sides[index].peer = -1;
  for (;;) {
    int count = epoll_wait(epoll, events, 256, -1);
    for (int index = 0; index < count; index++) {
      int fd = events[index].data.fd, accepted;
      if (fd != listener) {
        int peer = sides[fd].peer;
        if (peer < 0) continue;
        unsigned what = events[index].events;
        int waited = sides[fd].pending_length > 0;  // then the peer has not been read from since
        if ((what & (EPOLLHUP | EPOLLERR)) || (waited && flush(fd) < 0) ||
            ((what & (EPOLLIN | EPOLLRDHUP)) && relay_from(fd) < 0) || (waited && relay_from(peer) < 0))
          finish(fd);
        continue;
      }
      while ((accepted = accept4(listener, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC)) >= 0) {
        int other = connect_to(upstream, SOCK_NONBLOCK);
        set_no_delay(accepted);
        sides[accepted].peer = other;
        sides[other].peer = accepted;
        for (int one = 0; one < 2; one++) {
          event.events = EPOLLIN | EPOLLOUT | EPOLLRDHUP | EPOLLET;
          event.data.fd = one ? other : accepted;
          epoll_ctl(epoll, EPOLL_CTL_ADD, event.data.fd, &event);
        }
      }
    }
  }
}
