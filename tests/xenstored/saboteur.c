/*
 * Runs a program whose system calls can be counted, refused, or be its last.
 *
 *   saboteur changes|calls SOCKET ROOT PROGRAM [ARGUMENT...]
 *
 * The program keeps the process that this was started as. Its system calls come to a supervisor, an orphan beside it, as
 * seccomp's user notifications: before they are carried out, and whoever makes them, the C library or not. With "changes"
 * those that can change files below ROOT, or send a message over a socket; with "calls" those that only look as well.
 *
 * The supervisor is told what to do by lines over the stream SOCKET, each of which it answers with "ok":
 *
 *   CLASS N ACTION FROM   from the first message on that contains FROM, or at once if that is a dash, the Nth call of
 *                         CLASS is not carried out, but ACTION instead: 0 kills the program, any other number is the errno
 *                         that the call fails with. An N of 0 never comes.
 *
 * The program starts with the first one. A CLASS is a sum of 1 (changes of files), 2 (messages) and 4 (looks at files).
 * Every call of it is a line: "call NUMBER NAME WHAT", or "hit NUMBER NAME WHAT" for the Nth.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <linux/audit.h>
#include <linux/filter.h>
#include <linux/openat2.h>
#include <linux/seccomp.h>
#include <poll.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#ifndef SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV
#define SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV (1UL << 5) /* Linux 5.19 */
#endif

enum { CHANGES = 1, MESSAGES = 2, LOOKS = 4 };

/* Where a call names what it is about. */
enum shape {
    FD,      /* a descriptor, the first argument */
    FD2,     /* a descriptor, the third argument */
    AT,      /* a directory and a path, the first two arguments */
    AT2,     /* a path, relative to the second argument (symlinkat) */
    PATH,    /* a path, the first argument */
    OPEN,    /* as AT; the flags say whether it is a change */
    OPEN2,   /* the same with the flags in a struct */
    OLDOPEN, /* as PATH, with flags */
    WRITE,   /* as FD; or a message, if the descriptor is a socket */
};

static const struct kind {
    int number;
    const char *name;
    enum shape shape;
    int class;
} kinds[] = {
#define CALL(name, shape, class) { __NR_##name, #name, shape, class }
    CALL(openat, OPEN, CHANGES), CALL(openat2, OPEN2, CHANGES),
    CALL(write, WRITE, CHANGES), CALL(writev, WRITE, CHANGES), CALL(pwrite64, FD, CHANGES), CALL(pwritev, FD, CHANGES),
    CALL(sendto, WRITE, CHANGES), CALL(sendmsg, WRITE, CHANGES),
    CALL(copy_file_range, FD2, CHANGES), CALL(sendfile, FD, CHANGES), CALL(splice, FD2, CHANGES),
    CALL(fsync, FD, CHANGES), CALL(fdatasync, FD, CHANGES), CALL(ftruncate, FD, CHANGES), CALL(fallocate, FD, CHANGES),
    CALL(fchmod, FD, CHANGES), CALL(fchown, FD, CHANGES), CALL(fsetxattr, FD, CHANGES), CALL(flock, FD, CHANGES),
    CALL(fcntl, FD, CHANGES),
    CALL(fchmodat, AT, CHANGES), CALL(fchownat, AT, CHANGES), CALL(mkdirat, AT, CHANGES), CALL(mknodat, AT, CHANGES),
    CALL(unlinkat, AT, CHANGES), CALL(renameat2, AT, CHANGES), CALL(linkat, AT, CHANGES), CALL(symlinkat, AT2, CHANGES),
    CALL(utimensat, AT, CHANGES),
#ifdef __NR_renameat
    CALL(renameat, AT, CHANGES),
#endif
#ifdef __NR_open /* x86 has these as well */
    CALL(open, OLDOPEN, CHANGES), CALL(creat, PATH, CHANGES), CALL(rename, PATH, CHANGES), CALL(unlink, PATH, CHANGES),
    CALL(mkdir, PATH, CHANGES), CALL(rmdir, PATH, CHANGES), CALL(link, PATH, CHANGES), CALL(chmod, PATH, CHANGES),
    CALL(chown, PATH, CHANGES),
    CALL(stat, PATH, LOOKS), CALL(lstat, PATH, LOOKS), CALL(readlink, PATH, LOOKS), CALL(access, PATH, LOOKS),
#endif
    CALL(read, FD, LOOKS), CALL(pread64, FD, LOOKS), CALL(fstat, FD, LOOKS), CALL(newfstatat, AT, LOOKS),
    CALL(statx, AT, LOOKS), CALL(getdents64, FD, LOOKS), CALL(readlinkat, AT, LOOKS), CALL(faccessat, AT, LOOKS),
#undef CALL
};
enum { KINDS = sizeof kinds / sizeof *kinds, PATH_LEN = 4096, TEXT_LEN = 2 * PATH_LEN };

