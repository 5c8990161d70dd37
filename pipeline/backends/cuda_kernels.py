"""The operators of bf16 programs that PyTorch has not: bytes to patches, and a residual sum with its layer norm.

They are CUDA C that NVRTC, part of PyTorch's CUDA wheels, builds when a program is loaded: no compiler is needed, and a program
runs on any card that has bf16. On the CPU, where tests run them, they are made of PyTorch's own operators.

Legend: B frames, S image side, G patches to a side, P image tokens (G * G + 1), K bytes of a patch, C channels.
"""

from functools import cache
from typing import Any

import torch
from torch import Tensor, library
from torch.nn.functional import layer_norm, pad

MIDDLE = 128
"""Subtracted from bytes, which makes them small and keeps them exact in bf16."""
PACK = 8
"""bf16 numbers that a thread moves at once (16 bytes)."""
_LANES = 32
_ROWS_PER_BLOCK = 4
_THREADS = 256

_SOURCE = """
__device__ __forceinline__ float low(unsigned pair) { return __uint_as_float(pair << 16); }
__device__ __forceinline__ float high(unsigned pair) { return __uint_as_float(pair & 0xffff0000u); }
__device__ __forceinline__ unsigned rounded(float value) {
    if (value != value) return 0x7fffu;  // NaN stays NaN, so that the answer tells of it
    const unsigned bits = __float_as_uint(value);
    return (bits + 0x7fffu + ((bits >> 16) & 1u)) >> 16;  // to nearest, ties to even
}
__device__ __forceinline__ void unpack(const uint4 packed, float* values) {
    values[0] = low(packed.x); values[1] = high(packed.x); values[2] = low(packed.y); values[3] = high(packed.y);
    values[4] = low(packed.z); values[5] = high(packed.z); values[6] = low(packed.w); values[7] = high(packed.w);
}
__device__ __forceinline__ unsigned pair(float a, float b) { return rounded(a) | (rounded(b) << 16); }
__device__ __forceinline__ uint4 packed(const float* v) {
    return make_uint4(pair(v[0], v[1]), pair(v[2], v[3]), pair(v[4], v[5]), pair(v[6], v[7]));
}
__device__ __forceinline__ float over_the_warp(float value) {
    for (int step = 16; step > 0; step /= 2) value += __shfl_xor_sync(0xffffffffu, value, step);
    return value;
}
// one warp per row of PACKS * 8 channels, which stays in its registers
extern "C" __global__ void add_layer_norm(const uint4* x, const uint4* residual, const uint4* weight, const uint4* bias,
                                          uint4* total, uint4* normed, int rows, int residual_rows) {
    const int lane = threadIdx.x % 32;
    const int row = blockIdx.x * (blockDim.x / 32) + threadIdx.x / 32;
    if (row >= rows) return;
    const long long from = (long long)row * PACKS, from_residual = (long long)(row % residual_rows) * PACKS;
    float values[CHUNKS][8];
    float sum = 0;
    #pragma unroll
    for (int chunk = 0; chunk < CHUNKS; chunk++) {
        const int place = chunk * 32 + lane;
        if (place >= PACKS) continue;
        float added[8];
        unpack(x[from + place], values[chunk]);
        unpack(residual[from_residual + place], added);
        #pragma unroll
        for (int i = 0; i < 8; i++) { values[chunk][i] += added[i]; sum += values[chunk][i]; }
        total[from + place] = packed(values[chunk]);
    }
    const float mean = over_the_warp(sum) / (PACKS * 8);
    float squares = 0;
    #pragma unroll
    for (int chunk = 0; chunk < CHUNKS; chunk++) {
        if (chunk * 32 + lane >= PACKS) continue;
        #pragma unroll
        for (int i = 0; i < 8; i++) { values[chunk][i] -= mean; squares += values[chunk][i] * values[chunk][i]; }
    }
    const float scale = rsqrtf(over_the_warp(squares) / (PACKS * 8) + EPS);
    #pragma unroll
    for (int chunk = 0; chunk < CHUNKS; chunk++) {
        const int place = chunk * 32 + lane;
        if (place >= PACKS) continue;
        float w[8], b[8];
        unpack(weight[place], w);
        unpack(bias[place], b);
        #pragma unroll
        for (int i = 0; i < 8; i++) values[chunk][i] = values[chunk][i] * scale * w[i] + b[i];
        normed[from + place] = packed(values[chunk]);
    }
}

// one thread per eight numbers of a patch, which lie in one row of it; patch 0 is the class token's and empty
extern "C" __global__ void patches(const uint2* frames, uint4* out, int packs, int grid, int side) {
    const int pack = blockIdx.x * blockDim.x + threadIdx.x;
    if (pack >= packs) return;
    const int in_row = side * 3 / 8, packs_per_patch = side * side * 3 / 8;
    const int place = pack % packs_per_patch, token = pack / packs_per_patch % (grid * grid + 1);
    const long long frame = pack / packs_per_patch / (grid * grid + 1);
    float values[8] = {0, 0, 0, 0, 0, 0, 0, 0};
    if (token > 0) {
        const int y = (token - 1) / grid * side + place / in_row, x = (token - 1) % grid * in_row + place % in_row;
        const uint2 bytes = frames[(frame * grid * side + y) * grid * in_row + x];
        #pragma unroll
        for (int i = 0; i < 8; i++) values[i] = (float)((((i < 4 ? bytes.x : bytes.y) >> (i % 4 * 8)) & 255u)) - 128.0f;
    }
    out[pack] = packed(values);
}
"""


