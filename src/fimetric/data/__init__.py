"""Named data sets and anything of one's own, all through one door.

arrays       arrays in memory and in .npy and .npz files, as data sets
arrow        columns of arrow, as parquet files and Hugging Face data sets have them
asked        what is asked of a source besides its split, and which of it concerns what it holds
batch        some samples, as they were given and as tensors, with their ids
batches      one door for data of one's own: whatever it is, out come batches of whole groups
bundled      three small sets made from what ships with the dependencies
clips        clips of sound as a data set: decoded when they are asked for
codes        what a model has to beat: a Gaussian per pixel, PNG; single bytes, zlib; and by sample
columns      which columns of a table are the data, and which go beside them
conventions  the ranges that pictures are kept in, and how numbers tell which
declared     what a Hugging Face data set declares of its columns, and its items do not tell
finite       values that are missing or infinite, refused by the name of their sample
folders      folders of files that are a sample each: which are read, and in which order
hub          data sets of the Hugging Face hub, or of its copy on this disk
images       from picture files, PIL images and uint8 arrays to uint8 (N, C, H, W)
keys         which entry of a dictionary, table or archive is the data: one vocabulary for all
kinds        what kind of numbers a batch holds, in which shape, under which names
lines        lines and files of text in UTF-8, read one by one
named        data by name, and the part of it that is asked for
names        what becomes of the names of files: their order, and ids that can be written anywhere
pairs        what of a tuple or list (x, y, ...) is x
parquet      parquet files: pictures, sounds, texts or rows of numbers
prepared     texts, and the tensors that an objective makes of them
reader       one pass over some data of any kind: the portions that they come in, as batches
reading      whether the items of a list are samples, or batches of samples
records      rows of text or numbers in .csv, .tsv and .jsonl files
refusals     what is no data, said in words that tell what to give instead
rows         refusals of some rows of a batch, by the names of their samples
samples      samples: a data set in memory, 8-bit images kept as 8 bits
seen         what is seen of data, batch by batch, and the convention that it tells
shards       folders of tables, as the Hugging Face hub lays parquet files out
sounds       sound in files and bytes: what it is, and its values as one clip
sources      named data sets, files and folders, all opened by ``load``
spec         what a sample looks like, so that another kind is refused
splits       what the parts of a data set are called, in files and folders
spoken       sounds in a Hugging Face data set in memory, decoded as those in files are
strings      texts in memory, whatever holds them
tables       tables of pandas and arrow: rows of numbers, (N, columns), or a column of texts
telling      what is told of data as they are read: of a file or folder once in a process
texts        texts as a data set: strings in memory
values       from arrays, pictures, numbers and lists of them to tensors
writings     plain texts: files with one text a line, and folders in which each file is a text
"""

from fimetric.data.batch import Batch, to_device
from fimetric.data.batches import batches, length
from fimetric.data.clips import Clips
from fimetric.data.samples import Samples
from fimetric.data.sources import load
from fimetric.data.spec import Spec
from fimetric.data.texts import Texts

__all__ = ["Batch", "Clips", "Samples", "Spec", "Texts", "batches", "length", "load", "to_device"]
