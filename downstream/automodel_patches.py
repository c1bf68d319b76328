"""Import this before nemo-automodel: 0.7.0 asks private names of torch that not every release has.

From 0.6 on its pipelining, which nothing here runs, imports a name that came with 2.10; and its
parallelizer of experts guards a method against a case that nothing here has, and that method is
gone in 2.15. With its own mesh_utils as with ours it stops at both.
"""

from torch.distributed.fsdp import _fully_shard
from torch.distributed.pipelining import microbatch
from torch.nn.attention.flex_attention import BlockMask

if not hasattr(microbatch, "BlockMask"):
    microbatch.BlockMask = BlockMask

if not hasattr(_fully_shard._fsdp_param.FSDPParam, "to_accumulated_grad_if_needed"):  # noqa: SLF001
    from nemo_automodel.components.moe import parallelizer

    parallelizer._patch_fsdp_accumulated_grad_guard = lambda: None  # noqa: SLF001
