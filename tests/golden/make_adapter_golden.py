#!/usr/bin/python3
# SPDX-License-Identifier: MIT
"""Writes adapter.h5: low-rank adapters beside the network of make_golden.py, in PyTorch: loss and gradients of A and B.

Three cases: the ternary base with adapters that read the normed input (raw) or what its codes stand for (quantized), and
the float base. A is [r, k] and B [m, r], as PEFT has them. All arithmetic is in double on values that float holds; the seed
keeps what is rounded away from ties.

Needs what make_golden.py needs:  /usr/bin/python3 tests/golden/make_adapter_golden.py
"""
import os

import h5py
import numpy as np
import torch

import make_golden as base

RANK, ALPHA = 4, 6.0
CASES = ("raw", "quantized", "float")


def adapter_values(seed, values):
    """A of the size that PEFT begins with, B as if it had learnt something."""
    rng = np.random.RandomState(seed + 2)
    pairs = {}
    for name, w in values.items():
        if base.is_ternary(name):
            m, k = w.shape
            pairs[f"{name}.lora_a"] = (rng.uniform(-1, 1, (RANK, k)) / np.sqrt(k)).astype(np.float32)
            pairs[f"{name}.lora_b"] = rng.normal(0.0, 0.1, (m, RANK)).astype(np.float32)
    return pairs


def forward(p, pairs, case, tokens, probe):
    x = p["token_embd.weight"][tokens]
    ternary = case != "float"
    for i in range(base.LAYERS):

        def w(name):
            return p[f"blk.{i}.{name}.weight"]

        def read(h, site):
            """What the matrix reads, and what its adapter reads."""
            q = base.quantised_activation(h, probe, (i, site)) if ternary else h
            return q, h if case == "raw" else q

        def linear(h, name):
            q, r = h
            weight = base.quantised_weight(w(name), probe) if ternary else w(name)
            a, b = (pairs[f"blk.{i}.{name}.weight.lora_{half}"] for half in "ab")
            return q @ weight.T + ALPHA / RANK * (r @ a.T) @ b.T

        n = read(base.rms_norm(x, w("attn_norm")), "attn")
        o = base.attend(linear(n, "attn_q"), linear(n, "attn_k"), linear(n, "attn_v"))
        x = x + linear(read(base.rms_norm(o, w("attn_sub_norm")), "attn_output"), "attn_output")
        n = read(base.rms_norm(x, w("ffn_norm")), "ffn")
        h = torch.relu(linear(n, "ffn_gate")) ** 2 * linear(n, "ffn_up")
        x = x + linear(read(base.rms_norm(h, w("ffn_sub_norm")), "ffn_down"), "ffn_down")
    return base.rms_norm(x, p["output_norm.weight"]) @ p["token_embd.weight"].T


def ids(seed):
    return (torch.tensor(x, dtype=torch.long) for x in base.batch(seed))


def keeps_clear(seed):
    values = base.initial_values(seed)
    tokens, _ = ids(seed)
    for case in CASES[:2]:
        probe = base.Probe()
        with torch.no_grad():
            forward(base.tensors(values), base.tensors(adapter_values(seed, values)), case, tokens, probe)
        if not probe.clear():
            return False
    return True


def write(path, seed):
    values = base.initial_values(seed)
    pairs = adapter_values(seed, values)
    tokens, targets = ids(seed)
    with h5py.File(path, "w", libver="v108") as f:
        f.attrs["format"] = np.bytes_("tern-golden")
        for name, value in (("vocab_size", base.VOCAB), ("d_model", base.WIDTH), ("n_layer", base.LAYERS),
                            ("n_head", base.HEADS), ("n_kv_head", base.KV_HEADS), ("d_ff", base.FFN),
                            ("batch", base.BATCH), ("time", base.TIME), ("rank", RANK), ("seed", seed)):
            f.attrs[name] = np.int64(value)
        for name, value in (("norm_eps", base.EPS), ("rope_theta", base.THETA), ("z_loss", base.Z_LOSS), ("alpha", ALPHA)):
            f.attrs[name] = np.float64(value)
        f["tokens"], f["targets"] = tokens.numpy().astype(np.int32), targets.numpy().astype(np.int32)
        for name, value in list(values.items()) + list(pairs.items()):
            f[f"init/{name}"] = value
        for case in CASES:
            a = base.tensors(pairs)
            loss = base.loss_of(forward(base.tensors(values), a, case, tokens, base.Probe()), targets)
            loss.backward()
            f[f"{case}/loss"] = np.array([float(loss)])
            for name, x in a.items():
                f[f"{case}/{name}"] = x.grad.numpy().astype(np.float32)
            print(f"{case}: loss {float(loss):.6f}")
        f.attrs["complete"] = np.int64(1)
    print(f"seed {seed}, {os.path.getsize(path)} bytes")


if __name__ == "__main__":
    torch.set_num_threads(1)
    golden = os.path.join(os.path.dirname(os.path.abspath(__file__)), "adapter.h5")
    write(golden, next(seed for seed in range(4000) if keeps_clear(seed)))
    base.keep_links_in_headers(golden)
