# CTranslate2: its convolution by matrix products, so that oneDNN need not bring its own
# (onednn.cmake), which is no faster for Whisper's two.
cmake_language(DEFER CALL set_property
    SOURCE src/ops/conv1d_cpu.cc APPEND PROPERTY COMPILE_OPTIONS -UCT2_WITH_DNNL)
cmake_language(DEFER CALL target_precompile_headers ctranslate2
    PRIVATE "${PROJECT_SOURCE_DIR}/include/ctranslate2/models/sequence_to_sequence.h")
# Few rows by our own product, on x86-64.
if(CMAKE_SYSTEM_PROCESSOR MATCHES "^(x86_64|amd64|AMD64)$")
    set(ASTERSCRIBE_FEW_ROWS "${CMAKE_CURRENT_LIST_DIR}/few_rows.cpp")
    # GCC 12 warns of undefined values in its own headers.
    cmake_language(DEFER CALL set_property SOURCE "${ASTERSCRIBE_FEW_ROWS}"
        PROPERTY COMPILE_OPTIONS -O2 -Wno-uninitialized)
    cmake_language(DEFER CALL target_sources ctranslate2 PRIVATE "${ASTERSCRIBE_FEW_ROWS}")
    cmake_language(DEFER CALL set_property SOURCE src/cpu/primitives.cc
        APPEND PROPERTY COMPILE_DEFINITIONS dnnl_gemm_u8s8s32=asterscribe_gemm_u8s8s32)
endif()
