#define _GNU_SOURCE
#include "CLinux.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <link.h>
#include <malloc.h>
#include <linux/filter.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/inotify.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define RETURN(call)                \
  do {                              \
    __auto_type result = (call);    \
    return result < 0 ? -errno : result; \
  } while (0)

_Static_assert(sizeof(struct clinux_event) == sizeof(struct epoll_event), "epoll_event");
_Static_assert(offsetof(struct clinux_event, fd) == offsetof(struct epoll_event, data), "epoll_event.data");
_Static_assert(CLINUX_IN == EPOLLIN && CLINUX_OUT == EPOLLOUT && CLINUX_ERR == EPOLLERR && CLINUX_HUP == EPOLLHUP &&
                   CLINUX_RDHUP == EPOLLRDHUP && CLINUX_EXCLUSIVE == EPOLLEXCLUSIVE && CLINUX_EDGE == EPOLLET,
               "epoll flags");
_Static_assert(CLINUX_PATH_MAX == sizeof(((struct sockaddr_un *)0)->sun_path), "sun_path");

// MARK: epoll and what wakes it

int clinux_epoll_create(void) { RETURN(epoll_create1(EPOLL_CLOEXEC)); }

static int control(int epoll, int operation, int fd, uint32_t events, uint32_t generation) {
  struct clinux_event event = {.events = events, .fd = fd, .generation = generation};
  RETURN(epoll_ctl(epoll, operation, fd, (struct epoll_event *)&event));
}
int clinux_epoll_add(int epoll, int fd, uint32_t events, uint32_t generation) {
  return control(epoll, EPOLL_CTL_ADD, fd, events, generation);
}
int clinux_epoll_modify(int epoll, int fd, uint32_t events, uint32_t generation) {
  return control(epoll, EPOLL_CTL_MOD, fd, events, generation);
}
int clinux_epoll_delete(int epoll, int fd) { return control(epoll, EPOLL_CTL_DEL, fd, 0, 0); }

int clinux_epoll_wait(int epoll, struct clinux_event *events, int capacity, int timeout_ms) {
  RETURN(epoll_wait(epoll, (struct epoll_event *)events, capacity, timeout_ms));
}

int clinux_eventfd(void) { RETURN(eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC)); }

int clinux_eventfd_signal(int fd) {
  uint64_t one = 1;
  return write(fd, &one, sizeof one) < 0 ? -errno : 0;
}

static void fill(sigset_t *set, const int *signals, int count) {
  sigemptyset(set);
  for (int i = 0; i < count; i++) sigaddset(set, signals[i]);
}

int clinux_signalfd(const int *signals, int count) {
  sigset_t set;
  fill(&set, signals, count);
  RETURN(signalfd(-1, &set, SFD_NONBLOCK | SFD_CLOEXEC));
}

int clinux_signalfd_read(int fd, int32_t *sender) {
  struct signalfd_siginfo info;
  ssize_t count = read(fd, &info, sizeof info);
  if (count < 0) return -errno;
  if ((size_t)count < sizeof info) return -EAGAIN;
  *sender = (int32_t)info.ssi_pid;
  return (int)info.ssi_signo;
}

int clinux_signal_mask(const int *signals, int count, int block) {
  sigset_t set;
  fill(&set, signals, count);
  return -pthread_sigmask(block ? SIG_BLOCK : SIG_UNBLOCK, &set, NULL);
}

int clinux_ignore_signal(int number) { return signal(number, SIG_IGN) == SIG_ERR ? -errno : 0; }

// MARK: clocks

static uint64_t nanoseconds(clockid_t clock) {
  struct timespec time;
  clock_gettime(clock, &time);
  return (uint64_t)time.tv_sec * 1000000000u + (uint64_t)time.tv_nsec;
}
uint64_t clinux_monotonic_ns(void) { return nanoseconds(CLOCK_MONOTONIC); }
uint64_t clinux_wall_ns(void) { return nanoseconds(CLOCK_REALTIME); }

