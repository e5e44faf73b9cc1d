/* Makes the Nth request for memory of this process fail: built and preloaded by memory.py.

   Seen are the calls of the C library that cross a library's border: posix_memalign and its kin (torch, oneDNN), malloc,
   calloc and realloc (numpy, Pillow, matplotlib, Rust's and C++'s allocators, Python's large objects), mmap (files that
   are mapped, Python's arenas), pthread_create and fork. Not seen: what the C library asks of itself (the buffer of
   fopen, the stack of a thread), and system calls made without it. */

#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stddef.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

enum { TENSOR = 1, ALIGNED = 2, HEAP = 4, MAPPED = 8, THREAD = 16, FORK = 32 };

static atomic_int kinds;         /* which are counted */
static atomic_long smallest;     /* requests below this many bytes are not counted */
static atomic_long first, last;  /* those that fail, counted from 1; 0: none */
static atomic_long counted, failed;

void allocations_arm(int wanted, long bytes, long from, long to) {
    atomic_store(&kinds, 0);
    atomic_store(&smallest, bytes);
    atomic_store(&first, from);
    atomic_store(&last, to);
    atomic_store(&counted, 0);
    atomic_store(&failed, 0);
    atomic_store(&kinds, wanted);
}

void allocations_rest(void) { atomic_store(&kinds, 0); }
long allocations_counted(void) { return atomic_load(&counted); }
long allocations_failed(void) { return atomic_load(&failed); }

static int must_fail(int kind, size_t bytes) {
    if (!(atomic_load(&kinds) & kind) || bytes < (size_t)atomic_load(&smallest)) return 0;
    long number = atomic_fetch_add(&counted, 1) + 1;
    if (number < atomic_load(&first) || number > atomic_load(&last)) return 0;
    atomic_fetch_add(&failed, 1);
    return 1;
}

/* torch's own allocator, c10::alloc_cpu, is in a library of its own; oneDNN, which asks in the same way, is not. */
static int aligned_kind(void *caller) {
    Dl_info from;
    return dladdr(caller, &from) && from.dli_fname && strstr(from.dli_fname, "libc10") ? TENSOR : ALIGNED;
}

/* dlsym itself asks for memory, before the real calloc is known: that comes from here and is never given back. */
static char early[65536];
static atomic_size_t taken;

static void *from_early(size_t bytes) {
    size_t start = atomic_fetch_add(&taken, (bytes + 15) & ~(size_t)15);
    return start + bytes > sizeof early ? NULL : early + start;
}

static int is_early(void *place) { return (char *)place >= early && (char *)place < early + sizeof early; }

#define REAL(name) \
    static __typeof__(&name) real; \
    if (!real) real = (__typeof__(&name))dlsym(RTLD_NEXT, #name)

void *malloc(size_t bytes) {
    REAL(malloc);
    if (must_fail(HEAP, bytes)) { errno = ENOMEM; return NULL; }
    return real(bytes);
}

void *calloc(size_t count, size_t size) {
    static __thread int looking;
    static __typeof__(&calloc) real;
    if (!real) {
        if (looking) return from_early(count * size);
        looking = 1;
        real = (__typeof__(&calloc))dlsym(RTLD_NEXT, "calloc");
        looking = 0;
    }
    if (must_fail(HEAP, count * size)) { errno = ENOMEM; return NULL; }
    return real(count, size);
}

void *realloc(void *place, size_t bytes) {
    REAL(realloc);
    if (is_early(place)) {
        size_t left = (size_t)(early + sizeof early - (char *)place);
        void *moved = malloc(bytes);
        if (moved) memcpy(moved, place, bytes < left ? bytes : left);
        return moved;
    }
    if (must_fail(HEAP, bytes)) { errno = ENOMEM; return NULL; }
    return real(place, bytes);
}

void free(void *place) {
    REAL(free);
    if (!is_early(place)) real(place);
}

int posix_memalign(void **place, size_t alignment, size_t bytes) {
    REAL(posix_memalign);
    int kind = atomic_load(&kinds) ? aligned_kind(__builtin_return_address(0)) : ALIGNED;
    return must_fail(kind, bytes) ? ENOMEM : real(place, alignment, bytes);
}

void *aligned_alloc(size_t alignment, size_t bytes) {
    REAL(aligned_alloc);
    if (must_fail(ALIGNED, bytes)) { errno = ENOMEM; return NULL; }
    return real(alignment, bytes);
}

void *memalign(size_t alignment, size_t bytes) {
    static void *(*real)(size_t, size_t);
    if (!real) real = (void *(*)(size_t, size_t))dlsym(RTLD_NEXT, "memalign");
    if (must_fail(ALIGNED, bytes)) { errno = ENOMEM; return NULL; }
    return real(alignment, bytes);
}

void *mmap(void *place, size_t bytes, int protection, int flags, int file, off_t offset) {
    REAL(mmap);
    if (must_fail(MAPPED, bytes)) { errno = ENOMEM; return MAP_FAILED; }
    return real(place, bytes, protection, flags, file, offset);
}

void *mmap64(void *place, size_t bytes, int protection, int flags, int file, off_t offset) {
    return mmap(place, bytes, protection, flags, file, offset);
}

int pthread_create(pthread_t *thread, const pthread_attr_t *with, void *(*start)(void *), void *given) {
    REAL(pthread_create);
    return must_fail(THREAD, (size_t)-1) ? EAGAIN : real(thread, with, start, given);
}

pid_t fork(void) {
    REAL(fork);
    if (must_fail(FORK, (size_t)-1)) { errno = ENOMEM; return -1; }
    return real();
}

/* A vfork may not return from a function that calls it, so a fork stands in for it. */
pid_t vfork(void) { return fork(); }
