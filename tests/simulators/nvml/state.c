#define _GNU_SOURCE
#include "state.h"

#include <dlfcn.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>

State state;
unsigned sessions;
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static struct stat seen_state, seen_notes;
static struct nvmlDevice_st handles[256];
static unsigned handle_count;

/* The root directory of the node is the one in which the library is at usr/lib/x86_64-linux-gnu. */
static const char *path(const char *suffix) {
    static __thread char text[4096];
    Dl_info self = {0};
    const char *base = getenv("NVML_SIMULATOR");
    dladdr((void *)(size_t)path, &self);
    const char *place = self.dli_fname ? strstr(self.dli_fname, "usr/lib/") : NULL;
    if (base || !place) snprintf(text, sizeof text, "%s%s", base ? base : "/nonexistent", suffix);
    else snprintf(text, sizeof text, "%.*ssimulator/nvml%s", (int)(place - self.dli_fname), self.dli_fname, suffix);
    return text;
}

const char *events_path(void) { return path(".events"); }

static bool changed(const char *name, struct stat *seen) {
    struct stat now = {0};
    stat(name, &now);
    bool other = now.st_ino != seen->st_ino || now.st_size != seen->st_size ||
                 now.st_mtim.tv_nsec != seen->st_mtim.tv_nsec || now.st_mtim.tv_sec != seen->st_mtim.tv_sec;
    *seen = now;
    return other;
}

static void read_list(Gpu *gpu, const char *key, const char *text) {
    unsigned other, value;
    if (!strcmp(key, "ancestor") && sscanf(text, "%u %u", &other, &value) == 2 && other < GPUS)
        gpu->ancestor[other] = value;
    else if (!strcmp(key, "peer_links") && sscanf(text, "%u %u", &other, &value) == 2 && other < GPUS)
        gpu->peer_links[other] = value;
    else if ((!strcmp(key, "process") || !strcmp(key, "graphics")) && gpu->processes < PROCESSES) {
        Process *p = &gpu->process[gpu->processes++];
        p->graphics = key[0] == 'g';
        sscanf(text, "%u %llu %u %u %95s", &p->pid, &p->bytes, &p->gi, &p->ci, p->name);
    } else if (!strcmp(key, "migdev") && gpu->migs < MIGS) {
        Mig *m = &gpu->mig_devices[gpu->migs++];
        sscanf(text, "%u %95s %31s %u %u %u %u %llu", &m->index, m->uuid, m->profile, &m->gi, &m->ci, &m->gpu_slices,
               &m->compute_slices, &m->memory);
    }
}

static void read_gpu(Gpu *gpu, const char *key, const char *text) {
    unsigned long long value = strtoull(text, NULL, 10);
    if (!strcmp(key, "uuid")) snprintf(gpu->uuid, TEXT, "%s", text);
    else if (!strcmp(key, "name")) snprintf(gpu->name, TEXT, "%s", text);
    else if (!strcmp(key, "pci")) snprintf(gpu->pci, sizeof gpu->pci, "%.31s", text);
    else if (!strcmp(key, "minor")) gpu->minor = value;
    else if (!strcmp(key, "cc")) sscanf(text, "%u.%u", &gpu->cc_major, &gpu->cc_minor);
    else if (!strcmp(key, "links")) gpu->links = value;
    else if (!strcmp(key, "switched")) gpu->switched = value;
    else if (!strcmp(key, "mig")) gpu->mig = value;
    else if (!strcmp(key, "memory")) gpu->memory = value;
    else if (!strcmp(key, "used")) gpu->used = value;
    else if (!strcmp(key, "ecc_volatile")) gpu->ecc_volatile = value;
    else if (!strcmp(key, "ecc_aggregate")) gpu->ecc_aggregate = value;
    else if (!strcmp(key, "remap_failed")) gpu->remap_failed = value;
    else if (!strcmp(key, "remap_pending")) gpu->remap_pending = value;
    else if (!strcmp(key, "retired_pending")) gpu->retired_pending = value;
    else if (!strcmp(key, "no_xids")) gpu->no_xids = value;
    else if (!strcmp(key, "fabric")) gpu->fabric = value;
    else if (!strcmp(key, "fabric_status")) gpu->fabric_status = value;
    else if (!strcmp(key, "fabric_mask")) gpu->fabric_mask = value;
    else if (!strcmp(key, "fabric_summary")) gpu->fabric_summary = value;
    else if (!strcmp(key, "pcie_width")) gpu->pcie_width = value;
    else if (!strcmp(key, "pcie_max")) gpu->pcie_max = value;
    else if (!strcmp(key, "temperature")) gpu->temperature = value;
    else if (!strcmp(key, "slowdown")) gpu->slowdown = value;
    else if (!strcmp(key, "links_down")) gpu->links_down = value;
    else if (!strcmp(key, "links_asleep")) gpu->links_asleep = value;
    else if (!strcmp(key, "recovery")) gpu->recovery = value;
    else if (!strcmp(key, "compute_mode")) gpu->compute_mode = value;
    else if (!strcmp(key, "power")) gpu->power = value;
    else if (!strcmp(key, "power_default")) gpu->power_default = value;
    else if (!strcmp(key, "accounting")) gpu->accounting = value;
    else read_list(gpu, key, text);
}