// MARK: sockets

union any_address {
  struct sockaddr generic;
  struct sockaddr_in v4;
  struct sockaddr_in6 v6;
  struct sockaddr_un local;
};

static socklen_t to_kernel(const struct clinux_address *address, const uint8_t *path, union any_address *out) {
  memset(out, 0, sizeof *out);
  switch (address->family) {
    case CLINUX_FAMILY_V4:
      out->v4.sin_family = AF_INET;
      out->v4.sin_port = htons(address->port);
      out->v4.sin_addr.s_addr = htonl((uint32_t)address->low);
      return sizeof out->v4;
    case CLINUX_FAMILY_V6: {
      out->v6.sin6_family = AF_INET6;
      out->v6.sin6_port = htons(address->port);
      out->v6.sin6_scope_id = address->scope;
      uint64_t high = __builtin_bswap64(address->high), low = __builtin_bswap64(address->low);
#if __BYTE_ORDER__ == __ORDER_BIG_ENDIAN__
      high = address->high, low = address->low;
#endif
      memcpy(out->v6.sin6_addr.s6_addr, &high, 8);
      memcpy(out->v6.sin6_addr.s6_addr + 8, &low, 8);
      return sizeof out->v6;
    }
    case CLINUX_FAMILY_UNIX:
      out->local.sun_family = AF_UNIX;
      if (path == NULL || address->path_length > CLINUX_PATH_MAX) return 0;
      memcpy(out->local.sun_path, path, address->path_length);
      return (socklen_t)(offsetof(struct sockaddr_un, sun_path) + address->path_length);
    default:
      return 0;
  }
}

static void from_kernel(const union any_address *in, socklen_t length, struct clinux_address *out, uint8_t *path) {
  memset(out, 0, sizeof *out);
  if (length < sizeof(sa_family_t)) return;
  switch (in->generic.sa_family) {
    case AF_INET:
      out->family = CLINUX_FAMILY_V4;
      out->port = ntohs(in->v4.sin_port);
      out->low = ntohl(in->v4.sin_addr.s_addr);
      break;
    case AF_INET6: {
      out->family = CLINUX_FAMILY_V6;
      out->port = ntohs(in->v6.sin6_port);
      out->scope = in->v6.sin6_scope_id;
      uint64_t high, low;
      memcpy(&high, in->v6.sin6_addr.s6_addr, 8);
      memcpy(&low, in->v6.sin6_addr.s6_addr + 8, 8);
#if __BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__
      high = __builtin_bswap64(high), low = __builtin_bswap64(low);
#endif
      out->high = high;
      out->low = low;
      break;
    }
    case AF_UNIX: {
      out->family = CLINUX_FAMILY_UNIX;
      size_t count = length - offsetof(struct sockaddr_un, sun_path);
      if (count > CLINUX_PATH_MAX) count = CLINUX_PATH_MAX;
      // A path name ends at its first zero; an abstract name begins with one and is as long as it is.
      if (count > 0 && in->local.sun_path[0] != 0) count = strnlen(in->local.sun_path, count);
      out->path_length = (uint8_t)count;
      if (path != NULL) memcpy(path, in->local.sun_path, count);
      break;
    }
    default:
      break;
  }
}

int clinux_socket(int family, int type_datagram) {
  int domain = family == CLINUX_FAMILY_V4 ? AF_INET : family == CLINUX_FAMILY_V6 ? AF_INET6 : AF_UNIX;
  RETURN(socket(domain, (type_datagram ? SOCK_DGRAM : SOCK_STREAM) | SOCK_NONBLOCK | SOCK_CLOEXEC, 0));
}

int clinux_connect(int fd, const struct clinux_address *address, const uint8_t *path) {
  union any_address kernel;
  socklen_t length = to_kernel(address, path, &kernel);
  if (length == 0) return -EAFNOSUPPORT;
  RETURN(connect(fd, &kernel.generic, length));
}

