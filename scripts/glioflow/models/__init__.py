"""From a verified cohort to masks: nnU-Net, devices, predictions, ensembles, post-processing, model archives."""
