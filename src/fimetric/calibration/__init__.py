"""From scores to p-values and decisions, without a model.

conformal  split conformal calibration: p-values, thresholds, their guarantees
bins       bins of a covariate in which p-values hold one by one
alarms     how many false alarms exchangeable data give
discovery  many tests at once
shares     how shares and p-values are checked and compared
"""

from fimetric.calibration.alarms import false_alarms
from fimetric.calibration.conformal import Calibration
from fimetric.calibration.discovery import benjamini_hochberg
from fimetric.calibration.shares import rounded_up

__all__ = ["Calibration", "benjamini_hochberg", "false_alarms", "rounded_up"]
