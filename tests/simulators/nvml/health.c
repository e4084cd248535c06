/* How a device is, who uses it, and what can be set. */
#include "state.h"

#include <string.h>

nvmlReturn_t nvmlDeviceGetTotalEccErrors(nvmlDevice_t device, nvmlMemoryErrorType_t type, nvmlEccCounterType_t counter,
                                         unsigned long long *count) {
    ENTER_DEVICE(device);
    REQUIRE(count, NVML_ERROR_INVALID_ARGUMENT);
    *count = 0;
    if (type == NVML_MEMORY_ERROR_TYPE_UNCORRECTED)
        *count = counter == NVML_VOLATILE_ECC ? gpu->ecc_volatile : gpu->ecc_aggregate;
    return leave(NVML_SUCCESS);
}

nvmlReturn_t nvmlDeviceClearEccErrorCounts(nvmlDevice_t device, nvmlEccCounterType_t counter) {
    ENTER_DEVICE(device);
    note(gpu, counter == NVML_VOLATILE_ECC ? "ecc_volatile" : "ecc_aggregate", 0);
    return leave(NVML_SUCCESS);
}

nvmlReturn_t nvmlDeviceGetRemappedRows(nvmlDevice_t device, unsigned *corrected, unsigned *uncorrected,
                                       unsigned *pending, unsigned *failed) {
    ENTER_DEVICE(device);
    REQUIRE(corrected && uncorrected && pending && failed, NVML_ERROR_INVALID_ARGUMENT);
    REQUIRE(gpu->cc_major >= 8, NVML_ERROR_NOT_SUPPORTED);
    *corrected = *uncorrected = 0;
    *pending = gpu->remap_pending;
    *failed = gpu->remap_failed;
    return leave(NVML_SUCCESS);
}

nvmlReturn_t nvmlDeviceGetRetiredPagesPendingStatus(nvmlDevice_t device, nvmlEnableState_t *pending) {
    ENTER_DEVICE(device);
    REQUIRE(pending, NVML_ERROR_INVALID_ARGUMENT);
    *pending = gpu->retired_pending;
    return leave(NVML_SUCCESS);
}

nvmlReturn_t nvmlDeviceGetFieldValues(nvmlDevice_t device, int count, nvmlFieldValue_t *values) {
    ENTER_DEVICE(device);
    REQUIRE(values && count > 0, NVML_ERROR_INVALID_ARGUMENT);
    for (int i = 0; i < count; i++) {
        bool known = values[i].fieldId == NVML_FI_DEV_GET_GPU_RECOVERY_ACTION;
        values[i].nvmlReturn = known ? NVML_SUCCESS : NVML_ERROR_NOT_SUPPORTED;
        values[i].valueType = NVML_VALUE_TYPE_UNSIGNED_INT;
        values[i].value.uiVal = gpu->recovery;
    }
    return leave(NVML_SUCCESS);
}

static nvmlReturn_t processes(const Gpu *gpu, const Mig *mig, bool draws, unsigned *count, nvmlProcessInfo_t *infos) {
    REQUIRE(count, NVML_ERROR_INVALID_ARGUMENT);
    unsigned found = 0, room = *count;
    for (unsigned i = 0; i < gpu->processes; i++) {
        const Process *process = &gpu->process[i];
        if (process->draws != draws) continue;
        if (mig && (process->gi != mig->gi || process->ci != mig->ci)) continue;
        if (infos && found < room) {
            memset(&infos[found], 0, sizeof infos[found]);
            infos[found].pid = process->pid;
            infos[found].usedGpuMemory = process->bytes;
            infos[found].gpuInstanceId = process->gi;
            infos[found].computeInstanceId = process->ci;
        }
        found++;
    }
    *count = found;
    return leave(found > room ? NVML_ERROR_INSUFFICIENT_SIZE : NVML_SUCCESS);
}

nvmlReturn_t nvmlDeviceGetComputeRunningProcesses_v3(nvmlDevice_t device, unsigned *count, nvmlProcessInfo_t *infos) {
    ENTER_DEVICE(device);
    return processes(gpu, mig, false, count, infos);
}

nvmlReturn_t nvmlDeviceGetGraphicsRunningProcesses_v3(nvmlDevice_t device, unsigned *count, nvmlProcessInfo_t *infos) {
    ENTER_DEVICE(device);
    return processes(gpu, mig, true, count, infos);
}

nvmlReturn_t nvmlDeviceGetMPSComputeRunningProcesses_v3(nvmlDevice_t device, unsigned *count,
                                                        nvmlProcessInfo_t *infos) {
    ENTER_DEVICE(device);
    (void)infos;
    REQUIRE(count, NVML_ERROR_INVALID_ARGUMENT);
    *count = 0;
    return leave(NVML_SUCCESS);
}

#define GETTER(function, type, field)                                                                                 \
    nvmlReturn_t function(nvmlDevice_t device, type *to) {                                                            \
        ENTER_DEVICE(device);                                                                                         \
        REQUIRE(to, NVML_ERROR_INVALID_ARGUMENT);                                                                     \
        *to = (type)gpu->field;                                                                                       \
        return leave(NVML_SUCCESS);                                                                                   \
    }

#define SETTER(function, type, field)                                                                                 \
    nvmlReturn_t function(nvmlDevice_t device, type value) {                                                          \
        ENTER_DEVICE(device);                                                                                         \
        note(gpu, #field, value);                                                                                     \
        return leave(NVML_SUCCESS);                                                                                   \
    }

#define ACTION(function, field)                                                                                       \
    nvmlReturn_t function(nvmlDevice_t device) {                                                                      \
        ENTER_DEVICE(device);                                                                                         \
        note(gpu, #field, 1);                                                                                         \
        return leave(NVML_SUCCESS);                                                                                   \
    }

GETTER(nvmlDeviceGetComputeMode, nvmlComputeMode_t, compute_mode)
SETTER(nvmlDeviceSetComputeMode, nvmlComputeMode_t, compute_mode)
GETTER(nvmlDeviceGetPowerManagementLimit, unsigned, power)
GETTER(nvmlDeviceGetPowerManagementDefaultLimit, unsigned, power_default)
SETTER(nvmlDeviceSetPowerManagementLimit, unsigned, power)
GETTER(nvmlDeviceGetAccountingMode, nvmlEnableState_t, accounting)
SETTER(nvmlDeviceSetAccountingMode, nvmlEnableState_t, accounting)
ACTION(nvmlDeviceClearAccountingPids, accounting_cleared)
ACTION(nvmlDeviceResetGpuLockedClocks, gpu_clocks_reset)
ACTION(nvmlDeviceResetMemoryLockedClocks, memory_clocks_reset)
ACTION(nvmlDeviceResetApplicationsClocks, application_clocks_reset)
