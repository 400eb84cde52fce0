"""How well each density tells own from foreign data on one model, and whether the model is trained.

run       every density on every set, for every group size
verdicts  what the table says in plain words
page      the table on screen, files and pictures
trained   the model's code length beside two that need no model, and its samples
"""
