# SPDX-License-Identifier: MIT
"""Makes tests/golden/hf: small folders as transformers writes them, and the logits it gives in double precision.

make interop && PYTHONPATH=tests/interop build/interop/venv/bin/python tests/golden/make_golden_hf.py"""
import json
import pathlib
import shutil

import torch
from transformers import AutoModelForCausalLM, BitNetConfig, BitNetForCausalLM, LlamaConfig, LlamaForCausalLM

import common
from common import bitnet, load

HERE = pathlib.Path(__file__).resolve().parent / "hf"
SMALL = dict(vocab_size=272, hidden_size=32, intermediate_size=48, num_hidden_layers=2, num_attention_heads=4,
             num_key_value_heads=2, max_position_embeddings=64, bos_token_id=0, eos_token_id=1)
LLAMA3 = dict(rope_type="llama3", rope_theta=500000.0, factor=8.0, low_freq_factor=1.0, high_freq_factor=4.0,
              original_max_position_embeddings=32)


def quantize(path, linear_class, mode):
    config = json.loads((path / "config.json").read_text())
    config["quantization_config"] = dict(quant_method="bitnet", linear_class=linear_class, quantization_mode=mode)
    (path / "config.json").write_text(json.dumps(config, indent=2) + "\n")


def pack(path):
    """The same model in the class of packed states that transformers can save."""
    online = AutoModelForCausalLM.from_pretrained(path, dtype=torch.bfloat16)
    quantize(path, "bitlinear", "offline")
    config = type(online.config).from_pretrained(path)
    packed = bitnet.replace_with_bitnet_linear(type(online)(config).to(torch.bfloat16), ["lm_head"], None)
    state = {}
    for name, tensor in online.state_dict().items():
        if name.endswith("_proj.weight"):
            scale = tensor.float().abs().mean()
            state[name + "_scale"] = (1 / scale).reshape(1).to(torch.bfloat16)
            tensor = bitnet.pack_weights((tensor.float() / scale).round().clamp(-1, 1))
        state[name] = tensor
    packed.to_empty(device="cpu")
    packed.load_state_dict(state, assign=True)
    for file in path.glob("*.safetensors*"):
        file.unlink()
    packed.save_pretrained(path)
    quantize(path, "bitlinear", "offline")


def make(name, config, model, packed, **save):
    path = HERE / name
    shutil.rmtree(path, ignore_errors=True)
    torch.manual_seed(11)
    made = model(config)
    common.give_norms(made)
    made.to(torch.bfloat16).save_pretrained(path, **save)
    common.tokenizer(path, 271)
    text = json.loads((path / "tokenizer.json").read_text())
    (path / "tokenizer.json").write_text(json.dumps(text, separators=(",", ":"), ensure_ascii=False) + "\n")
    quantize(path, "autobitlinear", "online")
    if packed:
        pack(path)
    ids = common.sequences(path, SMALL["vocab_size"], 1, 6)[0]
    with common.exact():
        logits = common.answer(load(path, torch.float64), ids)
    rows = ",\n".join("[" + ",".join(f"{x:.6f}" for x in row) + "]" for row in logits.tolist())
    (path / "expected.json").write_text(f'{{"ids":{json.dumps(ids)},"logits":[\n{rows}]}}\n')


make("bitnet-shards", BitNetConfig(**SMALL, tie_word_embeddings=True), BitNetForCausalLM, False, max_shard_size="30KB")
make("bitnet-packed", BitNetConfig(**SMALL, tie_word_embeddings=True), BitNetForCausalLM, True)
make("llama-packed", LlamaConfig(**SMALL, tie_word_embeddings=False, head_dim=16, rope_parameters=LLAMA3),
     LlamaForCausalLM, True)
