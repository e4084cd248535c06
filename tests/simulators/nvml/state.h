/* The simulated node as a text file says it, and what every call of the library begins with. */
#ifndef STATE_H
#define STATE_H

#include <nvml.h>
#include <stdbool.h>

enum { GPUS = 32, MIGS = 8, PROCESSES = 16, FAILURES = 512, TEXT = 96 };

typedef struct {
    unsigned pid, gi, ci;
    bool graphics; /* instead of computing */
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
    unsigned long long links_down, links_asleep; /* a bit for each link */
    unsigned long long memory, used, ecc_volatile, ecc_aggregate, recovery;
    unsigned compute_mode, power, power_default, accounting;
    unsigned migs, processes;
    Mig mig_devices[MIGS];
    Process process[PROCESSES];
} Gpu;

typedef struct {
    int gpu; /* -1: every call */
    char function[64];
    int code; /* -1: it hangs; less: it takes this many milliseconds */
} Failure;

typedef struct {
    char driver[32];
    unsigned cuda, gpus, failures;
    Gpu gpu[GPUS];
    Failure failure[FAILURES];
} State;

extern State state;

/* A device's handle points here; it stays the same device's when others come and go. */
struct nvmlDevice_st {
    char uuid[TEXT];
};

/* Begin a call: wait while it is to hang, and take the lock. Without NVML_SUCCESS the lock is not held. */
nvmlReturn_t enter(const char *function);
/* The same for a call about a device; finds it. */
nvmlReturn_t enter_device(const char *function, nvmlDevice_t device, Gpu **gpu, Mig **mig);
/* Whether a call about a GPU that was found by other means is to fail. */
nvmlReturn_t failure_of(const char *function, int gpu);
nvmlReturn_t leave(nvmlReturn_t code);
nvmlReturn_t leave_text(char *to, unsigned size, const char *text);
nvmlDevice_t handle_of(const char *uuid);
/* What a call changes: for the other processes too, and for the test to look at. */
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