/* What the program and its supervisor have in common before the program starts. */
static struct shared {
    atomic_int listener; /* the descriptor in the program's process */
    atomic_bool go;
} *shared;

static const char *root;
static int control;
static int wanted_class, action;
static unsigned long wanted, count;
static char from[64]; /* empty once the counting has begun */

__attribute__((noreturn)) static void die(const char *what)
{
    fprintf(stderr, "saboteur: %s: %s\n", what, strerror(errno));
    exit(1);
}

/* The filter of the program, which stays across exec. */
static int install(bool with_looks)
{
    struct sock_filter filter[2 * KINDS + 8];
    int len = 0;

    filter[len++] = (struct sock_filter)BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr));
    for (int i = 0; i < KINDS; i++) {
        if (kinds[i].number == __NR_fcntl || (kinds[i].class == LOOKS && !with_looks))
            continue;
        filter[len++] = (struct sock_filter)BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, kinds[i].number, 0, 1);
        filter[len++] = (struct sock_filter)BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_USER_NOTIF);
    }
    /* Of fcntl only the lock, as it is called all the time. */
    filter[len++] = (struct sock_filter)BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, __NR_fcntl, 0, 3);
    filter[len++] = (struct sock_filter)BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, args[1]));
    filter[len++] = (struct sock_filter)BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, F_SETLK, 0, 1);
    filter[len++] = (struct sock_filter)BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_USER_NOTIF);
    filter[len++] = (struct sock_filter)BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW);

    struct sock_fprog program = { .len = len, .filter = filter };
    if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0)
        die("no_new_privs");
    /* Without the flag a signal interrupts a call that waits for the supervisor, and it comes a second time. */
    unsigned long flags = SECCOMP_FILTER_FLAG_NEW_LISTENER | SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV;
    int fd = syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, flags, &program);
    if (fd < 0 && errno == EINVAL)
        fd = syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, SECCOMP_FILTER_FLAG_NEW_LISTENER, &program);
    return fd;
}

static void say(const char *text)
{
    for (size_t len = strlen(text); len > 0;) {
        ssize_t sent = send(control, text, len, MSG_NOSIGNAL);
        if (sent <= 0)
            return; /* nobody listens any more: everything is carried out */
        text += sent;
        len -= sent;
    }
}

/* Reads and answers one order; false when there are no more. */
static bool obey(void)
{
    char line[128];
    size_t len = 0;

    do {
        if (len == sizeof line - 1 || read(control, &line[len], 1) != 1)
            return false;
    } while (line[len++] != '\n');
    line[len] = 0;
    if (sscanf(line, "%d %lu %d %63s", &wanted_class, &wanted, &action, from) != 4) {
        fprintf(stderr, "saboteur: no order: %s", line);
        exit(1);
    }
    count = 0;
    if (strcmp(from, "-") == 0)
        from[0] = 0;
    say("ok\n");
    return true;
}

