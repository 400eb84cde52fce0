"""The waist: a table of numbers, a row a sample, and what may be asked of it without a model.

table      Features: log norms, losses and their parts, ids, and what they were made from
checks     tables that agree in themselves and with others
saved      the folder of a table
probe      losses of made-up rows that tell one loss from another
screening  which columns carry information
length     columns and losses as they would be at one length of all samples
smooth     columns as smooth functions of one number
groups     which samples are judged together
"""

from fimetric.features.table import Features

__all__ = ["Features"]