int clinux_bind(int fd, const struct clinux_address *address, const uint8_t *path) {
  union any_address kernel;
  socklen_t length = to_kernel(address, path, &kernel);
  if (length == 0) return -EAFNOSUPPORT;
  RETURN(bind(fd, &kernel.generic, length));
}

int clinux_listen(int fd, int backlog) { RETURN(listen(fd, backlog)); }

int clinux_accept(int fd, struct clinux_address *peer) {
  union any_address kernel;
  socklen_t length = sizeof kernel;
  int accepted = accept4(fd, &kernel.generic, &length, SOCK_NONBLOCK | SOCK_CLOEXEC);
  if (accepted < 0) return -errno;
  from_kernel(&kernel, length, peer, NULL);
  peer->path_length = 0;
  return accepted;
}

int clinux_local_address(int fd, struct clinux_address *address, uint8_t *path) {
  union any_address kernel;
  socklen_t length = sizeof kernel;
  if (getsockname(fd, &kernel.generic, &length) < 0) return -errno;
  from_kernel(&kernel, length, address, path);
  return 0;
}

int clinux_peer_address(int fd, struct clinux_address *address, uint8_t *path) {
  union any_address kernel;
  socklen_t length = sizeof kernel;
  if (getpeername(fd, &kernel.generic, &length) < 0) return -errno;
  from_kernel(&kernel, length, address, path);
  return 0;
}

// linux/netfilter_ipv4.h and its IPv6 twin, which cannot be included beside netinet/in.h.
enum { original_destination = 80 };

int clinux_original_destination(int fd, struct clinux_address *address) {
  union any_address kernel;
  socklen_t length = sizeof kernel.v4;
  if (getsockopt(fd, IPPROTO_IP, original_destination, &kernel, &length) < 0) {
    length = sizeof kernel.v6;
    if (getsockopt(fd, IPPROTO_IPV6, original_destination, &kernel, &length) < 0) return -errno;
  }
  from_kernel(&kernel, length, address, NULL);
  return 0;
}

int64_t clinux_receive(int fd, void *bytes, size_t count) { RETURN(recv(fd, bytes, count, MSG_DONTWAIT)); }
int64_t clinux_peek(int fd, void *bytes, size_t count) { RETURN(recv(fd, bytes, count, MSG_DONTWAIT | MSG_PEEK)); }
int64_t clinux_send(int fd, const void *bytes, size_t count) {
  RETURN(send(fd, bytes, count, MSG_DONTWAIT | MSG_NOSIGNAL));
}
int64_t clinux_send2(int fd, const void *first, size_t first_count, const void *second, size_t second_count) {
  struct iovec parts[2] = {{(void *)first, first_count}, {(void *)second, second_count}};
  struct msghdr message = {.msg_iov = parts, .msg_iovlen = 2};
  RETURN(sendmsg(fd, &message, MSG_DONTWAIT | MSG_NOSIGNAL));
}
int clinux_pipe(int ends[2], int size) {
  if (pipe2(ends, O_NONBLOCK | O_CLOEXEC) < 0) return -errno;
  RETURN(fcntl(ends[1], F_SETPIPE_SZ, size));
}
int64_t clinux_splice(int from, int to, size_t count) {
  RETURN(splice(from, NULL, to, NULL, count, SPLICE_F_MOVE | SPLICE_F_NONBLOCK));
}
int clinux_shutdown_write(int fd) { RETURN(shutdown(fd, SHUT_WR)); }
int clinux_close(int fd) { RETURN(close(fd)); }

int clinux_socket_error(int fd) {
  int error = 0;
  socklen_t length = sizeof error;
  if (getsockopt(fd, SOL_SOCKET, SO_ERROR, &error, &length) < 0) return errno;
  return error;
}

