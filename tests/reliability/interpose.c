/* Counts the file-system calls of a process, makes one of them fail, and records them: for LD_PRELOAD on Linux.
 *
 * It takes the place of the functions of the C library below. Only calls on paths inside of the folders that
 * interpose_start names are counted, and those on descriptors that were opened there. tests/reliability/interposer.py
 * builds it and says how to use it.
 *
 * Not seen: calls that the C library makes for itself (fwrite and fclose, by which np.save writes to a file; realpath),
 * system calls without it (io_uring, static programs), reads and writes of memory that is mapped to a file (the mapping itself is seen), and
 * processes that a counted one starts with exec.
 */
#define _GNU_SOURCE
#include <dirent.h>
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/mman.h>
#include <sys/sendfile.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <sys/uio.h>
#include <unistd.h>

#define DESCRIPTORS 4096
#define SHORT_WRITE (-1) /* values of `fault` that are not an errno */
#define KILL_AFTER (-2)

/* Shared by a process and its forks; interposer.py has the same fields. */
struct state {
    _Atomic long count;   /* calls so far */
    long fail_at;         /* the number of the call that fails, from 0; -1: none */
    long fault;           /* an errno, SHORT_WRITE or KILL_AFTER */
    char hit_call[32];    /* the call that failed, and its path */
    char hit_path[4096];
};

static struct state *state;
static char scope[8192]; /* folders, each ends with a slash; separated by newlines */
static int record = -1;  /* the descriptor of the record, or -1 */
static char *paths[DESCRIPTORS];
static __thread int inside; /* a call that this file makes itself */

#define REAL(name) ((__typeof__(&name))real(#name))

static void *real(const char *name) {
    void *found = dlsym(RTLD_NEXT, name);
    if (found == NULL) abort();
    return found;
}

