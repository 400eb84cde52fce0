"""The benchmark's report: averages, Markdown tables, a matrix of AUROCs and one HTML page."""

from fimetric.report.benchmark.averages import ALL, Average, averages
from fimetric.report.benchmark.markdown import write_markdown
from fimetric.report.benchmark.matrix import draw_matrix
from fimetric.report.benchmark.page import write_page

__all__ = ["ALL", "Average", "averages", "draw_matrix", "write_markdown", "write_page"]
