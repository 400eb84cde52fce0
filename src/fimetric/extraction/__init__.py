"""From an objective and data to a table of features: streamed, checked, and resumed.

extract    the call that people make
stream     batch by batch through any extractor, kept on the way
windows    samples of different length, put together by length
extractor  one batch: losses, gradients, log norms
loss_parts what losses consist of, beside them in the table
alone      numbers of a sample that must not change with the rest of its batch
intake     the door before a model: each batch checked, the model's own errors put into words
parts      what is kept until all is done
measures   what is measured of a gradient: its norms, or nothing
memory     how many samples go through a model at once
reference  four samples, the same in any order, on which bounds and made-up rows stand
probing    losses of made-up rows, of which features keep a probe
provenance whether a table or a detector comes from an objective
views      names of views and of columns
"""

from fimetric.extraction.extract import extract

__all__ = ["extract"]
