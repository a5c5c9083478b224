/* Loaded before the system's library, it answers for the clock on the wall, and for no other. That clock is off by
 * CLOCK_AHEAD_S seconds, or by the number in the file CLOCK_AHEAD_FILE, which may change at any time. */
#define _GNU_SOURCE
#include <fcntl.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>

static const volatile int64_t *dial;
static int64_t fixed;

__attribute__((constructor)) static void begin(void) {
    const char *seconds = getenv("CLOCK_AHEAD_S"), *path = getenv("CLOCK_AHEAD_FILE");
    if (seconds) fixed = atol(seconds);
    if (path) {
        int file = open(path, O_RDONLY);
        void *mapped = mmap(NULL, sizeof *dial, PROT_READ, MAP_SHARED, file, 0);
        if (file < 0 || mapped == MAP_FAILED) abort();
        dial = mapped;
        close(file);
    }
}

int clock_gettime(clockid_t id, struct timespec *now) {
    int failed = (int)syscall(SYS_clock_gettime, id, now);
    if (!failed && (id == CLOCK_REALTIME || id == CLOCK_REALTIME_COARSE)) now->tv_sec += dial ? *dial : fixed;
    return failed;
}

int gettimeofday(struct timeval *restrict now, void *restrict zone) {
    struct timespec precise;
    (void)zone;
    if (clock_gettime(CLOCK_REALTIME, &precise)) return -1;
    now->tv_sec = precise.tv_sec;
    now->tv_usec = precise.tv_nsec / 1000;
    return 0;
}

time_t time(time_t *out) {
    struct timespec now;
    if (clock_gettime(CLOCK_REALTIME, &now)) return -1;
    if (out) *out = now.tv_sec;
    return now.tv_sec;
}