static void read_line(char *line) {
    int number, code;
    char key[64], function[64];
    int at = 0;
    line[strcspn(line, "\n")] = 0;
    if (sscanf(line, "gpu %d %63s %n", &number, key, &at) == 2 && at && number >= 0 && number < GPUS) {
        if ((unsigned)number >= state.gpus) state.gpus = number + 1;
        read_gpu(&state.gpu[number], key, line + at);
    } else if (sscanf(line, "fail %d %63s %d", &number, function, &code) == 3 && state.failures < FAILURES) {
        Failure *failure = &state.failure[state.failures++];
        failure->gpu = number;
        failure->code = code;
        snprintf(failure->function, sizeof failure->function, "%s", function);
    } else if (sscanf(line, "heal %d", &number) == 1) {
        for (unsigned i = 0; i < state.failures; i++)
            if (state.failure[i].gpu == number) state.failure[i].gpu = -2;
    } else {
        sscanf(line, "driver %31s %u", state.driver, &state.cuda);
    }
}

static void read_file(const char *name) {
    char line[512];
    FILE *file = fopen(name, "re");
    if (!file) return;
    while (fgets(line, sizeof line, file)) read_line(line);
    fclose(file);
}

static void refresh(void) {
    bool other = changed(path(""), &seen_state);
    other = changed(path(".notes"), &seen_notes) || other;
    if (!other) return;
    memset(&state, 0, sizeof state);
    read_file(path(""));
    read_file(path(".notes"));
}

nvmlReturn_t failure_of(const char *function, int gpu) {
    for (unsigned i = 0; i < state.failures; i++) {
        Failure *failure = &state.failure[i];
        bool same = !strcmp(failure->function, "*") || !strcmp(failure->function, function);
        if (same && (failure->gpu == gpu || failure->gpu == -1)) return failure->code;
    }
    return NVML_SUCCESS;
}

/* Waits as long as a call has to hang; afterwards, the lock is held and the state is current. */
static nvmlReturn_t begin(const char *function, int (*gpu_of)(const void *), const void *device) {
    struct timespec moment = {0, 2000000};
    for (;;) {
        pthread_mutex_lock(&lock);
        refresh();
        int code = failure_of(function, gpu_of ? gpu_of(device) : -1);
        if (code >= 0) return code;
        pthread_mutex_unlock(&lock);
        if (code < -1) {
            struct timespec delay = {-code / 1000, -code % 1000 * 1000000};
            nanosleep(&delay, NULL);
            pthread_mutex_lock(&lock);
            return NVML_SUCCESS;
        }
        nanosleep(&moment, NULL);
    }
}

static bool needs_no_session(const char *function) {
    return !strncmp(function, "nvmlInit", 8) || !strcmp(function, "nvmlShutdown");
}

static nvmlReturn_t checked(const char *function, nvmlReturn_t code) {
    if (code == NVML_SUCCESS && !sessions && !needs_no_session(function)) code = NVML_ERROR_UNINITIALIZED;
    if (code != NVML_SUCCESS) pthread_mutex_unlock(&lock);
    return code;
}

nvmlReturn_t enter(const char *function) {
    return checked(function, begin(function, NULL, NULL));
}

static int find(const char *uuid, Mig **mig) {
    for (unsigned i = 0; i < state.gpus; i++) {
        if (!strcmp(state.gpu[i].uuid, uuid)) return i;
        for (unsigned j = 0; j < state.gpu[i].migs; j++)
            if (!strcmp(state.gpu[i].mig_devices[j].uuid, uuid)) {
                if (mig) *mig = &state.gpu[i].mig_devices[j];
                return i;
            }
    }
    return -2;
}

static int gpu_of(const void *device) { return device ? find(((nvmlDevice_t)device)->uuid, NULL) : -2; }

nvmlReturn_t enter_device(const char *function, nvmlDevice_t device, Gpu **gpu, Mig **mig) {
    nvmlReturn_t code = checked(function, begin(function, gpu_of, device));
    if (code != NVML_SUCCESS) return code;
    if (!device) return leave(NVML_ERROR_INVALID_ARGUMENT);
    int number = find(device->uuid, mig);
    if (number < 0) return leave(NVML_ERROR_GPU_IS_LOST);
    *gpu = &state.gpu[number];
    return NVML_SUCCESS;
}

nvmlReturn_t leave(nvmlReturn_t code) {
    pthread_mutex_unlock(&lock);
    return code;
}

nvmlReturn_t leave_text(char *to, unsigned size, const char *text) {
    if (!to) return leave(NVML_ERROR_INVALID_ARGUMENT);
    if (strlen(text) >= size) return leave(NVML_ERROR_INSUFFICIENT_SIZE);
    strcpy(to, text);
    return leave(NVML_SUCCESS);
}

nvmlDevice_t handle_of(const char *uuid) {
    for (unsigned i = 0; i < handle_count; i++)
        if (!strcmp(handles[i].uuid, uuid)) return &handles[i];
    if (handle_count == sizeof handles / sizeof *handles) return NULL;
    snprintf(handles[handle_count].uuid, TEXT, "%s", uuid);
    return &handles[handle_count++];
}

void note(const Gpu *gpu, const char *key, unsigned long long value) {
    FILE *file = fopen(path(".notes"), "ae");
    if (!file) return;
    fprintf(file, "gpu %d %s %llu\n", (int)(gpu - state.gpu), key, value);
    fclose(file);
}
