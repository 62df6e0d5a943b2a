"""From a source of images to a verified cohort: downloads, layouts, conversion, checks, covariates, phantoms, splits."""
