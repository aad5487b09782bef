# SPDX-License-Identifier: MIT
"""Adapters that Tern trained, loaded by peft, and adapters that peft saved, read by Tern: over models of both classes."""
import json

import torch
from peft import LoraConfig, get_peft_model

import common
from common import compare, fail, load, tern

BASE = """
model: {{d_model: 64, d_ff: 128, n_layer: 2, n_head: 4, n_kv_head: 2, context: 64, {settings}}}
data: {{train: {text}, tokenizer: {tokenizer}}}
train: {{max_steps: 4, batch_size: 4}}
"""
# A rate that makes the adapter matter within a few steps.
LORA = """
method: lora
model: {{base: {base}}}
data: {{train: {text}}}
lora: {{{settings}}}
train: {{max_steps: 6, epochs: 0, batch_size: 4, learning_rate: 3e-2, warmup_steps: 1, eval_steps: 0}}
"""
ALL = ["q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"]


def train(work, name, text):
    config = work / f"{name}.yaml"
    config.write_text(text)
    tern("finetune" if "method" in text else "train", config, "--run-dir", work / name)
    return work / name


def moves(what, path, adapter):
    """The adapter is no adapter of zeros."""
    ids = list(range(3, 9))
    moved = (common.answer(load(path), ids) - common.answer(load(path, adapter=adapter), ids)).abs().max().item()
    if moved < 0.01:
        fail(f"{what}: the adapter moves logits by {moved:.1e} alone")


def check_trained(work, name, base, settings):
    """Tern -> peft, and Tern -> GGUF -> Tern."""
    what = f"{base.name}, {settings}"
    run = train(work, name, LORA.format(base=base, text=work / "text.txt", settings=settings))
    folder, gguf = work / f"{name}-peft", work / f"{name}.gguf"
    tern("export", run, "-o", folder, "--type", "peft")
    tern("export", folder, "-o", gguf, "--type", "gguf-lora")
    hf = work / f"{base.name}-hf"
    moves(what, hf, folder)
    compare(f"{what}: peft and the run", hf, run, folder)
    compare(f"{what}: peft and the GGUF adapter", hf, base, folder, ("--lora", str(gguf)))


def random_adapter(base, path, dtype, **settings):
    """Saved by peft; both halves are random."""
    torch.manual_seed(11)
    model = get_peft_model(load(base), LoraConfig(task_type="CAUSAL_LM", init_lora_weights=False, **settings))
    for name, parameter in model.named_parameters():
        if "lora_" in name:
            parameter.data = (0.1 * torch.randn_like(parameter)).to(dtype)
    model.save_pretrained(path)


def check_saved(work, name, base, dtype=torch.float32, **settings):
    """peft -> Tern, and peft -> Tern -> peft."""
    hf, folder, again, gguf = work / f"{base}-hf", work / name, work / f"{name}-again", work / f"{name}.gguf"
    what = f"{base}, {name} of peft"
    random_adapter(hf, folder, dtype, **settings)
    moves(what, hf, folder)
    compare(f"{what}: read", hf, hf, folder, ("--lora", str(folder)))
    tern("export", folder, "-o", again, "--type", "peft", "--base", hf)
    compare(f"{what}: written again", hf, hf, again, ("--lora", str(folder)))
    tern("export", folder, "-o", gguf, "--type", "gguf-lora", "--base", hf)
    compare(f"{what}: as a GGUF adapter", hf, hf, folder, ("--lora", str(gguf)))


def check_config(path):
    """Every key that Tern writes is one that peft knows: an older peft would refuse others."""
    known = LoraConfig().to_dict()
    unknown = [key for key in json.loads((path / "adapter_config.json").read_text()) if key not in known]
    if unknown:
        fail(f"{path.name}: peft does not know {unknown}")


with common.folder() as work:
    (work / "text.txt").write_text(common.TEXT * 60)
    common.tokenizer(work / "tokenizer")
    for name, settings in (("bitnet", "tie_embeddings: true"),
                           ("llama", "sub_norms: false, activation: silu, tie_embeddings: false"),
                           ("floats", "quantization: none, sub_norms: false, activation: silu")):
        base = train(work, name, BASE.format(settings=settings, text=work / "text.txt",
                                             tokenizer=work / "tokenizer/tokenizer.json"))
        tern("export", base, "-o", work / f"{name}-hf", "--type", "hf")
        check_trained(work, f"{name}-all", base, "rank: 4, alpha: 8")
        check_trained(work, f"{name}-rs", base, "rank: 3, alpha: 2.5, rslora: true, target_modules: [q_proj, down_proj]")
        check_saved(work, f"{name}-saved", name, r=4, lora_alpha=8, target_modules=ALL)
        check_saved(work, f"{name}-patterns", name, torch.bfloat16, r=4, lora_alpha=8, use_rslora=True,
                    target_modules=["q_proj", "v_proj", "up_proj"], rank_pattern={"v_proj": 2},
                    alpha_pattern={"layers.1.mlp.up_proj": 3})
        check_config(work / f"{name}-all-peft")
    check_saved(work, "llama-tables", "llama", r=3, lora_alpha=6, target_modules=["q_proj", "embed_tokens", "lm_head"])
    check_saved(work, "bitnet-embedding", "bitnet", r=3, lora_alpha=6, target_modules=["q_proj", "embed_tokens"])
