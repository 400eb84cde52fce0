"""The benchmark's report: averages, Markdown tables, a matrix of AUROCs and one HTML page."""

from fimetric.benchmark.page.averages import ALL, Average, averages
from fimetric.benchmark.page.html import write_page
from fimetric.benchmark.page.markdown import write_markdown
from fimetric.benchmark.page.matrix import draw_matrix

__all__ = ["ALL", "Average", "averages", "draw_matrix", "write_markdown", "write_page"]
