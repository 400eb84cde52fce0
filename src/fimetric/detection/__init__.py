"""A detector: fit, calibrate, score, decide, keep.

detector  all of it in one object
origin    whether the objective is still what it was fitted with
grouping  which samples are judged together
judge     what it has learned of tables: trend, density, calibration
prefixes  beginnings of own samples, so that shorter ones are judged rightly
saved     what a saved detector holds
fitting   a fit that is stopped and goes on
scoring   scores of a whole data set into a file
remembered  where a detector's model lies, and what was asked of it
inspection  what there is to know of a model before it is used
measuring   what a sample costs on this machine
remarks     what to know of a model and its loss
opening   detectors and tables by the names that users give them
"""

from fimetric.detection.detector import Detector

__all__ = ["Detector"]
