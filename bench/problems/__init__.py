"""Data sets and what is learned on them."""

from bench.problems.catalogue import PROBLEMS, load_problem
from bench.problems.problem import Problem, with_options

__all__ = ["PROBLEMS", "Problem", "load_problem", "with_options"]
