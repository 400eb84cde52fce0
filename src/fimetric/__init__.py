"""Out-of-distribution detection with likelihood-based deep generative models."""
