"""The user's own table: read strictly, understood column by column, made into a problem."""

from bench.problems.table.describe import describe
from bench.problems.table.load import load_table
from bench.problems.table.options import TableOptions
from bench.problems.table.schema import Column, Reading, Table, Target

__all__ = ["Column", "Reading", "Table", "TableOptions", "Target", "describe", "load_table"]
