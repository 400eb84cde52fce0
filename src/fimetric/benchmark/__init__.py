"""The experiment grid: models x in-distribution sets x foreign sets x methods x group sizes."""
