"""What is kept on disk: numbers with a version, checked when they are read.

archive  numbers with a version: arrays in safetensors, all else in JSON, sealed
files    writing files and folders whole or not at all, whenever the process is killed
folders  what a folder holds, by the files that the parts of this package write into theirs
"""
