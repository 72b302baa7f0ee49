/* Preloaded into a server: its wall clock is as many seconds ahead as the file CLOCK_FILE says. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/time.h>

int gettimeofday(struct timeval *now, void *zone)
{
        static int (*real)(struct timeval *, void *);
        if (!real)
                *(void **)&real = dlsym(RTLD_NEXT, "gettimeofday");
        int r = real(now, zone);
        long ahead = 0;
        FILE *file = fopen(getenv("CLOCK_FILE"), "re");
        if (file && fscanf(file, "%ld", &ahead) == 1)
                now->tv_sec += ahead;
        if (file)
                fclose(file);
        return r;
}
