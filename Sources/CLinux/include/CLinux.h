// The kernel's door. Every function returns a value that is not negative, or -errno, so that Swift never reads errno.
// Only <stdint.h> and <stddef.h> are included and the structures are our own, so that no system type leaks into Swift
// and no feature macro has to be set in an imported header. CLinux.c checks the layouts against the kernel's.
#ifndef MARTLET_CLINUX_H
#define MARTLET_CLINUX_H
#include <stddef.h>
#include <stdint.h>

// MARK: epoll and what wakes it

// struct epoll_event; the kernel's 64 bits of user data are our (fd, generation).
struct clinux_event {
  uint32_t events;
#if !defined(__x86_64__)
  uint32_t padding;
#endif
  int32_t fd;
  uint32_t generation;
};

#define CLINUX_IN 0x001u
#define CLINUX_OUT 0x004u
#define CLINUX_ERR 0x008u
#define CLINUX_HUP 0x010u
#define CLINUX_RDHUP 0x2000u
#define CLINUX_EXCLUSIVE (1u << 28)
#define CLINUX_EDGE (1u << 31)

int clinux_epoll_create(void);
int clinux_epoll_add(int epoll, int fd, uint32_t events, uint32_t generation);
int clinux_epoll_modify(int epoll, int fd, uint32_t events, uint32_t generation);
int clinux_epoll_delete(int epoll, int fd);
int clinux_epoll_wait(int epoll, struct clinux_event *_Nonnull events, int capacity, int timeout_ms);
int clinux_eventfd(void);
int clinux_eventfd_signal(int fd);
// signalfd for the `count` signals of the list, non-blocking.
int clinux_signalfd(const int *_Nonnull signals, int count);
// The next signal's number, its sender in `*sender`; -EAGAIN when none waits.
int clinux_signalfd_read(int fd, int32_t *_Nonnull sender);
// Blocks (or unblocks) signals in the calling thread.
int clinux_signal_mask(const int *_Nonnull signals, int count, int block);
int clinux_ignore_signal(int number);

// MARK: clocks

uint64_t clinux_monotonic_ns(void);
uint64_t clinux_wall_ns(void);

// MARK: sockets

#define CLINUX_FAMILY_NONE 0
#define CLINUX_FAMILY_UNIX 1
#define CLINUX_FAMILY_V4 2
#define CLINUX_FAMILY_V6 6

// An address in host byte order; IPv4 in the last 4 of `bytes`. `path` for Unix sockets only (abstract: first byte 0).
struct clinux_address {
  uint8_t family;
  uint8_t path_length;
  uint16_t port;
  uint32_t scope;
  uint64_t high;
  uint64_t low;
};
#define CLINUX_PATH_MAX 108

int clinux_socket(int family, int type_datagram);
int clinux_connect(int fd, const struct clinux_address *_Nonnull address, const uint8_t *_Nullable path);
int clinux_bind(int fd, const struct clinux_address *_Nonnull address, const uint8_t *_Nullable path);
int clinux_listen(int fd, int backlog);
// Accepts one connection, non-blocking and close-on-exec. `path` (CLINUX_PATH_MAX bytes) may be null.
int clinux_accept(int fd, struct clinux_address *_Nonnull peer);
int clinux_local_address(int fd, struct clinux_address *_Nonnull address, uint8_t *_Nullable path);
int clinux_peer_address(int fd, struct clinux_address *_Nonnull address, uint8_t *_Nullable path);
// Where a redirected connection was made to; nothing for one that was not.
int clinux_original_destination(int fd, struct clinux_address *_Nonnull address);
int64_t clinux_receive(int fd, void *_Nonnull bytes, size_t count);
int64_t clinux_peek(int fd, void *_Nonnull bytes, size_t count);
int64_t clinux_send(int fd, const void *_Nonnull bytes, size_t count);
int64_t clinux_send2(int fd, const void *_Nullable first, size_t first_count, const void *_Nullable second,
                     size_t second_count);
// Both ends of a pipe of about that size, reading end first (also when the size is refused); the size it has.
int clinux_pipe(int ends[_Nonnull 2], int size);
// Moves bytes to or from a pipe without copying them.
int64_t clinux_splice(int from, int to, size_t count);
int clinux_shutdown_write(int fd);
int clinux_close(int fd);
int clinux_socket_error(int fd);
// TCP's smoothed estimate of the round trip in microseconds.
int64_t clinux_round_trip_us(int fd);

