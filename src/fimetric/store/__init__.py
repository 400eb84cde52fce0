"""What is kept on disk: numbers with a version, checked when they are read."""
