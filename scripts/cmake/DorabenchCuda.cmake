# The kernels: one shared object beside the program, loaded when a device asks for it (backends/ops/device.h). `.cu` files
# see raw pointers only (no torch header: a second instead of a minute each), the `.cpp` files beside them do the tensor
# part. Included at file scope, which enable_language wants.
if(DORABENCH_CUDA STREQUAL "OFF")
    return()
endif()
find_program(NVCC nvcc PATHS /usr/local/cuda/bin ENV CUDA_HOME PATH_SUFFIXES bin)
file(GLOB _kernels CONFIGURE_DEPENDS ${CMAKE_SOURCE_DIR}/backends/ops/cuda/*.cu)
file(GLOB _glue CONFIGURE_DEPENDS ${CMAKE_SOURCE_DIR}/backends/ops/cuda/*.cpp)
if(NOT NVCC OR NOT EXISTS ${TORCH_ROOT}/lib/libtorch_cuda.so)
    if(DORABENCH_CUDA STREQUAL "ON")
        message(FATAL_ERROR "DORABENCH_CUDA=ON needs nvcc (found: ${NVCC}) and a LibTorch with its CUDA half (${TORCH_ROOT}/lib/libtorch_cuda.so)")
    endif()
    message(STATUS "CUDA kernels: not built (no nvcc or no libtorch_cuda.so)")
    return()
endif()
set(CMAKE_CUDA_COMPILER ${NVCC})
set(CMAKE_CUDA_ARCHITECTURES ${DORABENCH_CUDA_ARCHITECTURES})
# the kernels' C++ is 17: Debian's CMake 3.25 knows no CUDA20 for nvcc
set(CMAKE_CUDA_STANDARD 17)
set(CMAKE_CUDA_EXTENSIONS OFF)
# LibTorch's own libcudart, by its soname; a second, static one would keep a current device of its own
set(CMAKE_CUDA_RUNTIME_LIBRARY Shared)
enable_language(CUDA)
get_filename_component(_toolkit ${NVCC} REALPATH)
get_filename_component(_toolkit ${_toolkit} DIRECTORY)
get_filename_component(_toolkit ${_toolkit} DIRECTORY)
add_library(dorabench_cuda SHARED ${_kernels} ${_glue})
set_target_properties(dorabench_cuda PROPERTIES LIBRARY_OUTPUT_DIRECTORY ${CMAKE_BINARY_DIR}
    BUILD_RPATH "${TORCH_ROOT}/lib" CXX_VISIBILITY_PRESET hidden CUDA_VISIBILITY_PRESET hidden VISIBILITY_INLINES_HIDDEN ON)
target_compile_options(dorabench_cuda PRIVATE $<$<COMPILE_LANGUAGE:CXX>:-Wall -Wextra -Wno-unused-parameter>)
target_include_directories(dorabench_cuda PRIVATE ${CMAKE_SOURCE_DIR})
# behind torch's own, and a system folder for the .cpp files alone (nvcc brings its own)
target_include_directories(dorabench_cuda SYSTEM PRIVATE $<$<COMPILE_LANGUAGE:CXX>:${CMAKE_CUDA_TOOLKIT_INCLUDE_DIRECTORIES}>)
target_link_libraries(dorabench_cuda PRIVATE ${TORCH_ROOT}/lib/libtorch_cuda.so ${TORCH_ROOT}/lib/libc10_cuda.so)
# torch's headers are for the .cpp files: a .cu file that includes one by mistake shall fail
target_include_directories(dorabench_cuda SYSTEM PRIVATE
    $<$<COMPILE_LANGUAGE:CXX>:$<TARGET_PROPERTY:dorabench_torch,INTERFACE_INCLUDE_DIRECTORIES>>)
target_compile_definitions(dorabench_cuda PRIVATE AT_PER_OPERATOR_HEADERS)
target_link_libraries(dorabench_cuda PRIVATE torch_cpu torch_c10)
target_link_options(dorabench_cuda PRIVATE LINKER:--allow-shlib-undefined LINKER:--no-as-needed)
# Gradients GPU to GPU (--launcher torchrun): c10d's NCCL group lies in libtorch_cuda.so, its headers want nccl.h
find_path(NCCL_INCLUDE nccl.h HINTS ${_toolkit}/include)
if(NCCL_INCLUDE AND TARGET dora-bench)
    add_library(dorabench_nccl SHARED ${CMAKE_SOURCE_DIR}/harness/train/nccl/nccl_group.cpp)
    set_target_properties(dorabench_nccl PROPERTIES LIBRARY_OUTPUT_DIRECTORY ${CMAKE_BINARY_DIR}
        BUILD_RPATH "${TORCH_ROOT}/lib" CXX_VISIBILITY_PRESET hidden)
    target_compile_options(dorabench_nccl PRIVATE -Wall -Wextra -Wno-unused-parameter)
    target_include_directories(dorabench_nccl PRIVATE ${CMAKE_SOURCE_DIR})
    target_include_directories(dorabench_nccl SYSTEM PRIVATE ${CMAKE_CUDA_TOOLKIT_INCLUDE_DIRECTORIES} ${NCCL_INCLUDE}
        $<TARGET_PROPERTY:dorabench_torch,INTERFACE_INCLUDE_DIRECTORIES>)
    target_link_libraries(dorabench_nccl PRIVATE ${TORCH_ROOT}/lib/libtorch_cuda.so ${TORCH_ROOT}/lib/libc10_cuda.so
        torch_cpu torch_c10)
    target_link_options(dorabench_nccl PRIVATE LINKER:--allow-shlib-undefined)
    add_dependencies(dora-bench dorabench_nccl)
    install(TARGETS dorabench_nccl LIBRARY DESTINATION bin OPTIONAL)
elseif(TARGET dora-bench)
    message(STATUS "NCCL: not built (no nccl.h); gradients of several GPUs pass through the host")
endif()
if(TARGET dora-bench)
    add_dependencies(dora-bench dorabench_cuda)
    install(TARGETS dorabench_cuda LIBRARY DESTINATION bin OPTIONAL) # beside the program, where it is looked for
endif()
