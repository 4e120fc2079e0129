/*
 * /dev/xen/xenbus as a file that can be opened, in front of a guest's socket (guest.c with `--device linux`).
 *
 *   device SOCKET FILE
 *
 * FILE, which has to exist, is covered by a FUSE file system of one file, in a mount namespace of this process:
 * `nsenter --target PID --mount` runs a program there. What a socket cannot show, and the kernel's device does
 * (drivers/xen/xenbus/xenbus_dev_frontend.c):
 *
 * - poll never reports writability;
 * - read gives EAGAIN with O_NONBLOCK, and sleeps without;
 * - write fails with an errno: EINVAL for what is no message, for more than 4096 bytes, and once after SIGUSR1;
 * - open gives ENOENT while there is no Xenstore.
 *
 * Prints "ready" when FILE can be opened. What a client of the device should not do stands on stderr: to wait for
 * writability, to write anything but one whole message at once, and to sleep in read.
 */
#define _GNU_SOURCE
#include "hypervisor.h"
#include <errno.h>
#include <fcntl.h>
#include <linux/fuse.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/mount.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <sys/un.h>
#include <unistd.h>

enum { DEVICE_BUFFER = 4096, WRITE_MAX = 128 * 1024 };

/* An open file of the device. */
struct client {
    int fd;
    bool watched;     /* somebody polls it */
    uint64_t poll_id; /* the kernel's name for that */
    uint64_t reading; /* the read that sleeps, or 0 */
    uint32_t read_size;
};

static const char *socket_path;
static int fuse_fd, epoll_fd;
static volatile sig_atomic_t fail_next_write;

__attribute__((noreturn)) static void die(const char *what)
{
    fprintf(stderr, "device: %s: %s\n", what, strerror(errno));
    exit(1);
}

static void on_signal(int signal) { fail_next_write = signal == SIGUSR1; }

static void answer(uint64_t unique, int error, const void *data, size_t len)
{
    struct fuse_out_header header = { .len = sizeof header + len, .error = error, .unique = unique };
    struct iovec parts[] = { { &header, sizeof header }, { (void *)data, len } };

    /* ENOENT: whoever asked was interrupted and has gone. */
    if (writev(fuse_fd, parts, len ? 2 : 1) < 0 && errno != ENOENT)
        die("/dev/fuse: write");
}

static void notify(struct client *c)
{
    struct fuse_notify_poll_wakeup_out wakeup = { .kh = c->poll_id };

    if (c->watched)
        answer(0, FUSE_NOTIFY_POLL, &wakeup, sizeof wakeup);
}

static bool is_readable(const struct client *c)
{
    struct pollfd fd = { .fd = c->fd, .events = POLLIN };
    return poll(&fd, 1, 0) > 0;
}

/* Returns whether the read is over. */
static bool try_read(struct client *c, uint64_t unique, uint32_t size)
{
    static char buffer[WRITE_MAX];
    ssize_t len = recv(c->fd, buffer, size < sizeof buffer ? size : sizeof buffer, MSG_DONTWAIT);

    if (len < 0 && errno == EAGAIN)
        return false;
    answer(unique, len > 0 ? 0 : -EIO, buffer, len > 0 ? len : 0);
    return true;
}

static void handle_open(uint64_t unique)
{
    struct sockaddr_un address = { .sun_family = AF_UNIX };
    struct client *c = calloc(1, sizeof *c);
    struct epoll_event event = { .events = EPOLLIN | EPOLLRDHUP | EPOLLET, .data.ptr = c };
    struct fuse_open_out out = { .open_flags = FOPEN_DIRECT_IO | FOPEN_NONSEEKABLE | FOPEN_STREAM };

    snprintf(address.sun_path, sizeof address.sun_path, "%s", socket_path);
    c->fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (connect(c->fd, (struct sockaddr *)&address, sizeof address) != 0) {
        close(c->fd);
        free(c);
        return answer(unique, -ENOENT, NULL, 0);
    }
    if (epoll_ctl(epoll_fd, EPOLL_CTL_ADD, c->fd, &event) != 0)
        die("epoll");
    out.fh = (uintptr_t)c;
    answer(unique, 0, &out, sizeof out);
}

static void handle_write(struct client *c, uint64_t unique, const char *data, uint32_t size)
{
    struct fuse_write_out out = { .size = size };
    struct header h;

    if (fail_next_write) {
        fail_next_write = 0;
        return answer(unique, -EINVAL, NULL, 0);
    }
    if (size >= sizeof h)
        memcpy(&h, data, sizeof h);
    if (size > DEVICE_BUFFER || size < sizeof h || size != sizeof h + h.len) {
        fprintf(stderr, "device: a write of %u bytes is not one message\n", size);
        return answer(unique, -EINVAL, NULL, 0);
    }
    if (send(c->fd, data, size, MSG_NOSIGNAL) != size)
        return answer(unique, -EIO, NULL, 0);
    answer(unique, 0, &out, sizeof out);
}

