# SPDX-License-Identifier: MIT
"""Folders that transformers writes, read by Tern: latents, packed states of both classes, floats, shards."""
import json
import shutil

import torch
from safetensors.torch import load_file, save_file
from transformers import AutoModelForCausalLM, BitNetConfig, BitNetForCausalLM, LlamaConfig, LlamaForCausalLM

import common
from common import bitnet, compare, compare_tokens, fail

SMALL = dict(vocab_size=300, hidden_size=64, intermediate_size=128, num_hidden_layers=2, num_attention_heads=4,
             num_key_value_heads=2, max_position_embeddings=64, bos_token_id=0, eos_token_id=1)
LLAMA3 = dict(rope_type="llama3", rope_theta=500000.0, factor=8.0, low_freq_factor=1.0, high_freq_factor=4.0,
              original_max_position_embeddings=32)


def quantization(linear_class, mode):
    return dict(quant_method="bitnet", linear_class=linear_class, quantization_mode=mode, modules_to_not_convert=None)


def random_model(path, kind, dtype, **settings):
    """A folder without a quantization_config."""
    torch.manual_seed(3)
    config, model = {"bitnet": (BitNetConfig, BitNetForCausalLM), "llama": (LlamaConfig, LlamaForCausalLM)}[kind]
    made = model(config(**{**SMALL, **settings}))
    common.give_norms(made)
    made.to(dtype).save_pretrained(path, max_shard_size="60KB")
    if not (path / "model.safetensors.index.json").exists():
        fail("transformers wrote no shards")
    common.tokenizer(path)


def quantized(source, path, linear_class, mode):
    shutil.copytree(source, path)
    config = json.loads((path / "config.json").read_text())
    config["quantization_config"] = quantization(linear_class, mode)
    (path / "config.json").write_text(json.dumps(config))


def packed(source, path, linear_class):
    """Latents made states by the formula of AutoBitLinear and packed by transformers."""
    quantized(source, path, linear_class, "offline")
    tensors, out = {}, {}
    for shard in sorted(path.glob("model-*.safetensors")):
        tensors |= load_file(shard)
        shard.unlink()
    (path / "model.safetensors.index.json").unlink()
    for name, tensor in tensors.items():
        if not name.endswith("_proj.weight"):
            out[name] = tensor
            continue
        latent = tensor.float()
        scale = latent.abs().mean().clamp(min=1e-5)
        out[name] = bitnet.pack_weights((latent / scale).round().clamp(-1, 1))
        out[name + "_scale"] = (scale if linear_class == "autobitlinear" else 1 / scale).reshape(1).to(tensor.dtype)
    save_file(out, path / "model.safetensors", metadata={"format": "pt"})


def saved_again(source, path):
    """What transformers writes of a packed model that it has loaded."""
    AutoModelForCausalLM.from_pretrained(source).save_pretrained(path)
    for file in source.glob("*token*"):
        shutil.copy(file, path)


with common.folder() as work:
    for kind, dtype, settings in (("bitnet", torch.bfloat16, dict(tie_word_embeddings=True)),
                                  ("bitnet", torch.float32, dict(tie_word_embeddings=False, hidden_act="silu")),
                                  ("llama", torch.bfloat16, dict(tie_word_embeddings=False, head_dim=32,
                                                                 rope_parameters=LLAMA3)),
                                  ("llama", torch.float16, dict(tie_word_embeddings=True, hidden_act="relu2"))):
        base = work / f"{kind}-{str(dtype).removeprefix('torch.')}"
        random_model(base, kind, dtype, **settings)
        compare(f"{base.name}, floats", base, base)
        online = work / f"{base.name}-online"
        quantized(base, online, "autobitlinear", "online")
        compare(f"{base.name}, autobitlinear online", online, online)
        for linear_class in ("autobitlinear", "bitlinear"):
            offline = work / f"{base.name}-{linear_class}"
            packed(base, offline, linear_class)
            compare(f"{base.name}, {linear_class} offline", offline, offline)
        again = work / f"{base.name}-again"
        saved_again(work / f"{base.name}-bitlinear", again)
        compare(f"{base.name}, bitlinear as transformers saves it", again, again)
    compare_tokens("tokenizer", common.tokenizer(work / "tokenizer"), base)
