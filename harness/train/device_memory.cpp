#include "harness/train/device_memory.h"
#include "harness/base/env.h"
#include <c10/core/CachingDeviceAllocator.h>
#include <c10/core/impl/VirtualGuardImpl.h>

namespace dorabench {

namespace {

constexpr size_t kAll = size_t(c10::CachingAllocator::StatType::AGGREGATE);

c10::CachingDeviceAllocator::DeviceStats stats(const at::Device& device) {
    return c10::getDeviceAllocator(device.type())
        ->getDeviceStats(std::max<c10::DeviceIndex>(device.index(), 0));
}

} // namespace

void reset_peak_memory(const at::Device& device) {
    if (device.is_cpu()) return reset_peak_resident();
    c10::getDeviceAllocator(device.type())->resetPeakStats(std::max<c10::DeviceIndex>(device.index(), 0));
}

int64_t peak_memory_bytes(const at::Device& device) {
    return device.is_cpu() ? peak_resident_bytes() : stats(device).allocated_bytes[kAll].peak;
}

int64_t used_memory_bytes(const at::Device& device) {
    return device.is_cpu() ? resident_bytes() : stats(device).allocated_bytes[kAll].current;
}

int64_t available_memory_bytes(const at::Device& device) {
    // What this process holds is its own to use again: a backbone kept from the run before, a freed cache.
    if (device.is_cpu()) return available_memory_bytes() + resident_bytes();
    const auto index = std::max<c10::DeviceIndex>(device.index(), 0);
    const auto free = c10::getDeviceAllocator(device.type())->getMemoryInfo(index).first;
    return int64_t(free) + stats(device).reserved_bytes[kAll].current;
}

void synchronize(const at::Device& device) {
    if (!device.is_cpu())
        c10::impl::VirtualGuardImpl(device.type())
            .synchronizeDevice(std::max<c10::DeviceIndex>(device.index(), 0));
}

} // namespace dorabench
