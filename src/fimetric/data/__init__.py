"""Named data sets and anything of one's own, all through one door.

arrays       arrays in memory and in .npy and .npz files, as data sets
batch        some samples, as they were given and as tensors, with their ids
batches      one door for data of one's own: whatever it is, out come batches of whole groups
bundled      three small sets made from what ships with the dependencies
codes        what a model has to beat: a Gaussian per pixel, PNG
conventions  the ranges that pictures are kept in, and how numbers tell which
declared     what a Hugging Face data set declares of its columns, and its items do not tell
folders      folders of pictures: which files are read, in which order, and what is left out
hub          data sets of the Hugging Face hub, or of its copy on this disk
images       from picture files, PIL images and uint8 arrays to uint8 (N, C, H, W)
keys         which entry of a dictionary, table or archive is the data: one vocabulary for all
kinds        what kind of numbers a batch holds, in which shape, under which names
named        data by name, and the part of it that is asked for
names        what becomes of the names of files: their order, and ids that can be written anywhere
pairs        what of a tuple or list (x, y, ...) is x
parquet      pictures in parquet files, read a few rows at a time
prepared     texts, and the tensors that an objective makes of them
reader       one pass over some data of any kind: the portions that they come in, as batches
reading      whether the items of a list are samples, or batches of samples
refusals     what is no data, said in words that tell what to give instead
samples      samples: a data set in memory, 8-bit images kept as 8 bits
seen         what is seen of data, batch by batch, and the convention that it tells
shards       folders of parquet files, as the Hugging Face hub lays them out
sources      named data sets, files and folders, all opened by ``load``
spec         what a sample looks like, so that another kind is refused
splits       what the parts of a data set are called, in files and folders
tables       tables of pandas and arrow: rows of numbers, (N, columns)
values       from arrays, pictures, numbers and lists of them to tensors
"""

from fimetric.data.batch import Batch, to_device
from fimetric.data.batches import batches, length
from fimetric.data.samples import Samples
from fimetric.data.sources import load
from fimetric.data.spec import Spec

__all__ = ["Batch", "Samples", "Spec", "batches", "length", "load", "to_device"]
