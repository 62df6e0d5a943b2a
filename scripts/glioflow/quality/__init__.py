"""Volumes, volumes over time and shape: what a mask is good for besides its score."""