#define CLINUX_NODELAY 1
#define CLINUX_REUSEADDR 2
#define CLINUX_REUSEPORT 3
#define CLINUX_V6ONLY 4
#define CLINUX_KEEPALIVE 5
#define CLINUX_KEEPALIVE_IDLE 6
#define CLINUX_KEEPALIVE_INTERVAL 7
#define CLINUX_KEEPALIVE_COUNT 8
#define CLINUX_BIND_NO_PORT 9
#define CLINUX_SEND_BUFFER 10
#define CLINUX_RECEIVE_BUFFER 11
#define CLINUX_USER_TIMEOUT 12
#define CLINUX_DEFER_ACCEPT 13
#define CLINUX_FREEBIND 14
#define CLINUX_TRANSPARENT 15
#define CLINUX_ACCEPTS 16
#define CLINUX_SOCKET_TYPE 17
#define CLINUX_FASTOPEN 18
int clinux_set_option(int fd, int option, int value);
// Any option, by the kernel's own numbers.
int clinux_set_raw_option(int fd, int level, int name, const void *_Nonnull value, size_t size);
int clinux_get_option(int fd, int option, int *_Nonnull value);
// SO_LINGER with zero seconds: close() sends RST.
int clinux_linger_zero(int fd);
// The process id of a connected Unix socket's peer at the time of its connect or listen.
int clinux_peer_pid(int fd);
// The effective user of that process; of this one.
int64_t clinux_peer_uid(int fd);
int64_t clinux_effective_uid(void);
int clinux_duplicate(int fd);
int clinux_set_nonblocking(int fd);
int clinux_set_cloexec(int fd, int on);
// A socket pair of Unix streams, both non-blocking and close-on-exec.
int clinux_socketpair(int *_Nonnull first, int *_Nonnull second);
int clinux_is_listening(int fd);

// MARK: threads, namespaces, processes

// Name of the calling thread, at most 15 bytes.
void clinux_name_thread(const char *_Nonnull name);
// Moves the calling thread into the network namespace that `fd` refers to.
int clinux_enter_network_namespace(int fd);
// The number of processors in the calling thread's affinity mask.
int clinux_affinity_count(void);
// Raises RLIMIT_NOFILE's soft limit to the hard one; returns the limit in force (at most INT_MAX).
int clinux_raise_descriptor_limit(void);
int clinux_getpid(void);
void clinux_yield(void);
// The `index`th entry of the environment, null after the last.
const char *_Nullable clinux_environment_entry(int index);
// Drops every SYN that arrives at a listening socket from now on; handshakes that have begun still complete.
int clinux_refuse_new_handshakes(int fd);
// Starts a program with `count` descriptors as 3, 4, … and nothing else but 0–2. In the child, its process id in
// decimal is written to `pid_digits` (11 bytes of room inside one of `environment`'s strings, or null), and all signals
// are unblocked and have their default action. Returns the process id once the program has started.
int clinux_spawn(const char *_Nonnull path, char *_Nullable const *_Nonnull arguments,
                 char *_Nullable const *_Nonnull environment, char *_Nullable pid_digits, const int *_Nonnull descriptors,
                 int count);

// MARK: files

#define CLINUX_OPEN_READ 0
#define CLINUX_OPEN_APPEND 1
#define CLINUX_OPEN_DIRECTORY 2
int clinux_open(const char *_Nonnull path, int mode);
int64_t clinux_read(int fd, void *_Nonnull bytes, size_t count);
int64_t clinux_write(int fd, const void *_Nonnull bytes, size_t count);
// Size in bytes of the file behind `fd` (0 for what has none).
int64_t clinux_file_size(int fd);
// Whether this process could append to the file, or make it; nothing is opened.
int clinux_can_append(const char *_Nonnull path, const char *_Nonnull directory);
int clinux_unlink(const char *_Nonnull path);
// Which file a path leads to (its device and inode), when it last changed (size, modification time), and whether it
// is a socket; `follow` for the target of a symbolic link.
struct clinux_file_state {
  uint64_t device;
  uint64_t inode;
  int64_t size;
  int64_t modified_ns;
  int is_socket;
};
int clinux_file_state(const char *_Nonnull path, int follow, struct clinux_file_state *_Nonnull state);
int clinux_change_mode(const char *_Nonnull path, unsigned mode);
// The mode of the file that binding this Unix socket will make.
int clinux_change_descriptor_mode(int fd, unsigned mode);
// The text for an error number, written to `text` (terminated).
void clinux_error_text(int number, char *_Nonnull text, size_t capacity);
// The number of entries of /proc/self/fd, without the descriptor used for counting.
int clinux_open_descriptors(void);
// malloc's account of all arenas: bytes in use, bytes taken from the kernel, bytes of those not in use.
void clinux_heap(uint64_t *_Nonnull allocated, uint64_t *_Nonnull size, uint64_t *_Nonnull unused);
// Lists a directory (symbolic links are followed) as `d` or `f` and a name with a NUL at its end, one after the other;
// other kinds of files, `.` and `..` are left out. The bytes written; -EFBIG if `capacity` is not enough.
int64_t clinux_list_directory(const char *_Nonnull path, char *_Nonnull names, size_t capacity);

// An inotify descriptor, non-blocking and close-on-exec.
int clinux_inotify(void);
// Watches a directory for what is renamed into it, and for its own end.
int clinux_inotify_watch(int fd, const char *_Nonnull path);
// The events that wait: a kind (`m` renamed into the directory, `o` some were lost, `x` the directory is gone) and a name
// with a NUL at its end, each. The bytes written, at most 8 KiB; -EAGAIN if there are none.
int64_t clinux_inotify_read(int fd, char *_Nonnull names);
#define CLINUX_INOTIFY_ROOM 8192
/// Gives the system back what only the start needed: free pages of the heap, and the pages of code, which come back from
/// the page cache one by one as they are used again.
void clinux_release_memory(void);
// Gives the free pages of the heap back, and nothing else.
void clinux_release_heap(void);

#endif
