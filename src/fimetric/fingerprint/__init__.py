"""Has this model been seen before? Hashes of all that it is made of.

digest     the bytes of a tensor
structure  classes, attributes and configuration of all submodules, as texts
reached    marks of what the function of a loss computes with beside its model
attributes which of those texts differ, told to people
model      both as one hash, taken anew only where something has changed
"""
