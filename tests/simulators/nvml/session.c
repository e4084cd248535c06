/* The library, the system, and events. */
#include "state.h"

#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/inotify.h>
#include <time.h>
#include <unistd.h>

nvmlReturn_t nvmlInitWithFlags(unsigned flags) {
    (void)flags;
    ENTER();
    REQUIRE(state.driver[0], NVML_ERROR_DRIVER_NOT_LOADED);
    sessions++;
    return leave(NVML_SUCCESS);
}

nvmlReturn_t nvmlInit_v2(void) { return nvmlInitWithFlags(0); }

nvmlReturn_t nvmlShutdown(void) {
    ENTER();
    REQUIRE(sessions, NVML_ERROR_UNINITIALIZED);
    sessions--;
    return leave(NVML_SUCCESS);
}

const char *nvmlErrorString(nvmlReturn_t code) {
    switch (code) {
    case NVML_SUCCESS: return "Success";
    case NVML_ERROR_UNINITIALIZED: return "Uninitialized";
    case NVML_ERROR_NOT_SUPPORTED: return "Not Supported";
    case NVML_ERROR_DRIVER_NOT_LOADED: return "Driver Not Loaded";
    case NVML_ERROR_GPU_IS_LOST: return "GPU is lost";
    case NVML_ERROR_LIB_RM_VERSION_MISMATCH: return "Driver/library version mismatch";
    default: return "Another Error";
    }
}

nvmlReturn_t nvmlSystemGetDriverVersion(char *version, unsigned length) {
    ENTER();
    return leave_text(version, length, state.driver);
}

nvmlReturn_t nvmlSystemGetCudaDriverVersion_v2(int *version) {
    ENTER();
    REQUIRE(version, NVML_ERROR_INVALID_ARGUMENT);
    *version = state.cuda;
    return leave(NVML_SUCCESS);
}

nvmlReturn_t nvmlSystemGetProcessName(unsigned pid, char *name, unsigned length) {
    ENTER();
    for (unsigned i = 0; i < state.gpus; i++)
        for (unsigned j = 0; j < state.gpu[i].processes; j++)
            if (state.gpu[i].process[j].pid == pid) return leave_text(name, length, state.gpu[i].process[j].name);
    return leave(NVML_ERROR_NOT_FOUND);
}

/* An event set reads the file of events from the end that the file had when the set was created. */
struct nvmlEventSet_st {
    long position;
    int inotify;
    unsigned count;
    char uuid[GPUS][TEXT];
};

nvmlReturn_t nvmlEventSetCreate(nvmlEventSet_t *set) {
    ENTER();
    REQUIRE(set, NVML_ERROR_INVALID_ARGUMENT);
    *set = calloc(1, sizeof **set);
    (*set)->inotify = inotify_init1(IN_NONBLOCK | IN_CLOEXEC);
    int file = open(events_path(), O_RDONLY | O_CREAT | O_CLOEXEC, 0600);
    (*set)->position = lseek(file, 0, SEEK_END);
    close(file);
    inotify_add_watch((*set)->inotify, events_path(), IN_MODIFY);
    return leave(NVML_SUCCESS);
}

nvmlReturn_t nvmlDeviceGetSupportedEventTypes(nvmlDevice_t device, unsigned long long *types) {
    ENTER_DEVICE(device);
    REQUIRE(types, NVML_ERROR_INVALID_ARGUMENT);
    *types = nvmlEventTypeDoubleBitEccError | nvmlEventTypeSingleBitEccError;
    if (!gpu->no_xids) *types |= nvmlEventTypeXidCriticalError;
    return leave(NVML_SUCCESS);
}

nvmlReturn_t nvmlDeviceRegisterEvents(nvmlDevice_t device, unsigned long long types, nvmlEventSet_t set) {
    ENTER_DEVICE(device);
    REQUIRE(set && types, NVML_ERROR_INVALID_ARGUMENT);
    REQUIRE(!mig && !(types & nvmlEventTypeXidCriticalError && gpu->no_xids), NVML_ERROR_NOT_SUPPORTED);
    for (unsigned i = 0; i < set->count; i++) REQUIRE(strcmp(set->uuid[i], gpu->uuid), NVML_SUCCESS);
    REQUIRE(set->count < GPUS, NVML_ERROR_INSUFFICIENT_RESOURCES);
    snprintf(set->uuid[set->count++], TEXT, "%s", gpu->uuid);
    return leave(NVML_SUCCESS);
}

static bool next_event(nvmlEventSet_t set, nvmlEventData_t *data) {
    char line[256], uuid[TEXT];
    bool found = false;
    FILE *file = fopen(events_path(), "re");
    if (!file) return false;
    fseek(file, set->position, SEEK_SET);
    while (!found && fgets(line, sizeof line, file) && strchr(line, '\n')) {
        set->position = ftell(file);
        if (sscanf(line, "%95s %llu %llu %u %u", uuid, &data->eventType, &data->eventData, &data->gpuInstanceId,
                   &data->computeInstanceId) != 5)
            continue;
        for (unsigned i = 0; i < set->count; i++) found = found || !strcmp(set->uuid[i], uuid);
        data->device = handle_of(uuid);
    }
    fclose(file);
    return found;
}

static long milliseconds(void) {
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

nvmlReturn_t nvmlEventSetWait_v2(nvmlEventSet_t set, nvmlEventData_t *data, unsigned timeout) {
    long end = milliseconds() + timeout;
    for (;;) {
        ENTER();
        REQUIRE(set && data, NVML_ERROR_INVALID_ARGUMENT);
        if (next_event(set, data)) return leave(NVML_SUCCESS);
        leave(NVML_SUCCESS);
        long rest = end - milliseconds();
        if (rest <= 0) return NVML_ERROR_TIMEOUT;
        struct pollfd waiting = {set->inotify, POLLIN, 0};
        poll(&waiting, 1, rest);
        char events[4096];
        while (read(set->inotify, events, sizeof events) > 0) continue;
    }
}

nvmlReturn_t nvmlEventSetFree(nvmlEventSet_t set) {
    ENTER();
    REQUIRE(set, NVML_ERROR_INVALID_ARGUMENT);
    close(set->inotify);
    free(set);
    return leave(NVML_SUCCESS);
}
