"""What two or more of glioflow's scripts share. One way to read, write, label, hash, report and fail."""

__version__ = "0.1.0"
