# CTranslate2: its convolution by matrix products, so that oneDNN need not bring its own
# (onednn.cmake), which is no faster for Whisper's two.
cmake_language(DEFER CALL set_property
    SOURCE src/ops/conv1d_cpu.cc APPEND PROPERTY COMPILE_OPTIONS -UCT2_WITH_DNNL)
cmake_language(DEFER CALL target_precompile_headers ctranslate2
    PRIVATE "${PROJECT_SOURCE_DIR}/include/ctranslate2/models/sequence_to_sequence.h")
