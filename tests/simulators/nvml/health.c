/* The health of a device, its processes, and its settings. */
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

static unsigned link_state(const Gpu *gpu, unsigned link) {
    if (gpu->links_asleep >> link & 1) return NVML_NVLINK_STATE_SLEEP;
    return gpu->links_down >> link & 1 ? NVML_NVLINK_STATE_INACTIVE : NVML_NVLINK_STATE_ACTIVE;
}

nvmlReturn_t nvmlDeviceGetFieldValues(nvmlDevice_t device, int count, nvmlFieldValue_t *values) {
    ENTER_DEVICE(device);
    REQUIRE(values && count > 0, NVML_ERROR_INVALID_ARGUMENT);
    for (int i = 0; i < count; i++) {
        bool recovery = values[i].fieldId == NVML_FI_DEV_GET_GPU_RECOVERY_ACTION;
        bool link = values[i].fieldId == NVML_FI_DEV_NVLINK_GET_STATE && values[i].scopeId < gpu->links;
        values[i].nvmlReturn = recovery || link ? NVML_SUCCESS : NVML_ERROR_NOT_SUPPORTED;
        values[i].valueType = NVML_VALUE_TYPE_UNSIGNED_INT;
        values[i].value.uiVal = link ? link_state(gpu, values[i].scopeId) : gpu->recovery;
    }
    return leave(NVML_SUCCESS);
}

nvmlReturn_t nvmlDeviceGetGpuFabricInfo(nvmlDevice_t device, nvmlGpuFabricInfo_t *info) {
    ENTER_DEVICE(device);
    REQUIRE(info, NVML_ERROR_INVALID_ARGUMENT);
    info->state = gpu->fabric;
    info->status = gpu->fabric_status;
    return leave(NVML_SUCCESS);
}

nvmlReturn_t nvmlDeviceGetGpuFabricInfoV(nvmlDevice_t device, nvmlGpuFabricInfoV_t *info) {
    ENTER_DEVICE(device);
    REQUIRE(info, NVML_ERROR_INVALID_ARGUMENT);
    REQUIRE(info->version == nvmlGpuFabricInfo_v2 || info->version == nvmlGpuFabricInfo_v3,
            NVML_ERROR_ARGUMENT_VERSION_MISMATCH);
    info->state = gpu->fabric;
    info->status = gpu->fabric_status;
    info->healthMask = gpu->fabric_mask;
    if (info->version == nvmlGpuFabricInfo_v3) info->healthSummary = gpu->fabric_summary;
    return leave(NVML_SUCCESS);
}

nvmlReturn_t nvmlDeviceGetTemperature(nvmlDevice_t device, nvmlTemperatureSensors_t sensor, unsigned *temperature) {
    ENTER_DEVICE(device);
    REQUIRE(temperature && sensor == NVML_TEMPERATURE_GPU, NVML_ERROR_INVALID_ARGUMENT);
    *temperature = gpu->temperature;
    return leave(NVML_SUCCESS);
}

nvmlReturn_t nvmlDeviceGetTemperatureThreshold(nvmlDevice_t device, nvmlTemperatureThresholds_t which,
                                               unsigned *temperature) {
    ENTER_DEVICE(device);
    REQUIRE(temperature, NVML_ERROR_INVALID_ARGUMENT);
    REQUIRE(which == NVML_TEMPERATURE_THRESHOLD_SLOWDOWN, NVML_ERROR_NOT_SUPPORTED);
    *temperature = gpu->slowdown;
    return leave(NVML_SUCCESS);
}

static nvmlReturn_t processes(const Gpu *gpu, const Mig *mig, bool graphics, unsigned *count,
                              nvmlProcessInfo_t *infos) {
    REQUIRE(count, NVML_ERROR_INVALID_ARGUMENT);
    unsigned found = 0, room = *count;
    for (unsigned i = 0; i < gpu->processes; i++) {
        const Process *process = &gpu->process[i];
        if (process->graphics != graphics) continue;
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

#define PROCESSES(function, graphics)                                                                                 \
    nvmlReturn_t function(nvmlDevice_t device, unsigned *count, nvmlProcessInfo_t *infos) {                           \
        ENTER_DEVICE(device);                                                                                         \
        return processes(gpu, mig, graphics, count, infos);                                                              \
    }

PROCESSES(nvmlDeviceGetComputeRunningProcesses_v2, false)
PROCESSES(nvmlDeviceGetComputeRunningProcesses_v3, false)
PROCESSES(nvmlDeviceGetGraphicsRunningProcesses_v2, true)
PROCESSES(nvmlDeviceGetGraphicsRunningProcesses_v3, true)

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

GETTER(nvmlDeviceGetCurrPcieLinkWidth, unsigned, pcie_width)
GETTER(nvmlDeviceGetMaxPcieLinkWidth, unsigned, pcie_max)
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
