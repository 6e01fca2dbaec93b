# cmake --install: the program with its objects in bin/, what it reads at run time in share/dora-bench, and for plug-ins the
# headers in include/dorabench and the CMake package in lib/cmake/dorabench.
#
# A plug-in links neither the program nor our libraries: it calls the functions that the program holds. So the program exports
# its own symbols (dorabench's alone: exporting all would put its copies of inline library code before LibTorch's), and the
# libraries that the installed headers declare are linked whole, called by the program or not.
set(_exported base io ops nn metrics)
target_link_options(dora-bench PRIVATE "LINKER:--export-dynamic-symbol=*dorabench*" "LINKER:--whole-archive")
foreach(_library IN LISTS _exported)
    target_link_options(dora-bench PRIVATE $<TARGET_FILE:dorabench_${_library}>)
endforeach()
target_link_options(dora-bench PRIVATE "LINKER:--no-whole-archive")
set_target_properties(dora-bench PROPERTIES INSTALL_RPATH "${TORCH_ROOT}/lib")

install(TARGETS dora-bench RUNTIME DESTINATION bin)
foreach(_object dorabench_media_object dorabench_hdf5_object)
    if(TARGET ${_object})
        install(TARGETS ${_object} LIBRARY DESTINATION bin OPTIONAL)
    endif()
endforeach()
install(DIRECTORY tasks/specs configs results/baselines DESTINATION share/dora-bench)

# what a backbone or a task is written with; left out: headers of one file's own affair, and those that need JSON
set(_headers "")
foreach(_folder harness/base harness/api backends/io backends/ops backends/nn)
    file(GLOB _found CONFIGURE_DEPENDS RELATIVE ${CMAKE_SOURCE_DIR} ${CMAKE_SOURCE_DIR}/${_folder}/*.h)
    list(APPEND _headers ${_found})
endforeach()
list(FILTER _headers EXCLUDE REGEX "/(json_place|config_keys|cuda_[a-z]*|kernel_math|compose_math|row_math)\\.h$")
list(APPEND _headers tasks/metrics/accuracy.h)
foreach(_header IN LISTS _headers)
    get_filename_component(_folder ${_header} DIRECTORY)
    install(FILES ${_header} DESTINATION include/dorabench/${_folder})
endforeach()
include(CMakePackageConfigHelpers)
configure_package_config_file(${CMAKE_CURRENT_LIST_DIR}/dorabenchConfig.cmake.in
    ${CMAKE_BINARY_DIR}/package/dorabenchConfig.cmake INSTALL_DESTINATION lib/cmake/dorabench)
write_basic_package_version_file(${CMAKE_BINARY_DIR}/package/dorabenchConfigVersion.cmake COMPATIBILITY ExactVersion)
install(FILES ${CMAKE_BINARY_DIR}/package/dorabenchConfig.cmake ${CMAKE_BINARY_DIR}/package/dorabenchConfigVersion.cmake
    ${CMAKE_CURRENT_LIST_DIR}/DorabenchTorch.cmake DESTINATION lib/cmake/dorabench)

# completion for bash, out of the program's own description of its commands
add_custom_command(OUTPUT ${CMAKE_BINARY_DIR}/dora-bench.bash
    COMMAND dora-bench completion bash > ${CMAKE_BINARY_DIR}/dora-bench.bash DEPENDS dora-bench VERBATIM)
add_custom_target(dora-bench-completion ALL DEPENDS ${CMAKE_BINARY_DIR}/dora-bench.bash)
install(FILES ${CMAKE_BINARY_DIR}/dora-bench.bash DESTINATION share/bash-completion/completions RENAME dora-bench)