int64_t clinux_round_trip_us(int fd) {
  struct tcp_info info;
  socklen_t length = sizeof info;
  RETURN(getsockopt(fd, IPPROTO_TCP, TCP_INFO, &info, &length) < 0 ? -1 : (int64_t)info.tcpi_rtt);
}

static int option_name(int option, int *level, int *name) {
  static const struct {
    int level, name;
  } table[] = {
      [CLINUX_NODELAY] = {IPPROTO_TCP, TCP_NODELAY},
      [CLINUX_REUSEADDR] = {SOL_SOCKET, SO_REUSEADDR},
      [CLINUX_REUSEPORT] = {SOL_SOCKET, SO_REUSEPORT},
      [CLINUX_V6ONLY] = {IPPROTO_IPV6, IPV6_V6ONLY},
      [CLINUX_KEEPALIVE] = {SOL_SOCKET, SO_KEEPALIVE},
      [CLINUX_KEEPALIVE_IDLE] = {IPPROTO_TCP, TCP_KEEPIDLE},
      [CLINUX_KEEPALIVE_INTERVAL] = {IPPROTO_TCP, TCP_KEEPINTVL},
      [CLINUX_KEEPALIVE_COUNT] = {IPPROTO_TCP, TCP_KEEPCNT},
      [CLINUX_BIND_NO_PORT] = {IPPROTO_IP, IP_BIND_ADDRESS_NO_PORT},
      [CLINUX_SEND_BUFFER] = {SOL_SOCKET, SO_SNDBUF},
      [CLINUX_RECEIVE_BUFFER] = {SOL_SOCKET, SO_RCVBUF},
      [CLINUX_USER_TIMEOUT] = {IPPROTO_TCP, TCP_USER_TIMEOUT},
      [CLINUX_DEFER_ACCEPT] = {IPPROTO_TCP, TCP_DEFER_ACCEPT},
      [CLINUX_FREEBIND] = {IPPROTO_IP, IP_FREEBIND},
      [CLINUX_TRANSPARENT] = {IPPROTO_IP, IP_TRANSPARENT},
      [CLINUX_ACCEPTS] = {SOL_SOCKET, SO_ACCEPTCONN},
      [CLINUX_SOCKET_TYPE] = {SOL_SOCKET, SO_TYPE},
      [CLINUX_FASTOPEN] = {IPPROTO_TCP, TCP_FASTOPEN},
  };
  if (option <= 0 || option >= (int)(sizeof table / sizeof *table)) return -EINVAL;
  *level = table[option].level;
  *name = table[option].name;
  return 0;
}

int clinux_set_option(int fd, int option, int value) {
  int level, name;
  if (option_name(option, &level, &name) < 0) return -EINVAL;
  RETURN(setsockopt(fd, level, name, &value, sizeof value));
}

int clinux_set_raw_option(int fd, int level, int name, const void *value, size_t size) {
  RETURN(setsockopt(fd, level, name, value, (socklen_t)size));
}

int clinux_get_option(int fd, int option, int *value) {
  int level, name;
  socklen_t length = sizeof *value;
  *value = 0;
  if (option_name(option, &level, &name) < 0) return -EINVAL;
  RETURN(getsockopt(fd, level, name, value, &length));
}

int clinux_linger_zero(int fd) {
  struct linger linger = {.l_onoff = 1, .l_linger = 0};
  RETURN(setsockopt(fd, SOL_SOCKET, SO_LINGER, &linger, sizeof linger));
}

int clinux_peer_pid(int fd) {
  struct ucred peer;
  socklen_t length = sizeof peer;
  if (getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &peer, &length) < 0) return -errno;
  return peer.pid;
}

int64_t clinux_peer_uid(int fd) {
  struct ucred peer;
  socklen_t length = sizeof peer;
  if (getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &peer, &length) < 0) return -errno;
  return peer.uid;
}

int64_t clinux_effective_uid(void) { return geteuid(); }

int clinux_duplicate(int fd) { RETURN(fcntl(fd, F_DUPFD_CLOEXEC, 3)); }