static bool fetch(pid_t pid, uint64_t address, void *to, size_t len)
{
    struct iovec local = { to, len }, remote = { (void *)(uintptr_t)address, len };
    return process_vm_readv(pid, &local, 1, &remote, 1, 0) == (ssize_t)len;
}

/* Never across a page that may not be there. */
static void fetch_text(pid_t pid, uint64_t address, char *to, size_t size)
{
    size_t len = 0;
    while (len < size - 1 && fetch(pid, address + len, to + len, 1) && to[len] != 0)
        len++;
    to[len] = 0;
}

static void describe_fd(pid_t pid, int fd, char *to, size_t size)
{
    char link[64];
    snprintf(link, sizeof link, fd == AT_FDCWD ? "/proc/%d/cwd" : "/proc/%d/fd/%d", pid, fd);
    ssize_t len = readlink(link, to, size - 1);
    to[len < 0 ? 0 : len] = 0;
}

/* Which class a call is of, 0 for none that matters, and what it is about. */
static int classify(const struct seccomp_notif *call, const struct kind *kind, char *what)
{
    static char directory[PATH_LEN], path[PATH_LEN];
    const struct seccomp_data *data = &call->data;
    int class = kind->class, fd = AT_FDCWD;
    uint64_t text = 0, flags = 0;
    struct open_how how = { 0 };

    switch (kind->shape) {
    case FD: case WRITE: fd = data->args[0]; break;
    case FD2: fd = data->args[2]; break;
    case AT: fd = data->args[0]; text = data->args[1]; break;
    case AT2: fd = data->args[1]; text = data->args[2]; break;
    case PATH: text = data->args[0]; break;
    case OLDOPEN: text = data->args[0]; flags = data->args[1]; break;
    case OPEN: fd = data->args[0]; text = data->args[1]; flags = data->args[2]; break;
    case OPEN2:
        fd = data->args[0];
        text = data->args[1];
        if (fetch(call->pid, data->args[2], &how, sizeof how))
            flags = how.flags;
        break;
    }
    bool opens = kind->shape == OPEN || kind->shape == OPEN2 || kind->shape == OLDOPEN;
    if (opens && !(flags & (O_CREAT | O_TRUNC)))
        class = LOOKS;
    describe_fd(call->pid, fd, directory, sizeof directory);
    path[0] = 0;
    if (text != 0)
        fetch_text(call->pid, text, path, sizeof path);
    if (path[0] == '/')
        directory[0] = 0;
    snprintf(what, TEXT_LEN, "%s%s%s", directory, path[0] && directory[0] ? "/" : "", path);
    if (kind->shape == WRITE && strncmp(what, "socket:", 7) == 0)
        return data->args[2] >= 16 || data->nr != __NR_sendto ? MESSAGES : 0; /* less is no message of Xenstore */
    size_t len = strlen(root);
    if (strncmp(what, root, len) != 0 || (what[len] != '/' && what[len] != 0))
        return 0;
    memmove(what, what + len, strlen(what + len) + 1);
    return class;
}

/* Whether a message contains what the counting begins with. */
static bool begins(const struct seccomp_notif *call)
{
    static char message[PATH_LEN];
    size_t len = call->data.args[2] < sizeof message ? call->data.args[2] : sizeof message;

    return fetch(call->pid, call->data.args[1], message, len) && memmem(message, len, from, strlen(from)) != NULL;
}