static void handle_poll(uint64_t unique, const struct fuse_poll_in *in)
{
    struct client *c = (struct client *)(uintptr_t)in->fh;
    struct fuse_poll_out out = { 0 };

    if (in->events & (POLLOUT | POLLWRNORM))
        fputs("device: somebody waits for writability\n", stderr);
    if (in->flags & FUSE_POLL_SCHEDULE_NOTIFY) {
        c->watched = true;
        c->poll_id = in->kh;
    }
    if (is_readable(c))
        out.revents = POLLIN | POLLRDNORM;
    answer(unique, 0, &out, sizeof out);
}

static struct client *sleeper; /* one is enough: a client that sleeps in read fails its test */

static void handle_request(const char *buffer)
{
    const struct fuse_in_header *in = (const void *)buffer;
    const void *body = buffer + sizeof *in;

    switch (in->opcode) {
    case FUSE_INIT: {
        const struct fuse_init_in *init = body;
        struct fuse_init_out out = { .major = FUSE_KERNEL_VERSION, .minor = FUSE_KERNEL_MINOR_VERSION,
            .max_readahead = init->max_readahead, .max_write = WRITE_MAX, .max_background = 16 };
        return answer(in->unique, 0, &out, sizeof out);
    }
    case FUSE_GETATTR: {
        struct fuse_attr_out out = { .attr = { .ino = 1, .mode = S_IFREG | 0600, .nlink = 1 } };
        return answer(in->unique, 0, &out, sizeof out);
    }
    case FUSE_OPEN:
        return handle_open(in->unique);
    case FUSE_READ: {
        const struct fuse_read_in *read = body;
        struct client *c = (struct client *)(uintptr_t)read->fh;
        if (try_read(c, in->unique, read->size))
            return;
        if (read->flags & O_NONBLOCK)
            return answer(in->unique, -EAGAIN, NULL, 0);
        fputs("device: somebody sleeps in read\n", stderr);
        c->reading = in->unique;
        c->read_size = read->size;
        sleeper = c;
        return;
    }
    case FUSE_WRITE: {
        const struct fuse_write_in *write = body;
        return handle_write((struct client *)(uintptr_t)write->fh, in->unique, (const char *)(write + 1), write->size);
    }
    case FUSE_POLL:
        return handle_poll(in->unique, body);
    case FUSE_RELEASE: {
        struct client *c = (struct client *)(uintptr_t)((const struct fuse_release_in *)body)->fh;
        if (sleeper == c)
            sleeper = NULL;
        close(c->fd);
        free(c);
        return answer(in->unique, 0, NULL, 0);
    }
    case FUSE_FLUSH:
        return answer(in->unique, 0, NULL, 0);
    case FUSE_INTERRUPT: {
        uint64_t unique = ((const struct fuse_interrupt_in *)body)->unique;
        if (sleeper && sleeper->reading == unique) {
            sleeper->reading = 0;
            sleeper = NULL;
            answer(unique, -EINTR, NULL, 0);
        }
        return;
    }
    case FUSE_FORGET:
    case FUSE_BATCH_FORGET:
        return; /* these are not answered */
    case FUSE_DESTROY:
        exit(0);
    default:
        return answer(in->unique, -ENOSYS, NULL, 0);
    }
}

int main(int argc, char **argv)
{
    static char request[WRITE_MAX + 4096];
    struct epoll_event event = { .events = EPOLLIN, .data.ptr = NULL };
    struct sigaction action = { .sa_handler = on_signal };
    char options[128];

    if (argc != 3) {
        fputs("Usage: device SOCKET FILE\n", stderr);
        return 2;
    }
    socket_path = argv[1];
    sigaction(SIGUSR1, &action, NULL);
    fuse_fd = open("/dev/fuse", O_RDWR | O_CLOEXEC);
    if (fuse_fd < 0)
        die("/dev/fuse");
    if (unshare(CLONE_NEWNS) != 0 || mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) != 0)
        die("a mount namespace");
    snprintf(options, sizeof options, "fd=%d,rootmode=100600,user_id=0,group_id=0", fuse_fd);
    if (mount("xenbus", argv[2], "fuse", MS_NOSUID | MS_NODEV, options) != 0)
        die(argv[2]);
    epoll_fd = epoll_create1(EPOLL_CLOEXEC);
    if (epoll_fd < 0 || epoll_ctl(epoll_fd, EPOLL_CTL_ADD, fuse_fd, &event) != 0)
        die("epoll");
    puts("ready");
    fflush(stdout);

    for (;;) {
        /* One at a time: a request may free what the next event would be about. */
        if (epoll_wait(epoll_fd, &event, 1, -1) != 1)
            continue;
        struct client *c = event.data.ptr;
        if (c) {
            if (c->reading && try_read(c, c->reading, c->read_size)) {
                c->reading = 0;
                sleeper = NULL;
            }
            notify(c);
        } else if (read(fuse_fd, request, sizeof request) > 0) {
            handle_request(request);
        } else if (errno != EINTR && errno != EAGAIN && errno != ENOENT) {
            return 0; /* unmounted */
        }
    }
}
