#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""train_pytorch.py - times a training step of a preset of `tern bench train` in PyTorch on the CPU.

The model is layers/forward.c with fake quantisation: RMSNorm before attention, before o, before the MLP and before
down, RoPE on halves, ReLU^2 gate, tied head, no biases; AdamW and a clip of the global norm; random token ids. Every
choice that has a faster spelling in PyTorch takes it (bench/peers/README.md). PyTorch 1.13 and later; what an older one
lacks is spelled out by hand, and a mode that it does not have ends with status 3.
"""
import argparse
import contextlib
import ctypes
import json
import os
import pathlib
import re
import resource
import statistics
import sys
import time

import torch
import torch.nn.functional as F
from torch import nn

MODES = ("f32", "bf16", "f32-compile", "bf16-compile")
NORM_EPS, ROPE_THETA, INIT_STD, SCALE_MIN = 1e-5, 10000.0, 0.02, 1e-5
UNSUPPORTED = 3
MALLOPT_TRIM_THRESHOLD, MALLOPT_MMAP_MAX = -1, -4


def read_presets():
    """Name -> (width, layers, heads, kv heads, ffn, vocabulary, context, batch), as `tern bench train` reads them."""
    table = pathlib.Path(__file__).resolve().parent.parent / "presets.def"
    rows = re.findall(r'^PRESET\("(\w+)", ([\d, ]+)\)', table.read_text(), re.M)
    return {name: tuple(int(n) for n in numbers.split(",")) for name, numbers in rows}


PRESETS = read_presets()


# --- Fake quantisation: forward rounds, backward does not see it. ---


def ternary(w):
    """States times their scale, one scale for the matrix. [out, in]"""
    a = w.abs().mean().clamp(min=SCALE_MIN)
    return (w * (1 / a)).round_().clamp_(-1, 1).mul_(a)


def int8_rows(x):
    """The nearest of 255 steps, one scale for each row (token). A row's codes never pass +-127. [..., in]"""
    s = 127 / x.abs().amax(-1, keepdim=True).clamp(min=SCALE_MIN)
    return (x * s).round_().div_(s)


class StraightThrough(torch.autograd.Function):
    """x + (quantise(x) - x).detach() without its two extra passes over memory; a compiler removes them by itself."""

    @staticmethod
    def forward(_, x, quantise):
        return quantise(x)

    @staticmethod
    def backward(_, dy):
        return dy, None


def quantised(x, quantise):
    return StraightThrough.apply(x, quantise)


class BitLinear(nn.Module):
    """Reads rows that are quantised already, for q, k, v share them and so do gate and up."""

    def __init__(self, n_in, n_out):
        super().__init__()
        self.weight = nn.Parameter(torch.randn(n_out, n_in) * INIT_STD)

    def forward(self, x):
        return F.linear(x, quantised(self.weight, ternary))


# --- The model. ---


class RMSNorm(nn.Module):
    def __init__(self, n):
        super().__init__()
        self.weight = nn.Parameter(torch.ones(n))

    def forward(self, x):
        x = x.float()
        return self.weight * (x * torch.rsqrt(x.square().mean(-1, keepdim=True) + NORM_EPS))


class NormQuant(RMSNorm):
    def forward(self, x):
        return quantised(super().forward(x), int8_rows)


def rope_table(n_positions, head_dim):
    frequency = ROPE_THETA ** (-torch.arange(0, head_dim, 2) / head_dim)
    angle = torch.outer(torch.arange(n_positions), frequency)
    return angle.cos(), angle.sin()


def rotate(x, cos, sin):
    """x [B,H,T,D]; the pairs are (i, i + D/2)."""
    x1, x2 = x.chunk(2, -1)
    return torch.cat((x1 * cos - x2 * sin, x2 * cos + x1 * sin), -1)


def attend(q, k, v):
    """Causal attention; q [B,H,T,D], k and v [B,KV,T,D]."""
    groups = q.shape[1] // k.shape[1]
    if groups > 1:
        k, v = k.repeat_interleave(groups, 1), v.repeat_interleave(groups, 1)
    if hasattr(F, "scaled_dot_product_attention"):
        return F.scaled_dot_product_attention(q, k, v, is_causal=True)
    hidden = torch.ones(q.shape[2], q.shape[2], dtype=torch.bool).triu(1)
    p = (q @ k.transpose(-1, -2) * q.shape[-1] ** -0.5).masked_fill(hidden, float("-inf")).softmax(-1)
    return p @ v


