# SPDX-License-Identifier: MIT
"""Models that Tern trained, exported for transformers: the class that loads them, logits, tokens, chat, gradients."""
import torch
from transformers import AutoTokenizer, GenerationConfig

import common
from common import bitnet, compare, compare_tokens, fail, load, tern

CONFIG = """
model: {{d_model: 64, d_ff: 128, n_layer: 2, n_head: 4, n_kv_head: 2, context: 64, {settings}}}
data: {{train: {text}, tokenizer: {tokenizer}}}
train: {{max_steps: 4, batch_size: 4}}
"""


def train(work, name, settings):
    """A run folder of a few steps, with the tokenizer of common.tokenizer."""
    config = work / f"{name}.yaml"
    config.write_text(CONFIG.format(settings=settings, text=work / "text.txt",
                                    tokenizer=work / "tokenizer/tokenizer.json"))
    tern("train", config, "--run-dir", work / name)
    return work / name


def check_training(what, path):
    """The latents of an export are what a trainer moves."""
    model = load(path).train()
    if not model.hf_quantizer.is_trainable:
        fail(f"{what}: transformers says that it cannot be trained")
    ids = torch.arange(3, 15)[None]
    model(ids, labels=ids).loss.backward()
    lost = [name for name, p in model.named_parameters() if p.grad is None or not p.grad.abs().sum() > 0]
    if lost:
        fail(f"{what}: no gradient for {lost}")
    print(f"{what}: a gradient for each of {len(list(model.parameters()))} parameters")


def check_files(what, path):
    fast = AutoTokenizer.from_pretrained(path)
    compare_tokens(what, fast, path)
    ends = GenerationConfig.from_pretrained(path).eos_token_id
    if fast.eos_token not in fast.convert_ids_to_tokens(ends):
        fail(f"{what}: {fast.eos_token} is none of the ends {ends}")


with common.folder() as work:
    (work / "text.txt").write_text(common.TEXT * 60)
    common.tokenizer(work / "tokenizer")
    for name, settings, expected in (
            ("bitnet", "tie_embeddings: true", "BitNetForCausalLM"),
            ("untied", "tie_embeddings: false, activation: silu, rope_theta: 500000", "BitNetForCausalLM"),
            ("llama", "sub_norms: false, head_dim: 32, rope_scaling: llama3, rope_factor: 8, rope_original_context: 32",
             "LlamaForCausalLM")):
        run = train(work, name, settings)
        for kind in ("hf", "hf-packed"):
            out = work / f"{name}-{kind}"
            tern("export", run, "-o", out, "--type", kind)
            found = type(load(out)).__name__
            if found != expected:
                fail(f"{out.name}: loaded as {found}, expected {expected}")
            compare(f"{out.name} as {found}", out, run)
            check_files(out.name, out)
            tern("export", run, "-o", out, "--type", kind, "--dtype", "bf16")
            compare(f"{out.name} of bf16", out, out)
        tern("export", run, "-o", work / f"{name}-hf", "--type", "hf")
        check_training(f"{name}-hf", work / f"{name}-hf")
    linear = load(work / "bitnet-hf").model.layers[0].mlp.up_proj
    if not isinstance(linear, bitnet.AutoBitLinear) or not linear.online_quant:
        fail(f"bitnet-hf: its matrices are {linear}")
