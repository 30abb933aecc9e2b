# Read by CMake before any C++ library of a crate is configured (.cargo/config.toml names it):
# says what is built otherwise in which of them. It changes no compiler.
set(CMAKE_PROJECT_oneDNN_INCLUDE "${CMAKE_CURRENT_LIST_DIR}/onednn.cmake")
set(CMAKE_PROJECT_ctranslate2_INCLUDE "${CMAKE_CURRENT_LIST_DIR}/ctranslate2.cmake")
