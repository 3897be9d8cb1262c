"""Data sets and what is learned on them."""

from bench.problems.catalogue import PROBLEMS, load_problem, notes, xor_variants
from bench.problems.problem import Problem, with_options

__all__ = ["PROBLEMS", "Problem", "load_problem", "notes", "with_options", "xor_variants"]
