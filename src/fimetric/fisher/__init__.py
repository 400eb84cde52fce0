"""The Fisher information matrix and metric, and what the method assumes of them.

s(x) = d log p(x) / d theta,      F = E[s s^T],      metric: s^T F^-1 s
"""
