"""transformers: a small random model, loaded tensor-parallel on our mesh."""

import os
import sys

import pytest
import torch
import torch.distributed as dist

import meshcompat as mc

PRELOAD = ("transformers.models.llama.modeling_llama",)
TENSOR_PARALLEL = 4


@pytest.fixture(scope="module")
def saved(tmp_path_factory):
    """The folder of a model of random weights; nothing comes from a hub."""
    import transformers

    torch.manual_seed(0)
    config = transformers.LlamaConfig(
        vocab_size=64,
        hidden_size=32,
        intermediate_size=64,
        num_hidden_layers=2,
        num_attention_heads=8,
        num_key_value_heads=4,
        max_position_embeddings=32,
    )
    folder = tmp_path_factory.mktemp("model")
    transformers.LlamaForCausalLM(config).save_pretrained(folder)
    return str(folder)


def environment():
    os.environ["HF_HUB_OFFLINE"] = "1"
    os.environ["LOCAL_RANK"] = os.environ["RANK"] = str(dist.get_rank())
    os.environ["WORLD_SIZE"] = str(dist.get_world_size())


def compared(folder, load):
    """Return the logits of one process, those of *load*, and the sizes of sharded weights."""
    environment()
    from transformers import AutoModelForCausalLM

    alone = AutoModelForCausalLM.from_pretrained(folder)
    model = load(AutoModelForCausalLM, folder)
    ids = torch.arange(24).reshape(2, 12)
    with torch.no_grad():
        logits = [net(input_ids=ids).logits for net in (alone, model)]
    whole, part = (
        dict(net.named_parameters())["model.layers.0.mlp.up_proj.weight"] for net in (alone, model)
    )
    local = part.to_local() if hasattr(part, "to_local") else part
    ours, other = (x.full_tensor() if hasattr(x, "full_tensor") else x for x in logits)
    return (ours - other).abs().max().item(), ours.abs().max().item(), whole.numel(), local.numel()


def on_a_dim_of_our_mesh(auto, folder):
    sizes = mc.ParallelismSizes(tp_size=TENSOR_PARALLEL)
    mesh, _ = mc.create_fsdp2_device_mesh(sizes, world_size=8)
    tp = mc.get_submesh(mesh, "tp")
    return auto.from_pretrained(folder, tp_plan="auto", device_mesh=tp)


def on_our_whole_mesh(auto, folder):
    sizes = mc.ParallelismSizes(tp_size=TENSOR_PARALLEL)
    mesh, _ = mc.create_fsdp2_device_mesh(sizes, world_size=8)
    return auto.from_pretrained(folder, tp_plan="auto", device_mesh=mesh)


def check(results):
    for error, largest, whole, local in results:
        assert error < 1e-6
        assert largest > 1e-2
        assert local * TENSOR_PARALLEL == whole


def test_a_model_on_the_tp_dim_of_our_mesh_answers_as_one_process_does(pool, saved):
    check(pool.run(compared, saved, on_a_dim_of_our_mesh))


def test_a_model_on_our_whole_mesh_finds_its_tp_dim(pool, saved):
    check(pool.run(compared, saved, on_our_whole_mesh))


def in_its_mesh_manager(auto, folder):
    """Load in two halves of the world, where it asks for its own meshes: there it gets ours."""
    from transformers.distributed import DistributedConfig
    from transformers.distributed.utils import TransformersDeviceMesh

    halves = mc.init_device_mesh(
        "cpu", (2, 1, 1, 1, 4), mesh_dim_names=("half", "pp", "dp_replicate", "fsdp", "tp")
    )
    dense = mc.get_submesh(halves, ("pp", "dp_replicate", "fsdp", "tp"))
    names = ("pp", "dp_replicate", "efsdp", "ep")
    experts = mc.unflatten(mc.get_flat_mesh(halves, "tp"), 0, (1, 1, 4, 1), names)
    manager = torch.device("cpu"), TransformersDeviceMesh(dense, experts)
    mixin = sys.modules["transformers.distributed.mixin"]
    mixin.initialize_distributed_mesh = lambda _: manager
    config = DistributedConfig(tp_plan="auto", tp_size=TENSOR_PARALLEL)
    return auto.from_pretrained(folder, distributed_config=config)


def test_a_model_whose_mesh_manager_holds_our_meshes_answers_as_one_process_does(pool, saved):
    check(pool.run(compared, saved, in_its_mesh_manager))