@cache
def _kernel(device: torch.device, name: str, channels: int = 8, eps: float = 0.0) -> Any:
    """Build a kernel for the device, which is the current one."""
    assert device.index == torch.cuda.current_device(), device
    packs = channels // PACK
    sizes = {"PACKS": packs, "CHUNKS": -(-packs // _LANES), "EPS": f"{eps!r}f"}
    defines = "".join(f"#define {size} {value}\n" for size, value in sizes.items())
    return torch.cuda._compile_kernel(defines + _SOURCE, name)  # noqa: SLF001  (PyTorch's only way to NVRTC)


@library.custom_op("pawsight::patches", mutates_args=())
def patches(frames: Tensor, side: int) -> Tensor:
    """Cut uint8 frames (B, S, S, 3) into patches of a side, bf16 (B, P, K), less `MIDDLE`; each frame's first is zero."""
    grid = frames.shape[1] // side
    cells = frames.unflatten(2, (grid, side)).unflatten(1, (grid, side)).transpose(2, 3)  # type: ignore[no-untyped-call]
    centred_BPK: Tensor = pad(cells.flatten(3).flatten(1, 2), (0, 0, 1, 0), value=MIDDLE).to(torch.bfloat16) - MIDDLE
    return centred_BPK


@patches.register_kernel("cuda")
def _patches(frames: Tensor, side: int) -> Tensor:
    grid = frames.shape[1] // side
    out_BPK = torch.empty(len(frames), grid * grid + 1, side * side * 3, dtype=torch.bfloat16, device=frames.device)
    packs = out_BPK.numel() // PACK
    assert side * 3 % PACK == 0, side
    _kernel(frames.device, "patches")(
        grid=(-(-packs // _THREADS), 1, 1), block=(_THREADS, 1, 1), args=[frames.contiguous(), out_BPK, packs, grid, side]
    )
    return out_BPK


@patches.register_fake
def _(frames: Tensor, side: int) -> Tensor:
    grid = frames.shape[1] // side
    return frames.new_empty(frames.shape[0], grid * grid + 1, side * side * 3, dtype=torch.bfloat16)


@library.custom_op("pawsight::add_layer_norm", mutates_args=())
def add_layer_norm(x: Tensor, residual: Tensor, weight: Tensor, bias: Tensor, eps: float) -> tuple[Tensor, Tensor]:
    """Sum and normalise: x + residual, and its layer norm, both (..., C). The residual may lack x's leading frames.

    On CUDA in bf16, one pass with float32 in between.
    """
    total = x + residual
    return total, layer_norm(total, weight.shape, weight, bias, eps)


@add_layer_norm.register_kernel("cuda")
def _add_layer_norm(x: Tensor, residual: Tensor, weight: Tensor, bias: Tensor, eps: float) -> tuple[Tensor, Tensor]:
    assert x.dtype is torch.bfloat16, x.dtype
    x, residual = x.contiguous(), residual.contiguous()
    total, normed = torch.empty_like(x), torch.empty_like(x)
    channels = x.shape[-1]
    rows = x.numel() // channels
    _kernel(x.device, "add_layer_norm", channels, eps)(
        grid=(-(-rows // _ROWS_PER_BLOCK), 1, 1),
        block=(_ROWS_PER_BLOCK * _LANES, 1, 1),
        args=[x, residual, weight, bias, total, normed, rows, residual.numel() // channels],
    )
    return total, normed


@add_layer_norm.register_fake
def _(x: Tensor, residual: Tensor, weight: Tensor, bias: Tensor, eps: float) -> tuple[Tensor, Tensor]:
    del residual, weight, bias, eps
    return torch.empty(x.shape, dtype=x.dtype, device=x.device), torch.empty(x.shape, dtype=x.dtype, device=x.device)
