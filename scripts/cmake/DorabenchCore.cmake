# dorabench_core: what needs LibTorch and the standard library alone, for a bare GPU machine (compiler, nvcc, CMake, Ninja,
# the torch wheel): the operators, the LLaMA decoder, the adapters' layers. Of the folders that other parts need libraries
# for (YAML, JSON, PCRE2, zlib, …) the files named here. With DORABENCH_CLI=OFF it is compiled; otherwise it is put
# together from the objects that the libraries have anyway, and gpu_check links it, so that a file that is missing here
# shows in every build.
set(_sources harness/base/error.cpp harness/base/env.cpp harness/base/text.cpp harness/base/rng.cpp
    backends/nn/attention.cpp backends/nn/checkpointing.cpp backends/nn/frozen_linear.cpp backends/llama/model.cpp
    adapters/site_layer.cpp adapters/lora.cpp adapters/vera.cpp)
file(GLOB _ops CONFIGURE_DEPENDS RELATIVE ${CMAKE_SOURCE_DIR} ${CMAKE_SOURCE_DIR}/backends/ops/*.cpp)
list(FILTER _ops EXCLUDE REGEX "/(tensor_io|nf4_file)\\.cpp$") # files belong to backends/io, which needs JSON
list(APPEND _sources ${_ops})
find_package(Threads REQUIRED)
if(NOT DORABENCH_CLI)
    add_library(dorabench_core STATIC ${_sources})
    set_source_files_properties(harness/base/rng.cpp PROPERTIES COMPILE_OPTIONS -ffp-contract=off)
    set_source_files_properties(harness/base/env.cpp PROPERTIES COMPILE_DEFINITIONS DORABENCH_VERSION="${PROJECT_VERSION}")
    target_compile_options(dorabench_core PRIVATE -Wall -Wextra -Wno-unused-parameter -Wno-missing-field-initializers
        -Wno-restrict) # as dorabench_library()
else()
    set(_objects "")
    foreach(_name base ops nn llama adapters)
        list(APPEND _objects $<TARGET_OBJECTS:dorabench_${_name}>)
    endforeach()
    list(JOIN _sources "|" _pattern)
    string(REPLACE "." "[.]" _pattern "${_pattern}")
    list(JOIN _objects "$<SEMICOLON>" _objects)
    add_library(dorabench_core STATIC $<FILTER:${_objects},INCLUDE,/\(${_pattern}\)[.]o$>)
    set_target_properties(dorabench_core PROPERTIES LINKER_LANGUAGE CXX)
endif()
target_include_directories(dorabench_core PUBLIC ${CMAKE_SOURCE_DIR})
target_link_libraries(dorabench_core PUBLIC dorabench_torch Threads::Threads ${CMAKE_DL_LIBS})