int clinux_set_nonblocking(int fd) {
  int flags = fcntl(fd, F_GETFL);
  if (flags < 0) return -errno;
  RETURN(fcntl(fd, F_SETFL, flags | O_NONBLOCK));
}

int clinux_set_cloexec(int fd, int on) { RETURN(fcntl(fd, F_SETFD, on ? FD_CLOEXEC : 0)); }

int clinux_socketpair(int *first, int *second) {
  int pair[2];
  if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, pair) < 0) return -errno;
  *first = pair[0];
  *second = pair[1];
  return 0;
}

int clinux_is_listening(int fd) {
  int value = 0;
  int result = clinux_get_option(fd, CLINUX_ACCEPTS, &value);
  return result < 0 ? result : value;
}

// MARK: threads, namespaces, processes

void clinux_name_thread(const char *name) {
  char text[16];
  snprintf(text, sizeof text, "%s", name);
  pthread_setname_np(pthread_self(), text);
}

int clinux_enter_network_namespace(int fd) { RETURN(setns(fd, CLONE_NEWNET)); }

int clinux_affinity_count(void) {
  cpu_set_t set;
  if (sched_getaffinity(0, sizeof set, &set) < 0) return -errno;
  return CPU_COUNT(&set);
}

int clinux_raise_descriptor_limit(void) {
  struct rlimit limit;
  if (getrlimit(RLIMIT_NOFILE, &limit) < 0) return -errno;
  if (limit.rlim_cur < limit.rlim_max) {
    struct rlimit raised = {.rlim_cur = limit.rlim_max, .rlim_max = limit.rlim_max};
    if (setrlimit(RLIMIT_NOFILE, &raised) == 0) limit = raised;
  }
  return limit.rlim_cur > INT_MAX ? INT_MAX : (int)limit.rlim_cur;
}

int clinux_getpid(void) { return getpid(); }

void clinux_yield(void) { sched_yield(); }

const char *clinux_environment_entry(int index) { return environ == NULL ? NULL : environ[index]; }

int clinux_refuse_new_handshakes(int fd) {
  // The filter sees the segment from the TCP header on: byte 13 holds the flags, 0x02 is SYN.
  struct sock_filter code[] = {
      BPF_STMT(BPF_LD | BPF_B | BPF_ABS, 13),
      BPF_JUMP(BPF_JMP | BPF_JSET | BPF_K, 0x02, 0, 1),
      BPF_STMT(BPF_RET | BPF_K, 0),
      BPF_STMT(BPF_RET | BPF_K, 0xffffffff),
  };
  struct sock_fprog program = {.len = sizeof code / sizeof *code, .filter = code};
  RETURN(setsockopt(fd, SOL_SOCKET, SO_ATTACH_FILTER, &program, sizeof program));
}

