# DORABENCH_CLI=OFF: what needs LibTorch and the standard library alone, for a bare GPU machine (compiler, nvcc, CMake, Ninja,
# the torch wheel): the operators with their CUDA kernels, the LLaMA decoder, the adapters' layers, the check and the
# benchmark of the GPU. Of the folders that other parts need libraries for (YAML, JSON, PCRE2, zlib, …) the files named here.
find_package(Threads REQUIRED)
add_library(dorabench_core STATIC
    harness/base/error.cpp harness/base/env.cpp harness/base/text.cpp harness/base/rng.cpp
    backends/nn/attention.cpp backends/nn/checkpointing.cpp backends/llama/model.cpp
    adapters/site_layer.cpp adapters/lora.cpp adapters/vera.cpp)
file(GLOB _ops CONFIGURE_DEPENDS ${CMAKE_SOURCE_DIR}/backends/ops/*.cpp)
list(FILTER _ops EXCLUDE REGEX "/(tensor_io|nf4_file)\\.cpp$") # files belong to backends/io, which needs JSON
target_sources(dorabench_core PRIVATE ${_ops})
set_source_files_properties(harness/base/rng.cpp PROPERTIES COMPILE_OPTIONS -ffp-contract=off)
target_compile_options(dorabench_core PRIVATE -Wall -Wextra -Wno-unused-parameter -Wno-missing-field-initializers
    -Wno-restrict) # as dorabench_library()
target_include_directories(dorabench_core PUBLIC ${CMAKE_SOURCE_DIR})
set_source_files_properties(harness/base/env.cpp PROPERTIES COMPILE_DEFINITIONS DORABENCH_VERSION="${PROJECT_VERSION}")
target_link_libraries(dorabench_core PUBLIC dorabench_torch Threads::Threads ${CMAKE_DL_LIBS})
include(DorabenchCuda)
include(DorabenchGpu)
