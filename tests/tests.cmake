# Tests that are no test_<folder> program: whole commands, and what a folder tests/gpu brings along.
if(TARGET dora-bench)
    find_package(Python3 COMPONENTS Interpreter QUIET)
    if(Python3_FOUND)
        add_test(NAME end_to_end COMMAND ${Python3_EXECUTABLE} -B ${CMAKE_SOURCE_DIR}/tests/end_to_end/program_test.py $<TARGET_FILE:dora-bench>)
        set_tests_properties(end_to_end PROPERTIES TIMEOUT 900)
    endif()
endif()
