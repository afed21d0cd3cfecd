// backend PORT ADDRESS…: an HTTP/1.1 server for the soak, one thread, on several loopback addresses. What it does is said
// by the path:
//   /N             N bytes
//   /chunked/N     N bytes in chunks
//   /close         150 bytes, then the connection ends without having been announced
//   /announced     150 bytes and connection: close
//   /until-close   150 bytes whose end is the connection's
//   /reset         a part of a response, then RST
//   /drop          the connection ends without a byte
//   /early         answers before the body has come, then goes on to read it
#include "../Benchmarks/sockets.h"

enum { maximum_connections = 65536, head_room = 16384, largest = 1 << 20 };

enum body { none, length, chunk_size, chunk_data, chunk_end, trailer };

typedef struct {
  char input[head_room];
  size_t filled;
  enum body body;
  size_t left;  // of a body of known length, or of a chunk
  char *output;
  size_t output_length, output_sent;
  char path[64];
  int in_request, answered, closes, resets;
} connection;

static connection *connections[maximum_connections];
static char filler[largest];
static int epoll;

static void finish(int fd, int reset) {
  if (reset) {
    struct linger linger = {1, 0};
    setsockopt(fd, SOL_SOCKET, SO_LINGER, &linger, sizeof linger);
  }
  free(connections[fd]->output);
  free(connections[fd]);
  connections[fd] = NULL;
  close(fd);
}

static void say(connection *c, const void *bytes, size_t count) {
  char *grown = realloc(c->output, c->output_length + count);
  if (!grown) abort();
  c->output = grown;
  memcpy(c->output + c->output_length, bytes, count);
  c->output_length += count;
}

static void say_head(connection *c, const char *fields) {
  char head[256];
  say(c, head, (size_t)snprintf(head, sizeof head, "HTTP/1.1 200 OK\r\n%s\r\n", fields));
}

static void answer(connection *c) {
  const char *path = c->path;
  char fields[128];
  c->answered = 1;
  if (!strcmp(path, "/drop")) {
    c->closes = 1;
  } else if (!strcmp(path, "/reset")) {
    say_head(c, "content-length: 100000\r\n");
    say(c, filler, 5000);
    c->closes = c->resets = 1;
  } else if (!strcmp(path, "/until-close")) {
    say_head(c, "");
    say(c, filler, 150);
    c->closes = 1;
  } else if (!strcmp(path, "/announced") || !strcmp(path, "/close")) {
    say_head(c, path[1] == 'a' ? "connection: close\r\ncontent-length: 150\r\n" : "content-length: 150\r\n");
    say(c, filler, 150);
    c->closes = 1;
  } else if (!strncmp(path, "/chunked/", 9)) {
    size_t left = strtoul(path + 9, NULL, 10);
    if (left > largest) left = largest;
    say_head(c, "transfer-encoding: chunked\r\n");
    while (left) {
      size_t piece = left < 3000 ? left : 3000;
      say(c, fields, (size_t)snprintf(fields, sizeof fields, "%zx\r\n", piece));
      say(c, filler, piece);
      say(c, "\r\n", 2);
      left -= piece;
    }
    say(c, "0\r\n\r\n", 5);
  } else {
    size_t size = strtoul(path + 1, NULL, 10);
    if (size > largest) size = largest;
    snprintf(fields, sizeof fields, "content-length: %zu\r\n", size);
    say_head(c, fields);
    say(c, filler, size);
  }
}

static void drop_input(connection *c, size_t count) {
  memmove(c->input, c->input + count, c->filled - count);
  c->filled -= count;
}

