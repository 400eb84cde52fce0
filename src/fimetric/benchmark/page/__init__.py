"""The benchmark's report: averages, Markdown tables, a matrix of AUROCs and one HTML page.

averages  averages of AUROCs over pairs of sets, by family and over all families
curves    scores as few numbers
headline  the few numbers that a benchmark is read for
html      the benchmark as one HTML page that needs nothing else: no network, no other file
leaks     false alarms on own data, beside what chance gives
markdown  the benchmark's averages as Markdown
matrix    a picture of AUROCs: own sets x foreign sets, methods side by side
seeds     how much the training matters
words     how the report names groups and sets
"""

from fimetric.benchmark.page.averages import ALL, Average, averages
from fimetric.benchmark.page.html import write_page
from fimetric.benchmark.page.markdown import write_markdown
from fimetric.benchmark.page.matrix import draw_matrix

__all__ = ["ALL", "Average", "averages", "draw_matrix", "write_markdown", "write_page"]