int clinux_spawn(const char *path, char *const *arguments, char *const *environment, char *pid_digits,
                 const int *descriptors, int count) {
  sigset_t all, before;
  sigfillset(&all);
  pthread_sigmask(SIG_BLOCK, &all, &before);
  int status[2];
  if (count > 256 || pipe2(status, O_CLOEXEC) < 0) {
    int error = count > 256 ? E2BIG : errno;
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    return -error;
  }
  pid_t child = fork();
  if (child == 0) {
    // Only async-signal-safe calls from here on: other threads of the parent held locks that nobody will release.
    int moved[256], failure = 0;
    int report = fcntl(status[1], F_DUPFD_CLOEXEC, 3 + count);
    if (report < 0) _exit(127);
    for (int i = 0; i < count && !failure; i++) {
      moved[i] = fcntl(descriptors[i], F_DUPFD_CLOEXEC, 3 + count);
      if (moved[i] < 0) failure = errno;
    }
    for (int i = 0; i < count && !failure; i++)
      if (dup2(moved[i], 3 + i) < 0) failure = errno;
    if (pid_digits != NULL) {
      char digits[10];
      int length = 0;
      for (unsigned pid = (unsigned)getpid(); pid > 0; pid /= 10) digits[length++] = (char)('0' + pid % 10);
      for (int i = 0; i < length; i++) pid_digits[i] = digits[length - 1 - i];
      pid_digits[length] = 0;
    }
    for (int number = 1; number < NSIG; number++)
      if (number != SIGKILL && number != SIGSTOP) signal(number, SIG_DFL);
    sigset_t none;
    sigemptyset(&none);
    pthread_sigmask(SIG_SETMASK, &none, NULL);
    if (!failure) {
      execve(path, arguments, environment);
      failure = errno;
    }
    (void)!write(report, &failure, sizeof failure);
    _exit(127);
  }
  int error = child < 0 ? errno : 0;
  pthread_sigmask(SIG_SETMASK, &before, NULL);
  close(status[1]);
  if (child > 0) {
    // The pipe closes when the program starts; before that, it says why it could not.
    int failure = 0;
    ssize_t got;
    do got = read(status[0], &failure, sizeof failure);
    while (got < 0 && errno == EINTR);
    if (got == sizeof failure) {
      error = failure;
      waitpid(child, NULL, 0);
    }
  }
  close(status[0]);
  return error ? -error : child;
}

// MARK: files

int clinux_open(const char *path, int mode) {
  // Nothing here waits for the other end of a pipe.
  int flags = O_CLOEXEC | O_NONBLOCK;
  flags |= mode == CLINUX_OPEN_APPEND      ? O_WRONLY | O_APPEND | O_CREAT
           : mode == CLINUX_OPEN_DIRECTORY ? O_RDONLY | O_DIRECTORY
                                           : O_RDONLY;
  RETURN(open(path, flags, 0644));
}
int64_t clinux_read(int fd, void *bytes, size_t count) { RETURN(read(fd, bytes, count)); }
int64_t clinux_write(int fd, const void *bytes, size_t count) { RETURN(write(fd, bytes, count)); }
int64_t clinux_file_size(int fd) {
  struct stat status;
  if (fstat(fd, &status) < 0) return -errno;
  return S_ISREG(status.st_mode) ? status.st_size : 0;
}
int clinux_can_append(const char *path, const char *directory) {
  struct stat status;
  if (stat(path, &status) == 0) {
    if (S_ISDIR(status.st_mode)) return -EISDIR;
    RETURN(faccessat(AT_FDCWD, path, W_OK, AT_EACCESS));
  }
  if (errno != ENOENT) return -errno;
  RETURN(faccessat(AT_FDCWD, directory, W_OK | X_OK, AT_EACCESS));
}
int clinux_unlink(const char *path) { RETURN(unlink(path)); }

int clinux_file_state(const char *path, int follow, struct clinux_file_state *state) {
  struct stat found;
  if ((follow ? stat(path, &found) : lstat(path, &found)) < 0) return -errno;
  state->device = found.st_dev;
  state->inode = found.st_ino;
  state->size = found.st_size;
  state->is_socket = S_ISSOCK(found.st_mode);
  state->modified_ns = (int64_t)found.st_mtim.tv_sec * 1000000000 + found.st_mtim.tv_nsec;
  return 0;
}

int clinux_change_mode(const char *path, unsigned mode) { RETURN(chmod(path, mode)); }
int clinux_change_descriptor_mode(int fd, unsigned mode) { RETURN(fchmod(fd, mode)); }

void clinux_error_text(int number, char *text, size_t capacity) {
  const char *found = strerror_r(number, text, capacity);
  if (found != text) snprintf(text, capacity, "%s", found);
}

void clinux_heap(uint64_t *allocated, uint64_t *size, uint64_t *unused) {
  struct mallinfo2 info = mallinfo2();
  *allocated = info.uordblks + info.hblkhd;
  *size = info.arena + info.hblkhd;
  *unused = info.fordblks;
}