class Block(nn.Module):
    def __init__(self, d, n_head, n_kv, d_ff):
        super().__init__()
        self.head_dim = d // n_head
        self.attn_norm = NormQuant(d)
        self.q, self.k, self.v = (BitLinear(d, n * self.head_dim) for n in (n_head, n_kv, n_kv))
        self.attn_sub_norm = NormQuant(d)
        self.o = BitLinear(d, d)
        self.ffn_norm = NormQuant(d)
        self.gate, self.up = BitLinear(d, d_ff), BitLinear(d, d_ff)
        self.ffn_sub_norm = NormQuant(d_ff)
        self.down = BitLinear(d_ff, d)

    def heads(self, x):
        return x.unflatten(-1, (-1, self.head_dim)).transpose(1, 2)

    def forward(self, x, cos, sin):
        n = self.attn_norm(x)
        q, k, v = self.heads(self.q(n)), self.heads(self.k(n)), self.heads(self.v(n))
        y = attend(rotate(q, cos, sin).to(v.dtype), rotate(k, cos, sin).to(v.dtype), v)
        x = x + self.o(self.attn_sub_norm(y.transpose(1, 2).flatten(-2)))
        n = self.ffn_norm(x)
        return x + self.down(self.ffn_sub_norm(self.gate(n).relu().square() * self.up(n)))


