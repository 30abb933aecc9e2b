// Products of a few rows of 8-bit activations with a matrix of 8-bit weights, for CTranslate2's
// decoders: dnnl_gemm_u8s8s32 under another name (ctranslate2.cmake).
//
// oneDNN brings the weights into another order before each product. For the one row that a decoder
// has for each token that is more work than the product itself, and oneDNN's own way without a copy
// is not taken with the row offsets that CTranslate2 asks for. Here weights are read once and as
// they lie in memory, on processors with AVX-512 and VNNI. The sums are integers, so they are oneDNN's
// to the bit.

#include <cstdint>
#include <immintrin.h>

#include <dnnl.h>

namespace {

// Columns of the result that are computed at once, and rows.
constexpr int64_t COLUMNS = 4;
constexpr int64_t MOST_ROWS = 4;

// Bytes of weights that a processor's own cache holds: oneDNN orders those quickly, so that two rows
// are worth it.
constexpr int64_t CACHED = 2 << 20;

// Sums of products of `R` rows of `a` with four rows of `b`, each of `k` numbers, and `offsets`.
template <int64_t R>
__attribute__((target("avx512f,avx512bw,avx512vnni"))) void dot(const uint8_t *a, int64_t lda,
    const int8_t *b, int64_t ldb, int64_t k, const int32_t *offsets, int32_t *sums, int64_t lds) {
    __m512i acc[R][COLUMNS];
    for (auto &row : acc)
        for (auto &sum : row) sum = _mm512_setzero_si512();
    for (int64_t at = 0; at < k; at += 64) {
        const int64_t left = k - at;
        const __mmask64 mask = left >= 64 ? ~uint64_t{0} : (uint64_t{1} << left) - 1;
        __m512i weights[COLUMNS];
        for (int64_t n = 0; n < COLUMNS; n++)
            weights[n] = _mm512_maskz_loadu_epi8(mask, b + n * ldb + at);
        for (int64_t r = 0; r < R; r++) {
            const __m512i row = _mm512_maskz_loadu_epi8(mask, a + r * lda + at);
            for (int64_t n = 0; n < COLUMNS; n++)
                acc[r][n] = _mm512_dpbusd_epi32(acc[r][n], row, weights[n]);
        }
    }
    const __m128i offset = _mm_loadu_si128(reinterpret_cast<const __m128i *>(offsets));
    for (int64_t r = 0; r < R; r++) {
        const __m512i first = _mm512_add_epi32(_mm512_unpacklo_epi32(acc[r][0], acc[r][1]),
            _mm512_unpackhi_epi32(acc[r][0], acc[r][1]));
        const __m512i second = _mm512_add_epi32(_mm512_unpacklo_epi32(acc[r][2], acc[r][3]),
            _mm512_unpackhi_epi32(acc[r][2], acc[r][3]));
        const __m512i all = _mm512_add_epi32(
            _mm512_unpacklo_epi64(first, second), _mm512_unpackhi_epi64(first, second));
        const __m256i half = _mm256_add_epi32(
            _mm512_castsi512_si256(all), _mm512_castsi512_si256(_mm512_shuffle_i64x2(all, all, 0x4e)));
        const __m128i four
            = _mm_add_epi32(_mm256_castsi256_si128(half), _mm256_extracti128_si256(half, 1));
        _mm_storeu_si128(reinterpret_cast<__m128i *>(sums + r * lds), _mm_add_epi32(four, offset));
    }
}

using Dot
    = void (*)(const uint8_t *, int64_t, const int8_t *, int64_t, int64_t, const int32_t *, int32_t *, int64_t);

// Indexed by rows less one.
constexpr Dot DOTS[MOST_ROWS] = {dot<1>, dot<2>, dot<3>, dot<4>};

bool has_vnni() {
    static const bool has = [] {
        __builtin_cpu_init();
        return __builtin_cpu_supports("avx512vnni") && __builtin_cpu_supports("avx512bw");
    }();
    return has;
}

}  // namespace

extern "C" dnnl_status_t asterscribe_gemm_u8s8s32(char transa, char transb, char offsetc, dnnl_dim_t m,
    dnnl_dim_t n, dnnl_dim_t k, float alpha, const uint8_t *a, dnnl_dim_t lda, uint8_t ao, const int8_t *b,
    dnnl_dim_t ldb, int8_t bo, float beta, int32_t *c, dnnl_dim_t ldc, const int32_t *co) {
    const bool is_plain = transa == 'N' && transb == 'T' && offsetc == 'R' && alpha == 1.0f && beta == 0.0f
                       && ao == 0 && bo == 0;
    const bool is_few = k > 0 && (m == 1 || (m > 1 && m <= MOST_ROWS && n * k > CACHED));
    if (!is_plain || !is_few || n < COLUMNS || !has_vnni())
        return dnnl_gemm_u8s8s32(
            transa, transb, offsetc, m, n, k, alpha, a, lda, ao, b, ldb, bo, beta, c, ldc, co);
    for (int64_t next = 0; next < n; next += COLUMNS) {
        // The last columns may be computed twice.
        const int64_t column = next + COLUMNS <= n ? next : n - COLUMNS;
        DOTS[m - 1](a, lda, b + column * ldb, ldb, k, co + column, c + column, ldc);
    }
    return dnnl_success;
}