void interpose_start(struct state *shared, const char *folders, const char *record_path) {
    snprintf(scope, sizeof scope, "%s", folders);
    if (record_path != NULL) record = REAL(open)(record_path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
    state = shared;
}

/* Writes the absolute form of a path; an empty one if it lies outside of the folders. */
static void place(char *out, size_t size, int dirfd, const char *path) {
    out[0] = 0;
    if (state == NULL || inside || path == NULL) return;
    char whole[4096];
    if (path[0] == '/') {
        snprintf(whole, sizeof whole, "%s", path);
    } else if (dirfd == AT_FDCWD) {
        char here[2048];
        if (getcwd(here, sizeof here) == NULL) return;
        snprintf(whole, sizeof whole, path[0] ? "%s/%s" : "%s", here, path);
    } else if (dirfd >= 0 && dirfd < DESCRIPTORS && paths[dirfd] != NULL) {
        snprintf(whole, sizeof whole, path[0] ? "%s/%s" : "%s", paths[dirfd], path);
    } else {
        return;
    }
    size_t length = strlen(whole);
    for (const char *folder = scope; *folder;) {
        const char *end = strchr(folder, '\n');
        size_t size_of = end ? (size_t)(end - folder) : strlen(folder);
        int same = length + 1 == size_of && strncmp(whole, folder, length) == 0;
        if (same || (length >= size_of && strncmp(whole, folder, size_of) == 0)) {
            snprintf(out, size, "%s", whole);
            return;
        }
        if (end == NULL) return;
        folder = end + 1;
    }
}

static const char *path_of(int fd) {
    return state != NULL && !inside && fd >= 0 && fd < DESCRIPTORS ? paths[fd] : NULL;
}

/* The head of an entry of the record; `first`, `second` and `data` follow it. */
struct head {
    char call[16];
    int64_t fd, flags, offset;
    uint64_t first, second, data;
};

static void keep(const char *call, int64_t fd, int64_t flags, int64_t offset, const char *first, const char *second,
                 const void *data, size_t size) {
    if (record < 0) return;
    int before = errno;
    struct head head = {.fd = fd, .flags = flags, .offset = offset, .data = size};
    snprintf(head.call, sizeof head.call, "%s", call);
    head.first = first ? strlen(first) : 0;
    head.second = second ? strlen(second) : 0;
    struct iovec parts[] = {
        {&head, sizeof head}, {(void *)first, head.first}, {(void *)second, head.second}, {(void *)data, size}};
    REAL(writev)(record, parts, 4); /* one call, since threads write it too */
    errno = before;
}

/* Counts a call. Returns the errno to fail with, SHORT_WRITE, KILL_AFTER, or 0 for a call that is left alone. */
static int enter(const char *call, const char *path) {
    long number = atomic_fetch_add(&state->count, 1);
    keep("counted", number, 0, 0, path, call, NULL, 0);
    if (number != state->fail_at) return 0;
    snprintf(state->hit_call, sizeof state->hit_call, "%s", call);
    snprintf(state->hit_path, sizeof state->hit_path, "%s", path);
    return (int)state->fault;
}

static void leave(int fault) {
    if (fault == KILL_AFTER) kill(getpid(), SIGKILL);
}

static void set_path(int fd, const char *path) {
    if (fd < 0 || fd >= DESCRIPTORS) return;
    char *old = paths[fd];
    paths[fd] = path && path[0] ? strdup(path) : NULL;
    free(old);
}

/* Begins a function on a path: leaves it with `wrong` if this call is to fail. */
#define ON_PATH(call, dirfd, path, wrong)           \
    char at[4096];                                  \
    place(at, sizeof at, dirfd, path);              \
    int fault = at[0] ? enter(call, at) : 0;        \
    if (fault > 0) {                                \
        errno = fault;                              \
        return wrong;                               \
    }

#define ON_FD(call, fd, wrong)                      \
    const char *at = path_of(fd);                   \
    int fault = at ? enter(call, at) : 0;           \
    if (fault > 0) {                                \
        errno = fault;                              \
        return wrong;                               \
    }

/* ---- open, close */

/* Files that are only read have a name of their own: disk space has no part in that. */
static const char *opening(int flags) { return (flags & O_ACCMODE) == O_RDONLY && !(flags & O_CREAT) ? "open" : "create"; }

static int opened(int fd, int flags, const char *at) {
    set_path(fd, at);
    if (fd >= 0 && at[0]) keep("open", fd, flags, 0, at, NULL, NULL, 0);
    return fd;
}

#define OPEN(name)                                                     \
    int name(const char *path, int flags, ...) {                       \
        mode_t mode = 0;                                               \
        if (flags & (O_CREAT | O_TMPFILE)) {                           \
            va_list more;                                              \
            va_start(more, flags);                                     \
            mode = va_arg(more, mode_t);                               \
            va_end(more);                                              \
        }                                                              \
        ON_PATH(opening(flags), AT_FDCWD, path, -1)                    \
        int fd = opened(REAL(name)(path, flags, mode), flags, at);     \
        leave(fault);                                                  \
        return fd;                                                     \
    }
OPEN(open)
OPEN(open64)

#define OPENAT(name)                                                        \
    int name(int dirfd, const char *path, int flags, ...) {                 \
        mode_t mode = 0;                                                    \
        if (flags & (O_CREAT | O_TMPFILE)) {                                \
            va_list more;                                                   \
            va_start(more, flags);                                          \
            mode = va_arg(more, mode_t);                                    \
            va_end(more);                                                   \
        }                                                                   \
        ON_PATH(opening(flags), dirfd, path, -1)                            \
        int fd = opened(REAL(name)(dirfd, path, flags, mode), flags, at);   \
        leave(fault);                                                       \
        return fd;                                                          \
    }
OPENAT(openat)
OPENAT(openat64)

static int flags_of(const char *mode) {
    int change = strchr(mode, '+') ? O_RDWR : O_WRONLY;
    if (mode[0] == 'r') return strchr(mode, '+') ? O_RDWR : O_RDONLY;
    return change | O_CREAT | (mode[0] == 'a' ? O_APPEND : O_TRUNC);
}

#define FOPEN(name)                                                       \
    FILE *name(const char *path, const char *mode) {                      \
        ON_PATH(opening(flags_of(mode)), AT_FDCWD, path, NULL)            \
        FILE *file = REAL(name)(path, mode);                              \
        if (file != NULL) opened(fileno(file), flags_of(mode), at);       \
        leave(fault);                                                     \
        return file;                                                      \
    }
FOPEN(fopen)
FOPEN(fopen64)

int close(int fd) {
    ON_FD("close", fd, (REAL(close)(fd), set_path(fd, NULL), -1)) /* the descriptor is gone in spite of the error */
    if (at) keep("close", fd, 0, 0, at, NULL, NULL, 0);
    int done = REAL(close)(fd);
    if (done == 0 || at) set_path(fd, NULL);
    leave(fault);
    return done;
}

int fclose(FILE *file) {
    ON_FD("close", fileno(file), (REAL(fclose)(file), EOF))
    int fd = fileno(file);
    int done = REAL(fclose)(file);
    if (at) keep("close", fd, 0, 0, at, NULL, NULL, 0);
    set_path(fd, NULL);
    leave(fault);
    return done;
}

static int copied(int fd, int copy) {
    const char *at = path_of(fd);
    set_path(copy, at);
    if (copy >= 0 && at) keep("dup", copy, 0, fd, at, NULL, NULL, 0);
    return copy;
}

int dup(int fd) { return copied(fd, REAL(dup)(fd)); }
int dup2(int fd, int to) { return copied(fd, REAL(dup2)(fd, to)); }
int dup3(int fd, int to, int flags) { return copied(fd, REAL(dup3)(fd, to, flags)); }

#define FCNTL(name)                                                                      \
    int name(int fd, int command, ...) {                                                 \
        va_list more;                                                                    \
        va_start(more, command);                                                         \
        void *argument = va_arg(more, void *);                                           \
        va_end(more);                                                                    \
        int locks = command == F_SETLK || command == F_SETLKW || command == F_OFD_SETLK; \
        const char *at = path_of(fd);                                                    \
        int fault = at && locks ? enter("lock", at) : 0;                                 \
        if (fault > 0) {                                                                 \
            errno = fault;                                                               \
            return -1;                                                                   \
        }                                                                                \
        int done = REAL(name)(fd, command, argument);                                    \
        if (done >= 0 && (command == F_DUPFD || command == F_DUPFD_CLOEXEC))             \
            copied(fd, done);                                                            \
        leave(fault);                                                                    \
        return done;                                                                     \
    }
FCNTL(fcntl)
FCNTL(fcntl64)

int flock(int fd, int operation) {
    ON_FD("lock", fd, -1)
    int done = REAL(flock)(fd, operation);
    leave(fault);
    return done;
}

/* ---- read, write */

static off_t offset_of(int fd) {
    int flags = REAL(fcntl)(fd, F_GETFL);
    if (flags >= 0 && (flags & O_APPEND)) {
        struct stat now;
        return REAL(fstat)(fd, &now) == 0 ? now.st_size : -1;
    }
    return lseek(fd, 0, SEEK_CUR);
}

ssize_t read(int fd, void *data, size_t size) {
    ON_FD("read", fd, -1)
    ssize_t done = REAL(read)(fd, data, fault == SHORT_WRITE && size > 1 ? size / 2 : size);
    leave(fault);
    return done;
}

ssize_t pread(int fd, void *data, size_t size, off_t offset) {
    ON_FD("read", fd, -1)
    ssize_t done = REAL(pread)(fd, data, fault == SHORT_WRITE && size > 1 ? size / 2 : size, offset);
    leave(fault);
    return done;
}

ssize_t pread64(int fd, void *data, size_t size, off64_t offset) {
    ON_FD("read", fd, -1)
    ssize_t done = REAL(pread64)(fd, data, fault == SHORT_WRITE && size > 1 ? size / 2 : size, offset);
    leave(fault);
    return done;
}

ssize_t write(int fd, const void *data, size_t size) {
    ON_FD("write", fd, -1)
    off_t offset = at && record >= 0 ? offset_of(fd) : 0;
    ssize_t done = REAL(write)(fd, data, fault == SHORT_WRITE && size > 1 ? size / 2 : size);
    if (at && done > 0) keep("write", fd, 0, offset, at, NULL, data, (size_t)done);
    leave(fault);
    return done;
}

#define PWRITE(name, offset_type)                                                                   \
    ssize_t name(int fd, const void *data, size_t size, offset_type offset) {                       \
        ON_FD("write", fd, -1)                                                                      \
        ssize_t done = REAL(name)(fd, data, fault == SHORT_WRITE && size > 1 ? size / 2 : size, offset); \
        if (at && done > 0) keep("write", fd, 0, offset, at, NULL, data, (size_t)done);             \
        leave(fault);                                                                               \
        return done;                                                                                \
    }
PWRITE(pwrite, off_t)
PWRITE(pwrite64, off64_t)

ssize_t writev(int fd, const struct iovec *parts, int count) {
    ON_FD("write", fd, -1)
    off_t offset = at && record >= 0 ? offset_of(fd) : 0;
    ssize_t done = REAL(writev)(fd, parts, fault == SHORT_WRITE && count > 1 ? 1 : count);
    size_t left = at && done > 0 ? (size_t)done : 0;
    for (int part = 0; left > 0 && part < count; part++) {
        size_t size = parts[part].iov_len < left ? parts[part].iov_len : left;
        keep("write", fd, 0, offset, at, NULL, parts[part].iov_base, size);
        offset += (off_t)size;
        left -= size;
    }
    leave(fault);
    return done;
}

/* What the kernel copies is recorded as a write of what is then in the file. */
static void keep_copied(int fd, const char *at, off_t offset, ssize_t size) {
    if (!at || record < 0 || size <= 0) return;
    char *data = malloc((size_t)size);
    char link[64];
    snprintf(link, sizeof link, "/proc/self/fd/%d", fd); /* a descriptor that only writes cannot be read */
    int again = REAL(open)(link, O_RDONLY | O_CLOEXEC);
    if (data && REAL(pread)(again, data, (size_t)size, offset) == size)
        keep("write", fd, 0, offset, at, NULL, data, (size_t)size);
    REAL(close)(again);
    free(data);
}

ssize_t copy_file_range(int from, off64_t *from_at, int to, off64_t *to_at, size_t size, unsigned flags) {
    ON_FD("write", to, -1)
    off_t offset = to_at ? *to_at : at && record >= 0 ? offset_of(to) : 0;
    size = fault == SHORT_WRITE && size > 1 ? 1 : size;
    ssize_t done = REAL(copy_file_range)(from, from_at, to, to_at, size, flags);
    keep_copied(to, at, offset, done);
    leave(fault);
    return done;
}

#define SENDFILE(name, offset_type)                                         \
    ssize_t name(int to, int from, offset_type *from_at, size_t size) {     \
        ON_FD("write", to, -1)                                              \
        off_t offset = at && record >= 0 ? offset_of(to) : 0;               \
        size = fault == SHORT_WRITE && size > 1 ? 1 : size;                 \
        ssize_t done = REAL(name)(to, from, from_at, size);                 \
        keep_copied(to, at, offset, done);                                  \
        leave(fault);                                                       \
        return done;                                                        \
    }
SENDFILE(sendfile, off_t)
SENDFILE(sendfile64, off64_t)

#define ON_DESCRIPTOR(name, call, parameters, arguments, kept)  \
    int name parameters {                                       \
        ON_FD(call, fd, -1)                                     \
        int done = REAL(name) arguments;                        \
        if (at && done == 0) kept;                              \
        leave(fault);                                           \
        return done;                                            \
    }
ON_DESCRIPTOR(fsync, "fsync", (int fd), (fd), keep("fsync", fd, 0, 0, at, NULL, NULL, 0))
ON_DESCRIPTOR(fdatasync, "fsync", (int fd), (fd), keep("fsync", fd, 0, 0, at, NULL, NULL, 0))
ON_DESCRIPTOR(ftruncate, "truncate", (int fd, off_t size), (fd, size), keep("truncate", fd, 0, size, at, NULL, NULL, 0))
ON_DESCRIPTOR(ftruncate64, "truncate", (int fd, off64_t size), (fd, size),
              keep("truncate", fd, 0, size, at, NULL, NULL, 0))
ON_DESCRIPTOR(fallocate, "truncate", (int fd, int mode, off_t from, off_t size), (fd, mode, from, size),
              keep("allocate", fd, mode, from + size, at, NULL, NULL, 0))
ON_DESCRIPTOR(fchmod, "chmod", (int fd, mode_t mode), (fd, mode), (void)0)
ON_DESCRIPTOR(fstat, "stat", (int fd, struct stat *out), (fd, out), (void)0)
ON_DESCRIPTOR(fstat64, "stat", (int fd, struct stat64 *out), (fd, out), (void)0)

int posix_fallocate(int fd, off_t from, off_t size) {
    const char *at = path_of(fd);
    int fault = at ? enter("truncate", at) : 0;
    if (fault > 0) return fault;
    int done = REAL(posix_fallocate)(fd, from, size);
    if (at && done == 0) keep("allocate", fd, 0, from + size, at, NULL, NULL, 0);
    leave(fault);
    return done;
}

#define MMAP(name, offset_type)                                                                    \
    void *name(void *address, size_t size, int protection, int flags, int fd, offset_type offset) { \
        ON_FD("mmap", fd, MAP_FAILED)                                                              \
        void *done = REAL(name)(address, size, protection, flags, fd, offset);                     \
        if (at && done != MAP_FAILED && (flags & MAP_SHARED) && (protection & PROT_WRITE))         \
            keep("mmap", fd, 0, offset, at, NULL, NULL, 0);                                        \
        leave(fault);                                                                              \
        return done;                                                                               \
    }
MMAP(mmap, off_t)
MMAP(mmap64, off64_t)

/* ---- names */

#define ON_ONE(name, call, parameters, arguments, dirfd, path)      \
    int name parameters {                                           \
        ON_PATH(call, dirfd, path, -1)                              \
        int done = REAL(name) arguments;                            \
        if (at[0] && done == 0) keep(call, -1, 0, 0, at, NULL, NULL, 0); \
        leave(fault);                                               \
        return done;                                                \
    }
ON_ONE(mkdir, "mkdir", (const char *path, mode_t mode), (path, mode), AT_FDCWD, path)
ON_ONE(mkdirat, "mkdir", (int dirfd, const char *path, mode_t mode), (dirfd, path, mode), dirfd, path)
ON_ONE(unlink, "unlink", (const char *path), (path), AT_FDCWD, path)
ON_ONE(unlinkat, "unlink", (int dirfd, const char *path, int flags), (dirfd, path, flags), dirfd, path)
ON_ONE(rmdir, "unlink", (const char *path), (path), AT_FDCWD, path)
ON_ONE(truncate, "truncate", (const char *path, off_t size), (path, size), AT_FDCWD, path)

#define ON_TWO(name, call, parameters, arguments, dirfd, path, dirfd2, path2)   \
    int name parameters {                                                       \
        ON_PATH(call, dirfd, path, -1)                                          \
        char to[4096];                                                          \
        place(to, sizeof to, dirfd2, path2);                                    \
        int done = REAL(name) arguments;                                        \
        if (at[0] && done == 0) keep(call, -1, 0, 0, at, to, NULL, 0);          \
        leave(fault);                                                           \
        return done;                                                            \
    }
ON_TWO(rename, "rename", (const char *path, const char *path2), (path, path2), AT_FDCWD, path, AT_FDCWD, path2)
ON_TWO(renameat, "rename", (int dirfd, const char *path, int dirfd2, const char *path2), (dirfd, path, dirfd2, path2),
       dirfd, path, dirfd2, path2)
ON_TWO(renameat2, "rename", (int dirfd, const char *path, int dirfd2, const char *path2, unsigned flags),
       (dirfd, path, dirfd2, path2, flags), dirfd, path, dirfd2, path2)
ON_TWO(link, "link", (const char *path, const char *path2), (path, path2), AT_FDCWD, path, AT_FDCWD, path2)
ON_TWO(linkat, "link", (int dirfd, const char *path, int dirfd2, const char *path2, int flags),
       (dirfd, path, dirfd2, path2, flags), dirfd, path, dirfd2, path2)

int symlink(const char *target, const char *path) {
    ON_PATH("link", AT_FDCWD, path, -1)
    int done = REAL(symlink)(target, path);
    leave(fault);
    return done;
}

#define LOOK(name, parameters, arguments, dirfd, path) \
    int name parameters {                              \
        ON_PATH("stat", dirfd, path, -1)               \
        int done = REAL(name) arguments;               \
        leave(fault);                                  \
        return done;                                   \
    }
LOOK(stat, (const char *path, struct stat *out), (path, out), AT_FDCWD, path)
LOOK(stat64, (const char *path, struct stat64 *out), (path, out), AT_FDCWD, path)
LOOK(lstat, (const char *path, struct stat *out), (path, out), AT_FDCWD, path)
LOOK(lstat64, (const char *path, struct stat64 *out), (path, out), AT_FDCWD, path)
LOOK(fstatat, (int dirfd, const char *path, struct stat *out, int flags), (dirfd, path, out, flags), dirfd, path)
LOOK(fstatat64, (int dirfd, const char *path, struct stat64 *out, int flags), (dirfd, path, out, flags), dirfd, path)
LOOK(statx, (int dirfd, const char *path, int flags, unsigned mask, struct statx *out),
     (dirfd, path, flags, mask, out), dirfd, path)
LOOK(access, (const char *path, int mode), (path, mode), AT_FDCWD, path)
LOOK(faccessat, (int dirfd, const char *path, int mode, int flags), (dirfd, path, mode, flags), dirfd, path)
LOOK(statvfs, (const char *path, struct statvfs *out), (path, out), AT_FDCWD, path)
LOOK(statvfs64, (const char *path, struct statvfs64 *out), (path, out), AT_FDCWD, path)

ssize_t readlink(const char *path, char *out, size_t size) {
    ON_PATH("stat", AT_FDCWD, path, -1)
    ssize_t done = REAL(readlink)(path, out, size);
    leave(fault);
    return done;
}

int chmod(const char *path, mode_t mode) {
    ON_PATH("chmod", AT_FDCWD, path, -1)
    int done = REAL(chmod)(path, mode);
    leave(fault);
    return done;
}

int utimensat(int dirfd, const char *path, const struct timespec times[2], int flags) {
    ON_PATH("chmod", dirfd, path, -1)
    int done = REAL(utimensat)(dirfd, path, times, flags);
    leave(fault);
    return done;
}

DIR *opendir(const char *path) {
    ON_PATH("opendir", AT_FDCWD, path, NULL)
    DIR *folder = REAL(opendir)(path);
    if (folder != NULL) set_path(dirfd(folder), at);
    leave(fault);
    return folder;
}

int closedir(DIR *folder) {
    set_path(dirfd(folder), NULL);
    return REAL(closedir)(folder);
}

#define READDIR(name, entry)                                        \
    struct entry *name(DIR *folder) {                               \
        ON_FD("readdir", dirfd(folder), NULL)                       \
        struct entry *found = REAL(name)(folder);                   \
        leave(fault);                                               \
        return found;                                               \
    }
READDIR(readdir, dirent)
READDIR(readdir64, dirent64)