class Model(nn.Module):
    def __init__(self, preset):
        super().__init__()
        d, n_layer, n_head, n_kv, d_ff, vocab, context, _ = PRESETS[preset]
        self.embedding = nn.Parameter(torch.randn(vocab, d) * INIT_STD)
        self.blocks = nn.ModuleList(Block(d, n_head, n_kv, d_ff) for _ in range(n_layer))
        self.output_norm = RMSNorm(d)
        for name, table in zip(("cos", "sin"), rope_table(context, d // n_head)):
            self.register_buffer(name, table)

    def forward(self, ids, targets):
        """Mean loss of ids and targets [B,T]."""
        x = F.embedding(ids, self.embedding)
        for block in self.blocks:
            x = block(x, self.cos, self.sin)
        logits = F.linear(self.output_norm(x), self.embedding)
        return F.cross_entropy(logits.flatten(0, 1).float(), targets.flatten())


# --- One training step, and the timing of several. ---


def make_optimizer(model):
    ternaries = {id(m.weight) for m in model.modules() if isinstance(m, BitLinear)}
    groups = [
        {"params": [p for p in model.parameters() if id(p) in ternaries], "weight_decay": 0.1},
        {"params": [p for p in model.parameters() if id(p) not in ternaries], "weight_decay": 0.0},
    ]
    settings = {"lr": 2.4e-3, "betas": (0.9, 0.95), "eps": 1e-8}
    for fast in ({"fused": True}, {"foreach": True}, {}):
        with contextlib.suppress(TypeError, RuntimeError, ValueError):
            return torch.optim.AdamW(groups, **settings, **fast), " ".join(fast) or "loop"
    raise RuntimeError("no AdamW")


def make_step(preset, mode):
    """Returns (step(ids, targets) -> loss, parameters, name of the optimizer's implementation)."""
    model = Model(preset)
    optimizer, kind = make_optimizer(model)
    forward = model
    if mode.endswith("-compile"):
        if not hasattr(torch, "compile"):
            sys.exit(UNSUPPORTED)
        if os.environ.get("ATEN_CPU_CAPABILITY") == "avx2":
            import torch._inductor.config as inductor

            inductor.cpp.simdlen = 256
        forward = torch.compile(model, fullgraph=True, dynamic=False)

    def step(ids, targets):
        with torch.autocast("cpu", torch.bfloat16, enabled=mode.startswith("bf16")):
            loss = forward(ids, targets)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
        return loss

    return step, sum(p.numel() for p in model.parameters()), kind


def keep_freed_memory():
    """Tensors come from the heap and stay there: glibc would map and unmap the large ones at every use, and the kernel
    clear their pages anew, up to a tenth of a step. The peak of memory hardly changes."""
    with contextlib.suppress(OSError, AttributeError):
        libc = ctypes.CDLL(None)
        libc.mallopt(MALLOPT_MMAP_MAX, 0)
        libc.mallopt(MALLOPT_TRIM_THRESHOLD, 2**31 - 1)


def peak_rss():
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


def waited():
    """Seconds that threads of this process were ready but had no core, or 0 where Linux does not tell."""
    total = 0
    for stat in pathlib.Path("/proc/self/task").glob("*/schedstat"):
        with contextlib.suppress(OSError, ValueError):
            total += int(stat.read_text().split()[1])
    return 1e-9 * total


def time_steps(step, batches):
    """Seconds of every step, the share of them that threads waited for a core, and the last loss."""
    seconds, before = [], waited()
    for ids, targets in batches:
        start = time.perf_counter()
        loss = step(ids, targets)
        seconds.append(time.perf_counter() - start)
    share = (waited() - before) / sum(seconds) / torch.get_num_threads()
    return seconds, min(max(share, 0), 1), loss.item()


def gemm_rate():
    """Operations a second of a float32 product of a layer's size: shows which instructions PyTorch was left with."""
    x, w = torch.randn(2048, 512), torch.randn(512, 1408)
    best = float("inf")
    for _ in range(8):
        start = time.perf_counter()
        torch.mm(x, w)
        best = min(best, time.perf_counter() - start)
    return 2 * x.numel() * w.shape[1] / best


def gemm_share(step, batch):
    """Share of a step's time inside matrix products and inside attention, by the profiler, and the ten longest ops."""
    with torch.profiler.profile(activities=[torch.profiler.ProfilerActivity.CPU]) as profile:
        step(*batch)
    times = sorted(((e.self_cpu_time_total, e.key) for e in profile.key_averages()), reverse=True)
    total = sum(t for t, _ in times)
    products = ("aten::mm", "aten::addmm", "aten::bmm", "mkl::_mkl_linear", "mkldnn::_linear_pointwise")
    return {
        "gemm_share": sum(t for t, name in times if name in products) / total,
        "attention_share": sum(t for t, name in times if "scaled_dot_product" in name) / total,
        "ops": {name: round(t / total, 4) for t, name in times[:10]},
    }


def parse_arguments():
    p = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    p.add_argument("--preset", choices=PRESETS, default="30m")
    p.add_argument("--mode", choices=MODES, default="f32")
    p.add_argument("--steps", type=int, default=5, help="steps that are timed")
    p.add_argument("--warmup", type=int, default=2, help="steps before them (compilation is in the first)")
    p.add_argument("--threads", type=int, default=os.cpu_count())
    p.add_argument("--profile", action="store_true", help="add the share of matrix products")
    p.add_argument("--json", action="store_true")
    return p.parse_args()


def capability():
    """The instruction set of PyTorch's own loops, not of its products (gemm_rate tells of those)."""
    lines = torch.__config__.show().splitlines()
    return next((line.split(":")[1].strip() for line in lines if "CPU capability usage" in line), "unknown")


def library_versions():
    """MKL, oneDNN: the lines of PyTorch's own description that name a version."""
    versioned = re.compile(r"(Math Kernel Library|MKL-DNN|oneDNN).* [vV]")
    return [line.strip(" -") for line in torch.__config__.show().splitlines() if versioned.search(line)]


def main():
    a = parse_arguments()
    keep_freed_memory()
    torch.set_num_threads(a.threads)
    torch.set_flush_denormal(True)
    torch.manual_seed(1)
    imported = peak_rss()
    *_, vocab, context, batch = PRESETS[a.preset]
    step, parameters, optimizer = make_step(a.preset, a.mode)
    ids = torch.randint(vocab, (a.warmup + a.steps, batch, context + 1))
    batches = [(row[:, :-1].contiguous(), row[:, 1:].contiguous()) for row in ids]
    for ids, targets in batches[: a.warmup]:
        step(ids, targets)
    seconds, waited_share, loss = time_steps(step, batches[a.warmup :])
    result = {
        "preset": a.preset,
        "mode": a.mode,
        "tokens_per_second": batch * context / statistics.median(seconds),
        "step_seconds": seconds,
        "waited_share": waited_share,
        "peak_rss_bytes": peak_rss(),
        "import_rss_bytes": imported,
        "parameters": parameters,
        "loss": loss,
        "optimizer": optimizer,
        "gemm_ops_per_second": gemm_rate(),
        "threads": torch.get_num_threads(),
        "torch": torch.__version__,
        "capability": capability(),
        "mkldnn": torch.backends.mkldnn.is_available(),
        "libraries": library_versions(),
    }
    if a.profile:
        result.update(gemm_share(step, batches[0]))
    if a.json:
        print(json.dumps(result))
    else:
        for key, value in result.items():
            print(f"{key}: {value}")


if __name__ == "__main__":
    main()
