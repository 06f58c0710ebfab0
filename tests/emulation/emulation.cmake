# The CUDA backend without a GPU: its C files and kernels compiled as C and C++ against the stand-ins of this folder.
include(CheckLanguage)
check_language(CXX)
if(NOT CMAKE_CXX_COMPILER OR GMOE_SANITIZE OR NOT CMAKE_SYSTEM_PROCESSOR MATCHES "^(x86_64|aarch64)$")
  message(STATUS "no tests in emulation: they need a C++ compiler, no sanitizers, and x86-64 or aarch64")
  return()
endif()
enable_language(CXX)

set(emulation ${CMAKE_CURRENT_SOURCE_DIR}/emulation)
set(cuda ${CMAKE_SOURCE_DIR}/src/backend/cuda)
file(GLOB EMULATED_KERNELS CONFIGURE_DEPENDS ${CMAKE_SOURCE_DIR}/kernels/*.cu)
file(GLOB EMULATED_SOURCES CONFIGURE_DEPENDS ${cuda}/*.c ${emulation}/*.cpp)
list(FILTER EMULATED_SOURCES EXCLUDE REGEX "/test_[a-z]+\\.cpp$")
set_source_files_properties(${EMULATED_KERNELS} PROPERTIES LANGUAGE CXX)
add_library(emulated_objects OBJECT ${EMULATED_SOURCES} ${EMULATED_KERNELS})
set_target_properties(emulated_objects PROPERTIES CXX_STANDARD 17 CXX_STANDARD_REQUIRED ON CXX_EXTENSIONS OFF POSITION_INDEPENDENT_CODE ON)
target_compile_definitions(emulated_objects PRIVATE GM_EMULATION)
target_compile_options(emulated_objects PRIVATE "$<$<COMPILE_LANGUAGE:CXX>:-Wno-unknown-pragmas;-fno-exceptions;-fno-threadsafe-statics>")
target_include_directories(emulated_objects BEFORE PUBLIC ${emulation} ${CMAKE_SOURCE_DIR}/kernels)
target_include_directories(emulated_objects PRIVATE ${CMAKE_SOURCE_DIR}/src ${CMAKE_SOURCE_DIR}/include)

add_library(gmoe_emulated STATIC $<TARGET_OBJECTS:emulated_objects>)
target_include_directories(gmoe_emulated BEFORE PUBLIC ${emulation} ${CMAKE_SOURCE_DIR}/kernels)
target_link_libraries(gmoe_emulated PUBLIC gmoe)
set_target_properties(gmoe_emulated PROPERTIES LINKER_LANGUAGE CXX)

# The same as the module that programs load: emulated/bin/gmoe-train --device cuda.
set(emulated_root ${CMAKE_BINARY_DIR}/emulated)
add_library(gmoe_emulated_module MODULE $<TARGET_OBJECTS:emulated_objects>)
set_target_properties(gmoe_emulated_module PROPERTIES LINKER_LANGUAGE CXX OUTPUT_NAME gmoe_cuda LIBRARY_OUTPUT_DIRECTORY ${emulated_root}/lib/gmoe)
foreach(program gmoe-train gmoe-eval)
  add_custom_command(TARGET gmoe_emulated_module POST_BUILD COMMAND ${CMAKE_COMMAND} -E make_directory ${emulated_root}/bin
                     COMMAND ${CMAKE_COMMAND} -E copy $<TARGET_FILE:${program}> ${emulated_root}/bin)
  add_dependencies(gmoe_emulated_module ${program})
endforeach()

foreach(source IN LISTS TEST_SOURCES)
  file(STRINGS ${source} uses REGEX "#include \"op_test.h\"")
  get_filename_component(name ${source} NAME_WE)
  string(REPLACE "test_" "" short ${name})
  if(uses)
    add_executable(emulated_${name} ${source})
    set_target_properties(emulated_${name} PROPERTIES RUNTIME_OUTPUT_DIRECTORY ${CMAKE_BINARY_DIR}/tests LINKER_LANGUAGE CXX)
    target_compile_definitions(emulated_${name} PRIVATE GM_TEST_EMULATED)
    target_include_directories(emulated_${name} PRIVATE ${CMAKE_CURRENT_SOURCE_DIR})
    target_link_libraries(emulated_${name} PRIVATE gmoe_emulated PkgConfig::CMOCKA)
    add_test(NAME emulated/${short} COMMAND emulated_${name} WORKING_DIRECTORY ${CMAKE_SOURCE_DIR})
    set_tests_properties(emulated/${short} PROPERTIES TIMEOUT 600)
  endif()
endforeach()

# The emulation itself, what it must see and move, and the backend's own parts: test_NAME is emulation/NAME.
file(GLOB EMULATION_TESTS CONFIGURE_DEPENDS ${emulation}/test_*.c ${emulation}/test_*.cpp)
foreach(source IN LISTS EMULATION_TESTS)
  get_filename_component(name ${source} NAME_WE)
  string(REPLACE "test_" "" short ${name})
  add_executable(emulation_${name} ${source})
  set_target_properties(emulation_${name} PROPERTIES RUNTIME_OUTPUT_DIRECTORY ${CMAKE_BINARY_DIR}/tests CXX_STANDARD 17
                        CXX_STANDARD_REQUIRED ON
                        LINKER_LANGUAGE CXX)
  target_compile_definitions(emulation_${name} PRIVATE GM_EMULATION)
  target_compile_options(emulation_${name} PRIVATE -Wno-unknown-pragmas)
  target_include_directories(emulation_${name} PRIVATE ${CMAKE_CURRENT_SOURCE_DIR})
  target_link_libraries(emulation_${name} PRIVATE gmoe_emulated PkgConfig::CMOCKA)
  add_test(NAME emulation/${short} COMMAND emulation_${name})
endforeach()

# Whole runs: ten steps and scores of goldens through the programs.
add_test(NAME emulated/golden COMMAND bash tests/golden/test_golden.sh ${emulated_root}/bin llama-gmoe qwen2-lora gmoe-variants llama-bf16
         WORKING_DIRECTORY ${CMAKE_SOURCE_DIR})
add_test(NAME emulated/runs COMMAND bash tests/emulation/runs.sh ${emulated_root}/bin WORKING_DIRECTORY ${CMAKE_SOURCE_DIR})
set_tests_properties(emulated/runs PROPERTIES TIMEOUT 900)
set_tests_properties(emulated/golden PROPERTIES TIMEOUT 900 ENVIRONMENT "GMOE_TEST_DEVICE=cuda;GMOE_TEST_TOOLS=${CMAKE_BINARY_DIR}/tests")
