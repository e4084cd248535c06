/* The simulated node as a text file describes it, and the beginning of every call of the library. */
#ifndef STATE_H
#define STATE_H

#include <nvml.h>
#include <stdbool.h>

enum { GPUS = 32, MIGS = 8, PROCESSES = 16, FAILURES = 512, TEXT = 96 };

typedef struct {
    unsigned pid, gi, ci;
    bool graphics; /* a graphics process, not a compute process */
    unsigned long long bytes;
    char name[TEXT];
} Process;

typedef struct {
    char uuid[TEXT], profile[32];
    unsigned index, gi, ci, gpu_slices, compute_slices;
    unsigned long long memory;
} Mig;

typedef struct {
    char uuid[TEXT], name[TEXT], pci[32];
    unsigned minor, cc_major, cc_minor, links, ancestor[GPUS], peer_links[GPUS];
    bool mig, switched, no_xids, remap_failed, remap_pending, retired_pending;
    unsigned fabric, fabric_status, fabric_mask, fabric_summary, pcie_width, pcie_max, temperature, slowdown;
    unsigned long long links_down, links_asleep; /* one bit for each link */
    unsigned long long memory, used, ecc_volatile, ecc_aggregate, recovery;
    unsigned compute_mode, power, power_default, accounting;
    unsigned migs, processes;
    Mig mig_devices[MIGS];
    Process process[PROCESSES];
} Gpu;

typedef struct {
    int gpu; /* -1: calls about any GPU, or none */
    char function[64];
    int code; /* -1: the call hangs; below -1: it takes this many milliseconds */
} Failure;

typedef struct {
    char driver[32];
    unsigned cuda, gpus, failures;
    Gpu gpu[GPUS];
    Failure failure[FAILURES];
} State;

extern State state;

/* The target of a device's handle, which stays the same when other devices appear and disappear. */
struct nvmlDevice_st {
    char uuid[TEXT];
};

/* Begins a call: waits while the call has to hang, and takes the lock, which is held only with NVML_SUCCESS. */
nvmlReturn_t enter(const char *function);
/* Begins a call about a device in the same way, and finds the device. */
nvmlReturn_t enter_device(const char *function, nvmlDevice_t device, Gpu **gpu, Mig **mig);
/* Returns whether a call has to fail for a GPU that was found by other means. */
nvmlReturn_t failure_of(const char *function, int gpu);
nvmlReturn_t leave(nvmlReturn_t code);
nvmlReturn_t leave_text(char *to, unsigned size, const char *text);
nvmlDevice_t handle_of(const char *uuid);
/* Records what a call changes, for other processes and for the test. */
void note(const Gpu *gpu, const char *key, unsigned long long value);
const char *events_path(void);
extern unsigned sessions;

#define ENTER()            \
    do {                                                                                                              \
        nvmlReturn_t code_ = enter(__func__);                                                             \
        if (code_ != NVML_SUCCESS) return code_;                                                                      \
    } while (0)

#define ENTER_DEVICE(device)                                                                                          \
    Gpu *gpu = NULL;                                                                                                  \
    Mig *mig = NULL;                                                                                                  \
    do {                                                                                                              \
        nvmlReturn_t code_ = enter_device(__func__, device, &gpu, &mig);                                              \
        if (code_ != NVML_SUCCESS) return code_;                                                                      \
        (void)mig;                                                                                                    \
    } while (0)

#define REQUIRE(condition, code)                                                                                      \
    do {                                                                                                              \
        if (!(condition)) return leave(code);                                                                         \
    } while (0)

#endif
