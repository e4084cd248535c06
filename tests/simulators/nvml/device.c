/* The properties of a device, its partitions, and its connections. */
#include "state.h"

#include <stdio.h>
#include <string.h>

nvmlReturn_t nvmlDeviceGetCount_v2(unsigned *count) {
    ENTER();
    REQUIRE(count, NVML_ERROR_INVALID_ARGUMENT);
    *count = state.gpus;
    return leave(NVML_SUCCESS);
}

nvmlReturn_t nvmlDeviceGetHandleByIndex_v2(unsigned index, nvmlDevice_t *device) {
    ENTER();
    REQUIRE(device && index < state.gpus, NVML_ERROR_INVALID_ARGUMENT);
    nvmlReturn_t code = failure_of(__func__, index);
    REQUIRE((int)code <= 0, code);
    *device = handle_of(state.gpu[index].uuid);
    return leave(NVML_SUCCESS);
}

nvmlReturn_t nvmlDeviceGetHandleByUUID(const char *uuid, nvmlDevice_t *device) {
    ENTER();
    REQUIRE(uuid && device, NVML_ERROR_INVALID_ARGUMENT);
    for (unsigned i = 0; i < state.gpus; i++) {
        bool found = !strcmp(state.gpu[i].uuid, uuid);
        for (unsigned j = 0; j < state.gpu[i].migs; j++) found = found || !strcmp(state.gpu[i].mig_devices[j].uuid, uuid);
        if (!found) continue;
        nvmlReturn_t code = failure_of(__func__, i);
        REQUIRE((int)code <= 0, code);
        *device = handle_of(uuid);
        return leave(NVML_SUCCESS);
    }
    return leave(NVML_ERROR_NOT_FOUND);
}

nvmlReturn_t nvmlDeviceGetUUID(nvmlDevice_t device, char *uuid, unsigned length) {
    ENTER_DEVICE(device);
    return leave_text(uuid, length, device->uuid);
}

nvmlReturn_t nvmlDeviceGetName(nvmlDevice_t device, char *name, unsigned length) {
    ENTER_DEVICE(device);
    char text[2 * TEXT];
    snprintf(text, sizeof text, mig ? "%s MIG %s" : "%s", gpu->name, mig ? mig->profile : "");
    return leave_text(name, length, text);
}

#define NUMBER(function, type, value)                                                                                 \
    nvmlReturn_t function(nvmlDevice_t device, type *to) {                                                            \
        ENTER_DEVICE(device);                                                                                         \
        REQUIRE(to, NVML_ERROR_INVALID_ARGUMENT);                                                                     \
        *to = value;                                                                                                  \
        return leave(NVML_SUCCESS);                                                                                   \
    }

NUMBER(nvmlDeviceGetIndex, unsigned, mig ? mig->index : (unsigned)(gpu - state.gpu))
NUMBER(nvmlDeviceGetMinorNumber, unsigned, gpu->minor)
NUMBER(nvmlDeviceGetMaxMigDeviceCount, unsigned, 7)
NUMBER(nvmlDeviceIsMigDeviceHandle, unsigned, mig != NULL)
NUMBER(nvmlDeviceGetDeviceHandleFromMigDeviceHandle, nvmlDevice_t, handle_of(gpu->uuid))

nvmlReturn_t nvmlDeviceGetPciInfo_v3(nvmlDevice_t device, nvmlPciInfo_t *pci) {
    ENTER_DEVICE(device);
    REQUIRE(pci, NVML_ERROR_INVALID_ARGUMENT);
    memset(pci, 0, sizeof *pci);
    sscanf(gpu->pci, "%x:%x:%x", &pci->domain, &pci->bus, &pci->device);
    snprintf(pci->busId, sizeof pci->busId, "%08X:%02X:%02X.0", pci->domain, pci->bus, pci->device);
    pci->pciDeviceId = 0x233010DE;
    return leave(NVML_SUCCESS);
}

nvmlReturn_t nvmlDeviceGetMemoryInfo_v2(nvmlDevice_t device, nvmlMemory_v2_t *memory) {
    ENTER_DEVICE(device);
    REQUIRE(memory, NVML_ERROR_INVALID_ARGUMENT);
    REQUIRE(memory->version == nvmlMemory_v2, NVML_ERROR_ARGUMENT_VERSION_MISMATCH);
    memory->total = mig ? mig->memory : gpu->memory;
    memory->reserved = 500ull << 20;
    memory->used = gpu->used;
    memory->free = memory->total - memory->used - memory->reserved;
    return leave(NVML_SUCCESS);
}

/* This is the function before version 2, without the reserved memory. */
nvmlReturn_t nvmlDeviceGetMemoryInfo(nvmlDevice_t device, nvmlMemory_t *memory) {
    ENTER_DEVICE(device);
    REQUIRE(memory, NVML_ERROR_INVALID_ARGUMENT);
    memory->total = mig ? mig->memory : gpu->memory;
    memory->used = gpu->used;
    memory->free = memory->total - memory->used;
    return leave(NVML_SUCCESS);
}

nvmlReturn_t nvmlDeviceGetCudaComputeCapability(nvmlDevice_t device, int *major, int *minor) {
    ENTER_DEVICE(device);
    REQUIRE(major && minor, NVML_ERROR_INVALID_ARGUMENT);
    *major = gpu->cc_major;
    *minor = gpu->cc_minor;
    return leave(NVML_SUCCESS);
}

