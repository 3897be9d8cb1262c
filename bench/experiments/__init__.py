"""Plans become blocks, blocks are run, results are kept by content."""

from bench.experiments.block import Block, BlockResult
from bench.experiments.crew import Threads
from bench.experiments.plan import role
from bench.experiments.run import iterate, run_block, run_blocks
from bench.experiments.store import Store, prune, used_keys

__all__ = [
    "Block",
    "BlockResult",
    "Store",
    "Threads",
    "iterate",
    "prune",
    "role",
    "run_block",
    "run_blocks",
    "used_keys",
]
