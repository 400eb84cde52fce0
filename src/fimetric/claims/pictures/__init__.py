"""Pictures of the claims, one module each.

chi_square   pictures of families fitted to layer-wise norms
correlation  pictures of how layers' log norms are correlated
invariance   pictures of changes of representation
looks        how the sets of a study look, the same in every picture
matrix       pictures of windows of the Fisher information matrix
metric       pictures of the Fisher metric
norms        pictures of the norms of own and foreign data, side by side
paradox      pictures of the likelihood paradox
score        pictures of the mean gradient
timesteps    pictures of a diffusion model's norms over time
"""