nvmlReturn_t nvmlDeviceGetMigMode(nvmlDevice_t device, unsigned *current, unsigned *pending) {
    ENTER_DEVICE(device);
    REQUIRE(current && pending, NVML_ERROR_INVALID_ARGUMENT);
    REQUIRE(gpu->cc_major >= 8, NVML_ERROR_NOT_SUPPORTED);
    *current = *pending = gpu->mig;
    return leave(NVML_SUCCESS);
}

nvmlReturn_t nvmlDeviceGetMigDeviceHandleByIndex(nvmlDevice_t device, unsigned index, nvmlDevice_t *to) {
    ENTER_DEVICE(device);
    REQUIRE(to, NVML_ERROR_INVALID_ARGUMENT);
    for (unsigned i = 0; gpu->mig && i < gpu->migs; i++)
        if (gpu->mig_devices[i].index == index) {
            *to = handle_of(gpu->mig_devices[i].uuid);
            return leave(NVML_SUCCESS);
        }
    return leave(NVML_ERROR_NOT_FOUND);
}

#define OF_MIG(function, value)                                                                                       \
    nvmlReturn_t function(nvmlDevice_t device, unsigned *to) {                                                        \
        ENTER_DEVICE(device);                                                                                         \
        REQUIRE(to, NVML_ERROR_INVALID_ARGUMENT);                                                                     \
        REQUIRE(mig, NVML_ERROR_NOT_SUPPORTED);                                                                       \
        *to = value;                                                                                                  \
        return leave(NVML_SUCCESS);                                                                                   \
    }

OF_MIG(nvmlDeviceGetGpuInstanceId, mig->gi)
OF_MIG(nvmlDeviceGetComputeInstanceId, mig->ci)

nvmlReturn_t nvmlDeviceGetAttributes_v2(nvmlDevice_t device, nvmlDeviceAttributes_t *attributes) {
    ENTER_DEVICE(device);
    REQUIRE(attributes, NVML_ERROR_INVALID_ARGUMENT);
    REQUIRE(mig, NVML_ERROR_NOT_SUPPORTED);
    memset(attributes, 0, sizeof *attributes);
    attributes->multiprocessorCount = 14 * mig->compute_slices;
    attributes->sharedCopyEngineCount = mig->gpu_slices;
    attributes->gpuInstanceSliceCount = mig->gpu_slices;
    attributes->computeInstanceSliceCount = mig->compute_slices;
    attributes->memorySizeMB = mig->memory >> 20;
    return leave(NVML_SUCCESS);
}

static int number_of(nvmlDevice_t device) {
    for (unsigned i = 0; device && i < state.gpus; i++)
        if (!strcmp(state.gpu[i].uuid, device->uuid)) return i;
    return -1;
}

nvmlReturn_t nvmlDeviceGetTopologyCommonAncestor(nvmlDevice_t device, nvmlDevice_t other, nvmlGpuTopologyLevel_t *level) {
    ENTER_DEVICE(device);
    int number = number_of(other);
    REQUIRE(level && number >= 0, NVML_ERROR_INVALID_ARGUMENT);
    *level = gpu->ancestor[number];
    return leave(NVML_SUCCESS);
}

nvmlReturn_t nvmlDeviceGetNvLinkState(nvmlDevice_t device, unsigned link, nvmlEnableState_t *active) {
    ENTER_DEVICE(device);
    REQUIRE(active, NVML_ERROR_INVALID_ARGUMENT);
    REQUIRE(gpu->links, NVML_ERROR_NOT_SUPPORTED);
    REQUIRE(link < gpu->links, NVML_ERROR_INVALID_ARGUMENT);
    *active = (gpu->links_down | gpu->links_asleep) >> link & 1 ? NVML_FEATURE_DISABLED : NVML_FEATURE_ENABLED;
    return leave(NVML_SUCCESS);
}

/* Returns the GPU at the other end of a link. The links go to the peers in peer order. */
static int peer_of(const Gpu *gpu, unsigned link) {
    for (unsigned i = 0; i < state.gpus; i++) {
        if (link < gpu->peer_links[i]) return i;
        link -= gpu->peer_links[i];
    }
    return -1;
}

nvmlReturn_t nvmlDeviceGetNvLinkRemotePciInfo_v2(nvmlDevice_t device, unsigned link, nvmlPciInfo_t *pci) {
    ENTER_DEVICE(device);
    REQUIRE(pci && link < gpu->links, NVML_ERROR_INVALID_ARGUMENT);
    memset(pci, 0, sizeof *pci);
    int peer = gpu->switched ? -1 : peer_of(gpu, link);
    unsigned domain = 0, bus = 0xf0 + link % 4, slot = 0;
    if (peer >= 0) sscanf(state.gpu[peer].pci, "%x:%x:%x", &domain, &bus, &slot);
    snprintf(pci->busId, sizeof pci->busId, "%08X:%02X:%02X.0", domain, bus, slot);
    pci->domain = domain;
    pci->bus = bus;
    pci->device = slot;
    return leave(NVML_SUCCESS);
}

nvmlReturn_t nvmlDeviceGetNvLinkRemoteDeviceType(nvmlDevice_t device, unsigned link, nvmlIntNvLinkDeviceType_t *type) {
    ENTER_DEVICE(device);
    REQUIRE(type && link < gpu->links, NVML_ERROR_INVALID_ARGUMENT);
    *type = gpu->switched ? NVML_NVLINK_DEVICE_TYPE_SWITCH : NVML_NVLINK_DEVICE_TYPE_GPU;
    return leave(NVML_SUCCESS);
}