// Takes one piece of a request. 1: go on; 0: more bytes are needed; -1: not understood.
static int step(connection *c) {
  if (!c->in_request) {
    char *end = memmem(c->input, c->filled, "\r\n\r\n", 4);
    if (!end) return c->filled < head_room ? 0 : -1;
    *end = 0;
    char *path = strchr(c->input, ' ');
    if (!path) return -1;
    size_t size = strcspn(++path, " ");
    if (size >= sizeof c->path) return -1;
    memcpy(c->path, path, size);
    c->path[size] = 0;
    char *field = strcasestr(c->input, "\r\ncontent-length:");
    c->body = strcasestr(c->input, "\r\ntransfer-encoding:") ? chunk_size : field ? length : none;
    c->left = field ? strtoul(field + 17, NULL, 10) : 0;
    c->in_request = 1;
    c->answered = 0;
    drop_input(c, (size_t)(end - c->input) + 4);
    if (!strcmp(c->path, "/early")) answer(c);
    return 1;
  }
  if (c->body == length || c->body == chunk_data) {
    size_t taken = c->left < c->filled ? c->left : c->filled;
    drop_input(c, taken);
    c->left -= taken;
    if (c->left) return 0;
    c->body = c->body == length ? none : chunk_end;
    return 1;
  }
  if (c->body != none) {
    char *end = memmem(c->input, c->filled, "\r\n", 2);
    if (!end) return c->filled < head_room ? 0 : -1;
    size_t line = (size_t)(end - c->input);
    if (c->body == chunk_size) {
      c->left = strtoul(c->input, NULL, 16);
      c->body = c->left ? chunk_data : trailer;
    } else if (c->body == chunk_end) {
      c->body = chunk_size;
    } else if (line == 0) {
      c->body = none;
    }
    drop_input(c, line + 2);
    return 1;
  }
  if (!c->answered) answer(c);
  c->in_request = 0;
  return 1;
}

// 0: over.
static int serve(int fd) {
  connection *c = connections[fd];
  for (;;) {
    while (c->output_sent < c->output_length) {
      ssize_t sent = send(fd, c->output + c->output_sent, c->output_length - c->output_sent, MSG_NOSIGNAL);
      if (sent < 0) return errno == EAGAIN;
      c->output_sent += (size_t)sent;
    }
    free(c->output);
    c->output = NULL;
    c->output_length = c->output_sent = 0;
    if (c->closes) return 0;
    int result;
    while ((result = step(c)) > 0 && !c->output_length && !c->closes) {}
    if (result < 0) return 0;
    if (c->output_length || c->closes) continue;
    ssize_t received = recv(fd, c->input + c->filled, head_room - c->filled, 0);
    if (received == 0 || (received < 0 && errno != EAGAIN)) return 0;
    if (received < 0) return 1;
    c->filled += (size_t)received;
  }
}

int main(int argc, char **argv) {
  if (argc < 3) return 2;
  prepare_process();
  memset(filler, 'x', sizeof filler);
  epoll = epoll_create1(EPOLL_CLOEXEC);
  int listeners[256], count = 0;
  for (int i = 2; i < argc && count < 256; i++) {
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons((uint16_t)atoi(argv[1]))};
    int one = 1, fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof one);
    if (inet_pton(AF_INET, argv[i], &address.sin_addr) != 1 ||
        bind(fd, (struct sockaddr *)&address, sizeof address) < 0 || listen(fd, 4096) < 0) {
      perror(argv[i]);
      return 1;
    }
    struct epoll_event event = {.events = EPOLLIN, .data.fd = fd};
    epoll_ctl(epoll, EPOLL_CTL_ADD, fd, &event);
    listeners[count++] = fd;
  }
  for (;;) {
    struct epoll_event events[256];
    int ready = epoll_wait(epoll, events, 256, -1);
    for (int i = 0; i < ready; i++) {
      int fd = events[i].data.fd;
      if (fd <= listeners[count - 1] && fd >= listeners[0]) {
        for (int accepted; (accepted = accept4(fd, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC)) >= 0;) {
          set_no_delay(accepted);
          if (accepted >= maximum_connections || !(connections[accepted] = calloc(1, sizeof(connection)))) {
            close(accepted);
            continue;
          }
          struct epoll_event event = {.events = EPOLLIN | EPOLLOUT | EPOLLET, .data.fd = accepted};
          epoll_ctl(epoll, EPOLL_CTL_ADD, accepted, &event);
        }
      } else if (connections[fd] && !serve(fd)) {
        finish(fd, connections[fd]->resets);
      }
    }
  }
}
