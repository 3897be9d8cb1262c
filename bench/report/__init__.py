"""What people see of a study: its page, its figures, and the answer in the terminal."""

from bench.report import index
from bench.report.answer import terminal_summary
from bench.report.figures import FIGURES, figure
from bench.report.page import write

__all__ = ["FIGURES", "figure", "index", "terminal_summary", "write"]