/* Lets one call go on, or does what was ordered. */
static void answer(int listener, pid_t program, struct seccomp_notif *call, struct seccomp_notif_resp *response)
{
    static char what[TEXT_LEN], line[TEXT_LEN + 128];
    const struct kind *kind = kinds;

    while (kind->number != call->data.nr)
        kind++; /* the filter lets nothing else through */
    memset(response, 0, sizeof *response);
    response->id = call->id;
    response->flags = SECCOMP_USER_NOTIF_FLAG_CONTINUE;
    int class = classify(call, kind, what);
    if (class == MESSAGES && from[0] && begins(call))
        from[0] = 0;
    if ((class & wanted_class) && !from[0]) {
        bool is_wanted = ++count == wanted;
        snprintf(line, sizeof line, "%s %lu %s %s\n", is_wanted ? "hit" : "call", count, kind->name, what);
        say(line);
        if (is_wanted && action == 0) {
            kill(program, SIGKILL);
            return;
        }
        if (is_wanted) {
            response->flags = 0;
            response->error = -action;
        }
    }
    ioctl(listener, SECCOMP_IOCTL_NOTIF_SEND, response); /* it may be gone by now */
}

__attribute__((noreturn)) static void supervise(pid_t program)
{
    struct seccomp_notif_sizes sizes;
    int listener = -1, number = 0;

    if (!obey())
        die("no orders");
    int pidfd = syscall(SYS_pidfd_open, program, 0);
    atomic_store(&shared->go, true);
    while (pidfd >= 0 && (number = atomic_load(&shared->listener)) == 0) {
        struct pollfd end = { .fd = pidfd, .events = POLLIN };
        if (poll(&end, 1, 0) > 0)
            exit(0); /* killed before it was under the filter */
        usleep(100);
    }
    if (pidfd < 0 || (listener = syscall(SYS_pidfd_getfd, pidfd, number, 0)) < 0) {
        kill(program, SIGKILL);
        die("listener");
    }
    atomic_store(&shared->listener, 0); /* taken: the program may go on */
    if (syscall(SYS_seccomp, SECCOMP_GET_NOTIF_SIZES, 0, &sizes) != 0)
        die("sizes");
    struct seccomp_notif *call = calloc(1, sizes.seccomp_notif);
    struct seccomp_notif_resp *response = calloc(1, sizes.seccomp_notif_resp);
    struct pollfd fds[] = { { .fd = listener, .events = POLLIN }, { .fd = control, .events = POLLIN } };
    for (;;) {
        if (poll(fds, 2, -1) < 0 && errno != EINTR)
            die("poll");
        if (fds[1].revents && !obey()) {
            fds[1].fd = -1;
            wanted_class = 0;
        }
        if (fds[0].revents & POLLIN) {
            memset(call, 0, sizes.seccomp_notif);
            if (ioctl(listener, SECCOMP_IOCTL_NOTIF_RECV, call) == 0)
                answer(listener, program, call, response);
        } else if (fds[0].revents) {
            exit(0); /* nobody is left that has the filter */
        }
    }
}

int main(int argc, char **argv)
{
    if (argc < 5) {
        fputs("Usage: saboteur changes|calls SOCKET ROOT PROGRAM [ARGUMENT...]\n", stderr);
        return 2;
    }
    pid_t program = getpid();
    root = argv[3];
    shared = mmap(NULL, sizeof *shared, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    if (shared == MAP_FAILED)
        die("shared memory");

    struct sockaddr_un address = { .sun_family = AF_UNIX };
    strncpy(address.sun_path, argv[2], sizeof address.sun_path - 1);
    control = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (control < 0 || connect(control, (struct sockaddr *)&address, sizeof address) != 0)
        die(argv[2]);

    /* Twice, so that the program has no child that it does not know of. */
    pid_t between = fork();
    if (between == 0) {
        pid_t supervisor = fork();
        if (supervisor == 0)
            supervise(program);
        _exit(supervisor < 0);
    }
    int status;
    if (between < 0 || waitpid(between, &status, 0) != between || status != 0)
        die("fork");
    close(control);
    while (!atomic_load(&shared->go))
        usleep(100);
    int listener = install(strcmp(argv[1], "calls") == 0);
    if (listener < 0) {
        perror("saboteur: seccomp");
        return 1;
    }
    atomic_store(&shared->listener, listener);
    while (atomic_load(&shared->listener) != 0)
        usleep(100);
    execvp(argv[4], argv + 4);
    perror(argv[4]);
    return 1;
}
