"""The experiment grid: models x in-distribution sets x foreign sets x methods x group sizes.

cases      the models of a grid, each with the sets that it is tried on
checking   what does not go together in a grid, told before anything is trained or scored
comparing  from scores to areas with intervals, and one method against another
config     a benchmark as one TOML file: read, and checked before any work is done
jobs       jobs side by side in processes of their own, which end with the one that asked for them
kinds      every table of the benchmark: what turns the samples of a model into rows
methods    every method of the benchmark: which table it needs, and which density judges it
own        an own set, its models, and what they are to tell it from
places     where models lie, and whether they are what the grid says
results    what a benchmark found: one entry for each comparison, and the scores behind it
run        the stages of a benchmark, one after the other: check, train, extract, score, compare
scoring    one method on one model: fit on own samples, score every set, resample what was scored
tables     features of a model's sets, a folder each, keyed by what they are made from
training   the models of a grid that have yet to be trained
tried      which methods a model is tried with, and why it is not tried with others
variants   looks: images made from a set's own
views      what a method sees of a table, where that is not all of it
writing    what a benchmark leaves: averages, a picture, a page, all comparisons and all scores
page/      the report: averages, tables, a picture, a page in a browser
tiers/     grids that come with the package
"""