int clinux_open_descriptors(void) {
  DIR *directory = opendir("/proc/self/fd");
  if (directory == NULL) return -errno;
  int count = 0;
  for (struct dirent *entry; (entry = readdir(directory)) != NULL;) count += entry->d_name[0] != '.';
  closedir(directory);
  return count - 1;
}

int64_t clinux_list_directory(const char *path, char *names, size_t capacity) {
  DIR *directory = opendir(path);
  if (!directory) return -errno;
  size_t used = 0;
  int64_t result = 0;
  for (;;) {
    errno = 0;
    struct dirent *entry = readdir(directory);
    if (!entry) {
      result = errno ? -errno : (int64_t)used;
      break;
    }
    if (strcmp(entry->d_name, ".") == 0 || strcmp(entry->d_name, "..") == 0) continue;
    char kind = entry->d_type == DT_REG ? 'f' : entry->d_type == DT_DIR ? 'd' : 0;
    struct stat status;
    if (!kind && fstatat(dirfd(directory), entry->d_name, &status, 0) == 0) {
      kind = S_ISREG(status.st_mode) ? 'f' : S_ISDIR(status.st_mode) ? 'd' : 0;
    }
    if (!kind) continue;
    size_t length = strlen(entry->d_name) + 1;
    if (used + 1 + length > capacity) {
      result = -EFBIG;
      break;
    }
    names[used++] = kind;
    memcpy(names + used, entry->d_name, length);
    used += length;
  }
  closedir(directory);
  return result;
}

// MARK: inotify

int clinux_inotify(void) { RETURN(inotify_init1(IN_NONBLOCK | IN_CLOEXEC)); }

int clinux_inotify_watch(int fd, const char *path) {
  RETURN(inotify_add_watch(fd, path, IN_MOVED_TO | IN_DELETE_SELF | IN_MOVE_SELF | IN_ONLYDIR));
}

int64_t clinux_inotify_read(int fd, char *names) {
  // An event's name takes no more room here than there.
  char events[CLINUX_INOTIFY_ROOM / 2] __attribute__((aligned(__alignof__(struct inotify_event))));
  ssize_t count = read(fd, events, sizeof events);
  if (count < 0) return -errno;
  size_t used = 0;
  for (ssize_t at = 0; at + (ssize_t)sizeof(struct inotify_event) <= count;) {
    const struct inotify_event *event = (const struct inotify_event *)(events + at);
    char kind = event->mask & IN_Q_OVERFLOW                                 ? 'o'
                : event->mask & (IN_DELETE_SELF | IN_MOVE_SELF | IN_IGNORED) ? 'x'
                                                                             : 'm';
    size_t length = event->len ? strnlen(event->name, event->len) : 0;
    names[used++] = kind;
    memcpy(names + used, event->name, length);
    used += length;
    names[used++] = 0;
    at += (ssize_t)sizeof(struct inotify_event) + event->len;
  }
  return (int64_t)used;
}

static int unmap_code(struct dl_phdr_info *object, size_t size, void *unused) {
  (void)size;
  (void)unused;
  uintptr_t page = (uintptr_t)sysconf(_SC_PAGESIZE);
  for (int i = 0; i < object->dlpi_phnum; i++) {
    const ElfW(Phdr) *segment = &object->dlpi_phdr[i];
    if (segment->p_type != PT_LOAD || !(segment->p_flags & PF_X) || (segment->p_flags & PF_W)) continue;
    uintptr_t begin = (object->dlpi_addr + segment->p_vaddr + page - 1) & ~(page - 1);
    uintptr_t end = (object->dlpi_addr + segment->p_vaddr + segment->p_memsz) & ~(page - 1);
    if (end > begin) madvise((void *)begin, end - begin, MADV_DONTNEED);
  }
  return 0;
}

void clinux_release_heap(void) { malloc_trim(0); }

void clinux_release_memory(void) {
  malloc_trim(0);
  dl_iterate_phdr(unmap_code, NULL);
}
