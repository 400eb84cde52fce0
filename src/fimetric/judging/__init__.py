"""How well densities tell own from foreign data: one way for every study.

judge      fit a density, score all sets, count false alarms, estimate the areas
splits     which own rows are fitted on, calibrated on and tested
intervals  areas in resamples, and intervals by formula
"""
