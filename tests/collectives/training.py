"""How far training on meshes of one root is from training in one process: weights, shards, losses, pipelines."""

from __future__ import annotations

import torch
import torch.distributed as dist

from tests.collectives.consumers import (
    chunk,
    loss_of,
    make_batch,
    part_of,
    place_in,
    ranks_of,
    trained_alone,
)


def far(found, wanted):
    """Return how far tensors are from those wanted; infinitely, where their shapes differ."""
    return max(
        (ours.double() - other.double()).abs().max().item()
        if ours.numel()
        else 0.0
        if ours.shape == other.shape
        else float("inf")
        for ours, other in zip(found, wanted, strict=True)
    )


def fsdp_error(by_rank, case, *, is_whole=True):
    """Return how far what ranks have is from what one process has."""
    meshes = case.meshes(ranks_of(case.shape))
    parts = [part_of(make_batch(), meshes, rank) for rank in range(len(by_rank))]
    losses, weights = trained_alone(parts)
    errors = []
    for rank, found in enumerate(by_rank):
        errors.append(far([torch.tensor(found.losses)], [torch.tensor(losses[rank])]))
        errors.append(far(found.whole, weights))
        if is_whole:
            index, coordinate = place_in(meshes, rank)
            count = meshes[index].shape[-1]
            shards = [chunk(weight, 0, count, coordinate[-1]) for weight in weights]
            errors.append(far(found.shards, shards))
    return max(errors)


def piped(make_group, meshes, device="cpu"):
    """Run a pipeline over the group, whose ranks share the batch of their one of *meshes*.

    Returns:
        The loss on the last stage, None on others, and this stage's gradient by direction.
    """
    from torch.distributed import pipelining  # noqa: PLC0415  (since 2.4)

    group = make_group()
    stage_index, count = dist.get_rank(group), dist.get_world_size(group)
    index, _ = place_in(meshes, dist.get_rank())
    inputs, targets = (part.to(device) for part in make_batch(seed=index))
    model = pipeline_of(count).to(device)
    samples = inputs.chunk(count)[0]
    for layer in model[:stage_index]:
        samples = layer(samples).detach()
    stage = pipelining.PipelineStage(
        model[stage_index], stage_index, count, inputs.device, input_args=(samples,), group=group
    )

    def loss_fn(output, target):
        return (output - target).square().mean()

    schedule = pipelining.ScheduleGPipe(stage, n_microbatches=count, loss_fn=loss_fn)
    losses = []
    # Stages of 2.9 greet with 8 bytes and take them as one number of the default type:
    # https://github.com/pytorch/pytorch/pull/165539
    torch.set_default_dtype(torch.double)
    try:
        if stage_index == 0:
            schedule.step(inputs)
        elif stage_index == count - 1:
            schedule.step(target=targets, losses=losses)
        else:
            schedule.step()
    finally:
        torch.set_default_dtype(torch.float)
    gradient = next(model[stage_index].parameters()).grad.cpu()
    loss = torch.stack(losses).mean().item() if losses else None
    return loss, stage_index, gradient / gradient.norm()


def pipeline_of(count):
    """Return a model of *count* stages."""
    torch.manual_seed(0)
    middle = [torch.nn.Sequential(torch.nn.Linear(8, 8), torch.nn.Tanh()) for _ in range(count - 1)]
    return torch.nn.Sequential(*middle, torch.nn.Linear(8, 4)).double()


def pipeline_error(by_rank, meshes):
    errors = []
    for rank, (loss, stage, gradient) in enumerate(by_rank):
        index, (place,) = place_in(meshes, rank)
        count = len(meshes[index])
        model, batch = pipeline_of(count), make_batch(seed=index)
        wanted = loss_of(model, batch)
        wanted.backward()
        direction = next(model[stage].parameters()).grad
        errors.append(far([gradient], [direction / direction.norm()]))
        errors.append(0.0 if stage == place else float("inf"))
        errors.append(0.0 if loss is None else abs(loss - wanted.item()))
    return max(errors)
