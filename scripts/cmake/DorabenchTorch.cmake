# LibTorch out of the PyPI wheel (or any LibTorch folder), as imported targets of our own: torch::cpu needs no CUDA
# compiler and links libtorch_cpu and libc10 alone; torch::cuda exists where the wheel has the CUDA half and a toolkit
# is at hand. The wheel is found without importing torch (which would take seconds and load CUDA).
# Order: -DTORCH_ROOT, $VIRTUAL_ENV, .venv of this tree, the python3 on PATH.
if(NOT TORCH_ROOT)
    set(_candidates "")
    if(DEFINED ENV{VIRTUAL_ENV})
        list(APPEND _candidates $ENV{VIRTUAL_ENV}/bin/python)
    endif()
    list(APPEND _candidates ${CMAKE_SOURCE_DIR}/.venv/bin/python python3)
    foreach(_python IN LISTS _candidates)
        execute_process(
            COMMAND ${_python} -c "import importlib.util as u; s = u.find_spec('torch'); print(s.submodule_search_locations[0] if s else '')"
            OUTPUT_VARIABLE _found OUTPUT_STRIP_TRAILING_WHITESPACE ERROR_QUIET RESULT_VARIABLE _status)
        if(_status EQUAL 0 AND _found)
            set(TORCH_ROOT ${_found} CACHE PATH "LibTorch: the folder that holds include/ and lib/")
            break()
        endif()
    endforeach()
endif()
if(NOT EXISTS "${TORCH_ROOT}/include/ATen/ATen.h")
    message(FATAL_ERROR "LibTorch was not found. Run scripts/setup, or give -DTORCH_ROOT=<folder with include/ and lib/>.")
endif()
message(STATUS "LibTorch: ${TORCH_ROOT}")

add_library(torch_c10 SHARED IMPORTED)
set_target_properties(torch_c10 PROPERTIES IMPORTED_LOCATION ${TORCH_ROOT}/lib/libc10.so)
add_library(torch_cpu SHARED IMPORTED)
set_target_properties(torch_cpu PROPERTIES IMPORTED_LOCATION ${TORCH_ROOT}/lib/libtorch_cpu.so)
add_library(dorabench_torch INTERFACE)
target_include_directories(dorabench_torch SYSTEM INTERFACE ${TORCH_ROOT}/include ${TORCH_ROOT}/include/torch/csrc/api/include)
target_compile_definitions(dorabench_torch INTERFACE AT_PER_OPERATOR_HEADERS)
# the wheel's own libraries resolve their CUDA dependencies at run time, so unresolved ones are no concern of this link
target_link_options(dorabench_torch INTERFACE LINKER:--allow-shlib-undefined LINKER:--no-as-needed)
target_link_libraries(dorabench_torch INTERFACE torch_cpu torch_c10)
