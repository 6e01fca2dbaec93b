# As a script (cmake -DSOURCE=… -DHEADER=… -P): writes the commit that is being built into HEADER, which is touched only
# when the commit changes. Included: a target that runs the script in every build, before dorabench_base.
if(CMAKE_SCRIPT_MODE_FILE)
    find_program(GIT git)
    set(commit "unknown")
    if(GIT AND EXISTS ${SOURCE}/.git)
        execute_process(COMMAND ${GIT} --no-optional-locks rev-parse HEAD WORKING_DIRECTORY ${SOURCE}
            OUTPUT_VARIABLE head OUTPUT_STRIP_TRAILING_WHITESPACE ERROR_QUIET RESULT_VARIABLE status)
        if(status EQUAL 0)
            set(commit ${head})
            execute_process(COMMAND ${GIT} --no-optional-locks status --porcelain --untracked-files=no
                WORKING_DIRECTORY ${SOURCE} OUTPUT_VARIABLE changes ERROR_QUIET)
            if(changes)
                string(APPEND commit "+dirty")
            endif()
        endif()
    endif()
    set(text "#pragma once\n#define DORABENCH_COMMIT \"${commit}\"\n")
    set(old "")
    if(EXISTS ${HEADER})
        file(READ ${HEADER} old)
    endif()
    if(NOT text STREQUAL old)
        file(WRITE ${HEADER} "${text}")
    endif()
    return()
endif()

set(DORABENCH_COMMIT_HEADER ${CMAKE_BINARY_DIR}/generated/dorabench_commit.h)
add_custom_target(dorabench_commit BYPRODUCTS ${DORABENCH_COMMIT_HEADER}
    COMMAND ${CMAKE_COMMAND} -DSOURCE=${CMAKE_SOURCE_DIR} -DHEADER=${DORABENCH_COMMIT_HEADER}
        -P ${CMAKE_CURRENT_LIST_FILE} COMMENT "")
add_dependencies(dorabench_base dorabench_commit)
target_include_directories(dorabench_base PRIVATE ${CMAKE_BINARY_DIR}/generated)
